//! One routing table for several hublatch, in a real Redis: what the hub writes at one, all go by.

use std::time::{Duration, Instant};

use hublatch::store::{RedisStore, RouteWritten, SharedTable, Synced, TableVersion, TokenStore as _};

use crate::contract::wait;
use crate::redis::open;
use crate::server::{RedisServer, until};
use crate::support::proxy::Builder;
use crate::support::requests::get;
use crate::support::{FakeHub, TestProxy};

/// Replicas, their hub and their Redis.
struct Place {
    builder: Builder,
    hub: FakeHub,
    redis: RedisServer,
}

impl Place {
    fn new() -> Self {
        let (hub, redis) = (FakeHub::start(), RedisServer::start());
        let url = format!("url = \"redis://127.0.0.1:{}\"", redis.port());
        let builder = TestProxy::before(&hub).routed().set("store", &url).set("routes", "state = \"store\"");
        Self { builder, hub, redis }
    }

    /// As many, and the hub's route.
    fn replicas<const N: usize>(&self) -> [TestProxy; N] {
        let replicas = std::array::from_fn(|_| self.builder.another());
        let first: &TestProxy = &replicas[0];
        first.add_route("/", &self.hub.url(), r#""hub":true"#);
        replicas
    }

    /// The table as something else than a hublatch sees it.
    fn other(&self) -> (RedisStore, SharedTable) {
        other(&self.redis)
    }

    /// Starts the Redis that was killed with what `forgetful` holds: the replicas find it only after `forgetful` was
    /// written to.
    fn start_redis_as(&mut self, forgetful: &RedisServer) {
        self.redis.launch_again(&["--replicaof", "127.0.0.1", &forgetful.port().to_string()]);
        self.redis.wait_for_primary();
        self.redis.promote();
    }

    /// The keys in Redis.
    fn kept(&self) -> Vec<String> {
        let mut keys: Vec<String> =
            self.redis.run(&["HKEYS", "{hublatch}:routes"]).lines().map(str::to_owned).collect();
        keys.sort();
        keys
    }
}

/// The table in a Redis as something else than a hublatch sees it.
fn other(redis: &RedisServer) -> (RedisStore, SharedTable) {
    let store = open(&redis.config(), 100);
    let table = store.shared_table("other").expect("it is shared");
    (store, table)
}

/// The whole table.
fn all(table: &SharedTable) -> (TableVersion, Vec<(String, String)>) {
    let Ok(Synced::All(version, rows)) = wait(table.sync(None)) else { panic!("no table") };
    let mut rows: Vec<_> = rows.into_iter().map(|(key, route)| (key, route.expect("a route"))).collect();
    rows.sort();
    (version, rows)
}

fn write(table: &SharedTable, key: &str, target: Option<&str>) -> RouteWritten {
    let route = target.map(|target| {
        format!("{{\"key\":{key:?},\"target\":{target:?},\"data\":{{\"user\":\"u\"}},\"last_activity\":1}}")
    });
    let known = TableVersion::default();
    wait(table.write(&known, key, route.as_deref(), 1)).expect("Redis answers")
}

fn done(written: RouteWritten) -> TableVersion {
    let RouteWritten::Done(version) = written else { panic!("{written:?}") };
    version
}

fn status(proxy: &TestProxy, target: &str) -> u16 {
    proxy.connect().ask(get(target, &[])).status
}

/// The keys of a replica's table.
fn keys(proxy: &TestProxy) -> Vec<String> {
    let table = proxy.routes("GET", "", "");
    assert_eq!(table.status, 200);
    let table: serde_json::Value = serde_json::from_slice(&table.body).expect("JSON");
    let mut keys: Vec<String> = table.as_object().expect("a table").keys().cloned().collect();
    keys.sort();
    keys
}

#[test]
#[ignore = "needs redis-server"]
fn a_route_written_at_one_is_in_force_at_all_when_its_201_is_there() {
    let place = Place::new();
    let replicas: [TestProxy; 3] = place.replicas();
    let (one, two) = (FakeHub::start(), FakeHub::start());
    let mut wires = [0, 1, 2].map(|number| replicas[number].connect());
    for turn in 0..100 {
        let now = if turn % 2 == 0 { &one } else { &two };
        replicas[turn % 3].add_route("/user/alice", &now.url(), r#""user":"alice""#);
        for (number, wire) in wires.iter_mut().enumerate() {
            let path = format!("/user/alice/{turn}/{number}");
            assert_eq!(wire.ask(get(&path, &[])).status, 200);
            assert_eq!(now.seen_at(&path).len(), 1, "{path}");
        }
    }
    assert_eq!(replicas[1].routes("DELETE", "/user/alice", "").status, 204);
    for replica in &replicas {
        assert_eq!(keys(replica), ["/"]);
        assert_eq!(replica.routes("DELETE", "/user/alice", "").status, 404);
    }
}

#[test]
#[ignore = "needs redis-server"]
fn a_replica_that_starts_has_the_table_before_it_answers_anybody() {
    let place = Place::new();
    let notebook = FakeHub::start();
    let [first] = place.replicas();
    first.add_route("/user/alice", &notebook.url(), r#""user":"alice","server_name":"""#);
    let second = place.builder.another();
    assert_eq!(status(&second, "/user/alice/lab"), 200);
    assert_eq!(notebook.seen_at("/user/alice/lab").len(), 1);
    // With all of them gone, too: the hub need not be there.
    first.drain();
    first.join_within(Duration::from_secs(10));
    second.drain();
    second.join_within(Duration::from_secs(10));
    let third = place.builder.another();
    assert_eq!(keys(&third), ["/", "/user/alice"]);
    let route = third.routes("GET", "/user/alice", "");
    let route: serde_json::Value = serde_json::from_slice(&route.body).expect("JSON");
    assert_eq!((&route["user"], &route["server_name"]), (&"alice".into(), &"".into()));
}

#[test]
#[ignore = "needs redis-server"]
fn without_redis_requests_go_on_and_the_table_cannot_be_written() {
    let mut place = Place::new();
    let notebook = FakeHub::start();
    let [first, second] = place.replicas();
    first.add_route("/user/alice", &notebook.url(), r#""user":"alice""#);
    place.redis.kill();
    let body = format!("{{\"target\":{:?},\"user\":\"bob\"}}", notebook.url());
    for replica in [&first, &second] {
        let refused = replica.routes("POST", "/user/bob", &body);
        assert_eq!((refused.status, refused.headers.get("retry-after")), (503, Some("1")));
        assert_eq!(replica.routes("DELETE", "/user/alice", "").status, 503);
        assert_eq!(keys(replica), ["/", "/user/alice"]);
        assert_eq!(status(replica, "/user/alice/x"), 200);
    }
    // It comes back with nothing: it is told the table that is in force.
    place.redis.start_again();
    until("it can be written", || first.routes("POST", "/user/bob", &body).status == 201);
    // One that has not found it again yet is not waited for.
    for replica in [&first, &second] {
        until("all go by it", || keys(replica) == ["/", "/user/alice", "/user/bob"]);
    }
    assert_eq!(place.redis.run(&["HLEN", "{hublatch}:routes"]), "3");
}

#[test]
#[ignore = "needs redis-server"]
fn a_replica_that_was_killed_holds_up_one_change_and_no_second() {
    let place = Place::new();
    let [first] = place.replicas();
    let now = place.redis.run(&["TIME"]);
    let seconds = now.lines().next().expect("seconds");
    place.redis.run(&["HSET", "{hublatch}:routes:replicas", "ghost", &format!(":0 {seconds}000")]);
    let begun = Instant::now();
    first.add_route("/user/alice", "http://127.0.0.1:9", r#""user":"alice""#);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(place.redis.run(&["HEXISTS", "{hublatch}:routes:replicas", "ghost"]), "0");
}

#[test]
#[ignore = "needs redis-server"]
fn one_that_ends_is_not_waited_for() {
    let place = Place::new();
    let [first, second] = place.replicas();
    assert_eq!(place.redis.run(&["HLEN", "{hublatch}:routes:replicas"]), "2");
    second.drain();
    second.join_within(Duration::from_secs(10));
    assert_eq!(place.redis.run(&["HLEN", "{hublatch}:routes:replicas"]), "1");
    first.add_route("/user/alice", "http://127.0.0.1:9", r#""user":"alice""#);
}

#[test]
#[ignore = "needs redis-server"]
fn a_user_whose_route_has_not_come_yet_is_looked_for_in_redis() {
    let place = Place::new();
    let notebook = FakeHub::start();
    let [replica] = place.replicas();
    let (_store, other) = place.other();
    for number in 0..5 {
        // No message tells it.
        place.redis.run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        let (key, path) = (format!("/user/u{number}"), format!("/user/u{number}/lab"));
        let written = write(&other, &key, Some(&notebook.url()));
        assert!(matches!(written, RouteWritten::Done(_)), "{written:?}");
        assert_eq!(status(&replica, &path), 200);
        assert_eq!(notebook.seen_at(&path).len(), 1, "{path} went to the hub");
        // Once in a while is enough.
        std::thread::sleep(Duration::from_millis(30));
    }
}

#[test]
#[ignore = "needs redis-server"]
fn the_latest_use_at_any_replica_is_told_by_all() {
    let place = Place::new();
    let notebook = FakeHub::start();
    let [first, second] = place.replicas();
    first.add_route("/user/alice", &notebook.url(), r#""user":"alice""#);
    assert_second_tells_what_first_has_seen(&first, &second);
}

/// Of the use of alice's server.
fn assert_second_tells_what_first_has_seen(first: &TestProxy, second: &TestProxy) {
    let before = second.last_activity("/user/alice");
    until("a later use", || {
        assert_eq!(status(first, "/user/alice/x"), 200);
        first.last_activity("/user/alice") > before
    });
    let used = first.last_activity("/user/alice");
    until("the other tells it", || second.last_activity("/user/alice") >= used);
}

#[test]
#[ignore = "needs redis-server"]
fn a_route_of_the_hub_that_was_refused_comes_in_when_a_reload_says_that_it_is_right() {
    let place = Place::new();
    let elsewhere = FakeHub::start();
    let second = place.builder.clone().pinned(&elsewhere.url()).start();
    let [first] = place.replicas();
    first.add_route("/user/alice", "http://127.0.0.1:9", r#""user":"alice""#);
    assert_eq!((keys(&first).len(), keys(&second)), (2, vec!["/user/alice".to_owned()]));
    second.reload(&place.builder.clone().pinned(&place.hub.url())).expect("reloaded");
    until("it is read again", || keys(&second) == ["/", "/user/alice"]);
    assert_eq!(status(&second, "/hub/home"), 200);
}

#[test]
#[ignore = "needs redis-server"]
fn one_whose_clock_runs_ahead_makes_nobody_deaf_for_what_the_others_tell() {
    let place = Place::new();
    let notebook = FakeHub::start();
    let [first, second] = place.replicas();
    for user in ["alice", "bob"] {
        first.add_route(&format!("/user/{user}"), &notebook.url(), &format!(r#""user":{user:?}"#));
    }
    let (_store, table) = place.other();
    let hour = 3_600_000;
    let ahead = hublatch::last_activity::now_millis() + hour;
    let used = vec![("/user/bob".to_owned(), ahead)];
    wait(table.activity(0, &used)).expect("Redis answers");
    let of_bob = second.last_activity("/user/bob");
    until("the other is told of bob", || second.last_activity("/user/bob") > of_bob);
    assert_second_tells_what_first_has_seen(&first, &second);
    // One who is ahead itself hears of what was just now by the clock of Redis.
    let told = wait(table.activity(ahead, &[])).expect("Redis answers");
    assert!(told.iter().any(|(key, _)| key == "/user/alice"), "{told:?}");
}

#[test]
#[ignore = "needs redis-server"]
fn a_redis_that_is_empty_again_is_told_the_times_of_use_as_well() {
    let mut place = Place::new();
    let [replica] = place.replicas();
    replica.add_route("/user/alice", "http://127.0.0.1:9", r#""user":"alice""#);
    // Redis knows it before it forgets.
    let ahead = hublatch::last_activity::now_millis() + 1000;
    let (store, table) = place.other();
    wait(table.activity(0, &[("/user/alice".to_owned(), ahead)])).expect("Redis answers");
    let written = replica.last_activity("/user/alice");
    until("it is told", || replica.last_activity("/user/alice") > written);
    drop(store);
    place.redis.kill();
    let empty = RedisServer::start();
    let (store, new) = other(&empty);
    all(&new);
    drop(store);
    place.start_redis_as(&empty);
    until("Redis is told", || place.kept() == ["/", "/user/alice"]);
    let (_store, table) = place.other();
    let told = || wait(table.activity(0, &[])).expect("Redis answers");
    until("and when they were used", || told().contains(&("/user/alice".to_owned(), ahead)));
}

#[test]
#[ignore = "needs redis-server"]
fn times_of_use_only_go_forward_and_belong_to_routes() {
    let place = Place::new();
    let (_store, table) = place.other();
    let known = TableVersion::default();
    let write = |key: &str, used| wait(table.write(&known, key, Some("{}"), used)).expect("Redis answers");
    write("/a", 1000);
    let tell = |used: &[(String, u64)]| {
        let mut told = wait(table.activity(0, used)).expect("Redis answers");
        told.sort();
        told
    };
    assert_eq!(tell(&[("/a".to_owned(), 900), ("/gone".to_owned(), 5000)]), [("/a".to_owned(), 1000)]);
    assert_eq!(tell(&[("/a".to_owned(), 1_764_000_000_123)]), [("/a".to_owned(), 1_764_000_000_123)]);
    // Written anew it has the time of then.
    write("/a", 2000);
    assert_eq!(tell(&[]), [("/a".to_owned(), 2000)]);
}

#[test]
#[ignore = "needs redis-server"]
fn who_has_missed_deletions_that_are_forgotten_reads_the_whole_table() {
    let place = Place::new();
    let (_store, table) = place.other();
    let known = TableVersion::default();
    let write = |key: &str, route| wait(table.write(&known, key, route, 1)).expect("Redis answers");
    let done = |key: &str, route| done(write(key, route));
    done("/kept", Some("{}"));
    let second = done("/user/0", Some("{}"));
    let since = |known| wait(table.sync(Some(known))).expect("Redis answers");
    let third = done("/user/0", None);
    assert_eq!((second.number(), third.number()), (2, 3));
    assert_eq!(write("/user/0", None), RouteWritten::Unknown);
    assert_eq!(since(&second), Synced::Changes(third.clone(), vec![("/user/0".to_owned(), None)]));
    assert_eq!(since(&third), Synced::Changes(third.clone(), vec![]));
    for number in 0..2100 {
        write(&format!("/user/{number}"), Some("{}"));
        write(&format!("/user/{number}"), None);
    }
    assert_eq!(all(&table).1, [("/kept".to_owned(), "{}".to_owned())]);
    let Synced::All(_, rows) = since(&second) else { panic!("not the whole table") };
    assert_eq!(rows, [("/kept".to_owned(), Some("{}".to_owned()))]);
    let rows: i64 = place.redis.run(&["ZCARD", "{hublatch}:routes:changed"]).parse().expect("a number");
    assert!(rows < 2100, "{rows} deleted keys are kept");
}

/// Two replicas, and the change that only one of them has when Redis dies: who comes back first must not matter.
#[test]
#[ignore = "needs redis-server"]
fn a_redis_that_is_told_an_older_table_is_told_the_later_one_by_who_has_it() {
    let mut place = Place::new();
    let [replica] = place.replicas();
    replica.add_route("/user/alice", "http://127.0.0.1:9", r#""user":"alice""#);
    let (store, slow) = place.other();
    let (known, rows) = all(&slow);
    wait(slow.leave()).expect("Redis answers");
    assert_eq!(replica.routes("DELETE", "/user/alice", "").status, 204);
    drop(store);
    place.redis.kill();
    let forgetful = RedisServer::start();
    let (store, slow) = other(&forgetful);
    assert_eq!(wait(slow.sync(Some(&known))).expect("Redis answers"), Synced::Behind);
    wait(slow.seed(&known, &rows)).expect("Redis answers");
    assert_eq!(all(&slow).1, rows);
    drop(store);
    place.start_redis_as(&forgetful);
    until("Redis is told", || place.kept() == ["/"]);
    let (_store, slow) = place.other();
    let Ok(Synced::All(_, rows)) = wait(slow.sync(Some(&known))) else { panic!("not the whole table") };
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(keys(&replica), ["/"]);
}

#[test]
#[ignore = "needs redis-server"]
fn a_change_that_redis_has_lost_is_at_no_replica_once_another_has_its_number() {
    let mut place = Place::new();
    let [replica] = place.replicas();
    replica.add_route("/user/alice", "http://127.0.0.1:9", r#""user":"alice""#);
    let (store, slow) = place.other();
    let (known, rows) = all(&slow);
    wait(slow.leave()).expect("Redis answers");
    replica.add_route("/user/carol", "http://127.0.0.1:9", r#""user":"carol""#);
    let lost = all(&slow).0;
    drop(store);
    place.redis.kill();
    let forgetful = RedisServer::start();
    let (store, slow) = other(&forgetful);
    wait(slow.seed(&known, &rows)).expect("Redis answers");
    let written = done(write(&slow, "/user/bob", Some("http://127.0.0.1:9")));
    drop(store);
    place.start_redis_as(&forgetful);
    until("all go by one table", || keys(&replica) == ["/", "/user/alice", "/user/bob"]);
    assert_eq!(place.kept(), ["/", "/user/alice", "/user/bob"]);
    assert_eq!(written.number(), lost.number());
    assert!(written > lost, "{written} {lost}");
}

#[test]
#[ignore = "needs redis-server"]
fn what_was_written_to_a_redis_that_is_empty_again_is_not_undone_by_who_remembers() {
    // The number is less than that of those who remember, or has passed it.
    for writes in [0, 1, 20] {
        let mut place = Place::new();
        let [replica] = place.replicas();
        replica.add_route("/user/alice", "http://127.0.0.1:9", r#""user":"alice""#);
        place.redis.kill();
        let empty = RedisServer::start();
        let (store, new) = other(&empty);
        assert_eq!(all(&new), (TableVersion::default(), vec![]));
        // That there is none was an answer too: after it there is none.
        assert_eq!(write(&new, "/user/alice", None), RouteWritten::Unknown);
        for _ in 0..writes {
            write(&new, "/user/bob", Some("http://127.0.0.1:9"));
        }
        drop(store);
        place.start_redis_as(&empty);
        let wanted: &[&str] = if writes == 0 { &[] } else { &["/user/bob"] };
        until("it goes by what was written", || keys(&replica) == wanted);
        assert_eq!(place.kept(), wanted);
    }
}

#[test]
#[ignore = "needs redis-server"]
fn a_redis_that_is_empty_again_and_was_only_read_is_told_the_table() {
    let mut place = Place::new();
    let [replica] = place.replicas();
    place.redis.kill();
    let empty = RedisServer::start();
    let (store, new) = other(&empty);
    let (nothing, _) = all(&new);
    drop(store);
    place.start_redis_as(&empty);
    until("Redis is told", || place.kept() == ["/"]);
    assert_eq!(keys(&replica), ["/"]);
    // Who has started on the empty one hears of it, and does not tell it nothing.
    let (_store, new) = place.other();
    let Ok(Synced::All(version, rows)) = wait(new.sync(Some(&nothing))) else {
        panic!("not the whole table")
    };
    assert_eq!(rows.len(), 1, "{rows:?}");
    wait(new.seed(&nothing, &[])).expect("Redis answers");
    assert_eq!(all(&new).0, version);
}

#[test]
#[ignore = "needs redis-server"]
fn the_first_write_after_a_restart_begins_an_epoch_and_the_next_does_not() {
    let place = Place::new();
    let (_store, table) = place.other();
    let write = || done(write(&table, "/user/alice", Some("http://127.0.0.1:9")));
    let epoch = || place.redis.run(&["GET", "{hublatch}:routes:epoch"]);
    let first = write();
    let of_first = epoch();
    let second = write();
    assert_eq!((epoch(), second.number()), (of_first.clone(), 2));
    // What a server that was started again from its file finds.
    let (of_server, _run) = of_first.split_once(' ').expect("an epoch and a run");
    place.redis.run(&["SET", "{hublatch}:routes:epoch", &format!("{of_server} {}", "0".repeat(80))]);
    let third = write();
    assert_ne!(epoch(), of_first);
    assert!(first < second && second < third, "{first} {second} {third}");
    // A clock that was set back makes no earlier epoch.
    place.redis.run(&["SET", "{hublatch}:routes:epoch", &format!("9000000000000000{} ", "f".repeat(16))]);
    write();
    assert!(epoch().starts_with("9000000000000001"), "{}", epoch());
}

#[test]
#[ignore = "needs redis-server"]
fn a_user_with_no_more_than_the_documented_commands_can_keep_the_table() {
    let server = RedisServer::start();
    let documented = include_str!("../../docs/stores-and-replicas.md").split_whitespace();
    let documented = documented.map(|word| word.trim_matches(|mark: char| "`(),;".contains(mark)));
    let commands: Vec<&str> = documented.filter(|word| word.starts_with('+')).collect();
    let user = ["ACL", "SETUSER", "hublatch", "on", ">secret", "~{hublatch}:*", "&{hublatch}:*", "-@all"];
    server.run(&[&user[..], &commands].concat());
    let mut redis = server.config();
    redis.username = Some("hublatch".to_owned());
    redis.password = Some("secret".to_owned().into());
    let store = open(&redis, 100);
    let table = store.shared_table("other").expect("it is shared");
    let written = done(write(&table, "/user/alice", Some("http://127.0.0.1:9")));
    assert_eq!(all(&table).1.len(), 1);
    assert_eq!(wait(table.late(&written, true)).expect("allowed"), ["other"]);
    wait(table.activity(0, &[("/user/alice".to_owned(), 2)])).expect("allowed");
    let deleted = done(write(&table, "/user/alice", None));
    assert_eq!(
        wait(table.sync(Some(&written))).expect("allowed"),
        Synced::Changes(deleted.clone(), vec![("/user/alice".to_owned(), None)])
    );
    server.run(&["FLUSHALL"]);
    wait(table.seed(&deleted, &[("/".to_owned(), "{}".to_owned())])).expect("allowed");
    assert_eq!(all(&table).0, deleted);
    wait(table.leave()).expect("allowed");
    let subscribed = tokio::sync::Notify::new();
    wait(async {
        tokio::select! {
            ended = table.listen(|| subscribed.notify_one()) => panic!("{ended:?}"),
            () = subscribed.notified() => {}
        }
    });
}
