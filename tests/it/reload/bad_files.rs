//! Whatever is wrong with a new configuration, the old one stays in force, whole.

use std::fs;
use std::path::Path;

use hublatch::config::{Secret, load_str};

use super::{click, info};
use crate::support::requests::get;
use crate::support::{FakeHub, TestProxy};

#[test]
fn each_bad_file_keeps_the_old_configuration() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).start();
    let before = info(&proxy);
    let mut wire = proxy.connect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config/bad");
    let mut tried = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let (text, link) = (fs::read_to_string(&path).unwrap(), proxy.link("alice"));
        assert!(proxy.reload_with(load_str(&text, &path, [])).is_err(), "{}", path.display());
        assert_eq!(click(&proxy, &link).status, 302, "{}", path.display());
        assert_eq!(wire.ask(get("/x", &[])).status, 200, "{}", path.display());
        tried += 1;
    }
    assert!(tried >= 40, "only {tried} bad files");
    assert_eq!(proxy.metric("hublatch_reloads_total{result=\"refused\"}"), tried);
    let mut after = info(&proxy);
    let last = after["configuration"].as_object_mut().unwrap().remove("last_reload").unwrap();
    assert_eq!(last["result"], "refused");
    assert_eq!(after, before);
}

#[test]
fn a_part_that_cannot_be_made_keeps_the_old_configuration() {
    let hub = FakeHub::start();
    let builder = TestProxy::before(&hub);
    let proxy = builder.clone().start();
    // Valid as a key in PEM is what validation asks of it; it is tried before anything changes.
    let changed = builder.set("login", "lifetime = \"1m\"").config();
    let Some(assertion) = &changed.assertion else { panic!("an assertion") };
    let mut bad = changed.clone();
    bad.assertion = Some(hublatch::config::Assertion {
        key: Secret::from("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned()),
        ..assertion.clone()
    });
    assert!(proxy.reload_with(Ok(bad)).is_err());
    assert_eq!(info(&proxy)["lifetime"], 30);
    assert_eq!(click(&proxy, &proxy.link("alice")).status, 302);
}
