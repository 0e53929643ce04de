//! A sink of the audit that is slow, or that fails: nobody waits for it, and whoever watches is told.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hublatch::app::{self, Dependencies, Running};
use hublatch::server::address::Address;

use crate::support::proxy::{Builder, wait_until};
use crate::support::{Browser, FakeHub, Gate, Links, TestProxy, Wire};

/// Writes nothing while the gate is closed.
struct Standing(Gate);

impl io::Write for Standing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.pass();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A disk that may be full.
#[derive(Clone, Default)]
struct Disk(Arc<AtomicBool>);

impl Disk {
    fn fill(&self, full: bool) {
        self.0.store(full, Ordering::Relaxed);
    }
}

impl io::Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Started {
    running: Running,
    browser: Browser,
    links: Links,
}

fn start(builder: &Builder, audit: impl io::Write + Send + 'static) -> Started {
    let dependencies = Dependencies { audit: Some(Box::new(audit)), ..Dependencies::default() };
    let running = app::start(&builder.config(), dependencies).expect("it starts");
    let tcp = |address: &Address| match address {
        Address::Tcp(address) => *address,
        Address::Unix(path) => panic!("a unix socket: {}", path.display()),
    };
    let browser = Browser::new(tcp(&running.public()[0]), "http://hub.test");
    let links = Links::new(tcp(running.management()), builder.key());
    Started { running, browser, links }
}

fn ready(started: &Started) -> u16 {
    let Address::Tcp(address) = started.running.management() else { panic!("TCP") };
    Wire::connect(*address).ask("GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").status
}

#[test]
fn nobody_waits_for_a_reader_of_the_audit_that_stands_still() {
    let hub = FakeHub::start();
    let gate = Gate::new();
    let builder = TestProxy::before(&hub).set("limits", "unknown_tokens_per_minute = 0");
    let mut started = start(&builder, Standing(gate.clone()));
    for number in 0..300 {
        let link = format!("/hub/login?login_token=hl_{number:043}");
        assert_eq!(started.browser.get(&link).status, 403, "{number}");
    }
    let link = started.links.issue(&serde_json::json!({ "username": "alice" }));
    assert_eq!(started.browser.get(&link.target()).status, 302);
    gate.open();
    started.running.stop();
}

#[test]
fn an_audit_that_cannot_be_written_is_told_and_keeps_nobody_out_by_default() {
    let hub = FakeHub::start();
    let disk = Disk::default();
    let mut started = start(&TestProxy::before(&hub), disk.clone());
    assert_eq!(ready(&started), 200);
    disk.fill(true);
    let link = started.links.issue(&serde_json::json!({ "username": "alice" }));
    wait_until("the metric", || started.running.metrics().audit_records_lost.get() == 1);
    assert_eq!(ready(&started), 503);
    assert_eq!(started.browser.get(&link.target()).status, 302);
    disk.fill(false);
    let _link = started.links.issue(&serde_json::json!({ "username": "alice" }));
    wait_until("the end of it", || ready(&started) == 200);
    started.running.stop();
}

#[test]
fn where_the_audit_is_required_nobody_logs_in_without_and_no_link_is_used_up() {
    let hub = FakeHub::start();
    let disk = Disk::default();
    let builder = TestProxy::before(&hub).set("log", "access = false\naudit_required = true");
    let mut started = start(&builder, disk.clone());
    let link = started.links.issue(&serde_json::json!({ "username": "alice" }));
    started.running.reloader().flush_audit();
    disk.fill(true);
    let _recorded = started.links.issue(&serde_json::json!({ "username": "bob" }));
    wait_until("the metric", || started.running.metrics().audit_records_lost.get() == 1);
    assert_eq!(started.browser.get(&link.target()).status, 503);
    assert_eq!(crate::redeem::logins(&hub).len(), 0);
    disk.fill(false);
    let _recorded = started.links.issue(&serde_json::json!({ "username": "bob" }));
    wait_until("the end of it", || ready(&started) == 200);
    assert_eq!(started.browser.get(&link.target()).status, 302);
    started.running.stop();
}
