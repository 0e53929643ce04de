//! As the hub's own proxy: who can write the routing table, where the hub is by it, and who reaches the hub past us.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use reqwest::header::AUTHORIZATION;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::{Deployment, Finding};
use crate::cli::call::{CallResponse, CallTarget};
use crate::cli::chp::token_of_environment;
use crate::cli::read;
use crate::cli::serve::with_learnt;
use crate::config::{RoutesConfig, UpstreamAddress};
use crate::routes::api::PATH as TABLE;
use crate::routes::{LearntHub, Pin, Scheme, Target};

/// The hub makes one of 64 characters.
const TOKEN_CHARACTERS_MIN: usize = 20;
/// How the hub gets out of the reach of notebooks.
const OUT_OF_REACH: &str = "let the hub listen on a socket (c.JupyterHub.hub_bind_url = \"http+unix://…\"), write \
                            routes.hub_api_listen, and give that to notebooks as c.Spawner.hub_connect_url";

/// Asks the table, and goes on by what it tells of the hub where the configuration does not.
pub(super) async fn examine(deployment: &mut Deployment) -> Vec<Finding> {
    let Some(routes) = deployment.config.routes.clone() else { return Vec::new() };
    let mut findings = table(deployment, &routes).await;
    findings.extend(from_outside(deployment).await);
    findings.extend(hub_port(deployment).await);
    findings.extend(hub_api(deployment, &routes).await);
    findings
}

async fn table(deployment: &mut Deployment, routes: &RoutesConfig) -> Vec<Finding> {
    let listen = routes.api_listen.clone().unwrap_or_else(|| deployment.config.management.listen.clone());
    let tried = format!("the routes without a token at {listen}, GET {TABLE}");
    let asked = match CallTarget::programs(&deployment.config, &listen) {
        Ok(target) => target.get(TABLE).await.map(|response| (target, response)),
        Err(error) => Err(error),
    };
    let (target, open) = match asked {
        Ok(asked) => asked,
        Err(error) => {
            let change = "let management.listen be the hub's c.ConfigurableHTTPProxy.api_url, where it starts hublatch";
            return vec![Finding::failed(tried, error, change)];
        }
    };
    let mut findings = vec![if open.status == StatusCode::OK {
        let happened = "answered: whoever is on this machine can lead people and their logins elsewhere";
        Finding::not_safe(tried, happened, "give the hub's CONFIGPROXY_AUTH_TOKEN as routes.auth_token_file")
    } else {
        Finding::ok(tried, format!("refused ({})", open.status))
    }];
    let token = routes.auth_token.clone().or_else(token_of_environment).map(|secret| secret.text);
    if let Some(token) = token.as_ref().filter(|token| token.len() < TOKEN_CHARACTERS_MIN) {
        findings.push(Finding::warn(
            "the token of the routing table",
            format!("has {} characters: it can be guessed", token.len()),
            "make one by: openssl rand -hex 32",
        ));
    }
    let tried = format!("the routing table at {listen}");
    let response = match &token {
        None if open.status == StatusCode::OK => Ok(open),
        None => {
            let why = "its token is not in the configuration: give it in the variable CONFIGPROXY_AUTH_TOKEN, or write hub.url";
            findings.push(Finding::skipped(tried, why));
            return findings;
        }
        Some(token) => ask(&target, TABLE, AUTHORIZATION.as_str(), &format!("token {}", **token)).await,
    };
    findings.push(match response {
        Ok(response) if response.status == StatusCode::OK => learn(deployment, tried, &response.json()),
        Ok(response) => Finding::failed(
            tried,
            response.status.to_string(),
            "let routes.auth_token_file hold the hub's token",
        ),
        Err(error) => Finding::failed(tried, error, "look into hublatch's log"),
    });
    findings
}

/// Takes from the table where the hub is, as the running hublatch does.
fn learn(deployment: &mut Deployment, tried: String, table: &Value) -> Finding {
    let rows = table.as_object();
    let hub = rows.and_then(|rows| rows.iter().find(|(_, route)| route["hub"] == true));
    let Some((key, route)) = hub else {
        let change = "start the hub; let it write its routes here (c.ConfigurableHTTPProxy.api_url)";
        return Finding::failed(tried, "the hub has no route in it", change);
    };
    let text = route["target"].as_str().unwrap_or_default();
    let Ok(target) = Target::parse(text) else {
        return Finding::failed(tried, format!("the hub's route leads to {text:?}"), "mend the hub's route");
    };
    let routes = rows.map_or(0, serde_json::Map::len);
    let happened = format!("{routes} routes; the hub's leads to {}", target.place());
    let pin = Pin::of_hub(&deployment.config.hub);
    let by_host = deployment.config.routes.as_ref().is_some_and(|routes| routes.host_routing);
    let learnt = LearntHub::of(key, Some(&target), by_host);
    match with_learnt(&learnt, |more| read(&deployment.source, more)).outcome {
        Ok(config) => deployment.config = config,
        Err(faults) => {
            let fault = faults.iter().next().map(ToString::to_string).unwrap_or_default();
            return Finding::failed(
                tried,
                format!("{happened}, and by that: {fault}"),
                "mend the hub's route",
            );
        }
    }
    if let Some(pin) = pin {
        if pin.admits(&target) {
            return Finding::ok(tried, format!("{happened}, as hub.url says"));
        }
        // It would have been refused by a hublatch that runs by this configuration.
        return Finding::not_safe(
            tried,
            format!("{happened}, and hub.url says {pin}: logins go where the configuration does not say"),
            "let hub.url be the hub's own address (c.JupyterHub.hub_bind_url), and hublatch run by this configuration",
        );
    }
    if target.scheme() == Scheme::Https {
        return Finding::skipped(tried, format!("{happened}, over TLS: write hub.url"));
    }
    deployment.config.hub.upstream = Some(target.address().clone());
    match CallTarget::hub(&deployment.config) {
        Ok(hub) => deployment.hub = hub,
        Err(error) => return Finding::failed(tried, error, "mend the hub's route"),
    }
    Finding::ok(tried, happened)
}

/// The table is for the hub: browsers must not reach it.
async fn from_outside(deployment: &Deployment) -> Option<Finding> {
    let tried = format!("the routing table from outside, public.url{TABLE}");
    let response = deployment.public.as_ref().ok()?.get(TABLE).await.ok()?;
    let is_table = response.json().as_object().is_some_and(|rows| {
        rows.values().any(|row| row["target"].is_string() && row["last_activity"].is_string())
    });
    Some(if is_table {
        Finding::not_safe(tried, "it answers there", "let the front lead to public.listen alone")
    } else {
        Finding::ok(tried, format!("not there ({})", response.status))
    })
}

/// Whether programs on this machine, notebooks among them, reach the hub past us.
async fn hub_port(deployment: &Deployment) -> Option<Finding> {
    let tried = "the hub's own address, as a notebook on this machine has it";
    let has_proof = deployment.config.assertion.is_some() || deployment.config.hub_oauth.is_some();
    match deployment.config.hub.upstream.as_ref()? {
        UpstreamAddress::Unix(path) if path.as_os_str().is_empty() => None,
        UpstreamAddress::Unix(path) => {
            let mode = match std::fs::metadata(path) {
                Ok(status) => status.permissions().mode() & 0o777,
                Err(error) => return Some(Finding::skipped(tried, error)),
            };
            let happened = format!("the socket {} with mode {mode:04o}", path.display());
            Some(if is_shut(path) {
                Finding::ok(tried, happened)
            } else {
                Finding::warn(
                    tried,
                    format!("{happened}: everybody on this machine"),
                    "put it into a folder of the hub's user alone (mode 0700)",
                )
            })
        }
        UpstreamAddress::Tcp { host, port } => {
            let connected = deployment.hub.get(&deployment.path("hub/api/")).await;
            Some(match connected {
                Err(_) => Finding::ok(tried, format!("{host}:{port} does not answer here")),
                Ok(_) if has_proof => Finding::ok(
                    tried,
                    format!("{host}:{port} answers; the signed proof keeps notebooks from logging in there"),
                ),
                Ok(_) => Finding::warn(
                    tried,
                    format!("{host}:{port} answers, and an identity header needs no proof there"),
                    OUT_OF_REACH,
                ),
            })
        }
    }
}

/// Whether the file system keeps everybody but its user and group from a socket.
fn is_shut(path: &Path) -> bool {
    let lets_others =
        |path: &Path, bit| std::fs::metadata(path).is_ok_and(|status| status.permissions().mode() & bit != 0);
    // unix(7): connecting wants write permission on the socket, and search permission on its folder.
    !(lets_others(path, 0o002) && path.parent().is_some_and(|folder| lets_others(folder, 0o001)))
}

/// The hub's socket, if hublatch is its proxy and nobody else reaches it.
pub(super) fn shut_socket(deployment: &Deployment) -> Option<&Path> {
    deployment.config.routes.as_ref()?;
    match deployment.config.hub.upstream.as_ref()? {
        UpstreamAddress::Unix(path) => Some(path.as_path()).filter(|path| path.exists() && is_shut(path)),
        UpstreamAddress::Tcp { .. } => None,
    }
}

/// The listener for notebooks: the Hub API and nothing else, without an identity.
async fn hub_api(deployment: &Deployment, routes: &RoutesConfig) -> Option<Finding> {
    let listen = routes.hub_api_listen.as_ref()?;
    let tried = format!("the Hub API for notebooks at routes.hub_api_listen ({listen})");
    let change = "start hublatch with this configuration";
    let target = match CallTarget::plain(listen) {
        Ok(target) => target,
        Err(error) => return Some(Finding::failed(tried, error, change)),
    };
    match target.get(&deployment.path("hub/api/")).await {
        Ok(response) if response.json()["version"].is_string() => {}
        Ok(response) => {
            return Some(Finding::failed(
                tried,
                format!("{} without a hub's version", response.status),
                "start the hub",
            ));
        }
        Err(error) => return Some(Finding::failed(tried, error, change)),
    }
    let header = deployment.config.login.user_header.as_str();
    let login = ask(&target, &deployment.path("hub/login"), header, &deployment.stranger).await;
    let who = ask(&target, &deployment.path("hub/api/user"), header, &deployment.stranger).await;
    let is_open = login.is_ok_and(|response| response.logs_in() || response.status != StatusCode::NOT_FOUND);
    let is_believed = who.is_ok_and(|response| response.json()["name"] == deployment.stranger.as_str());
    Some(if is_open || is_believed {
        let happened = "it leads to more than the Hub API, or believes an identity header";
        Finding::not_safe(tried, happened, "let notebooks reach hublatch's own listener and no other")
    } else {
        Finding::ok(tried, "the Hub API, no login, and no identity by a header")
    })
}

async fn ask(target: &CallTarget, path: &str, name: &str, value: &str) -> Result<CallResponse, String> {
    target.send(target.request(Method::GET, path).header(name, value)).await
}
