//! A cluster of three primaries and three replicas, really started: the contract, failovers, a slot that moves.

use std::sync::{Mutex, Weak};

use hublatch::config::{Redis, RedisServers};
use hublatch::store::{LinkStatus, Revoked, TokenStore as _};

use crate::contract::{self, Calls as _, Rig as _, contract, wait};
use crate::fleet::{self, Fleet, Joined};
use crate::server::{RedisServer, free_port, redis_cli, until};

/// The nodes.
pub struct Cluster {
    nodes: Vec<RedisServer>,
}

/// A node of a cluster; `options` besides.
pub fn node(options: &[&str]) -> RedisServer {
    // Not the port above by 10,000, which may be none.
    let bus = free_port().to_string();
    let own = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", &bus];
    RedisServer::with(&[&own, options].concat())
}

impl Cluster {
    /// The number of our slot.
    fn slot(&self, prefix: &str) -> String {
        self.nodes.iter().find_map(|node| node.try_run(&["CLUSTER", "KEYSLOT", prefix]).ok()).expect("a node")
    }

    /// The node that holds our keys, and another primary.
    fn holder_and_other(&self) -> (usize, usize) {
        let holder = self.primary().expect("a primary");
        let other = self
            .nodes
            .iter()
            .enumerate()
            .position(|(number, node)| number != holder && node.run(&["ROLE"]).starts_with("master"));
        (holder, other.expect("another primary"))
    }

    fn id(&self, node: usize) -> String {
        self.nodes[node].run(&["CLUSTER", "MYID"])
    }

    /// Begins to move our slot `from` one node `to` another.
    fn begin_move(&self, slot: &str, from: usize, to: usize) {
        self.nodes[to].run(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &self.id(from)]);
        self.nodes[from].run(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &self.id(to)]);
    }

    /// Moves the keys, then the slot.
    fn end_move(&self, slot: &str, from: usize, to: usize) {
        let keys = self.nodes[from].run(&["CLUSTER", "GETKEYSINSLOT", slot, "10000"]);
        let port = self.nodes[to].port().to_string();
        for key in keys.lines() {
            self.nodes[from].run(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
        }
        let owner = self.id(to);
        for node in [to, from] {
            self.nodes[node].run(&["CLUSTER", "SETSLOT", slot, "NODE", &owner]);
        }
        until("all nodes know it", || {
            self.nodes.iter().all(|node| {
                let slots = node.run(&["CLUSTER", "NODES"]);
                slots.lines().any(|line| {
                    line.starts_with(&owner) && line.contains("connected") && {
                        line.split(' ').skip(8).any(|range| is_within(slot, range))
                    }
                })
            })
        });
    }
}

/// Whether `slot` is within `range` (`0-5460`, `42`).
fn is_within(slot: &str, range: &str) -> bool {
    let number = |text: &str| text.parse::<u16>().ok();
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    matches!((number(slot), number(first), number(last)), (Some(slot), Some(first), Some(last)) if (first..=last).contains(&slot))
}

impl Fleet for Cluster {
    fn start() -> Self {
        let nodes: Vec<RedisServer> = (0..6).map(|_| node(&[])).collect();
        let mut create = redis_cli();
        create.args(["--cluster", "create"]);
        create.args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())));
        create.args(["--cluster-replicas", "1", "--cluster-yes"]);
        let output = create.output().expect("redis-cli");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let mut cluster = Self { nodes };
        cluster.heal();
        cluster
    }

    fn config(&self) -> Redis {
        // A client knows some of them.
        let nodes = self.nodes[..4].iter().map(RedisServer::address).collect();
        Redis { servers: RedisServers::Cluster(nodes), ..self.nodes[0].config() }
    }

    fn servers(&mut self) -> &mut Vec<RedisServer> {
        &mut self.nodes
    }

    fn primary(&self) -> Option<usize> {
        let key = format!("{}e", self.config().prefix);
        self.nodes.iter().position(|node| node.try_run(&["GET", &key]).is_ok())
    }

    fn heal(&mut self) {
        for node in &mut self.nodes {
            if !node.is_running() {
                node.start_again();
            }
        }
        until("three primaries have a replica each", || {
            let up = |node: &RedisServer| node.run(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
            let followed = |node: &&RedisServer| {
                let info = node.run(&["INFO", "replication"]);
                info.contains("role:master") && info.contains("connected_slaves:1")
            };
            let following =
                |node: &&RedisServer| node.run(&["INFO", "replication"]).contains("master_link_status:up");
            self.nodes.iter().all(up)
                && self.nodes.iter().filter(followed).count() == 3
                && self.nodes.iter().filter(following).count() == 3
        });
    }

    fn shared() -> &'static Mutex<Weak<Self>> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        &SHARED
    }
}

type Rigged = Joined<Cluster>;
contract!(keeps_the_contract, Rigged, #[ignore = "needs redis-server"]);

#[test]
#[ignore = "needs redis-server"]
fn no_failover_admits_a_token_twice() {
    fleet::no_failover_admits_a_token_twice::<Cluster>(5);
}

#[test]
#[ignore = "needs redis-server"]
fn the_store_returns_when_all_nodes_were_gone() {
    fleet::the_store_returns_when_all_servers_were_gone::<Cluster>();
}

#[test]
#[ignore = "needs redis-server"]
fn a_slot_that_moves_takes_its_links_along_dead_and_nothing_comes_back_with_it() {
    let cluster = Cluster::start();
    let rig = Rigged::on(&cluster.config());
    let slot = cluster.slot(&cluster.config().prefix);
    let (used, ended_before, ended_away, of_alice, pending) =
        (rig.link(), rig.link(), rig.link(), rig.link(), rig.link());
    rig.insert(&[&used, &ended_before, &ended_away]);
    rig.insert(&[&of_alice, &pending]);
    assert!(rig.admits(&used));
    rig.revoke(&ended_before);
    let all = [&used, &ended_before, &ended_away, &of_alice, &pending];

    let (here, there) = cluster.holder_and_other();
    cluster.begin_move(&slot, here, there);
    // Whatever a store says while keys are here and there, it logs nobody in by a used or revoked link.
    for link in [&used, &ended_before] {
        assert!(!matches!(
            wait(rig.store.consume(link.digest, rig.now())),
            Ok(hublatch::store::Consumed::Granted(_))
        ));
    }
    cluster.end_move(&slot, here, there);
    until("the store follows", || rig.answers());
    for link in all {
        assert!(!rig.admits(link), "a token of another node");
    }
    assert_eq!(rig.status(&used), Some(LinkStatus::Used));
    assert_eq!(rig.revoke(&ended_away), Revoked::Dead);
    let new = rig.link();
    rig.insert(&[&new]);
    assert!(rig.admits(&new));

    cluster.begin_move(&slot, there, here);
    cluster.end_move(&slot, there, here);
    until("the store is back", || rig.answers());
    for link in [&used, &ended_before, &ended_away, &new] {
        assert!(!rig.admits(link), "a token that was used or revoked, at home again");
    }
    // Nobody has touched these, and the node that issued them has run all the time.
    assert_eq!(rig.revoke_user("alice", "portal"), 2);
    assert!(!rig.admits(&of_alice) && !rig.admits(&pending));
}

#[test]
#[ignore = "needs redis-server"]
fn a_cluster_is_found_good_and_what_is_amiss_is_told() {
    let mut cluster = Cluster::start();
    let good = crate::inspect::complaints(cluster.config());
    assert!(good.len() == 1 && good[0].contains("append-only"), "{good:?}");
    let primary = cluster.primary().expect("a primary");
    let replica = cluster.nodes.iter().position(|node| {
        let port = cluster.nodes[primary].port().to_string();
        node.run(&["INFO", "replication"]).contains(&format!("master_port:{port}"))
    });
    cluster.nodes[replica.expect("a replica")].kill();
    until("it is told", || {
        crate::inspect::complaints(cluster.config()).iter().any(|text| text.contains("no replica"))
    });
}
