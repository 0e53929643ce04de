//! What the operator is told of a store (`hublatch doctor`), by real servers and files.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use hublatch::clock::{Clock, ManualClock, SystemClock};
use hublatch::config::{Redis, RedisServers, Store, StoreUrl};
use hublatch::store::{StoreFinding, StoreGrade, inspect};

use crate::server::RedisServer;

fn findings_of(url: StoreUrl) -> Vec<StoreFinding> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    inspect(&Store { url, max_tokens: 1000 }, &clock)
}

fn of_redis(redis: Redis) -> Vec<StoreFinding> {
    findings_of(StoreUrl::Redis(Box::new(redis)))
}

/// The texts of that grade.
pub fn graded(findings: &[StoreFinding], grade: StoreGrade) -> Vec<&str> {
    findings.iter().filter(|finding| finding.grade == grade).map(|finding| finding.text.as_str()).collect()
}

/// What is said of the store of `redis`, without what is good about it.
pub fn complaints(redis: Redis) -> Vec<String> {
    let findings = of_redis(redis);
    findings
        .into_iter()
        .filter(|finding| finding.grade != StoreGrade::Good)
        .map(|finding| finding.text)
        .collect()
}

#[test]
#[ignore = "needs redis-server"]
fn a_good_server_is_found_good_and_left_as_it_was() {
    let server = RedisServer::with(&["--appendonly", "yes"]);
    let findings = of_redis(server.config());
    let good = graded(&findings, StoreGrade::Good);
    assert_eq!(good.len(), findings.len(), "{findings:?}");
    for part in ["Redis 7", "clock", "refused the second time"] {
        assert!(good.iter().any(|text| text.contains(part)), "{part}: {good:?}");
    }
    let prefix = server.config().prefix;
    assert_eq!(server.run(&["ZCARD", &format!("{prefix}n")]), "0", "no live link is left");
}

#[test]
#[ignore = "needs redis-server"]
fn what_is_wrong_with_a_server_is_told() {
    let findings = of_redis(RedisServer::start().config());
    assert!(
        graded(&findings, StoreGrade::Unwise).iter().any(|text| text.contains("append-only")),
        "{findings:?}"
    );
    assert!(graded(&findings, StoreGrade::Unsafe).is_empty(), "{findings:?}");

    let evicting = RedisServer::with(&["--maxmemory-policy", "allkeys-lru"]);
    let gone = RedisServer::start().config();
    let mut elsewhere = evicting.config();
    elsewhere.servers = RedisServers::Cluster(vec![evicting.address()]);
    for (config, part) in [
        (evicting.config(), "maxmemory-policy"),
        (gone, "onnection refused"),
        (elsewhere, "0 of 1 nodes answer"),
    ] {
        let findings = of_redis(config);
        let said = graded(&findings, StoreGrade::Unsafe);
        assert!(said.iter().any(|text| text.contains(part)), "{part}: {findings:?}");
    }
}

#[test]
#[ignore = "needs redis-server"]
fn a_user_without_the_rights_is_told() {
    let server = RedisServer::start();
    let rules =
        "on >secret ~{hublatch}:* -@all +eval +evalsha +script|load +info +time +ping +select +get +set";
    let mut command = vec!["ACL", "SETUSER", "weak"];
    command.extend(rules.split_whitespace());
    server.run(&command);
    let mut redis = server.config();
    redis.username = Some("weak".to_owned());
    redis.password = Some("secret".to_owned().into());
    let findings = of_redis(redis);
    let said = graded(&findings, StoreGrade::Unsafe);
    assert!(said.len() == 1 && said[0].contains("a trial link failed"), "{findings:?}");
    assert!(findings.iter().all(|finding| !finding.text.contains("secret")), "{findings:?}");
}

#[test]
#[ignore = "needs redis-server"]
fn a_clock_that_differs_is_told() {
    let server = RedisServer::start();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at("2020-01-01T00:00:00Z".parse().expect("a time")));
    let store = Store { url: StoreUrl::Redis(Box::new(server.config())), max_tokens: 1000 };
    let findings = inspect(&store, &clock);
    assert!(graded(&findings, StoreGrade::Unwise).iter().any(|text| text.contains("clock")), "{findings:?}");
}

#[test]
#[ignore = "with the others"]
fn a_file_that_others_can_read_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tokens.redb");
    let missing = findings_of(StoreUrl::Redb(path.clone()));
    assert!(
        graded(&missing, StoreGrade::Unwise).iter().any(|text| text.contains("not there yet")),
        "{missing:?}"
    );
    std::fs::write(&path, "x").expect("written");
    for (mode, grade) in [(0o600, StoreGrade::Good), (0o640, StoreGrade::Unsafe)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
        let findings = findings_of(StoreUrl::Redb(path.clone()));
        assert_eq!(findings[0].grade, grade, "{findings:?}");
    }
    let memory = findings_of(StoreUrl::Memory);
    assert!(memory.len() == 1 && memory[0].grade == StoreGrade::Unwise);
}
