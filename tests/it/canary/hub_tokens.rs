//! The same for hub tokens: the hub alone may see them, and the app that was given one.

use serde_json::json;

use super::sinks::{Sinks, log};
use crate::support::proxy::standing_clock;
use crate::support::{FakeHub, TestProxy};

const OWN: &str = "Own5ervice70ken0fHub1atchItse1f00";
const SERVICE: &str = "Serv1ceT0kenOfTheCoursePorta1000";
const UNKNOWN: &str = "Unkn0wnT0kenThatTheHubD0esN0tKnow";
const ISSUED: &str = "1ssuedHubT0ken0fA1iceForThePorta1";

fn open(hub: &FakeHub) -> TestProxy {
    hub.on("/hub/api/user", |exchange| {
        let key = exchange.seen.headers.all("authorization").join(",");
        let body = match key.strip_prefix("token ").unwrap_or_default() {
            SERVICE => json!({"name": "course", "kind": "service", "scopes": []}),
            ISSUED => json!({"name": "alice", "kind": "user", "token_id": "a1", "groups": [], "scopes": []}),
            "" => {
                return exchange.answer("403 Forbidden", json!({"status": 403, "message": null}).to_string());
            }
            _ => return exchange.answer("403 Forbidden", json!({"status": 403, "message": key}).to_string()),
        };
        exchange.answer("200 OK", body.to_string())
    });
    let created = json!({"token": ISSUED, "id": "a1", "expires_at": "2026-01-31T13:00:00Z"}).to_string();
    hub.on("/hub/api/users/alice/tokens", move |exchange| exchange.answer("201 Created", &created));
    let found = json!({"id": "a1", "note": "hublatch app=portal link=x"}).to_string();
    hub.on("/hub/api/users/alice/tokens/a1", move |exchange| {
        if exchange.seen.method == "DELETE" {
            exchange.read_body();
            exchange.send("HTTP/1.1 204 No Content\r\n\r\n");
            return crate::support::Then::Next;
        }
        exchange.answer("200 OK", &found)
    });
    TestProxy::before(hub)
        .set("hub", &format!("api_token = {OWN:?}"))
        .set("hub_tokens", "services = [\"course\"]")
        .set("log", "access = true\nlevel = \"trace\"")
        .portal("hub_tokens = { scopes = [\"access:servers!user\"] }")
        .clock(&standing_clock())
        .start()
}

#[test]
fn hub_tokens_are_told_to_the_hub_alone() {
    let mut sinks = Sinks::open(open);
    let links = sinks.proxy.links();
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let authorization = |token: &str| format!("token {token}");
    for token in [SERVICE, UNKNOWN] {
        let key = authorization(token);
        let status = if token == SERVICE { 201 } else { 401 };
        let order = json!({ "username": "alice" }).to_string();
        let issued = links.call("POST", "/api/v1/links", &[("Authorization", &key)], order);
        assert_eq!(issued.status, status);
        let status = if token == SERVICE { 200 } else { 404 };
        let verified = links.call("POST", "/api/v1/verify", &[], json!({ "token": token }).to_string());
        sinks.took("verify", status, &verified);
        let status = if token == SERVICE { 403 } else { 401 };
        let forwarded = links.call("GET", "/api/v1/forward-auth", &[("Authorization", &key)], "");
        sinks.took("forward-auth", status, &forwarded);
    }
    let link = sinks.link("a login token that became a hub token");
    let wanted = |kind: &str| {
        format!(
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={}&subject_token_type={kind}",
            link.token
        )
    };
    let malformed = links.call("POST", "/oauth2/token", &form, wanted("x"));
    sinks.took("a malformed exchange", 400, &malformed);
    let in_address = format!("/oauth2/token?{}", wanted("x"));
    sinks.took("an exchange in the address", 400, &links.call("POST", &in_address, &form, "a=b"));
    let login_token = wanted("urn:hublatch:params:oauth:token-type:login_token");
    let exchanged = links.call("POST", "/oauth2/token", &form, &login_token);
    assert_eq!((exchanged.status, &exchanged.json()["access_token"]), (200, &json!(ISSUED)));
    sinks.took("the exchange again", 400, &links.call("POST", "/oauth2/token", &form, &login_token));
    sinks.took("the end", 200, &links.call("POST", "/oauth2/revoke", &form, format!("token={ISSUED}")));

    let metrics = links.call("GET", "/metrics", &[], "").text();
    let audit: String = sinks.proxy.audit().iter().map(|line| format!("{line}\n")).collect();
    let told: String =
        sinks.told.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect();
    for (sink, text) in [("log", log().text()), ("metrics", metrics), ("audit", audit), ("answers", told)] {
        for secret in [OWN, SERVICE, UNKNOWN, ISSUED] {
            assert!(!text.contains(&secret[3..25]), "{secret} is in the {sink}");
        }
    }
    sinks.assert_tight();
}
