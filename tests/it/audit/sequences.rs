//! The audit log over whole lives: whatever is done in whatever order, it tells the same story as the hub and the API.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::redeem::logins;
use crate::support::proxy::standing_clock;
use crate::support::{FakeHub, TestProxy};

/// One thing that somebody does. Numbers choose among the links so far.
#[derive(Debug, Clone)]
enum Step {
    Issue { user: u8, key: Option<u8> },
    Batch { users: Vec<u8> },
    Click { link: u8 },
    Exchange { link: u8 },
    Revoke { link: u8 },
    RevokeAll { user: u8 },
    BadNext { link: u8 },
    Unknown,
    Wait { seconds: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u8, proptest::option::of(0..3_u8)).prop_map(|(user, key)| Step::Issue { user, key }),
        1 => proptest::collection::vec(0..4_u8, 1..4).prop_map(|users| Step::Batch { users }),
        4 => any::<u8>().prop_map(|link| Step::Click { link }),
        1 => any::<u8>().prop_map(|link| Step::Exchange { link }),
        1 => any::<u8>().prop_map(|link| Step::Revoke { link }),
        1 => (0..4_u8).prop_map(|user| Step::RevokeAll { user }),
        1 => any::<u8>().prop_map(|link| Step::BadNext { link }),
        1 => Just(Step::Unknown),
        1 => (1..20_u8).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// A link as the one who ordered it knows it.
struct Known {
    id: String,
    token: String,
    user: String,
}

fn known(answer: &Value) -> Known {
    let text = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("no {name}: {answer}")).to_owned();
    Known { id: text("id"), token: text("login_token"), user: text("username") }
}

/// What has come of a sequence.
#[derive(Default)]
struct Story {
    links: Vec<Known>,
    /// Tokens that logged somebody in, or were exchanged for a name.
    wins: HashMap<String, usize>,
}

impl Story {
    fn pick(&self, number: u8) -> Option<&Known> {
        self.links.get(usize::from(number) % self.links.len().max(1))
    }

    fn play(&mut self, proxy: &TestProxy, clock: &hublatch::clock::ManualClock, step: &Step) {
        let links = proxy.links();
        let user = |number: &u8| format!("u{number}");
        match step {
            Step::Issue { user: number, key } => {
                let order = json!({ "username": user(number) }).to_string();
                let key = key.map(|key| format!("k{key}"));
                let headers: Vec<_> = key.iter().map(|key| ("Idempotency-Key", key.as_str())).collect();
                let answer = links.call("POST", "/api/v1/links", &headers, order);
                match answer.status {
                    201 => self.links.push(known(&answer.json())),
                    // A used link of that key, or another body under it.
                    409 | 422 => assert!(key.is_some(), "{}", answer.text()),
                    status => panic!("{status}: {}", answer.text()),
                }
            }
            Step::Batch { users } => {
                let orders: Vec<Value> =
                    users.iter().map(|number| json!({ "username": user(number) })).collect();
                let answer =
                    links.call("POST", "/api/v1/links/batch", &[], json!({ "links": orders }).to_string());
                assert_eq!(answer.status, 201, "{}", answer.text());
                self.links.extend(answer.json()["links"].as_array().unwrap().iter().map(known));
            }
            Step::Click { link } => {
                let Some(link) = self.pick(*link) else { return };
                let target = format!("/hub/login?login_token={}", link.token);
                if proxy.browser().get(&target).status == 302 {
                    *self.wins.entry(link.id.clone()).or_default() += 1;
                }
            }
            Step::Exchange { link } => {
                let Some(link) = self.pick(*link) else { return };
                let answer = links.call("POST", "/login", &[], json!({ "token": link.token }).to_string());
                if answer.status == 200 {
                    assert_eq!(answer.json()["name"], link.user);
                    *self.wins.entry(link.id.clone()).or_default() += 1;
                }
            }
            Step::Revoke { link } => {
                let Some(link) = self.pick(*link) else { return };
                links.call("DELETE", &format!("/api/v1/links/{}", link.id), &[], "");
            }
            Step::RevokeAll { user: number } => {
                links.call("DELETE", &format!("/api/v1/users/{}/links", user(number)), &[], "");
            }
            Step::BadNext { link } => {
                let Some(link) = self.pick(*link) else { return };
                proxy.browser().get(&format!("/hub/login?login_token={}&next=//evil.example", link.token));
            }
            Step::Unknown => {
                proxy.browser().get(&format!("/hub/login?login_token=hl_{}", "A".repeat(43)));
            }
            Step::Wait { seconds } => clock.advance(Duration::from_secs(u64::from(*seconds))),
        }
    }
}

#[test]
fn whatever_is_done_in_whatever_order_every_redemption_has_one_issue_and_there_is_one_at_most() {
    let told = RefCell::new(HashMap::<String, usize>::new());
    let mut runner = TestRunner::new(Config { cases: 40, ..Config::default() });
    let outcome = runner.run(&proptest::collection::vec(step(), 1..50), |steps| {
        let (hub, clock) = (FakeHub::start(), standing_clock());
        let proxy = TestProxy::before(&hub).clock(&clock).start();
        let mut story = Story::default();
        for step in &steps {
            story.play(&proxy, &Arc::clone(&clock), step);
        }
        let mut issued: HashMap<String, Value> = HashMap::new();
        let mut ended: HashMap<String, &str> = HashMap::new();
        let mut last = String::new();
        let lines = proxy.audit();
        for line in &lines {
            let time = line["timestamp"].as_str().unwrap().to_owned();
            prop_assert!(last <= time, "lines stand in the order of what they tell");
            last = time;
            let id = line["id"].as_str().unwrap_or_default().to_owned();
            let event = line["event"].as_str().unwrap();
            *told.borrow_mut().entry(event.to_owned()).or_default() += 1;
            match event {
                "issued" if line["reason"] == "repeat" => prop_assert!(issued.contains_key(&id), "{line}"),
                "issued" => prop_assert!(issued.insert(id, line.clone()).is_none(), "issued twice: {line}"),
                "redeemed" => {
                    let issue = issued.get(&id);
                    prop_assert!(issue.is_some(), "redeemed without an issue: {line}");
                    prop_assert_eq!(&issue.unwrap()["username"], &line["username"]);
                    prop_assert_eq!(&issue.unwrap()["app"], &line["app"]);
                    prop_assert_eq!(ended.insert(id, "used"), None, "{}", line);
                }
                // All of a user's: one line without an id, and perhaps one for each of them.
                "revoked" if id.is_empty() => {}
                "revoked" => prop_assert_eq!(ended.insert(id, "revoked"), None, "{}", line),
                "refused" => {}
                other => prop_assert!(false, "{}", other),
            }
        }
        // The hub and whoever exchanged a token tell of the same redemptions, each once.
        let used = ended.values().filter(|end| **end == "used").count();
        prop_assert_eq!(story.wins.len(), used);
        for (id, count) in &story.wins {
            prop_assert_eq!((*count, ended.get(id)), (1, Some(&"used")), "{}", id);
        }
        let exchanged = steps.iter().filter(|step| matches!(step, Step::Exchange { .. })).count();
        let logged_in = logins(&hub).len();
        prop_assert!(logged_in <= used && used <= logged_in + exchanged, "{} {}", logged_in, used);
        // And so does the API.
        for link in &story.links {
            let end = ended.get(&link.id);
            let answer = proxy.links().call("GET", &format!("/api/v1/links/{}", link.id), &[], "");
            if answer.status == 200 {
                let status = answer.json()["status"].as_str().unwrap().to_owned();
                prop_assert_eq!(status == "used", end == Some(&"used"), "{}", link.id);
            }
        }
        let text: String = lines.iter().map(Value::to_string).collect();
        // An id may hold the three characters with which tokens begin.
        prop_assert!(!story.links.iter().any(|link| text.contains(&link.token)));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let told = told.into_inner();
    for event in ["issued", "redeemed", "refused", "revoked"] {
        assert!(told.get(event).is_some_and(|count| *count >= 10), "{told:?}");
    }
}
