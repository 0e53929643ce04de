//! From the configuration as written to the configuration as meant, with every fault at once.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use super::fault::Faults;
use super::file::ConfigFile;
use super::hub::HubKeys;
use super::section::Section as _;
use super::{
    Config, HubTokens, Limits, Log, Login, Management, Pages, Public, StatusListener,
    apps::{self, Longest},
    hub, hub_tokens, listeners, login, routes, rules, secret, store,
};

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
        let file = ConfigFile::parse(source.path(), &text, exposed, environment)?;
        let (outcome, mut named) = finish(file);
        files.append(&mut named);
        outcome
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
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if file.metadata().map_err(cannot)?.is_file() {
        for place in [path, directory] {
            if let Some(by) = secret::writers(place) {
                let place = place.display();
                let why = format!(
                    "{place} can be written by {by}, who could make themselves an app and log anybody in; run chmod go-w \
                     {place}"
                );
                return Err(fault(None, &why));
            }
        }
    }
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
    finish(ConfigFile::parse(path, text, false, environment)?).0
}

fn finish(mut file: ConfigFile) -> (Result<Config, Faults>, Vec<PathBuf>) {
    let config = config(&mut file);
    file.refuse_unknown();
    let files = file.take_files();
    (file.into_faults().map_or(Ok(config), Err), files)
}

/// Every section and what does not go together, whatever faults there are.
fn config(file: &mut ConfigFile) -> Config {
    let public = Public::read(file, "public");
    let management = Management::read(file, "management");
    let status: Option<StatusListener> = file.section("status");
    let hub = HubKeys::read(file, "hub");
    let of_hub = hub.url.as_ref().map(|url| &url.upstream);
    let own = listeners::check(file, &public, &management, status.as_ref(), of_hub);
    let hub = hub::hub(file, hub, &own);
    let routes = file.section("routes").map(|routes| routes::complete(file, routes));
    let login = Login::read(file, "login");
    login::check(file, &login);
    let longest = Longest { lifetime: login.max_lifetime, session: login.max_session };
    let hub_tokens = hub_tokens::hub_tokens(file, longest);
    let others_issue = hub_tokens.as_ref().is_some_and(HubTokens::lists_anybody) || routes.is_some();
    let apps = apps::apps(file, longest, others_issue);
    let mut config = Config {
        public,
        management,
        status,
        hub,
        routes,
        login,
        assertion: file.section("assertion"),
        hub_oauth: file.section("hub_oauth"),
        store: store::store(file),
        apps,
        hub_tokens,
        embed: file.section("embed"),
        pages: Pages::read(file, "pages"),
        limits: Limits::read(file, "limits"),
        log: Log::read(file, "log"),
        warnings: Vec::new(),
    };
    rules::check(file, &config);
    config.warnings = rules::warnings(&config);
    config.warnings.extend(file.misspelt_variables());
    config
}
