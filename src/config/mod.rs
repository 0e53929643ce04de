//! The configuration as meant: validated values that the rest of the crate takes without checking again.
//!
//! `file.rs` is the TOML as written, `validate.rs` turns one into the other and collects every fault. Nothing here
//! opens a socket or knows what a request is.

mod address;
mod apps;
mod embed;
mod fault;
mod file;
mod hub;
mod jwt;
mod limits;
mod login;
mod origin;
mod pages;
mod parse;
mod read;
mod redis;
mod restart;
mod secret;
mod store;
mod tls;
mod unknown;
mod validate;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::tls::{Acceptor, Connector};
use crate::token::{KeyDigest, NamePattern, UsernameRule};

pub use fault::{Fault, Faults};
pub use hub::{AppHubTokens, HubApi, HubTokens};
pub use limits::Limits;
pub use restart::Unchangeable;
pub use validate::{Reading, load, load_str, load_with_files};

/// Everything that hublatch is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// What browsers talk to.
    pub public: Public,
    /// Where the API, health and metrics answer.
    pub management: Management,
    /// The hub behind us.
    pub hub: Hub,
    /// Rules of redeeming.
    pub login: Login,
    /// How the login is proved to the hub; none: by the identity header alone.
    pub assertion: Option<Assertion>,
    /// Where live tokens are kept.
    pub store: Store,
    /// Who may issue links.
    pub apps: Vec<Arc<App>>,
    /// Whose hub API tokens are keys as well; none: nobody's.
    pub hub_tokens: Option<HubTokens>,
    /// Who may show the notebooks in frames; none: what the hub says.
    pub embed: Option<Embed>,
    /// How our own pages look.
    pub pages: Pages,
    /// Every limit on time, size and count.
    pub limits: Limits,
    /// What is logged, and how.
    pub log: Log,
    /// What is allowed but unwise: told once at start, by `/api/v1/info` and by `doctor`.
    pub warnings: Vec<String>,
}

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listen {
    /// `127.0.0.1:8000`, `[::1]:8000`; port 0 picks a free one.
    Tcp(SocketAddr),
    /// `unix:/run/hublatch/public.sock`.
    Unix(PathBuf),
}

/// `[public]`.
#[derive(Debug, Clone)]
pub struct Public {
    /// Where browsers connect; at least one.
    pub listen: Vec<Listen>,
    /// With what they are answered on all of these; none: in the clear.
    pub tls: Option<Acceptor>,
    /// Where they are only sent to `url`, in the clear.
    pub redirect_listen: Vec<Listen>,
    /// What browsers type.
    pub url: PublicUrl,
    /// Runtimes, one thread each; 0: one for each core.
    pub threads: usize,
    /// Peers whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether they, and nobody else, connect, and say by the PROXY protocol who has connected to them.
    pub proxy_protocol: bool,
}

impl Public {
    /// How many threads that is on this machine; never 0.
    pub fn runtimes(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            some => some,
        }
    }
}

/// The public origin (RFC 6454): scheme, host and port, without a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    /// `https://hub.example.org`, as a browser serialises an origin: no default port, no slash at the end.
    pub origin: String,
    /// Whether the scheme is https.
    pub secure: bool,
    /// `hub.example.org` or `hub.example.org:8443`: the value of a browser's Host header.
    pub authority: String,
    /// The port, also where it is the scheme's default.
    pub port: u16,
}

impl PublicUrl {
    /// The host name or address, without port and without the brackets of IPv6.
    pub fn host(&self) -> &str {
        let port = format!(":{}", self.port);
        let host = self.authority.strip_suffix(&port).unwrap_or(&self.authority);
        host.trim_matches(['[', ']'])
    }
}

/// `[management]`.
#[derive(Debug, Clone)]
pub struct Management {
    /// Where the API answers.
    pub listen: Listen,
    /// With what; none: in the clear.
    pub tls: Option<Acceptor>,
}

/// Where the hub's public proxy answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// `http://127.0.0.1:8400`, `https://hub.internal`: host name or address, and port.
    Tcp {
        /// Host name or IP address (IPv6 without brackets).
        host: String,
        /// Port.
        port: u16,
    },
    /// `unix:/run/hub.sock`.
    Unix(PathBuf),
}

/// `[hub]`.
#[derive(Debug, Clone)]
pub struct Hub {
    /// Where requests go.
    pub upstream: Upstream,
    /// How its certificate is verified; none: in the clear.
    pub tls: Option<Connector>,
    /// The hub's `base_url`: starts and ends with `/`.
    pub base_url: String,
    /// Where and how its API is called.
    pub api: HubApi,
    /// Whether it shows no pages: only its API, the login and the logout are routed to it.
    pub api_only: bool,
}

impl Hub {
    /// The path at which tokens are redeemed: `{base}hub/login`.
    pub fn login_path(&self) -> String {
        format!("{}hub/login", self.base_url)
    }
}

/// What a visitor gets at the login path without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutToken {
    /// Our page (403) if the hub does not know the visitor; others go on.
    Page,
    /// The hub's own login.
    Forward,
    /// The app's page if the hub does not know the visitor, with a `state` that binds the link to come to her browser.
    Redirect,
}

/// When the confirm page is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirm {
    /// When another user is logged in, the click comes from elsewhere, or no browser vouches for it.
    Auto,
    /// Before each login.
    Always,
    /// Only for links that ask for it.
    Never,
}

/// `[login]`.
#[derive(Debug, Clone)]
pub struct Login {
    /// The query parameter that holds the token: lower-case letters, digits and `_`.
    pub parameter: String,
    /// The identity header.
    pub user_header: HeaderName,
    /// Life of a token that asks for none.
    pub lifetime: Duration,
    /// The longest life that a token can be given.
    pub max_lifetime: Duration,
    /// What may be a user name.
    pub usernames: UsernameRule,
    /// What a visitor without a token gets.
    pub without_token: WithoutToken,
    /// The app's own page, for "back to …".
    pub app_url: Option<String>,
    /// When to ask before a login.
    pub confirm: Confirm,
    /// How long a used link still leads its user on.
    pub replay_grace: Duration,
    /// Whether only links that are bound to a browser work.
    pub require_state: bool,
    /// Where a browser goes that has logged out; none: the hub's own page.
    pub after_logout_url: Option<String>,
}

/// `[assertion]`.
#[derive(Clone)]
pub struct Assertion {
    /// The header that carries the signed proof.
    pub header: HeaderName,
    /// Ed25519 private key, PKCS#8 in PEM.
    pub key_pem: zeroize::Zeroizing<Vec<u8>>,
    /// Life of an assertion.
    pub lifetime: Duration,
    /// `aud`: who must accept it.
    pub audience: String,
}

impl std::fmt::Debug for Assertion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assertion")
            .field("header", &self.header)
            .field("lifetime", &self.lifetime)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

/// `[store]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Which kind, and where.
    pub url: StoreUrl,
    /// The most live tokens; above it issuing answers 503.
    pub max_tokens: usize,
}

/// Where live tokens are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `memory:`: in this process; they do not survive it.
    Memory,
    /// `redb:///var/lib/hublatch/tokens.redb`: in a file of this process.
    Redb(PathBuf),
    /// `redis://` and its kin: in a server that replicas share.
    Redis(Redis),
}

/// A Redis or Valkey.
#[derive(Clone, PartialEq, Eq)]
pub struct Redis {
    /// Which servers.
    pub servers: RedisServers,
    /// The number of the database.
    pub database: i64,
    /// The ACL user; none: the default user.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<zeroize::Zeroizing<String>>,
    /// The ACL user of the Sentinels; none: their default user.
    pub sentinel_username: Option<String>,
    /// Its password.
    pub sentinel_password: Option<zeroize::Zeroizing<String>>,
    /// Certificates that sign the server's, in PEM; none: the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// What the names of all keys begin with.
    pub prefix: String,
    /// The longest wait for a connection and for an answer.
    pub timeout: Duration,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis")
            .field("servers", &self.servers)
            .field("database", &self.database)
            .field("username", &self.username)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// How the primary is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisServers {
    /// `redis://127.0.0.1:6379`: there is one server.
    One(RedisAddress),
    /// `redis+sentinel://10.0.0.1,10.0.0.2,10.0.0.3/mymaster`: Sentinels say which server it is.
    Sentinels {
        /// The Sentinels.
        sentinels: Vec<RedisAddress>,
        /// The name by which they know it.
        service: String,
    },
    /// `redis+cluster://10.0.0.1,10.0.0.2,10.0.0.3`: the node that holds the slot of all our keys.
    Cluster(Vec<RedisAddress>),
}

/// Where a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisAddress {
    /// `redis://127.0.0.1:6379`.
    Tcp {
        /// Host name or address (IPv6 without brackets).
        host: String,
        /// Port.
        port: u16,
    },
    /// `rediss://redis.example.org:6379`.
    Tls {
        /// The host name that its certificate must have.
        host: String,
        /// Port.
        port: u16,
    },
    /// `redis+unix:///run/redis/redis.sock`.
    Unix(PathBuf),
}

/// What an app may do with its own links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Issue links.
    Issue,
    /// Read their status.
    Read,
    /// Revoke them.
    Revoke,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Issue, Self::Read, Self::Revoke];
}

/// `[[apps]]`: who may issue links, and which.
#[derive(Debug, Clone)]
pub struct App {
    /// Unique name, for logs and metrics.
    pub name: Arc<str>,
    /// Digests of its keys: one, or two while they rotate.
    pub keys: Vec<KeyDigest>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Whom it may log in, within `login.usernames`.
    pub usernames: NamePattern,
    /// Whom it may not, whatever `usernames` says.
    pub deny_usernames: Vec<String>,
    /// Prefixes of `next` that it may use; whole path segments.
    pub next: Vec<String>,
    /// The longest life of its links; at most `login.max_lifetime`.
    pub max_lifetime: Duration,
    /// The most links it may issue per second.
    pub rate_per_second: std::num::NonZeroU32,
    /// The most links of its that wait to be used.
    pub max_live_links: usize,
    /// Where its clicks come from; empty: anywhere.
    pub origins: Vec<HeaderValue>,
    /// How it signs tokens of its own, if it does.
    pub jwt: Option<Jwt>,
    /// Where it turns tokens of its own into names, if it does.
    pub exchange_url: Option<url::Url>,
    /// What hub tokens it may have, if any.
    pub hub_tokens: Option<AppHubTokens>,
    /// Whether it may say of which groups its users are, and make other claims: not a user who issues links herself.
    pub vouches: bool,
}

/// `[apps.jwt]`: tokens that an app signs itself (RFC 7519).
#[derive(Debug, Clone)]
pub struct Jwt {
    /// `iss`; no other app has the same.
    pub issuer: String,
    /// `aud` must be this or hold it.
    pub audience: String,
    /// What verifies the signatures.
    pub keys: JwtKeys,
    /// How they may be made.
    pub algorithms: Vec<JwtAlgorithm>,
}

/// Where the public keys of an app are.
#[derive(Debug, Clone)]
pub enum JwtKeys {
    /// One key, in PEM.
    Pem(String),
    /// A JWK Set (RFC 7517 § 5) at this URL.
    Url(url::Url),
}

/// How a token is signed (RFC 7518 § 3.1, RFC 8037 § 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwtAlgorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2048 to 8192 bits.
    Rs256,
}

/// `[embed]`.
#[derive(Debug, Clone)]
pub struct Embed {
    /// Origins of the pages that may have frames with the hub and its servers in them.
    pub frame_ancestors: Vec<String>,
    /// How cookies are made to work there.
    pub cookies: EmbedCookies,
}

/// What is done to cookies for frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbedCookies {
    /// Nothing: frames of the same site.
    Lax,
    /// `SameSite=None; Secure`: frames of any site.
    None,
    /// And `Partitioned`: another login for each site with a frame.
    Partitioned,
}

/// A language of our own pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// `en`.
    English,
    /// `de`.
    German,
    /// `fr`.
    French,
}

/// `[pages]`.
#[derive(Debug, Clone, Default)]
pub struct Pages {
    /// The one language; none: the browser's choice.
    pub language: Option<Language>,
    /// The name of the application or of its operator.
    pub name: Option<String>,
    /// Its logo.
    pub logo: Option<Image>,
    /// The operator's own templates.
    pub templates: Vec<Template>,
}

/// A picture.
#[derive(Debug, Clone)]
pub struct Image {
    /// `image/svg+xml`.
    pub media_type: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
}

/// A template of the operator's, not judged yet.
#[derive(Debug, Clone)]
pub struct Template {
    /// `page.html`.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// What is in it, with line feeds alone.
    pub text: String,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person at a terminal.
    Text,
}

/// Where the audit lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditSink {
    /// Among the log lines.
    Stderr,
    /// Appended to a file of their own.
    File(PathBuf),
}

/// `[log]`.
#[derive(Debug, Clone)]
pub struct Log {
    /// JSON or text.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: tracing::Level,
    /// Whether each request is one line.
    pub access: bool,
    /// Where the audit lines go.
    pub audit: AuditSink,
}
