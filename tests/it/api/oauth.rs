//! Token exchange (RFC 8693) and revocation (RFC 7009): what an app gets, what it does not, and what is consumed by it.

mod documented;
mod hang_up;
mod hub_trouble;
mod revoke;
mod subjects;
mod token_hub;

use hublatch::config::{self, Config};
use hublatch::token::KeyDigest;
use serde_json::{Value, json};

use super::call::{Call, Reply, post};
use super::client::{OTHER, PORTAL, TestApi, Variant};
pub use documented::{bad_hub_cases, before_bad, cases, for_documents, too_many};
pub use token_hub::TokenHub;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const LOGIN_TOKEN: &str = "urn:hublatch:params:oauth:token-type:login_token";
/// The token of hublatch's own service at the hub.
const OWN: &str = "0123456789abcdef0123456789abcdef";

/// Two apps that may have hub tokens, and one that may not.
fn config_before(url: &str, portal: &str) -> Config {
    let digest = |key: &str| KeyDigest::of(key.as_bytes()).to_string();
    let text = format!(
        "[public]\nurl = \"http://127.0.0.1:8000\"\n[hub]\nurl = {url:?}\napi_token = {OWN:?}\n[hub_tokens]\n\
         [[apps]]\nname = \"portal\"\nkeys = [\"{}\"]\n{portal}\n\
         hub_tokens = {{ scopes = [\"access:servers!user\", \"read:users:name!user\"], max_lifetime = \"10m\" }}\n\
         [[apps]]\nname = \"other\"\nkeys = [\"{}\"]\nhub_tokens = {{ scopes = [\"access:servers!user\"] }}\n\
         [[apps]]\nname = \"plain\"\nkeys = [\"{}\"]\n",
        digest(PORTAL),
        digest(OTHER),
        digest(PLAIN)
    );
    config::load_str(&text, std::path::Path::new("hublatch.toml"), [])
        .unwrap_or_else(|faults| panic!("{faults}"))
}

/// The key of the app that may have none.
const PLAIN: &str = "hk_plain";

fn api_before(url: &str) -> TestApi {
    TestApi::with(Variant { config: config_before(url, ""), ..Variant::default() })
}

fn api(hub: &TokenHub) -> TestApi {
    api_before(&hub.url())
}

/// A form to be posted, to which parameters are added, or with an empty value taken away.
#[derive(Clone)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// The exchange of a login token.
    pub fn exchange(token: &str) -> Self {
        Self(Vec::new())
            .with("grant_type", GRANT)
            .with("subject_token", token)
            .with("subject_token_type", LOGIN_TOKEN)
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.retain(|(other, _)| other != name);
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn text(&self) -> String {
        let mut text = url::form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(&self.0).finish()
    }

    /// Posts it without a key.
    pub fn post(&self, path: &str) -> Call {
        raw(path, &self.text())
    }

    pub fn token(&self) -> Call {
        self.post("/oauth2/token").key(PORTAL)
    }
}

fn raw(path: &str, body: &str) -> Call {
    post(path)
        .body(bytes::Bytes::copy_from_slice(body.as_bytes()))
        .header("content-type", "application/x-www-form-urlencoded")
}

/// A login token of the portal's for alice.
async fn login_token(api: &TestApi) -> String {
    let link = api.issue(json!({"username": "alice"})).await;
    link["login_token"].as_str().unwrap().to_owned()
}

/// Whether the token could still log its user in.
async fn is_live(api: &TestApi, token: &str) -> bool {
    let token = hublatch::token::OpaqueToken::parse(token).unwrap();
    api.login.redeemer.validate_opaque(&token, hublatch::login::RedeemRequest::default()).await.is_ok()
}

fn error_of(reply: &Reply) -> (u16, &str) {
    (reply.status, reply.json["error"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn a_login_token_becomes_a_hub_token_once() {
    let hub = TokenHub::start();
    let api = api(&hub);
    let token = login_token(&api).await;
    let reply = Form::exchange(&token).token().send(&api).await;
    assert_eq!(reply.status, 200, "{}", reply.json);
    assert_eq!((reply.header("cache-control"), reply.header("pragma")), ("no-store", "no-cache"));
    let issued = &hub.tokens()[0];
    assert_eq!(
        reply.json,
        json!({
            "access_token": issued.secret, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer", "expires_in": 600,
            "scope": "access:servers!user=alice read:users:name!user=alice",
        })
    );
    assert_eq!(issued.asked["scopes"], json!(["access:servers!user=alice", "read:users:name!user=alice"]));
    assert_eq!(issued.asked["expires_in"], 600);
    let note = issued.asked["note"].as_str().unwrap();
    assert!(note.starts_with("hublatch app=portal link="), "{note}");

    let again = Form::exchange(&token).token().send(&api).await;
    assert_eq!((error_of(&again), again.code()), ((400, "invalid_request"), "used"));
    assert_eq!(hub.tokens().len(), 1);
    let lines: Vec<Value> = api.audit().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["issued", "redeemed", "token_issued", "refused"]);
    assert!(lines.iter().all(|line| line["id"] == lines[0]["id"] && line["app"] == "portal"), "{lines:?}");
    assert!(note.ends_with(lines[0]["id"].as_str().unwrap()));
    assert_eq!(api.metrics.hub.tokens_issued.get(), 1);
}

#[tokio::test]
async fn less_can_be_asked_for_and_more_not() {
    let hub = TokenHub::start();
    let api = api(&hub);
    let token = login_token(&api).await;
    let form = Form::exchange(&token);
    for (name, value, error) in [
        ("scope", "access:servers", "invalid_scope"),
        ("scope", "access:servers!user=bob", "invalid_scope"),
        ("scope", "access:servers!user admin:users", "invalid_scope"),
        ("scope", "inherit", "invalid_scope"),
        ("scope", " access:servers!user", "invalid_scope"),
        ("scope", "a\"b", "invalid_scope"),
        ("expires_in", "601", "invalid_request"),
        ("expires_in", "0", "invalid_request"),
        ("expires_in", "-1", "invalid_request"),
        ("expires_in", "+1", "invalid_request"),
        ("expires_in", "1.5", "invalid_request"),
        ("expires_in", "99999999999999999999", "invalid_request"),
    ] {
        let reply = form.clone().with(name, value).token().send(&api).await;
        assert_eq!(error_of(&reply), (400, error), "{name}={value}");
    }
    assert!(is_live(&api, &token).await && hub.tokens().is_empty());
    let wanted = form.with("scope", "access:servers!server=alice/lab").with("expires_in", "60");
    let reply = wanted.token().send(&api).await;
    assert_eq!(
        (reply.json["expires_in"].as_u64(), reply.json["scope"].as_str()),
        (Some(60), Some("access:servers!server=alice/lab"))
    );
    assert_eq!(hub.tokens()[0].asked["expires_in"], 60);
}

#[tokio::test]
async fn a_request_that_is_malformed_consumes_nothing() {
    let hub = TokenHub::start();
    let api = api(&hub);
    let token = login_token(&api).await;
    let form = Form::exchange(&token);
    for (name, value, error) in [
        ("grant_type", "", "invalid_request"),
        ("grant_type", "client_credentials", "unsupported_grant_type"),
        ("subject_token", "", "invalid_request"),
        ("subject_token", "hl_x", "invalid_request"),
        ("subject_token_type", "", "invalid_request"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token", "invalid_request"),
        ("subject_token_type", JWT, "invalid_request"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:id_token", "invalid_request"),
        ("actor_token", "x", "invalid_request"),
        ("audience", "elsewhere", "invalid_target"),
        ("resource", "https://elsewhere.example", "invalid_target"),
    ] {
        let reply = form.clone().with(name, value).token().send(&api).await;
        assert_eq!(error_of(&reply), (400, error), "{name}={value}");
    }
    let text = form.text();
    for (call, status) in [
        (raw("/oauth2/token", &format!("{text}&grant_type={GRANT}")).key(PORTAL), 400),
        (raw("/oauth2/token", &format!("{text}&scope=a&scope=b")).key(PORTAL), 400),
        (raw("/oauth2/token?x=y", &text).key(PORTAL), 400),
        (raw(&format!("/oauth2/token?{text}"), "").key(PORTAL), 400),
        (raw("/oauth2/token", &text).key(PORTAL).header("content-type", "application/json"), 400),
        (raw("/oauth2/token", &"a".repeat(70_000)).key(PORTAL), 413),
    ] {
        assert_eq!(error_of(&call.send(&api).await), (status, "invalid_request"));
    }
    assert!(is_live(&api, &token).await && hub.tokens().is_empty());
    // What is not known is passed over, and what has no value is not there (RFC 6749 § 3.2).
    let reply =
        form.with("scope", "").with("actor_token", "").with("utm_source", "x").token().send(&api).await;
    assert_eq!(reply.status, 200, "{}", reply.json);
}

#[tokio::test]
async fn an_app_proves_itself_in_one_of_three_ways() {
    let hub = TokenHub::start();
    let api = api(&hub);
    let basic = |name: &str, key: &str| {
        use base64::Engine as _;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{key}")))
    };
    let form = Form::exchange(&login_token(&api).await);
    let post = |form: &Form| form.post("/oauth2/token");
    let challenged = |call: Call, challenge: &'static str| (call, 401, "invalid_client", challenge);
    let (basic_realm, bearer_realm) = ("Basic realm=\"hublatch\"", "Bearer realm=\"hublatch\"");
    for (call, status, error, challenge) in [
        challenged(post(&form), basic_realm),
        challenged(post(&form).key("hk_wrong"), bearer_realm),
        challenged(post(&form).header("authorization", &basic("portal", "hk_wrong")), basic_realm),
        challenged(post(&form).header("authorization", &basic("other", PORTAL)), basic_realm),
        challenged(post(&form).header("authorization", "Basic !"), basic_realm),
        challenged(post(&form).header("authorization", "basic"), bearer_realm),
        challenged(post(&form.clone().with("client_id", "other")).key(PORTAL), bearer_realm),
        challenged(post(&form.clone().with("client_id", "other").with("client_secret", PORTAL)), basic_realm),
        challenged(post(&form.clone().with("client_secret", "hk_wrong")), basic_realm),
        (post(&form.clone().with("client_secret", PORTAL)).key(PORTAL), 400, "invalid_request", ""),
        (post(&form).key(PLAIN), 400, "unauthorized_client", ""),
    ] {
        let reply = call.send(&api).await;
        assert_eq!((error_of(&reply), reply.header("www-authenticate")), ((status, error), challenge));
    }
    assert!(hub.tokens().is_empty());
    assert_eq!(post(&form).header("authorization", &basic("portal", PORTAL)).send(&api).await.status, 200);
    for call in [
        post(&Form::exchange(&login_token(&api).await)).header("authorization", &format!("Bearer {PORTAL}")),
        post(
            &Form::exchange(&login_token(&api).await)
                .with("client_id", "portal")
                .with("client_secret", PORTAL),
        ),
        post(&Form::exchange(&login_token(&api).await).with("client_secret", PORTAL)),
        post(&Form::exchange(&login_token(&api).await).with("client_id", "portal")).key(PORTAL),
        post(&Form::exchange(&login_token(&api).await))
            .header("authorization", &basic("port%61l", "hk%5Fportal")),
    ] {
        assert_eq!(call.send(&api).await.status, 200);
    }
}

#[tokio::test]
async fn of_many_requests_with_one_token_one_gets_a_hub_token_and_the_others_leave_none() {
    let hub = TokenHub::start();
    let api = api(&hub);
    let form = Form::exchange(&login_token(&api).await);
    let asked = (0..20).map(|_| form.token().send(&api));
    let replies = futures_util::future::join_all(asked).await;
    let granted: Vec<&Reply> = replies.iter().filter(|reply| reply.status == 200).collect();
    assert_eq!(granted.len(), 1, "{:?}", replies.iter().map(|reply| &reply.json).collect::<Vec<_>>());
    let left = hub.tokens();
    assert_eq!(left.len(), 1, "what nobody was shown is deleted");
    assert_eq!(granted[0].json["access_token"], left[0].secret);
    assert!(replies.iter().all(|reply| reply.status == 200 || reply.code() == "used"));
}

#[tokio::test]
async fn no_secret_is_in_the_audit_or_the_metrics() {
    let hub = TokenHub::start();
    let api = api(&hub);
    let token = login_token(&api).await;
    let issued =
        Form::exchange(&token).token().send(&api).await.json["access_token"].as_str().unwrap().to_owned();
    let revoked = Form(Vec::new()).with("token", &issued).post("/oauth2/revoke").key(PORTAL).send(&api).await;
    assert_eq!(revoked.status, 200);
    let told = format!("{}{}", api.audit(), api.metrics.text());
    for secret in [&token, &issued, PORTAL, OWN] {
        assert!(!told.contains(secret));
    }
    for seen in hub.hub.seen() {
        assert!(!String::from_utf8_lossy(&seen.body).contains(&token), "a login token never reaches the hub");
    }
}
