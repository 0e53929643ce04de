//! One question over a connection of its own, to the hub, to hublatch or to whatever stands before it.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use reqwest::header::{HOST, HeaderMap};
use reqwest::{Body, Client, Method, RequestBuilder, StatusCode, redirect, retry};
use tokio::net::TcpStream;

use crate::config::{Config, Listen, UpstreamAddress};
use crate::tls::{self, Connector, peer_left};

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
    client: Client,
}

/// A whole response.
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
    /// As it was sent, with quotes if there are any.
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
    pub(super) fn hub(config: &Config) -> Result<Self, String> {
        let to = config.hub.upstream.clone();
        let to = to.unwrap_or(UpstreamAddress::Unix(std::path::PathBuf::new()));
        Self::new(to, config.hub.tls.clone(), &config.public.url.authority)
    }

    /// The management listener of the running hublatch. The name of its certificate is not that of a loopback address,
    /// so what counts is that it proves the key of the very certificate in the configuration.
    pub(super) fn management(config: &Config) -> Result<Self, String> {
        Self::programs(config, &config.management.listen)
    }

    /// A listener for programs, which has the certificate of the management listener.
    pub(super) fn programs(config: &Config, listen: &Listen) -> Result<Self, String> {
        let tls = config.management.tls.as_ref().map(Connector::to_own).transpose();
        Self::new(address_of(listen)?, tls.map_err(|error| error.to_string())?, "localhost")
    }

    /// A listener of ours in the clear.
    pub(super) fn plain(listen: &Listen) -> Result<Self, String> {
        Self::new(address_of(listen)?, None, "localhost")
    }

    /// What browsers talk to, found by the name in public.url; over https by `tls`.
    pub(super) fn public(config: &Config, tls: Option<Connector>) -> Result<Self, String> {
        let public = &config.public.url;
        let to = UpstreamAddress::Tcp { host: public.host().to_owned(), port: public.port };
        Self::new(to, tls, &public.authority)
    }

    fn new(to: UpstreamAddress, tls: Option<Connector>, authority: &str) -> Result<Self, String> {
        // A finding is about this address and this one response: no redirect, no second try, no proxy of the environment.
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .tls_backend_preconfigured(tls::client_rules(tls.as_ref()).map_err(|error| error.to_string())?);
        let client = match &to {
            UpstreamAddress::Tcp { .. } => client,
            UpstreamAddress::Unix(path) => client.unix_socket(path.as_path()),
        };
        let client = client.build().map_err(|error| root_cause(&error).to_string())?;
        Ok(Self { to, tls, authority: authority.to_owned(), client })
    }

    /// A request for `path`, to be completed and given to [`CallTarget::send`].
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let place = match &self.to {
            UpstreamAddress::Tcp { .. } => self.name(),
            UpstreamAddress::Unix(_) => "localhost".to_owned(),
        };
        self.client.request(method, format!("{scheme}://{place}{path}")).header(HOST, &self.authority)
    }

    /// Sends `request` and reads the whole response.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<CallResponse, String> {
        let late = || format!("no answer of {} within {} s", self.name(), TIMEOUT.as_secs());
        tokio::time::timeout(TIMEOUT, self.exchange(request)).await.unwrap_or_else(|_| Err(late()))
    }

    /// `GET path`.
    pub(super) async fn get(&self, path: &str) -> Result<CallResponse, String> {
        self.send(self.request(Method::GET, path)).await
    }

    /// Shakes hands, and tells how long the certificate is valid from now on. Without reqwest, which has no word for the
    /// certificate of a server whose HTTP fails.
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
        match tokio::time::timeout(TIMEOUT, connector.connect(stream)).await {
            Ok(Ok(secured)) => Ok(peer_left(&secured)),
            Ok(Err(error)) => Err(Unsecured::Tls(format!("TLS handshake with {}: {error}", self.name()))),
            Err(_) => Err(Unsecured::Tls(late("handshake with"))),
        }
    }

    async fn exchange(&self, request: RequestBuilder) -> Result<CallResponse, String> {
        let request =
            request.build().map_err(|error| format!("ask {}: {}", self.name(), root_cause(&error)))?;
        let what = format!("{} {} of {}", request.method(), request.url().path(), self.name());
        let response = self.client.execute(request).await.map_err(|error| {
            let cause = root_cause(&error);
            if !error.is_connect() {
                return format!("{what}: {cause}");
            }
            let step = if tls::refuses(cause) { "TLS handshake with" } else { "connect to" };
            format!("{step} {}: {cause}", self.name())
        })?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = Limited::new(Body::from(response), RESPONSE_BYTES_MAX).collect().await;
        let body = body.map_err(|error| format!("{what}: read the answer: {}", root_cause(&*error)))?;
        Ok(CallResponse { status, headers, body: body.to_bytes() })
    }

    /// The address, as findings show it.
    pub(super) fn name(&self) -> String {
        match &self.to {
            UpstreamAddress::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            UpstreamAddress::Tcp { host, port } => format!("{host}:{port}"),
            UpstreamAddress::Unix(path) => path.display().to_string(),
        }
    }
}

/// What is wrong at the bottom of it: reqwest itself says only what it was about to do.
pub(super) fn root_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause
}

fn address_of(listen: &Listen) -> Result<UpstreamAddress, String> {
    Ok(match listen {
        Listen::Tcp(address) => {
            let address = reachable(*address)?;
            UpstreamAddress::Tcp { host: address.ip().to_string(), port: address.port() }
        }
        Listen::Unix(path) => UpstreamAddress::Unix(path.clone()),
    })
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
