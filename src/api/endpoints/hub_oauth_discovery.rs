//! `GET /.well-known/openid-configuration`: the addresses of the endpoints for the hub's own OAuth login.

use std::future::ready;

use hyper::StatusCode;

use crate::api::auth::KnownHost;
use crate::api::document::{Documentation, ResponseDoc};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::extract::HubOAuthProvider;
use crate::api::response::json_response;
use crate::api::schema::{open, text};
use crate::api::shared_responses::{NO_HUB_OAUTH, NOT_ALLOWED};

pub(super) fn endpoint() -> Endpoint {
    let handler = |_: KnownHost, HubOAuthProvider(provider): HubOAuthProvider| {
        ready(json_response(StatusCode::OK, &provider.discovery()))
    };
    Endpoint::get("/.well-known/openid-configuration", CallKind::Open, handler, documentation)
}

fn documentation() -> Documentation {
    Documentation::new(
        "hub oauth",
        "hubOAuthDiscovery",
        "The addresses of these endpoints (OpenID Connect Discovery 1.0)",
    )
    .security([])
    .answers(
        StatusCode::OK,
        ResponseDoc::new("The provider's metadata.").json(
            open(["issuer", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"])
                .property("issuer", text())
                .property("authorization_endpoint", text())
                .property("token_endpoint", text())
                .property("userinfo_endpoint", text())
                .property("jwks_uri", text()),
        ),
    )
    .fails([&NOT_ALLOWED, &NO_HUB_OAUTH])
}
