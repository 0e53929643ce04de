//! An app that hangs up before it has its hub token: the work goes on, and nothing is left that nobody has seen.

use std::pin::pin;

use futures_util::poll;
use hublatch::shutdown::Shutdown;

use super::*;
use crate::support::requests::sized;
use crate::support::{Gate, PATIENCE, TestProxy, Wire};

const TOKENS: &str = "/hub/api/users/alice/tokens";

/// Waits for what a task of hublatch's brings about.
async fn until(what: &str, reached: impl Fn() -> bool) {
    let reached = async {
        while !reached() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("no {what}"));
}

async fn every_task_has_ended(shutdown: &Shutdown) {
    until("end of the tasks", || shutdown.tasks() == 0).await;
}

fn events(api: &TestApi) -> Vec<Value> {
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        json!([line["event"], line["reason"]])
    };
    api.audit().lines().map(line).collect()
}

#[tokio::test]
async fn an_app_that_hangs_up_while_the_hub_makes_its_token_loses_nothing() {
    let (hub, gate) = (TokenHub::start(), Gate::new());
    hub.hold(TOKENS, &gate);
    let api = api(&hub);
    let token = login_token(&api).await;
    {
        let mut call = pin!(Form::exchange(&token).token().send(&api));
        assert!(poll!(&mut call).is_pending());
        until("request at the hub", || !hub.hub.seen_at(TOKENS).is_empty()).await;
    }
    gate.open();
    every_task_has_ended(&api.shutdown).await;
    assert!(hub.tokens().is_empty(), "{:?}", hub.tokens());
    assert_eq!(hub.hub.seen_at(&format!("{TOKENS}/a1"))[0].method, "DELETE");
    assert!(is_live(&api, &token).await, "it was not spent");
    assert_eq!(events(&api), [json!(["issued", null])]);
    assert_eq!(Form::exchange(&token).token().send(&api).await.status, 200);
}

#[tokio::test]
async fn a_token_that_was_made_for_an_app_that_does_not_take_it_is_deleted() {
    let hub = TokenHub::start();
    let api = api(&hub);
    let token = login_token(&api).await;
    {
        let mut call = pin!(Form::exchange(&token).token().send(&api));
        // It is not asked again whether it is done.
        assert!(poll!(&mut call).is_pending());
        until("token", || api.audit().contains("token_issued")).await;
    }
    every_task_has_ended(&api.shutdown).await;
    assert!(hub.tokens().is_empty(), "{:?}", hub.tokens());
    assert!(!is_live(&api, &token).await, "it was spent");
    let told = [
        json!(["issued", null]),
        json!(["redeemed", null]),
        json!(["token_issued", null]),
        json!(["token_revoked", "not_delivered"]),
    ];
    assert_eq!(events(&api), told);
    assert_eq!((api.metrics.hub.tokens_issued.get(), api.metrics.hub.tokens_revoked.get()), (1, 1));
}

#[tokio::test]
async fn a_token_that_was_taken_stays() {
    let hub = TokenHub::start();
    let api = api(&hub);
    let token = login_token(&api).await;
    assert_eq!(Form::exchange(&token).token().send(&api).await.status, 200);
    every_task_has_ended(&api.shutdown).await;
    assert_eq!(hub.tokens().len(), 1);
}

#[test]
fn a_connection_that_ends_before_the_answer_leaves_no_token() {
    let (hub, gate) = (TokenHub::start(), Gate::new());
    hub.hold(TOKENS, &gate);
    let tokens = "hub_tokens = { scopes = [\"access:servers!user\"], max_lifetime = \"10m\" }";
    let own = format!("api_token = {OWN:?}");
    let proxy = TestProxy::before_url(&hub.url()).set("hub", &own).portal(tokens).start();
    let link = proxy.link("alice");
    let lines = [
        &format!("Authorization: Bearer {}", proxy.key())[..],
        "Content-Type: application/x-www-form-urlencoded",
    ];
    let mut wire = Wire::connect(proxy.management());
    wire.send(sized("POST", "/oauth2/token", &lines, Form::exchange(&link.token).text()));
    hub.hub.wait_for_path(TOKENS);
    wire.end();
    // hublatch closes its side: it has noticed.
    assert!(wire.is_ended());
    gate.open();
    let deleted = hub.hub.wait_for_path(&format!("{TOKENS}/a1"));
    assert_eq!(deleted.method, "DELETE");
    assert_eq!(proxy.links().status(&link.id), "pending");
}
