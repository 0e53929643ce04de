//! Admission (T-CLASS): whoever finds the hub busy waits in line, with the link kept, and nobody's link is used up in vain.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hublatch::clock::ManualClock;

use crate::support::hub_pages::claims_of;
use crate::support::proxy::{Builder, standing_clock, wait_until};
use crate::support::{Answer, Browser, FakeHub, Gate, Issued, Sending, TestProxy, Then, Wire};

const IN: &str = "HTTP/1.1 302 Found\r\nLocation: /hub/home\r\nSet-Cookie: jupyterhub-hub-login=x; Path=/hub/\r\nContent-Length: 0\r\n\r\n";

/// A hub that answers logins only when the gate is open.
fn slow_hub() -> (FakeHub, Gate) {
    let hub = FakeHub::start();
    let gate = hub.reply_later("/hub/login", IN);
    (hub, gate)
}

/// A hub that says who nobody is only when the gate is open.
fn hanging_hub() -> (FakeHub, Gate) {
    let (hub, gate) = (FakeHub::start(), Gate::new());
    let waits = gate.clone();
    hub.on("/hub/api/user", move |exchange| {
        waits.pass();
        exchange.answer("403 Forbidden\r\nContent-Type: application/json", "{}")
    });
    (hub, gate)
}

fn one_at_once(hub: &FakeHub, clock: &Arc<ManualClock>) -> Builder {
    TestProxy::before(hub).set("limits", "logins_at_once = \"1\"").clock(clock)
}

/// A browser in line: it has clicked on `link` while another login is under way.
struct InLine {
    browser: Browser,
    /// The address of the page.
    page: String,
}

impl InLine {
    fn at(proxy: &TestProxy, link: &Issued) -> Self {
        let mut browser = proxy.browser();
        let answer = browser.get(&link.target());
        assert!(answer.status == 200 && answer.text().contains("You are number"), "{}", answer.text());
        Self { page: link.target(), browser }
    }

    fn look(&mut self) -> Answer {
        self.browser.get(&self.page)
    }

    fn events(&mut self) -> Wire {
        let page = self.page.clone();
        self.browser
            .request("GET", &page)
            .header("Accept", "text/event-stream")
            .header("Accept-Language", "en")
            .header("Sec-Fetch-Site", "same-origin")
            .header("Sec-Fetch-Mode", "cors")
            .header("Sec-Fetch-Dest", "empty")
            .begin()
    }
}

/// The event by which a browser in line learns that its turn has come.
fn until_ready(events: &mut Wire) -> String {
    loop {
        let event = String::from_utf8(events.chunk().expect("an event")).expect("UTF-8");
        if event.contains("\"ready\":true") {
            return event;
        }
    }
}

/// A login that is under way at the hub.
fn under_way(proxy: &TestProxy, hub: &FakeHub) -> Wire {
    let link = proxy.link("holder");
    let wire = proxy.browser().navigate(&link.target()).begin();
    hub.wait_for_path("/hub/login");
    wire
}

fn redeemed(proxy: &TestProxy) -> usize {
    proxy.audit().iter().filter(|line| line["event"] == "redeemed").count()
}

#[test]
fn whoever_waits_two_seconds_is_shown_a_place_and_logged_in_when_the_turn_comes() {
    let (hub, gate) = slow_hub();
    let proxy = one_at_once(&hub, &standing_clock()).start();
    let mut first = under_way(&proxy, &hub);
    let link = proxy.link("alice");
    let mut alice = InLine::at(&proxy, &link);
    let page = alice.look();
    assert_eq!((page.status, page.headers.get("cache-control")), (200, Some("no-store")));
    assert!(page.text().contains("You are number 1"), "{}", page.text());
    assert!(!page.text().contains(&link.token), "no token in a page");
    assert_eq!(redeemed(&proxy), 1, "hers is not consumed");
    gate.open();
    assert_eq!(first.answer_to("GET").expect("an answer").status, 302);
    let answer = alice.look();
    assert_eq!((answer.status, answer.location()), (302, "/hub/home"));
    assert_eq!(redeemed(&proxy), 2);
    let seen = hub.seen_at("/hub/login");
    assert!(
        seen.iter().all(|seen| !format!("{seen:?}").contains("hublatch-click")),
        "the hub does not see it"
    );
    let cookies = answer.headers.all("set-cookie");
    assert!(
        cookies.iter().any(|cookie| cookie.starts_with("hublatch-click-") && cookie.contains("Max-Age=0"))
    );
}

#[test]
fn a_link_that_was_clicked_in_time_stays_good_while_its_browser_waits_and_for_nobody_else() {
    let (hub, gate) = slow_hub();
    let clock = standing_clock();
    let proxy = one_at_once(&hub, &clock).start();
    let _first = under_way(&proxy, &hub);
    let link = proxy.link("alice");
    let mut alice = InLine::at(&proxy, &link);
    clock.advance(Duration::from_secs(300));
    assert_eq!(alice.look().status, 200, "still in line");
    let late = proxy.browser().get(&link.target());
    assert_eq!(late.status, 403);
    assert!(late.text().contains("expired"), "{}", late.text());
    let mut thief = proxy.browser();
    for (name, value) in
        alice.browser.cookies_for(&alice.page).split("; ").filter_map(|pair| pair.split_once('='))
    {
        if name.starts_with("hublatch-click") {
            thief.set_cookie(name, value, "/hub/login");
        }
    }
    assert_eq!(thief.get(&alice.page).status, 403, "her place is not for another browser");
    gate.open();
    assert_eq!(alice.look().status, 302);
    assert_eq!(alice.look().status, 403, "once");
}

#[test]
fn a_link_whose_browser_has_waited_makes_room_for_another_link_of_its_app() {
    let (hub, gate) = slow_hub();
    let proxy = one_at_once(&hub, &standing_clock()).portal("max_live_links = 1").start();
    let _first = under_way(&proxy, &hub);
    let mut alice = InLine::at(&proxy, &proxy.link("alice"));
    let order = r#"{"username":"bob"}"#;
    assert_eq!(proxy.links().call("POST", "/api/v1/links", &[], order).status, 429, "hers waits to be used");
    gate.open();
    assert_eq!(alice.look().status, 302);
    assert_eq!(proxy.links().call("POST", "/api/v1/links", &[], order).status, 201);
}

#[test]
fn a_place_ends_after_ten_minutes() {
    let (hub, _gate) = slow_hub();
    let clock = standing_clock();
    let proxy = one_at_once(&hub, &clock).start();
    let _first = under_way(&proxy, &hub);
    let mut alice = InLine::at(&proxy, &proxy.link("alice"));
    clock.advance(Duration::from_secs(601));
    assert_eq!(alice.look().status, 403);
}

#[test]
fn a_link_that_is_revoked_while_its_browser_waits_logs_nobody_in() {
    let (hub, gate) = slow_hub();
    let clock = standing_clock();
    let proxy = one_at_once(&hub, &clock).start();
    let _first = under_way(&proxy, &hub);
    let link = proxy.link("alice");
    let mut alice = InLine::at(&proxy, &link);
    clock.advance(Duration::from_secs(60));
    let key = format!("token {}", proxy.key());
    let revoked =
        proxy.links().call("DELETE", &format!("/api/v1/links/{}", link.id), &[("Authorization", &key)], "");
    assert_eq!(revoked.status, 204);
    gate.open();
    let answer = alice.look();
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("withdrawn"), "{}", answer.text());
}

#[test]
fn the_events_tell_the_number_and_when_the_turn_has_come() {
    let (hub, gate) = slow_hub();
    let proxy = one_at_once(&hub, &standing_clock()).start();
    let mut first = under_way(&proxy, &hub);
    let mut alice = InLine::at(&proxy, &proxy.link("alice"));
    let mut events = alice.events();
    let head = events.head().expect("a head");
    assert_eq!(Answer::of(&head).headers.get("content-type"), Some("text/event-stream"));
    let number = String::from_utf8(events.chunk().expect("an event")).expect("UTF-8");
    assert!(number.contains("\"position\":1"), "{number}");
    gate.open();
    first.answer_to("GET").expect("an answer");
    assert!(until_ready(&mut events).starts_with("data: "));
    assert_eq!(alice.look().status, 302);
}

#[test]
fn the_place_of_a_browser_that_goes_away_is_given_back() {
    let (hub, gate) = slow_hub();
    let proxy = one_at_once(&hub, &standing_clock()).start();
    let _first = under_way(&proxy, &hub);
    let (mut alice, mut bob) =
        (InLine::at(&proxy, &proxy.link("alice")), InLine::at(&proxy, &proxy.link("bob")));
    let mut hers = alice.events();
    hers.head().expect("a head");
    let mut his = bob.events();
    his.head().expect("a head");
    wait_until("both are in line", || proxy.metric("hublatch_login_queue") == 2);
    let begun = std::time::Instant::now();
    hers.close();
    wait_until("her place is given back", || proxy.metric("hublatch_login_queue") == 1);
    assert!(begun.elapsed() < Duration::from_secs(10), "long before a place that nobody gave back would end");
    gate.open();
    until_ready(&mut his);
    assert_eq!(bob.look().status, 302);
}

#[test]
fn before_a_hub_that_hangs_a_place_is_kept_and_it_is_asked_once() {
    let (hub, gate) = hanging_hub();
    let proxy = TestProxy::start(&hub);
    let mut alice = InLine::at(&proxy, &proxy.link("alice"));
    let page = alice.look();
    assert_eq!(page.status, 200);
    assert!(page.text().contains("do not answer at the moment. Your place is kept."), "{}", page.text());
    assert_eq!(redeemed(&proxy), 0);
    gate.open();
    assert_eq!(alice.look().status, 302);
    assert_eq!((hub.seen_at("/hub/api/user").len(), redeemed(&proxy)), (1, 1));
}

#[test]
fn before_a_hub_that_is_gone_the_browser_comes_again_by_itself_and_is_logged_in_when_it_is_back() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    hub.on("/hub/api/user", |_| Then::Close);
    let mut browser = proxy.browser();
    let link = proxy.link("alice");
    let down = browser.get(&link.target());
    assert_eq!(down.status, 503);
    assert!(down.headers.get("refresh").is_some() || down.text().contains("http-equiv"), "it comes again");
    hub.reply(
        "/hub/api/user",
        "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    );
    assert_eq!((browser.get(&link.target()).status, redeemed(&proxy)), (302, 1));
}

#[test]
fn the_confirm_page_comes_at_the_turn_and_its_button_keeps_the_place() {
    let (hub, gate) = slow_hub();
    let clock = standing_clock();
    let proxy = one_at_once(&hub, &clock).start();
    let _first = under_way(&proxy, &hub);
    let link = proxy.links().issue(&serde_json::json!({"username": "alice", "confirm": true}));
    let mut alice = InLine::at(&proxy, &link);
    clock.advance(Duration::from_secs(60));
    gate.open();
    let page = alice.look();
    assert!(page.text().contains("Continue as"), "{}", page.text());
    assert_eq!(redeemed(&proxy), 1, "nothing is consumed before the button");
    assert_eq!(alice.browser.press(&page).status, 302, "the link is kept, although its own life is over");
}

/// The page of the line asks again by itself, from this origin.
fn asked_again(alice: &mut InLine, dest: &str) -> Answer {
    let page = alice.page.clone();
    let own = format!("{}/hub/login", alice.browser.origin());
    let sending = alice.browser.navigate(&page).header("Sec-Fetch-Site", "same-origin");
    sending.header("Sec-Fetch-Dest", dest).header("Referer", &own).send()
}

#[test]
fn a_frame_that_no_listed_page_has_asked_for_is_asked_at_the_turn_as_well() {
    // The other one is the frame of a listed page, in which our own page has tried cookies and leads on.
    for (site, referer, is_asked) in
        [("cross-site", "https://evil.example/", true), ("same-origin", "https://hub.test/hub/login", false)]
    {
        let (hub, gate) = slow_hub();
        let section = "frame_ancestors = [\"https://lms.example\"]\ncookies = \"none\"";
        let builder = one_at_once(&hub, &standing_clock());
        let proxy = builder.public_url("https://hub.test").set("embed", section).start();
        let _first = under_way(&proxy, &hub);
        let link = proxy.link("alice");
        let mut browser = proxy.browser();
        let sending = browser.navigate(&link.target()).header("Sec-Fetch-Site", site);
        let page = sending.header("Sec-Fetch-Dest", "iframe").header("Referer", referer).send();
        assert!(page.text().contains("You are number"), "{}", page.text());
        let mut alice = InLine { page: link.target(), browser };
        assert!(asked_again(&mut alice, "iframe").text().contains("You are number"));
        gate.open();
        let answer = asked_again(&mut alice, "iframe");
        assert_eq!(answer.text().contains("Continue as"), is_asked, "{referer}: {}", answer.text());
        assert_eq!(
            (answer.status, redeemed(&proxy)),
            if is_asked { (200, 1) } else { (302, 2) },
            "{referer}"
        );
    }
}

fn from_the_portal<'a>(browser: &'a mut Browser, link: &Issued) -> Sending<'a> {
    let sending = browser.navigate(&link.target()).header("Sec-Fetch-Site", "cross-site");
    sending.header("Referer", "https://portal.example/")
}

#[test]
fn whoever_came_from_a_page_that_is_the_apps_no_more_is_asked_at_the_turn() {
    for (after, is_asked) in [("https://lms.example", true), ("https://portal.example", false)] {
        let (hub, gate) = slow_hub();
        let builder = one_at_once(&hub, &standing_clock());
        let from_portal = builder.clone().portal("origins = [\"https://portal.example\"]");
        let proxy = from_portal.start();
        let (holder, link) = (proxy.link("holder"), proxy.link("alice"));
        let (mut first, mut browser) = (proxy.browser(), proxy.browser());
        let _first = from_the_portal(&mut first, &holder).begin();
        hub.wait_for_path("/hub/login");
        let page = from_the_portal(&mut browser, &link).send();
        assert!(page.text().contains("You are number"), "{}", page.text());
        let mut alice = InLine { page: link.target(), browser };
        proxy.reload(&builder.portal(&format!("origins = [{after:?}]\ndeny_usernames = [\"zoe\"]"))).unwrap();
        gate.open();
        let answer = asked_again(&mut alice, "document");
        assert_eq!(answer.text().contains("Continue as"), is_asked, "{after}: {}", answer.text());
        assert_eq!((answer.status, redeemed(&proxy)), if is_asked { (200, 1) } else { (302, 2) }, "{after}");
    }
}

#[test]
fn a_confirmed_login_waits_in_line_without_being_asked_again() {
    let (hub, gate) = slow_hub();
    let proxy = one_at_once(&hub, &standing_clock()).start();
    let link = proxy.links().issue(&serde_json::json!({"username": "alice", "confirm": true}));
    let mut browser = proxy.browser();
    let confirm = browser.get(&link.target());
    let _first = under_way(&proxy, &hub);
    let answer = browser.press(&confirm);
    assert_eq!(answer.status, 303);
    assert!(!answer.location().contains(&link.token), "it was in no address, and is in none");
    let mut alice = InLine { page: answer.location().to_owned(), browser };
    assert_eq!(alice.look().status, 200);
    gate.open();
    assert_eq!(alice.look().status, 302);
}

#[test]
fn a_program_is_shown_no_page_and_waits_for_its_answer() {
    let (hub, gate) = slow_hub();
    let proxy = one_at_once(&hub, &standing_clock()).start();
    let _first = under_way(&proxy, &hub);
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    let mut waiting = browser.request("GET", &link.target()).header("Accept", "application/json").begin();
    assert!(waiting.is_silent_for(Duration::from_millis(2500)), "no page");
    gate.open();
    assert_eq!(waiting.answer_to("GET").expect("an answer").status, 302);
}

/// A hub that refuses the first login when `late` has passed, and accepts the second.
fn hub_with_a_queue(clock: &Arc<ManualClock>, late: Duration) -> (FakeHub, Arc<AtomicUsize>) {
    let (hub, logins) = (FakeHub::start(), Arc::<AtomicUsize>::default());
    let (clock, count) = (Arc::clone(clock), Arc::clone(&logins));
    hub.on("/hub/login", move |exchange| {
        exchange.read_body();
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            clock.advance(late);
            return exchange.answer("403 Forbidden", "expired");
        }
        exchange.send(IN);
        Then::Next
    });
    (hub, logins)
}

#[test]
fn an_assertion_that_expired_in_the_hubs_own_queue_is_sent_afresh_once_for_the_same_link() {
    let clock = standing_clock();
    let (hub, _) = hub_with_a_queue(&clock, Duration::from_secs(11));
    let proxy = TestProxy::before(&hub).clock(&clock).start();
    let link = proxy.link("alice");
    assert_eq!(proxy.browser().get(&link.target()).status, 302);
    let seen = hub.seen_at("/hub/login");
    let claims: Vec<_> =
        seen.iter().map(|seen| claims_of(seen.headers.get("x-hublatch-assertion").expect("one"))).collect();
    assert_eq!(claims.len(), 2);
    assert_eq!((&claims[0]["jti"], &claims[0]["sub"]), (&claims[1]["jti"], &claims[1]["sub"]));
    assert_eq!(claims[1]["iat"].as_i64().unwrap() - claims[0]["iat"].as_i64().unwrap(), 11);
    assert_eq!(redeemed(&proxy), 1);
}

#[test]
fn a_refusal_whose_assertion_was_good_is_not_tried_again_nor_is_the_second_one() {
    let clock = standing_clock();
    let (hub, logins) = hub_with_a_queue(&clock, Duration::from_secs(9));
    let proxy = TestProxy::before(&hub).clock(&clock).start();
    assert_eq!(proxy.browser().get(&proxy.link("alice").target()).status, 403);
    assert_eq!(logins.load(Ordering::SeqCst), 1);
    let always = Arc::<AtomicUsize>::default();
    let (count, time) = (Arc::clone(&always), Arc::clone(&clock));
    hub.on("/hub/login", move |exchange| {
        exchange.read_body();
        count.fetch_add(1, Ordering::SeqCst);
        time.advance(Duration::from_secs(60));
        exchange.answer("403 Forbidden", "expired")
    });
    let link = proxy.link("bob");
    assert_eq!(proxy.browser().get(&link.target()).status, 403);
    assert_eq!(always.load(Ordering::SeqCst), 2, "twice, and never a third time");
}

#[test]
fn the_places_of_half_a_class_that_closes_its_browsers_are_given_back_within_a_second() {
    let (hub, gate) = slow_hub();
    let proxy = one_at_once(&hub, &standing_clock()).start();
    let _first = under_way(&proxy, &hub);
    let mut line: Vec<InLine> = std::thread::scope(|scope| {
        let click = |number| {
            let proxy = &proxy;
            scope.spawn(move || InLine::at(proxy, &proxy.link(&format!("pupil{number}"))))
        };
        let clicks: Vec<_> = (0..20).map(click).collect();
        clicks.into_iter().map(|click| click.join().expect("a page")).collect()
    });
    let mut events: Vec<Wire> = line.iter_mut().map(InLine::events).collect();
    for wire in &mut events {
        wire.head().expect("a head");
    }
    wait_until("all are in line", || proxy.metric("hublatch_login_queue") == 20);
    let begun = std::time::Instant::now();
    for wire in events.drain(..10) {
        wire.close();
    }
    wait_until("their places are given back", || proxy.metric("hublatch_login_queue") == 10);
    // Within a second on an idle machine; long before a place that nobody gave back would end.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    gate.open();
    // Each is told its turn, and logs in; nobody waits for those who have gone.
    std::thread::scope(|scope| {
        for (mut browser, mut wire) in line.drain(10..).zip(events) {
            scope.spawn(move || {
                until_ready(&mut wire);
                assert_eq!(browser.look().status, 302);
            });
        }
    });
    assert_eq!(redeemed(&proxy), 11);
}

#[test]
fn the_logout_of_a_switch_counts_as_a_login_under_way() {
    let (hub, gate) = (FakeHub::start(), Gate::new());
    let waits = gate.clone();
    hub.on("/hub/logout", move |exchange| {
        waits.pass();
        exchange.answer("200 OK", "")
    });
    let proxy = one_at_once(&hub, &standing_clock()).start();
    let mut switching = proxy.browser();
    switching.set_cookie("jupyterhub-hub-login", "bob", "/hub/");
    let asked = switching.get(&proxy.link("alice").target());
    assert!(asked.text().contains("Continue as"), "{}", asked.text());
    std::thread::scope(|scope| {
        let pressed = scope.spawn(move || switching.press(&asked).status);
        hub.wait_for_path("/hub/logout");
        let probes = hub.seen_at("/hub/api/user").len();
        let mut other = InLine::at(&proxy, &proxy.link("carol"));
        assert_eq!(hub.seen_at("/hub/api/user").len(), probes, "nobody else asks the hub anything meanwhile");
        gate.open();
        assert_eq!(pressed.join().expect("an answer"), 302);
        assert_eq!(other.look().status, 302);
    });
}

#[test]
fn before_a_hub_that_hangs_one_question_is_under_way_and_nothing_is_consumed() {
    let (hub, gate) = hanging_hub();
    let proxy = one_at_once(&hub, &standing_clock()).start();
    let mut alice = InLine::at(&proxy, &proxy.link("alice"));
    let mut bob = InLine::at(&proxy, &proxy.link("bob"));
    assert_eq!(hub.seen_at("/hub/api/user").len(), 1, "bob waits, and the hub is not asked for him");
    assert_eq!(redeemed(&proxy), 0);
    gate.open();
    assert_eq!((alice.look().status, bob.look().status), (302, 302), "nobody's place was taken away");
    assert_eq!(redeemed(&proxy), 2);
}

/// One login after the other of browsers that have never been here.
fn log_in_newcomers(proxy: &TestProxy, count: usize) {
    for number in 0..count {
        let answer = proxy.browser().get(&proxy.link(&format!("user-{number}")).target());
        assert_eq!((answer.status, answer.location()), (302, "/hub/home"));
    }
}

#[test]
fn in_a_burst_the_hub_is_asked_only_about_browsers_that_it_may_know() {
    let (hub, gate) = slow_hub();
    gate.open();
    let proxy = TestProxy::before(&hub).start();
    log_in_newcomers(&proxy, 30);
    let asked = hub.seen_at("/hub/api/user").len();
    assert!((1..30).contains(&asked), "{asked} times");
    for cookie in ["jupyterhub-hub-login", "__Host-jupyterhub-session-id", "jupyterhub-session-id"] {
        let (before, mut known) = (hub.seen_at("/hub/api/user").len(), proxy.browser());
        known.set_cookie(cookie, "x", "/");
        known.get(&proxy.link("known").target());
        assert_eq!(hub.seen_at("/hub/api/user").len(), before + 1, "{cookie}");
    }
}

#[test]
fn a_login_that_a_proxy_answers_for_a_hub_that_is_gone_proves_nothing_to_the_next() {
    let (hub, gone) = (FakeHub::start(), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    for path in ["/hub/login", "/hub/api/user"] {
        let gone = Arc::clone(&gone);
        hub.on(path, move |exchange| {
            exchange.read_body();
            match (gone.load(Ordering::SeqCst), path) {
                (true, _) => exchange.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
                (false, "/hub/login") => exchange.send(IN),
                (false, _) => {
                    return exchange.answer("403 Forbidden\r\nContent-Type: application/json", "{}");
                }
            }
            Then::Next
        });
    }
    let proxy = TestProxy::before(&hub).start();
    log_in_newcomers(&proxy, 3);
    gone.store(true, Ordering::SeqCst);
    for number in 0..5 {
        let status = proxy.browser().get(&proxy.link(&format!("late-{number}")).target()).status;
        assert_eq!(status, 503);
    }
    assert!(redeemed(&proxy) <= 3 + 1, "whoever came first at the most");
}
