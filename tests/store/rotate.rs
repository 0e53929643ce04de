//! Keys that are replaced and taken away under load, over a real Redis (as in `tests/it/rotate.rs`).

use crate::server::RedisServer;
use crate::support::proxy::Builder;
use crate::support::{FakeHub, TestProxy, rotation};

fn builder(hub: &FakeHub, redis: &RedisServer) -> Builder {
    let url = format!("redis://127.0.0.1:{}", redis.port());
    TestProxy::before(hub)
        .set("store", &format!("url = {url:?}"))
        .portal("rate = \"100000/s\"\nmax_live_links = 100000")
}

#[test]
#[ignore = "needs redis-server"]
fn a_key_is_replaced_under_load_and_nobody_is_refused() {
    let (hub, redis) = (FakeHub::start(), RedisServer::start());
    rotation::a_key_is_replaced(&builder(&hub, &redis));
}

#[test]
#[ignore = "needs redis-server"]
fn a_key_is_taken_away_under_load_and_none_of_its_links_is_honoured_from_then_on() {
    let (hub, redis) = (FakeHub::start(), RedisServer::start());
    rotation::a_key_is_taken_away(&builder(&hub, &redis));
}
