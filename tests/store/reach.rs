//! How a Redis is reached: by name and password, over a socket, over TLS.

use hublatch::clock::{Clock as _, SystemClock};
use hublatch::config::{Redis, RedisAddress, RedisServers};
use hublatch::store::{Inserted, RedisError, Revoked, ServerError, TokenStore as _};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::contract::{Calls as _, LIFE, key, link, wait};
use crate::redis::{Remote, grants, open, refusal};
use crate::server::{RedisServer, free_port, until};

#[test]
#[ignore = "needs redis-server"]
fn a_user_with_no_more_than_the_commands_of_the_scripts_is_enough() {
    let server = RedisServer::with(&["--requirepass", "admin-password"]);
    let mut redis = server.config();
    assert!(matches!(refusal(&redis), RedisError::Connect(_)), "without a password");
    // The command as it is documented.
    let documented = include_str!("../../docs/stores-and-replicas.md");
    let (_, rules) = documented.split_once("ACL SETUSER hublatch ").expect("it is there");
    let (rules, _) = rules.split_once("```").expect("it ends");
    let rules = rules.replace(">PASSWORD", ">secret");
    let mut command = vec!["--no-auth-warning", "-a", "admin-password", "ACL", "SETUSER", "hublatch"];
    command.extend(rules.split_whitespace());
    server.run(&command);
    redis.username = Some("hublatch".to_owned());
    redis.password = Some("wrong".to_owned().into());
    assert!(matches!(refusal(&redis), RedisError::Connect(_)));
    redis.password = Some("secret".to_owned().into());
    let rig = Remote::with(&redis, 1, server);
    let key = key("portal", "k1", 1);
    let (first, second) = (rig.link(), rig.link());
    assert_eq!(rig.insert_with_key(&first, &key), Inserted::New);
    assert_eq!(rig.insert_with_key(&second, &key), Inserted::Again(first.id.clone()));
    assert_eq!(rig.insert(&[&rig.link()]), Inserted::Full);
    assert!(rig.admits(&second));
    assert_eq!(rig.revoke_user("alice", "portal"), 0);
    let third = rig.link();
    rig.insert(&[&third]);
    assert_eq!(rig.revoke(&third), Revoked::Dead);
    let sessions = vec!["0123".to_owned(), "4567".to_owned()];
    wait(rig.store.end_sessions(sessions.clone(), LIFE)).expect("allowed");
    let mut ended = wait(rig.store.ended_sessions().expect("it is shared")).expect("allowed");
    ended.sort_unstable();
    assert_eq!(ended, sessions);
    assert!(rig.answers());
}

#[test]
#[ignore = "needs redis-server"]
fn a_sentinel_or_a_node_of_a_cluster_is_not_taken_for_a_server() {
    let node = RedisServer::with(&["--cluster-enabled", "yes"]);
    let refused = refusal(&node.config());
    assert!(matches!(refused, RedisError::Server(ServerError::Cluster)), "{refused}");
    let mut config = node.config();
    config.servers = RedisServers::Cluster(vec![RedisServer::start().address()]);
    assert!(matches!(refusal(&config), RedisError::NoPrimary(_)), "a server that is no node");
}

#[test]
#[ignore = "needs redis-server"]
fn a_unix_socket_will_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("redis.sock");
    let server = RedisServer::with(&["--unixsocket", socket.to_str().expect("a path")]);
    let redis =
        Redis { servers: RedisServers::One(RedisAddress::Unix(socket)), database: 3, ..server.config() };
    let rig = Remote::with(&redis, 10, server);
    let link = rig.link();
    rig.insert(&[&link]);
    assert!(rig.admits(&link));
}

/// What TLS needs of a server: a certificate for this machine, its key, and the options that name them.
struct Certified {
    _directory: tempfile::TempDir,
    pem: Vec<u8>,
    port: u16,
    options: Vec<String>,
}

fn params(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).expect("names")
}

fn certified(names: &[&str]) -> Certified {
    let key = KeyPair::generate().expect("a key");
    let certificate = params(names).self_signed(&key).expect("a certificate").pem();
    of_pem(&certificate, &key, &certificate)
}

/// A server with `chain`, which is judged by `authority`.
fn of_pem(chain: &str, private: &KeyPair, authority: &str) -> Certified {
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    std::fs::write(&certificate, chain).expect("written");
    std::fs::write(&key, private.serialize_pem()).expect("written");
    let text = |path: &std::path::Path| path.to_str().expect("a path").to_owned();
    let port = free_port();
    let mut options = Vec::new();
    for (name, value) in [
        ("tls-port", port.to_string()),
        ("tls-auth-clients", "no".to_owned()),
        ("tls-cert-file", text(&certificate)),
        ("tls-key-file", text(&key)),
        ("tls-ca-cert-file", text(&certificate)),
    ] {
        options.extend([format!("--{name}"), value]);
    }
    Certified { _directory: directory, pem: authority.as_bytes().to_vec(), port, options }
}

impl Certified {
    fn options(&self) -> Vec<&str> {
        self.options.iter().map(String::as_str).collect()
    }

    fn address(&self, host: &str) -> RedisAddress {
        RedisAddress::Tls { host: host.to_owned(), port: self.port }
    }
}

fn keeps_links(redis: &Redis) {
    let store = open(redis, 10);
    let link = link(SystemClock::new().now(), LIFE);
    let inserted = wait(store.insert(vec![link.clone()], None, SystemClock::new().now()));
    assert_eq!(inserted.expect("an answer"), Inserted::New);
    assert!(grants(&store, &link) && !grants(&store, &link));
}

#[test]
#[ignore = "needs redis-server"]
fn tls_is_spoken_to_a_server_whose_certificate_is_good() {
    let tls = certified(&["localhost"]);
    let server = RedisServer::with(&tls.options());
    let to = |host: &str, ca_pem| Redis {
        servers: RedisServers::One(tls.address(host)),
        ca_pem,
        ..server.config()
    };
    let pem = Some(tls.pem.clone());
    for unknown in [to("localhost", None), to("127.0.0.1", pem.clone())] {
        assert!(matches!(refusal(&unknown), RedisError::Connect(_)), "{unknown:?}");
    }
    keeps_links(&to("localhost", pem));
}

#[test]
#[ignore = "needs redis-server"]
fn an_authority_of_ones_own_vouches_for_the_server_and_for_no_other_name() {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority =
        CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("one");
    let key = KeyPair::generate().expect("a key");
    let issued = params(&["127.0.0.1"]).signed_by(&key, &authority).expect("a certificate").pem();
    let tls = of_pem(&issued, &key, &authority.pem());
    let server = RedisServer::with(&tls.options());
    let to = |host: &str, ca_pem: &[u8]| Redis {
        servers: RedisServers::One(tls.address(host)),
        ca_pem: Some(ca_pem.to_vec()),
        ..server.config()
    };
    for unknown in [to("localhost", &tls.pem), to("127.0.0.1", &certified(&["127.0.0.1"]).pem)] {
        assert!(matches!(refusal(&unknown), RedisError::Connect(_)), "{unknown:?}");
    }
    keeps_links(&to("127.0.0.1", &tls.pem));
}

/// As `openssl req -x509` makes it: an authority's certificate, which is its own.
#[test]
#[ignore = "needs redis-server"]
fn a_certificate_that_is_its_own_authority_is_believed_where_it_is_named_itself() {
    let key = KeyPair::generate().expect("a key");
    let mut own = params(&["localhost"]);
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = own.self_signed(&key).expect("a certificate").pem();
    let tls = of_pem(&certificate, &key, &certificate);
    let server = RedisServer::with(&tls.options());
    let to = |host: &str| Redis {
        servers: RedisServers::One(tls.address(host)),
        ca_pem: Some(tls.pem.clone()),
        ..server.config()
    };
    assert!(matches!(refusal(&to("127.0.0.1")), RedisError::Connect(_)), "it bears another name");
    keeps_links(&to("localhost"));
}

#[test]
#[ignore = "needs redis-server"]
fn tls_is_spoken_to_sentinels_and_to_whom_they_name() {
    let (of_server, of_sentinel) = (certified(&["127.0.0.1"]), certified(&["localhost"]));
    let server = RedisServer::with(&of_server.options());
    let mut lines = vec![format!("sentinel monitor mymaster 127.0.0.1 {} 1", of_server.port)];
    for option in of_sentinel.options.chunks(2) {
        lines.push(format!("{} {}", option[0].trim_start_matches('-'), option[1]));
    }
    let _sentinel = RedisServer::sentinel(&(lines.join("\n") + "\n"));
    let to = |pem: &[&[u8]]| Redis {
        servers: RedisServers::Sentinels {
            sentinels: vec![of_sentinel.address("localhost")],
            service: "mymaster".to_owned(),
        },
        ca_pem: Some(pem.concat()),
        ..server.config()
    };
    keeps_links(&to(&[&of_server.pem, &of_sentinel.pem]));
    // Neither of the two is believed without a certificate that is known.
    assert!(matches!(refusal(&to(&[&of_server.pem])), RedisError::NoPrimary(_)));
    assert!(matches!(refusal(&to(&[&of_sentinel.pem])), RedisError::Connect(_)));
}

#[test]
#[ignore = "needs redis-server"]
fn tls_is_spoken_to_a_cluster() {
    let tls = certified(&["localhost"]);
    let own = ["--cluster-enabled", "yes", "--tls-cluster", "yes"];
    let node = RedisServer::with(&[&own, tls.options().as_slice()].concat());
    // A cluster of one, which does not know its own address.
    node.run(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    until("the cluster is up", || node.run(&["CLUSTER", "INFO"]).contains("cluster_state:ok"));
    keeps_links(&Redis {
        servers: RedisServers::Cluster(vec![tls.address("localhost")]),
        ca_pem: Some(tls.pem.clone()),
        ..node.config()
    });
}
