//! Three hublatch as the provider of one hub's own OAuth login: whichever the hub asks, a code is worth one token.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use url::form_urlencoded::{Serializer, parse};

use crate::server::RedisServer;
use crate::support::{Answer, FakeHub, Links, TestProxy};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const REDIRECT: &str = "http://hub.test/hub/oauth_callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// Of that verifier: RFC 7636, appendix B.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The hub's half, which keeps the codes that it is brought for the test to redeem.
fn hub() -> (FakeHub, Arc<Mutex<Vec<String>>>) {
    let (hub, codes) = (FakeHub::start(), Arc::<Mutex<Vec<String>>>::default());
    hub.on("/hub/oauth_login", |exchange| {
        let query = Serializer::new(String::new())
            .extend_pairs([
                ("response_type", "code"),
                ("client_id", "hublatch"),
                ("redirect_uri", REDIRECT),
                ("state", "s"),
                ("code_challenge", CHALLENGE),
                ("code_challenge_method", "S256"),
            ])
            .finish();
        exchange.answer(&format!("302 Found\r\nLocation: http://127.0.0.1:9/hub-oauth/authorize?{query}"), "")
    });
    let kept = Arc::clone(&codes);
    hub.on("/hub/oauth_callback", move |exchange| {
        let target = exchange.seen.target.clone();
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let code = parse(query.as_bytes()).find(|(name, _)| name == "code").expect("a code").1;
        kept.lock().unwrap().push(code.into_owned());
        exchange.answer(
            "302 Found\r\nLocation: /hub/home\r\nSet-Cookie: jupyterhub-hub-login=alice; Path=/hub/",
            "",
        )
    });
    (hub, codes)
}

/// The hub's request for tokens, at this replica.
fn redeem(replica: &TestProxy, code: &str) -> Answer {
    let form = Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ])
        .finish();
    let basic = format!("Basic {}", STANDARD.encode(format!("hublatch:{SECRET}")));
    let headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Authorization", basic.as_str())];
    Links::new(replica.management(), "").call("POST", "/hub-oauth/token", &headers, form)
}

#[test]
#[ignore = "needs redis-server"]
fn a_code_of_one_replica_is_worth_one_token_at_whichever_and_an_access_token_counts_at_all() {
    let ((hub, codes), redis) = (hub(), RedisServer::start());
    let provider = format!(
        "client_secret = {SECRET:?}\nredirect_uri = {REDIRECT:?}\nissuer = \"http://127.0.0.1:9\"\ninsecure = true"
    );
    let builder = TestProxy::before_url(&hub.url())
        .set("store", &format!("url = \"redis://127.0.0.1:{}\"", redis.port()))
        .set("hub_oauth", &provider);
    let replicas: [TestProxy; 3] = std::array::from_fn(|_| builder.another());
    for round in 0..10 {
        let link = replicas[round % 3].link("alice");
        let answer = replicas[(round + 1) % 3].browser().get(&link.target());
        assert_eq!((answer.status, answer.location()), (302, "/hub/home"), "{}", answer.text());
        let code = codes.lock().unwrap().pop().expect("the hub was brought a code");
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..6)
                .map(|number| {
                    let (replica, code) = (&replicas[number % 3], &code);
                    scope.spawn(move || redeem(replica, code))
                })
                .collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        let tokens: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert_eq!(tokens.len(), 1, "one of six at once");
        for refused in answers.iter().filter(|answer| answer.status != 200) {
            assert_eq!((refused.status, &refused.json()["error"]), (400, &Value::from("invalid_grant")));
        }
        assert_eq!(redeem(&replicas[round % 3], &code).status, 400, "nor later");
        let access = tokens[0].json()["access_token"].as_str().expect("a token").to_owned();
        for replica in &replicas {
            let bearer = format!("Bearer {access}");
            let headers = [("Authorization", bearer.as_str())];
            let info = Links::new(replica.management(), "").call("GET", "/hub-oauth/userinfo", &headers, "");
            assert_eq!((info.status, &info.json()["preferred_username"]), (200, &Value::from("alice")));
        }
    }
}
