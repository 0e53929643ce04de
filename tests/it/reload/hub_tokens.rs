//! Principals of hub tokens come and go with the configuration, and keep the rate that they have used up.

use serde_json::json;

use super::order;
use crate::redeem::click;
use crate::support::{FakeHub, Links, TestProxy};

const COURSE: &str = "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0";

fn hub() -> FakeHub {
    let hub = FakeHub::start();
    hub.on("/hub/api/user", |exchange| {
        if exchange.seen.headers.all("authorization").is_empty() {
            return crate::redeem::nobody(exchange);
        }
        exchange.answer("200 OK", json!({"name": "course", "kind": "service", "scopes": []}).to_string())
    });
    hub
}

#[test]
fn whoever_is_listed_no_more_is_refused_at_once_and_so_are_her_links() {
    let hub = hub();
    let builder = TestProxy::before(&hub);
    let proxy = builder.clone().start();
    assert_eq!(order(&proxy, COURSE), 401);
    proxy.reload(&builder.clone().set("hub_tokens", "services = [\"course\"]")).unwrap();
    let links = Links::new(proxy.management(), COURSE);
    let (first, second) = (json!({ "username": "alice" }), json!({ "username": "bob" }));
    let (first, second) = (links.issue(&first), links.issue(&second));
    assert_eq!(click(&proxy, &first).status, 302);
    proxy.reload(&builder.clone().set("hub_tokens", "services = [\"another\"]")).unwrap();
    assert_eq!(order(&proxy, COURSE), 403);
    assert_eq!(click(&proxy, &second).status, 403);
    proxy.reload(&builder).unwrap();
    assert_eq!(order(&proxy, COURSE), 401);
}

#[test]
fn a_reload_gives_no_owner_another_burst() {
    let hub = hub();
    let listed = "services = [\"course\"]\nrate = \"1/s\"";
    let builder = TestProxy::before(&hub).set("hub_tokens", listed);
    let proxy = builder.clone().start();
    let mut issued = 0;
    while order(&proxy, COURSE) == 201 {
        issued += 1;
        // Each reload would be a new burst of ten.
        proxy
            .reload(
                &builder.clone().set("hub_tokens", &format!("{listed}\nmax_live_links = {}", 1000 + issued)),
            )
            .unwrap();
        assert!(issued < 100, "a rate of 1/s was passed by reloading");
    }
}
