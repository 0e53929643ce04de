//! FlightGuard a launched link: the token is consumed as ever, and the browser waits where only its user may look.

use serde_json::{Value, json};

use super::{launching, logged_in, waiting_page};
use crate::support::hub_pages::cookie;
use crate::support::requests::get;
use crate::support::{Answer, FakeHub, HubServer, Is, Issued, Process, TestProxy, Wire};

fn launched(proxy: &TestProxy) -> Issued {
    proxy.links().issue(&json!({"username": "me", "server": "named", "path": "lab?x=1", "launch": true}))
}

fn code(answer: &Answer) -> Value {
    answer.json()["code"].clone()
}

/// The page as a program sees it.
fn as_json(browser: &mut crate::support::Browser, page: &str) -> Answer {
    browser.navigate(page).header("Accept", "application/json").send()
}

#[test]
fn the_click_logs_in_as_ever_and_leads_to_the_waiting_page() {
    let hub = FakeHub::start();
    let server = HubServer::of(&hub, "me", "named");
    let proxy = launching(&hub).start();
    let link = launched(&proxy);
    let mut browser = proxy.browser();
    let page = waiting_page(&mut browser, &link.target());
    assert_eq!(proxy.links().status(&link.id), "used");
    let login = hub.only("/hub/login");
    assert_eq!(login.headers.all("remote_user"), ["me"]);
    assert!(!login.target.contains("login_token"));

    let shown = browser.get(&page);
    assert_eq!(shown.status, 200, "{}", shown.text());
    assert!(shown.text().contains("<progress ") && shown.text().contains("Server requested"));
    server.set(Is::Ready);
    let on = browser.get(&page);
    assert_eq!((on.status, on.location()), (303, "/user/me/named/lab?x=1"));
    // A used link leads on, back and reload: to the waiting page, which leads on in turn.
    let again = browser.get(&link.target());
    assert_eq!(again.status, 303);
    assert_eq!(browser.follow(again.location()).status, 200);
    assert_eq!(hub.seen_at("/hub/login").len(), 1, "no second login");
    assert_eq!(proxy.browser().get(&link.target()).status, 403, "another browser is refused as ever");
}

#[test]
fn every_state_of_the_server_has_its_page() {
    let hub = FakeHub::start();
    let server = HubServer::of(&hub, "me", "named");
    let proxy = launching(&hub).start();
    let mut browser = proxy.browser();
    let page = waiting_page(&mut browser, &launched(&proxy).target());
    let events = vec![json!({"progress": 50, "message": "half <b>way</b>"}), json!({"message": "no number"})];
    for (is, status, word, text) in [
        (Is::Starting(events), 202, "server_starting", "no number"),
        (
            Is::Failed("Spawn failed: <no> node".to_owned()),
            502,
            "server_failed",
            "Spawn failed: &lt;no&gt; node",
        ),
        (Is::Stopped, 409, "server_stopped", "Start it again"),
    ] {
        server.set(is);
        let told = as_json(&mut browser, &page);
        assert_eq!((told.status, code(&told)), (status, word.into()));
        let shown = browser.get(&page).text();
        assert!(shown.contains(text), "{word}: {shown}");
        assert_eq!(shown.contains("value=\"50\""), word == "server_starting", "{word}");
    }
}

#[test]
fn the_button_starts_the_server_again_and_comes_back() {
    let hub = FakeHub::start();
    let server = HubServer::of(&hub, "me", "named");
    let proxy = launching(&hub).set("limits", "launch_queue_timeout = \"0s\"").start();
    let mut browser = proxy.browser();
    let page = waiting_page(&mut browser, &launched(&proxy).target());
    server.set(Is::Failed("no node".to_owned()));
    let shown = browser.get(&page);
    assert_eq!(shown.status, 502);
    let pressed = browser.press(&shown);
    assert_eq!((pressed.status, pressed.location()), (303, page.as_str()));
    assert_eq!(server.starts(), [Value::Null, Value::Null], "with the options of the last start");
    assert_eq!(browser.get(&page).status, 200);

    server.set(Is::Stopped);
    let shown = browser.get(&page);
    for (head, status, word) in [
        ("429 Too Many Requests\r\nRetry-After: 9", 429, "server_limit"),
        ("400 Bad Request", 403, "server_refused"),
        ("500 Internal Server Error", 502, "server_failed"),
    ] {
        server.refuse(head, "The hub's words.");
        let refused = browser.press(&shown);
        assert_eq!(refused.status, status, "{head}");
        assert!(refused.text().contains(word) && refused.text().contains("The hub&#x27;s words."), "{head}");
        assert_eq!(refused.headers.all("retry-after").len(), usize::from(status == 429), "{head}");
    }
}

#[test]
fn nobody_else_can_press_it() {
    let hub = FakeHub::start();
    let server = HubServer::of(&hub, "me", "named");
    let proxy = launching(&hub).start();
    let page = waiting_page(&mut proxy.browser(), &launched(&proxy).target());
    server.set(Is::Stopped);
    let starts = server.starts().len();
    let mut me = logged_in(&proxy, "me");
    let foreign = me
        .request("POST", &page)
        .header("Origin", "https://evil.example")
        .header("Sec-Fetch-Site", "cross-site");
    assert_eq!(foreign.send().status, 403);
    assert_eq!(me.request("POST", &page).send().status, 403, "no origin at all");
    let ours = |browser: &mut crate::support::Browser| {
        browser.request("POST", &page).header("Origin", "http://hub.test").send().status
    };
    assert_eq!(ours(&mut logged_in(&proxy, "you")), 403);
    assert_eq!(ours(&mut proxy.browser()), 403);
    assert_eq!(server.starts().len(), starts, "nothing was started");
    assert_eq!(ours(&mut me), 303);
}

#[test]
fn only_the_user_of_the_login_sees_the_page_and_nothing_is_asked_for_others() {
    let hub = FakeHub::start();
    let server = HubServer::of(&hub, "me", "named");
    let proxy = launching(&hub).start();
    let page = waiting_page(&mut proxy.browser(), &launched(&proxy).target());
    server.set(Is::Ready);
    hub.forget();
    for (mut browser, word) in [(logged_in(&proxy, "you"), "not_waiting"), (proxy.browser(), "link_required")]
    {
        for path in [page.clone(), format!("{page}/events")] {
            let sent = browser.request("GET", &path).header("Accept", "application/json");
            let answer = sent.send();
            assert_eq!((answer.status, code(&answer)), (403, word.into()), "{path}");
        }
    }
    assert!(hub.seen_at("/hub/api/users/me").is_empty());
    let mut me = logged_in(&proxy, "me");
    for path in ["x.y", "", "/", "a/b", &format!("{}A", page.rsplit('/').next().unwrap())] {
        let answer = as_json(&mut me, &format!("/hub/hublatch/launch/{path}"));
        assert_eq!((answer.status, code(&answer)), (403, "not_waiting".into()), "{path}");
    }
    assert!(hub.seen_at("/hub/api/users/me").is_empty());
    assert!(hub.seen().iter().all(|seen| !seen.target.contains("hublatch")), "the hub never sees the path");
}

#[test]
fn a_prefetch_a_script_and_a_frame_do_not_get_the_page() {
    let hub = FakeHub::start();
    HubServer::of(&hub, "me", "named");
    let proxy = launching(&hub).start();
    let mut browser = proxy.browser();
    let page = waiting_page(&mut browser, &launched(&proxy).target());
    assert_eq!(browser.navigate(&page).header("Sec-Purpose", "prefetch").send().status, 503);
    assert_eq!(browser.navigate(&page).header("Sec-Fetch-Dest", "iframe").send().status, 403);
    assert_eq!(browser.navigate(&page).header("Sec-Fetch-Mode", "cors").send().status, 403);
    assert_eq!(browser.request("PUT", &page).header("Content-Length", "0").send().status, 404);
    let events = format!("{page}/events");
    assert_eq!(browser.request("GET", &events).header("Sec-Fetch-Site", "cross-site").send().status, 403);
    assert_eq!(browser.request("POST", &events).header("Origin", "http://hub.test").send().status, 404);
}

#[test]
fn any_replica_answers_for_any_other() {
    let hub = FakeHub::start();
    HubServer::of(&hub, "me", "named");
    // Each would make an assertion key of its own, and the hub believes one.
    let replica = || launching(&hub).without_assertion(&hub);
    let (one, other) = (replica().start(), replica().start());
    let page = waiting_page(&mut one.browser(), &launched(&one).target());
    assert_eq!(logged_in(&other, "me").get(&page).status, 200);
    let stranger = replica().set("hub", "api_token = \"another\"").start();
    assert_eq!(logged_in(&stranger, "me").get(&page).status, 403);
}

#[test]
fn a_hub_that_does_not_answer_shows_a_page_to_try_again_from() {
    let hub = FakeHub::start();
    HubServer::of(&hub, "me", "named");
    let proxy = launching(&hub).start();
    let mut browser = proxy.browser();
    let page = waiting_page(&mut browser, &launched(&proxy).target());
    hub.reply("/hub/api/users/me", "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    let answer = browser.get(&page);
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("Try again"));
    hub.reply("/hub/api/user", "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(browser.get(&page).status, 502);
}

#[test]
fn another_users_login_by_a_launched_link_asks_first_and_switches_as_ever() {
    let hub = FakeHub::start();
    HubServer::of(&hub, "me", "named");
    let proxy = launching(&hub).start();
    let mut browser = logged_in(&proxy, "you");
    let link = launched(&proxy);
    let asked = browser.get(&link.target());
    assert_eq!(asked.status, 200);
    assert_eq!(proxy.links().status(&link.id), "pending");
    let answer = browser.press(&asked);
    assert_eq!(answer.status, 302);
    assert!(answer.location().starts_with("/hub/hublatch/launch/"));
    assert_eq!(hub.seen_at("/hub/logout").len(), 1);
    assert_eq!(cookie(&hub.only("/hub/login"), "jupyterhub-hub-login"), None);
}

#[test]
fn without_a_hub_token_the_path_is_the_hubs() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    assert_eq!(proxy.browser().get("/hub/hublatch/launch/x").status, 200);
    assert_eq!(hub.only("/hub/hublatch/launch/x").method, "GET");
}

#[test]
fn the_access_log_names_the_page_and_not_its_ticket() {
    let hub = FakeHub::start();
    let mut process = Process::start(&TestProxy::before(&hub).set("log", "access = true").text());
    let address = process.address("public");
    process.address("management");
    for path in ["/hub/hublatch/launch/TICKET.PROOF", "/hub/hublatch/launch/TICKET.PROOF/events", "/hub/home"]
    {
        Wire::connect(address).ask(get(path, &[]));
    }
    process.signal(rustix::process::Signal::TERM);
    assert!(process.ended().success());
    let said = process.said();
    assert!(!said.contains("TICKET"), "{said}");
    let count = |path: &str| said.matches(&format!("\"path\":\"{path}\"")).count();
    assert_eq!((count("/hub/hublatch/launch/"), count("/hub/home")), (2, 1), "{said}");
}
