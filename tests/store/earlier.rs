//! The keys of an earlier hublatch in a Redis that runs on while hublatch is upgraded.

use hublatch::clock::{Clock as _, SystemClock};
use serde::Deserialize;

use crate::contract::earlier::{EarlierLink, are_read};
use crate::redis::open;
use crate::server::RedisServer;

#[derive(Deserialize)]
struct Written {
    it: EarlierKeys,
}

#[derive(Deserialize)]
struct EarlierKeys {
    links: Vec<EarlierLink>,
    commands: Vec<Vec<String>>,
}

/// What `make.py` has left open: times by how long ago they were, and the run of the server.
fn filled_in(word: &str, now: i64, epoch: &str) -> String {
    match word.strip_prefix('@').and_then(|word| word.strip_suffix('@')) {
        None => word.to_owned(),
        Some("EPOCH") => epoch.to_owned(),
        Some(offset) => (now + offset.parse::<i64>().expect("milliseconds")).to_string(),
    }
}

#[test]
#[ignore = "needs redis-server"]
fn links_that_an_earlier_version_has_written_are_what_they_were() {
    let text = include_str!("../data/earlier/redis.json");
    let Written { it: earlier } = serde_json::from_str(text).expect("what make.py writes");
    let server = RedisServer::start();
    let fact = |section: &str, name: &str| {
        let said = server.run(&["INFO", section]);
        said.lines().find_map(|line| line.strip_prefix(name)).expect("it is there").trim().to_owned()
    };
    let epoch = format!("{}:{}", fact("server", "run_id:"), fact("replication", "master_replid:"));
    let now = server.run(&["TIME"]).lines().next().expect("seconds").parse::<i64>().expect("a number") * 1000;
    for command in &earlier.commands {
        let words: Vec<String> = command.iter().map(|word| filled_in(word, now, &epoch)).collect();
        server.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let store = open(&server.config(), 10);
    are_read(&store, &earlier.links, SystemClock::new().now());
}
