//! From the configuration as written to the configuration as meant, with every fault at once.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use super::embed::embed;
use super::fault::Faults;
use super::file::ConfigFile;
use super::jwt::is_unprotected;
use super::listeners::{addresses, management, public};
use super::log::log;
use super::login::{assertion, is_guessable, lifetimes, login, user_header};
use super::pages::pages;
use super::{Config, Confirm, HubTokens, JwtKeys, Limits, apps, hub, hub_tokens, routes, secret, store, tls};

/// No configuration is larger.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads the file at `path` and lays `environment` over it: variables `HUBLATCH_SECTION__KEY`, others are ignored.
///
/// Relative paths in the file begin at the directory of the file.
pub fn load(path: &Path, environment: impl IntoIterator<Item = (String, String)>) -> Result<Config, Faults> {
    load_with_files(&Source::File(path.to_owned()), environment).outcome
}

/// A configuration that was read, and what it was read from.
#[derive(Debug)]
pub struct Reading {
    /// The configuration, or what is wrong with it.
    pub outcome: Result<Config, Faults>,
    /// Every file that had a say in it, also those that could not be read.
    pub files: Vec<PathBuf>,
}

/// The variable that holds a whole configuration as text.
const TEXT_VARIABLE: &str = "HUBLATCH_CONFIG_TOML";

/// Where the configuration is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In this file.
    File(PathBuf),
    /// In the variable `HUBLATCH_CONFIG_TOML`, whose text this is. Relative paths in it begin at the working directory.
    Variable(String),
}

impl Source {
    /// The text of the variable `HUBLATCH_CONFIG_TOML`, if it is set and not empty.
    pub fn of_environment() -> Option<Self> {
        // Lossy: what is no text is no TOML either, and its fault says so.
        let text = std::env::var_os(TEXT_VARIABLE).map(|text| text.to_string_lossy().into_owned());
        text.filter(|text| !text.is_empty()).map(Self::Variable)
    }

    /// The path of the file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Variable(_) => None,
        }
    }

    /// What the faults begin with.
    fn path(&self) -> &Path {
        self.file().unwrap_or(Path::new(TEXT_VARIABLE))
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path().display().fmt(f)
    }
}

/// The same as [`load`] for either source, with the names of all files whose change would change the outcome.
pub fn load_with_files(source: &Source, environment: impl IntoIterator<Item = (String, String)>) -> Reading {
    let mut files: Vec<PathBuf> = source.file().map(Path::to_owned).into_iter().collect();
    let contents = match source {
        Source::File(path) => contents(path),
        Source::Variable(text) => Ok((text.clone(), false)),
    };
    let outcome = contents.and_then(|(text, exposed)| {
        let mut file = ConfigFile::parse(source.path(), &text, exposed, environment)?;
        let outcome = meant(&mut file);
        files.append(&mut file.take_files());
        conclude(outcome, file)
    });
    Reading { outcome, files }
}

/// What to do about a file that cannot be read.
const REMEDIES: [(ErrorKind, &str); 3] = [
    (
        ErrorKind::NotFound,
        "; name it by --config or HUBLATCH_CONFIG, write it as HUBLATCH_CONFIG_TOML, or let `hublatch init` write one",
    ),
    (ErrorKind::PermissionDenied, "; give it to the user who runs hublatch (chown, chmod 600)"),
    (ErrorKind::IsADirectory, "; name the file in it"),
];

/// What stands in the file at `path`, and whether others can read it.
fn contents(path: &Path) -> Result<(String, bool), Faults> {
    let fault = |line, why: &str| {
        let message = format!("cannot read the configuration: {why}");
        Faults::of_file(path.display().to_string(), line, message)
    };
    let cannot = |error: std::io::Error| {
        let remedy = REMEDIES.iter().find(|(kind, _)| *kind == error.kind()).map_or("", |(_, remedy)| remedy);
        fault(None, &format!("{error}{remedy}"))
    };
    let file = File::open(path).map_err(cannot)?;
    let exposed = secret::is_exposed(&file).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(fault(None, "it is longer than 1 MiB"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + memchr::memchr_iter(b'\n', valid).count();
        fault(Some(line), "this line is not UTF-8; save the file as UTF-8")
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
        (None, None) => Err(Faults::of_file(name, None, "is not a valid configuration".to_owned())),
    }
}

/// Every section is read before one that is bad ends the function.
fn config(file: &mut ConfigFile) -> Option<Config> {
    let addresses = addresses(file);
    let own = addresses.own();
    let public = public(file, addresses.public, addresses.redirect);
    let management = management(file, addresses.management);
    let hub = hub::hub(file, addresses.hub, &own);
    let routes = routes::routes(file);
    let lifetimes = lifetimes(file);
    let user_header = user_header(file);
    let assertion = assertion(file, user_header.as_ref());
    let login = login(file, &lifetimes, user_header);
    let embed = embed(file, public.as_ref().map(|public| &public.url));
    let pages = pages(file);
    let store = store::store(file);
    let hub_tokens = hub_tokens::hub_tokens(file, lifetimes.longest);
    let others_issue =
        hub_tokens.as_ref().is_none_or(|tokens| tokens.as_ref().is_some_and(HubTokens::lists_anybody));
    let is_routed = routes.as_ref().is_none_or(Option::is_some);
    let apps = apps::apps(file, lifetimes.longest, others_issue || is_routed);
    hub_tokens::demand_token(file, hub.as_ref(), apps.as_deref());
    hub::refuse_forward(file, hub.as_ref(), login.as_ref());
    let limits = Limits::read(file);
    let log = log(file);
    let mut config = Config {
        public: public?,
        management: management?,
        hub: hub?,
        routes: routes?,
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
    if config.public.url.secure && config.public.tls.is_none() && config.public.trusted_proxies.is_empty() {
        warnings.push(
            "public.url is https without public.tls, so a TLS front stands before hublatch, but there is no \
             public.trusted_proxies: all browsers count as one address, that of the TLS front; write its address as \
             public.trusted_proxies"
                .to_owned(),
        );
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
            ("HUBLATCH_ROUTES__HOST_ROUTING", "false"),
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
