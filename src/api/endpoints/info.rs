//! `GET /api/v1/info`: what a developer or an operator needs to know of this hublatch. No secrets.

use std::future::ready;
use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder};

use super::issue_links::BATCH_MAX;
use crate::api::auth::KnownHost;
use crate::api::document::{Documentation, ResponseDoc};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::response::json_response;
use crate::api::schema::{BodySchema, word};
use crate::api::shared_responses::NOT_ALLOWED;
use crate::api::state::ApiState;
use crate::config::Config;
use crate::reloads::{ReloadState, Reloads};

pub(super) fn endpoint() -> Endpoint {
    let handler = |_: KnownHost, State(api): State<Arc<ApiState>>| {
        let info = Info { configuration: api.reloads.state(), ..api.info.clone() };
        ready(json_response(StatusCode::OK, &info))
    };
    Endpoint::get("/api/v1/info", CallKind::Open, handler, documentation)
}

fn documentation() -> Documentation {
    Documentation::new("operations", "readInfo", "What a developer needs to know of this hublatch")
        .security([])
        .answers(
            StatusCode::OK,
            ResponseDoc::new("No secrets.").json(BodySchema::of::<Info>()).example(
                "info",
                json!({
                    "version": "0.1.0",
                    "public_url": "http://127.0.0.1:8000",
                    "login_url": "http://127.0.0.1:8000/hub/login",
                    "parameter": "login_token",
                    "store": "memory",
                    "assertion": true,
                    "lifetime": 30,
                    "max_lifetime": 300,
                    "features": ["hub_tokens"],
                    "require_state": false,
                    "batch_max": 1000,
                    "warnings": [],
                    "configuration": {
                        "since": "2026-01-31T12:00:00Z",
                        "needs_restart": [],
                        "last_reload": {
                            "at": "2026-01-31T12:00:00Z",
                            "result": "reloaded",
                            "faults": 0,
                        }
                    },
                }),
            ),
        )
        .fails([&NOT_ALLOWED])
}

/// What a developer or an operator needs to know. All but `configuration` stays while one is in force.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Info {
    version: &'static str,
    /// What browsers type.
    public_url: String,
    /// Where tokens are redeemed.
    login_url: String,
    /// The query parameter of the token.
    parameter: String,
    /// Where live links are kept; `memory` does not survive a restart.
    #[schema(schema_with = stores)]
    store: &'static str,
    /// Whether logins are proved to the hub by a signed assertion.
    assertion: bool,
    /// Seconds that a link lives if the order does not say.
    lifetime: u64,
    /// The most seconds that any app may ask for; an app may have less.
    max_lifetime: u64,
    /// What is switched on of that which the configuration may leave out.
    #[schema(schema_with = feature_list)]
    features: Vec<&'static str>,
    /// Whether each link must have a `state` (`login.require_state`).
    require_state: bool,
    /// The most links in one batch.
    batch_max: usize,
    /// What is allowed but unwise in this configuration.
    warnings: Vec<String>,
    #[schema(inline)]
    configuration: ReloadState,
}

fn stores() -> ObjectBuilder {
    word(["memory", "redb", "redis"])
        .description(Some("Where live links are kept; `memory` does not survive a restart."))
}

fn feature_list() -> ArrayBuilder {
    ArrayBuilder::new().items(word(["launch", "hub_tokens", "token_exchange"])).description(Some(
        "What is switched on: `launch` with `hub.api_token_file`; `[hub_tokens]`; `[apps.hub_tokens]` of any app.",
    ))
}

impl Info {
    pub(in crate::api) fn of(config: &Config, reloads: &Reloads) -> Self {
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
            configuration: reloads.state(),
        }
    }
}

fn features(config: &Config) -> Vec<&'static str> {
    let exchange = config.apps.iter().any(|app| app.hub_tokens.is_some());
    let launch = config.hub.api.token.is_some();
    let all = [("launch", launch), ("hub_tokens", config.hub_tokens.is_some()), ("token_exchange", exchange)];
    all.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect()
}
