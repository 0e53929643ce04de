//! Where a login may lead: a path on this origin, by the URL standard. Judged by hublatch through a real socket, by the
//! `url` crate, and by node's URL, which is a browser's.

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use url::Url;

use crate::redeem::{assert_still_good, click, logins};
use crate::support::proxy::standing_clock;
use crate::support::{FakeHub, Issued, TestProxy, node, tables};

/// One line of `next.txt`.
struct Row {
    good_at_root: bool,
    good_at_jupyter: bool,
    /// As it stands in a query.
    value: String,
}

fn rows() -> Vec<Row> {
    let row = |line: String| {
        let (verdicts, value) = line.split_at(10);
        let verdicts: Vec<&str> = verdicts.split_whitespace().collect();
        let is_good = |verdict: &str| match verdict {
            "good" => true,
            "bad" => false,
            other => panic!("a verdict: {other}"),
        };
        let [root, jupyter] = verdicts[..] else { panic!("two verdicts: {line}") };
        Row { good_at_root: is_good(root), good_at_jupyter: is_good(jupyter), value: value.to_owned() }
    };
    tables::lines("next.txt").into_iter().map(row).collect()
}

impl Row {
    fn is_good(&self, base: &str) -> bool {
        if base == "/" { self.good_at_root } else { self.good_at_jupyter }
    }

    /// What a form decoder makes of the value; `None` if that is not UTF-8.
    fn decoded(&self) -> Option<String> {
        let spaced = self.value.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    }
}

const ORIGIN: &str = "http://hub.test";
const BASES: [&str; 2] = ["/", "/jupyter/"];

fn is_within(path: &str, base: &str) -> bool {
    format!("{path}/").starts_with(base)
}

fn batch(proxy: &TestProxy, count: usize) -> Vec<String> {
    let orders: Vec<Value> = vec![json!({ "username": "alice" }); count];
    let body = json!({ "links": orders }).to_string();
    let answer = proxy.links().call("POST", "/api/v1/links/batch", &[], body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let json = answer.json();
    let token = |link: &Value| link["login_token"].as_str().expect("a token").to_owned();
    json["links"].as_array().expect("links").iter().map(token).collect()
}

fn deployment(base: &str) -> (FakeHub, TestProxy) {
    let hub = FakeHub::start();
    hub.accounts(|accounts| base.clone_into(&mut accounts.base_url));
    // All links are issued at the start, and on a busy machine the table takes longer than the 30 s of a link.
    let builder = TestProxy::before(&hub).base_url(base).clock(&standing_clock());
    let proxy = builder.portal("rate = \"100000/s\"").start();
    (hub, proxy)
}

#[test]
fn the_table_is_worth_its_name() {
    let rows = rows();
    assert!(rows.len() >= 300, "only {} values", rows.len());
    for base in BASES {
        let good = rows.iter().filter(|row| row.is_good(base)).count();
        assert!(good >= 50 && rows.len() - good >= 150, "{base}: {good} good ones of {}", rows.len());
    }
}

#[test]
fn the_url_crate_keeps_every_good_next_on_the_origin_and_inside_the_base_url() {
    for (row, base) in rows().iter().flat_map(|row| BASES.map(|base| (row, base))) {
        let decoded = row.decoded();
        let resolved = decoded.as_deref().and_then(|next| Url::parse(ORIGIN).unwrap().join(next).ok());
        let stays = resolved
            .as_ref()
            .is_some_and(|url| url.origin().ascii_serialization() == ORIGIN && is_within(url.path(), base));
        assert!(stays || !row.is_good(base), "{} with {base} leads to {resolved:?}", row.value);
        if let (true, Some(url)) = (row.is_good(base), resolved) {
            // Nor does what it resolves to lead elsewhere when it is resolved again, as a Location is.
            let again = Url::parse(ORIGIN).unwrap().join(url.path()).unwrap();
            assert_eq!(again.origin().ascii_serialization(), ORIGIN, "{}", row.value);
        }
    }
}

/// Needs node, which `make test` installs for the hub: `cargo test -- --ignored` runs it.
#[test]
#[ignore = "needs node: on PATH, in $NODE, or in target/venv/bin"]
fn node_keeps_every_good_next_on_the_origin_and_inside_the_base_url() {
    let rows = rows();
    let values: Vec<String> = rows.iter().map(|row| row.decoded().unwrap_or_default()).collect();
    let resolved = node::resolve(&values, "http://hub.test/hub/login");
    assert_eq!(resolved.len(), rows.len());
    for (row, url) in rows.iter().zip(&resolved) {
        for base in BASES {
            let stays = url["origin"] == ORIGIN && is_within(url["path"].as_str().expect("a path"), base);
            assert!(stays || !row.is_good(base), "{} with {base} leads to {url}", row.value);
        }
    }
}

fn every_next_of_the_table_is_judged_as_it_says(base: &str) {
    let (hub, proxy) = deployment(base);
    let login_path = format!("{base}hub/login");
    let rows = rows();
    let mut tokens = batch(&proxy, rows.len()).into_iter();
    let mut spared = tokens.next().expect("a token");
    for row in &rows {
        hub.forget();
        let target = format!("{login_path}?login_token={spared}&next={}", row.value);
        let request = format!("GET {target} HTTP/1.1\r\nHost: hub.test\r\nConnection: close\r\n\r\n");
        let answer = proxy.connect().ask(request);
        let wanted = if row.is_good(base) { 302 } else { 400 };
        assert_eq!(answer.status, wanted, "{} with {base}", row.value);
        let logins = hub.seen_at(&login_path);
        if row.is_good(base) {
            assert_eq!(logins.len(), 1, "{} with {base}", row.value);
            assert_eq!(logins[0].query(), format!("next={}", row.value), "{} with {base}", row.value);
            spared = tokens.next().unwrap_or_default();
        } else {
            // The same token is tried with the next value: it was not used up.
            assert!(hub.seen().is_empty(), "{} with {base}: {:?}", row.value, hub.seen());
        }
    }
}

#[test]
fn every_next_of_the_table_is_judged_as_it_says_with_the_base_url_of_a_slash() {
    every_next_of_the_table_is_judged_as_it_says("/");
}

#[test]
fn every_next_of_the_table_is_judged_as_it_says_with_a_longer_base_url() {
    every_next_of_the_table_is_judged_as_it_says("/jupyter/");
}

#[test]
fn an_app_cannot_issue_a_link_with_a_bad_next_either() {
    for base in BASES {
        let (_hub, proxy) = deployment(base);
        for row in rows() {
            let Some(next) = row.decoded() else { continue };
            let order = json!({ "username": "alice", "next": next }).to_string();
            let answer = proxy.links().call("POST", "/api/v1/links", &[], order);
            let wanted = if row.is_good(base) { 201 } else { 400 };
            assert_eq!(answer.status, wanted, "{} with {base}: {}", row.value, answer.text());
        }
    }
}

fn with_next(link: &Issued, next: &str) -> String {
    format!("/hub/login?login_token={}&{next}", link.token)
}

#[test]
fn the_next_of_the_grant_wins_over_the_one_in_the_query() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for query in ["next=%2Fhub%2Fadmin", "next=//evil.example", "next=", "a=1"] {
        let link = proxy.links().issue(&json!({ "username": "alice", "next": "/user/alice/lab?x=1&y=ä b" }));
        hub.forget();
        assert_eq!(proxy.browser().get(&with_next(&link, query)).status, 302, "{query}");
        let sent = hub.only("/hub/login");
        let next = "next=%2Fuser%2Falice%2Flab%3Fx%3D1%26y%3D%C3%A4%20b";
        let wanted = if query == "a=1" { format!("{next}&a=1") } else { next.to_owned() };
        assert_eq!(sent.query(), wanted, "{query}");
    }
}

#[test]
fn without_any_next_the_hub_decides() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for query in ["", "next=", "next"] {
        let link = proxy.link("alice");
        hub.forget();
        let answer = proxy.browser().get(&with_next(&link, query));
        assert_eq!((answer.status, answer.location()), (302, "/hub/spawn"), "{query}");
        assert_eq!(hub.only("/hub/login").target, "/hub/login", "{query}");
    }
}

#[test]
fn a_next_outside_the_rules_of_the_app_is_refused_and_uses_nothing_up() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).portal("next = [\"/user\", \"/hub/home\"]").start();
    let link = proxy.link("alice");
    for next in [
        "/hub/admin",
        "/userx",
        "/hub/homes",
        "/",
        "/hub",
        "/user/../hub/admin",
        "/user/%2e%2e/hub",
        "/user\\..\\hub",
    ] {
        let mut browser = proxy.browser();
        let encoded = percent_encoding::utf8_percent_encode(next, percent_encoding::NON_ALPHANUMERIC);
        assert_eq!(browser.get(&with_next(&link, &format!("next={encoded}"))).status, 400, "{next}");
        let order = json!({ "username": "alice", "next": next }).to_string();
        assert_eq!(proxy.links().call("POST", "/api/v1/links", &[], order).status, 403, "{next}");
    }
    assert!(hub.seen().is_empty(), "{:?}", hub.seen());
    for next in ["/user", "/user/", "/user/alice/lab", "/hub/home", "/hub/home?x", "/user/alice/../bob"] {
        let link = proxy.link("alice");
        assert_eq!(proxy.browser().get(&with_next(&link, &format!("next={next}"))).status, 302, "{next}");
    }
    assert_still_good(&proxy, &hub, &link, "a next that is not allowed");
}

#[test]
fn a_link_to_a_path_is_judged_by_the_path_inside_and_leads_through_the_spawn_page() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).portal("next = [\"/user/alice\"]").start();
    let link =
        proxy.links().issue(&json!({ "username": "alice", "server": "s1", "path": "lab/tree/a b%2Fc" }));
    let answer = click(&proxy, &link);
    let next = "/hub/spawn/alice/s1?next=%2Fuser%2Falice%2Fs1%2Flab%2Ftree%2Fa%2520b%252Fc";
    assert_eq!((answer.status, answer.location()), (302, next));
    let order = json!({ "username": "bob", "path": "lab" }).to_string();
    assert_eq!(proxy.links().call("POST", "/api/v1/links", &[], order).status, 403);
    assert_eq!(logins(&hub).len(), 1);
}
