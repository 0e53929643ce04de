//! One client cannot take what all share: connections to the hub, tunnels, memory for bodies. What it drips costs the hub
//! nothing.

use std::time::Duration;

use crate::support::proxy::{Builder, wait_until};
use crate::support::requests::{chunk, get, request, sized, websocket};
use crate::support::{FakeHub, Gate, TestProxy, Then, Wire};

/// A front that names its clients.
fn behind_a_front(hub: &FakeHub) -> Builder {
    TestProxy::before(hub).set("public", "trusted_proxies = [\"127.0.0.1\"]")
}

fn of(client: &str) -> String {
    format!("X-Forwarded-For: {client}")
}

const ATTACKER: &str = "192.0.2.1";
const OTHER: &str = "192.0.2.2";

fn counted(proxy: &TestProxy, limit: &str) -> i64 {
    proxy.metric(&format!("hublatch_clients_limited_total{{reason=\"{limit}\"}}"))
}

#[test]
fn the_hub_is_asked_when_a_body_or_its_first_64_kib_are_there() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let body = vec![b'x'; 100_000];
    let mut dripping: Vec<Wire> = ["Content-Length: 100000", "Transfer-Encoding: chunked"]
        .iter()
        .map(|framing| {
            let mut wire = proxy.connect();
            wire.send(request("PUT", "/drip", &[framing]));
            wire.send(if framing.starts_with('C') { body[..1000].to_vec() } else { chunk(&body[..1000]) });
            wire
        })
        .collect();
    assert_eq!(proxy.connect().ask(get("/x", &[])).status, 200);
    assert_eq!((hub.connections(), hub.seen_at("/drip").len()), (1, 0), "the hub has only seen /x");
    hub.on("/drip", |exchange| {
        exchange.read_body();
        exchange.answer("200 OK", "got it")
    });
    dripping[0].send(&body[1000..70_000]);
    hub.wait_for_path("/drip");
    dripping[0].send(&body[70_000..]);
    dripping[1].send([chunk(&body[1000..]), b"0\r\n\r\n".to_vec()].concat());
    for wire in &mut dripping {
        assert_eq!(wire.answer_to("PUT").expect("an answer").text(), "got it");
    }
    assert!(hub.seen_at("/drip").iter().all(|seen| seen.complete && seen.body == body));
}

#[test]
fn one_client_may_have_the_hub_asked_before_few_of_its_bodies_have_begun() {
    let hub = FakeHub::start();
    hub.on("/x", |exchange| {
        exchange.read_body();
        exchange.answer("200 OK", "got it")
    });
    let proxy = behind_a_front(&hub).set("limits", "upstream_connections_per_client = 16").start();
    let expect = |client: &str, path: &str| {
        let mut wire = proxy.connect();
        wire.send(request("PUT", path, &["Expect: 100-continue", "Content-Length: 5", &of(client)]));
        assert!(wire.head().expect("an interim answer").line.contains(" 100 "));
        wire
    };
    let mut first = expect(ATTACKER, "/x");
    hub.wait_for_path("/x");
    let mut second = expect(ATTACKER, "/second");
    let mut other = expect(OTHER, "/other");
    hub.wait_for_path("/other");
    assert_eq!(hub.seen_at("/second").len(), 0);
    for wire in [&mut first, &mut second, &mut other] {
        wire.send("hello");
        assert_eq!(wire.answer_to("PUT").expect("an answer").status, 200);
    }
}

#[test]
fn one_client_has_so_many_requests_at_the_hub_and_others_have_theirs() {
    let hub = FakeHub::start();
    let gate = hub.slow();
    let limits = "upstream_connections_per_client = 2\nupstream_connect_timeout = \"200ms\"";
    let proxy = behind_a_front(&hub).set("limits", limits).start();
    let mut open: Vec<Wire> = (0..2).map(|_| proxy.connect()).collect();
    for wire in &mut open {
        wire.send(get("/slow", &[&of(ATTACKER)]));
    }
    hub.wait_for(|seen| seen.iter().filter(|seen| seen.path() == "/slow").count() == 2);
    let refused = proxy.connect().ask(get("/x", &[&of(ATTACKER)]));
    assert_eq!((refused.status, counted(&proxy, "upstream_connections_per_client")), (503, 1));
    assert_eq!(proxy.connect().ask(get("/x", &[&of(OTHER)])).status, 200);
    // Somebody at the same address can log in all the same.
    let link = proxy.link("alice");
    let login = proxy.browser().navigate(&link.target()).header("X-Forwarded-For", ATTACKER).send();
    assert_eq!(login.status, 302, "{}", login.text());
    gate.open();
    for wire in &mut open {
        assert_eq!(wire.answer_to("GET").expect("an answer").text(), "slow");
    }
    assert_eq!(proxy.connect().ask(get("/x", &[&of(ATTACKER)])).status, 200, "it has its share back");
}

#[test]
fn whoever_has_no_connection_left_holds_no_turn_at_the_hub_and_keeps_the_link() {
    let hub = FakeHub::start();
    let gate = hub.slow();
    let questions = Gate::new();
    let waits = questions.clone();
    hub.on("/hub/api/user", move |exchange| {
        let client = exchange.seen.headers.get("x-forwarded-for").unwrap_or_default();
        if client.contains(ATTACKER) {
            waits.pass();
        }
        exchange.answer("403 Forbidden\r\nContent-Type: application/json", "{}")
    });
    let limits =
        "upstream_connections_per_client = 2\nupstream_connect_timeout = \"1s\"\nlogins_at_once = \"2\"";
    let proxy = behind_a_front(&hub).set("limits", limits).start();
    // Two of its requests and a login are at the hub: that is all it may have.
    let mut open: Vec<Wire> = (0..2).map(|_| proxy.connect()).collect();
    for wire in &mut open {
        wire.send(get("/slow", &[&of(ATTACKER)]));
    }
    hub.wait_for(|seen| seen.iter().filter(|seen| seen.path() == "/slow").count() == 2);
    let (first, second) = (proxy.link("alice"), proxy.link("bob"));
    let mut alice = proxy.browser();
    let _asking = alice.navigate(&first.target()).header("X-Forwarded-For", ATTACKER).begin();
    hub.wait_for_path("/hub/api/user");
    let mut bob = proxy.browser();
    let page = bob.navigate(&second.target()).header("X-Forwarded-For", ATTACKER).send();
    assert!(page.status == 200 && page.text().contains("You are number"), "{}", page.text());
    assert_eq!(proxy.metric("hublatch_logins_in_flight"), 1, "his turn is given back");
    let other = proxy.link("carol");
    let login = proxy.browser().navigate(&other.target()).header("X-Forwarded-For", OTHER).send();
    assert_eq!(login.status, 302, "{}", login.text());
    gate.open();
    questions.open();
    assert!(open.iter_mut().all(|wire| wire.answer_to("GET").expect("an answer").status == 200));
    let login = bob.navigate(&second.target()).header("X-Forwarded-For", ATTACKER).send();
    assert_eq!(login.status, 302, "{}", login.text());
    assert!(proxy.audit().iter().all(|line| line["reason"] != "hub_unavailable"));
}

#[test]
fn requests_above_the_share_wait_for_one_that_ends_and_only_so_many() {
    let hub = FakeHub::start();
    let gate = hub.slow();
    let limits = "upstream_connections_per_client = 1\nupstream_queue = 3\nupstream_connect_timeout = \"1m\"";
    let proxy = TestProxy::before(&hub).set("limits", limits).start();
    let mut wires: Vec<Wire> = (0..5).map(|_| proxy.connect()).collect();
    for wire in &mut wires {
        wire.send(get("/slow", &[]));
    }
    // One is at the hub, three wait.
    wait_until("one is refused", || counted(&proxy, "upstream_connections_per_client") == 1);
    hub.wait_for_path("/slow");
    assert_eq!(hub.connections(), 1);
    gate.open();
    let statuses = wires.iter_mut().map(|wire| wire.answer_to("GET").expect("an answer").status);
    let (served, refused): (Vec<_>, Vec<_>) = statuses.partition(|status| *status == 200);
    assert_eq!((served.len(), refused), (4, vec![503]));
}

#[test]
fn logins_keep_connections_that_nothing_else_takes() {
    let hub = FakeHub::start();
    let gate = hub.slow();
    let limits = "upstream_connections = 20\nupstream_queue = 0\nupstream_idle_connections = 0";
    let proxy = TestProxy::before(&hub).set("limits", limits).start();
    let mut open: Vec<Wire> = (0..19).map(|_| proxy.connect()).collect();
    for wire in &mut open {
        wire.send(get("/slow", &[]));
    }
    hub.wait_for(|seen| seen.iter().filter(|seen| seen.path() == "/slow").count() == 19);
    assert_eq!(proxy.connect().ask(get("/x", &[])).status, 503);
    let login = proxy.browser().get(&proxy.link("alice").target());
    assert_eq!(login.status, 302, "{}", login.text());
    gate.open();
    assert!(open.iter_mut().all(|wire| wire.answer_to("GET").expect("an answer").status == 200));
}

#[test]
fn one_client_has_so_many_tunnels_and_others_have_theirs() {
    let hub = FakeHub::start();
    hub.on("/socket", |exchange| {
        exchange
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        exchange.wire.stop_recording();
        while exchange.wire.fill() {}
        Then::Close
    });
    let proxy = behind_a_front(&hub).set("limits", "tunnels_per_client = 2").start();
    let ask = |client: &str| {
        let mut wire = proxy.connect();
        wire.send(websocket("/socket", &[&of(client)]));
        let line = wire.head().expect("an answer").line;
        (wire, line)
    };
    let (one, other) = (ask(ATTACKER), ask(ATTACKER));
    assert!(one.1.contains(" 101 ") && other.1.contains(" 101 "), "{} {}", one.1, other.1);
    assert_eq!(ask(ATTACKER).1, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(counted(&proxy, "tunnels_per_client"), 1);
    assert_eq!(hub.seen_at("/socket").len(), 2, "the hub was not asked");
    assert!(ask(OTHER).1.contains(" 101 "));
    one.0.close();
    wait_until("the tunnel's end", || ask(ATTACKER).1.contains(" 101 "));
}

#[test]
fn one_client_holds_a_quarter_of_what_all_may_hold() {
    let hub = FakeHub::start();
    let proxy = behind_a_front(&hub).set("limits", "held_bytes = \"1MiB\"").start();
    let part = vec![b'x'; 60_000];
    let hold = |method: &str, client: &str| {
        let mut wire = proxy.connect();
        wire.send(request(method, "/held", &["Transfer-Encoding: chunked", &of(client)]));
        wire.send(chunk(&part));
        wire
    };
    // 240,000 bytes of 262,144; whatever is held for, it is one sum.
    let held: Vec<Wire> = ["DELETE", "PUT", "OPTIONS", "POST"].map(|method| hold(method, ATTACKER)).into();
    let mut refused = hold("DELETE", ATTACKER);
    assert_eq!(refused.answer_to("DELETE").expect("an answer").status, 503);
    assert_eq!(counted(&proxy, "held_bytes"), 1);
    let other = sized("PUT", "/held", &[&of(OTHER)], &part);
    assert_eq!(proxy.connect().ask(other).status, 200);
    drop(held);
    wait_until("the bytes that were held", || {
        proxy.connect().ask(sized("PUT", "/held", &[&of(ATTACKER)], &part)).status == 200
    });
}

#[test]
fn a_body_that_drips_is_cut_off_although_it_never_stalls() {
    let hub = FakeHub::start();
    let limits = "body_stall_timeout = \"300ms\"\nbody_min_rate = \"1KiB\"";
    let proxy = TestProxy::before(&hub).set("limits", limits).start();
    let mut wire = proxy.connect();
    wire.send(request("PUT", "/x", &["Transfer-Encoding: chunked"]));
    let mut pieces = 0;
    while wire.is_silent_for(Duration::from_millis(20)) && wire.try_send(chunk("x")).is_ok() {
        pieces += 1;
        assert!(pieces < 1000, "the body still goes on");
    }
    let answer = wire.answer_to("PUT").expect("an answer");
    assert_eq!(answer.status, 408, "{}", answer.text());
    assert_eq!(hub.seen().len(), 0);
}

#[test]
fn a_broken_chunk_is_its_senders_fault() {
    let hub = FakeHub::start();
    hub.on("/late", |exchange| {
        exchange.read_body();
        Then::Close
    });
    let proxy = TestProxy::start(&hub);
    let begin = chunk(vec![b'x'; 70_000]);
    for (path, bytes) in [("/early", b"zz\r\n".to_vec()), ("/late", [&begin[..], b"zz\r\n"].concat())] {
        let mut wire = proxy.connect();
        wire.send(request("PUT", path, &["Transfer-Encoding: chunked"]));
        let _gone = wire.try_send(bytes);
        let answer = wire.answer_to("PUT").expect("an answer");
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
    }
    assert_eq!(hub.seen_at("/early").len(), 0);
    assert_eq!(proxy.metric("hublatch_upstream_errors_total{reason=\"exchange\"}"), 0);
}
