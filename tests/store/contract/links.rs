//! Reading and revoking links: by whom, and what comes back.

use hublatch::token::{KeyDigest, ServerName, State};
use serde_json::json;

use super::*;

pub fn a_link_comes_back_with_everything_that_was_granted<R: Rig>() {
    let rig = R::new(10);
    let mut full = rig.link();
    full.grant.username = user("zoe.x_y-z+1@example.org");
    full.grant.next = Some("/user/zoe/lab/tree/a%20b%2Fc.ipynb?x=1&y=\u{e9}\"'\\".to_owned());
    full.grant.judged_by = Some("/lab/tree/a".to_owned());
    full.grant.groups = Some(vec!["staff".to_owned(), "grün \u{1f511}".to_owned()]);
    let claims = json!({"course": {"id": 7, "roles": ["ta", null]}, "score": 1.5, "empty": {}, "list": []});
    full.grant.claims = claims.as_object().cloned();
    full.grant.confirm = true;
    full.grant.key = Some(KeyDigest::of(b"a key").id());
    full.grant.state = Some(State::from_bytes([7; 32]));
    full.grant.launch = ServerName::parse("lab-2");
    full.note = Some("line one\nline two\u{0} \u{2028}".to_owned());
    let mut empty = rig.link();
    empty.grant.next = None;
    empty.grant.launch = Some(ServerName::default());
    empty.grant.groups = Some(Vec::new());
    empty.grant.claims = Some(serde_json::Map::new());
    empty.note = Some(String::new());
    for link in [&full, &empty] {
        rig.insert(&[link]);
        let found = rig.find(link).expect("found by its token");
        let got = rig.get(&link.id, "portal").expect("found by its id");
        let Consumed::Granted(granted) = rig.consume(link.digest) else { panic!("granted") };
        for read in [&found, &got] {
            assert_eq!((read.status, read.used_at), (LinkStatus::Pending, None));
        }
        for read in [found, got, *granted] {
            assert_eq!((&read.id, read.digest), (&link.id, link.digest));
            assert_eq!((&read.grant, &read.note), (&link.grant, &link.note));
            assert_eq!((read.issued.wall, read.expires.wall), (link.issued.wall, link.expires.wall));
        }
    }
}

pub fn looking_at_a_link_consumes_nothing<R: Rig>() {
    let rig = R::new(10);
    let link = rig.link();
    rig.insert(&[&link]);
    for _ in 0..3 {
        assert_eq!(rig.status(&link), Some(LinkStatus::Pending));
        assert!(rig.get(&link.id, "portal").is_some());
    }
    assert!(rig.admits(&link));
}

pub fn another_app_neither_reads_nor_revokes_a_link<R: Rig>() {
    let rig = R::new(10);
    let link = rig.link();
    rig.insert(&[&link]);
    for app in ["shop", "", "Portal", "portal2", "porta", "portal:alice", "*"] {
        assert_eq!(rig.get(&link.id, app), None, "{app}");
        assert_eq!(rig.revoke_as(&link.id, app), Revoked::NotFound, "{app}");
        assert_eq!(rig.revoke_user("alice", app), 0, "{app}");
    }
    assert!(rig.admits(&link));
}

pub fn revoking_a_user_ends_all_pending_links_of_that_app_and_no_other<R: Rig>() {
    let rig = R::new(100);
    let now = rig.now();
    let pending: Vec<Link> = (0..5).map(|_| link_of(now, "alice", "portal")).collect();
    let used = link_of(now, "alice", "portal");
    let revoked = link_of(now, "alice", "portal");
    let others = [
        link_of(now, "alice", "shop"),
        link_of(now, "alic", "portal"),
        link_of(now, "alice2", "portal"),
        link_of(now, "bob", "portal"),
    ];
    rig.insert(&pending.iter().chain([&used, &revoked]).chain(&others).collect::<Vec<_>>());
    assert!(rig.admits(&used));
    rig.revoke(&revoked);

    assert_eq!(rig.revoke_user("alice", "portal"), 5);
    assert_eq!(rig.revoke_user("alice", "portal"), 0);
    for link in &pending {
        assert_eq!(rig.status(link), Some(LinkStatus::Revoked));
        assert!(!rig.admits(link));
    }
    assert_eq!(rig.status(&used), Some(LinkStatus::Used));
    assert!(others.iter().all(|link| rig.admits(link)), "links of other apps and users");
}

pub fn revoking_twice_is_the_same_as_once<R: Rig>() {
    let rig = R::new(10);
    let link = rig.link();
    rig.insert(&[&link]);
    assert_eq!(rig.revoke(&link), Revoked::Dead);
    assert_eq!(rig.revoke(&link), Revoked::Dead);
    assert_eq!(rig.get(&link.id, "portal").map(|link| link.status), Some(LinkStatus::Revoked));
}

pub fn revoking_a_used_link_says_used<R: Rig>() {
    let rig = R::new(10);
    let link = rig.link();
    rig.insert(&[&link]);
    assert!(rig.admits(&link));
    assert_eq!(rig.revoke(&link), Revoked::Used);
    assert_eq!(rig.status(&link), Some(LinkStatus::Used));
}

pub fn an_unknown_id_is_not_found<R: Rig>() {
    let rig = R::new(10);
    let unknown = rig.link();
    assert_eq!(rig.get(&unknown.id, "portal"), None);
    assert_eq!(rig.revoke(&unknown), Revoked::NotFound);
    assert_eq!(rig.revoke_user("alice", "portal"), 0);
}

pub fn a_store_that_works_answers_a_ping<R: Rig>() {
    let rig = R::new(10);
    wait(rig.store().ping()).expect("it works");
}
