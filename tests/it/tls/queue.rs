//! The line of logins over HTTP/2, where a browser can ask for events and never take one.

use std::time::Duration;

use h2::client::ResponseFuture;

use super::http2::{Answer, Http2, get};
use super::{H2, Secure};
use crate::support::proxy::{standing_clock, wait_until};
use crate::support::{FakeHub, Issued};

const IN: &str = "HTTP/1.1 302 Found\r\nLocation: /hub/home\r\nSet-Cookie: jupyterhub-hub-login=x; Path=/hub/\r\nContent-Length: 0\r\n\r\n";
const CLICK: [(&str, &str); 4] = [
    ("accept", "text/html"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-site", "none"),
];
const EVENTS: [(&str, &str); 4] = [
    ("accept", "text/event-stream"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-dest", "empty"),
    ("sec-fetch-site", "same-origin"),
];

/// The headers of a request with the cookies that `page` has set.
fn with_cookies<'a>(headers: &[(&'a str, &'a str)], cookies: &'a str) -> Vec<(&'a str, &'a str)> {
    headers.iter().copied().chain([("cookie", cookies)]).collect()
}

fn cookies_of(page: &Answer) -> String {
    let lines = page.headers.get_all("set-cookie").iter();
    let pairs = lines.map(|line| line.to_str().unwrap().split(';').next().unwrap().to_owned());
    pairs.collect::<Vec<_>>().join("; ")
}

/// A browser in line, and its cookies.
fn in_line(secure: &Secure, link: &Issued) -> (Http2, String) {
    let mut browser = secure.http2();
    let page = browser.ask(get(&link.target(), &CLICK));
    assert!(page.text().contains("You are number"), "{}", page.text());
    (browser, cookies_of(&page))
}

/// Waits for the event that tells the turn, and how many seconds it took.
fn until_ready(browser: &mut Http2, link: &Issued, cookies: &str) {
    browser.run_within(Duration::from_secs(20), async |sender| {
        let headers = with_cookies(&EVENTS, cookies);
        let (response, _) =
            sender.ready().await.unwrap().send_request(get(&link.target(), &headers), true).unwrap();
        let mut events = response.await.unwrap().into_body();
        loop {
            let event = events.data().await.expect("more").expect("an event");
            events.flow_control().release_capacity(event.len()).unwrap();
            if event.starts_with(b"data: {\"ready\":true") {
                return;
            }
        }
    });
}

#[test]
fn events_that_are_asked_for_and_not_taken_keep_nobody_from_logging_in() {
    let hub = FakeHub::start();
    let gate = hub.reply_later("/hub/login", IN);
    let secure = Secure::with(&hub, |builder| {
        builder.set("limits", "logins_at_once = \"2\"").clock(&standing_clock())
    });
    // All that may be under way at once.
    let mut holders = secure.http2();
    let links = ["holder1", "holder2"].map(|name| secure.proxy.link(name));
    let held = holders.run(async |mut sender| {
        let mut held: Vec<ResponseFuture> = Vec::new();
        for link in &links {
            sender = sender.ready().await.unwrap();
            held.push(sender.send_request(get(&link.target(), &CLICK), true).unwrap().0);
        }
        held
    });
    holders.run(async |_| {
        while hub.seen_at("/hub/login").len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let link = secure.proxy.link("mallory");
    let (_page, cookies) = in_line(&secure, &link);
    let mut unread = h2::client::Builder::new();
    unread.initial_window_size(0);
    let mut unread = Http2::with(secure.proxy.address(), &secure.client(H2), &unread);
    let streams = unread.run(async |mut sender| {
        let mut streams = Vec::new();
        for _ in 0..8 {
            sender = sender.ready().await.unwrap();
            let headers = with_cookies(&EVENTS, &cookies);
            let (response, _) = sender.send_request(get(&link.target(), &headers), true).unwrap();
            streams.push(response.await.unwrap().into_body());
        }
        streams
    });
    wait_until("all are in line", || secure.proxy.metric("hublatch_login_queue") == 8);
    let victim = secure.proxy.link("alice");
    let (mut browser, cookies) = in_line(&secure, &victim);
    gate.open();
    holders.run(async |_| {
        for response in held {
            assert_eq!(response.await.unwrap().status(), 302);
        }
    });
    until_ready(&mut browser, &victim, &cookies);
    let answer = browser.ask(get(&victim.target(), &with_cookies(&CLICK, &cookies)));
    assert_eq!(answer.status, 302);
    drop(streams);
}
