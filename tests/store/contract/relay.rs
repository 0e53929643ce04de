//! What a store promises that several replicas share: a word between them, and something that is left.

use std::time::Duration;

use hublatch::store::{Relay, SealedAnswer, Seen};

use super::{LIFE, Rig, digest, wait};

const NOTHING: Seen = Seen { under_way: false, sealed: None };

fn left(name: [u8; 32], life: Duration) -> Option<SealedAnswer> {
    // Bytes that are no text, and a NUL among them.
    Some(SealedAnswer { name, sealed: vec![0, 0xff, b'\n', 0x80], life })
}

fn relay<R: Rig>(rig: &R) -> &dyn Relay {
    rig.store().relay().expect("a store that replicas share")
}

pub fn a_login_is_under_way_until_it_ends<R: Rig>() {
    let rig = R::new(1);
    let relay = relay(&rig);
    let (token, other) = (digest(), digest());
    assert_eq!(wait(relay.ask(token, [1; 32], LIFE)).unwrap(), NOTHING);
    wait(relay.begin(token, LIFE)).unwrap();
    assert!(wait(relay.ask(token, [1; 32], LIFE)).unwrap().under_way);
    assert_eq!(wait(relay.ask(other, [1; 32], LIFE)).unwrap(), NOTHING, "of another token");
    wait(relay.end(token, None)).unwrap();
    assert_eq!(wait(relay.ask(token, [1; 32], LIFE)).unwrap(), NOTHING);
}

pub fn what_is_left_is_taken_once_and_by_its_name<R: Rig>() {
    let rig = R::new(1);
    let relay = relay(&rig);
    let token = digest();
    wait(relay.begin(token, LIFE)).unwrap();
    wait(relay.end(token, left([1; 32], LIFE))).unwrap();
    assert_eq!(wait(relay.ask(token, [2; 32], LIFE)).unwrap(), NOTHING);
    let taken = Seen { under_way: false, sealed: Some(vec![0, 0xff, b'\n', 0x80]) };
    assert_eq!(wait(relay.ask(token, [1; 32], LIFE)).unwrap(), taken);
    assert_eq!(wait(relay.ask(token, [1; 32], LIFE)).unwrap(), NOTHING);
}

pub fn no_word_outlives_its_time<R: Rig>() {
    let rig = R::new(1);
    let relay = relay(&rig);
    let (token, other) = (digest(), digest());
    wait(relay.begin(token, rig.short_life())).unwrap();
    wait(relay.end(other, left([2; 32], rig.short_life()))).unwrap();
    rig.pass(rig.short_life());
    assert_eq!(wait(relay.ask(token, [1; 32], LIFE)).unwrap(), NOTHING);
    assert_eq!(wait(relay.ask(other, [2; 32], LIFE)).unwrap(), NOTHING);
}

pub fn who_asks_is_known_while_the_login_is_under_way<R: Rig>() {
    let rig = R::new(1);
    let relay = relay(&rig);
    let token = digest();
    wait(relay.ask(token, [1; 32], LIFE)).unwrap();
    assert!(!wait(relay.is_asked_for([1; 32])).unwrap(), "for nothing");
    wait(relay.begin(token, LIFE)).unwrap();
    wait(relay.ask(token, [1; 32], LIFE)).unwrap();
    assert!(wait(relay.is_asked_for([1; 32])).unwrap());
    assert!(!wait(relay.is_asked_for([2; 32])).unwrap());
    wait(relay.ask(token, [3; 32], rig.short_life())).unwrap();
    rig.pass(rig.short_life());
    assert!(!wait(relay.is_asked_for([3; 32])).unwrap());
}
