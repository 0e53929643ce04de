//! The client of the Hub API against hubs of every kind: what each answer means, and what becomes of a bad one.

mod bad_hubs;
mod calls;
mod secure;

use std::sync::Arc;

use hublatch::hub::HubClient;
use hublatch::metrics::Metrics;

use super::support::proxy::Builder;
use super::support::{FakeHub, TestProxy};

/// The token of hublatch's own service at the hub.
const OWN: &str = "0123456789abcdef0123456789abcdef";

fn configured(hub: &FakeHub) -> Builder {
    TestProxy::before(hub).set("hub", &format!("api_token = {OWN:?}"))
}

/// A client of `hub`, and what it counts.
fn client_with(hub: &FakeHub, change: impl FnOnce(Builder) -> Builder) -> (HubClient, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let config = change(configured(hub)).config();
    (HubClient::new(&config, Arc::clone(&metrics)).expect("a client"), metrics)
}

fn client(hub: &FakeHub) -> HubClient {
    client_with(hub, |builder| builder).0
}

/// Lets the hub answer `path` with `status` and this JSON.
fn answers(hub: &FakeHub, path: &str, status: &str, json: serde_json::Value) {
    let (status, json) = (status.to_owned(), json.to_string());
    hub.on(path, move |exchange| {
        exchange.answer(&format!("{status}\r\nContent-Type: application/json"), &json)
    });
}

/// Lets the hub refuse `path` in its own form.
fn refuses(hub: &FakeHub, path: &str, status: u16, message: &str) {
    answers(hub, path, &format!("{status} No"), serde_json::json!({ "status": status, "message": message }));
}
