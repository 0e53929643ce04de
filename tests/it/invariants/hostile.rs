//! Whatever a peer sends: no panic, no end of waiting.

use super::*;

#[test]
fn every_wait_size_and_count_has_a_limit_from_config() {
    let hub = FakeHub::start();
    let end = Gate::new();
    let until = end.clone();
    hub.on("/silent", move |_| {
        until.pass();
        Then::Close
    });
    hub.on("/ws", |exchange| {
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
        while exchange.wire.fill() {}
        Then::Close
    });
    let limited =
        |key: &str, value: &str| TestProxy::before(&hub).set("limits", &format!("{key} = {value}")).start();
    let head = "GET /silent HTTP/1.1\r\nHost: hub.test\r\n";
    let cases: [(&str, &str, String, &str); 7] = [
        ("head_timeout", "\"50ms\"", head.to_owned(), ""),
        ("idle_timeout", "\"50ms\"", String::new(), ""),
        (
            "body_stall_timeout",
            "\"50ms\"",
            "POST /x HTTP/1.1\r\nHost: hub.test\r\nContent-Length: 9\r\n\r\n".to_owned(),
            "",
        ),
        ("upstream_head_timeout", "\"50ms\"", format!("{head}\r\n"), " 504 "),
        (
            "tunnel_idle_timeout",
            "\"50ms\"",
            "GET /ws HTTP/1.1\r\nHost: hub.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".to_owned(),
            " 101 ",
        ),
        ("head_bytes", "\"8KiB\"", format!("{head}X: {}\r\n\r\n", "x".repeat(9000)), " 431 "),
        ("head_count", "16", format!("{head}{}\r\n", "X: y\r\n".repeat(16)), " 431 "),
    ];
    for (key, value, request, answer) in cases {
        let proxy = limited(key, value);
        let mut wire = proxy.connect();
        wire.send(request);
        // An end comes, within the test's patience and not within the default.
        let told = if answer.is_empty() { wire.rest() } else { wire.until(b"\r\n").unwrap_or_default() };
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(told.contains(answer), "{key}: {told}");
        if key == "tunnel_idle_timeout" {
            wire.rest();
        }
    }
    end.open();
    let proxy = limited("connections", "1");
    let mut first = proxy.connect();
    assert_eq!(first.ask("GET /x HTTP/1.1\r\nHost: hub.test\r\n\r\n").status, 200);
    assert!(proxy.connect().is_ended(), "one connection too many");
    // What is not tried here is used all the same.
    let used = sources().replace(' ', "");
    let defaults = format!("{:?}", Limits::default());
    let names =
        defaults.trim_start_matches("Limits {").split(", ").filter_map(|field| field.split(": ").next());
    for name in names {
        assert!(used.contains(&format!(".{}", name.trim())), "limits.{name} limits nothing");
    }
}

/// All of `src/` outside `config/`.
pub fn sources() -> String {
    fn walk(folder: &Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            if path.is_dir() {
                if !path.ends_with("src/config") {
                    walk(&path, text);
                }
            } else {
                text.push_str(&std::fs::read_to_string(&path).unwrap_or_default());
            }
        }
    }
    let mut text = String::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
    text
}

/// Panics of hublatch's own threads, in all tests of this process.
fn panics_of_hublatch() -> usize {
    static WATCH: Once = Once::new();
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    WATCH.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name().is_some_and(|name| name.starts_with("hublatch")) {
                COUNT.fetch_add(1, Ordering::SeqCst);
            }
            before(panic);
        }));
    });
    COUNT.load(Ordering::SeqCst)
}

#[test]
fn nothing_a_peer_can_send_panics() {
    panics_of_hublatch();
    let hub = FakeHub::start();
    let answer = Arc::new(Mutex::new(Vec::new()));
    let answers = Arc::clone(&answer);
    hub.otherwise(move |exchange| {
        exchange.send(&*answers.lock().unwrap());
        Then::Close
    });
    let proxy = TestProxy::before(&hub).set("login", "without_token = \"forward\"").start();
    let token = proxy.links().issue(&json!({ "username": "alice", "confirm": true })).token;
    let word = |words: &'static [&'static str]| {
        proptest::sample::select(words).prop_map(|word| word.as_bytes().to_vec())
    };
    let piece = prop_oneof![
        4 => word(&["GET ", "POST ", "/hub/login", "?login_token=", "&next=", "/", " HTTP/1.1\r\n", " HTTP/1.0\r\n",
            "Host: hub.test\r\n", "Host: \r\n", "\r\n", "\r\n\r\n", "Content-Length: ", "Transfer-Encoding: chunked\r\n",
            "Content-Type: application/x-www-form-urlencoded\r\n", "Content-Type: application/json\r\n", "Cookie: ",
            "hublatch-token=", "jupyterhub-session-id=", "; ", "=", "Accept: application/json;q=", "Upgrade: x\r\n",
            "Connection: upgrade\r\n", "Expect: 100-continue\r\n", "Referer: ", "Origin: null\r\n", "X-Forwarded-For: ",
            "HTTP/1.1 200 OK\r\n", "HTTP/1.1 101 X\r\n", "HTTP/1.1 302 Found\r\nLocation: ", "0\r\n\r\n", "5\r\nhello\r\n",
            "%", "%2F", "%25", "%ff", "+", "\\", "//", "..", "é", "{\"token\":", "\"", "}", "[", "/api/v1/links",
            "/login", "Authorization: token ", "Idempotency-Key: "]),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
        1 => "[0-9]{1,20}".prop_map(String::into_bytes),
        1 => Just(token.into_bytes()),
    ];
    let bytes = proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat());
    let mut runner = TestRunner::new(Runs { cases: 300, ..Runs::default() });
    let outcome = runner.run(&(bytes.clone(), bytes, any::<bool>()), |(request, said, whole)| {
        *answer.lock().unwrap() = said;
        let whole_request =
            [b"GET /hub/x HTTP/1.1\r\nHost: hub.test\r\n", request.as_slice(), b"\r\n\r\n"].concat();
        let request = if whole { &whole_request } else { &request };
        for address in [proxy.address(), proxy.management()] {
            let mut wire = Wire::connect(address);
            let _refused = wire.try_send(request);
            let _gone = wire.writer().shutdown(std::net::Shutdown::Write);
            wire.rest();
        }
        prop_assert_eq!(panics_of_hublatch(), 0);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    for target in
        tables::lines("next.txt").iter().map(|line| format!("/hub/login?login_token=x&next={}", &line[10..]))
    {
        proxy.connect().ask(format!("GET {target} HTTP/1.1\r\nHost: hub.test\r\n\r\n"));
    }
    assert_eq!(panics_of_hublatch(), 0);
    assert_eq!(proxy.links().call("GET", "/health", &[], "").status, 200);
}
