//! A link is kept for a browser that waits for its turn at the hub.

use super::*;

/// A link whose own life is over, reserved before.
fn reserved<R: Rig>(rig: &R) -> Link {
    let link = link(rig.now(), rig.short_life());
    rig.insert(&[&link]);
    assert!(rig.reserve(&link));
    rig.pass(rig.short_life());
    link
}

pub fn a_reserved_link_outlives_its_expiry_and_admits_once<R: Rig>() {
    let rig = R::new(10);
    let link = reserved(&rig);
    assert_eq!(rig.status(&link), Some(LinkStatus::Pending));
    assert_eq!((rig.admits(&link), rig.admits(&link)), (true, false));
    assert!(!rig.reserve(&link), "it is used");
    assert_eq!(rig.status(&link), Some(LinkStatus::Used));
}

pub fn a_reserved_link_says_by_when_one_must_have_clicked<R: Rig>() {
    let rig = R::new(10);
    let link = reserved(&rig);
    assert!(rig.reserve(&link), "once more");
    let found = rig.find(&link).expect("it is kept");
    // A store may keep the time of day in milliseconds.
    let told = found.grant.click_by.expect("a time").as_millisecond();
    assert!(told.abs_diff(link.expires.wall.as_millisecond()) <= 1);
    assert!(found.expires.wall > link.expires.wall);
    assert_eq!((found.id, found.digest, found.note), (link.id, link.digest, link.note));
    assert_eq!(LoginGrant { click_by: None, ..found.grant }, link.grant);
}

pub fn a_reserved_link_can_be_revoked_when_its_own_life_is_over<R: Rig>() {
    let rig = R::new(10);
    let (one, two) = (reserved(&rig), reserved(&rig));
    assert_eq!(rig.revoke(&one), Revoked::Dead);
    assert!(!rig.admits(&one) && !rig.reserve(&one));
    assert_eq!(rig.revoke_user("alice", "portal"), 1);
    assert!(!rig.admits(&two));
}

pub fn only_a_pending_link_can_be_reserved<R: Rig>() {
    let rig = R::new(10);
    let (unknown, used, expired) = (rig.link(), rig.link(), link(rig.now(), rig.short_life()));
    rig.insert(&[&used, &expired]);
    assert!(rig.admits(&used));
    rig.pass(rig.short_life());
    for link in [&unknown, &used, &expired] {
        assert!(!rig.reserve(link));
        assert!(!rig.admits(link));
    }
}

pub fn a_reserved_link_takes_room_and_keeps_its_idempotency_key<R: Rig>() {
    let rig = R::new(1);
    let (first, key) = (link(rig.now(), rig.short_life()), key("portal", "k", 1));
    assert_eq!(rig.insert_with_key(&first, &key), Inserted::New);
    assert!(rig.reserve(&first));
    rig.pass(rig.short_life());
    assert_eq!(rig.insert(&[&rig.link()]), Inserted::Full);
    let again = rig.link();
    assert_eq!(rig.insert_with_key(&again, &key), Inserted::Again(first.id.clone()));
    assert!(!rig.admits(&first), "the repeat has replaced it");
    assert!(rig.admits(&again));
}
