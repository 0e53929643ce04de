//! How much there may be at once, of connections, tunnels and requests; above it the answer is quick, and counted.

use crate::support::proxy::wait_until;
use crate::support::requests::{get, websocket};
use crate::support::{FakeHub, Gate, TestProxy, Then, Wire};
use crate::tls::certificates::Authority;
use crate::tls::{H1, pump};

#[test]
fn a_peer_has_so_many_connections_and_a_trusted_proxy_any_number() {
    let hub = FakeHub::start();
    for (trusted, third) in [("[]", false), ("[\"127.0.0.1\"]", true)] {
        let proxy = TestProxy::before(&hub)
            .set("limits", "connections_per_peer = 2")
            .set("public", &format!("trusted_proxies = {trusted}"))
            .start();
        let mut open: Vec<Wire> = (0..2).map(|_| proxy.connect()).collect();
        assert!(open.iter_mut().all(|wire| wire.ask(get("/x", &[])).status == 200));
        let mut wire = proxy.connect();
        let _sent = wire.try_send(get("/x", &[]));
        assert_eq!(wire.answer_to("GET").is_some(), third, "{trusted}");
        let refused = proxy.metric("hublatch_connections_refused_total{reason=\"peer_limit\"}");
        assert_eq!(refused, i64::from(!third));
        open.pop().unwrap().close();
        if !third {
            // A place is free again as soon as its connection has ended.
            wait_until("a place", || {
                let mut wire = proxy.connect();
                wire.try_send(get("/x", &["Connection: close"])).is_ok() && wire.answer_to("GET").is_some()
            });
        }
    }
}

#[test]
fn behind_the_proxy_protocol_each_client_is_a_peer() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub)
        .set("limits", "connections_per_peer = 1")
        .set("public", "trusted_proxies = [\"127.0.0.1\"]\nproxy_protocol = true")
        .start();
    let connect = |client: &str| {
        let mut wire = proxy.connect();
        let header = format!("PROXY TCP6 {client} ::1 1 2\r\n");
        let _sent = wire.try_send([header.as_bytes(), &get("/x", &[])].concat());
        let answer = wire.answer_to("GET").map(|answer| answer.status);
        (wire, answer)
    };
    let (_one, first) = connect("2001:db8:1::1");
    let (_two, second) = connect("2001:db8:1::2");
    let (_three, third) = connect("2001:db8:2::1");
    assert_eq!((first, second, third), (Some(200), None, Some(200)));
}

#[test]
fn above_the_limit_a_websocket_is_told_to_wait() {
    let hub = FakeHub::start();
    hub.on("/user/alice/socket", |exchange| {
        exchange
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        exchange.wire.stop_recording();
        while exchange.wire.fill() {}
        Then::Close
    });
    let proxy = TestProxy::before(&hub).set("limits", "tunnels = 1").start();
    let ask = || {
        let mut wire = proxy.connect();
        wire.send(websocket("/user/alice/socket", &[]));
        let status = wire.head().expect("an answer").line;
        (wire, status)
    };
    let (one, first) = ask();
    assert_eq!(first, "HTTP/1.1 101 Switching Protocols");
    wait_until("the tunnel", || proxy.metric("hublatch_tunnels") == 1);
    let (_two, second) = ask();
    assert_eq!(second, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(hub.seen_at("/user/alice/socket").len(), 1, "the hub was not asked");
    one.close();
    wait_until("the tunnel's end", || proxy.metric("hublatch_tunnels") == 0);
    assert_eq!(ask().1, "HTTP/1.1 101 Switching Protocols");
}

/// A hub that answers `/slow` when the gate is open.
fn slow() -> (FakeHub, Gate) {
    let (hub, gate) = (FakeHub::start(), Gate::new());
    let waiting = gate.clone();
    hub.on("/slow", move |exchange| {
        waiting.pass();
        exchange.answer("200 OK", "slow")
    });
    (hub, gate)
}

#[test]
fn a_request_waits_for_a_connection_to_the_hub_that_becomes_free() {
    let (hub, gate) = slow();
    let limits = "upstream_connections = 1\nupstream_idle_connections = 0\nupstream_connect_timeout = \"1m\"";
    let proxy = TestProxy::before(&hub).set("limits", limits).start();
    let mut wires: Vec<Wire> = (0..3).map(|_| proxy.connect()).collect();
    for wire in &mut wires {
        wire.send(get("/slow", &[]));
    }
    hub.wait_for_path("/slow");
    assert_eq!(hub.connections(), 1);
    gate.open();
    for wire in &mut wires {
        assert_eq!(wire.answer_to("GET").expect("an answer").text(), "slow");
    }
    assert_eq!(proxy.metric("hublatch_upstream_busy_total"), 0);
}

#[test]
fn where_too_many_wait_the_next_one_is_told_so_at_once() {
    let (hub, gate) = slow();
    let limits = "upstream_connections = 1\nupstream_queue = 0\nupstream_connect_timeout = \"10m\"";
    let proxy = TestProxy::before(&hub).set("limits", limits).start();
    let mut one = proxy.connect();
    one.send(get("/slow", &[]));
    hub.wait_for_path("/slow");
    assert_eq!(proxy.connect().ask(get("/x", &[])).status, 503);
    assert_eq!(proxy.metric("hublatch_upstream_busy_total"), 1);
    gate.open();
    assert_eq!(one.answer_to("GET").expect("an answer").status, 200);
    assert_eq!(proxy.connect().ask(get("/x", &[])).status, 200, "over the connection that is free now");
}

#[test]
fn who_waits_in_vain_is_told_so_in_time() {
    let (hub, gate) = slow();
    let limits = "upstream_connections = 1\nupstream_connect_timeout = \"1s\"";
    let proxy = TestProxy::before(&hub).set("limits", limits).start();
    let mut one = proxy.connect();
    one.send(get("/slow", &[]));
    hub.wait_for_path("/slow");
    assert_eq!(proxy.connect().ask(get("/x", &[])).status, 503);
    gate.open();
    assert_eq!(one.answer_to("GET").expect("an answer").status, 200);
}

#[test]
fn handshakes_requests_and_the_process_are_counted() {
    let hub = FakeHub::start();
    let authority = Authority::new("public");
    let builder =
        TestProxy::before(&hub).public_url("https://hub.test").set("public", &authority.files().toml());
    let proxy = builder.set("limits", "handshake_timeout = \"2s\"").start();
    let mut wire = pump::http1(proxy.address(), &authority.client(H1, None));
    assert_eq!(wire.ask(get("/x", &[])).status, 200);
    let stranger = Authority::new("another");
    assert!(pump::connect(proxy.address(), &stranger.client(H1, None)).is_err());
    assert!(proxy.connect().is_ended(), "it says nothing for too long");
    // Each is counted a moment after its connection has ended.
    for labels in [
        "result=\"ok\",version=\"1.3\",protocol=\"http/1.1\"",
        "result=\"timeout\",version=\"\",protocol=\"\"",
        "result=\"failed\",version=\"\",protocol=\"\"",
    ] {
        let line = format!("hublatch_handshakes_total{{{labels}}} 1\n");
        wait_until(&line, || proxy.links().call("GET", "/metrics", &[], "").text().contains(&line));
    }
    assert_eq!(proxy.metric("hublatch_request_seconds_count"), 1);
    assert_eq!(proxy.metric("hublatch_request_seconds_bucket{le=\"+Inf\"}"), 1);
    assert_eq!(proxy.metric("hublatch_connections_accepted_total"), 3);
    let text = proxy.links().call("GET", "/metrics", &[], "").text();
    for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        assert!(line.is_some_and(|value| value.parse::<f64>().unwrap() >= 0.0), "{name}: {text}");
    }
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1);
}

#[test]
fn an_ipv6_wildcard_takes_both_families_unless_the_other_is_named_too() {
    let hub = FakeHub::start();
    let listening = |lines: &str| TestProxy::before(&hub).set("public", lines).start();
    let both = listening("listen = \"[::]:0\"");
    let port = both.address().port();
    for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        let mut wire = Wire::connect(address.parse().unwrap());
        assert_eq!(wire.ask(get("/x", &[])).status, 200, "{address}");
    }
    // A client of IPv4 has the address that it has everywhere else.
    assert!(hub.seen_at("/x").iter().any(|seen| seen.headers.get("x-real-ip") == Some("127.0.0.1")));
    let port = crate::support::hub::free_port();
    let two = listening(&format!("listen = [\"127.0.0.1:{port}\", \"[::]:{port}\"]"));
    assert!(two.addresses().iter().all(|address| Wire::connect(*address).ask(get("/x", &[])).status == 200));
}

#[test]
fn a_unix_socket_is_for_its_owner_and_group_unless_the_configuration_says_otherwise() {
    use std::os::unix::fs::PermissionsExt as _;
    let (hub, folder) = (FakeHub::start(), tempfile::tempdir().unwrap());
    let path = folder.path().join("public.sock");
    for (line, mode) in [("", 0o660), ("socket_mode = \"0600\"", 0o600), ("socket_mode = \"666\"", 0o666)] {
        let listen = format!("listen = [\"127.0.0.1:0\", \"unix:{}\"]\n{line}", path.display());
        let config = TestProxy::before(&hub).set("public", &listen).config();
        let running =
            hublatch::app::start(&config, hublatch::app::Dependencies::default()).expect("it starts");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{line}");
        running.stop();
    }
}

#[test]
fn idle_connections_of_one_peer_do_not_shut_out_a_health_check_or_an_app() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("limits", "connections_per_peer = 20").start();
    let _idle: Vec<Wire> = (0..20).map(|_| Wire::connect(proxy.management())).collect();
    for _ in 0..100 {
        let mut wire = Wire::connect(proxy.management());
        assert_eq!(wire.ask("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
    }
    proxy.link("alice");
    // What only holds a connection of the reserve does not hold it for long.
    assert!(Wire::connect(proxy.management()).is_ended());
}
