//! A login from beginning to end, by a link of the running hublatch, for a user whom the operator has named.

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, ORIGIN};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::hub::is_gateway_error;
use super::{Deployment, Finding};
use crate::cli::call::{CallResponse, CallTarget, Cookie};
use crate::cli::link::key_of_environment;
use crate::login::next::form_encode;

const TRIED: &str = "a login by a link";
const OUR_LOG: &str = "read hublatch's log: it says there why nobody was logged in";
const HUBS_LOG: &str = "read the hub's log: its authenticator says there why it refused";

/// `leads`: whether hublatch answers at public.url; if not, that was told already.
pub(super) async fn examine(deployment: &Deployment, user: Option<&str>, leads: bool) -> Vec<Finding> {
    let Some(user) = user else {
        return vec![Finding::skipped(
            TRIED,
            "nobody was named: --user NAME, and an app's key in HUBLATCH_API_KEY",
        )];
    };
    let key = match key_of_environment() {
        Ok(key) => key,
        Err(reason) => {
            let change = "put an app's key, which makes the link, into HUBLATCH_API_KEY or its file";
            return vec![Finding::failed(format!("{TRIED} for {user}"), reason, change)];
        }
    };
    let (Ok(public), true) = (&deployment.public, leads) else {
        return vec![Finding::skipped(TRIED, "public.url does not lead to hublatch")];
    };
    let token = match issue(deployment, user, &key).await {
        Ok(token) => token,
        Err(finding) => return vec![finding],
    };
    match log_in(deployment, public, user, &token).await {
        Ok(findings) => findings,
        Err(NoLogin { happened, change }) => {
            vec![Finding::failed(format!("{TRIED} for {user}"), happened, change)]
        }
    }
}

/// Why nobody was logged in, and where more of it is written.
struct NoLogin {
    happened: String,
    change: &'static str,
}

/// No response in time, or none at all.
impl From<String> for NoLogin {
    fn from(happened: String) -> Self {
        Self { happened, change: OUR_LOG }
    }
}

/// A response that logs nobody in: hublatch's own, which has a code or tells of a hub that does not answer; or the hub's.
impl From<&CallResponse> for NoLogin {
    fn from(response: &CallResponse) -> Self {
        let is_ours = response.json()["code"].is_string() || is_gateway_error(response.status);
        Self { happened: said(response), change: if is_ours { OUR_LOG } else { HUBS_LOG } }
    }
}

/// The token of a link; or why there is none.
async fn issue(deployment: &Deployment, user: &str, key: &str) -> Result<String, Finding> {
    let tried = format!("{TRIED} for {user}");
    let response = match order(deployment, user, key).await {
        Ok(response) => response,
        Err(error) => {
            let change = "start hublatch with this configuration: its management listener makes the link";
            return Err(Finding::failed(tried, error, change));
        }
    };
    if let Some(token) = response.json()["login_token"].as_str() {
        return Ok(token.to_owned());
    }
    // A sound configuration: no link of our own making can work.
    if response.json()["code"] == "state_required" {
        let why =
            "login.require_state is on: a link works only in the browser that was sent to the app for it";
        return Err(Finding::skipped(tried, why));
    }
    let change = match response.status {
        StatusCode::UNAUTHORIZED => {
            "put the key of an app of this configuration into HUBLATCH_API_KEY or its file"
        }
        StatusCode::TOO_MANY_REQUESTS => "try again in a while: the app's rate is used up",
        status if status.is_server_error() => OUR_LOG,
        _ => "name a user for whom this app may issue links",
    };
    Err(Finding::failed(tried, said(&response), change))
}

/// Asks for a link as an app does.
async fn order(deployment: &Deployment, user: &str, key: &str) -> Result<CallResponse, String> {
    let order = json!({ "username": user, "next": deployment.path("hub/home"), "note": "hublatch doctor" });
    let management = CallTarget::management(&deployment.config)?;
    let request = management.request(Method::POST, "/api/v1/links");
    management.send(request.header(AUTHORIZATION, format!("token {key}")).json(&order)).await
}

async fn log_in(
    deployment: &Deployment,
    public: &CallTarget,
    user: &str,
    token: &str,
) -> Result<Vec<Finding>, NoLogin> {
    let response = click(deployment, public, token).await?;
    if !response.logs_in() {
        return Err(NoLogin::from(&response));
    }
    let cookies = response.cookies();
    let jar: Vec<String> = cookies.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
    let jar = jar.join("; ");
    let who = ask(public, &deployment.path("hub/api/user"), &jar).await?;
    let name = who.json()["name"].as_str().unwrap_or_default().to_owned();
    let mut findings = vec![if name == user {
        Finding::ok(
            format!("{TRIED} for {user}"),
            "the hub accepted our proof and knows the browser as this user",
        )
    } else {
        let happened = format!("the hub knows the browser as {name:?}");
        Finding::failed(
            format!("{TRIED} for {user}"),
            happened,
            "let the hub's authenticator keep names as they are",
        )
    }];
    findings.extend(running_server(deployment, public, &who.json(), &jar).await);
    findings.push(secure(deployment, &cookies));
    let again = click(deployment, public, token).await?;
    findings.push(if again.status == StatusCode::FORBIDDEN {
        Finding::ok("the same link once more, in another browser", "refused (403)")
    } else {
        let happened = format!("{}: it was not refused", again.status);
        Finding::not_safe(
            "the same link once more, in another browser",
            happened,
            "report this: see SECURITY.md",
        )
    });
    let out = ask(public, &deployment.path("hub/logout"), &jar).await?;
    let tried = format!("the logout of {user}");
    findings.push(if out.status.is_client_error() || out.status.is_server_error() {
        let happened = format!("{}: the session of this test is still open", out.status);
        Finding::failed(tried, happened, "route hub/logout to the hub: switching users needs it")
    } else {
        Finding::ok(tried, format!("answered ({})", out.status))
    });
    Ok(findings)
}

/// The hub's public proxy leads to a server that runs. The hub's own port does not: there the hub sends everybody for
/// `/user/NAME/` to `/hub/user/NAME/`, and from there back. Without a running server both do so: nothing can be told.
async fn running_server(
    deployment: &Deployment,
    public: &CallTarget,
    who: &serde_json::Value,
    jar: &str,
) -> Option<Finding> {
    let server = &who["servers"][""];
    let url = server["url"].as_str().filter(|url| server["ready"] == true && url.starts_with('/'))?;
    let path = format!("{url}api");
    let response = ask(public, &path, jar).await.ok()?;
    let back = deployment.path("hub/user/");
    let is_sent_back =
        response.status.is_redirection() && response.lines("location").iter().any(|to| to.starts_with(&back));
    is_sent_back.then(|| {
        Finding::failed(
            format!("the user's server, which runs, GET {path}"),
            format!("{}: the hub itself answers, so no notebook opens", response.status),
            "write the hub's public proxy (c.JupyterHub.bind_url) as hub.url, not the hub's own port (8081 by default)",
        )
    })
}

/// The button of our own confirm page, which is there or not: a POST from this origin redeems in either case.
async fn click(deployment: &Deployment, public: &CallTarget, token: &str) -> Result<CallResponse, String> {
    let login = &deployment.config.login;
    let body = format!("{}={}", login.parameter, form_encode(token));
    let request = public
        .request(Method::POST, &deployment.config.hub.login_path())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ORIGIN, &deployment.config.public.url.origin)
        .header("Sec-Fetch-Site", "same-origin")
        .header("Sec-Fetch-Mode", "navigate")
        .header("Sec-Fetch-Dest", "document")
        .header(ACCEPT, "application/json")
        .body(body);
    public.send(request).await
}

async fn ask(public: &CallTarget, path: &str, jar: &str) -> Result<CallResponse, String> {
    let request = public.request(Method::GET, path).header(COOKIE, jar).header(ACCEPT, "application/json");
    public.send(request).await
}

/// A cookie without Secure also goes over http, where anybody on the way can read it.
fn secure(deployment: &Deployment, cookies: &[Cookie]) -> Finding {
    let tried = "the hub's session cookies";
    if !deployment.config.public.url.secure {
        return Finding::skipped(tried, "public.url is http, where Secure has no place");
    }
    // The hub gives its _xsrf no Secure, whatever it is told.
    let open: Vec<&str> = cookies
        .iter()
        .filter(|cookie| !cookie.secure && cookie.name.starts_with("jupyterhub-"))
        .map(|cookie| cookie.name.as_str())
        .collect();
    if open.is_empty() {
        return Finding::ok(tried, "are Secure");
    }
    Finding::not_safe(
        tried,
        format!("{} can be read on the way", open.join(", ")),
        "let nothing between hublatch and the hub change X-Scheme, or set c.JupyterHub.public_url",
    )
}

/// A response in its own words.
fn said(response: &CallResponse) -> String {
    let message = response.json()["message"].as_str().map(str::to_owned);
    message
        .map_or_else(|| format!("{}", response.status), |message| format!("{message} ({})", response.status))
}
