//! The doctor's login by a link where it fails: whose log to read, and what to change.

use serde_json::json;

use super::deployment::Deployment;
use crate::support::hub::free_port;

const LOGIN: &str = "a login by a link for doctor";

#[test]
fn a_login_that_fails_names_the_log_of_whoever_refused() {
    let deployment = Deployment::new();
    let user = &["--user", "doctor"];
    let bare = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    // RedeemRequest before the token is consumed: hublatch itself says 503.
    deployment.hub.reply("/hub/api/user", bare("500 Internal Server Error"));
    deployment.doctor(user).assert(LOGIN, "failed", "read hublatch's log");
    deployment.hub.on("/hub/api/user", crate::redeem::nobody);
    deployment.hub.reply("/hub/login", bare("403 Forbidden"));
    deployment.doctor(user).assert(LOGIN, "failed", "read the hub's log: its authenticator");
    deployment.hub.on("/hub/login", |_| crate::support::Then::Close);
    deployment.doctor(user).assert(LOGIN, "failed", "read hublatch's log");
}

#[test]
fn a_link_that_is_not_to_be_had_is_told_with_what_to_change() {
    let deployment = Deployment::new();
    let user = &["--user", "doctor"];
    let findings = deployment.doctor_with_key(Some("hk_another"), user);
    findings.assert(LOGIN, "failed", "this key is not known (401 Unauthorized)");
    findings.assert(LOGIN, "failed", "into HUBLATCH_API_KEY");
    let findings = deployment.doctor(&["--user", "No Such Name"]);
    findings.assert("a login by a link for No Such Name", "failed", "for whom this app may issue");
    let nobody = format!("127.0.0.1:{}", free_port());
    deployment.write_with(deployment.proxy.origin(), &nobody, "", "", "");
    deployment.doctor(user).assert(LOGIN, "failed", "start hublatch");
}

#[test]
fn links_that_need_a_state_are_no_fault_but_not_tested() {
    let state = "without_token = \"redirect\"\napp_url = \"https://portal.example/in\"\nrequire_state = true";
    let deployment = Deployment::with_login(false, state);
    let findings = deployment.doctor(&["--user", "doctor"]);
    findings.assert(LOGIN, "skipped", "login.require_state is on");
    assert_eq!(findings.code, Some(0), "{:#?}", findings.list);
}

#[test]
fn a_login_that_was_asked_for_and_cannot_be_tried_is_a_failure() {
    let deployment = Deployment::new();
    let findings = deployment.doctor_with_key(None, &["--user", "doctor"]);
    findings.assert(LOGIN, "failed", "set HUBLATCH_API_KEY");
    assert_eq!(findings.failures(), 1, "{:#?}", findings.list);
    let findings = deployment.doctor_with_key(None, &[]);
    findings.assert("a login by a link", "skipped", "nobody was named");
    assert_eq!(findings.code, Some(0), "{:#?}", findings.list);
}

#[test]
fn a_hub_url_that_leads_to_no_running_server_is_named() {
    let deployment = Deployment::new();
    let about = "the user's server, which runs";
    let server = |is_ready: bool, answer: &str| {
        let servers = json!({ "": { "ready": is_ready, "url": "/user/doctor/" } });
        let model = json!({ "name": "doctor", "servers": servers }).to_string();
        deployment.hub.on("/hub/api/user", move |exchange| match exchange.seen.headers.get("cookie") {
            Some(_) => exchange.answer("200 OK\r\nContent-Type: application/json", &model),
            None => crate::redeem::nobody(exchange),
        });
        deployment.hub.reply("/user/doctor/api", format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n"));
        deployment.doctor(&["--user", "doctor"])
    };
    let back = "302 Found\r\nLocation: /hub/user/doctor/api";
    let findings = server(true, back);
    findings.assert(about, "failed", "the hub itself answers");
    findings.assert(about, "failed", "not the hub's own port");
    // The proxy leads to the server, which knows us or lets us log in; or there is nothing to lead to.
    for (is_ready, answer) in
        [(true, "200 OK"), (true, "302 Found\r\nLocation: /hub/api/oauth2/authorize?x"), (false, back)]
    {
        let findings = server(is_ready, answer);
        let told = findings.list.iter().any(|one| one["tried"].as_str().unwrap().contains(about));
        assert_eq!((told, findings.code), (false, Some(0)), "{answer}: {:#?}", findings.list);
    }
}
