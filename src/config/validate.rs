//! From the configuration as written to the configuration as meant, with every fault at once.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::address::{listen, trusted_network, upstream};
use super::embed::embed;
use super::fault::Faults;
use super::file::ConfigFile;
use super::jwt::is_unprotected;
use super::login::{assertion, is_guessable, lifetimes, login, user_header};
use super::origin::{base_url, public_url};
use super::pages::pages;
use super::parse::one_of;
use super::{
    AuditSink, Config, Confirm, Hub, HubTokens, JwtKeys, Limits, Listen, Log, LogFormat, Management, Public,
    Upstream, apps, hub, secret, store, tls,
};

/// No configuration is larger.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// More than any machine has cores.
const THREADS_MAX: usize = 1024;

/// Reads the file at `path` and lays `environment` over it: variables `HUBLATCH_SECTION__KEY`, others are ignored.
///
/// Relative paths in the file begin at the directory of the file.
pub fn load(path: &Path, environment: impl IntoIterator<Item = (String, String)>) -> Result<Config, Faults> {
    load_with_files(path, environment).outcome
}

/// A configuration that was read, and what it was read from.
#[derive(Debug)]
pub struct Reading {
    /// The configuration, or what is wrong with it.
    pub outcome: Result<Config, Faults>,
    /// Every file that had a say in it, also those that could not be read.
    pub files: Vec<PathBuf>,
}

/// The same as [`load`], with the names of all files whose change would change the outcome.
pub fn load_with_files(path: &Path, environment: impl IntoIterator<Item = (String, String)>) -> Reading {
    let mut files = vec![path.to_owned()];
    let outcome = contents(path).and_then(|(text, exposed)| {
        let mut file = ConfigFile::parse(path, &text, exposed, environment)?;
        let outcome = meant(&mut file);
        files.append(&mut file.take_files());
        conclude(outcome, file)
    });
    Reading { outcome, files }
}

/// What stands in the file at `path`, and whether others can read it.
fn contents(path: &Path) -> Result<(String, bool), Faults> {
    let cannot = |error: std::io::Error| {
        Faults::of_file(path.display().to_string(), format!("cannot read the configuration: {error}"))
    };
    let file = File::open(path).map_err(cannot)?;
    let exposed = secret::is_exposed(&file).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(cannot(std::io::Error::other("it is longer than 1 MiB")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + memchr::memchr_iter(b'\n', valid).count();
        cannot(std::io::Error::other(format!("line {line} is not UTF-8")))
    })?;
    Ok((text, exposed))
}

/// The same as [`load`] for `text`, as if it stood in the file at `path`, which only its owner could read.
pub fn load_str(
    text: &str,
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, Faults> {
    let mut file = ConfigFile::parse(path, text, false, environment)?;
    let outcome = meant(&mut file);
    conclude(outcome, file)
}

fn meant(file: &mut ConfigFile) -> Option<Config> {
    let config = config(file);
    file.refuse_unknown();
    config
}

fn conclude(config: Option<Config>, file: ConfigFile) -> Result<Config, Faults> {
    let name = file.name().to_owned();
    match (config, file.into_faults()) {
        (Some(config), None) => Ok(config),
        (_, Some(faults)) => Err(faults),
        // Cannot happen, because a reader that answers nothing notes why; but it must not end in a panic at start.
        (None, None) => Err(Faults::of_file(name, "is not a valid configuration".to_owned())),
    }
}

/// Every section is read before one that is bad ends the function.
fn config(file: &mut ConfigFile) -> Option<Config> {
    let addresses = addresses(file);
    let own = addresses.own();
    let public = public(file, addresses.public, addresses.redirect);
    let management = management(file, addresses.management);
    let hub = hub(file, addresses.hub, &own);
    let lifetimes = lifetimes(file);
    let user_header = user_header(file);
    let assertion = assertion(file, user_header.as_ref());
    let login = login(file, &lifetimes, user_header);
    let embed = embed(file, public.as_ref().map(|public| &public.url));
    let pages = pages(file);
    let store = store::store(file);
    let hub_tokens = hub::hub_tokens(file, lifetimes.longest);
    let others_issue =
        hub_tokens.as_ref().is_none_or(|tokens| tokens.as_ref().is_some_and(HubTokens::lists_anybody));
    let apps = apps::apps(file, lifetimes.longest, others_issue);
    hub::demand_token(file, hub.as_ref(), apps.as_deref());
    hub::refuse_forward(file, hub.as_ref(), login.as_ref());
    let limits = Limits::read(file);
    let log = log(file);
    let mut config = Config {
        public: public?,
        management: management?,
        hub: hub?,
        login: login?,
        assertion: assertion?,
        store: store?,
        apps: apps?,
        hub_tokens: hub_tokens?,
        embed: embed?,
        pages: pages?,
        limits: limits?,
        log: log?,
        warnings: Vec::new(),
    };
    config.warnings = warnings(&config);
    Some(config)
}

/// The addresses that must not be the same.
struct Addresses {
    public: Option<Vec<Listen>>,
    redirect: Option<Vec<Listen>>,
    management: Option<Listen>,
    hub: Option<HubAddress>,
}

impl Addresses {
    /// All of our own listeners.
    fn own(&self) -> Vec<Listen> {
        let browsers = self.public.iter().chain(&self.redirect).flatten();
        browsers.chain(&self.management).cloned().collect()
    }
}

/// Where the hub is, and whether it is to be spoken to over TLS.
struct HubAddress {
    upstream: Upstream,
    secure: bool,
}

fn addresses(file: &mut ConfigFile) -> Addresses {
    let local = |port| Listen::Tcp(([127, 0, 0, 1], port).into());
    let public = file.one_or_more("public.listen", vec![local(8000)], listen);
    let redirect = file.one_or_more("public.redirect_listen", Vec::new(), listen);
    let management = file.value("management.listen", local(8001), listen);
    let mut secure = false;
    let upstream = file.required("hub.url", "http://127.0.0.1:8400", |text| {
        secure = is_https(text);
        upstream(text)
    });
    let of_browsers = |key: &'static str, own: &Option<Vec<Listen>>| {
        own.iter().flatten().map(|own| (key, own.clone())).collect::<Vec<_>>()
    };
    let mut browsers = of_browsers("public.listen", &public);
    browsers.extend(of_browsers("public.redirect_listen", &redirect));
    for (index, (key, own)) in browsers.iter().enumerate() {
        if let Some((other, _)) = browsers[..index].iter().find(|(_, other)| other.overlaps(own)) {
            if other == key && browsers[..index].iter().any(|(_, other)| other == own) {
                file.fault(key, format!("has \"{own}\" twice; write it once"));
            } else if other != key {
                file.fault(key, format!("\"{own}\" is also {other}; write another port"));
            }
        }
        if let Some(management) = management.as_ref().filter(|management| own.overlaps(management)) {
            let (key, message) = if file.is_written("management.listen") {
                ("management.listen", format!("\"{management}\" is also public ({key} \"{own}\")"))
            } else {
                (*key, format!("\"{own}\" is also management.listen (\"{management}\")"))
            };
            file.fault(key, format!("{message}; write another port"));
        }
    }
    if let Some(hub) = &upstream {
        let mut own = browsers.iter().map(|(_, own)| own).chain(&management);
        if let Some(own) = own.find(|own| own.is_reached_by(hub)) {
            let message =
                format!("is hublatch's own listener \"{own}\"; write the address of the hub's public proxy");
            file.fault("hub.url", message);
        }
    }
    let hub = upstream.map(|upstream| HubAddress { upstream, secure });
    Addresses { public, redirect, management, hub }
}

fn public(
    file: &mut ConfigFile,
    listen: Option<Vec<Listen>>,
    redirect_listen: Option<Vec<Listen>>,
) -> Option<Public> {
    if listen.as_ref().is_some_and(Vec::is_empty) {
        file.fault("public.listen", "is empty; write at least one address, for example \"127.0.0.1:8000\"");
    }
    let url = file.required("public.url", "https://hub.example.org", public_url);
    let tls = tls::of_public(file);
    let threads = file.number("public.threads", 0, 0..=THREADS_MAX);
    let trusted_proxies = file.list("public.trusted_proxies", Vec::new(), trusted_network);
    let proxy_protocol = file.flag("public.proxy_protocol", false);
    if proxy_protocol == Some(true) && trusted_proxies.as_ref().is_some_and(Vec::is_empty) {
        file.fault(
            "public.proxy_protocol",
            "is on, but nobody may speak it: write the addresses of your proxies as public.trusted_proxies",
        );
    }
    if let Some(url) = url.as_ref().filter(|url| !url.secure) {
        let instead = format!("write \"{}\"", url.origin.replacen("http:", "https:", 1));
        if matches!(tls, Some(Some(_))) {
            file.fault("public.url", format!("is http, but public.tls answers https only; {instead}"));
        } else if redirect_listen.as_ref().is_some_and(|listen| !listen.is_empty()) {
            file.fault("public.url", format!("is http, so public.redirect_listen leads nowhere; {instead}"));
        }
    }
    Some(Public {
        listen: listen?,
        tls: tls?,
        redirect_listen: redirect_listen?,
        url: url?,
        threads: threads?,
        trusted_proxies: trusted_proxies?,
        proxy_protocol: proxy_protocol?,
    })
}

fn management(file: &mut ConfigFile, listen: Option<Listen>) -> Option<Management> {
    let tls = tls::of_management(file)?;
    let listen = listen?;
    if tls.is_none() && !listen.is_local() {
        let message = format!(
            "\"{listen}\" can be reached from other machines, and an app's key could be read on the way; write \
             management.tls, or a loopback address, for example \"127.0.0.1:8001\", or \
             \"unix:/run/hublatch/management.sock\""
        );
        file.fault("management.listen", message);
        return None;
    }
    Some(Management { listen, tls })
}

fn hub(file: &mut ConfigFile, address: Option<HubAddress>, own: &[Listen]) -> Option<Hub> {
    let base_url = file.value("hub.base_url", "/".to_owned(), base_url);
    let api_secure = file.text("hub.api_url").is_some_and(is_https);
    let secure = address.as_ref().is_some_and(|address| address.secure);
    let roots = tls::hub_roots(file, secure || api_secure);
    let upstream = address.map(|address| address.upstream);
    let tls = match (&upstream, &roots) {
        (Some(Upstream::Tcp { host, .. }), Some(roots)) if secure => {
            tls::to_hub(file, "hub.url", host, roots.clone()).map(Some)
        }
        _ => Some(None),
    };
    // The keys of the API are read whatever is wrong with the others.
    let nowhere = Upstream::Unix(PathBuf::new());
    let of_hub =
        hub::HubTls { roots: roots.clone().flatten(), of_url: tls.as_ref().and_then(Option::as_ref) };
    let base = base_url.as_deref().unwrap_or("/");
    let api = hub::api(file, upstream.as_ref().unwrap_or(&nowhere), base, &of_hub, own);
    let api_only = hub::api_only(file, api.as_ref());
    let (upstream, base_url, tls, api, _) = (upstream?, base_url?, tls?, api?, roots?);
    Some(Hub { upstream, tls, base_url, api, api_only: api_only? })
}

/// Whether `text` is spelled as an URL of https.
fn is_https(text: &str) -> bool {
    text.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
}

fn log(file: &mut ConfigFile) -> Option<Log> {
    use tracing::Level;
    let formats = [("json", LogFormat::Json), ("text", LogFormat::Text)];
    let format = file.value("log.format", LogFormat::Json, one_of(&formats));
    let levels = [
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ];
    let level = file.value("log.level", Level::INFO, one_of(&levels));
    let access = file.flag("log.access", true);
    let audit = file.value("log.audit", AuditSink::Stderr, |text| match text {
        "stderr" => Ok(AuditSink::Stderr),
        path if path.starts_with('/') && !path.contains('\0') => Ok(AuditSink::File(PathBuf::from(path))),
        _ => Err("is neither \"stderr\" nor the absolute path of a file".to_owned()),
    });
    Some(Log { format: format?, level: level?, access: access?, audit: audit? })
}

/// What is allowed but unwise. That hublatch runs as root, or with few descriptors, is for the
/// process to see.
fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let header = &config.login.user_header;
    if config.assertion.is_none() && is_guessable(header) {
        warnings.push(format!(
            "no [assertion]: whoever reaches the hub's port past hublatch, such as any notebook, can send the header \
             \"{header}\" and be anybody; use HublatchAuthenticator with [assertion], or a secret login.user_header"
        ));
    }
    let far = config.public.listen.iter().find(|listen| !listen.is_local());
    if let Some(listen) = far.filter(|_| !config.public.url.secure) {
        warnings.push(format!(
            "public.url is http while \"{listen}\" can be reached from other machines: login links and sessions can \
             be read on the way; write public.tls, or put a TLS front before hublatch, and the https URL as public.url"
        ));
    }
    if config.login.confirm == Confirm::Never {
        warnings.push(
            "login.confirm is \"never\": a link opened by mistake, or sent by somebody else, replaces the user who is \
             logged in without a question"
                .to_owned(),
        );
    }
    for app in &config.apps {
        let jwks = app.jwt.as_ref().and_then(|jwt| match &jwt.keys {
            JwtKeys::Url(url) => Some(url),
            JwtKeys::Pem(_) => None,
        });
        for (key, url) in [("jwks_url", jwks), ("exchange_url", app.exchange_url.as_ref())] {
            if url.is_some_and(is_unprotected) {
                warnings.push(format!(
                    "the {key} of app {:?} is http: whoever stands on the way can answer in its place and be anybody \
                     whom the app may log in",
                    app.name
                ));
            }
        }
    }
    warnings.extend(tls::warnings(&config.public, &config.management));
    warnings.extend(config.store.url.warning());
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The other half of the truth: `tests/it/config_files.rs` proves that what is written there is the default.
    #[test]
    fn the_reference_names_every_key() {
        let text = include_str!("../../config/reference.toml");
        // Sections that the reference cannot switch on, because they need files or mean something by being there.
        let sections = [
            ("HUBLATCH_PUBLIC__TLS__PRIVATE_KEY", "x"),
            ("HUBLATCH_MANAGEMENT__TLS__CERTIFICATE", "x"),
            ("HUBLATCH_HUB_TOKENS__SERVICES", "x"),
        ];
        let sections = sections.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut file = ConfigFile::parse(Path::new("reference.toml"), text, false, sections).expect("TOML");
        _ = config(&mut file);
        let known = file.known.clone();
        assert!(known.len() > 50, "{known:?}");
        for key in known {
            let name = key.rsplit('.').next().unwrap_or_default();
            // Of a secret and its twin only one can be set, and files that are not there cannot be named; these are
            // shown in a comment, as are sections whose presence alone says something.
            let section = format!("# [{name}]");
            let shown = |line: &str| {
                (line.starts_with("# ") && line.contains(&format!(" {name} = "))) || line == section
            };
            let named = file.is_written(&key) || text.lines().any(shown);
            assert!(named, "{key} is not in reference.toml");
        }
    }
}
