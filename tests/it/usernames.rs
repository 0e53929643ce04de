//! Who may be logged in: the default rule over a table of hostile names, wherever a name comes from; and the rules of
//! each app, at issue and at redeem.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use hublatch::store::MemoryStore;
use proptest::collection::btree_set;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use crate::redeem::logins;
use crate::support::{FakeHub, TestProxy, tables};

/// The names of `usernames.txt`, and whether each is good.
fn names() -> Vec<(bool, String)> {
    let name = |line: String| {
        let (verdict, name) = line.split_at(5);
        let good = match verdict.trim_end() {
            "good" => true,
            "bad" => false,
            other => panic!("a verdict: {other}"),
        };
        (good, String::from_utf8(tables::unescaped(name)).expect("names are text"))
    };
    let names: Vec<_> = tables::lines("usernames.txt").into_iter().map(name).collect();
    let good = names.iter().filter(|(good, _)| *good).count();
    assert!(names.len() >= 100 && good >= 40 && names.len() - good >= 60, "{good} of {}", names.len());
    names
}

#[test]
fn a_bad_name_gets_no_link_and_a_good_one_reaches_the_hub_byte_for_byte() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).portal("rate = \"100000/s\"\ndeny_usernames = []").start();
    for (good, name) in names() {
        hub.forget();
        let answer =
            proxy.links().call("POST", "/api/v1/links", &[], json!({ "username": name }).to_string());
        if !good {
            assert_eq!(
                (answer.status, &answer.json()["code"]),
                (400, &json!("invalid_username")),
                "{name:?}"
            );
            continue;
        }
        assert_eq!(answer.status, 201, "{name:?}: {}", answer.text());
        let target = format!("/hub/login?login_token={}", answer.json()["login_token"].as_str().unwrap());
        assert_eq!(proxy.browser().get(&target).status, 302, "{name:?}");
        assert_eq!(hub.only("/hub/login").headers.all("remote_user"), [name.as_str()]);
    }
}

#[test]
fn a_bad_name_that_an_app_exchanges_its_token_for_logs_nobody_in() {
    let (hub, portal) = (FakeHub::start(), FakeHub::start());
    let answers = Arc::new(std::sync::Mutex::new(String::new()));
    let told = Arc::clone(&answers);
    portal.on("/login", move |exchange| {
        exchange.read_body();
        let body = json!({ "name": *told.lock().unwrap() }).to_string();
        exchange.answer("200 OK", body)
    });
    let proxy = TestProxy::before(&hub)
        .portal(&format!("deny_usernames = []\nexchange_url = \"{}/login\"", portal.url()))
        .set("limits", "unknown_tokens_per_minute = 0")
        .start();
    for (number, (good, name)) in names().into_iter().enumerate() {
        hub.forget();
        answers.lock().unwrap().clone_from(&name);
        let answer = proxy.browser().get(&format!("/hub/login?login_token=portal-{number}"));
        let sent = logins(&hub);
        if good {
            assert_eq!((answer.status, sent.len()), (302, 1), "{name:?}: {}", answer.text());
            assert_eq!(sent[0].headers.all("remote_user"), [name.as_str()]);
        } else {
            assert!(answer.status == 403 || answer.status == 503, "{name:?}: {}", answer.status);
            assert!(sent.is_empty(), "{name:?}: {sent:?}");
        }
    }
}

/// The rules of an app, and what they mean, told without a regular expression.
#[derive(Debug, Clone)]
struct Rules {
    /// Names begin with one of these.
    stems: BTreeSet<String>,
    denied: BTreeSet<String>,
    next: BTreeSet<String>,
}

impl Rules {
    fn toml(&self) -> String {
        let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
        format!(
            "usernames = \"^({})[a-z]*$\"\ndeny_usernames = {:?}\nnext = {:?}\nrate = \"100000/s\"\n",
            list(&self.stems).join("|"),
            list(&self.denied),
            list(&self.next)
        )
    }

    fn allow_name(&self, name: &str) -> bool {
        self.stems.iter().any(|stem| name.starts_with(stem.as_str())) && !self.denied.contains(name)
    }

    fn allow_next(&self, next: &str) -> bool {
        self.next.iter().any(|prefix| next == prefix || next.starts_with(&format!("{prefix}/")))
    }
}

const NAMES: &str = "(a|b|ab|abc|ba|admin|bob|carol){1,2}";
const PLACES: &str = "/(a|b|hub|user)(/(a|b|hub|admin)){0,2}";

#[test]
fn an_app_logs_in_whom_its_rules_allow_where_they_allow_and_nobody_else() {
    let rules = || {
        let stems = btree_set("[ab]|ab|adm|c", 1..4);
        let (denied, next) = (btree_set(NAMES, 0..4), btree_set("/(a|b|hub|user|user/a)", 1..4));
        (stems, denied, next).prop_map(|(stems, denied, next)| Rules { stems, denied, next })
    };
    let orders = proptest::collection::vec((NAMES, PLACES), 3..10);
    let (issued, refused) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 40, ..Config::default() });
    let outcome = runner.run(&(rules(), rules(), orders), |(first, then, orders)| {
        let hub = FakeHub::start();
        let replica = TestProxy::before(&hub).store(Arc::new(MemoryStore::new(100)));
        let issues = replica.clone().portal(&first.toml()).start();
        let redeems = replica.portal(&then.toml()).start();
        for (name, next) in &orders {
            let order = json!({ "username": name, "next": next }).to_string();
            let answer = issues.links().call("POST", "/api/v1/links", &[], order);
            let allowed = first.allow_name(name) && first.allow_next(next);
            prop_assert_eq!(answer.status, if allowed { 201 } else { 403 }, "{} {} {:?}", name, next, first);
            if !allowed {
                refused.set(refused.get() + 1);
                continue;
            }
            issued.set(issued.get() + 1);
            // The rules of the replica that redeems decide again.
            hub.forget();
            let target = format!("/hub/login?login_token={}", answer.json()["login_token"].as_str().unwrap());
            let status = redeems.browser().get(&target).status;
            let still = then.allow_name(name) && then.allow_next(next);
            prop_assert_eq!(status == 302, still, "{} {} {:?}", name, next, then);
            prop_assert_eq!(logins(&hub).len(), usize::from(still));
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(issued.get() > 0 && refused.get() > 0, "{issued:?} {refused:?}");
}
