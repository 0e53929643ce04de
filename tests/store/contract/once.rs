//! At most one login per token.

use super::*;

pub fn a_token_admits_one_login<R: Rig>() {
    let rig = R::new(10);
    let link = rig.link();
    assert_eq!(rig.insert(&[&link]), Inserted::New);
    assert_eq!(rig.status(&link), Some(LinkStatus::Pending));

    let Consumed::Granted(granted) = rig.consume(link.digest) else { panic!("the first login") };
    assert_eq!((granted.status, granted.grant), (LinkStatus::Used, link.grant.clone()));
    assert!(granted.used_at.is_some());

    for _ in 0..3 {
        let Consumed::Ended(ended) = rig.consume(link.digest) else { panic!("a second login") };
        assert_eq!((ended.status, &ended.id), (LinkStatus::Used, &link.id));
    }
    let found = rig.find(&link).expect("a used link can be read");
    assert_eq!(found.status, LinkStatus::Used);
    assert!(found.used_at.is_some());
}

pub fn of_racing_consumers_one_is_granted<R: Rig>() {
    let rig = R::new(1000);
    let links: Vec<Link> = (0..50).map(|_| rig.link()).collect();
    assert_eq!(rig.insert(&links.iter().collect::<Vec<_>>()), Inserted::New);
    // Each racer goes through all tokens, so that all of them meet at some.
    let granted = race(8, |_| links.iter().map(|link| rig.admits(link)).collect::<Vec<_>>());
    for number in 0..links.len() {
        let successes = granted.iter().filter(|racer| racer[number]).count();
        assert_eq!(successes, 1, "token {number}");
    }
    assert_eq!(rig.store().live(rig.now()), 0);
}

pub fn a_token_that_is_unknown_admits_nobody<R: Rig>() {
    let rig = R::new(10);
    assert_eq!(rig.insert(&[&rig.link()]), Inserted::New);
    let unknown = rig.link();
    assert_eq!(rig.find(&unknown), None);
    assert_eq!(rig.consume(unknown.digest), Consumed::Unknown);
}

pub fn a_revoked_link_admits_nobody<R: Rig>() {
    let rig = R::new(10);
    let link = rig.link();
    rig.insert(&[&link]);
    assert_eq!(rig.revoke(&link), Revoked::Dead);
    let Consumed::Ended(ended) = rig.consume(link.digest) else { panic!("a login after a revocation") };
    assert_eq!((ended.status, ended.used_at), (LinkStatus::Revoked, None));
}

pub fn a_revocation_that_races_a_login_either_comes_first_or_says_used<R: Rig>() {
    let rig = R::new(1000);
    let links: Vec<Link> = (0..50).map(|_| rig.link()).collect();
    rig.insert(&links.iter().collect::<Vec<_>>());
    let outcomes = race(2, |racer| {
        let each = links.iter().map(|link| match racer {
            0 => rig.admits(link),
            _ => rig.revoke(link) == Revoked::Used,
        });
        each.collect::<Vec<_>>()
    });
    assert_eq!(outcomes[0], outcomes[1], "admitted, and said to be used");
}
