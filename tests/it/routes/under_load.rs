//! Many changes of the table while requests go by it: none goes to a wrong server.
//!
//! `HUBLATCH_REQUESTS` says how many (a million for the whole proof, some minutes); without it, as many as two seconds take.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::requests::get;
use crate::support::{FakeHub, TestProxy, Wire};

/// How long it takes where nobody says how many.
const SPAN: Duration = Duration::from_secs(2);
/// Those who ask, each on a connection of its own.
const ASKERS: usize = 4;
/// So many requests are on their way at once.
const AT_ONCE: usize = 20;
/// Servers, each with a route that stays.
const SERVERS: usize = 4;
/// Routes that come, change and go.
const FLICKERING: usize = 200;
/// As many changes a second, on a machine that can.
const CHANGES: u64 = 1000;
/// Those who change, each its own part of the routes on a connection of its own: a change waits for the one before it.
const CHANGERS: usize = 4;
/// After so many changes the last one is tried on another connection.
const TRIED_OF: usize = 5;

/// A server that says its number to whoever asks, as fast as it can. Ends with its connections.
fn server(number: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            std::thread::spawn(move || say(stream, number));
        }
    });
    address
}

/// Requests without bodies, each answered.
fn say(mut stream: TcpStream, number: usize) {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}");
    let (mut pending, mut piece) = (Vec::new(), [0; 16384]);
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        pending.extend_from_slice(&piece[..read]);
        while let Some(end) = memchr::memmem::find(&pending, b"\r\n\r\n") {
            pending.drain(..end + 4);
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// The numbers that may answer for a flickering route: those of its two servers, and of the hub, where there is no route.
fn candidates(route: usize) -> [usize; 3] {
    [route % SERVERS, (route + 1) % SERVERS, SERVERS]
}

/// Asks for routes that stay and for flickering ones, by turns.
fn ask(proxy: &TestProxy, asker: usize, asked: &AtomicUsize, is_over: &dyn Fn() -> bool) {
    let mut wire = proxy.connect();
    let mut turn = asker;
    while !is_over() {
        let routes: Vec<usize> = (turn..turn + AT_ONCE).collect();
        let paths = routes.iter().map(|turn| match turn % 2 {
            0 => format!("/stays/{}/{turn}", turn / 2 % SERVERS),
            _ => format!("/user/{}/{turn}", turn % FLICKERING),
        });
        wire.send(paths.map(|path| get(path, &[])).collect::<Vec<_>>().concat());
        for turn in routes {
            let answer = wire.answer_to("GET").expect("an answer");
            let number: usize = answer.text().parse().expect("a number");
            if turn % 2 == 0 {
                assert_eq!((answer.status, number), (200, turn / 2 % SERVERS));
            } else {
                assert!(candidates(turn % FLICKERING).contains(&number), "{number} at {}", turn % FLICKERING);
            }
        }
        asked.fetch_add(AT_ONCE, Ordering::Relaxed);
        turn += AT_ONCE + 1;
    }
}

/// Writes and deletes the flickering routes of one changer; how often, and how often the last change was tried.
fn change(proxy: &TestProxy, changer: usize, urls: &[String], is_over: &dyn Fn() -> bool) -> (usize, usize) {
    let part = FLICKERING / CHANGERS;
    let mut api = Wire::connect(proxy.management());
    let mut probe = proxy.connect();
    let token = crate::support::proxy::ROUTING_TOKEN;
    let (begun, mut changes, mut tried) = (Instant::now(), 0_usize, 0);
    while !is_over() {
        let (route, round) = (changer * part + changes % part, changes / part);
        let wanted = candidates(route)[round % 3];
        let (method, body, status) = match urls.get(wanted) {
            Some(url) => ("POST", format!("{{\"target\":{url:?}}}"), 201),
            None => ("DELETE", String::new(), 204),
        };
        let answer = api.ask(format!(
            "{method} /api/routes/user/{route} HTTP/1.1\r\nHost: a\r\nAuthorization: token {token}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(answer.status, status, "{method} {route}");
        changes += 1;
        if changes % TRIED_OF == 0 {
            assert_eq!(probe.ask(get(format!("/user/{route}/now"), &[])).text(), wanted.to_string());
            tried += 1;
        }
        let due = begun + Duration::from_micros(1_000_000 / CHANGES * (CHANGERS * changes) as u64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    (changes, tried)
}

#[test]
fn no_request_goes_to_a_wrong_target_while_routes_come_and_go() {
    let requests: Option<usize> =
        std::env::var("HUBLATCH_REQUESTS").ok().map(|text| text.parse().expect("a number"));
    let addresses: Vec<SocketAddr> = (0..=SERVERS).map(server).collect();
    let mut urls: Vec<String> = addresses.iter().map(|address| format!("http://{address}")).collect();
    let hub = urls.pop().expect("the hub's");
    let proxy = TestProxy::before(&FakeHub::start()).routed().set("public", "threads = 2").start();
    proxy.add_route("/", &hub, r#""hub":true"#);
    for (number, url) in urls.iter().enumerate() {
        proxy.add_route(&format!("/stays/{number}"), url, "");
    }
    let (asked, begun) = (AtomicUsize::new(0), Instant::now());
    let is_over = || match requests {
        Some(requests) => asked.load(Ordering::Relaxed) >= requests,
        None => begun.elapsed() >= SPAN,
    };
    let (changes, tried) = std::thread::scope(|scope| {
        for asker in 0..ASKERS {
            let (proxy, asked, is_over) = (&proxy, &asked, &is_over);
            scope.spawn(move || ask(proxy, asker, asked, is_over));
        }
        let changing: Vec<_> = (0..CHANGERS)
            .map(|changer| {
                let (proxy, urls, is_over) = (&proxy, &urls, &is_over);
                scope.spawn(move || change(proxy, changer, urls, is_over))
            })
            .collect();
        let counts = changing.into_iter().map(|changer| changer.join().expect("no wrong target"));
        counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    let (asked, took) = (asked.into_inner(), begun.elapsed());
    let rate = changes as u128 * 1000 / took.as_millis().max(1);
    println!("{asked} requests and {changes} changes in {took:.1?} ({rate} a second), {tried} tried at once");
    assert!(changes > 100 && asked > 100 && tried > 10, "{changes} changes, {asked} requests");
}
