//! What browsers see: whether public.url leads to hublatch, its certificate, and WebSockets through whatever stands
//! before it.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONNECTION, UPGRADE};
use reqwest::{Method, StatusCode};

use super::{Deployment, Finding, HUB_UNKNOWN};
use crate::cli::call::{CallTarget, Unsecured};

/// Renewals begin 30 days before the end.
const ENDS_SOON: Duration = Duration::from_hours(14 * 24);
const CERTIFICATE: &str = "the certificate at public.url";
/// What to change where nothing answers at public.url.
const LEAD: &str = "let its name resolve, and name and port lead to public.listen or to the front before it";
/// A token's shape, and the token of no link.
const NO_TOKEN: &str = "hl_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The findings, and whether hublatch answers at public.url: if not, nothing more can be tested through it.
pub(super) async fn examine(deployment: &Deployment) -> (Vec<Finding>, bool) {
    let url = &deployment.config.public.url;
    let tried = format!("public.url ({})", url.origin);
    let public = match &deployment.public {
        Ok(public) => public,
        Err(error) => {
            let change = "mend the name, or name an authority by --ca-file";
            return (vec![Finding::failed(tried, error.as_str(), change)], false);
        }
    };
    let mut findings = Vec::new();
    if url.secure {
        match public.handshake().await {
            Ok(left) => findings.push(certificate(left)),
            Err(Unsecured::Connect(error)) => return (vec![Finding::failed(tried, error, LEAD)], false),
            Err(Unsecured::Tls(error)) => {
                let change = if error.contains("CaUsedAsEndEntity") {
                    "it is self-signed (CA:TRUE): name it itself by --ca-file, or have an authority issue one for this name"
                } else if error.contains("Expired") {
                    "renew it, or look at the clock of this machine"
                } else if error.contains("NotValidForName") {
                    "serve a certificate that has this name, or write the name that it has as public.url"
                } else {
                    "serve the whole chain for this name, or name its authority by --ca-file"
                };
                return (vec![Finding::failed(CERTIFICATE, error, change)], false);
            }
        }
    }
    let asked = click(deployment, public, false).await;
    let leads = matches!(asked.as_deref(), Ok("link_unknown" | "too_many_tries"));
    findings.push(match asked {
        Ok(_) if leads => Finding::ok(tried, "leads to hublatch"),
        Ok(word) if word == "misdirected_login" => Finding::failed(
            tried,
            "leads to hublatch with another Host than its own, and no link works so (421)",
            "let what stands before hublatch pass Host as it is (nginx: proxy_set_header Host $http_host)",
        ),
        Ok(word) => Finding::failed(
            tried,
            format!("something else answers the login page there ({word})"),
            "let it lead to public.listen, with path, query and Host as they are",
        ),
        Err(error) => Finding::failed(tried, error, LEAD),
    });
    if leads {
        findings.extend(websocket(deployment, public).await);
    }
    (findings, leads)
}

/// The handshake has judged its names and issuer; `left` is how long it is valid from now on.
fn certificate(left: Option<Duration>) -> Finding {
    let days = left.map(|left| left.as_secs() / (24 * 60 * 60));
    match (left, days) {
        (Some(left), Some(days)) if left < ENDS_SOON => {
            let change = "renew it, or look why its renewal fails";
            Finding::warn(CERTIFICATE, format!("ends in {days} days"), change)
        }
        (_, Some(days)) => {
            Finding::ok(CERTIFICATE, format!("is trusted, has the name, and ends in {days} days"))
        }
        (_, None) => Finding::ok(CERTIFICATE, "is trusted and has the name"),
    }
}

/// What hublatch, and nobody else, says to the token of no link.
async fn click(deployment: &Deployment, public: &CallTarget, upgrade: bool) -> Result<String, String> {
    let parameter = &deployment.config.login.parameter;
    let path = format!("{}?{parameter}={NO_TOKEN}", deployment.config.hub.login_path());
    let mut request = public.request(Method::GET, &path).header(ACCEPT, "application/json");
    if upgrade {
        request = request.header(CONNECTION, "Upgrade").header(UPGRADE, "websocket");
    }
    let response = public.send(request).await?;
    let code = response.json()["code"].as_str().map(str::to_owned);
    Ok(code.unwrap_or_else(|| response.status.to_string()))
}

/// hublatch refuses an upgrade on the login page: if it does not, it was not asked for one, so a front before it keeps
/// them back. Behind it, a handshake must get the hub's own response.
async fn websocket(deployment: &Deployment, public: &CallTarget) -> Vec<Finding> {
    let tried = "a WebSocket through public.url";
    match click(deployment, public, true).await {
        Ok(word) if word == "link_unknown" || word == "too_many_tries" => {
            let happened = "the front before hublatch takes the Upgrade away: notebooks get no kernel";
            let change = "let it pass Upgrade and Connection (nginx: proxy_http_version 1.1, proxy_set_header Upgrade \
                          $http_upgrade, Connection \"upgrade\")";
            return vec![Finding::failed(tried, happened, change)];
        }
        Ok(_) => {}
        Err(error) => return vec![Finding::failed(tried, error, "let the front pass WebSockets")],
    }
    if !deployment.knows_hub() {
        return vec![Finding::skipped(tried, HUB_UNKNOWN)];
    }
    let path = deployment.path(&format!("user/{}/api/events/subscribe", deployment.stranger));
    let through = handshake(public, &path).await;
    let direct = handshake(&deployment.hub, &path).await;
    vec![match (through, direct) {
        (Ok(through), Ok(direct)) if through == direct => {
            Finding::ok(tried, format!("the handshake reaches the hub, which answers a stranger {through}"))
        }
        (Ok(through), Ok(direct)) => Finding::warn(
            tried,
            format!("{through}, where the hub itself answers {direct}"),
            "look what stands between, and into the logs of both",
        ),
        (Err(error), _) | (_, Err(error)) => Finding::failed(tried, error, "look into the logs of both"),
    }]
}

async fn handshake(target: &CallTarget, path: &str) -> Result<StatusCode, String> {
    let request = target
        .request(Method::GET, path)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header("Sec-WebSocket-Version", "13")
        // The sample of RFC 6455 § 1.3.
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    Ok(target.send(request).await?.status)
}
