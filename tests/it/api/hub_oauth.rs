//! `/hub-oauth/…`: what a hub gets for a code, and what nobody else gets.

use std::sync::Arc;

use hublatch::audit::Client;
use hublatch::config::Config;
use hublatch::login::RedeemRequest;
use hublatch::login::login_token::LoginToken;
use serde_json::{Value, json};

use super::broken_store::BrokenStore;
use super::call::{Call, Reply, StrangeBody, get, order, post};
use super::client::{PORTAL, TestApi, Variant, config_before};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const REDIRECT: &str = "http://127.0.0.1:8000/hub/oauth_callback";
const PATHS: [(&str, &str); 4] = [
    ("post", "/hub-oauth/token"),
    ("get", "/hub-oauth/userinfo"),
    ("get", "/hub-oauth/jwks"),
    ("get", "/.well-known/openid-configuration"),
];

fn provider() -> Config {
    let more = format!(
        "[hub_oauth]\nclient_secret = {SECRET:?}\nredirect_uri = {REDIRECT:?}\n\
         issuer = \"http://127.0.0.1:8010\"\ninsecure = true\n"
    );
    config_before("http://127.0.0.1:8400", &more)
}

pub fn api() -> TestApi {
    TestApi::with(Variant { config: provider(), ..Variant::default() })
}

fn form(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn token(body: String) -> Call {
    post("/hub-oauth/token").header("content-type", "application/x-www-form-urlencoded").body(body.into())
}

/// A request for tokens as oauthenticator 16 sends it, for a code that nobody was given.
fn guess() -> Vec<(&'static str, &'static str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("code", "hl_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        ("redirect_uri", REDIRECT),
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        ("client_id", "hublatch"),
        ("client_secret", SECRET),
        ("data", "None"),
    ]
}

/// A code for alice, as a login makes one.
async fn code(api: &TestApi) -> String {
    let issued = api.issue(order()).await;
    let token = LoginToken::parse(issued["login_token"].as_str().unwrap()).unwrap();
    let asked = RedeemRequest::default();
    let valid = api.login.redeemer.validate(&token, asked).await.unwrap();
    let user = api.login.redeemer.consume(valid, Client::at(None)).await.unwrap();
    let provider = api.login.policy().hub_oauth.clone().unwrap();
    let location = format!(
        "http://127.0.0.1:8010/hub-oauth/authorize?{}",
        form(&[
            ("response_type", "code"),
            ("client_id", "hublatch"),
            ("redirect_uri", REDIRECT),
            ("state", "s"),
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
        ])
    );
    let request = provider.read_authorize(&location).unwrap();
    provider.mint_code(user, &request).await.unwrap().to_string()
}

/// The hub's request for the tokens of `code`.
fn tokens_for(code: &str) -> Call {
    let pairs: Vec<_> = guess()
        .into_iter()
        .map(|(name, value)| if name == "code" { (name, code) } else { (name, value) })
        .collect();
    token(form(&pairs))
}

/// The calls of a login.
pub async fn login_cases(api: &TestApi) -> Vec<(&'static str, &'static str, Call)> {
    let access = tokens_for(&code(api).await).send(api).await.json["access_token"].clone();
    vec![
        ("post", PATHS[0].1, tokens_for(&code(api).await)),
        (
            "get",
            PATHS[1].1,
            get(PATHS[1].1).header("authorization", &format!("Bearer {}", access.as_str().unwrap())),
        ),
    ]
}

/// Where there is no `[hub_oauth]`.
pub fn absent_cases() -> Vec<(&'static str, &'static str, Call)> {
    PATHS
        .iter()
        .map(|(method, path)| (*method, *path, super::call::call(&method.to_uppercase(), path)))
        .collect()
}

/// A request that takes its time.
pub fn slow_case() -> (&'static str, &'static str, Call) {
    let call = post(PATHS[0].1).strange_body(StrangeBody::NeverEnds);
    ("post", PATHS[0].1, call.header("content-type", "application/x-www-form-urlencoded"))
}

/// An API whose store is down.
pub fn broken() -> TestApi {
    TestApi::with(Variant { config: provider(), store: Arc::new(BrokenStore), ..Variant::default() })
}

/// One that does not wait.
pub fn impatient() -> TestApi {
    let mut config = provider();
    config.limits.held_body_timeout = std::time::Duration::from_millis(2);
    TestApi::with(Variant { config, ..Variant::default() })
}

/// Calls by which the refusals of the document are seen.
pub fn cases() -> Vec<(&'static str, &'static str, Call)> {
    let mut cases = vec![
        ("post", PATHS[0].1, token(form(&guess()))),
        ("post", PATHS[0].1, token(form(&[("grant_type", "authorization_code")]))),
        ("post", PATHS[0].1, token("a".repeat(70_000))),
        ("post", PATHS[0].1, token(String::new()).header("content-encoding", "gzip")),
        ("get", PATHS[1].1, get(PATHS[1].1)),
        ("get", PATHS[2].1, get(PATHS[2].1)),
        ("get", PATHS[2].1, get(PATHS[2].1).header("host", "evil.example")),
        ("get", PATHS[3].1, get(PATHS[3].1)),
        ("get", PATHS[3].1, get(PATHS[3].1).header("host", "evil.example")),
    ];
    cases.extend(PATHS[..2].iter().map(|(method, path)| {
        (*method, *path, super::call::call(&method.to_uppercase(), path).header("origin", "null"))
    }));
    cases
}

async fn error_of(call: Call) -> (u16, Value) {
    let reply: Reply = call.send(&api()).await;
    (reply.status, reply.json["error"].clone())
}

#[tokio::test]
async fn a_code_is_worth_an_access_token_that_tells_of_the_user_once() {
    let api = api();
    let code = code(&api).await;
    let reply = tokens_for(&code).send(&api).await;
    assert_eq!((reply.status, &reply.json["token_type"]), (200, &json!("Bearer")));
    assert_eq!(reply.header("cache-control"), "no-store");
    let access = format!("Bearer {}", reply.json["access_token"].as_str().unwrap());
    let user = get("/hub-oauth/userinfo").header("authorization", &access).send(&api).await;
    assert_eq!((user.status, &user.json["preferred_username"]), (200, &order()["username"]));
    assert_eq!(tokens_for(&code).send(&api).await.json["error"], "invalid_grant", "a code works once");
}

#[tokio::test]
async fn a_code_that_nobody_was_given_is_worth_nothing() {
    assert_eq!(error_of(token(form(&guess()))).await, (400, "invalid_grant".into()));
}

#[tokio::test]
async fn only_the_hub_may_ask_and_only_in_one_way() {
    let without = |names: &[&str]| -> Vec<_> {
        guess().into_iter().filter(|(name, _)| !names.contains(name)).collect()
    };
    let wrong = [without(&["client_secret"]), vec![("client_secret", "wrong")]].concat();
    assert_eq!(error_of(token(form(&wrong))).await, (401, "invalid_client".into()));
    let bare = form(&without(&["client_id", "client_secret"]));
    assert_eq!(error_of(token(bare.clone())).await, (401, "invalid_client".into()));
    let basic = |id: &str, secret: &str| {
        use base64::Engine as _;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}")))
    };
    let good = token(bare.clone()).header("authorization", &basic("hublatch", SECRET));
    assert_eq!(error_of(good).await, (400, "invalid_grant".into()), "Basic is as good as the form");
    let app = token(bare).header("authorization", &basic("portal", PORTAL));
    assert_eq!(error_of(app).await, (401, "invalid_client".into()), "an app's key is no client's secret");
    let twice = token(form(&guess())).header("authorization", &basic("hublatch", SECRET));
    assert_eq!(error_of(twice).await, (400, "invalid_request".into()));
}

#[tokio::test]
async fn a_request_that_is_none_for_a_code_is_told_so() {
    let with = |name: &'static str, value: &'static str| -> String {
        let mut pairs = guess();
        pairs.retain(|(other, _)| *other != name);
        pairs.push((name, value));
        form(&pairs)
    };
    for (body, error) in [
        (with("grant_type", "password"), "unsupported_grant_type"),
        (with("grant_type", ""), "invalid_request"),
        (with("code", ""), "invalid_request"),
        (with("redirect_uri", ""), "invalid_request"),
        (with("redirect_uri", "http://evil.example/"), "invalid_grant"),
        (form(&[guess(), vec![("code", "x")]].concat()), "invalid_request"),
    ] {
        assert_eq!(error_of(token(body.clone())).await, (400, error.into()), "{body}");
    }
}

#[tokio::test]
async fn a_token_of_another_kind_tells_of_nobody() {
    for key in [PORTAL, "hl_x", "a.b.c"] {
        let reply = get("/hub-oauth/userinfo").key(key).send(&api()).await;
        assert_eq!(reply.status, 401, "{key}");
    }
    let reply = get("/hub-oauth/userinfo").header("authorization", "Bearer x").send(&api()).await;
    assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"hublatch\", error=\"invalid_token\"");
}

#[tokio::test]
async fn the_discovery_document_leads_to_the_endpoints() {
    let api = api();
    let document = get("/.well-known/openid-configuration").send(&api).await.json;
    for (member, path) in
        [("token_endpoint", "token"), ("userinfo_endpoint", "userinfo"), ("jwks_uri", "jwks")]
    {
        assert_eq!(document[member], format!("http://127.0.0.1:8010/hub-oauth/{path}"));
    }
    let keys = get("/hub-oauth/jwks").send(&api).await.json;
    assert_eq!(keys["keys"][0]["kty"], "RSA");
    assert!(keys["keys"][0].get("d").is_none(), "the private part stays here");
}

#[tokio::test]
async fn without_hub_oauth_there_is_nothing_here() {
    let api = TestApi::new();
    for (method, path) in PATHS {
        let call = if method == "post" { token(form(&guess())) } else { get(path).key(PORTAL) };
        assert_eq!(call.send(&api).await.status, 404, "{method} {path}");
    }
}

#[tokio::test]
async fn an_order_for_a_session_with_an_end_is_refused_because_nothing_could_end_it() {
    let api = api();
    let order = serde_json::json!({ "username": "alice", "session_expires_in": 3600 });
    let reply = post("/api/v1/links").key(PORTAL).json(&order).send(&api).await;
    assert_eq!((reply.status, reply.json["code"].as_str()), (422, Some("unsupported_field")));
    let message = reply.json["message"].as_str().unwrap_or_default();
    assert!(message.contains("[hub_oauth]"), "{message}");
}
