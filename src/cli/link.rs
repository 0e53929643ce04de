//! `hublatch link`: asks a running hublatch for a login link, as an app does, and prints its URL alone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use reqwest::{Certificate, Client, ClientBuilder, Identity, Method, RequestBuilder, StatusCode, redirect};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Exit, block_on, fail, print};

/// Enough for a busy machine; a person is waiting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For the whole call: a launch asks the hub several things.
const TIMEOUT: Duration = Duration::from_mins(1);

/// What link is wanted.
#[derive(Debug, Args)]
#[command(
    after_help = "The API is found by HUBLATCH_API_URL (http://…, https://… or unix:/…), and called with the key in \
                        HUBLATCH_API_KEY or in the file HUBLATCH_API_KEY_FILE. What --ca-file, --cert and --key name can also \
                        stand in HUBLATCH_API_CA_FILE, HUBLATCH_API_CERT_FILE and HUBLATCH_API_CERT_KEY_FILE."
)]
pub struct LinkArgs {
    /// Who is to be logged in
    #[arg(value_name = "USER")]
    username: String,
    /// A path inside the user's server, such as lab/tree/x.ipynb
    #[arg(long, conflicts_with = "next")]
    path: Option<String>,
    /// A path on the public address, such as /hub/home
    #[arg(long, conflicts_with_all = ["server", "launch"])]
    next: Option<String>,
    /// The user's named server; the default one without
    #[arg(long)]
    server: Option<String>,
    /// Create the user and start the server now, if need be
    #[arg(long)]
    launch: bool,
    /// How long the link may wait, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = whole_seconds)]
    expires_in: Option<u64>,
    #[command(flatten)]
    api: ApiArgs,
}

/// How the management API is reached, beside its address and key, which stand in the environment.
#[derive(Debug, Args)]
pub struct ApiArgs {
    /// Authorities to trust at an https address, PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A certificate to prove there, PEM, if the listener asks for one
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The private key of this certificate, PEM
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

#[derive(Deserialize)]
struct IssuedLinkJson {
    url: String,
}

#[derive(Deserialize)]
struct RefusedJson {
    message: String,
    code: String,
}

/// Prints the URL, or says why there is none.
pub fn run(args: &LinkArgs) -> Exit {
    let outcome = block_on(issue(args));
    match outcome.map_err(|error| error.to_string()).and_then(|outcome| outcome) {
        Ok(url) => print(&url),
        Err(reason) => fail("link", &reason),
    }
}

async fn issue(args: &LinkArgs) -> Result<String, String> {
    let order = json!({
        "username": args.username,
        "path": args.path,
        "next": args.next,
        "server": args.server,
        "expires_in": args.expires_in,
        // Absent, not false: an older hublatch does not know the word.
        "launch": args.launch.then_some(true),
    });
    let issued: IssuedLinkJson =
        answered(request(&args.api, Method::POST, "/api/v1/links")?.json(&order), StatusCode::CREATED)
            .await?;
    Ok(issued.url)
}

/// What the API answers with the status that is `wanted`, or why it does not.
pub(super) async fn answered<T: serde::de::DeserializeOwned>(
    request: RequestBuilder,
    wanted: StatusCode,
) -> Result<T, String> {
    let response = request.send().await.map_err(|error| with_causes(&error))?;
    let status = response.status();
    let body = response.bytes().await.map_err(|error| with_causes(&error))?;
    if status == wanted {
        return serde_json::from_slice(&body)
            .map_err(|error| format!("the answer is not hublatch's: {error}"));
    }
    // Something else than hublatch may be answering there.
    let refused = serde_json::from_slice::<RefusedJson>(&body);
    Err(refused.map_or_else(
        |_| format!("{status}, and no word of hublatch; is HUBLATCH_API_URL the management address?"),
        |refused| format!("{} ({status}, {})", refused.message, refused.code),
    ))
}

/// The call, with address and key from the environment.
pub(super) fn request(args: &ApiArgs, method: Method, path: &str) -> Result<RequestBuilder, String> {
    let url = variable("HUBLATCH_API_URL")?
        .ok_or("set HUBLATCH_API_URL to the management address, such as http://127.0.0.1:8010")?;
    let key = key_of_environment()?;
    let (client, base) = match url.strip_prefix("unix:") {
        Some(path) => (builder().unix_socket(PathBuf::from(path)), "http://localhost"),
        None => (builder(), url.trim_end_matches('/')),
    };
    // Without TLS no certificates are needed, and a small container has none to load.
    let begins =
        |scheme: &str| base.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme));
    let is_tls = begins("https://");
    if !is_tls && !begins("http://") {
        return Err(format!("HUBLATCH_API_URL {url:?} must begin with http://, https:// or unix:/"));
    }
    let client = if is_tls { over_tls(client, args)? } else { client.tls_certs_only([]) };
    let client: Client = client.build().map_err(|error| with_causes(&error))?;
    Ok(client.request(method, format!("{base}{path}")).header("Authorization", format!("token {key}")))
}

/// Whom to trust, and what to prove.
fn over_tls(mut client: ClientBuilder, args: &ApiArgs) -> Result<ClientBuilder, String> {
    let named = |file: &Option<PathBuf>, name: &str| match file {
        Some(file) => Ok(Some(file.clone())),
        None => Ok::<_, String>(variable(name)?.map(PathBuf::from)),
    };
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("read {}: {error}", path.display()));
    if let Some(path) = named(&args.ca_file, "HUBLATCH_API_CA_FILE")? {
        let roots = Certificate::from_pem_bundle(&read(&path)?)
            .map_err(|error| format!("{}: {}", path.display(), with_causes(&error)))?;
        if roots.is_empty() {
            return Err(format!("{}: no certificate was found in it", path.display()));
        }
        client = client.tls_certs_only(roots);
    }
    let own = (named(&args.cert, "HUBLATCH_API_CERT_FILE")?, named(&args.key, "HUBLATCH_API_CERT_KEY_FILE")?);
    match own {
        (None, None) => Ok(client),
        (Some(cert), Some(key)) => {
            let pem = Zeroizing::new([read(&cert)?, b"\n".to_vec(), read(&key)?].concat());
            let identity = Identity::from_pem(&pem).map_err(|error| {
                format!("{} with {}: {}", cert.display(), key.display(), with_causes(&error))
            })?;
            Ok(client.identity(identity))
        }
        _ => Err("a certificate to prove needs both --cert and --key".to_owned()),
    }
}

/// An app's key, from the environment or from the file that it names.
pub(super) fn key_of_environment() -> Result<String, String> {
    match (variable("HUBLATCH_API_KEY")?, variable("HUBLATCH_API_KEY_FILE")?) {
        (Some(key), _) => Ok(key.trim().to_owned()),
        (None, Some(file)) => {
            let text = std::fs::read_to_string(&file).map_err(|error| format!("read {file}: {error}"))?;
            Ok(text.trim().to_owned())
        }
        (None, None) => Err("set HUBLATCH_API_KEY, or HUBLATCH_API_KEY_FILE, to an app's key".to_owned()),
    }
}

/// Neither a redirect nor a proxy of the environment gets to see the key.
fn builder() -> ClientBuilder {
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .redirect(redirect::Policy::none())
        .no_proxy()
}

/// The variable `name`, if it is set to more than nothing.
fn variable(name: &str) -> Result<Option<String>, String> {
    match std::env::var(name) {
        Ok(text) => Ok(Some(text).filter(|text| !text.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(format!("{name} is not text")),
    }
}

/// reqwest keeps "connection refused" two causes deep.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A duration as in the configuration; the API counts in seconds.
fn whole_seconds(text: &str) -> Result<u64, String> {
    let duration = text.parse::<SignedDuration>().ok().filter(|span| span.subsec_nanos() == 0);
    let seconds = duration.and_then(|span| u64::try_from(span.as_secs()).ok());
    seconds
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| "write whole seconds or more, such as 30s or 5m".to_owned())
}
