//! The Redis store: the contract, and servers that are gone, unfit or changed by others.

use std::time::Duration;

use hublatch::clock::{Clock as _, Moment, SystemClock};
use hublatch::config::Redis;
use hublatch::store::{
    Consumed, Inserted, Link, LinkStatus, RedisError, RedisStore, Revoked, ServerError, TokenStore,
};

use crate::contract::{self, Calls as _, LIFE, Rig, contract, digest, key, link, race, wait};
use crate::server::{RedisServer, until};

/// A Redis and a store on it, in real time.
pub struct Remote {
    pub store: RedisStore,
    clock: SystemClock,
    pub server: RedisServer,
}

impl Rig for Remote {
    fn new(max_tokens: usize) -> Self {
        Self::on(RedisServer::start(), max_tokens)
    }

    fn store(&self) -> &dyn TokenStore {
        &self.store
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    /// The server's time is nobody's to set.
    fn pass(&self, span: Duration) {
        std::thread::sleep(span + Duration::from_millis(10));
    }

    fn short_life(&self) -> Duration {
        Duration::from_millis(400)
    }
}

impl Remote {
    pub fn on(server: RedisServer, max_tokens: usize) -> Self {
        Self::with(&server.config(), max_tokens, server)
    }

    /// As `redis` says.
    pub fn with(redis: &Redis, max_tokens: usize, server: RedisServer) -> Self {
        Self { store: open(redis, max_tokens), clock: SystemClock::new(), server }
    }

    /// What another replica of hublatch on the same server does.
    pub fn another(&self) -> RedisStore {
        open(&self.server.config(), 1000)
    }

    pub fn answers(&self) -> bool {
        wait(self.store.ping()).is_ok()
    }
}

pub fn open(redis: &Redis, max_tokens: usize) -> RedisStore {
    RedisStore::open(redis, max_tokens).expect("Redis is taken")
}

pub fn refusal(redis: &Redis) -> RedisError {
    RedisStore::open(redis, 10).expect_err("Redis is refused")
}

pub fn grants(store: &RedisStore, link: &Link) -> bool {
    matches!(wait(store.consume(link.digest, SystemClock::new().now())), Ok(Consumed::Granted(_)))
}

contract!(keeps_the_contract, Remote, #[ignore = "needs redis-server"]);

#[test]
#[ignore = "needs redis-server"]
fn replicas_share_links_revocations_and_keys() {
    let rig = Remote::new(1000);
    let (second, third) = (rig.another(), rig.another());
    let (first, other) = (rig.link(), rig.link());
    rig.insert(&[&first, &other]);
    assert!(grants(&second, &first));
    assert!(!grants(&rig.store, &first) && !grants(&third, &first));
    assert_eq!(wait(third.revoke(&other.id, "portal", rig.now())).expect("an answer"), Revoked::Dead);
    assert!(!grants(&rig.store, &other) && !grants(&second, &other));

    let repeated = rig.link();
    rig.insert_with_key(&repeated, &key("portal", "k1", 1));
    let again = wait(second.insert(vec![rig.link()], Some(key("portal", "k1", 1)), rig.now()));
    assert_eq!(again.expect("an answer"), Inserted::Again(repeated.id.clone()));
}

#[test]
#[ignore = "needs redis-server"]
fn of_racing_replicas_one_is_granted() {
    let rig = Remote::new(1000);
    let stores = [rig.another(), rig.another(), rig.another(), rig.another()];
    let links: Vec<Link> = (0..200).map(|_| rig.link()).collect();
    rig.insert(&links.iter().collect::<Vec<_>>());
    let granted =
        race(8, |racer| links.iter().map(|link| grants(&stores[racer % 4], link)).collect::<Vec<_>>());
    for number in 0..links.len() {
        assert_eq!(granted.iter().filter(|racer| racer[number]).count(), 1, "token {number}");
    }
}

#[test]
#[ignore = "needs redis-server"]
fn a_link_of_a_newer_hublatch_is_told_and_grants_nobody() {
    let rig = Remote::new(1000);
    let link = rig.link();
    rig.insert(&[&link]);
    let entry = format!("{{hublatch}}:l:{}", link.id.as_str());
    let record = rig.server.run(&["HGET", &entry, "rec"]);
    let newer = record.replace("\"v\":1", "\"v\":3,\"more\":true");
    assert_ne!(newer, record);
    rig.server.run(&["HSET", &entry, "rec", &newer]);
    let told = "was written by a newer hublatch (record version 3; this one reads up to 2)";
    let found = wait(rig.store.find(link.digest, rig.now())).expect_err("no link");
    assert!(found.to_string().ends_with(told), "{found}");
    let taken = wait(rig.store.consume(link.digest, rig.now())).expect_err("no login");
    assert!(taken.to_string().ends_with(told), "{taken}");
}

#[test]
#[ignore = "needs redis-server"]
fn a_server_that_is_gone_is_an_error_and_the_store_returns_with_it() {
    let mut rig = Remote::new(1000);
    let link = rig.link();
    rig.insert(&[&link]);
    rig.server.kill();
    for _ in 0..3 {
        assert!(wait(rig.store.consume(link.digest, rig.now())).is_err());
        assert!(wait(rig.store.insert(vec![rig.link()], None, rig.now())).is_err());
        assert!(!rig.answers());
    }
    rig.server.start_again();
    until("the store is back", || rig.answers());
    assert!(!rig.admits(&link), "it kept nothing");
    let new = rig.link();
    rig.insert(&[&new]);
    assert!(rig.admits(&new));
}

#[test]
#[ignore = "needs redis-server"]
fn a_server_that_stands_still_is_an_error_in_time() {
    let rig = Remote::new(10);
    let link = rig.link();
    rig.insert(&[&link]);
    // Another store than the one whose calls must succeed: on a busy machine those may take as long as this, too.
    let mut redis = rig.server.config();
    redis.timeout = Duration::from_millis(300);
    let mut opened = None;
    until("the hasty store is open", || {
        opened = RedisStore::open(&redis, 10).ok();
        opened.is_some()
    });
    let hasty = opened.expect("it is open");
    rig.server.stand_still(true);
    let begun = rig.now();
    assert!(wait(hasty.consume(link.digest, begun)).is_err());
    assert!(
        rig.now().monotonic < begun.monotonic + Duration::from_secs(2),
        "it waits no longer than its timeout"
    );
    rig.server.stand_still(false);
    until("the hasty store is back", || wait(hasty.ping()).is_ok());
    until("the store is back", || rig.answers());
    // Whether the take that was not answered has happened is not known: at most one has.
    let granted = (0..3).filter(|_| rig.admits(&link)).count();
    assert!(granted <= 1);
}

#[test]
#[ignore = "needs redis-server"]
fn a_server_that_evicts_is_refused_at_the_start_and_later() {
    for policy in ["allkeys-lru", "volatile-ttl", "allkeys-random"] {
        let server = RedisServer::with(&["--maxmemory-policy", policy]);
        let refused = refusal(&server.config());
        assert!(matches!(&refused, RedisError::Server(ServerError::Evicts(_))), "{refused}");
    }
    let rig = Remote::new(10);
    rig.server.run(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    until("the store refuses", || wait(rig.store.insert(vec![rig.link()], None, rig.now())).is_err());
    rig.server.run(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    until("the store is back", || rig.answers());
}

#[test]
#[ignore = "needs redis-server"]
fn a_full_server_refuses_and_evicts_nothing() {
    let rig = Remote::on(RedisServer::with(&["--maxmemory", "8mb"]), 1_000_000);
    let mut kept = Vec::new();
    loop {
        let link = link(rig.now(), LIFE * 10);
        match wait(rig.store.insert(vec![link.clone()], None, rig.now())) {
            Ok(Inserted::New) => kept.push(link),
            Ok(other) => panic!("{other:?}"),
            Err(_full) => break,
        }
        assert!(kept.len() < 100_000, "8 MB are full some time");
    }
    assert!(kept.len() > 100);
    // A take needs no memory to speak of, but Redis may refuse it as well: then nobody is logged in.
    until("the store is back", || wait(rig.store.find(kept[0].digest, rig.now())).is_ok());
    for link in kept.iter().step_by(97) {
        assert_eq!(rig.status(link), Some(LinkStatus::Pending));
    }
}

#[test]
#[ignore = "needs redis-server"]
fn a_replica_is_refused() {
    let (primary, replica) = (RedisServer::start(), RedisServer::start());
    replica.follow(&primary);
    let refused = refusal(&replica.config());
    assert!(matches!(refused, RedisError::Server(ServerError::Replica)), "{refused}");
}

#[test]
#[ignore = "needs redis-server"]
fn a_server_that_is_not_there_is_an_error_in_time() {
    let mut server = RedisServer::start();
    server.kill();
    let refused = refusal(&server.config());
    assert!(matches!(refused, RedisError::Connect(_)), "{refused}");
}

#[test]
#[ignore = "needs redis-server"]
fn every_key_that_a_link_leaves_ends_after_ten_minutes_but_the_index() {
    let rig = Remote::new(10);
    let (used, pending) = (rig.link(), rig.link());
    rig.insert_with_key(&used, &key("portal", "k1", 1));
    rig.insert(&[&pending]);
    rig.admits(&used);
    let keys = rig.server.run(&["KEYS", "*"]);
    assert!(keys.lines().count() >= 7, "{keys}");
    for name in keys.lines() {
        assert!(name.starts_with("{hublatch}:"), "{name}");
        let left: i64 = rig.server.run(&["PTTL", name]).parse().expect("a number");
        let is_read_later = ["l:", "t:", "k:"].iter().any(|kind| name.contains(&format!("}}:{kind}")));
        match name.strip_prefix("{hublatch}:") {
            Some("n" | "e") => assert_eq!(left, -1),
            Some(_) if is_read_later => assert!((610_000..=630_000).contains(&left), "{name}: {left}"),
            Some(_) | None => assert!((1..=30_000).contains(&left), "{name}: {left}"),
        }
    }
}

#[test]
#[ignore = "needs redis-server"]
fn a_record_that_was_tampered_with_logs_nobody_in() {
    let rig = Remote::new(100);
    let prefix = rig.server.config().prefix;
    let records = [
        "",
        "{}",
        "null",
        r#"{"v":3,"username":"admin","app":"portal","issued":"2026-01-01T00:00:00Z","expires":"2026-01-01T00:00:30Z"}"#,
        r#"{"v":1,"username":"a,b","app":"portal","issued":"2026-01-01T00:00:00Z","expires":"2026-01-01T00:00:30Z"}"#,
        r#"{"v":1,"username":"","app":"portal","issued":"2026-01-01T00:00:00Z","expires":"2026-01-01T00:00:30Z"}"#,
        r#"{"v":1,"username":"admin","app":"portal"}"#,
    ];
    for record in records {
        let link = rig.link();
        rig.insert(&[&link]);
        rig.server.run(&["HSET", &format!("{prefix}l:{}", link.id), "rec", record]);
        assert!(wait(rig.store.consume(link.digest, rig.now())).is_err(), "{record}");
    }
    // Another token made to lead to a link: the link knows its own.
    let (link, stray) = (rig.link(), digest());
    rig.insert(&[&link]);
    let stray_text =
        base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, stray.as_bytes());
    rig.server.run(&["SET", &format!("{prefix}t:{stray_text}"), link.id.as_str()]);
    assert_eq!(rig.consume(stray), Consumed::Unknown);
    assert!(rig.admits(&link));
}

#[test]
#[ignore = "needs redis-server"]
fn every_replica_hears_of_the_sessions_that_one_has_ended_until_they_are_forgotten() {
    let rig = Remote::new(100);
    let replica = rig.another();
    let heard = || wait(replica.ended_sessions().expect("others share this store")).expect("an answer");
    assert_eq!(heard(), Vec::<String>::new());
    let end = |ids: &[&str], remembered| {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        wait(rig.store.end_sessions(ids, remembered)).expect("it is told");
    };
    end(&["hl1.1900000000.x.y", "0123456789abcdef0123456789abcdef"], Duration::from_mins(10));
    let mut ids = heard();
    ids.sort();
    assert_eq!(ids, ["0123456789abcdef0123456789abcdef", "hl1.1900000000.x.y"]);
    end(&["soon-forgotten"], Duration::ZERO);
    assert_eq!(heard().len(), 2);
    assert!(rig.answers());
}
