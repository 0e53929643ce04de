//! At most one login through restarts from old files and through failovers, with real servers (T-ROLL of tests/README.md).

use hublatch::store::{Inserted, LinkStatus, Revoked, TokenStore as _};

use crate::contract::{Calls as _, Rig as _, wait};
use crate::redis::{Remote, grants, open};
use crate::server::{RedisServer, until};

#[test]
#[ignore = "needs redis-server"]
fn a_restart_from_an_old_file_brings_no_token_back() {
    let mut rig = Remote::new(1000);
    for round in 0..20 {
        assert!(rig.answers());
        let remembered = rig.store.memory(rig.now()).expect("heard").since;
        let burnt = rig.now().wall;
        let (used, revoked, pending) = (rig.link(), rig.link(), rig.link());
        rig.insert(&[&used, &revoked, &pending]);
        rig.server.run(&["SAVE"]);
        assert!(rig.admits(&used), "round {round}");
        assert_eq!(rig.revoke(&revoked), Revoked::Dead);
        rig.server.kill();
        rig.server.start_again();
        let kept = format!("{}t:*", rig.server.config().prefix);
        assert!(!rig.server.run(&["KEYS", &kept]).is_empty(), "the old file was loaded");
        until("the store is back", || rig.answers());
        for link in [&used, &revoked, &pending] {
            assert!(!rig.admits(link), "round {round}: a token of an earlier run");
            assert_eq!(rig.status(link), Some(LinkStatus::Expired));
        }
        // And what it burnt may be forgotten.
        let now_remembered = rig.store.memory(rig.now()).expect("heard").since;
        assert!(remembered <= burnt && burnt < now_remembered, "{remembered} {burnt} {now_remembered}");
        let new = rig.link();
        rig.insert(&[&new]);
        assert!(rig.admits(&new));
    }
}

#[test]
#[ignore = "needs redis-server"]
fn a_stale_replica_that_is_promoted_brings_no_token_back() {
    let mut rig = Remote::new(1000);
    let replica = RedisServer::start();
    for round in 0..50 {
        replica.follow(&rig.server);
        let (used, pending) = (rig.link(), rig.link());
        rig.insert(&[&used, &pending]);
        let id = format!("{}l:{}", rig.server.config().prefix, used.id);
        until("the replica has the link", || replica.run(&["EXISTS", &id]) == "1");
        replica.cut_off();
        assert!(rig.admits(&used), "round {round}");
        rig.server.kill();
        replica.promote();
        assert_eq!(replica.run(&["HGET", &id, "st"]), "p", "round {round}: it does not know of the take");
        let promoted = open(&replica.config(), 1000);
        for link in [&used, &pending] {
            assert!(!grants(&promoted, link), "round {round}: a token of another server");
        }
        let new = rig.link();
        let inserted = wait(promoted.insert(vec![new.clone()], None, rig.now()));
        assert_eq!(inserted.expect("an answer"), Inserted::New);
        assert!(grants(&promoted, &new));
        rig.server.start_again();
        until("the store is back", || rig.answers());
    }
}

#[test]
#[ignore = "needs redis-server"]
fn a_primary_that_was_only_cut_off_still_knows_best_what_it_issued() {
    let rig = Remote::new(1000);
    let replica = RedisServer::start();
    replica.follow(&rig.server);
    let (used, pending) = (rig.link(), rig.link());
    rig.insert(&[&used, &pending]);
    assert!(rig.admits(&used));
    replica.promote();
    let promoted = open(&replica.config(), 1000);
    assert!(!grants(&promoted, &used) && !grants(&promoted, &pending));
    assert!(rig.admits(&pending) && !rig.admits(&used));
}

#[test]
#[ignore = "needs redis-server"]
fn a_primary_that_was_a_replica_in_between_brings_no_token_back() {
    let rig = Remote::new(1000);
    let stale = RedisServer::start();
    stale.follow(&rig.server);
    let used = rig.link();
    rig.insert(&[&used]);
    let id = format!("{}l:{}", rig.server.config().prefix, used.id);
    until("the replica has the link", || stale.run(&["EXISTS", &id]) == "1");
    stale.cut_off();
    assert!(rig.admits(&used));
    stale.promote();
    // The same process, so the same run_id, with the data of the stale one.
    rig.server.follow(&stale);
    rig.server.promote();
    assert_eq!(rig.server.run(&["HGET", &id, "st"]), "p", "its data do not know of the take");
    until("the store is back", || rig.answers());
    assert!(!rig.admits(&used));
}

#[test]
#[ignore = "needs redis-server"]
fn a_primary_that_becomes_a_replica_logs_nobody_in() {
    let rig = Remote::new(1000);
    let other = RedisServer::start();
    let link = rig.link();
    rig.insert(&[&link]);
    rig.server.run(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    assert!(wait(rig.store.consume(link.digest, rig.now())).is_err());
    assert!(!rig.answers());
}
