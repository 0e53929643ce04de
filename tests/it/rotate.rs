//! T-ROTATE: keys are replaced and taken away, and so are apps and links, under load; nobody is refused wrongly, and nothing
//! is honoured that has been revoked. With Redis: `tests/store/rotate.rs`.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::redeem::click;
use crate::support::proxy::Builder;
use crate::support::rotation::{self, LOGINS_A_STEP, Load, key};
use crate::support::{FakeHub, Links, TestProxy};

fn builder(hub: &FakeHub) -> Builder {
    TestProxy::before(hub).portal("rate = \"100000/s\"\nmax_live_links = 100000")
}

/// The same with a store that lasts.
fn lasting(hub: &FakeHub, directory: &tempfile::TempDir) -> Builder {
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).expect("a mode");
    let url = format!("redb://{}", directory.path().join("tokens.redb").display());
    builder(hub).set("store", &format!("url = {url:?}"))
}

#[test]
fn a_key_is_replaced_under_load_and_nobody_is_refused() {
    rotation::a_key_is_replaced(&builder(&FakeHub::start()));
}

#[test]
fn a_key_is_taken_away_under_load_and_none_of_its_links_is_honoured_from_then_on() {
    rotation::a_key_is_taken_away(&builder(&FakeHub::start()));
}

#[test]
fn a_key_is_replaced_under_load_over_a_file() {
    rotation::a_key_is_replaced(&lasting(&FakeHub::start(), &tempfile::tempdir().unwrap()));
}

#[test]
fn a_key_is_taken_away_under_load_over_a_file() {
    rotation::a_key_is_taken_away(&lasting(&FakeHub::start(), &tempfile::tempdir().unwrap()));
}

#[test]
fn a_key_that_is_taken_away_while_hublatch_is_down_takes_its_links_with_it() {
    let (hub, directory, stolen, kept) = (FakeHub::start(), tempfile::tempdir().unwrap(), key(), key());
    let builder = lasting(&hub, &directory);
    let proxy = builder.clone().keys(&[&stolen, &kept]).start();
    let [dead, alive] = [&stolen, &kept]
        .map(|key| Links::new(proxy.management(), key.expose()).issue(&json!({ "username": "alice" })));
    drop(proxy);
    let proxy = builder.keys(&[&kept]).start();
    assert_eq!(Links::new(proxy.management(), kept.expose()).status(&dead.id), "revoked");
    assert_eq!((click(&proxy, &dead).status, click(&proxy, &alive).status), (403, 302));
}

#[test]
fn a_key_that_is_put_back_has_its_links_back() {
    let (hub, first, second) = (FakeHub::start(), key(), key());
    let keys = |keys: &[_]| builder(&hub).keys(keys);
    let proxy = keys(&[&first, &second]).start();
    let link = Links::new(proxy.management(), first.expose()).issue(&json!({ "username": "alice" }));
    proxy.reload(&keys(&[&second])).unwrap();
    let refused = click(&proxy, &link);
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("Error 403, link_revoked"), "{}", refused.text());
    // Looked at and refused, it is not consumed: a slip in the file is mended by the next one.
    proxy.reload(&keys(&[&first])).unwrap();
    assert_eq!(click(&proxy, &link).status, 302);
}

#[test]
fn an_app_is_taken_away_under_load_and_none_of_its_links_is_honoured_from_then_on() {
    let (hub, gone) = (FakeHub::start(), key());
    let builder = builder(&hub);
    let rooms = format!("[[apps]]\nname = \"rooms\"\nkeys = [\"{}\"]\nrate = \"100000/s\"", gone.digest());
    let proxy = builder.clone().toml(&rooms).start();
    Load::around(&proxy, proxy.key(), |load| {
        let links = Links::new(proxy.management(), gone.expose());
        load.assert_voided(&links, || proxy.reload(&builder).unwrap());
        load.go_on();
    });
}

#[test]
fn a_link_that_was_taken_back_under_load_admits_nobody() {
    let hub = FakeHub::start();
    let proxy = builder(&hub).start();
    Load::around(&proxy, proxy.key(), |_| {
        for _ in 0..LOGINS_A_STEP {
            let link = proxy.link("bob");
            let path = format!("/api/v1/links/{}", link.id);
            assert_eq!(proxy.links().call("DELETE", &path, &[], "").status, 204);
            assert_eq!(click(&proxy, &link).status, 403);
        }
    });
}
