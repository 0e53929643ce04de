//! The attack itself: an identity without our proof, sent straight to the hub. A sound hub takes none.

use aws_lc_rs::signature::Ed25519KeyPair;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Method;
use serde_json::json;

use super::routing::shut_socket;
use super::{Deployment, Finding, HUB_UNKNOWN};
use crate::cli::call::{CallResponse, CallTarget};

/// What header authenticators believe unless they are told otherwise.
const COMMON: [&str; 3] = ["REMOTE_USER", "Remote-User", "X-Remote-User"];
/// From the pages of `HublatchAuthenticator`, by which it is known.
const WORDS_WITHOUT_PROOF: &str = "is entered by a link from your application";
const WORDS_WITH_A_BAD_PROOF: &str = "could not be confirmed";
/// What its handler says to a call without a proof.
const WORDS_OF_HANDLER: &str = "the assertion is not good";

const PROVE: &str =
    "let the hub demand a proof: [assertion] here, HublatchAuthenticator there (see `hublatch init`)";

/// `user`: somebody whom the hub would admit, if the operator has named one.
pub(super) async fn examine(deployment: &Deployment, user: Option<&str>) -> Vec<Finding> {
    let mut findings = if deployment.knows_hub() {
        at_the_hub(deployment, user).await
    } else {
        vec![Finding::skipped("an identity without a proof, straight to the hub", HUB_UNKNOWN)]
    };
    if let Ok(public) = &deployment.public {
        findings.push(from_outside(deployment, public).await);
    }
    findings
}

async fn at_the_hub(deployment: &Deployment, user: Option<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in std::iter::once(deployment.stranger.as_str()).chain(user) {
        findings.push(bare_header(deployment, name).await);
    }
    findings.push(tokens(deployment).await);
    if deployment.config.assertion.is_some() {
        findings.push(forged(deployment, user).await);
    }
    findings
}

/// The headers to try, and whether one of them is ours to keep secret.
fn names(deployment: &Deployment) -> Vec<String> {
    let own = deployment.config.login.user_header.as_str().to_owned();
    let common = COMMON.iter().map(|name| (*name).to_owned());
    if is_common(&own) { common.collect() } else { common.chain([own]).collect() }
}

fn is_common(header: &str) -> bool {
    COMMON.iter().any(|name| name.eq_ignore_ascii_case(header))
}

async fn bare_header(deployment: &Deployment, name: &str) -> Finding {
    let path = deployment.path("hub/login");
    let secret = deployment.config.login.user_header.as_str();
    let tried = format!("a bare identity header straight to the hub, GET {path} as {name}");
    let mut refused = None;
    for header in names(deployment) {
        let response = match get(&deployment.hub, &path, &[(&header, name)]).await {
            Ok(response) => response,
            Err(error) => return Finding::failed(tried, error, "look into the hub's log"),
        };
        if !response.logs_in() {
            refused = Some(response);
            continue;
        }
        let believed = format!("{header} logged {name} in (remove this user, if the hub has just made it)");
        let is_secret = header == secret && !is_common(secret);
        if is_secret && deployment.config.assertion.is_none() {
            let happened = format!("{believed}: only the secrecy of the header's name protects this hub");
            return Finding::warn(tried, happened, PROVE);
        }
        if let Some(socket) = shut_socket(deployment) {
            let happened = format!(
                "{believed}: only the permissions of the socket {} protect this hub",
                socket.display()
            );
            return Finding::warn(tried, happened, PROVE);
        }
        let happened = format!("{believed}: every notebook that reaches the hub can be anybody");
        return Finding::not_safe(tried, happened, PROVE);
    }
    let Some(refused) = refused else { return Finding::skipped(tried, "there is no header to try") };
    let status = refused.status;
    if refused.text().contains(WORDS_WITHOUT_PROOF) {
        Finding::ok(tried, format!("refused ({status}) by HublatchAuthenticator"))
    } else if name == deployment.stranger {
        Finding::warn(
            tried,
            format!("refused ({status}), as a hub that believes it does with users whom it does not allow"),
            "name a user for tests whom the hub allows, by --user",
        )
    } else {
        Finding::ok(tried, format!("refused ({status})"))
    }
}

/// The second door: an authenticator is asked here too, by whoever has no credentials.
async fn tokens(deployment: &Deployment) -> Finding {
    let name = &deployment.stranger;
    let path = deployment.path(&format!("hub/api/users/{name}/tokens"));
    let tried = format!("a bare identity header for an API token, POST {path}");
    let mut last = String::new();
    for header in names(deployment) {
        let request = deployment.hub.request(Method::POST, &path).header(&header, name).json(&json!({}));
        match deployment.hub.send(request).await {
            Ok(response) if response.json()["token"].is_string() => {
                if let Some(socket) = shut_socket(deployment) {
                    let happened = format!(
                        "{header} got one ({}): only the permissions of the socket {} protect this hub",
                        response.status,
                        socket.display()
                    );
                    return Finding::warn(tried, happened, PROVE);
                }
                let happened =
                    format!("{header} got one ({}): every notebook can have anybody's", response.status);
                return Finding::not_safe(tried, happened, PROVE);
            }
            Ok(response) => last = response.status.to_string(),
            Err(error) => return Finding::failed(tried, error, "look into the hub's log"),
        }
    }
    Finding::ok(tried, format!("refused ({last})"))
}

/// An assertion that anybody could make: right in every word, signed by another key.
async fn forged(deployment: &Deployment, user: Option<&str>) -> Finding {
    let name = user.unwrap_or(&deployment.stranger);
    let tried = "an assertion that another key has signed, straight to the hub";
    let (Some(assertion), Some(forgery)) = (&deployment.config.assertion, forgery(deployment, name)) else {
        return Finding::skipped(tried, "no other key could be made");
    };
    let user_header = deployment.config.login.user_header.as_str();
    let headers = [(user_header, name), (assertion.header.as_str(), &forgery)];
    let response = match get(&deployment.hub, &deployment.path("hub/login"), &headers).await {
        Ok(response) => response,
        Err(error) => return Finding::failed(tried, error, "look into the hub's log"),
    };
    let status = response.status;
    if response.logs_in() {
        Finding::not_safe(
            tried,
            format!("it was believed: anybody can log in as {name}"),
            "let the authenticator verify the signature; HublatchAuthenticator does",
        )
    } else if response.text().contains(WORDS_WITH_A_BAD_PROOF) {
        let version = match handler(deployment).await {
            Handler::Ours { version: Some(version) } => format!(" {version}"),
            Handler::Ours { version: None } | Handler::Absent => String::new(),
        };
        Finding::ok(tried, format!("refused ({status}) by HublatchAuthenticator{version}"))
    } else if handler(deployment).await == Handler::Absent {
        let happened = format!(
            "{status}, and nothing at the hub is HublatchAuthenticator's: it is not loaded, and no link logs anybody in"
        );
        Finding::failed(
            tried,
            happened,
            "set c.JupyterHub.authenticator_class as `hublatch init` prints it (or beside(…) of the package hublatch), and restart \
             the hub",
        )
    } else {
        Finding::warn(
            tried,
            format!("refused ({status}), but not in the words of HublatchAuthenticator: is it in use?"),
            "set c.JupyterHub.authenticator_class and its public_key_file as `hublatch init` prints it",
        )
    }
}

/// What is at the hub where our authenticator adds its handler.
#[derive(Debug, PartialEq, Eq)]
enum Handler {
    Ours {
        /// As the handler says it.
        version: Option<String>,
    },
    Absent,
}

/// Asks the handler by which sessions are ended, without a proof: it ends none, and says so in words that are ours.
async fn handler(deployment: &Deployment) -> Handler {
    let request = deployment.hub.request(Method::POST, &deployment.path("hub/hublatch/sessions"));
    match deployment.hub.send(request).await {
        Ok(response)
            if response.json()["message"].as_str().is_some_and(|said| said.contains(WORDS_OF_HANDLER)) =>
        {
            let version =
                response.lines("x-hublatch-authenticator").first().map(|version| (*version).to_owned());
            Handler::Ours { version }
        }
        Ok(_) | Err(_) => Handler::Absent,
    }
}

fn forgery(deployment: &Deployment, name: &str) -> Option<String> {
    let other = Ed25519KeyPair::generate().ok()?.to_pkcs8v1().ok()?;
    let now = deployment.clock.wall().as_second();
    let audience = &deployment.config.assertion.as_ref()?.audience;
    let claims = json!({
        "iss": "hublatch", "aud": audience, "sub": name, "iat": now, "exp": now + 10, "jti": deployment.stranger
    });
    let key = EncodingKey::from_ed_der(other.as_ref());
    jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &key).ok()
}

/// The same through hublatch, which strips every spelling.
async fn from_outside(deployment: &Deployment, public: &CallTarget) -> Finding {
    let tried = "an identity header through public.url";
    for header in names(deployment) {
        match get(public, &deployment.path("hub/login"), &[(&header, &deployment.stranger)]).await {
            Ok(response) if response.logs_in() => {
                let happened = format!("{header} was believed: public.url leads to the hub past hublatch");
                let change = "let every request for public.url go through hublatch";
                return Finding::not_safe(tried, happened, change);
            }
            Ok(_) => {}
            Err(error) => return Finding::skipped(tried, error),
        }
    }
    Finding::ok(tried, "stripped")
}

async fn get(target: &CallTarget, path: &str, headers: &[(&str, &str)]) -> Result<CallResponse, String> {
    let request = target.request(Method::GET, path);
    target.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}
