//! One question over a connection of its own, to the hub, to hublatch or to whatever stands before it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{HOST, HeaderValue};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::config::{Config, Listen, UpstreamAddress};
use crate::tls::{Connector, Secured, peer_left};

/// Longer than `/ready` itself takes when the hub is silent.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The hub's pages are some ten KiB; what is longer is no response to any of our questions.
const RESPONSE_BYTES_MAX: usize = 1024 * 1024;

/// The hub's cookie that says who is logged in.
const LOGIN_COOKIE: &str = "jupyterhub-hub-login";

/// Whom to ask.
#[derive(Debug)]
pub(super) struct CallTarget {
    to: UpstreamAddress,
    tls: Option<Connector>,
    /// The Host of the requests.
    authority: String,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct CallResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A cookie that a response sets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cookie {
    pub(super) name: String,
    /// Byte for byte.
    pub(super) value: String,
    pub(super) secure: bool,
}

/// Why there is no encrypted connection.
#[derive(Debug)]
pub(super) enum Unsecured {
    /// The name does not resolve, or nothing takes the connection.
    Connect(String),
    /// Something takes it, and its handshake or certificate is bad.
    Tls(String),
}

/// A stream in the clear or over TLS.
trait AnyStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<IO: AsyncRead + AsyncWrite + Unpin + Send> AnyStream for IO {}

impl CallResponse {
    /// The body as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` if it is none.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The lines of `name` as text.
    pub(super) fn lines(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
    }

    /// The cookies that it sets; not those that it takes away, whose value is empty.
    pub(super) fn cookies(&self) -> Vec<Cookie> {
        let cookie = |line: &str| {
            let mut parts = line.split(';').map(str::trim);
            let (name, value) = parts.next()?.split_once('=')?;
            let secure = parts.any(|part| part.eq_ignore_ascii_case("secure"));
            let is_set = !value.trim_matches('"').is_empty();
            is_set.then(|| Cookie { name: name.to_owned(), value: value.to_owned(), secure })
        };
        self.lines("set-cookie").into_iter().filter_map(cookie).collect()
    }

    /// Whether it logs somebody in at the hub.
    pub(super) fn logs_in(&self) -> bool {
        self.cookies().iter().any(|cookie| cookie.name.trim_start_matches("__Host-") == LOGIN_COOKIE)
    }
}

impl CallTarget {
    /// The hub's own public proxy, asked as hublatch asks it.
    pub(super) fn hub(config: &Config) -> Self {
        let authority = config.public.url.authority.clone();
        Self {
            to: config.hub.upstream.clone().unwrap_or(UpstreamAddress::Unix(std::path::PathBuf::new())),
            tls: config.hub.tls.clone(),
            authority,
        }
    }

    /// The management listener of the running hublatch. The name of its certificate is not that of a loopback address,
    /// so what counts is that it proves the key of the very certificate in the configuration.
    pub(super) fn management(config: &Config) -> Result<Self, String> {
        Self::programs(config, &config.management.listen)
    }

    /// A listener for programs, which has the certificate of the management listener.
    pub(super) fn programs(config: &Config, listen: &Listen) -> Result<Self, String> {
        let tls = config.management.tls.as_ref().map(Connector::to_own).transpose();
        Ok(Self { tls: tls.map_err(|error| error.to_string())?, ..Self::plain(listen)? })
    }

    /// A listener of ours in the clear.
    pub(super) fn plain(listen: &Listen) -> Result<Self, String> {
        let to = match listen {
            Listen::Tcp(address) => {
                let address = reachable(*address)?;
                UpstreamAddress::Tcp { host: address.ip().to_string(), port: address.port() }
            }
            Listen::Unix(path) => UpstreamAddress::Unix(path.clone()),
        };
        Ok(Self { to, tls: None, authority: "localhost".to_owned() })
    }

    /// What browsers talk to, found by the name in public.url; over https by `tls`.
    pub(super) fn public(config: &Config, tls: Option<Connector>) -> Self {
        let public = &config.public.url;
        let host = public.host().to_owned();
        Self {
            to: UpstreamAddress::Tcp { host, port: public.port },
            tls,
            authority: public.authority.clone(),
        }
    }

    /// Sends `request`, whose URI is a path, and reads the whole response.
    pub(super) async fn send(&self, request: Request<String>) -> Result<CallResponse, String> {
        let late = || format!("no answer of {} within {} s", self.name(), TIMEOUT.as_secs());
        tokio::time::timeout(TIMEOUT, self.exchange(request)).await.unwrap_or_else(|_| Err(late()))
    }

    /// `GET path`.
    pub(super) async fn get(&self, path: &str) -> Result<CallResponse, String> {
        let request = Request::get(path).body(String::new());
        self.send(request.map_err(|error| format!("ask for {path}: {error}"))?).await
    }

    /// Shakes hands, and tells how long the certificate is valid from now on.
    pub(super) async fn handshake(&self) -> Result<Option<Duration>, Unsecured> {
        let UpstreamAddress::Tcp { host, port } = &self.to else { return Ok(None) };
        let Some(connector) = &self.tls else { return Ok(None) };
        let late = |what: &str| format!("no {what} {} within {} s", self.name(), TIMEOUT.as_secs());
        let connecting = tokio::time::timeout(TIMEOUT, TcpStream::connect((host.as_str(), *port))).await;
        let stream = match connecting {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(Unsecured::Connect(format!("connect to {}: {error}", self.name()))),
            Err(_) => return Err(Unsecured::Connect(late("connection to"))),
        };
        let shaking = tokio::time::timeout(TIMEOUT, self.secure(connector, stream)).await;
        let secured = shaking.unwrap_or_else(|_| Err(late("handshake with"))).map_err(Unsecured::Tls)?;
        Ok(peer_left(&secured))
    }

    async fn exchange(&self, request: Request<String>) -> Result<CallResponse, String> {
        let what = format!("{} {} of {}", request.method(), request.uri().path(), self.name());
        let said = |error: hyper::Error| format!("{what}: {error}");
        let (mut parts, body) = request.into_parts();
        let host = HeaderValue::from_str(&self.authority).map_err(|error| error.to_string())?;
        parts.headers.insert(HOST, host);
        let request = Request::from_parts(parts, Full::new(Bytes::from(body)));
        let stream = TokioIo::new(self.connect().await?);
        let (sender, connection) = hyper::client::conn::http1::handshake(stream).await.map_err(said)?;
        let exchange = async {
            // Dropped at the end, and the connection with it.
            let mut sender = sender;
            let answer = sender.send_request(request).await.map_err(said)?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, RESPONSE_BYTES_MAX).collect().await;
            let body = body.map_err(|error| format!("{what}: read the answer: {error}"))?.to_bytes();
            Ok(CallResponse { status: parts.status, headers: parts.headers, body })
        };
        // The connection ends with the exchange, whose sender is gone by then; its own errors are the exchange's.
        let (outcome, _closed) = tokio::join!(exchange, connection);
        outcome
    }

    async fn connect(&self) -> Result<Box<dyn AnyStream>, String> {
        let cannot = |error: std::io::Error| format!("connect to {}: {error}", self.name());
        Ok(match &self.to {
            UpstreamAddress::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(cannot)?;
                match &self.tls {
                    Some(connector) => Box::new(self.secure(connector, stream).await?),
                    None => Box::new(stream),
                }
            }
            UpstreamAddress::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(cannot)?;
                match &self.tls {
                    Some(connector) => Box::new(self.secure(connector, stream).await?),
                    None => Box::new(stream),
                }
            }
        })
    }

    async fn secure<IO>(&self, connector: &Connector, stream: IO) -> Result<Secured<IO>, String>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        connector
            .connect(stream)
            .await
            .map_err(|error| format!("TLS handshake with {}: {error}", self.name()))
    }

    /// For people.
    pub(super) fn name(&self) -> String {
        match &self.to {
            UpstreamAddress::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            UpstreamAddress::Tcp { host, port } => format!("{host}:{port}"),
            UpstreamAddress::Unix(path) => path.display().to_string(),
        }
    }
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
