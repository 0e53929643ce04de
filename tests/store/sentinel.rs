//! A primary, two replicas and three Sentinels, really started: the contract, failovers, and what can be wrong.

use std::sync::{Mutex, Weak};

use hublatch::config::{Redis, RedisServers};
use hublatch::store::{RedisError, TokenStore as _};

use crate::contract::{self, Calls as _, Rig as _, contract, wait};
use crate::fleet::{self, Fleet, Joined};
use crate::redis::{open, refusal};
use crate::server::{RedisServer, until};

const SERVICE: &str = "mymaster";

/// The servers, and the Sentinels that watch them.
pub struct Watched {
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
}

impl Watched {
    /// With further options of the servers and lines of the Sentinels' configuration.
    pub fn with(options: &[&str], lines: &str) -> Self {
        let primary = RedisServer::with(options);
        let port = primary.port().to_string();
        let of_replica = [&["--replicaof", "127.0.0.1", &port], options].concat();
        let replicas = [RedisServer::with(&of_replica), RedisServer::with(&of_replica)];
        let config = format!(
            "sentinel monitor {SERVICE} 127.0.0.1 {port} 2\n\
             sentinel down-after-milliseconds {SERVICE} 1000\n\
             sentinel failover-timeout {SERVICE} 3000\n{lines}"
        );
        let sentinels: Vec<RedisServer> = (0..3).map(|_| RedisServer::sentinel(&config)).collect();
        let [second, third] = replicas;
        Self { servers: vec![primary, second, third], sentinels }
    }

    /// `store.url`.
    pub fn url(&self) -> String {
        let sentinels: Vec<String> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
        format!("redis+sentinel://{}/{SERVICE}", sentinels.join(","))
    }

    /// Waits until every Sentinel knows the others and the replicas.
    fn wait(&self) {
        for sentinel in &self.sentinels {
            until("the Sentinels know all", || {
                let known = sentinel.run(&["SENTINEL", "MASTER", SERVICE]);
                let fact = |name: &str| {
                    let after = known.lines().skip_while(|line| *line != name).nth(1);
                    after.unwrap_or_default().to_owned()
                };
                fact("num-slaves") == "2" && fact("num-other-sentinels") == "2" && fact("flags") == "master"
            });
        }
    }
}

impl Fleet for Watched {
    fn start() -> Self {
        let watched = Self::with(&[], "");
        watched.wait();
        watched
    }

    fn config(&self) -> Redis {
        let sentinels = self.sentinels.iter().map(RedisServer::address).collect();
        let servers = RedisServers::Sentinels { sentinels, service: SERVICE.to_owned() };
        Redis { servers, ..self.servers[0].config() }
    }

    fn servers(&mut self) -> &mut Vec<RedisServer> {
        &mut self.servers
    }

    /// What a server says of itself is not enough: one that was replaced does not know it yet.
    fn primary(&self) -> Option<usize> {
        let said = |sentinel: &RedisServer| {
            sentinel.try_run(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]).ok().map(|said| {
                said.lines().nth(1).and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{said}"))
            })
        };
        let mut ports: Vec<u16> = self.sentinels.iter().filter_map(said).collect();
        ports.dedup();
        let [port] = ports[..] else { return None };
        let is_it = |server: &RedisServer| server.port() == port && role(server).starts_with("master");
        self.servers.iter().position(is_it)
    }

    fn heal(&mut self) {
        for server in &mut self.servers {
            if !server.is_running() {
                server.start_again();
            }
        }
        until("all follow one primary", || {
            let Some(primary) = self.primary() else { return false };
            let of_it = format!("slave\n127.0.0.1\n{}\n", self.servers[primary].port());
            let port = self.servers[primary].port().to_string();
            self.servers.iter().enumerate().filter(|(number, _)| *number != primary).all(|(_, server)| {
                if !role(server).starts_with(&of_it) {
                    // The Sentinels would see to it, after ten seconds.
                    server.run(&["REPLICAOF", "127.0.0.1", &port]);
                }
                role(server).starts_with(&format!("{of_it}connected"))
            })
        });
        self.wait();
    }

    fn shared() -> &'static Mutex<Weak<Self>> {
        static SHARED: Mutex<Weak<Watched>> = Mutex::new(Weak::new());
        &SHARED
    }
}

/// What `server` says it is, or nothing.
fn role(server: &RedisServer) -> String {
    server.try_run(&["ROLE"]).unwrap_or_default()
}

type Rigged = Joined<Watched>;
contract!(keeps_the_contract, Rigged, #[ignore = "needs redis-server"]);

#[test]
#[ignore = "needs redis-server"]
fn no_failover_admits_a_token_twice() {
    fleet::no_failover_admits_a_token_twice::<Watched>(5);
}

#[test]
#[ignore = "needs redis-server"]
fn a_failover_that_somebody_orders_is_followed_though_the_old_primary_lives() {
    let watched = Watched::start();
    let rig = Rigged::on(&watched.config());
    let (used, pending) = (rig.link(), rig.link());
    rig.insert(&[&used, &pending]);
    assert!(rig.admits(&used));
    let before = watched.primary().expect("a primary");
    watched.sentinels[0].run(&["SENTINEL", "FAILOVER", SERVICE]);
    until("another is the primary", || watched.primary().is_some_and(|now| now != before));
    until("the old one knows it", || role(&watched.servers[before]).starts_with("slave"));
    until("the store follows", || {
        let link = rig.link();
        let inserted = wait(rig.store.insert(vec![link.clone()], None, rig.now()));
        inserted.is_ok() && wait(rig.store.consume(link.digest, rig.now())).is_ok()
    });
    assert!(!rig.admits(&used) && !rig.admits(&pending));
}

#[test]
#[ignore = "needs redis-server"]
fn a_primary_that_the_sentinels_have_replaced_is_left_though_it_answers() {
    let watched = Watched::start();
    let rig = Rigged::on(&watched.config());
    // As on the far side of a cut network: a primary that no Sentinel speaks of.
    let other = RedisServer::start();
    let port = other.port().to_string();
    for sentinel in &watched.sentinels {
        sentinel.run(&["SENTINEL", "REMOVE", SERVICE]);
        sentinel.run(&["SENTINEL", "MONITOR", SERVICE, "127.0.0.1", &port, "2"]);
    }
    until("the store is on the other one", || {
        let _either_way = wait(rig.store.ping());
        !other.run(&["KEYS", "*"]).is_empty()
    });
    let link = rig.link();
    until("it keeps links", || wait(rig.store.insert(vec![link.clone()], None, rig.now())).is_ok());
    assert!(rig.admits(&link));
}

#[test]
#[ignore = "needs redis-server"]
fn the_store_stays_when_sentinels_are_gone_and_one_is_enough_to_open_it() {
    let mut watched = Watched::start();
    let rig = Rigged::on(&watched.config());
    watched.sentinels[0].kill();
    watched.sentinels[1].kill();
    let _another = open(&watched.config(), 100);
    let said = crate::inspect::complaints(watched.config());
    assert!(said.iter().filter(|text| text.starts_with("Sentinel 127.0.0.1:")).count() == 2, "{said:?}");
    watched.sentinels[2].kill();
    assert!(matches!(refusal(&watched.config()), RedisError::NoPrimary(_)));
    for _ in 0..3 {
        rig.pass(std::time::Duration::from_secs(1));
        assert!(rig.answers(), "its primary is there");
    }
}

#[test]
#[ignore = "needs redis-server"]
fn an_unknown_service_and_a_wrong_address_are_told() {
    let watched = Watched::start();
    let mut unknown = watched.config();
    let RedisServers::Sentinels { sentinels, service } = &mut unknown.servers else { panic!("Sentinels") };
    *service = "other".to_owned();
    assert_eq!(sentinels.len(), 3);
    let refused = refusal(&unknown).to_string();
    assert!(refused.contains("knows no service \"other\""), "{refused}");

    let mut wrong = watched.config();
    wrong.servers = RedisServers::One(watched.sentinels[0].address());
    let refused = refusal(&wrong).to_string();
    assert!(refused.contains("redis+sentinel://"), "{refused}");
}

#[test]
#[ignore = "needs redis-server"]
fn sentinels_and_servers_have_passwords_of_their_own() {
    let options = ["--requirepass", "of-redis", "--masterauth", "of-redis"];
    let lines = format!("requirepass of-sentinels\nsentinel auth-pass {SERVICE} of-redis\n");
    let watched = Watched::with(&options, &lines);
    let mut config = watched.config();
    assert!(matches!(refusal(&config), RedisError::NoPrimary(_)), "without any");
    config.sentinel_password = Some("of-sentinels".to_owned().into());
    assert!(matches!(refusal(&config), RedisError::Connect(_)), "without that of Redis");
    config.password = Some("of-redis".to_owned().into());
    let rig = Rigged::on(&config);
    let link = rig.link();
    rig.insert(&[&link]);
    assert!(rig.admits(&link));
    config.sentinel_password = Some("wrong".to_owned().into());
    let refused = refusal(&config).to_string();
    assert!(refused.contains("WRONGPASS") || refused.contains("uthentication"), "{refused}");
    assert!(!refused.contains("wrong:") && !refused.contains("of-redis"), "{refused}");
}
