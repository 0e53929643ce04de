//! The hub service whose token hublatch holds: whether the hub knows it, and whether its role has the scopes that the
//! features need.

use std::sync::Arc;

use super::{Deployment, Finding};
use crate::hub::HubClient;
use crate::metrics::Metrics;

/// What each feature asks of the hub. A scope may be limited to groups or users (`!group=…`).
const LAUNCH: (&str, &[&str]) = ("\"launch\"", &["admin:users", "start:servers", "read:servers"]);
const EXCHANGE: (&str, &[&str]) = ("the token exchange", &["tokens"]);

pub(super) async fn examine(deployment: &Deployment) -> Vec<Finding> {
    let tried = "the role of hub.api_token";
    let config = &deployment.config;
    let Some(token) = &config.hub.api.token else {
        return vec![Finding::skipped(
            tried,
            "there is no hub.api_token: launching and the token exchange are off",
        )];
    };
    let asked = match HubClient::new(config, Arc::new(Metrics::new())) {
        Ok(client) => client.whoami(token).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let owner = match asked {
        Ok(Some(owner)) => owner,
        Ok(None) => {
            let happened = format!("the hub at {} does not know this token", config.hub.api.url);
            let change = "write the api_token of a service in c.JupyterHub.services into hub.api_token_file";
            return vec![Finding::failed(tried, happened, change)];
        }
        Err(error) => {
            let change = "let hub.api_url name the Hub API, as this machine reaches it";
            return vec![Finding::failed(tried, error, change)];
        }
    };
    let exchanges = config.apps.iter().any(|app| app.hub_tokens.is_some());
    let mut findings = vec![needed(&owner.name, &owner.scopes, LAUNCH, config.hub.api_only)];
    if exchanges {
        findings.push(needed(&owner.name, &owner.scopes, EXCHANGE, true));
    }
    findings
}

/// `is_on`: whether the configuration asks for the feature, or an app may.
fn needed(owner: &str, scopes: &[String], (feature, wanted): (&str, &[&str]), is_on: bool) -> Finding {
    let tried = format!("the role of {owner} (hub.api_token) for {feature}");
    let given = |wanted: &str| scopes.iter().any(|scope| scope.split('!').next() == Some(wanted));
    // "servers" is in every JupyterHub, and holds "read:servers" and, from 6 on, "start:servers".
    let has = |wanted: &&str| given(wanted) || (wanted.ends_with(":servers") && given("servers"));
    let missing: Vec<&str> = wanted.iter().filter(|wanted| !has(wanted)).copied().collect();
    if missing.is_empty() {
        return Finding::ok(tried, format!("has {}", wanted.join(", ")));
    }
    let happened = format!("lacks {}: the hub refuses it (403)", missing.join(", "));
    // Only scopes that every hub knows: a hub does not start with an unknown one.
    let mut wanted: Vec<&str> =
        missing.iter().map(|scope| if scope.ends_with(":servers") { "servers" } else { scope }).collect();
    wanted.dedup();
    let change = format!("add to its scopes in c.JupyterHub.load_roles: {}", wanted.join(", "));
    if is_on { Finding::failed(tried, happened, change) } else { Finding::warn(tried, happened, change) }
}
