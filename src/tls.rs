//! TLS, in both directions, and the only module that names rustls: certificates in, encrypted byte streams out.
//!
//! Knows nothing of configuration keys or of HTTP beyond the two names of ALPN. There is no early data (0-RTT): it can
//! be replayed, and a login must not be.

mod identity;
mod pem;
mod pinned;

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use pinned::{Anybody, OrAnchor, OrOwn, Pinned};

pub use identity::{IdentityError, TlsIdentity};
pub use pem::PemError;

/// 1.0 and 1.1 are out of use (RFC 8996), and rustls does not have them.
const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// An encrypted stream over `IO`.
pub type Secured<IO> = TlsStream<IO>;

/// Certificates or a name that TLS cannot be made of.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Nothing to trust.
    #[error("this system has none")]
    NoRoots,
    /// No certificates in PEM.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A certificate that cannot be read.
    #[error("a certificate in it cannot be read: {0}")]
    Root(String),
    /// A host that is neither a DNS name nor an address.
    #[error("is not a host name that a certificate can bear")]
    Name,
    /// rustls will not have it.
    #[error("set TLS up: {0}")]
    Setup(String),
}

fn setup(error: impl fmt::Display) -> TlsError {
    TlsError::Setup(error.to_string())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

/// Certificates of authorities that are trusted.
#[derive(Debug, Clone)]
pub struct Roots {
    store: Arc<RootCertStore>,
    /// The certificates themselves, where somebody has named them: a server may have one of them for its own.
    named: Arc<[CertificateDer<'static>]>,
}

impl Roots {
    /// Those in `pem`, one or more.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TlsError> {
        let named = pem::certificates(pem)?;
        let mut roots = RootCertStore::empty();
        for certificate in &named {
            roots.add(certificate.clone()).map_err(|error| TlsError::Root(error.to_string()))?;
        }
        Self::some(roots, named)
    }

    /// Those that the system trusts. A certificate among them that cannot be read is left out, as everywhere.
    pub fn of_system() -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self::some(roots, Vec::new())
    }

    fn some(roots: RootCertStore, named: Vec<CertificateDer<'static>>) -> Result<Self, TlsError> {
        if roots.is_empty() {
            return Err(TlsError::NoRoots);
        }
        Ok(Self { store: Arc::new(roots), named: named.into() })
    }
}

/// The accepting side.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    identity: TlsIdentity,
    proves_clients: bool,
}

impl Acceptor {
    /// For browsers: HTTP/2 or HTTP/1.1, as they like.
    pub fn for_browsers(identity: TlsIdentity) -> Result<Self, TlsError> {
        Self::new(identity, None, &[b"h2", b"http/1.1"])
    }

    /// For browsers that may prove a certificate from `clients`, and must if it is `required`.
    pub fn for_known_browsers(
        identity: TlsIdentity,
        clients: Roots,
        required: bool,
    ) -> Result<Self, TlsError> {
        let builder = WebPkiClientVerifier::builder_with_provider(clients.store, provider());
        let builder = if required { builder } else { builder.allow_unauthenticated() };
        let clients = builder.build().map_err(setup)?;
        Self::verifying(identity, Some(clients), &[b"h2", b"http/1.1"])
    }

    /// For programs, which do well with HTTP/1.1. With `clients`, only those that prove a certificate from there, or
    /// that have this listener's own key: that is how `hublatch health` gets in.
    pub fn for_programs(identity: TlsIdentity, clients: Option<Roots>) -> Result<Self, TlsError> {
        Self::new(identity, clients, &[b"http/1.1"])
    }

    fn new(identity: TlsIdentity, clients: Option<Roots>, alpn: &[&[u8]]) -> Result<Self, TlsError> {
        let clients = match clients {
            None => None,
            Some(roots) => {
                let by_authority = WebPkiClientVerifier::builder_with_provider(roots.store, provider());
                let by_authority = by_authority.build().map_err(setup)?;
                let own = identity.certificate().clone();
                Some(Arc::new(OrOwn { by_authority, own }) as Arc<dyn ClientCertVerifier>)
            }
        };
        Self::verifying(identity, clients, alpn)
    }

    fn verifying(
        identity: TlsIdentity,
        clients: Option<Arc<dyn ClientCertVerifier>>,
        alpn: &[&[u8]],
    ) -> Result<Self, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(setup)?;
        let proves_clients = clients.is_some();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(clients),
        };
        let mut config = builder.with_cert_resolver(identity.resolver());
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        // Sessions are resumed by ticket, whichever thread takes the connection, and cost no memory here.
        config.ticketer = Ticketer::new().map_err(setup)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config), identity, proves_clients })
    }

    /// The same, taking the session tickets that `earlier` has given out: a new certificate is no reason for every
    /// browser to shake hands in full. Not where clients prove certificates: a ticket would let in whom the authorities
    /// of today do not know.
    #[must_use]
    pub fn carry_over(mut self, earlier: &Self) -> Self {
        if !self.proves_clients && !earlier.proves_clients {
            let mut config = ServerConfig::clone(&self.config);
            config.ticketer = Arc::clone(&earlier.config.ticketer);
            self.config = Arc::new(config);
        }
        self
    }

    /// How long the certificate is valid from now on; nothing if it has expired.
    pub fn left(&self) -> Option<Duration> {
        self.identity.left()
    }

    /// When the certificate ends, in seconds since 1970.
    pub fn not_after(&self) -> u64 {
        self.identity.not_after()
    }

    /// Whether the certificate is for `host`, a DNS name or an address.
    pub fn has_name(&self, host: &str) -> bool {
        let name = ServerName::try_from(host.to_owned());
        let certificate = ParsedCertificate::try_from(self.identity.certificate());
        name.is_ok_and(|name| {
            certificate.is_ok_and(|certificate| verify_server_name(&certificate, &name).is_ok())
        })
    }

    /// Whether clients must prove a certificate.
    pub fn proves_clients(&self) -> bool {
        self.proves_clients
    }

    /// Shakes hands over `io`. Takes as long as the peer likes.
    pub async fn accept<IO>(&self, io: IO) -> io::Result<Secured<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(Arc::clone(&self.config)).accept(io).await.map(TlsStream::Server)
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Whether the peer chose HTTP/2.
pub fn speaks_http2<IO>(stream: &Secured<IO>) -> bool {
    let (_, connection) = stream.get_ref();
    connection.alpn_protocol() == Some(b"h2")
}

/// What carries it.
pub fn carrier<IO>(stream: &Secured<IO>) -> &IO {
    let (carrier, _) = stream.get_ref();
    carrier
}

/// How long the certificate that the peer has shown is valid from now on.
pub fn peer_left<IO>(stream: &Secured<IO>) -> Option<Duration> {
    let (_, connection) = stream.get_ref();
    connection.peer_certificates().and_then(|chain| chain.first()).and_then(identity::left)
}

/// The version that was agreed on.
pub fn version<IO>(stream: &Secured<IO>) -> &'static str {
    let (_, connection) = stream.get_ref();
    match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
        Some(rustls::ProtocolVersion::TLSv1_3) => "1.3",
        _ => "",
    }
}

/// Judges the certificates of servers by `roots`.
fn verifier(roots: Roots) -> Result<Arc<OrAnchor>, TlsError> {
    let by_authority = WebPkiServerVerifier::builder_with_provider(roots.store, provider()).build();
    Ok(Arc::new(OrAnchor { by_authority: by_authority.map_err(setup)?, named: roots.named }))
}

/// The connecting side, to one host.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Connector {
    /// To `host`, a DNS name or an address, which must prove a certificate of that name from one of `roots`.
    pub fn to(host: &str, roots: Roots) -> Result<Self, TlsError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name)?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(setup)?
            .dangerous()
            .with_custom_certificate_verifier(verifier(roots)?)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), name })
    }

    /// To a listener of our own, whatever name its certificate bears. Instead of the name, the certificate itself must
    /// be the very one that the listener is configured with, and the listener must prove its key; we prove the same.
    pub fn to_own(listener: &Acceptor) -> Result<Self, TlsError> {
        let own = Pinned {
            certificate: listener.identity.certificate().clone(),
            anybody: Anybody { provider: provider() },
        };
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(setup)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(own))
            .with_client_cert_resolver(listener.identity.resolver());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.enable_sni = false;
        let name = ServerName::try_from("localhost").map_err(|_| TlsError::Name)?;
        Ok(Self { config: Arc::new(config), name })
    }

    /// The same for another protocol than HTTP, which has no name in the handshake.
    #[must_use]
    pub fn speaking_no_http(self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols.clear();
        Self { config: Arc::new(config), ..self }
    }

    /// Shakes hands over `io`.
    pub async fn connect<IO>(&self, io: IO) -> io::Result<Secured<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(self.name.clone(), io).await.map(TlsStream::Client)
    }
}

/// The connecting side, to hosts that are not known yet.
#[derive(Clone)]
pub struct ClientRules(Arc<ClientConfig>);

impl ClientRules {
    /// Hosts must prove a certificate of their name from one of `roots`; they are shown `identity`, if they ask.
    pub fn new(roots: Roots, identity: Option<TlsIdentity>) -> Result<Self, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(setup)?
            .dangerous()
            .with_custom_certificate_verifier(verifier(roots)?);
        Ok(Self::made(match identity {
            Some(identity) => builder.with_client_cert_resolver(identity.resolver()),
            None => builder.with_no_client_auth(),
        }))
    }

    /// Hosts may prove any certificate: whoever stands on the way can be them.
    pub fn trusting_anybody(identity: Option<TlsIdentity>) -> Result<Self, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(setup)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody { provider: provider() }));
        Ok(Self::made(match identity {
            Some(identity) => builder.with_client_cert_resolver(identity.resolver()),
            None => builder.with_no_client_auth(),
        }))
    }

    fn made(mut config: ClientConfig) -> Self {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self(Arc::new(config))
    }

    /// To `host`, a DNS name or an address.
    pub fn to(&self, host: &str) -> Result<Connector, TlsError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name)?;
        Ok(Connector { config: Arc::clone(&self.0), name })
    }
}

impl fmt::Debug for ClientRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRules").finish_non_exhaustive()
    }
}

/// The rules of `connector` for a client that makes its own connections and checks the name in its URL: reqwest takes
/// them as they are, so that no other module need name rustls. Without one, for a client that speaks in the clear only: no
/// certificate would do, and the system need not have any to trust.
pub fn client_rules(connector: Option<&Connector>) -> Result<impl Any + use<>, TlsError> {
    if let Some(connector) = connector {
        return Ok(ClientConfig::clone(&connector.config));
    }
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS);
    Ok(builder.map_err(setup)?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// Whether `error` is about a handshake: its certificate, its versions, a peer that does not speak TLS.
pub fn refuses(error: &(dyn std::error::Error + 'static)) -> bool {
    if error.is::<rustls::Error>() {
        return true;
    }
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped.is_some_and(|inner| refuses(inner))
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("name", &self.name).finish_non_exhaustive()
    }
}
