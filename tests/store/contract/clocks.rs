//! Two clocks decide (T-CLOCK of tests/README.md): whichever says "over" first is believed.

use hublatch::store::RETENTION;
use jiff::SignedDuration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Steps the wall clock alone, by seconds.
fn step(rig: &impl Clocked, seconds: i64) {
    rig.clock().step(rig.now().wall.checked_add(SignedDuration::from_secs(seconds)).expect("a time"));
}

pub fn the_wall_clock_alone_ends_a_link<R: Clocked>() {
    let rig = R::new(10);
    let link = rig.link();
    rig.insert(&[&link]);
    step(&rig, 29);
    assert_eq!(rig.status(&link), Some(LinkStatus::Pending));
    step(&rig, 1);
    assert_eq!(rig.status(&link), Some(LinkStatus::Expired));
    assert!(!rig.admits(&link));
}

pub fn the_monotonic_clock_alone_ends_a_link<R: Clocked>() {
    let rig = R::new(10);
    let link = rig.link();
    rig.insert(&[&link]);
    for _ in 0..30 {
        rig.pass(SECOND);
        step(&rig, -1);
    }
    assert_eq!(rig.status(&link), Some(LinkStatus::Expired));
    assert!(!rig.admits(&link));
}

pub fn a_wall_clock_before_the_issue_refuses_but_two_seconds_are_forgiven<R: Clocked>() {
    let rig = R::new(10);
    let (one, two) = (rig.link(), rig.link());
    rig.insert(&[&one, &two]);
    step(&rig, -2);
    assert!(rig.admits(&one));
    step(&rig, -1);
    assert!(!rig.admits(&two));
}

pub fn used_and_revoked_links_can_be_read_for_ten_minutes<R: Clocked>() {
    let rig = R::new(10);
    let (used, revoked, expired) = (rig.link(), rig.link(), link(rig.now(), SECOND));
    rig.insert(&[&used, &revoked, &expired]);
    rig.pass(Duration::from_secs(29));
    assert!(rig.admits(&used));
    rig.revoke(&revoked);
    rig.pass(RETENTION.saturating_sub(LIFE));
    // A store may tidy up whenever links are issued.
    rig.insert(&[&rig.link()]);
    rig.pass(Duration::from_secs(29));
    rig.insert(&[&rig.link()]);
    let status = |link: &Link| rig.get(&link.id, "portal").map(|link| link.status);
    assert_eq!(status(&used), Some(LinkStatus::Used));
    assert_eq!(status(&revoked), Some(LinkStatus::Revoked));
}

pub fn records_are_forgotten_some_time<R: Clocked>() {
    let rig = R::new(10);
    let links = [rig.link(), rig.link(), rig.link()];
    let key = key("portal", "k1", 1);
    rig.insert_with_key(&links[0], &key);
    rig.insert(&[&links[1], &links[2]]);
    rig.admits(&links[1]);
    rig.pass(LIFE + RETENTION + 2 * SECOND);
    let next = rig.link();
    assert_eq!(rig.insert_with_key(&next, &key), Inserted::New, "the key is forgotten as well");
    for link in &links {
        assert_eq!(rig.get(&link.id, "portal"), None);
        assert_eq!(rig.status(link), None);
    }
    assert!(rig.admits(&next));
}

pub fn ended_links_are_bounded_too<R: Clocked>() {
    let rig = R::new(4);
    let (alive, first) = (rig.link(), rig.link());
    rig.insert(&[&alive, &first]);
    assert!(rig.admits(&first));
    for _ in 0..100 {
        let link = rig.link();
        assert_eq!(rig.insert(&[&link]), Inserted::New);
        assert!(rig.admits(&link));
        assert_eq!(rig.status(&link), Some(LinkStatus::Used));
    }
    assert_eq!(rig.status(&first), None, "of a full store's ended links the oldest are forgotten");
    assert!(rig.admits(&alive), "a live one is not, however many others came and went");
}

pub fn a_revocation_that_found_a_link_expired_is_not_overtaken_by_a_take_with_an_earlier_clock<R: Clocked>() {
    let rig = R::new(10);
    let link = rig.link();
    rig.insert(&[&link]);
    let before = rig.now();
    rig.pass(LIFE);
    assert_eq!(rig.revoke(&link), Revoked::Dead);
    // It read the clock before the end, and was held up.
    let late = wait(rig.store().consume(link.digest, before)).expect("the store answers");
    assert!(matches!(late, Consumed::Ended(_)), "{late:?}");
}
