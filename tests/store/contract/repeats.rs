//! Idempotency keys: a request that is repeated.

use super::*;

pub fn a_repeat_gives_a_new_token_under_the_first_id_and_kills_the_old_one<R: Rig>() {
    let rig = R::new(10);
    let key = key("portal", "k1", 1);
    let (first, second, third) = (rig.link(), rig.link(), rig.link());
    assert_eq!(rig.insert_with_key(&first, &key), Inserted::New);
    assert_eq!(rig.insert_with_key(&second, &key), Inserted::Again(first.id.clone()));
    assert!(!rig.admits(&first), "the token of the first answer");
    assert_eq!(rig.insert_with_key(&third, &key), Inserted::Again(first.id.clone()));
    assert!(!rig.admits(&second), "the token of the second answer");
    assert_eq!(rig.get(&second.id, "portal"), None, "an id that nobody was told");

    let found = rig.get(&first.id, "portal").expect("the first id");
    assert_eq!((found.status, found.digest), (LinkStatus::Pending, third.digest));
    assert!(rig.admits(&third));
    assert_eq!(rig.get(&first.id, "portal").map(|link| link.status), Some(LinkStatus::Used));
}

pub fn a_repeat_with_another_body_stores_nothing<R: Rig>() {
    let rig = R::new(10);
    let (first, other) = (rig.link(), rig.link());
    rig.insert_with_key(&first, &key("portal", "k1", 1));
    assert_eq!(rig.insert_with_key(&other, &key("portal", "k1", 2)), Inserted::OtherBody);
    assert_eq!(rig.status(&other), None);
    assert!(rig.admits(&first));
    assert_eq!(rig.insert_with_key(&other, &key("portal", "k1", 2)), Inserted::OtherBody);
}

pub fn a_repeat_of_a_used_or_revoked_link_stores_nothing<R: Rig>() {
    let rig = R::new(10);
    let (used, revoked) = (rig.link(), rig.link());
    rig.insert_with_key(&used, &key("portal", "used", 1));
    rig.insert_with_key(&revoked, &key("portal", "revoked", 1));
    assert!(rig.admits(&used));
    rig.revoke(&revoked);
    for name in ["used", "revoked"] {
        let repeat = rig.link();
        assert_eq!(rig.insert_with_key(&repeat, &key("portal", name, 1)), Inserted::Ended, "{name}");
        assert_eq!(rig.status(&repeat), None, "{name}");
    }
    assert_eq!(rig.status(&used), Some(LinkStatus::Used));
    assert_eq!(rig.status(&revoked), Some(LinkStatus::Revoked));
}

pub fn a_repeat_of_an_expired_link_is_answered_under_its_id<R: Rig>() {
    let rig = R::new(10);
    let key = key("portal", "k1", 1);
    let life = rig.short_life();
    let first = link(rig.now(), life);
    rig.insert_with_key(&first, &key);
    rig.pass(life);
    let second = rig.link();
    assert_eq!(rig.insert_with_key(&second, &key), Inserted::Again(first.id.clone()));
    assert!(!rig.admits(&first));
    assert!(rig.admits(&second));
}

/// As the moment is kept before which tokens were revoked (`src/login/not_before.rs`).
pub fn a_repeat_with_the_same_token_is_read_with_the_time_of_the_last<R: Rig>() {
    let rig = R::new(1);
    let key = key("revoked:portal", "alice", 0);
    let record = || link_of(rig.now(), "alice", "revoked:portal");
    let first = record();
    let mut last = first.clone();
    assert_eq!(rig.insert_with_key(&first, &key), Inserted::New);
    for _ in 0..2 {
        rig.pass(rig.short_life());
        last = Link { digest: first.digest, ..record() };
        assert_eq!(rig.insert_with_key(&last, &key), Inserted::Again(first.id.clone()));
    }
    let found = rig.find(&first).expect("it is kept");
    assert!(
        found.issued.wall.duration_since(last.issued.wall).abs() < jiff::SignedDuration::from_millis(500)
    );
    assert_eq!((found.status, rig.store().live(rig.now())), (LinkStatus::Pending, 1));
    assert_eq!(rig.revoke_user("alice", "portal"), 0, "it is none of the app's links");
}

pub fn keys_of_two_apps_are_two_keys<R: Rig>() {
    let rig = R::new(10);
    let (one, two) = (rig.link(), link_of(rig.now(), "alice", "shop"));
    assert_eq!(rig.insert_with_key(&one, &key("portal", "k1", 1)), Inserted::New);
    assert_eq!(rig.insert_with_key(&two, &key("shop", "k1", 2)), Inserted::New);
    assert!(rig.admits(&one) && rig.admits(&two));
}

pub fn a_repeat_fits_into_a_full_store<R: Rig>() {
    let rig = R::new(2);
    let key = key("portal", "k1", 1);
    let (first, other) = (rig.link(), rig.link());
    rig.insert_with_key(&first, &key);
    rig.insert(&[&other]);
    assert_eq!(rig.insert_with_key(&rig.link(), &key), Inserted::Again(first.id.clone()));
    assert_eq!(rig.insert(&[&rig.link()]), Inserted::Full);
    assert!(rig.admits(&other));
}

pub fn racing_repeats_leave_one_live_token<R: Rig>() {
    let rig = R::new(100);
    let key = key("portal", "k1", 1);
    let links: Vec<Link> = (0..8).map(|_| rig.link()).collect();
    let answers = race(8, |number| rig.insert_with_key(&links[number], &key));
    let first: Vec<&Link> =
        links.iter().zip(&answers).filter(|(_, answer)| **answer == Inserted::New).map(|(l, _)| l).collect();
    assert_eq!(first.len(), 1, "{answers:?}");
    let again = Inserted::Again(first[0].id.clone());
    assert_eq!(answers.iter().filter(|answer| **answer == again).count(), 7, "{answers:?}");
    assert_eq!(links.iter().filter(|link| rig.admits(link)).count(), 1);
}

/// How a token that an app or a foreign issuer made is consumed (`login/replay_cache.rs`): under a key of its own, each time with another body.
pub fn of_racing_burnings_one_is_new<R: Rig>() {
    let rig = R::new(1000);
    for number in 0..20 {
        let name = format!("k{number}");
        let answers = race(8, |racer| {
            let body = u8::try_from(racer).expect("small");
            rig.insert_with_key(&rig.link(), &key("burnt:portal", &name, body))
        });
        assert_eq!(answers.iter().filter(|answer| **answer == Inserted::New).count(), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|answer| **answer == Inserted::OtherBody).count(), 7, "{answers:?}");
    }
}

pub fn a_repeat_that_races_a_login_leaves_one_success<R: Rig>() {
    let rig = R::new(1000);
    for number in 0..30 {
        let key = key("portal", &format!("k{number}"), 1);
        let (first, second) = (rig.link(), rig.link());
        rig.insert_with_key(&first, &key);
        let outcomes = race(2, |racer| match racer {
            0 => rig.admits(&first),
            _ => rig.insert_with_key(&second, &key) == Inserted::Ended,
        });
        assert_eq!(outcomes[0], outcomes[1], "admitted, and the repeat refused");
        assert_eq!(rig.admits(&second), !outcomes[0]);
    }
}
