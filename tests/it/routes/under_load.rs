//! Many changes of the table while requests go by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::requests::get;
use crate::support::{FakeHub, TestProxy};

/// How long; bounded, so that the suite stays short.
const SPAN: Duration = Duration::from_secs(2);

#[test]
fn no_request_goes_to_a_wrong_target_while_routes_come_and_go() {
    let (one, two) = (FakeHub::start(), FakeHub::start());
    for (server, name) in [(&one, "one"), (&two, "two")] {
        server.otherwise(move |exchange| exchange.answer("200 OK", name));
    }
    let proxy = Arc::new(TestProxy::before(&FakeHub::start()).routed().set("public", "threads = 2").start());
    proxy.add_route("/one", &one.url(), "");
    proxy.add_route("/two", &two.url(), "");
    let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let askers: Vec<_> = (0..4)
        .map(|number| {
            let (proxy, over, asked) = (Arc::clone(&proxy), Arc::clone(&over), Arc::clone(&asked));
            std::thread::spawn(move || {
                let mut wire = proxy.connect();
                let name = if number % 2 == 0 { "one" } else { "two" };
                while !over.load(Ordering::Relaxed) {
                    let answer = wire.ask(get(format!("/{name}/x"), &[]));
                    assert_eq!((answer.status, answer.body.as_slice()), (200, name.as_bytes()));
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let begun = Instant::now();
    let mut changes = 0;
    while begun.elapsed() < SPAN {
        let path = format!("/one/{}", changes % 100);
        proxy.add_route(&path, &two.url(), "");
        proxy.add_route("/two", &two.url(), "");
        assert_eq!(proxy.routes("DELETE", &path, "").status, 204);
        changes += 3;
    }
    over.store(true, Ordering::Relaxed);
    for asker in askers {
        asker.join().expect("no wrong answer");
    }
    assert!(changes > 100 && asked.load(Ordering::Relaxed) > 100, "{changes} changes, {asked:?} requests");
}
