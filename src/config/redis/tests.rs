//! Addresses of a Redis, as they are written.

use super::*;

fn read(text: &str) -> RedisLocation {
    place(text).expect("a Redis").unwrap_or_else(|wrong| panic!("{text} {wrong}"))
}

fn tcp(host: &str, port: u16) -> RedisAddress {
    RedisAddress::Tcp { host: host.to_owned(), port }
}

fn tls(host: &str, port: u16) -> RedisAddress {
    RedisAddress::Tls { host: host.to_owned(), port }
}

#[test]
fn one_server_has_a_host_a_port_and_a_database() {
    let one = |address, database| RedisLocation { servers: RedisServers::One(address), database };
    assert_eq!(read("redis://127.0.0.1"), one(tcp("127.0.0.1", 6379), 0));
    assert_eq!(read("redis://[::1]:7000/3"), one(tcp("::1", 7000), 3));
    assert_eq!(read("rediss://redis.example.org/"), one(tls("redis.example.org", 6379), 0));
    let socket = RedisAddress::Unix("/run/redis.sock".into());
    assert_eq!(read("redis+unix:///run/redis.sock"), one(socket, 0));
}

#[test]
fn sentinels_have_a_service_and_perhaps_a_database() {
    let servers = |sentinels| RedisServers::Sentinels { sentinels, service: "my-master.1".to_owned() };
    assert_eq!(
        read("redis+sentinel://10.0.0.1,[::1]:7001,s3:7002/my-master.1/2"),
        RedisLocation {
            servers: servers(vec![tcp("10.0.0.1", 26379), tcp("::1", 7001), tcp("s3", 7002)]),
            database: 2
        }
    );
    assert_eq!(
        read("rediss+sentinel://s1/my-master.1"),
        RedisLocation { servers: servers(vec![tls("s1", 26379)]), database: 0 }
    );
}

#[test]
fn a_cluster_has_addresses_alone() {
    let nodes = |nodes| RedisLocation { servers: RedisServers::Cluster(nodes), database: 0 };
    assert_eq!(read("redis+cluster://n1,n2:7001/"), nodes(vec![tcp("n1", 6379), tcp("n2", 7001)]));
    assert_eq!(read("rediss+cluster://n1"), nodes(vec![tls("n1", 6379)]));
}

#[test]
fn what_is_not_quite_such_a_url_is_refused() {
    for text in [
        "redis://",
        "redis://:6379",
        "redis://host:0",
        "redis://host/x",
        "redis://host/0/1",
        "redis://host/-1",
        "redis://host?db=1",
        "redis://host,other",
        "redis+unix://run/redis.sock",
        "redis+sentinel://host",
        "redis+sentinel://host/",
        "redis+sentinel:///mymaster",
        "redis+sentinel://host/my master",
        "redis+sentinel://host/mymaster/x",
        "redis+sentinel://host,,other/mymaster",
        "redis+sentinel://host,host:26379/mymaster",
        "redis+cluster://",
        "redis+cluster://host/1",
        "redis+cluster://host,",
        "redis+cluster://host,host",
    ] {
        assert!(matches!(place(text), Some(Err(_))), "{text}");
    }
    for text in ["", "redis:", "http://host", "redis+other://host"] {
        assert!(place(text).is_none(), "{text}");
    }
    let many: Vec<String> = (0..=ADDRESSES_MAX).map(|number| format!("n{number}")).collect();
    assert!(matches!(place(&format!("redis+cluster://{}", many.join(","))), Some(Err(_))));
}

#[test]
fn a_password_in_the_url_is_refused() {
    for text in [
        "redis://:secret@host",
        "redis://user:secret@host",
        "rediss://user@host",
        "redis+sentinel://user:secret@host,other/mymaster",
        "redis+cluster://host,user:secret@other",
    ] {
        let wrong = place(text).expect("a Redis").expect_err("refused");
        assert!(wrong.contains("store.password_file") && !wrong.contains("secret@"), "{wrong}");
    }
}

#[test]
fn only_a_redis_on_this_machine_or_behind_tls_is_closed() {
    let is_open = |text: &str| read(text).servers.is_open();
    for text in [
        "redis://127.0.0.1",
        "redis://[::1]",
        "redis://localhost",
        "rediss://host",
        "redis+unix:///r",
        "rediss+cluster://host",
    ] {
        assert!(!is_open(text), "{text}");
    }
    for text in [
        "redis://10.0.0.1",
        "redis://redis",
        "redis://[fd00::1]",
        "redis://0.0.0.0",
        "redis+sentinel://127.0.0.1,10.0.0.2/m",
        "redis+cluster://127.0.0.1,10.0.0.2",
    ] {
        assert!(is_open(text), "{text}");
    }
}

#[test]
fn a_hash_tag_is_the_first_pair_of_braces_with_something_in_it() {
    for prefix in ["{hublatch}:", "a{b}c", "{a}{b}", "{{a}"] {
        assert!(has_hash_tag(prefix), "{prefix}");
    }
    for prefix in ["hublatch:", "{}a", "{a", "}a{", "{}{a}"] {
        assert!(!has_hash_tag(prefix), "{prefix}");
    }
}
