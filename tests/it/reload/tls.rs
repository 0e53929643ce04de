//! Certificates are replaced under open connections; a pair that does not fit keeps the old one.

use std::fs;

use hublatch::config::load;
use rustls::HandshakeKind;

use super::info;
use crate::support::requests::get;
use crate::support::{FakeHub, TestProxy};
use crate::tls::certificates::{Authority, Files, Issued};
use crate::tls::{H1, pump};

fn replace(files: &Files, issued: &Issued) {
    fs::write(&files.certificate, &issued.chain).unwrap();
    fs::write(&files.private_key, &issued.key).unwrap();
}

const NAMES: &[&str] = &["hub.test", "127.0.0.1"];

#[test]
fn a_renewed_certificate_is_shown_to_whoever_connects_from_then_on() {
    let hub = FakeHub::start();
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = old.files();
    let builder = TestProxy::before(&hub).public_url("https://hub.test").set("public", &files.toml());
    let proxy = builder.clone().start();
    let mut before = pump::http1(proxy.address(), &old.client(H1, None));
    assert_eq!(before.ask(get("/x", &[])).status, 200);
    replace(&files, &new.issue(NAMES));
    proxy.reload(&builder).unwrap();
    assert_eq!(before.ask(get("/x", &[])).status, 200, "an open connection goes on");
    let mut after = pump::http1(proxy.address(), &new.client(H1, None));
    assert_eq!(after.ask(get("/x", &[])).status, 200);
    assert!(pump::connect(proxy.address(), &old.client(H1, None)).is_err(), "the old one is shown no more");
}

#[test]
fn a_half_written_pair_keeps_the_old_one_until_the_other_half_is_there() {
    let hub = FakeHub::start();
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = old.files();
    let directory = tempfile::tempdir().unwrap();
    let builder = TestProxy::before(&hub).public_url("https://hub.test").set("public", &files.toml());
    let proxy = builder.clone().start();
    let text = super::file(&directory, "hublatch.toml", &builder.text());
    let issued = new.issue(NAMES);
    let works = |authority: &Authority| pump::connect(proxy.address(), &authority.client(H1, None)).is_ok();
    let steps: [(&str, &str); 4] = [
        ("the certificate is cut short", &issued.chain[..issued.chain.len() / 2]),
        ("it is empty", ""),
        ("it is there, its key is not", &issued.chain),
        ("it is another file", &issued.key),
    ];
    for (what, certificate) in steps {
        fs::write(&files.certificate, certificate).unwrap();
        assert!(proxy.reload_with(load(&text, [])).is_err(), "{what}");
        assert!(works(&old) && !works(&new), "{what}");
    }
    fs::remove_file(&files.certificate).unwrap();
    assert!(proxy.reload_with(load(&text, [])).is_err());
    replace(&files, &issued);
    proxy.reload_with(load(&text, [])).unwrap();
    assert!(works(&new) && !works(&old));
    assert_eq!(proxy.metric("hublatch_reloads_total{result=\"refused\"}"), 5);
}

#[test]
fn tickets_of_before_a_reload_are_taken_after_it() {
    let hub = FakeHub::start();
    let authority = Authority::new("public");
    let builder =
        TestProxy::before(&hub).public_url("https://hub.test").set("public", &authority.files().toml());
    let proxy = builder.clone().start();
    let client = authority.client(H1, None);
    assert_eq!(pump::handshake(proxy.address(), &client), HandshakeKind::Full);
    assert_eq!(pump::handshake(proxy.address(), &client), HandshakeKind::Resumed);
    proxy.reload(&builder).unwrap();
    assert_eq!(pump::handshake(proxy.address(), &client), HandshakeKind::Resumed);
}

#[test]
fn who_is_trusted_on_the_management_side_is_who_is_listed_today_and_no_ticket_helps() {
    let hub = FakeHub::start();
    let (server, apps, others) = (Authority::new("server"), Authority::new("apps"), Authority::new("others"));
    let files = server.files();
    let with = |ca: &Authority| {
        let more = format!(", client_ca = {:?}", ca.ca_file());
        files.toml_and(&more)
    };
    let builder = TestProxy::before(&hub);
    let proxy = builder.clone().set("management", &with(&apps)).start();
    let (app, other) = (apps.issue(&["app.test"]), others.issue(&["other.test"]));
    let (app, other) = (server.client(H1, Some(&app)), server.client(H1, Some(&other)));
    let health = |client| {
        let mut wire = pump::http1(proxy.management(), client);
        wire.send(get("/health", &[]));
        wire.answer_to("GET").map(|answer| answer.status)
    };
    assert_eq!((health(&app), health(&other)), (Some(200), None));
    proxy.reload(&builder.set("management", &with(&others))).unwrap();
    assert_eq!((health(&app), health(&other)), (None, Some(200)));
}

#[test]
fn a_listener_can_begin_to_speak_tls() {
    let hub = FakeHub::start();
    let authority = Authority::new("public");
    let builder = TestProxy::before(&hub);
    let proxy = builder.clone().start();
    let mut plain = proxy.connect();
    assert_eq!(plain.ask(get("/x", &[])).status, 200);
    let secure = builder.public_url("https://hub.test").set("public", &authority.files().toml());
    proxy.reload(&secure).unwrap();
    let mut encrypted = pump::http1(proxy.address(), &authority.client(H1, None));
    assert_eq!(encrypted.ask(get("/x", &[])).status, 200);
    assert_eq!(info(&proxy)["public_url"], "https://hub.test");
}
