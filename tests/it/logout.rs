//! Logging out through hublatch: the hub does it, the session's tunnels end, and the browser goes where it is told.

use crate::support::requests::websocket;
use crate::support::{Browser, FakeHub, TestProxy, Then, Wire, hub_pages};

const AFTER: &str = "after_logout_url = \"https://portal.example/bye?x=1\"";
const PORTAL: &str = "https://portal.example/bye?x=1";

/// A hub that agrees to every WebSocket.
fn sockets() -> FakeHub {
    let hub = FakeHub::start();
    hub.on("/user/alice/socket", |exchange| {
        exchange
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        while exchange.wire.fill() {}
        Then::Close
    });
    hub
}

/// The same, where every logout is one of somebody who is logged in, and ends the session as JupyterHub does.
fn hub() -> FakeHub {
    let hub = sockets();
    hub.on("/hub/logout", |exchange| {
        let head = "200 OK\r\nContent-Type: text/html\r\n\
                    Set-Cookie: jupyterhub-hub-login=\"\"; expires=Sat, 01 Jan 2022 00:00:00 GMT; Path=/hub/\r\n\
                    Set-Cookie: jupyterhub-session-id=\"\"; Path=/";
        exchange.answer(head, "Successfully logged out.")
    });
    hub
}

fn alice(proxy: &TestProxy) -> Browser {
    let mut browser = proxy.browser();
    browser.set_cookie("jupyterhub-hub-login", "alice", "/hub/");
    browser.set_cookie("jupyterhub-session-id", "0f", "/");
    browser
}

/// A tunnel with these cookies.
fn tunnel(proxy: &TestProxy, cookies: &str) -> Wire {
    let mut wire = proxy.connect();
    wire.send(websocket("/user/alice/socket", &[&format!("Cookie: {cookies}")]));
    assert_eq!(wire.head().expect("an answer").line, "HTTP/1.1 101 Switching Protocols");
    wire
}

#[test]
fn a_logout_leads_to_the_app_and_keeps_the_hubs_cookies() {
    let hub = hub();
    let proxy = TestProxy::before(&hub).set("login", AFTER).start();
    let answer = alice(&proxy).get("/hub/logout?all=1");
    assert_eq!((answer.status, answer.location(), answer.text().as_str()), (303, PORTAL, ""));
    assert_eq!(answer.headers.all("set-cookie").len(), 2, "{answer:?}");
    assert_eq!(answer.headers.get("cache-control"), Some("no-store"));
    let asked = hub.only("/hub/logout");
    assert_eq!((asked.method.as_str(), asked.query()), ("GET", "all=1"));
    assert_eq!(hub_pages::cookie(&asked, "jupyterhub-session-id"), Some("0f"));
}

#[test]
fn a_redirect_of_the_hub_leads_to_the_app_too() {
    let hub = hub();
    hub.on("/hub/logout", |exchange| exchange.answer("302 Found\r\nLocation: /hub/login", ""));
    let proxy = TestProxy::before(&hub).set("login", AFTER).start();
    assert_eq!(alice(&proxy).get("/hub/logout").location(), PORTAL);
}

#[test]
fn a_logout_that_the_hub_refuses_is_the_hubs_to_tell() {
    for status in ["403 Forbidden", "500 Internal Server Error"] {
        let hub = hub();
        hub.on("/hub/logout", move |exchange| exchange.answer(status, "no"));
        let proxy = TestProxy::before(&hub).set("login", AFTER).start();
        let mut socket = tunnel(&proxy, "jupyterhub-session-id=0f");
        let answer = alice(&proxy).get("/hub/logout");
        assert_eq!(answer.text(), "no", "{status}");
        assert!(status.starts_with(&answer.status.to_string()));
        assert_eq!(proxy.metric("hublatch_tunnels"), 1, "{status}");
        socket.end();
    }
}

#[test]
fn without_an_address_the_hubs_page_stays() {
    let hub = hub();
    let proxy = TestProxy::start(&hub);
    let answer = alice(&proxy).get("/hub/logout");
    assert_eq!((answer.status, answer.text().as_str()), (200, "Successfully logged out."));
}

#[test]
fn a_script_and_another_method_get_the_hubs_answer() {
    let hub = hub();
    let proxy = TestProxy::before(&hub).set("login", AFTER).start();
    let mut browser = alice(&proxy);
    let fetch = browser
        .request("GET", "/hub/logout")
        .header("Sec-Fetch-Mode", "cors")
        .header("Sec-Fetch-Dest", "empty")
        .send();
    assert_eq!(fetch.status, 200);
    assert_eq!(browser.request("POST", "/hub/logout").body("").send().status, 200);
    assert_eq!(browser.get("/hub/logout/").status, 200, "another path");
}

#[test]
fn every_logout_closes_the_tunnels_of_its_session_and_no_others() {
    for lines in ["", AFTER] {
        let hub = hub();
        let proxy = TestProxy::before(&hub).set("login", lines).start();
        let mut hers =
            [tunnel(&proxy, "jupyterhub-session-id=0f"), tunnel(&proxy, "a=1; jupyterhub-session-id=0f")];
        let _others = tunnel(&proxy, "jupyterhub-session-id=0e");
        assert!(alice(&proxy).get("/hub/logout").status < 400);
        for socket in &mut hers {
            while socket.fill() {}
        }
        crate::support::proxy::wait_until("the tunnels", || proxy.metric("hublatch_tunnels") == 1);
    }
}

#[test]
fn a_logout_without_an_answer_ends_nothing() {
    let hub = hub();
    hub.on("/hub/logout", |_| Then::Close);
    let proxy = TestProxy::before(&hub).set("login", AFTER).start();
    let mut socket = tunnel(&proxy, "jupyterhub-session-id=0f");
    assert_eq!(alice(&proxy).get("/hub/logout").status, 502);
    assert_eq!(proxy.metric("hublatch_tunnels"), 1);
    socket.end();
}

#[test]
fn whoever_merely_sends_the_id_of_a_session_does_not_end_its_tunnels() {
    for lines in ["", AFTER] {
        let hub = sockets();
        let proxy = TestProxy::before(&hub).set("login", lines).start();
        let mut hers = tunnel(&proxy, "jupyterhub-session-id=0f");
        for method in ["GET", "POST", "HEAD"] {
            let mut stranger = proxy.browser();
            stranger.set_cookie("jupyterhub-session-id", "0f", "/");
            assert!(stranger.request(method, "/hub/logout").send().status < 400);
            assert_eq!(proxy.metric("hublatch_tunnels"), 1, "{method}");
        }
        assert!(alice(&proxy).get("/hub/logout").status < 400);
        while hers.fill() {}
        crate::support::proxy::wait_until("the tunnel", || proxy.metric("hublatch_tunnels") == 0);
    }
}

#[test]
fn the_logout_lies_below_the_base_url() {
    let hub = FakeHub::start();
    hub.accounts(|accounts| accounts.base_url = "/jupyter/".to_owned());
    let proxy = TestProxy::before(&hub).base_url("/jupyter/").set("login", AFTER).start();
    assert_eq!(proxy.browser().get("/jupyter/hub/logout").location(), PORTAL);
    assert_eq!(proxy.browser().get("/hub/logout").status, 200);
}
