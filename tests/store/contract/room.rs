//! Capacity: a full store refuses, and never gives up a link that can still be redeemed.

use super::*;

pub fn a_batch_is_stored_whole_or_not_at_all<R: Rig>() {
    let rig = R::new(3);
    let batch: Vec<Link> = (0..4).map(|_| rig.link()).collect();
    assert_eq!(rig.insert(&batch.iter().collect::<Vec<_>>()), Inserted::Full);
    for link in &batch {
        assert_eq!(rig.status(link), None);
        assert_eq!(rig.get(&link.id, "portal"), None);
        assert_eq!(rig.consume(link.digest), Consumed::Unknown);
    }
    assert_eq!(rig.insert(&batch[..3].iter().collect::<Vec<_>>()), Inserted::New);
}

pub fn a_full_store_refuses_and_evicts_nothing<R: Rig>() {
    let rig = R::new(3);
    let links: Vec<Link> = (0..3).map(|_| rig.link()).collect();
    rig.insert(&links.iter().collect::<Vec<_>>());
    for _ in 0..5 {
        assert_eq!(rig.insert(&[&rig.link()]), Inserted::Full);
    }
    assert!(links.iter().all(|link| rig.admits(link)), "the links that were there first");
}

pub fn a_link_that_ends_makes_room<R: Rig>() {
    let rig = R::new(3);
    let life = rig.short_life() * 2;
    let (used, revoked, expiring) = (rig.link(), rig.link(), link(rig.now(), life));
    rig.insert(&[&used, &revoked, &expiring]);
    assert_eq!(rig.insert(&[&rig.link()]), Inserted::Full);
    rig.admits(&used);
    assert_eq!(rig.insert(&[&rig.link()]), Inserted::New);
    rig.revoke(&revoked);
    assert_eq!(rig.insert(&[&rig.link()]), Inserted::New);
    assert_eq!(rig.insert(&[&rig.link()]), Inserted::Full);
    // A second more: the memory store notices expiries by whole seconds.
    rig.pass(life + Duration::from_secs(1));
    assert_eq!(rig.insert(&[&rig.link()]), Inserted::New);
    assert_eq!(rig.insert(&[&rig.link()]), Inserted::Full);
}

pub fn racing_insertions_never_exceed_the_capacity<R: Rig>() {
    let rig = R::new(50);
    let stored = race(4, |_| (0..20).filter(|_| rig.insert(&[&rig.link()]) == Inserted::New).count());
    assert_eq!(stored.iter().sum::<usize>(), 50);
}

pub fn live_counts_what_can_still_be_redeemed<R: Rig>() {
    let rig = R::new(10);
    let (used, revoked, pending) = (rig.link(), rig.link(), rig.link());
    assert_eq!(rig.store().live(rig.now()), 0);
    rig.insert(&[&used, &revoked, &pending]);
    assert_eq!(rig.store().live(rig.now()), 3);
    rig.admits(&used);
    rig.admits(&used);
    assert_eq!(rig.store().live(rig.now()), 2);
    rig.revoke(&revoked);
    rig.revoke(&revoked);
    assert_eq!(rig.store().live(rig.now()), 1);
    rig.revoke_user("alice", "portal");
    assert_eq!(rig.store().live(rig.now()), 0);
}
