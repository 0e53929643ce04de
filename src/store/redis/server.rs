//! Whether a server may be trusted with tokens: looked at on every new connection.

use std::collections::HashMap;

/// The oldest version: `ZRANGEBYSCORE` and scripts are older, but this is the oldest that is maintained and tested.
const OLDEST: (u32, u32) = (6, 2);

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// Too old.
    #[error("it has version {0}; hublatch needs 6.2 or newer")]
    Version(String),
    /// It keeps nothing itself.
    #[error("it is a Sentinel; write redis+sentinel://")]
    Sentinel,
    /// Only one node of a cluster holds our keys, and not for ever.
    #[error("it is a node of a cluster; write redis+cluster://")]
    Cluster,
    /// A replica can miss what its primary took.
    #[error("it is a replica; give the address of the primary")]
    Replica,
    /// It would drop links, and with them the knowledge that they were used.
    #[error("its maxmemory-policy is {0:?}: it evicts; set it to noeviction")]
    Evicts(String),
    /// Without it a restart from an old file cannot be told.
    #[error("it hides its run_id or master_replid: used links could work again after a restart")]
    HidesRun,
}

/// What `INFO` says, as far as it matters.
#[derive(Debug)]
pub(super) struct ServerReport {
    pub(super) version: String,
    pub(super) append_only: bool,
    /// Replicas that follow it.
    pub(super) replicas: usize,
}

impl ServerReport {
    /// Reads the answer of `INFO`, from a server of a cluster or not, as was asked for.
    pub(super) fn judge(info: &str, is_cluster: bool) -> Result<Self, ServerError> {
        let facts: HashMap<&str, &str> =
            info.lines().filter_map(|line| line.trim().split_once(':')).collect();
        let fact = |name: &str| facts.get(name).copied().unwrap_or_default();
        match fact("redis_mode") {
            "sentinel" => return Err(ServerError::Sentinel),
            "cluster" if !is_cluster => return Err(ServerError::Cluster),
            _ => {}
        }
        let version = fact("redis_version");
        if numbers(version).is_none_or(|version| version < OLDEST) {
            return Err(ServerError::Version(version.to_owned()));
        }
        if fact("role") != "master" {
            return Err(ServerError::Replica);
        }
        if fact("maxmemory_policy") != "noeviction" {
            return Err(ServerError::Evicts(fact("maxmemory_policy").to_owned()));
        }
        let is_shown = |name: &str| {
            let id = fact(name);
            id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        if !is_shown("run_id") || !is_shown("master_replid") {
            return Err(ServerError::HidesRun);
        }
        Ok(Self {
            version: version.to_owned(),
            append_only: fact("aof_enabled") == "1",
            replicas: fact("connected_slaves").parse().unwrap_or_default(),
        })
    }
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "56d519983ce91a47f531473f5f86dff74a4d44c9";

    fn info(version: &str, role: &str, policy: &str, run_id: &str, replid: &str) -> String {
        format!(
            "# Server\r\nredis_version:{version}\r\nrun_id:{run_id}\r\n\r\n# Memory\r\nmaxmemory_policy:{policy}\r\n\
             # Persistence\r\naof_enabled:1\r\n# Replication\r\nrole:{role}\r\nmaster_replid:{replid}\r\n"
        )
    }

    #[test]
    fn a_primary_that_keeps_everything_is_taken() {
        for version in ["6.2.0", "7.0.15", "7.2.4", "8.0.1", "10.1.0"] {
            let server =
                ServerReport::judge(&info(version, "master", "noeviction", ID, ID), false).expect("taken");
            assert_eq!((server.version.as_str(), server.append_only), (version, true));
        }
    }

    #[test]
    fn any_other_server_is_refused_and_told_why() {
        let judge = |info: String| ServerReport::judge(&info, false).expect_err("refused");
        for version in ["6.0.16", "5.0.7", "2.8.24", "", "6", "six.two"] {
            assert!(matches!(judge(info(version, "master", "noeviction", ID, ID)), ServerError::Version(_)));
        }
        assert_eq!(judge(info("7.0.15", "slave", "noeviction", ID, ID)), ServerError::Replica);
        for policy in ["allkeys-lru", "volatile-ttl", ""] {
            let refused = judge(info("7.0.15", "master", policy, ID, ID));
            assert_eq!(refused, ServerError::Evicts(policy.to_owned()));
        }
        for (run_id, replid) in [("", ID), (ID, ""), ("0", ID), (ID, "?")] {
            assert_eq!(judge(info("7.0.15", "master", "noeviction", run_id, replid)), ServerError::HidesRun);
        }
        assert!(matches!(judge(String::new()), ServerError::Version(_)));
    }

    #[test]
    fn a_sentinel_and_a_node_of_a_cluster_are_no_server_by_themselves() {
        let mode = |mode| format!("redis_mode:{mode}\r\n{}", info("7.0.15", "master", "noeviction", ID, ID));
        for is_cluster in [false, true] {
            let refused = ServerReport::judge(&mode("sentinel"), is_cluster).expect_err("refused");
            assert_eq!(refused, ServerError::Sentinel);
        }
        assert_eq!(ServerReport::judge(&mode("cluster"), false).expect_err("refused"), ServerError::Cluster);
        for (mode, is_cluster) in [(mode("cluster"), true), (mode("standalone"), false)] {
            assert!(ServerReport::judge(&mode, is_cluster).is_ok());
        }
    }
}
