//! `GET /api/v1/info`: what a developer or an operator needs to know of this hublatch. No secrets.

use std::future::ready;
use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;
use serde::Serialize;

use super::issue_links::BATCH_MAX;
use crate::api::auth::KnownHost;
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::response::json_response;
use crate::api::state::ApiState;
use crate::config::Config;
use crate::reloads::{ReloadState, Reloads};

pub(super) fn endpoint() -> Endpoint {
    let handler = |_: KnownHost, State(api): State<Arc<ApiState>>| {
        ready(json_response(StatusCode::OK, &api.info.with(&api.reloads)))
    };
    Endpoint::get("/api/v1/info", CallKind::Open, handler)
}

/// The response.
#[derive(Debug, Serialize)]
struct InfoJson<'a> {
    #[serde(flatten)]
    info: &'a Info,
    configuration: ReloadState,
}

/// What does not change while a configuration is in force.
#[derive(Debug, Serialize)]
pub(in crate::api) struct Info {
    version: &'static str,
    /// What browsers type.
    public_url: String,
    /// Where tokens are redeemed.
    login_url: String,
    /// The query parameter of the token.
    parameter: String,
    /// The kind of store: whether links survive a restart.
    store: &'static str,
    /// Whether logins are proved to the hub by a signed assertion.
    assertion: bool,
    /// Seconds that a link lives if the app does not say.
    lifetime: u64,
    /// The most seconds that any app may ask for.
    max_lifetime: u64,
    /// What is switched on of that which the configuration may leave out.
    features: Vec<&'static str>,
    /// Whether each link must have a `state`.
    require_state: bool,
    /// The most links in one batch.
    batch_max: usize,
    /// What is allowed but unwise in this configuration.
    warnings: Vec<String>,
}

impl Info {
    pub(in crate::api) fn of(config: &Config) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            public_url: config.public.url.origin.clone(),
            login_url: format!("{}{}", config.public.url.origin, config.hub.login_path()),
            parameter: config.login.parameter.clone(),
            store: config.store.url.kind(),
            assertion: config.assertion.is_some(),
            lifetime: config.login.lifetime.as_secs(),
            max_lifetime: config.login.max_lifetime.as_secs(),
            features: features(config),
            require_state: config.login.require_state,
            batch_max: BATCH_MAX,
            warnings: config.warnings.clone(),
        }
    }

    /// Together with what came of reading the configuration.
    fn with(&self, reloads: &Reloads) -> InfoJson<'_> {
        InfoJson { info: self, configuration: reloads.state() }
    }
}

fn features(config: &Config) -> Vec<&'static str> {
    let exchange = config.apps.iter().any(|app| app.hub_tokens.is_some());
    let launch = config.hub.api.token.is_some();
    let all = [("launch", launch), ("hub_tokens", config.hub_tokens.is_some()), ("token_exchange", exchange)];
    all.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect()
}
