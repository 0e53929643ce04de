//! The hub as hublatch reaches it: whether it answers, its version, its clock, the routes of a login, our API token.

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::{Method, StatusCode};

use super::{Deployment, Finding, HUB_UNKNOWN};
use crate::cli::call::CallResponse;

/// The authenticator's `leeway`: beyond it assertions are refused.
const LEEWAY_SECONDS: i64 = 5;
/// The oldest hub that the tests run on.
const OLDEST: (u32, u32) = (4, 1);

pub(super) async fn examine(deployment: &Deployment) -> Vec<Finding> {
    let path = deployment.path("hub/api/");
    if !deployment.knows_hub() {
        return vec![Finding::skipped("the hub", HUB_UNKNOWN)];
    }
    let tried = format!("the hub at hub.url ({}), GET {path}", deployment.hub.name());
    let before = deployment.clock.wall();
    let response = match deployment.hub.get(&path).await {
        Ok(response) => response,
        Err(error) => {
            let change =
                "start the hub, or write its public proxy's address (c.JupyterHub.bind_url) as hub.url";
            return vec![Finding::failed(tried, error, change)];
        }
    };
    let after = deployment.clock.wall();
    let Some(version) = response.json()["version"].as_str().map(str::to_owned) else {
        let happened = format!("{} without a hub's version", response.status);
        let change = if is_gateway_error(response.status) {
            "start the hub: it does not run behind this proxy"
        } else {
            "write c.JupyterHub.base_url as hub.base_url, and the hub's public proxy as hub.url"
        };
        return vec![Finding::failed(tried, happened, change)];
    };
    let mut findings = vec![of_version(&tried, &version), clocks(&response, before, after)];
    for (path, needed) in [("hub/login", "logins"), ("hub/logout", "a switch of users")] {
        findings.extend(route(deployment, path, needed).await);
    }
    findings.extend(pages(deployment).await);
    findings
}

/// What a proxy says of a hub that does not answer it: configurable-http-proxy 503, others 502 or 504.
pub(super) fn is_gateway_error(status: StatusCode) -> bool {
    [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT].contains(&status)
}

/// Whether the hub shows pages of its own, and `hub.api_only` says the same.
async fn pages(deployment: &Deployment) -> Option<Finding> {
    let path = deployment.path("hub/home");
    let tried = format!("pages of the hub itself, GET {path}");
    let response = deployment.hub.get(&path).await.ok()?;
    match (deployment.config.hub.api_only, response.status == StatusCode::NOT_FOUND) {
        (true, true) => Some(Finding::ok(tried, "there are none, as hub.api_only says")),
        (true, false) => {
            let change = format!(
                "write c.JupyterHub.hub_routespec = {:?} and the routes of docs/launch-and-api-only.md, or leave hub.api_only out",
                deployment.path("hub/api/")
            );
            let happened = format!("{}: people can see them, although hub.api_only is true", response.status);
            Some(Finding::warn(tried, happened, change))
        }
        (false, true) => {
            let happened = "404: the hub has no pages, and links lead through one of them";
            Some(Finding::warn(tried, happened, "write hub.api_only = true"))
        }
        (false, false) => None,
    }
}

fn of_version(tried: &str, version: &str) -> Finding {
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    let version_found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version_found < OLDEST {
        return Finding::warn(
            tried,
            format!("answers as JupyterHub {version}, which is older than any that hublatch is tested with"),
            "upgrade to JupyterHub 4.1 or later",
        );
    }
    Finding::ok(tried, format!("answers as JupyterHub {version}"))
}

/// Judged by the Date of a response (RFC 9110 § 6.6.1), which is a whole second.
fn clocks(response: &CallResponse, before: Timestamp, after: Timestamp) -> Finding {
    let tried = "the hub's clock against ours";
    let date = response.lines("date").first().and_then(|date| rfc2822::parse(date).ok());
    let Some(date) = date.map(|date| date.timestamp().as_second()) else {
        return Finding::skipped(tried, "its answer has no Date");
    };
    let (early, late) = (before.as_second() - date, date - after.as_second());
    let apart = early.max(late).max(0);
    if apart > LEEWAY_SECONDS {
        let happened = format!("{apart} s apart: the hub refuses our assertions");
        return Finding::failed(tried, happened, "let NTP set the clocks of both machines");
    }
    if apart > 1 {
        let happened = format!("{apart} s apart; beyond {LEEWAY_SECONDS} s the hub refuses our assertions");
        return Finding::warn(tried, happened, "let NTP set the clocks of both machines");
    }
    Finding::ok(tried, "at most one second apart")
}

/// In API-only mode (`hub_routespec`) the hub's proxy knows `/hub/api/` alone, and answers 404 itself.
async fn route(deployment: &Deployment, path: &str, needed: &str) -> Option<Finding> {
    let path = deployment.path(path);
    // Not GET: a logout is no question, and neither page knows OPTIONS (405).
    let response = deployment.hub.send(deployment.hub.request(Method::OPTIONS, &path)).await;
    match response {
        Ok(response) if response.status != StatusCode::NOT_FOUND => None,
        Ok(_) => Some(Finding::failed(
            format!("the route of {path}"),
            format!("404: the hub's proxy does not lead there, and {needed} need it"),
            format!("c.Proxy.extra_routes = {{\"{path}/\": THE_HUB'S_OWN_URL}}, beside hub_routespec"),
        )),
        Err(error) => Some(Finding::failed(format!("the route of {path}"), error, "look into the hub's log")),
    }
}
