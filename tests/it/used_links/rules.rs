//! The rules of today, over links that were issued under others: by the login service itself.

use super::*;
use hublatch::audit::Client;
use hublatch::hub::HubClient;
use hublatch::login::{Caller, RedeemRequest};

/// A login service under other rules, over the same store and clock: what a restart with another file would be, were
/// the store a lasting one.
pub fn service(
    store: &Arc<impl TokenStore + 'static>,
    clock: &Arc<ManualClock>,
    app: &str,
    login: &str,
) -> LoginServices {
    let digits = "ab".repeat(32);
    let text = format!(
        "[public]\nurl = \"http://hub.test\"\n[hub]\nurl = \"http://127.0.0.1:8400\"\n[login]\n{login}\n\
         [[apps]]\nkeys = [\"sha256:{digits}\"]\n{app}\n"
    );
    let config =
        config::load_str(&text, Path::new("hublatch.toml"), []).unwrap_or_else(|faults| panic!("{faults}"));
    let hub = Arc::new(HubClient::new(&config, Arc::default()).expect("a client"));
    let dependencies = LoginDependencies::new(
        Arc::clone(store) as Arc<dyn TokenStore>,
        Arc::clone(clock) as Arc<dyn hublatch::clock::Clock>,
        Arc::new(SystemRandom::new()),
        Arc::new(Audit::new(
            Box::new(std::io::sink()),
            false,
            hublatch::metrics::Metrics::new().audit_records_lost.clone(),
        )),
        Arc::new(Metrics::new()),
    );
    LoginServices::new(&config, hub, dependencies).expect("a URL")
}

/// Runs `future` to its end on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

pub fn issue(login: &LoginServices, username: &str, next: Option<&str>) -> OpaqueToken {
    let app = login.policy().applications.by_name("portal").expect("the app");
    let order = IssueRequest {
        username: username.to_owned(),
        destination: next.map_or(LinkDestination::HubDecides, |next| LinkDestination::Next(next.to_owned())),
        expires_in: None,
        confirm: false,
        groups: None,
        claims: None,
        note: None,
        state: None,
        session_expires_in: None,
        launch: false,
    };
    let caller = Caller { app, key: None };
    let drafts = login.issuer.prepare(&caller, vec![order]).expect("a draft");
    block_on(login.issuer.issue(&caller, drafts, None, None)).expect("a link").remove(0).login_token
}

#[test]
fn the_rules_of_today_decide_and_not_those_at_issue() {
    let (store, clock) = (Arc::new(MemoryStore::new(100)), standing_clock());
    let before = service(&store, &clock, "name = \"portal\"", "");
    for (app, login, allowed) in [
        ("name = \"portal\"", "", true),
        ("name = \"other\"", "", false),
        ("name = \"portal\"\nusernames = \"bob|carol\"", "", false),
        ("name = \"portal\"\nusernames = \"alic\"", "", false),
        ("name = \"portal\"\ndeny_usernames = [\"alice\"]", "", false),
        ("name = \"portal\"", "usernames = \"[b-z]+\"", false),
        ("name = \"portal\"\nusernames = \"a.*\"", "usernames = \"[a-z]+\"", true),
    ] {
        let token = issue(&before, "alice", None);
        let after = service(&store, &clock, app, login);
        match block_on(after.redeemer.validate_opaque(&token, RedeemRequest::default())) {
            Ok(_) => assert!(allowed, "{app} {login}"),
            Err(Refusal::Link { reason: RefusalReason::NotAllowed, .. }) => {
                assert!(!allowed, "{app} {login}")
            }
            Err(other) => panic!("{app} {login}: {other}"),
        }
        // Looking costs nothing.
        let offer = block_on(before.redeemer.validate_opaque(&token, RedeemRequest::default()))
            .expect("it is still pending");
        assert_eq!(
            block_on(before.redeemer.consume(offer, Client::default()))
                .expect("its one success")
                .username()
                .as_str(),
            "alice"
        );
    }
}

#[test]
fn a_next_that_the_rules_of_today_do_not_allow_is_refused_and_uses_nothing_up() {
    let (store, clock) = (Arc::new(MemoryStore::new(100)), standing_clock());
    let before = service(&store, &clock, "name = \"portal\"", "");
    let after = service(&store, &clock, "name = \"portal\"\nnext = [\"/user\"]", "");
    for (granted, asked, allowed) in [
        (Some("/user/alice"), None, true),
        (Some("/hub/admin"), None, false),
        (Some("/hub/admin"), Some("/user/alice"), false),
        (Some("/user/alice"), Some("/hub/admin"), true),
        (None, Some("/hub/admin"), false),
        (None, Some("/user"), true),
        (None, None, true),
    ] {
        let token = issue(&before, "alice", granted);
        match block_on(
            after.redeemer.validate_opaque(&token, RedeemRequest { next: asked, ..RedeemRequest::default() }),
        ) {
            Ok(_) => assert!(allowed, "{granted:?} {asked:?}"),
            Err(Refusal::Next { .. }) => assert!(!allowed, "{granted:?} {asked:?}"),
            Err(other) => panic!("{granted:?} {asked:?}: {other}"),
        }
        assert!(
            block_on(before.redeemer.validate_opaque(&token, RedeemRequest::default())).is_ok(),
            "{granted:?} {asked:?}: used up"
        );
    }
}

#[test]
fn an_offer_that_outlives_its_link_is_worth_nothing() {
    let (store, clock) = (Arc::new(MemoryStore::new(100)), standing_clock());
    let login = service(&store, &clock, "name = \"portal\"", "");
    let token = issue(&login, "alice", None);
    let offers: Vec<_> = (0..3)
        .map(|_| block_on(login.redeemer.validate_opaque(&token, RedeemRequest::default())).expect("pending"))
        .collect();
    let outcomes: Vec<_> =
        offers.into_iter().map(|offer| block_on(login.redeemer.consume(offer, Client::default()))).collect();
    assert!(outcomes[0].is_ok());
    for outcome in &outcomes[1..] {
        assert!(matches!(outcome, Err(Refusal::Link { reason: RefusalReason::Used, .. })), "{outcome:?}");
    }
    let late = issue(&login, "alice", None);
    let offer = block_on(login.redeemer.validate_opaque(&late, RedeemRequest::default())).expect("pending");
    clock.advance(Duration::from_secs(30));
    let outcome = block_on(login.redeemer.consume(offer, Client::default()));
    assert!(matches!(outcome, Err(Refusal::Link { reason: RefusalReason::Expired, .. })), "{outcome:?}");
}
