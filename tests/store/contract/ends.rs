//! The end of a link's life.

use super::*;

pub fn an_expired_link_admits_nobody_and_says_so<R: Rig>() {
    let rig = R::new(10);
    let life = rig.short_life();
    let link = link(rig.now(), life);
    rig.insert(&[&link]);
    rig.pass(life);
    let Consumed::Ended(ended) = rig.consume(link.digest) else { panic!("a login after the end") };
    assert_eq!((ended.status, ended.used_at), (LinkStatus::Expired, None));
    assert_eq!(rig.status(&link), Some(LinkStatus::Expired));
    assert_eq!(rig.get(&link.id, "portal").map(|link| link.status), Some(LinkStatus::Expired));
}

pub fn an_expired_link_counts_as_dead<R: Rig>() {
    let rig = R::new(10);
    let life = rig.short_life();
    let link = link(rig.now(), life);
    rig.insert(&[&link]);
    rig.pass(life);
    assert_eq!(rig.revoke(&link), Revoked::Dead);
    assert_eq!(rig.revoke_user("alice", "portal"), 0);
    assert_eq!(rig.status(&link), Some(LinkStatus::Expired));
}

pub fn a_link_lives_to_its_end<R: Rig>() {
    let rig = R::new(10);
    let life = rig.short_life();
    let link = link(rig.now(), life * 8);
    rig.insert(&[&link]);
    rig.pass(life * 2);
    assert!(rig.admits(&link));
}

pub fn used_and_revoked_links_stay_what_they_are_after_their_life<R: Rig>() {
    let rig = R::new(10);
    let life = rig.short_life() * 2;
    let (used, revoked) = (link(rig.now(), life), link(rig.now(), life));
    rig.insert(&[&used, &revoked]);
    assert!(rig.admits(&used));
    assert_eq!(rig.revoke(&revoked), Revoked::Dead);
    rig.pass(life);
    assert_eq!(rig.status(&used), Some(LinkStatus::Used));
    assert_eq!(rig.status(&revoked), Some(LinkStatus::Revoked));
    assert!(!rig.admits(&used) && !rig.admits(&revoked));
}

pub fn links_of_one_batch_expire_each_at_its_own_time<R: Rig>() {
    let rig = R::new(10);
    let life = rig.short_life();
    let (short, long) = (link(rig.now(), life), link(rig.now(), LIFE));
    rig.insert(&[&short, &long]);
    rig.pass(life);
    assert_eq!(rig.status(&short), Some(LinkStatus::Expired));
    assert!(rig.admits(&long));
}
