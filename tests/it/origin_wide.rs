//! What servers behind the hub may not say on a host that they share with it (T-WORKER).

use crate::support::proxy::Builder;
use crate::support::requests::websocket;
use crate::support::{Answer, FakeHub, TestProxy};

/// Answers everything with `lines`.
fn saying(lines: &str) -> FakeHub {
    let hub = FakeHub::start();
    let head = format!("200 OK\r\nContent-Type: text/javascript\r\n{lines}");
    hub.otherwise(move |exchange| exchange.answer(&head, "worker"));
    hub
}

fn asked(proxy: &TestProxy, host: &str, target: &str) -> Answer {
    let answer = proxy.browser().request("GET", target).header("Host", host).send();
    assert_eq!(answer.text(), "worker", "{target}");
    answer
}

fn scope(proxy: &TestProxy, host: &str, target: &str) -> Option<String> {
    asked(proxy, host, target).headers.get("service-worker-allowed").map(str::to_owned)
}

#[test]
fn a_service_worker_stays_within_its_own_server() {
    for (said, target, allowed) in [
        ("/", "/user/bob/sw.js", "/user/bob/"),
        ("/", "/user/bob/files/deep/sw.js", "/user/bob/"),
        ("../../../", "/user/bob/files/sw.js", "/user/bob/"),
        ("/hub/", "/user/bob/sw.js", "/user/bob/"),
        ("/user/bob/../../", "/user/bob/sw.js", "/user/bob/"),
        ("http://hub.test/", "/user/bob/sw.js", "/user/bob/"),
        ("/\r\nService-Worker-Allowed: /user/bob/", "/user/bob/sw.js", "/user/bob/"),
        // What is its own, it may have.
        ("/user/bob/lab/", "/user/bob/proxy/8080/sw.js", "/user/bob/lab/"),
        ("/user/bob/", "/user/bob/x/sw.js", "/user/bob/"),
        ("/", "/services/news/sw.js", "/services/news/"),
    ] {
        let hub = saying(&format!("Service-Worker-Allowed: {said}"));
        let proxy = TestProxy::start(&hub);
        assert_eq!(scope(&proxy, "hub.test", target).as_deref(), Some(allowed), "{said} at {target}");
        // Other paths belong to none: there a script gets its own folder, as it does without the header.
        assert_eq!(scope(&proxy, "hub.test", "/sw.js"), None, "{said}");
    }
}

#[test]
fn a_script_in_the_place_of_the_server_itself_does_not_get_the_folder_of_all_servers() {
    let hub = saying("A: 1");
    let proxy = TestProxy::start(&hub);
    for (target, allowed) in [("/user/bob", "/user/bob/"), ("/services/news?v=1", "/services/news/")] {
        assert_eq!(scope(&proxy, "hub.test", target).as_deref(), Some(allowed), "{target}");
    }
    assert_eq!(scope(&proxy, "hub.test", "/user/bob/sw.js"), None, "its own folder goes without saying");
}

const LOUD: &str = "Clear-Site-Data: \"*\"\r\nNEL: {\"report_to\":\"x\",\"max_age\":9,\"success_fraction\":1}\r\n\
                    Report-To: {\"group\":\"x\"}\r\nAlt-Svc: h2=\":8443\"\r\nService-Worker-Allowed: /";
const NAMES: [&str; 5] = ["clear-site-data", "nel", "report-to", "alt-svc", "service-worker-allowed"];

fn left(answer: &Answer) -> Vec<&'static str> {
    NAMES.into_iter().filter(|name| answer.headers.has(name)).collect()
}

#[test]
fn a_server_does_not_speak_for_the_whole_origin_and_the_hub_does() {
    let hub = saying(LOUD);
    let proxy = TestProxy::start(&hub);
    for target in ["/user/bob/x", "/services/news/x", "/elsewhere"] {
        let answer = asked(&proxy, "HUB.test:80", target);
        let left: Vec<_> =
            left(&answer).into_iter().filter(|name| *name != "service-worker-allowed").collect();
        assert!(left.is_empty(), "{target}: {left:?}");
    }
    assert_eq!(left(&asked(&proxy, "hub.test", "/hub/x")), NAMES, "the hub may");
    // What has a host of its own, has an origin of its own.
    let own = asked(&proxy, "bob.hub.test", "/user/bob/x");
    assert_eq!((left(&own).len(), own.headers.get("service-worker-allowed")), (5, Some("/")));
}

#[test]
fn an_upgrade_that_is_answered_otherwise_says_no_more() {
    let hub = saying(LOUD);
    let proxy = TestProxy::start(&hub);
    let mut wire = proxy.connect();
    let answer = wire.ask(websocket("/user/bob/x", &[]));
    assert_eq!((answer.status, answer.headers.get("clear-site-data")), (200, None));
    assert_eq!(answer.headers.get("service-worker-allowed"), Some("/user/bob/"));
}

fn planted(change: impl FnOnce(Builder) -> Builder, target: &str) -> Vec<String> {
    let hub = saying(
        "Set-Cookie: own=1; Path=/user/bob/\r\nSet-Cookie: hublatch-state=planted; Path=/\r\n\
         Set-Cookie: __Host-hublatch-token=planted; Secure; Path=/\r\nSet-Cookie: =hublatch-click-0=planted\r\n\
         Set-Cookie: last=2",
    );
    let proxy = change(TestProxy::before(&hub)).start();
    let answer = proxy.browser().request("GET", target).without_cookies().send();
    answer.headers.all("set-cookie").iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn nobody_behind_hublatch_sets_a_cookie_of_its() {
    for target in ["/user/bob/x", "/services/news/x", "/hub/x", "/"] {
        assert_eq!(planted(|builder| builder, target), ["own=1; Path=/user/bob/", "last=2"], "{target}");
    }
}
