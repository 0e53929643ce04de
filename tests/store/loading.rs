//! A Redis that was restarted together with hublatch, as after a power cut: it answers, but still loads its data.

use std::time::Duration;

use hublatch::config::Redis;
use hublatch::store::{RedisError, TokenStore as _};

use crate::contract::wait;
use crate::inspect::complaints;
use crate::redis::{open, refusal};
use crate::server::{RedisServer, until};

/// A server that loads for minutes, unless it is told to hurry; and what hublatch is told of it.
fn loading() -> (RedisServer, Redis) {
    let mut server = RedisServer::with(&["--rdbcompression", "no"]);
    let fill = "for number = 1, 10000 do redis.call('SET', 'other:' .. number, string.rep('x', 200)) end";
    server.run(&["EVAL", fill, "0"]);
    server.run(&["SAVE"]);
    server.kill();
    // In microseconds; and it answers again and again meanwhile, as one with much data does.
    server.launch_again(&["--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"]);
    until("it loads", || server.try_run(&["PING"]).is_err_and(|error| error.starts_with("LOADING")));
    // It answers between two keys only.
    let redis = Redis {
        timeout: Duration::from_secs(30),
        loading_timeout: Duration::from_mins(1),
        ..server.config()
    };
    (server, redis)
}

#[test]
#[ignore = "needs redis-server"]
fn a_server_that_loads_its_data_is_waited_for() {
    let (server, redis) = loading();
    server.run(&["CONFIG", "RESETSTAT"]);
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| open(&redis, 10));
        until("the store has met it", || {
            server.run(&["INFO", "errorstats"]).contains("LOADING") || opening.is_finished()
        });
        server.run(&["CONFIG", "SET", "key-load-delay", "0"]);
        let store = opening.join().expect("it opens");
        assert!(wait(store.ping()).is_ok());
    });
}

#[test]
#[ignore = "needs redis-server"]
fn a_server_that_does_not_come_to_an_end_with_it_is_told() {
    let (_server, mut redis) = loading();
    redis.loading_timeout = Duration::from_millis(300);
    let refused = refusal(&redis);
    assert!(matches!(refused, RedisError::NotUp { .. }), "{refused}");
    let told = refused.to_string();
    assert!(
        told.starts_with("Redis is not up after 300ms (store.loading_timeout): connect to Redis: "),
        "{told}"
    );
    redis.loading_timeout = Duration::from_hours(1);
    let told = complaints(redis);
    assert!(told.iter().any(|text| text.contains("loading the dataset")), "without a wait: {told:?}");
}

#[test]
#[ignore = "needs redis-server"]
fn a_server_that_takes_no_connections_yet_is_waited_for() {
    let mut server = RedisServer::start();
    let redis = Redis { loading_timeout: Duration::from_mins(1), ..server.config() };
    server.kill();
    let without_a_wait = Redis { loading_timeout: Duration::ZERO, ..redis.clone() };
    let refused = refusal(&without_a_wait);
    assert!(matches!(refused, RedisError::Connect(_)), "{refused}");
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| open(&redis, 10));
        server.launch_again(&[]);
        let store = opening.join().expect("it opens");
        assert!(wait(store.ping()).is_ok());
    });
}

#[test]
#[ignore = "needs redis-server"]
fn a_server_that_never_comes_is_told_with_what_the_last_try_has_met() {
    let mut server = RedisServer::start();
    let redis = Redis { loading_timeout: Duration::from_millis(300), ..server.config() };
    server.kill();
    let refused = refusal(&redis);
    assert!(matches!(refused, RedisError::NotUp { .. }), "{refused}");
    assert!(refused.to_string().contains("refused"), "{refused}");
}
