//! The doctor where hublatch is the hub's own proxy.

use super::deployment::Deployment;
use crate::support::hub::absent;
use crate::support::proxy::ROUTING_TOKEN;

#[test]
fn a_proxy_by_routes_is_told_to_be_sound_and_the_hub_is_found_by_its_route() {
    let deployment = Deployment::routed(false);
    let findings = deployment.doctor(&[]);
    for (about, words) in [
        ("without a token", "refused (403"),
        ("the routing table at 127.0.0.1", "2 routes; the hub's leads to 127.0.0.1"),
        ("the routing table from outside", "not there"),
        ("the hub's own address", "the signed proof"),
        ("hub_api_listen", "no login, and no identity"),
        ("hub.url", "JupyterHub 6.1.1"),
        ("GET /hub/login as hublatch-doctor-", "by HublatchAuthenticator"),
        ("GET /ready", "ready"),
    ] {
        findings.assert(about, "ok", words);
    }
    assert_eq!(findings.code, Some(0), "{:#?}", findings.list);
}

#[test]
fn a_routing_table_that_everybody_may_write_is_unsafe() {
    let deployment = Deployment::routed(true);
    let findings = deployment.doctor(&[]);
    findings.assert("without a token", "unsafe", "lead people and their logins elsewhere");
    findings.assert("the routing table at 127.0.0.1", "ok", "the hub's leads to");
}

#[test]
fn a_table_without_the_hub_and_a_bad_token_are_named() {
    let deployment = Deployment::routed(false);
    assert_eq!(deployment.proxy.routes("DELETE", "/", "").status, 204);
    deployment.doctor(&[]).assert("the routing table at 127.0.0.1", "failed", "no route in it");
    deployment.write_routed("auth_token = \"short\"");
    let findings = deployment.doctor(&[]);
    findings.assert("the routing table at 127.0.0.1", "failed", "403");
    findings.assert("the token of the routing table", "warn", "5 characters");
}

#[test]
fn a_hub_whose_route_leads_elsewhere_than_its_address_is_unsafe() {
    let deployment = Deployment::routed(false);
    let write = |url: &str| {
        deployment.write_routed(&format!("auth_token = {ROUTING_TOKEN:?}\n[hub]\nurl = {url:?}"));
        deployment.doctor(&[])
    };
    write(&deployment.hub.url()).assert("the routing table at 127.0.0.1", "ok", "as hub.url says");
    let (_hold, elsewhere) = absent();
    write(&elsewhere).assert("the routing table at 127.0.0.1", "unsafe", "hub.url says");
}

/// As the hub starts it, with a token of its own making that is in no file.
#[test]
fn without_the_token_of_the_table_what_is_asked_of_the_hub_is_left_out_and_nothing_has_failed() {
    let deployment = Deployment::routed(false);
    deployment.write_routed("");
    let findings = deployment.doctor(&["--user", "doctor"]);
    for about in ["the routing table at 127.0.0.1", "straight to the hub", "a WebSocket"] {
        findings.assert(about, "skipped", "hub.url");
    }
    findings.assert("public.url (", "ok", "leads to hublatch");
    findings.assert("an identity header through", "ok", "stripped");
    findings.assert("a login by a link for doctor", "ok", "as this user");
    assert_eq!(findings.code, Some(0), "{:#?}", findings.list);
}
