//! The document tells the truth. Every answer of the other tests is held against it by `document.rs`; here it is held
//! against the table of routes, and every status that it promises is brought about.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hublatch::api::{OPENAPI, ROUTES};
use hublatch::clock::Clock as _;
use hublatch::config::{App, Config, Scope};
use hublatch::store::MemoryStore;
use serde_json::{Value, json};

use super::broken_store::BrokenStore;
use super::call::{Call, StrangeBody, call, delete, get, order, post};
use super::client::{ISSUER, NARROW, OTHER, PORTAL, TestApi, Variant, config, config_before};
use crate::jwt::signer;
use crate::support::keys::signing_key;
use crate::support::{FakeHub, HubServer, Is, Then};

use super::document::{DOCUMENT, METHODS, operation, resolve, violations};
use super::{hub_oauth, hub_tokens, oauth};

#[test]
fn the_document_and_the_table_name_the_same_endpoints() {
    let routed: BTreeSet<String> =
        ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    let mut documented = BTreeSet::new();
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for method in METHODS.iter().filter(|method| item.get(**method).is_some()) {
            documented.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    assert_eq!(routed, documented);
}

#[test]
fn every_example_fits_its_schema() {
    let mut examples = 0;
    check_examples(&DOCUMENT, "", &mut examples);
    assert!(examples > 25, "only {examples} examples were found");
}

fn check_examples(value: &'static Value, place: &str, examples: &mut usize) {
    if let (Some(schema), Some(named)) = (value.get("schema"), value.get("examples")) {
        for (name, example) in named.as_object().unwrap() {
            *examples += 1;
            let wrong = violations(schema, &example["value"], name);
            assert!(wrong.is_empty(), "{place}: {wrong:?}");
        }
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        check_examples(member, &format!("{place}/{name}"), examples);
    }
    for element in value.as_array().into_iter().flatten() {
        check_examples(element, place, examples);
    }
}

#[tokio::test]
async fn every_example_of_an_order_is_taken() {
    let hub = FakeHub::start();
    HubServer::of(&hub, "me", "named");
    let api = launching(&hub.url());
    for path in ["/api/v1/links", "/api/v1/links/batch"] {
        let media = &DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"];
        for (name, example) in media["examples"].as_object().unwrap() {
            let reply = post(path).key(PORTAL).json(&example["value"]).send(&api).await;
            assert_eq!(reply.status, 201, "{path} {name}: {}", reply.json);
        }
    }
}

#[test]
fn the_file_in_docs_is_the_document() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text == *OPENAPI, "run: cargo run -- reference openapi > docs/openapi.yaml");
}

#[tokio::test]
async fn the_document_is_served_as_it_is() {
    let reply = get("/api/v1/openapi.yaml").send(&TestApi::new()).await;
    assert_eq!((reply.header("content-type"), &reply.body[..]), ("application/yaml", OPENAPI.as_bytes()));
}

#[tokio::test]
async fn every_documented_status_can_be_seen() {
    let mut unseen: BTreeSet<String> = BTreeSet::new();
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for method in METHODS.iter().filter(|method| item.get(**method).is_some()) {
            let responses = item[*method]["responses"].as_object().unwrap();
            for (status, response) in responses {
                assert!(
                    resolve(response)["description"].is_string(),
                    "{method} {path} {status} is not described"
                );
                unseen.insert(format!("{method} {path} {status}"));
            }
        }
    }
    let api = TestApi::new();
    for case in cases(&api).await {
        see(&mut unseen, &api, case).await;
    }
    let broken = TestApi::with(Variant { store: Arc::new(BrokenStore), ..Variant::default() });
    for case in full_or_down() {
        see(&mut unseen, &broken, case).await;
    }
    let hub = hub_tokens::hub();
    let hubs = hub_tokens::api(&hub, hub_tokens::LISTED);
    for case in of_hub_tokens() {
        see(&mut unseen, &hubs, case).await;
    }
    for bad in hub_tokens::bad_hubs() {
        for case in of_hub_tokens() {
            see(&mut unseen, &bad.api, case).await;
        }
    }
    let tokens = oauth::TokenHub::start();
    let [exchanging, slow] = oauth::for_documents(&tokens.url());
    for case in oauth::cases(&exchanging).await {
        see(&mut unseen, &exchanging, case).await;
    }
    for case in oauth::too_many() {
        see(&mut unseen, &slow, case).await;
    }
    for bad in hub_tokens::bad_hubs() {
        let api = oauth::before_bad(&bad);
        for case in oauth::bad_hub_cases(&api).await {
            see(&mut unseen, &api, case).await;
        }
    }
    let mut impatient = config();
    impatient.limits.held_body_timeout = Duration::from_millis(2);
    let impatient = TestApi::with(Variant { config: impatient, ..Variant::default() });
    for path in ["/api/v1/links", "/api/v1/links/batch", "/api/v1/verify", "/login"] {
        see(
            &mut unseen,
            &impatient,
            ("post", path, post(path).key(PORTAL).strange_body(StrangeBody::NeverEnds)),
        )
        .await;
    }
    for path in ["/oauth2/token", "/oauth2/revoke"] {
        let form = post(path).key(PORTAL).strange_body(StrangeBody::NeverEnds);
        let form = form.header("content-type", "application/x-www-form-urlencoded");
        see(&mut unseen, &impatient, ("post", path, form)).await;
    }
    for path in ["/api/v1/links", "/api/v1/links/batch"] {
        let limited = TestApi::with(Variant { store: Arc::new(MemoryStore::new(25)), ..Variant::default() });
        let body =
            if path.ends_with("batch") { json!({"links": [order(), order(), order()]}) } else { order() };
        for _ in 0..40 {
            see(&mut unseen, &limited, ("post", path, post(path).key(NARROW).json(&body))).await;
        }
    }
    let draining = TestApi::new();
    draining.shutdown.drain();
    see(&mut unseen, &draining, ("get", "/live", get("/live"))).await;
    see_launches(&mut unseen).await;
    see_ended_sessions(&mut unseen).await;
    see_logout_tokens(&mut unseen, &impatient).await;
    let provider = hub_oauth::api();
    for case in hub_oauth::cases().into_iter().chain(hub_oauth::login_cases(&provider).await) {
        see(&mut unseen, &provider, case).await;
    }
    for case in hub_oauth::absent_cases() {
        see(&mut unseen, &api, case).await;
    }
    for case in hub_oauth::cases() {
        see(&mut unseen, &hub_oauth::broken(), case).await;
    }
    see(&mut unseen, &hub_oauth::impatient(), hub_oauth::slow_case()).await;
    assert!(unseen.is_empty(), "documented, and never seen: {unseen:#?}");
}

/// An API that launches servers at the hub of `url`.
fn launching(url: &str) -> TestApi {
    TestApi::with(Variant { config: launches_at(url), ..Variant::default() })
}

fn launches_at(url: &str) -> Config {
    config_before(url, "api_token = \"0123456789abcdef\"")
}

/// Brings about what only launches do.
async fn see_launches(unseen: &mut BTreeSet<String>) {
    let (path, batch, progress) = ("/api/v1/links", "/api/v1/links/batch", "/api/v1/links/{id}/progress");
    let order = json!({"username": "me", "server": "named", "launch": true});
    let orders = json!({ "links": [order] });
    let hub = FakeHub::start();
    let server = HubServer::of(&hub, "me", "named").known();
    let store = Arc::new(MemoryStore::new(100));
    let of_both = |config| TestApi::with(Variant { config, store: store.clone(), ..Variant::default() });
    let api = of_both(launches_at(&hub.url()));
    // For a hub that does not answer at all.
    let mut config = launches_at(&hub.url());
    config.limits.hub_api_timeout = Duration::from_millis(50);
    let impatient = of_both(config);
    let issued = api.issue(order.clone()).await;
    let plain = api.issue(json!({"username": "me"})).await;
    let url = issued["server"]["progress_url"].as_str().unwrap().to_owned();
    let none = format!("/api/v1/links/{}/progress", plain["id"].as_str().unwrap());
    for call in [
        get(&url).key(PORTAL),
        get(&url),
        get(&url).key(ISSUER),
        get(&url).key(OTHER),
        get(&none).key(PORTAL),
        get("/api/v1/links/x/progress").key(PORTAL),
    ] {
        see(unseen, &api, ("get", progress, call)).await;
    }
    server.set(Is::Stopped);
    server.refuse("400 Bad Request", "me:named is pending stop");
    see(unseen, &api, ("post", batch, post(batch).key(PORTAL).json(&orders))).await;
    let users = "/hub/api/users/me";
    let watched = "/hub/api/users/me/servers/named/progress";
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";
    let busy = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
    for place in [users, watched] {
        for answer in [Some(page), Some(busy), None] {
            let api = match answer {
                Some(bytes) => {
                    hub.reply(place, bytes);
                    &api
                }
                None => {
                    hub.on(place, |exchange| {
                        while exchange.wire.idle_head().is_some() {}
                        Then::Close
                    });
                    &impatient
                }
            };
            if place == users {
                see(unseen, api, ("post", path, post(path).key(PORTAL).json(&order))).await;
                see(unseen, api, ("post", batch, post(batch).key(PORTAL).json(&orders))).await;
            } else {
                see(unseen, api, ("get", progress, get(&url).key(PORTAL))).await;
            }
        }
    }
}

/// Brings about what only the end of sessions does.
async fn see_ended_sessions(unseen: &mut BTreeSet<String>) {
    let path = "/api/v1/users/{name}/sessions";
    let end = |name: &str| delete(&format!("/api/v1/users/{name}/sessions"));
    let hub = FakeHub::start();
    let pem = signing_key();
    let may_end = |more: &str, timeout| {
        let mut config = config_before(&hub.url(), more);
        let mut portal = App::clone(&config.apps[0]);
        portal.scopes.push(Scope::End);
        config.apps[0] = Arc::new(portal);
        config.limits.hub_api_timeout = timeout;
        TestApi::with(Variant { config, ..Variant::default() })
    };
    let (minute, moment) = (Duration::from_mins(1), Duration::from_millis(200));
    let bare = may_end("", minute);
    see(unseen, &bare, ("delete", path, end("alice").key(PORTAL))).await;
    let signing = format!("[assertion]\nkey = {pem:?}");
    let api = may_end(&signing, minute);
    for call in [end("alice"), end("alice").key(OTHER), end("Alice").key(PORTAL)] {
        see(unseen, &api, ("delete", path, call)).await;
    }
    let handler = "/hub/hublatch/sessions";
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"sessions\":[]}",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
        "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
    ] {
        hub.reply(handler, bytes);
        see(unseen, &api, ("delete", path, end("alice").key(PORTAL))).await;
    }
    hub.on(handler, |exchange| {
        while exchange.wire.idle_head().is_some() {}
        Then::Close
    });
    // Only this one must be given up soon: the others answer when the machine has time for them.
    let impatient = may_end(&signing, moment);
    see(unseen, &impatient, ("delete", path, end("alice").key(PORTAL))).await;
}

/// Brings about what only logout tokens do.
async fn see_logout_tokens(unseen: &mut BTreeSet<String>, impatient: &TestApi) {
    let path = "/oidc/backchannel-logout";
    let form = |body: String| {
        post(path).header("content-type", "application/x-www-form-urlencoded").body(body.into())
    };
    let (hub, own, files) = (FakeHub::start(), signer::Signer::ed25519(), tempfile::tempdir().unwrap());
    hub.reply("/hub/hublatch/sessions", "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"sessions\":[]}");
    let file = files.path().join("portal.pem");
    std::fs::write(&file, &own.pem).unwrap();
    let pem = signing_key();
    let more = format!(
        "[assertion]\nkey = {pem:?}\n[[apps]]\nname = \"lms\"\nscopes = [\"end\"]\n\
         jwt = {{ issuer = {:?}, audience = {:?}, public_key_file = {file:?} }}",
        signer::ISSUER,
        signer::AUDIENCE
    );
    let api = TestApi::with(Variant { config: config_before(&hub.url(), &more), ..Variant::default() });
    let event = json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } });
    let token = own.sign(&signer::claims(api.clock.now().wall.as_second(), &event));
    for call in [
        form(format!("logout_token={token}")),
        form("logout_token=x".to_owned()),
        form("logout_token=x".to_owned()).header("origin", "null"),
        form("logout_token=x".to_owned()).header("content-encoding", "gzip"),
        form(String::new())
            .strange_body(StrangeBody::Zeros(2_000_000))
            .header("content-type", "application/x-www-form-urlencoded"),
        post(path).json(&json!({})),
    ] {
        see(unseen, &api, ("post", path, call)).await;
    }
    let never = post(path).strange_body(StrangeBody::NeverEnds);
    let never = never.header("content-type", "application/x-www-form-urlencoded");
    see(unseen, impatient, ("post", path, never)).await;
}

type Case = (&'static str, &'static str, Call);

async fn see(unseen: &mut BTreeSet<String>, api: &TestApi, (method, path, call): Case) {
    let reply = call.send(api).await;
    unseen.remove(&format!("{method} {path} {}", reply.status));
}

/// Calls that between them bring about every status but those of a bad store, a slow body and a fast app.
async fn cases(api: &TestApi) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let (one, user) = ("/api/v1/links/{id}", "/api/v1/users/{name}/links");
    for path in ["/api/v1/links", "/api/v1/links/batch", "/api/v1/verify", "/login"] {
        cases.push(("post", path, post(path).json(&order())));
        cases.push(("post", path, post(path).key(PORTAL).header("origin", "null")));
        cases.push(("post", path, post(path).key(PORTAL).text("{")));
        cases.push(("post", path, post(path).key(PORTAL).text("{}")));
        cases.push(("post", path, post(path).key(PORTAL).body("{}".into())));
        cases.push(("post", path, post(path).key(PORTAL).strange_body(StrangeBody::Zeros(2_000_000))));
    }
    cases.push((
        "post",
        "/api/v1/links/batch",
        post("/api/v1/links/batch").key(PORTAL).json(&json!({"links": [order()]})),
    ));
    let keyed = |body: Value| post("/api/v1/links").key(PORTAL).header("idempotency-key", "k").json(&body);
    let first = keyed(order()).send(api).await;
    assert_eq!(first.status, 201);
    api.redeem(&first.json).await;
    cases.push(("post", "/api/v1/links", keyed(order())));
    cases.push(("post", "/api/v1/links", post("/api/v1/links").key(PORTAL).json(&order())));
    cases.push(("post", "/login", post("/login").json(&json!({"token": first.json["login_token"]}))));
    let second = api.issue(order()).await;
    cases.push(("post", "/login", post("/login").json(&json!({"token": second["login_token"]}))));
    let spent = format!("/api/v1/links/{}", first.json["id"].as_str().unwrap());
    let pending = api.issue(order()).await;
    let pending = format!("/api/v1/links/{}", pending["id"].as_str().unwrap());
    for (method, target) in [("get", &spent), ("delete", &spent), ("delete", &pending)] {
        let upper = method.to_uppercase();
        cases.push((method, one, call(&upper, target).key(PORTAL)));
        cases.push((method, one, call(&upper, target)));
        cases.push((method, one, call(&upper, target).header("origin", "null")));
        cases.push((method, one, call(&upper, "/api/v1/links/x").key(PORTAL)));
    }
    cases.push(("delete", user, delete("/api/v1/users/alice/links").key(PORTAL)));
    cases.push(("delete", user, delete("/api/v1/users/Alice/links").key(PORTAL)));
    cases.push(("delete", user, delete("/api/v1/users/alice/links")));
    cases.push(("delete", user, delete("/api/v1/users/alice/links").header("origin", "null")));
    cases.push(("get", "/api/v1/forward-auth", get("/api/v1/forward-auth").key("x")));
    for path in [
        "/api/v1/info",
        "/api/v1/openapi.yaml",
        "/api/v1/errors.md",
        "/health",
        "/live",
        "/ready",
        "/metrics",
    ] {
        cases.push(("get", path, get(path)));
        cases.push(("get", path, get(path).header("host", "evil.example")));
    }
    for (method, template, _) in &cases {
        assert!(operation(method, template).is_some(), "{method} {template} is not documented");
    }
    cases
}

/// Calls with hub tokens, of owners who are listed, not listed and unknown.
fn of_hub_tokens() -> Vec<Case> {
    let (verify, forward) = ("/api/v1/verify", "/api/v1/forward-auth");
    let (one, user) = ("/api/v1/links/{id}", "/api/v1/users/{name}/links");
    let key = hub_tokens::SERVICE;
    vec![
        ("post", "/api/v1/links", post("/api/v1/links").key(key).json(&order())),
        (
            "post",
            "/api/v1/links/batch",
            post("/api/v1/links/batch").key(key).json(&json!({"links": [order()]})),
        ),
        ("get", one, get("/api/v1/links/x").key(key)),
        ("delete", one, delete("/api/v1/links/x").key(key)),
        ("delete", user, delete("/api/v1/users/alice/links").key(key)),
        ("post", verify, post(verify).json(&json!({"token": key}))),
        ("post", verify, post(verify).json(&json!({"token": "deadbeef"}))),
        ("get", forward, get(forward).key(hub_tokens::ALICE)),
        ("get", forward, get(forward).key(key)),
        ("get", forward, get(forward)),
        ("get", forward, get("/api/v1/forward-auth?x=y").key(key)),
    ]
}

fn full_or_down() -> Vec<Case> {
    let (one, user) = ("/api/v1/links/{id}", "/api/v1/users/{name}/links");
    let id = "/api/v1/links/7rU1cG0m6j1q0QfZ8pQ2Xw";
    let token = json!({"token": format!("hl_{}", "A".repeat(43))});
    vec![
        ("post", "/api/v1/links", post("/api/v1/links").key(PORTAL).json(&order())),
        (
            "post",
            "/api/v1/links/batch",
            post("/api/v1/links/batch").key(PORTAL).json(&json!({"links": [order()]})),
        ),
        ("get", one, get(id).key(PORTAL)),
        ("delete", one, delete(id).key(PORTAL)),
        ("delete", user, delete("/api/v1/users/alice/links").key(PORTAL)),
        ("post", "/login", post("/login").json(&token)),
        ("get", "/ready", get("/ready")),
    ]
}
