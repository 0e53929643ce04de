//! A hub without room for a moment: starts wait in line, are tried again by one caller in their order, and nobody sees a 429.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{OWN, launching, logged_in, waiting_page};
use crate::support::proxy::{standing_clock, wait_until};
use crate::support::{
    Answer, Browser, Exchange, FakeHub, Gate, HubServer, Is, Issued, TestProxy, Then, Wire,
};

const NO_ROOM: &str = "429 Too Many Requests\r\nRetry-After: 1";
const SAYS: &str = "Too many users trying to log in right now. Try again in 10 seconds.";

fn order(user: &str) -> Value {
    json!({"username": user, "launch": true})
}

fn code(answer: &Answer) -> Value {
    answer.json()["code"].clone()
}

/// Browser, page and server of somebody whose start the hub has refused for want of room.
fn refused(proxy: &TestProxy, hub: &FakeHub) -> (Browser, String, HubServer, Issued) {
    let server = HubServer::of(hub, "me", "").known();
    server.refuse(NO_ROOM, SAYS);
    let link = proxy.links().issue(&order("me"));
    let mut browser = proxy.browser();
    let page = waiting_page(&mut browser, &link.target());
    (browser, page, server, link)
}

#[test]
fn a_start_for_which_there_is_no_room_is_taken_and_its_page_shows_the_place_and_goes_on() {
    let hub = FakeHub::start();
    let proxy = launching(&hub).start();
    let (mut browser, page, server, link) = refused(&proxy, &hub);
    assert_eq!(link.json["server"]["ready"], false);
    let shown = browser.get(&page);
    assert_eq!(shown.status, 200);
    for text in ["You are number 1", "starting their servers", "Please leave this page open"] {
        assert!(shown.text().contains(text), "{text}: {}", shown.text());
    }
    assert_eq!(proxy.metric("hublatch_launch_queue"), 1);
    let mut events = listen(&mut browser, &format!("{page}/queue"));
    server.admit();
    until_ready(&mut events);
    assert_eq!(as_json(&mut browser, &page).status, 202);
    assert_eq!(code(&as_json(&mut browser, &page)), "server_starting");
    server.set(Is::Ready);
    assert_eq!(browser.get(&page).location(), "/user/me/");
    wait_until("nobody waits", || proxy.metric("hublatch_launch_queue") == 0);
}

fn as_json(browser: &mut Browser, page: &str) -> Answer {
    browser.navigate(page).header("Accept", "application/json").send()
}

/// The events of a page that waits, as its script reads them; the first one tells the first place.
fn listen(browser: &mut Browser, page: &str) -> Wire {
    let mut events = browser
        .request("GET", page)
        .header("Accept", "text/event-stream")
        .header("Sec-Fetch-Site", "same-origin")
        .header("Sec-Fetch-Mode", "cors")
        .begin();
    assert!(events.head().expect("a head").line.contains(" 200 "));
    assert!(text_of(&mut events).contains("\"position\":1"));
    events
}

fn text_of(events: &mut Wire) -> String {
    String::from_utf8(events.chunk().expect("an event")).expect("UTF-8")
}

fn until_ready(events: &mut Wire) {
    while !text_of(events).contains("\"ready\":true") {}
}

#[test]
fn the_app_sees_the_place_and_then_the_start_in_one_stream() {
    let hub = FakeHub::start();
    let proxy = launching(&hub).start();
    let (_, _, server, link) = refused(&proxy, &hub);
    let url = link.json["server"]["progress_url"].as_str().unwrap().to_owned();
    let follow = std::thread::scope(|scope| {
        let (links, other) = (proxy.links(), server.clone());
        let follower = scope.spawn(move || links.call("GET", &url, &[], ""));
        wait_until("it was tried again", || other.starts().len() >= 2);
        server.admit();
        follower.join().expect("it ends")
    });
    assert_eq!(follow.status, 200);
    assert!(follow.text().contains("Number 1 in line for a start"), "{}", follow.text());
    assert!(follow.text().contains("\"failed\":false,\"position\":1}"), "{}", follow.text());
    assert!(
        follow.text().ends_with("\"message\":\"Server requested\",\"ready\":false,\"failed\":false}\n\n")
    );
}

#[test]
fn a_hub_that_stays_full_is_an_error_in_its_own_words_when_the_wait_is_over() {
    let hub = FakeHub::start();
    let proxy = launching(&hub).set("limits", "launch_queue_timeout = \"1s\"").start();
    let server = HubServer::of(&hub, "me", "").known();
    server.refuse("429 Too Many Requests\r\nRetry-After: 1", "Active user limit exceeded.");
    let link = proxy.links().issue(&order("me"));
    let mut browser = proxy.browser();
    let page = waiting_page(&mut browser, &link.target());
    let url = link.json["server"]["progress_url"].as_str().unwrap().to_owned();
    let follow = proxy.links().call("GET", &url, &[], "");
    assert!(
        follow
            .text()
            .ends_with("\"message\":\"Active user limit exceeded.\",\"ready\":false,\"failed\":true}\n\n"),
        "{}",
        follow.text()
    );
    let full = browser.get(&page);
    assert_eq!(full.status, 429);
    assert!(full.text().contains("server_limit") && full.text().contains("Active user limit exceeded."));
    // The button asks once more.
    server.admit();
    let pressed = browser.press(&full);
    assert_eq!((pressed.status, pressed.location()), (303, page.as_str()));
    assert_eq!(browser.get(&page).status, 200);
}

#[test]
fn a_start_that_the_hub_does_not_want_any_more_when_its_turn_comes_is_told() {
    let hub = FakeHub::start();
    let proxy = launching(&hub).start();
    let (mut browser, page, server, _) = refused(&proxy, &hub);
    server.refuse("500 Internal Server Error", "The image does not exist");
    wait_until("it was tried again", || proxy.metric("hublatch_launch_queue") == 0);
    let failed = browser.get(&page);
    assert_eq!(failed.status, 502);
    assert!(failed.text().contains("The image does not exist"));
}

/// A hub that starts at most so many servers at a time.
#[derive(Clone)]
struct Room(Arc<Mutex<RoomState>>);

struct RoomState {
    limit: usize,
    starting: Vec<String>,
    ready: Vec<String>,
    most: usize,
    refusals: usize,
}

impl Room {
    fn of(hub: &FakeHub, limit: usize, users: &[String]) -> Self {
        let state = RoomState { limit, starting: Vec::new(), ready: Vec::new(), most: 0, refusals: 0 };
        let room = Self(Arc::new(Mutex::new(state)));
        for user in users {
            let (path, name, one) = (format!("/hub/api/users/{user}"), user.clone(), room.clone());
            hub.on(&path, move |exchange| one.user(exchange, &name));
            let (name, one) = (user.clone(), room.clone());
            hub.on(&format!("{path}/server"), move |exchange| one.start(exchange, &name));
            let (name, one) = (user.clone(), room.clone());
            hub.on(&format!("{path}/server/progress"), move |exchange| one.progress(exchange, &name));
        }
        room
    }

    fn lock(&self) -> MutexGuard<'_, RoomState> {
        self.0.lock().unwrap()
    }

    /// The first of those that are starting is ready.
    fn one_is_ready(&self) {
        let mut state = self.lock();
        let user = state.starting.remove(0);
        state.ready.push(user);
    }

    fn user(&self, exchange: &mut Exchange<'_>, user: &str) -> Then {
        let state = self.lock();
        let server = if state.ready.iter().any(|name| name == user) {
            json!({"": {"name": "", "ready": true, "pending": null}})
        } else if state.starting.iter().any(|name| name == user) {
            json!({"": {"name": "", "ready": false, "pending": "spawn"}})
        } else {
            json!({})
        };
        let json = json!({"name": user, "servers": server}).to_string();
        exchange.answer("200 OK\r\nContent-Type: application/json", json)
    }

    fn start(&self, exchange: &mut Exchange<'_>, user: &str) -> Then {
        exchange.read_body();
        let mut state = self.lock();
        if state.starting.len() >= state.limit {
            state.refusals += 1;
            let says = json!({"status": 429, "message": SAYS}).to_string();
            return exchange
                .answer("429 Too Many Requests\r\nRetry-After: 60\r\nContent-Type: application/json", says);
        }
        state.starting.push(user.to_owned());
        state.most = state.most.max(state.starting.len());
        exchange.answer("202 Accepted\r\nContent-Type: text/plain", "")
    }

    /// What has happened so far, at once, and then what happens until the server is ready: as the hub does.
    fn progress(&self, exchange: &mut Exchange<'_>, user: &str) -> Then {
        let is_starting = || self.lock().starting.iter().any(|name| name == user);
        exchange.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
        if is_starting() {
            exchange.send("data: {\"progress\": 0, \"message\": \"Server requested\"}\n\n");
        }
        while is_starting() {
            std::thread::yield_now();
        }
        let event = json!({"progress": 100, "ready": true, "message": "Server ready"});
        exchange.send(format!("data: {event}\n\n"));
        Then::Close
    }
}

#[test]
fn a_class_is_started_in_order_as_room_comes_and_the_hub_is_asked_by_one_caller() {
    let hub = FakeHub::start();
    let users: Vec<String> = (0..8).map(|number| format!("user{number}")).collect();
    let room = Room::of(&hub, 2, &users);
    let proxy = launching(&hub).start();
    let begun = Instant::now();
    for user in &users {
        assert_eq!(proxy.links().issue(&order(user)).json["server"]["ready"], false);
    }
    let mut last = logged_in(&proxy, "user7");
    let page = waiting_page(&mut last, &proxy.links().issue(&order("user7")).target());
    assert!(last.get(&page).text().contains("You are number 6"), "{}", last.get(&page).text());
    for done in 1..=8 {
        wait_until("as many start as may", || room.lock().starting.len() == 2.min(9 - done));
        room.one_is_ready();
    }
    let state = room.lock();
    // The hub is asked for several at once as room comes, each over a connection of its own, and the later question may be
    // there first.
    for (place, user) in state.ready.iter().enumerate() {
        let number = users.iter().position(|other| other == user).expect("one of them");
        assert!(place.abs_diff(number) <= 2, "in their order: {:?}", state.ready);
    }
    assert_eq!(state.most, 2);
    // One each time that there was no room for more: when the line began, and after each start that was accepted.
    assert!(state.refusals <= 10, "{}", state.refusals);
    assert!(
        begun.elapsed() < Duration::from_mins(1),
        "an end is a reason to ask before Retry-After has passed"
    );
}

#[test]
fn nobody_overtakes_those_who_wait() {
    let hub = FakeHub::start();
    let proxy = launching(&hub).start();
    let (_, _, server, _) = refused(&proxy, &hub);
    let late = HubServer::of(&hub, "late", "").known();
    assert_eq!(proxy.links().issue(&order("late")).json["server"]["ready"], false);
    assert_eq!(late.starts(), Vec::<Value>::new(), "the hub was not asked");
    server.admit();
    wait_until("both are started", || late.starts().len() == 1);
}

#[test]
fn a_reload_costs_nobody_a_place() {
    let hub = FakeHub::start();
    let builder = launching(&hub);
    let proxy = builder.clone().start();
    let (mut browser, page, server, _) = refused(&proxy, &hub);
    let again = builder.set("limits", "hub_api_calls = 50");
    proxy.reload(&again).expect("it is taken");
    assert!(browser.get(&page).text().contains("You are number 1"));
    server.admit();
    wait_until("it is started", || proxy.metric("hublatch_launch_queue") == 0);
}

#[test]
fn after_a_reload_what_waits_is_asked_for_with_the_new_token() {
    let hub = FakeHub::start();
    let builder = launching(&hub);
    let proxy = builder.clone().start();
    let (_, _, server, _) = refused(&proxy, &hub);
    let path = "/hub/api/users/me/server";
    let token =
        || hub.seen_at(path).last().and_then(|seen| seen.headers.get("authorization").map(str::to_owned));
    assert_eq!(token(), Some(format!("token {OWN}")));
    proxy.reload(&builder.set("hub", "api_token = \"rotated\"")).expect("it is taken");
    wait_until("it is asked for with the new one", || token().as_deref() == Some("token rotated"));
    server.admit();
    wait_until("it is started", || proxy.metric("hublatch_launch_queue") == 0);
}

#[test]
fn a_start_that_its_app_may_not_order_any_more_when_its_turn_comes_is_not_asked_for() {
    for rule in ["deny_usernames = [\"me\"]", "scopes = [\"read\"]"] {
        let hub = FakeHub::start();
        let builder = launching(&hub);
        let proxy = builder.clone().start();
        let (mut browser, page, server, _) = refused(&proxy, &hub);
        proxy.reload(&builder.portal(rule)).expect("it is taken");
        let asked = server.starts().len();
        server.admit();
        wait_until("nobody waits", || proxy.metric("hublatch_launch_queue") == 0);
        assert_eq!(server.starts().len(), asked, "{rule}");
        let told = browser.get(&page).text();
        assert!(told.contains("may not do so any more"), "{rule}: {told}");
    }
}

#[test]
fn a_browsers_start_that_waits_over_a_reload_is_asked_for_by_the_browser_itself() {
    let hub = FakeHub::start();
    hub.reply("/hub/spawn/alice", FULL);
    let builder = TestProxy::before(&hub);
    let proxy = builder.clone().start();
    let mut browser = with_session(&proxy);
    assert!(browser.get(SPAWN).text().contains("You are number 1"));
    proxy.reload(&builder.set("login", "user_header = \"X-Other-User\"")).expect("it is taken");
    let asked = hub.seen_at("/hub/spawn/alice").len();
    hub.reply("/hub/spawn/alice", LEADS_ON);
    wait_until("nobody waits", || proxy.metric("hublatch_launch_queue") == 0);
    assert_eq!(hub.seen_at("/hub/spawn/alice").len(), asked, "not by what was in force before");
    let on = browser.get(SPAWN);
    assert_eq!((on.status, on.location()), (302, "/hub/spawn-pending/alice"));
}

const SPAWN: &str = "/hub/spawn/alice?next=%2Fhub%2Fuser%2Falice%2Flab";
const FULL: &str = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 9\r\n\r\nhub's 429";
const LEADS_ON: &str =
    "HTTP/1.1 302 Found\r\nLocation: /hub/spawn-pending/alice\r\nContent-Length: 0\r\n\r\n";

fn with_session(proxy: &TestProxy) -> Browser {
    let mut browser = logged_in(proxy, "alice");
    browser.set_cookie("jupyterhub-session-id", "session", "/");
    browser
}

#[test]
fn a_browser_that_meets_the_hubs_429_at_the_spawn_url_waits_on_our_page_and_goes_on_by_itself() {
    let hub = FakeHub::start();
    hub.reply("/hub/spawn/alice", FULL);
    let proxy = TestProxy::start(&hub);
    let mut browser = with_session(&proxy);
    let page = browser.get(SPAWN);
    assert_eq!((page.status, page.headers.get("retry-after")), (200, None));
    for text in ["You are number 1", "starting their servers", "data-events=\"#\""] {
        assert!(page.text().contains(text), "{text}: {}", page.text());
    }
    assert!(!page.text().contains("hub's 429"));
    let mut events = listen(&mut browser, SPAWN);
    hub.reply("/hub/spawn/alice", LEADS_ON);
    until_ready(&mut events);
    let started = hub.seen_at("/hub/spawn/alice");
    let ours = started.last().expect("it was asked");
    assert_eq!((ours.target.as_str(), ours.method.as_str()), (SPAWN, "GET"));
    assert!(ours.headers.get("cookie").expect("hers").contains("jupyterhub-session-id=session"));
    assert!(ours.headers.get("remote_user").is_none());
    let on = browser.get(SPAWN);
    assert_eq!((on.status, on.location()), (302, "/hub/spawn-pending/alice"));
}

#[test]
fn a_browser_that_loads_the_page_again_does_not_ask_the_hub() {
    let hub = FakeHub::start();
    hub.reply("/hub/spawn/alice", FULL.replace("Retry-After: 1\r", "Retry-After: 60\r"));
    let proxy = TestProxy::start(&hub);
    let mut browser = with_session(&proxy);
    for _ in 0..3 {
        assert!(browser.get(SPAWN).text().contains("You are number 1"));
    }
    assert_eq!(hub.seen_at("/hub/spawn/alice").len(), 1);
}

#[test]
fn what_is_no_persons_navigation_in_a_session_sees_the_hubs_own_429() {
    let hub = FakeHub::start();
    hub.reply("/hub/spawn/alice", FULL);
    let proxy = TestProxy::start(&hub);
    assert_eq!(proxy.browser().get(SPAWN).status, 429, "no session");
    let mut browser = with_session(&proxy);
    assert_eq!(browser.navigate(SPAWN).header("Accept", "application/json").send().status, 429);
    assert_eq!(browser.navigate(SPAWN).header("Sec-Fetch-Mode", "cors").send().status, 429);
    assert_eq!(browser.request("POST", SPAWN).header("Content-Length", "0").send().status, 429);
    let off = TestProxy::before(&hub).set("limits", "launch_queue_timeout = \"0s\"").start();
    assert_eq!(with_session(&off).get(SPAWN).status, 429);
    assert_eq!(proxy.metric("hublatch_launch_queue"), 0);
}

#[test]
fn a_start_that_fails_when_its_turn_comes_is_told_by_the_hubs_own_page() {
    let hub = FakeHub::start();
    hub.reply("/hub/spawn/alice", FULL);
    let proxy = TestProxy::start(&hub);
    let mut browser = with_session(&proxy);
    assert_eq!(browser.get(SPAWN).status, 200);
    hub.reply("/hub/spawn/alice", "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    wait_until("nobody waits", || proxy.metric("hublatch_launch_queue") == 0);
    let answer = browser.get(SPAWN);
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
}

/// The hub starts servers for all of these at `/hub/spawn/NAME`, and follows each start until the gate is open.
fn starting(hub: &FakeHub, names: &[&str]) -> Gate {
    let gate = Gate::new();
    for name in names {
        let location = format!("Location: /hub/spawn-pending/{name}?from=hub");
        hub.reply(
            &format!("/hub/spawn/{name}"),
            format!("HTTP/1.1 302 Found\r\n{location}\r\nContent-Length: 0\r\n\r\n"),
        );
        let closed = gate.clone();
        hub.on(&progress_of(name), move |exchange| {
            closed.pass();
            exchange.answer("200 OK\r\nContent-Type: text/event-stream", "data: {\"ready\": true}\n\n")
        });
    }
    gate
}

fn progress_of(name: &str) -> String {
    format!("/hub/api/users/{name}/server/progress")
}

/// Somebody waits at `SPAWN`, and has been asked for again as often.
fn somebody_waits(proxy: &TestProxy, hub: &FakeHub, again: usize) {
    hub.reply("/hub/spawn/alice", FULL);
    assert_eq!(with_session(proxy).get(SPAWN).status, 200);
    wait_until("it was tried again", || hub.seen_at("/hub/spawn/alice").len() > again);
}

/// Each of these asks the hub for a server, which sends them to its page of a start.
fn all_start(proxy: &TestProxy, names: &[&str]) {
    for name in names {
        assert_eq!(with_session(proxy).get(&format!("/hub/spawn/{name}")).status, 302);
    }
}

/// How often the starts of these are watched.
fn watched(hub: &FakeHub, names: &[&str]) -> usize {
    names.iter().map(|name| hub.seen_at(&progress_of(name)).len()).sum()
}

fn assert_logs_in(proxy: &TestProxy) {
    let login = proxy.browser().get(&proxy.link("alice").target());
    assert_eq!(login.status, 302, "{}", login.text());
}

#[test]
fn a_server_that_one_browser_asks_for_many_times_is_watched_once_and_logins_go_on() {
    let hub = FakeHub::start();
    let gate = starting(&hub, &["bob"]);
    let limits = "upstream_connections = 20\nupstream_queue = 0\nupstream_idle_connections = 0";
    let proxy = TestProxy::before(&hub).set("limits", limits).start();
    let mut bob = with_session(&proxy);
    for number in 0..30 {
        assert_eq!(bob.get(&format!("/hub/spawn/bob?opt-a={number}")).status, 302);
    }
    somebody_waits(&proxy, &hub, 1);
    wait_until("bob's start is watched", || watched(&hub, &["bob"]) > 0);
    for number in 0..30 {
        assert_eq!(bob.get(&format!("/hub/spawn/bob?opt-b={number}")).status, 302);
    }
    somebody_waits(&proxy, &hub, hub.seen_at("/hub/spawn/alice").len());
    assert_eq!(watched(&hub, &["bob"]), 1);
    assert_logs_in(&proxy);
    gate.open();
}

#[test]
fn no_more_starts_are_watched_at_a_time_than_may_be_and_the_others_after_them() {
    let hub = FakeHub::start();
    let names = ["bob", "carol", "dave", "erin"];
    let gate = starting(&hub, &names);
    let proxy = TestProxy::before(&hub).set("limits", "hub_api_calls = 2").start();
    all_start(&proxy, &names);
    somebody_waits(&proxy, &hub, 2);
    assert_eq!(watched(&hub, &names), 2);
    gate.open();
    wait_until("the others are watched", || watched(&hub, &names) == 4);
}

#[test]
fn one_client_has_no_more_starts_watched_than_it_may_have_requests_and_its_logins_go_on() {
    let hub = FakeHub::start();
    let names = ["bob", "carol", "dave", "erin"];
    let gate = starting(&hub, &names);
    let limits = "upstream_connections_per_client = 2\nupstream_connect_timeout = \"100ms\"";
    let proxy = TestProxy::before(&hub).set("limits", limits).start();
    all_start(&proxy, &names);
    // The line itself goes on without a share, or its client would hold up everybody.
    somebody_waits(&proxy, &hub, 2);
    assert_eq!(watched(&hub, &names), 2);
    assert_logs_in(&proxy);
    gate.open();
}

#[test]
fn a_redirect_that_leads_to_no_pending_start_is_none_and_no_reason_to_ask_the_hub() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let mut stranger = proxy.browser();
    stranger.set_cookie("jupyterhub-session-id", "made-up", "/");
    for (target, location) in [
        ("/hub/spawn/bob", "/hub/login?next=%2Fhub%2Fspawn-pending%2Fbob"),
        ("/hub/spawn/bob?a=1", "/user/bob/"),
        ("/hub/spawn/bob?a=2", "/hub/spawn-pending/"),
        ("/hub/spawn/bob?a=3", "/hub/spawn-pending/bob/x/y"),
        ("/hub/spawn/bob?a=4", "https://elsewhere.test/hub/spawn-pending/bob"),
        // Of a server that runs: where the browser itself wants to go.
        ("/hub/spawn/bob?next=%2Fhub%2Fspawn-pending%2Fbob", "/hub/spawn-pending/bob"),
        ("/hub/spawn?next=/hub/spawn-p%65nding/carol", "/hub/spawn-pending/carol"),
    ] {
        let path = target.split('?').next().unwrap_or_default();
        hub.reply(path, format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(stranger.get(target).location(), location);
    }
    hub.forget();
    somebody_waits(&proxy, &hub, 2);
    let seen = hub.wait_for(|_| true);
    assert!(!seen.iter().any(|seen| seen.path().starts_with("/hub/api/user")), "{seen:?}");
}

#[test]
fn a_start_that_waits_is_asked_for_without_the_login_parameter_and_without_a_bad_next() {
    let hub = FakeHub::start();
    hub.reply("/hub/spawn/alice", FULL);
    let proxy = TestProxy::start(&hub);
    let mut browser = with_session(&proxy);
    let target = "/hub/spawn/alice?login%5Ftoken=secret&opt-a=1&next=%2F%2Felsewhere.test&login_token=secret";
    assert_eq!(browser.get(target).status, 200);
    hub.reply("/hub/spawn/alice", LEADS_ON);
    wait_until("nobody waits", || proxy.metric("hublatch_launch_queue") == 0);
    let asked = hub.seen_at("/hub/spawn/alice");
    assert!(asked.len() >= 2, "{asked:?}");
    for seen in asked {
        assert_eq!(seen.target, "/hub/spawn/alice?opt-a=1");
    }
}

#[test]
fn a_start_of_a_session_that_is_over_by_the_time_of_its_turn_is_not_asked_for() {
    let (hub, clock) = (FakeHub::start(), standing_clock());
    let proxy = TestProxy::before(&hub).clock(&clock).set("login", "max_session = \"10m\"").start();
    let mut browser = proxy.browser();
    assert_eq!(browser.get(&proxy.link("alice").target()).status, 302);
    assert!(browser.cookie("jupyterhub-session-id").expect("a session").starts_with("hl1."));
    let at_the_hub = Arc::clone(&clock);
    hub.on("/hub/spawn/alice", move |exchange| {
        exchange.read_body();
        // While the hub says that there is no room, the session comes to its end.
        at_the_hub.advance(Duration::from_secs(600));
        exchange.send(FULL);
        Then::Next
    });
    assert_eq!(browser.get(SPAWN).status, 200);
    wait_until("nobody waits", || proxy.metric("hublatch_launch_queue") == 0);
    assert_eq!(hub.seen_at("/hub/spawn/alice").len(), 1);
}
