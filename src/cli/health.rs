//! `hublatch health`: whether the running hublatch is ready, for container probes. It needs no shell and no curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::{Exit, block_on, fail, load};
use crate::config::{Listen, Management};
use crate::tls::{Acceptor, Connector};

/// Longer than `/ready` itself takes when the hub is silent.
const TIMEOUT: Duration = Duration::from_secs(10);
/// No answer of `/ready` is longer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Asks `/ready` on the management listener of the configuration.
pub fn run(file: &Path) -> Exit {
    let config = match load(file) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let asked = block_on(async {
        let answered = tokio::time::timeout(TIMEOUT, ask(&config.management)).await;
        answered.unwrap_or_else(|_| Err(format!("no answer within {} s", TIMEOUT.as_secs())))
    });
    match asked.map_err(|error| error.to_string()).and_then(|outcome| outcome) {
        Ok(()) => Exit::Done,
        Err(reason) => fail("health", &reason),
    }
}

async fn ask(management: &Management) -> Result<(), String> {
    match &management.listen {
        Listen::Tcp(address) => {
            let address = reachable(*address)?;
            let stream = TcpStream::connect(address).await;
            let stream = stream.map_err(|error| format!("connect to {address}: {error}"))?;
            through(stream, management.tls.as_ref()).await
        }
        Listen::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            let stream = stream.map_err(|error| format!("connect to {}: {error}", path.display()))?;
            through(stream, management.tls.as_ref()).await
        }
    }
}

/// Asks in the clear, or over TLS. The name of the certificate is not that of a loopback address, so what counts is
/// that the listener proves the key of the very certificate in the configuration. Nothing secret is asked or told.
async fn through<IO>(stream: IO, tls: Option<&Acceptor>) -> Result<(), String>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(listener) = tls else { return ready(stream).await };
    let connector = Connector::to_own(listener).map_err(|error| error.to_string())?;
    let stream = connector.connect(stream).await.map_err(|error| {
        format!("TLS handshake: {error} (does hublatch still run with an older management.tls.certificate?)")
    })?;
    ready(stream).await
}

/// Where to call what listens on `address`.
fn reachable(address: SocketAddr) -> Result<SocketAddr, String> {
    if address.port() == 0 {
        return Err("management.listen has port 0, so each start picks another; set a port".to_owned());
    }
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    Ok(SocketAddr::new(ip, address.port()))
}

#[derive(Deserialize)]
struct Unready {
    message: String,
}

/// `GET /ready` over `stream`.
async fn ready(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<(), String> {
    let said = |error: hyper::Error| format!("ask for /ready: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
    let request = Request::get("/ready").header(HOST, "localhost").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| format!("ask for /ready: {error}"))?;
    let exchange = async move {
        let answer = sender.send_request(request).await.map_err(said)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| format!("read the answer of /ready: {error}"))?;
        Ok::<_, String>((status, body.to_bytes()))
    };
    // The connection ends with the exchange, whose sender is gone by then; its own errors are the exchange's.
    let (outcome, _closed) = tokio::join!(exchange, connection);
    let (status, body) = outcome?;
    if status == StatusCode::OK {
        return Ok(());
    }
    let message = serde_json::from_slice::<Unready>(&body).map(|unready| unready.message);
    Err(message.unwrap_or_else(|_| format!("/ready answers {status}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_address_is_called_on_loopback() {
        for (listen, called) in
            [("0.0.0.0:8001", "127.0.0.1:8001"), ("[::]:8001", "[::1]:8001"), ("127.0.0.5:9", "127.0.0.5:9")]
        {
            assert_eq!(reachable(listen.parse().unwrap()), Ok(called.parse().unwrap()));
        }
    }

    #[test]
    fn a_port_that_each_start_picks_cannot_be_called() {
        let refusal = reachable("127.0.0.1:0".parse().unwrap()).unwrap_err();
        assert!(refusal.contains("port 0"), "{refusal}");
    }
}
