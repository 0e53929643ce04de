//! `hublatch chp`: the command line of configurable-http-proxy 5.3, so that a hub which starts that starts this instead.
//!
//! Without `--config` it is a plain proxy by the hub's routing table. With it links log people in as well; where both say
//! something of a listener or of routes, the command line wins.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use url::Url;
use zeroize::Zeroizing;

use super::serve::{Process, run_by, with_learnt};
use super::{Exit, fail, print, read};
use crate::app::Running;
use crate::config::{Chp, Config, Faults, Listen, Reading, Secret, Source, custom_header};
use crate::routes::LearntHub;
use crate::routes::api::PATH as TABLE;
use crate::tls::{Acceptor, ClientRules, Roots, TlsIdentity};

/// The port of browsers, unless another is given.
const PORT: u16 = 8000;

/// The options of configurable-http-proxy 5.3, and one of ours.
#[derive(Debug, Clone, Default, Args)]
#[command(args_override_self = true)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of configurable-http-proxy")]
pub struct ChpArgs {
    /// The configuration of hublatch, for logins by link
    #[arg(long, value_name = "FILE", env = "HUBLATCH_CONFIG")]
    config: Option<PathBuf>,
    /// Public-facing IP of the proxy
    #[arg(long)]
    ip: Option<String>,
    /// Public-facing port of the proxy
    #[arg(long)]
    port: Option<String>,
    /// Public-facing unix socket, instead of IP and port
    #[arg(long, conflicts_with_all = ["ip", "port"])]
    socket: Option<PathBuf>,
    /// IP of the REST API
    #[arg(long, default_value = "localhost")]
    api_ip: String,
    /// Port of the REST API; by default the one after the public port
    #[arg(long)]
    api_port: Option<String>,
    /// Unix socket of the REST API, instead of IP and port
    #[arg(long)]
    api_socket: Option<PathBuf>,
    /// TLS: private key
    #[arg(long)]
    ssl_key: Option<PathBuf>,
    /// TLS: certificate chain
    #[arg(long)]
    ssl_cert: Option<PathBuf>,
    /// TLS: authorities of clients' certificates
    #[arg(long)]
    ssl_ca: Option<PathBuf>,
    /// TLS: ask clients for a certificate
    #[arg(long)]
    ssl_request_cert: bool,
    /// TLS: refuse clients without one
    #[arg(long)]
    ssl_reject_unauthorized: bool,
    /// Ignored: TLS 1.2 and 1.3 are spoken
    #[arg(long)]
    ssl_protocol: Option<String>,
    /// Ignored: only ciphers that are safe are spoken
    #[arg(long)]
    ssl_ciphers: Option<String>,
    /// Ignored: RC4 is not spoken
    #[arg(long)]
    ssl_allow_rc4: bool,
    /// Ignored: no group of an operator's is spoken
    #[arg(long)]
    ssl_dhparam: Option<PathBuf>,
    /// TLS of the REST API: private key
    #[arg(long)]
    api_ssl_key: Option<PathBuf>,
    /// TLS of the REST API: certificate chain
    #[arg(long)]
    api_ssl_cert: Option<PathBuf>,
    /// TLS of the REST API: authorities of clients' certificates
    #[arg(long)]
    api_ssl_ca: Option<PathBuf>,
    /// TLS of the REST API: ask clients for a certificate
    #[arg(long)]
    api_ssl_request_cert: bool,
    /// TLS of the REST API: refuse clients without one
    #[arg(long)]
    api_ssl_reject_unauthorized: bool,
    /// TLS towards targets: private key
    #[arg(long)]
    client_ssl_key: Option<PathBuf>,
    /// TLS towards targets: certificate chain
    #[arg(long)]
    client_ssl_cert: Option<PathBuf>,
    /// TLS towards targets: authorities of their certificates
    #[arg(long)]
    client_ssl_ca: Option<PathBuf>,
    /// Ignored: a target always proves a certificate
    #[arg(long)]
    client_ssl_request_cert: bool,
    /// Ignored: a target always proves a certificate
    #[arg(long)]
    client_ssl_reject_unauthorized: bool,
    /// Where requests go that no route takes
    #[arg(long)]
    default_target: Option<String>,
    /// Whose pages are shown for errors
    #[arg(long, conflicts_with = "error_path")]
    error_target: Option<String>,
    /// Where such pages lie as files
    #[arg(long)]
    error_path: Option<PathBuf>,
    /// Plain port that redirects to https
    #[arg(long)]
    redirect_port: Option<String>,
    /// The port of https that it redirects to
    #[arg(long)]
    redirect_to: Option<String>,
    /// File for the process id
    #[arg(long)]
    pid_file: Option<PathBuf>,
    /// Leave X-Forwarded-* as they came
    #[arg(long)]
    no_x_forward: bool,
    /// Do not put a target's path before the request's
    #[arg(long)]
    no_prepend_path: bool,
    /// Cut the route's path off the request's
    #[arg(long)]
    no_include_prefix: bool,
    /// Rewrite redirects of a target to itself
    #[arg(long)]
    auto_rewrite: bool,
    /// Send the target's own Host
    #[arg(long)]
    change_origin: bool,
    /// The scheme of rewritten redirects
    #[arg(long)]
    protocol_rewrite: Option<String>,
    /// A header that every request gets
    #[arg(long, value_name = "NAME: VALUE", action = clap::ArgAction::Append)]
    custom_header: Vec<String>,
    /// Do not verify certificates of targets
    #[arg(long)]
    insecure: bool,
    /// Route by host as well
    #[arg(long)]
    host_routing: bool,
    /// IP of the metrics
    #[arg(long, default_value = "")]
    metrics_ip: String,
    /// Port of the metrics; none by default
    #[arg(long)]
    metrics_port: Option<String>,
    /// Unix socket of the metrics
    #[arg(long)]
    metrics_socket: Option<PathBuf>,
    /// debug, info, warn or error
    #[arg(long, default_value = "info")]
    log_level: String,
    /// Milliseconds that a client may be silent
    #[arg(long)]
    timeout: Option<String>,
    /// Milliseconds that a target may be silent
    #[arg(long)]
    proxy_timeout: Option<String>,
    /// Milliseconds that an unused connection stays open
    #[arg(long)]
    keep_alive_timeout: Option<String>,
    /// Refused: routes are kept by routes.state of --config
    #[arg(long)]
    storage_backend: Option<String>,
}

/// Runs until a signal ends it.
pub fn run(args: ChpArgs) -> Exit {
    if let Some(backend) = &args.storage_backend {
        let why = format!(
            "--storage-backend {backend} is a module of Node.js; write routes.state in the file of --config instead"
        );
        return fail("chp", &why);
    }
    if args.redirect_port.is_some() && (args.ssl_key.is_none() || args.ssl_cert.is_none()) {
        return fail("chp", "--redirect-port needs --ssl-key and --ssl-cert");
    }
    let pid_file = match args.pid_file.as_deref().map(PidFile::write).transpose() {
        Ok(pid_file) => pid_file,
        Err(error) => return fail("chp", &format!("write --pid-file: {error}")),
    };
    let args = Arc::new(args);
    let announced = Arc::clone(&args);
    let process =
        Process { frees_ports: true, announce: Some(Box::new(move |running| announce(&announced, running))) };
    let exit = run_by(
        process,
        Arc::new(move |learnt: &LearntHub| with_learnt(learnt, |more| configuration(&args, more))),
    );
    drop(pid_file);
    exit
}

/// The lines that those who start configurable-http-proxy wait for, on stdout.
fn announce(args: &ChpArgs, running: &Running) {
    let ignored = args.ignored();
    if !ignored.is_empty() {
        tracing::warn!("these options have no effect here: {}", ignored.join(", "));
    }
    if running.routes().is_some() && std::env::var_os(TOKEN_VARIABLE).is_none_or(|token| token.is_empty()) {
        tracing::warn!("REST API is not authenticated: set {TOKEN_VARIABLE}");
    }
    if args.insecure {
        tracing::warn!("--insecure: certificates of targets are not verified");
    }
    let scheme = if args.ssl_key.is_some() { "https" } else { "http" };
    let target = args.default_target.as_deref().unwrap_or("(no default)");
    for address in running.public() {
        _ = print(&format!("Proxying {scheme}://{address} to {target}"));
    }
    let scheme = if args.api_ssl_key.is_some() { "https" } else { "http" };
    _ = print(&format!("Proxy API at {scheme}://{}{TABLE}", running.management()));
    if let Some(target) = &args.default_target {
        _ = print(&format!("Adding route / -> {target}"));
        _ = print(&format!("Route added / -> {target}"));
    }
    for address in running.redirect() {
        _ = print(&format!("Added HTTP to HTTPS redirection from {address}"));
    }
}

/// Whoever can read them can read the key as well.
const PASSPHRASE_VARIABLES: &str = "CONFIGPROXY_SSL_KEY_PASSPHRASE, CONFIGPROXY_API_SSL_KEY_PASSPHRASE";
/// What the hub proves itself with.
const TOKEN_VARIABLE: &str = "CONFIGPROXY_AUTH_TOKEN";

/// That, if the environment has it.
pub(super) fn token_of_environment() -> Option<Secret> {
    std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty()).map(Secret::from)
}

/// The configuration that the command line means, over the file that it names.
fn configuration(args: &ChpArgs, more: &[(String, String)]) -> Reading {
    let in_file = args.config.clone().map(Source::File).or_else(Source::of_environment);
    let source = in_file.unwrap_or_else(|| {
        let url = args.some_url();
        Source::Variable(format!("[public]\nurl = {url:?}\n[log]\nformat = \"text\"\naccess = false\n"))
    });
    // A routing table is always needed, whatever the file says.
    let mut variables =
        vec![("HUBLATCH_ROUTES__INCLUDE_PREFIX".to_owned(), (!args.no_include_prefix).to_string())];
    variables.extend(more.iter().cloned());
    let Reading { outcome, mut files } = with_some_url(read(&source, &variables), || {
        variables.push(("HUBLATCH_PUBLIC__URL".to_owned(), args.some_url()));
        read(&source, &variables)
    });
    files.extend(args.files());
    let outcome = outcome.and_then(|mut config| match args.apply(&mut config) {
        Ok(()) => Ok(config),
        Err(message) => Err(Faults::of_file("the command line".to_owned(), None, message)),
    });
    Reading { outcome, files }
}

/// What was `read`; and if nothing is missing but a public URL, to which no link leads anybody, it is read `again` with one.
fn with_some_url(reading: Reading, again: impl FnOnce() -> Reading) -> Reading {
    let lacks = |faults: &Faults| {
        faults.iter().any(|fault| fault.key == "public.url" && fault.message.starts_with("is required"))
    };
    match &reading.outcome {
        Err(faults) if lacks(faults) => {
            let second = again();
            if second.outcome.as_ref().is_ok_and(Config::logs_in) { reading } else { second }
        }
        Err(_) | Ok(_) => reading,
    }
}

impl ChpArgs {
    /// What a browser on this machine may type.
    fn some_url(&self) -> String {
        let scheme = if self.ssl_key.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{}", self.public_port())
    }

    /// A number, or its default where there is none: as configurable-http-proxy reads it.
    fn number(text: Option<&String>, default: u16) -> u16 {
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    }

    fn public_port(&self) -> u16 {
        Self::number(self.port.as_ref(), PORT)
    }

    fn api_port(&self) -> u16 {
        let default = if self.socket.is_some() { PORT + 1 } else { self.public_port().saturating_add(1) };
        Self::number(self.api_port.as_ref(), default)
    }

    fn ignored(&self) -> Vec<&'static str> {
        let given = [
            ("--ssl-protocol", self.ssl_protocol.is_some()),
            ("--ssl-ciphers", self.ssl_ciphers.is_some()),
            ("--ssl-allow-rc4", self.ssl_allow_rc4),
            ("--ssl-dhparam", self.ssl_dhparam.is_some()),
            ("--client-ssl-request-cert", self.client_ssl_request_cert),
            ("--client-ssl-reject-unauthorized", self.client_ssl_reject_unauthorized),
        ];
        // With internal_ssl the hub itself gives the last two: that they have no effect is nobody's concern.
        let of_hub = self.client_ssl_key.is_some();
        given
            .iter()
            .filter(|(name, given)| *given && !(of_hub && name.starts_with("--client")))
            .map(|(name, _)| *name)
            .collect()
    }

    /// The files whose change is a change of the configuration.
    fn files(&self) -> Vec<PathBuf> {
        [
            &self.ssl_key,
            &self.ssl_cert,
            &self.ssl_ca,
            &self.api_ssl_key,
            &self.api_ssl_cert,
            &self.api_ssl_ca,
            &self.client_ssl_key,
            &self.client_ssl_cert,
            &self.client_ssl_ca,
        ]
        .into_iter()
        .flatten()
        .cloned()
        .collect()
    }

    /// Lays the command line over `config`.
    fn apply(&self, config: &mut Config) -> Result<(), String> {
        let plain = !config.logs_in();
        self.apply_listeners(config, plain)?;
        self.apply_routes(config, plain)?;
        if plain {
            // The warnings are about logins, and nobody logs in here.
            config.warnings.clear();
        }
        config.log.level = Targets::new().with_default(match self.log_level.as_str() {
            "debug" => Level::DEBUG,
            "warn" => Level::WARN,
            "error" => Level::ERROR,
            _ => Level::INFO,
        });
        let limits = &mut config.limits;
        if let Some(time) = millis("--timeout", self.timeout.as_ref())? {
            (limits.body_stall_timeout, limits.write_stall_timeout) = (time, time);
        }
        if let Some(time) = millis("--proxy-timeout", self.proxy_timeout.as_ref())? {
            limits.upstream_head_timeout = time;
        }
        if let Some(time) = millis("--keep-alive-timeout", self.keep_alive_timeout.as_ref())? {
            limits.idle_timeout = time;
        }
        Ok(())
    }

    fn apply_listeners(&self, config: &mut Config, plain: bool) -> Result<(), String> {
        let says_public = plain || self.ip.is_some() || self.port.is_some() || self.socket.is_some();
        let ip = self.ip.as_deref().unwrap_or_default();
        if let Some(socket) = &self.socket {
            config.public.listen = vec![Listen::Unix(absolute(socket)?)];
        } else if says_public {
            config.public.listen = addresses("--ip", ip, self.public_port())?;
        }
        let of_browsers = identity("--ssl", self.ssl_cert.as_deref(), self.ssl_key.as_deref())?;
        if let Some(identity) = of_browsers {
            let clients =
                self.ssl_ca.as_deref().filter(|_| self.ssl_request_cert || self.ssl_reject_unauthorized);
            let acceptor = match clients {
                Some(ca) => Acceptor::for_known_browsers(identity, roots(ca)?, self.ssl_reject_unauthorized),
                None => Acceptor::for_browsers(identity),
            };
            config.public.tls = Some(acceptor.map_err(|error| error.to_string())?);
        } else if says_public && !plain {
            config.public.tls = None;
        }
        if let Some(port) = &self.redirect_port {
            config.public.redirect_listen = addresses("--ip", ip, Self::number(Some(port), PORT))?;
        }
        let mut of_api = match &self.api_socket {
            Some(socket) => vec![Listen::Unix(absolute(socket)?)],
            None => addresses("--api-ip", &self.api_ip, self.api_port())?,
        };
        config.management.listen = of_api.remove(0);
        let of_api_tls = identity("--api-ssl", self.api_ssl_cert.as_deref(), self.api_ssl_key.as_deref())?;
        let clients = self
            .api_ssl_ca
            .as_deref()
            .filter(|_| self.api_ssl_request_cert || self.api_ssl_reject_unauthorized)
            .map(roots)
            .transpose()?;
        let acceptor = of_api_tls.map(|identity| Acceptor::for_programs(identity, clients)).transpose();
        config.management.tls = acceptor.map_err(|error| error.to_string())?;
        if let Some(routes) = &mut config.routes {
            // The other address family, if the proxy listens on all addresses.
            routes.api_listen = of_api.pop();
        }
        Ok(())
    }

    /// Where the metrics are served, if they are asked for.
    fn metrics(&self) -> Result<Option<Listen>, String> {
        if let Some(socket) = &self.metrics_socket {
            return Ok(Some(Listen::Unix(absolute(socket)?)));
        }
        let Some(port) = self.metrics_port.as_ref().and_then(|port| port.parse().ok()) else {
            return Ok(None);
        };
        Ok(addresses("--metrics-ip", &self.metrics_ip, port)?.into_iter().next())
    }

    fn apply_routes(&self, config: &mut Config, plain: bool) -> Result<(), String> {
        let Some(routes) = &mut config.routes else { return Ok(()) };
        if let Some(token) = token_of_environment() {
            routes.auth_token = Some(token);
        }
        if self.default_target.is_some() {
            routes.default_target.clone_from(&self.default_target);
        }
        if let Some(target) = &self.error_target {
            let url = Url::parse(target).map_err(|_| format!("--error-target {target:?} is not a URL"))?;
            (routes.error_target, routes.error_path) = (Some(url), None);
        }
        if let Some(path) = &self.error_path {
            (routes.error_path, routes.error_target) = (Some(path.clone()), None);
        }
        routes.host_routing |= self.host_routing;
        routes.prepend_path &= !self.no_prepend_path;
        for header in &self.custom_header {
            let header =
                custom_header(header).map_err(|wrong| format!("--custom-header {header:?} {wrong}"))?;
            routes.custom_headers.push(header);
        }
        let identity =
            identity("--client-ssl", self.client_ssl_cert.as_deref(), self.client_ssl_key.as_deref())?;
        if self.insecure {
            let rules = ClientRules::trusting_anybody(identity).map_err(|error| error.to_string())?;
            routes.client_tls = Some(rules);
        } else if identity.is_some() || self.client_ssl_ca.is_some() {
            let roots = match &self.client_ssl_ca {
                Some(ca) => roots(ca)?,
                None => Roots::of_system().map_err(|error| error.to_string())?,
            };
            routes.client_tls = Some(ClientRules::new(roots, identity).map_err(|error| error.to_string())?);
        }
        let port = match config.public.listen.first() {
            Some(Listen::Tcp(address)) => address.port(),
            Some(Listen::Unix(_)) | None => 443,
        };
        routes.chp = Some(Chp {
            plain,
            no_x_forward: self.no_x_forward,
            auto_rewrite: self.auto_rewrite,
            change_origin: self.change_origin,
            protocol_rewrite: self.protocol_rewrite.clone(),
            metrics_listen: self.metrics()?,
            redirect_to: self.redirect_port.as_ref().map(|_| Self::number(self.redirect_to.as_ref(), port)),
        });
        Ok(())
    }
}

/// Where to listen for `ip`: a name, an address, or nothing for all of them.
fn addresses(option: &str, ip: &str, port: u16) -> Result<Vec<Listen>, String> {
    let tcp = |ip: IpAddr| Listen::Tcp(SocketAddr::new(ip, port));
    if ip.is_empty() || ip == "*" {
        let all = [IpAddr::from([0_u8; 4]), IpAddr::from([0_u16; 8])];
        // A machine without IPv6 has no such address. Port 0 is one port only where there is one listener.
        let has_ipv6 = std::net::UdpSocket::bind((all[1], 0)).is_ok() && port != 0;
        return Ok(all.into_iter().take(if has_ipv6 { 2 } else { 1 }).map(tcp).collect());
    }
    let bare = ip.trim_matches(['[', ']']);
    if let Ok(ip) = bare.parse() {
        return Ok(vec![tcp(ip)]);
    }
    let found = (bare, port).to_socket_addrs().map_err(|error| format!("{option} {ip}: {error}"))?;
    let found: Vec<SocketAddr> = found.collect();
    let first = found.iter().find(|found| found.is_ipv4()).or_else(|| found.first());
    first
        .map(|first| vec![Listen::Tcp(*first)])
        .ok_or_else(|| format!("{option} {ip}: no address has this name"))
}

fn absolute(socket: &Path) -> Result<PathBuf, String> {
    std::path::absolute(socket).map_err(|error| format!("{}: {error}", socket.display()))
}

fn identity(
    option: &str,
    certificate: Option<&Path>,
    key: Option<&Path>,
) -> Result<Option<TlsIdentity>, String> {
    let (certificate, key) = match (certificate, key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(format!("{option}-cert needs {option}-key")),
        (None, Some(_)) => return Err(format!("{option}-key needs {option}-cert")),
    };
    let pem =
        |path: &Path| std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    let (chain, secret) = (pem(certificate)?, Zeroizing::new(pem(key)?));
    // "BEGIN ENCRYPTED PRIVATE KEY" (RFC 5958), or "Proc-Type: 4,ENCRYPTED" (RFC 1421).
    if memchr::memmem::find(&secret, b"ENCRYPTED").is_some() {
        let at = key.display();
        return Err(format!(
            "{at} is encrypted, and no passphrase is read ({PASSPHRASE_VARIABLES}): write it in the clear, for its \
             owner alone, by openssl pkey -in {at} -out NEW"
        ));
    }
    TlsIdentity::new(&chain, &secret).map(Some).map_err(|error| {
        let at = if error.is_of_key() { key } else { certificate };
        format!("{} {error}", at.display())
    })
}

fn roots(path: &Path) -> Result<Roots, String> {
    let pem = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Roots::from_pem(&pem).map_err(|error| format!("{}: {error}", path.display()))
}

fn millis(option: &str, text: Option<&String>) -> Result<Option<Duration>, String> {
    let Some(text) = text else { return Ok(None) };
    let number: u64 =
        text.parse().map_err(|_| format!("{option} {text:?} is not a number of milliseconds"))?;
    // 0 means no limit in configurable-http-proxy; here every wait has one.
    Ok((number > 0).then(|| Duration::from_millis(number)))
}

/// The file with the process id, until the process ends.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: &Path) -> std::io::Result<Self> {
        std::fs::write(path, std::process::id().to_string())?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _removed = std::fs::remove_file(&self.0);
    }
}
