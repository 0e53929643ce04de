//! Three hublatch behind one address, with one Redis: whichever answers, a link has one life. Nothing is shared but the
//! configuration and the store, and no request is bound to the replica that answered the one before.

use std::sync::Arc;
use std::time::Duration;

use hublatch::clock::{Clock as _, ManualClock, SystemClock};
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::sentinel::Watched;
use crate::server::{RedisServer, until};
use crate::signer::{AUDIENCE, ISSUER, Signer, claims};
use crate::support::form::Form;
use crate::support::proxy::Builder;
use crate::support::{Answer, Browser, FakeHub, Gate, Issued, Process, TestProxy};

/// The replicas, their hub and their Redis.
struct Deployment {
    replicas: [TestProxy; 3],
    hub: FakeHub,
    redis: RedisServer,
}

fn store(url: &str) -> String {
    format!("url = {url:?}")
}

impl Deployment {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let (hub, redis) = (FakeHub::start(), RedisServer::start());
        let url = format!("redis://127.0.0.1:{}", redis.port());
        let builder = change(TestProxy::before(&hub).set("store", &store(&url)));
        Self { replicas: std::array::from_fn(|_| builder.another()), hub, redis }
    }

    /// A browser whose next request replica `number` answers.
    fn browser(&self, number: usize) -> Browser {
        self.replicas[number].browser()
    }

    /// Sends the browser to another replica.
    fn balance<'b>(&self, browser: &'b mut Browser, number: usize) -> &'b mut Browser {
        browser.sent_to(self.replicas[number].address())
    }

    fn logins(&self) -> usize {
        self.hub.seen_at("/hub/login").len()
    }

    /// What `call` of replica `number` answers to an app.
    fn api(&self, number: usize, method: &str, path: &str, body: &str) -> Answer {
        self.replicas[number].links().call(method, path, &[], body)
    }
}

#[track_caller]
fn assert_refused(answer: &Answer, code: &str) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(answer.text().contains(&format!("Error 403, {code}")), "not {code}: {}", answer.text());
}

#[test]
#[ignore = "needs redis-server"]
fn a_link_of_one_is_redeemed_at_another_and_used_at_the_third() {
    let deployment = Deployment::new();
    let link = deployment.replicas[0].links().issue(&json!({ "username": "alice", "next": "/hub/home" }));
    let mut browser = deployment.browser(1);
    assert_eq!(browser.get(&link.target()).location(), "/hub/home");
    assert_eq!(deployment.replicas[2].links().status(&link.id), "used");
    for number in 0..3 {
        assert_refused(&deployment.browser(number).get(&link.target()), "link_used");
    }
    // Reloaded in her own browser it leads on, whichever replica is asked.
    for number in [2, 0] {
        let again = deployment.balance(&mut browser, number).get(&link.target());
        assert_eq!((again.status, again.location()), (303, "/hub/home"), "{}", again.text());
    }
    assert_eq!(deployment.logins(), 1);
}

#[test]
#[ignore = "needs redis-server"]
fn a_link_that_one_revokes_is_dead_at_all() {
    let deployment = Deployment::new();
    let (one, of_user) = (deployment.replicas[0].link("alice"), deployment.replicas[1].link("alice"));
    assert_eq!(deployment.api(2, "DELETE", &format!("/api/v1/links/{}", one.id), "").status, 204);
    let revoked = deployment.api(2, "DELETE", "/api/v1/users/alice/links", "");
    assert_eq!(revoked.json(), json!({ "revoked": 1 }));
    for link in [&one, &of_user] {
        for number in 0..3 {
            assert_refused(&deployment.browser(number).get(&link.target()), "link_revoked");
        }
    }
    assert_eq!(deployment.logins(), 0);
}

#[test]
#[ignore = "needs redis-server"]
fn of_clicks_on_all_at_once_one_logs_in() {
    let deployment = Deployment::new();
    for _ in 0..20 {
        let link = deployment.replicas[0].link("alice");
        let before = deployment.logins();
        std::thread::scope(|scope| {
            for number in [0, 1, 2, 0, 1, 2] {
                let (deployment, link) = (&deployment, &link);
                scope.spawn(move || deployment.browser(number).get(&link.target()));
            }
        });
        assert_eq!(deployment.logins(), before + 1);
    }
}

/// An app that may end sessions, and a hub that logs nobody in before the gate is open.
fn slow_to_log_in() -> (Deployment, Gate) {
    let deployment =
        Deployment::with(|builder| builder.portal("scopes = [\"issue\", \"read\", \"revoke\", \"end\"]"));
    let gate = Gate::new();
    let waits = gate.clone();
    deployment.hub.on("/hub/login", move |exchange| {
        exchange.read_body();
        waits.pass();
        exchange
            .answer("302 Found\r\nLocation: /hub/home\r\nSet-Cookie: jupyterhub-hub-login=x; Path=/hub/", "")
    });
    (deployment, gate)
}

#[test]
#[ignore = "needs redis-server"]
fn a_login_that_is_under_way_at_one_lets_nobody_in_when_another_has_ended_the_sessions() {
    let (deployment, gate) = slow_to_log_in();
    deployment.hub.on("/hub/hublatch/sessions", |exchange| exchange.answer("200 OK", r#"{"sessions":[]}"#));
    let link = deployment.replicas[0].link("alice");
    let mut clicked = deployment.browser(1).navigate(&link.target()).begin();
    deployment.hub.wait_for_path("/hub/login");
    let ended = deployment.api(2, "DELETE", "/api/v1/users/alice/sessions", "");
    assert_eq!(ended.status, 200, "{}", ended.text());
    gate.open();
    let answer = clicked.answer_to("GET").expect("an answer");
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(answer.text().contains("Your session has ended"), "{}", answer.text());
    assert!(answer.headers.all("set-cookie").iter().all(|line| !line.contains("jupyterhub")));
    // A link that is ordered then works at once, at whichever.
    let next = deployment.replicas[2].link("alice");
    assert_eq!(deployment.browser(0).get(&next.target()).status, 302);
}

#[test]
#[ignore = "needs redis-server"]
fn a_login_whose_store_forgets_all_meanwhile_lets_nobody_in() {
    let (deployment, gate) = slow_to_log_in();
    let link = deployment.replicas[0].link("alice");
    let mut clicked = deployment.browser(1).navigate(&link.target()).begin();
    deployment.hub.wait_for_path("/hub/login");
    // As a server does that takes another's place: it may not have heard that an app has ended the sessions.
    deployment.redis.run(&["FLUSHALL"]);
    gate.open();
    let answer = clicked.answer_to("GET").expect("an answer");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.headers.all("set-cookie").iter().all(|line| !line.contains("jupyterhub")));
}

#[test]
#[ignore = "needs redis-server"]
fn a_repeated_order_is_known_to_all() {
    let deployment = Deployment::new();
    let order = |number: usize, body: &Value| {
        let key = [("Idempotency-Key", "order-1")];
        deployment.replicas[number].links().call("POST", "/api/v1/links", &key, body.to_string())
    };
    let body = json!({ "username": "alice" });
    let (first, second) = (order(0, &body), order(1, &body));
    assert_eq!((first.status, second.status), (201, 201));
    let field = |answer: &Answer, name: &str| answer.json()[name].as_str().expect("a text").to_owned();
    assert_eq!(field(&first, "id"), field(&second, "id"));
    let target = |answer: &Answer| format!("/hub/login?login_token={}", field(answer, "login_token"));
    assert_refused(&deployment.browser(2).get(&target(&first)), "link_unknown");
    assert_eq!(order(2, &json!({ "username": "bob" })).status, 422);
    assert_eq!(deployment.browser(0).get(&target(&second)).status, 302);
    assert_eq!(order(2, &body).status, 409);
}

#[test]
#[ignore = "needs redis-server"]
fn a_state_of_one_is_honoured_by_all_and_in_that_browser_only() {
    let login = "without_token = \"redirect\"\napp_url = \"https://portal.example/in\"\nrequire_state = true";
    let deployment = Deployment::with(|builder| builder.set("login", login));
    let mut browser = deployment.browser(0);
    let sent = browser.get("/hub/login").location().to_owned();
    let url = url::Url::parse(&sent).expect("a URL");
    let state = url.query_pairs().find(|(name, _)| name == "state").expect("a state").1.into_owned();
    let link = deployment.replicas[1].links().issue(&json!({ "username": "alice", "state": state }));
    assert_refused(&deployment.browser(2).get(&link.target()), "link_bound");
    assert_eq!(deployment.balance(&mut browser, 2).get(&link.target()).status, 302);
    assert_eq!(deployment.logins(), 1);
}

#[test]
#[ignore = "needs redis-server"]
fn the_page_of_one_can_be_answered_at_another() {
    let deployment = Deployment::new();
    let link = deployment.replicas[0].links().issue(&json!({ "username": "alice", "confirm": true }));
    let mut browser = deployment.browser(1);
    let page = browser.get(&link.target());
    assert_eq!(page.status, 200, "{}", page.text());
    assert_eq!(deployment.logins(), 0);
    assert_eq!(deployment.balance(&mut browser, 2).press(&page).status, 302);
    assert_eq!(deployment.logins(), 1);
}

#[test]
#[ignore = "needs redis-server"]
fn a_token_that_is_handed_over_to_one_is_redeemed_at_another() {
    let deployment = Deployment::new();
    let link = deployment.replicas[0].link("alice");
    let mut browser = deployment.browser(1);
    let form = Form::of("/hub/login", &[("login_token", &link.token), ("next", "/hub/home")]);
    let posted = browser
        .post(&form)
        .header("Origin", "https://portal.example")
        .header("Sec-Fetch-Site", "cross-site")
        .without_cookies()
        .send();
    assert_eq!(posted.status, 303, "{}", posted.text());
    let answer = deployment.balance(&mut browser, 2).get(posted.location());
    assert_eq!((answer.status, answer.location()), (302, "/hub/home"));
    assert_eq!(deployment.logins(), 1);
}

#[test]
#[ignore = "needs redis-server"]
fn a_replica_that_is_killed_loses_no_link_whose_browser_waited_there() {
    const IN: &str = "HTTP/1.1 302 Found\r\nLocation: /hub/home\r\nContent-Length: 0\r\n\r\n";
    let (hub, redis) = (FakeHub::start(), RedisServer::start());
    let gate = hub.reply_later("/hub/login", IN);
    let url = format!("redis://127.0.0.1:{}", redis.port());
    let builder = TestProxy::before(&hub).set("store", &store(&url)).set("limits", "logins_at_once = \"1\"");
    let survivor = builder.another();
    let mut doomed = Process::start(&builder.text());
    let address = doomed.address("public");
    doomed.address("management");
    let at_doomed = || {
        let mut browser = survivor.browser();
        browser.sent_to(address);
        browser
    };
    // One login is under way there, and its link is consumed; four browsers wait behind it.
    let holder = survivor.link("holder");
    let _under_way = at_doomed().navigate(&holder.target()).begin();
    hub.wait_for_path("/hub/login");
    let mut waiting: Vec<(Browser, Issued)> = std::thread::scope(|scope| {
        let click = |number| {
            let (mut browser, link) = (at_doomed(), survivor.link(&format!("waiting{number}")));
            scope.spawn(move || {
                let page = browser.get(&link.target());
                assert!(page.text().contains("You are number"), "{}", page.text());
                (browser, link)
            })
        };
        let clicks: Vec<_> = (0..4).map(click).collect();
        clicks.into_iter().map(|click| click.join().expect("a page")).collect()
    });
    doomed.signal(rustix::process::Signal::KILL);
    doomed.ended();
    gate.open();
    for (browser, link) in &mut waiting {
        assert_eq!(survivor.links().status(&link.id), "pending");
        let answer = browser.sent_to(survivor.address()).get(&link.target());
        assert_eq!((answer.status, answer.location()), (302, "/hub/home"), "{}", answer.text());
        assert_eq!(survivor.links().status(&link.id), "used");
    }
    assert_eq!(hub.seen_at("/hub/login").len(), 5, "one login a link");
}

/// An app that signs, and a clock on which its tokens are just old enough to be believed.
struct Signing {
    signer: Signer,
    clock: Arc<ManualClock>,
    files: tempfile::TempDir,
}

impl Signing {
    fn new() -> Self {
        let files = tempfile::tempdir().expect("a directory");
        let signer = Signer::ed25519();
        std::fs::write(files.path().join("portal.pem"), &signer.pem).expect("written");
        let clock = Arc::new(ManualClock::at(SystemClock::new().now().wall));
        Self { signer, clock, files }
    }

    /// Waits until the store remembers for longer than a token may be older than its memory: five seconds, by the clock of
    /// the store, which no test can set. The app's clock goes along.
    fn outlive_the_leeway(&self) {
        std::thread::sleep(Duration::from_secs(6));
        self.clock.step(SystemClock::new().now().wall);
    }

    fn set(&self, builder: Builder) -> Builder {
        let path = self.files.path().join("portal.pem");
        builder.clock(&self.clock).portal(&format!(
            "jwt = {{ issuer = {ISSUER:?}, audience = {AUDIENCE:?}, public_key_file = {path:?} }}"
        ))
    }

    fn target(&self) -> String {
        let now = self.clock.now().wall.as_second();
        format!("/hub/login?login_token={}", self.signer.sign(&claims(now, &json!({}))))
    }
}

#[test]
#[ignore = "needs redis-server"]
fn a_signed_token_is_burnt_for_all_and_stays_so_when_redis_forgets_it() {
    let app = Signing::new();
    let mut deployment = Deployment::with(|builder| app.set(builder));
    app.outlive_the_leeway();
    deployment.redis.run(&["SAVE"]);
    let (used, unused) = (app.target(), app.target());
    assert_eq!(deployment.browser(0).get(&used).status, 302);
    for number in 0..3 {
        assert_refused(&deployment.browser(number).get(&used), "link_used");
    }
    // The file is older than the burning. The next memory begins a second later than the tokens seem to.
    deployment.redis.kill();
    std::thread::sleep(Duration::from_secs(1));
    deployment.redis.start_again();
    let ready = |number: usize| deployment.api(number, "GET", "/ready", "").status == 200;
    until("the replicas are ready", || (0..3).all(ready));
    for target in [&used, &unused] {
        for number in 0..3 {
            assert_refused(&deployment.browser(number).get(target), "link_expired");
        }
    }
    assert_eq!(deployment.logins(), 1);
    app.outlive_the_leeway();
    assert_eq!(deployment.browser(1).get(&app.target()).status, 302);
}

#[test]
#[ignore = "needs redis-server"]
fn a_signed_token_is_not_taken_twice_through_a_failover() {
    let app = Signing::new();
    let (hub, mut watched) = (FakeHub::start(), Watched::start());
    let url = watched.url();
    let builder = app.set(TestProxy::before(&hub).set("store", &store(&url)));
    let replicas = [builder.another(), builder.another()];
    app.outlive_the_leeway();
    let (used, unused) = (app.target(), app.target());
    assert_eq!(replicas[0].browser().get(&used).status, 302);
    let primary = watched.primary().expect("a primary");
    watched.servers()[primary].kill();
    let ready = |proxy: &TestProxy| proxy.links().call("GET", "/ready", &[], "").status;
    until("it is told", || replicas.iter().any(|proxy| ready(proxy) == 503));
    until("the replicas are ready", || replicas.iter().all(|proxy| ready(proxy) == 200));
    for proxy in &replicas {
        assert_eq!(proxy.browser().get(&used).status, 403);
        // It may have been used at the primary that is gone.
        assert_refused(&proxy.browser().get(&unused), "link_expired");
    }
    app.outlive_the_leeway();
    assert_eq!(replicas[1].browser().get(&app.target()).status, 302);
    assert_eq!(hub.seen_at("/hub/login").len(), 2);
}
