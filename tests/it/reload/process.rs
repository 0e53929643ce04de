//! The process: a signal, or a change of any of its files, makes it read its configuration again.

use std::fs;

use rustix::process::Signal;

use super::hub_with_a_login;
use crate::support::process::write;
use crate::support::proxy::wait_until;
use crate::support::requests::get;
use crate::support::{FakeHub, Process, TestProxy, Wire};

#[test]
fn sighup_reads_the_configuration_again_and_a_bad_one_changes_nothing() {
    let hub = hub_with_a_login();
    let builder = TestProxy::before(&hub);
    let process = Process::start(&builder.text());
    let public = process.address("public");
    process.address("management");
    let mut wire = Wire::connect(public);
    assert_eq!(wire.ask(get("/hub/login", &[])).status, 403);

    fs::write(process.file(), builder.clone().set("login", "without_token = \"elsewhere\"").text()).unwrap();
    process.signal(Signal::HUP);
    let fault = process.logged("reload refused")["fault"].as_str().unwrap().to_owned();
    assert!(fault.contains("login.without_token") && fault.contains("hublatch.toml:"), "{fault}");
    assert_eq!(wire.ask(get("/hub/login", &[])).status, 403);

    fs::write(process.file(), builder.set("login", "without_token = \"forward\"").text()).unwrap();
    process.signal(Signal::HUP);
    process.logged("reloaded");
    assert_eq!(wire.ask(get("/hub/login", &[])).status, 200);
}

#[test]
fn a_changed_file_is_read_without_a_signal() {
    let hub = hub_with_a_login();
    let builder = TestProxy::before(&hub);
    let process = Process::start(&builder.text());
    let public = process.address("public");
    process.address("management");
    write(&process.file(), &builder.clone().set("login", "without_token = \"forward\"").text());
    process.logged("reloaded");
    assert_eq!(Wire::connect(public).ask(get("/hub/login", &[])).status, 200);
    write(&process.file(), "no TOML [");
    process.logged("reload refused");
    write(&process.file(), &builder.text());
    process.logged("reloaded");
    assert_eq!(Wire::connect(public).ask(get("/hub/login", &[])).status, 403);
}

#[test]
fn a_secret_in_a_file_of_its_own_is_part_of_the_configuration() {
    let hub = FakeHub::start();
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("user_header");
    write(&secret, "X-0123456789abcdef0123456789abcdef");
    let builder = TestProxy::before(&hub).set("login", "user_header_file = \"user_header\"");
    let process = Process::start_in(directory, &builder.text(), |_| ());
    process.address("management");
    write(&secret, "Host");
    let fault = process.logged("reload refused")["fault"].as_str().unwrap().to_owned();
    assert!(fault.contains("login.user_header_file"), "{fault}");
    write(&secret, "X-fedcba9876543210fedcba9876543210");
    process.logged("reloaded");
}

#[test]
fn the_audit_log_is_opened_anew() {
    let hub = FakeHub::start();
    let directory = tempfile::tempdir().unwrap();
    let (audit, moved) = (directory.path().join("audit.log"), directory.path().join("audit.log.1"));
    let builder = TestProxy::before(&hub).set("log", &format!("audit = {:?}", audit.to_str().unwrap()));
    let process = Process::start_in(directory, &builder.text(), |_| ());
    let management = process.address("management");
    let links = crate::support::Links::new(management, builder.key());
    let one = links.issue(&serde_json::json!({ "username": "alice" }));
    fs::rename(&audit, &moved).unwrap();
    process.signal(Signal::HUP);
    process.logged("reloaded");
    let two = links.issue(&serde_json::json!({ "username": "alice" }));
    // A thread writes them, in order.
    wait_until("the second line", || fs::read_to_string(&audit).is_ok_and(|text| text.contains(&two.id)));
    let (before, after) = (fs::read_to_string(moved).unwrap(), fs::read_to_string(audit).unwrap());
    assert!(before.contains(&one.id) && !before.contains(&two.id), "{before}");
    assert!(after.contains(&two.id) && !after.contains(&one.id), "{after}");
}
