//! Which server is the primary: the one that is written, the one that Sentinels name, or the node with our slot.
//!
//! All are asked at once, and what most of them say is tried first: one that was cut off for a while tells of the past.
//! Nothing is believed without a look at the server itself (`server.rs`).

use futures_util::future::join_all;
use redis::Value;

use super::connection::RedisError;
use super::dial::Dialler;
use crate::config::{RedisAddress, RedisServers};

/// An address and how many have named it.
type Votes = Vec<(RedisAddress, usize)>;

impl Dialler {
    /// Where the primary may be, the likeliest first; never empty.
    pub(super) async fn candidates(&self) -> Result<Vec<RedisAddress>, RedisError> {
        Ok(self.votes().await?.into_iter().map(|(address, _)| address).collect())
    }

    /// Whether `present` may still be the primary, as far as anybody else is there to tell. A node of a cluster knows
    /// for itself and says so to whoever asks it for a key.
    pub(super) async fn may_still_be(&self, present: &RedisAddress) -> bool {
        match &self.redis.servers {
            RedisServers::One(_) | RedisServers::Cluster(_) => true,
            RedisServers::Sentinels { .. } => match self.votes().await {
                Ok(votes) => {
                    let most = votes.first().map_or(0, |(_, count)| *count);
                    votes.iter().any(|(address, count)| address == present && *count == most)
                }
                // The Sentinels are away: that is no reason to give up a primary that is there.
                Err(_) => true,
            },
        }
    }

    async fn votes(&self) -> Result<Votes, RedisError> {
        let named = match &self.redis.servers {
            RedisServers::One(address) => return Ok(vec![(address.clone(), 1)]),
            RedisServers::Sentinels { sentinels, service } => {
                join_all(sentinels.iter().map(|sentinel| self.ask_sentinel(sentinel, service))).await
            }
            RedisServers::Cluster(nodes) => join_all(nodes.iter().map(|node| self.ask_node(node))).await,
        };
        let mut votes = Votes::new();
        let mut failures = Vec::new();
        for answer in named {
            match answer {
                Ok(address) => match votes.iter_mut().find(|(known, _)| *known == address) {
                    Some((_, count)) => *count += 1,
                    None => votes.push((address, 1)),
                },
                Err(failure) => failures.push(failure),
            }
        }
        votes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        if votes.is_empty() { Err(RedisError::NoPrimary(failures.join("; "))) } else { Ok(votes) }
    }

    /// Whom this Sentinel takes for the primary.
    pub(super) async fn ask_sentinel(
        &self,
        sentinel: &RedisAddress,
        service: &str,
    ) -> Result<RedisAddress, String> {
        let failed = |error: redis::RedisError| format!("Sentinel {sentinel}: {error}");
        let mut connection = self.sentinel(sentinel).await.map_err(failed)?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(service);
        let answer: Option<(String, u16)> = question.query_async(&mut connection).await.map_err(failed)?;
        let (host, port) =
            answer.ok_or_else(|| format!("Sentinel {sentinel}: it knows no service {service:?}"))?;
        Ok(like(sentinel, host, port))
    }

    /// Which node holds our slot, in the eyes of this one.
    pub(super) async fn ask_node(&self, node: &RedisAddress) -> Result<RedisAddress, String> {
        let failed = |error: redis::RedisError| format!("node {node}: {error}");
        let mut connection = self.redis(node).await.map_err(failed)?;
        let mut keyslot = redis::cmd("CLUSTER");
        keyslot.arg("KEYSLOT").arg(&self.redis.prefix);
        let slot: i64 = keyslot.query_async(&mut connection).await.map_err(failed)?;
        // CLUSTER SHARDS is not in Redis 6.2.
        let slots: Vec<Value> =
            redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await.map_err(failed)?;
        let holder = slots.iter().find_map(|range| holder(range, slot));
        let (host, port) = holder.ok_or_else(|| format!("node {node}: no node holds our slot {slot}"))?;
        // A node that does not know its own address leaves it out: it is the one that was asked.
        let host = host.or_else(|| host_of(node)).ok_or_else(|| format!("node {node}: it has no address"))?;
        Ok(like(node, host, port))
    }
}

/// The primary of a range of `CLUSTER SLOTS`, if `slot` is in it.
fn holder(range: &Value, slot: i64) -> Option<(Option<String>, u16)> {
    let Value::Array(parts) = range else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = parts.as_slice() else {
        return None;
    };
    let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
    if !(*first..=*last).contains(&slot) {
        return None;
    }
    let host = redis::from_redis_value_ref::<Option<String>>(host).ok()?.filter(|host| !host.is_empty());
    // "?" stands for a node that shall be reached by a name that it has not got.
    let is_known = host.as_deref() != Some("?");
    is_known.then_some((host, u16::try_from(*port).ok()?))
}

/// An address of the same kind: in the clear or over TLS.
fn like(asked: &RedisAddress, host: String, port: u16) -> RedisAddress {
    match asked {
        RedisAddress::Tls { .. } => RedisAddress::Tls { host, port },
        RedisAddress::Tcp { .. } | RedisAddress::Unix(_) => RedisAddress::Tcp { host, port },
    }
}

fn host_of(address: &RedisAddress) -> Option<String> {
    match address {
        RedisAddress::Tcp { host, .. } | RedisAddress::Tls { host, .. } => Some(host.clone()),
        RedisAddress::Unix(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn range(first: i64, last: i64, host: Value) -> Value {
        let node = |host| Value::Array(vec![host, Value::Int(7000), text("id"), Value::Array(Vec::new())]);
        Value::Array(vec![Value::Int(first), Value::Int(last), node(host), node(text("replica"))])
    }

    #[test]
    fn the_holder_of_a_slot_is_the_first_node_of_its_range() {
        let of = |value: &Value, slot| holder(value, slot);
        let whole = range(10, 20, text("10.0.0.1"));
        for slot in [10, 15, 20] {
            assert_eq!(of(&whole, slot), Some((Some("10.0.0.1".to_owned()), 7000)));
        }
        assert_eq!((of(&whole, 9), of(&whole, 21)), (None, None));
        for unnamed in [Value::Nil, text("")] {
            assert_eq!(of(&range(0, 5, unnamed), 1), Some((None, 7000)));
        }
        assert_eq!(of(&range(0, 5, text("?")), 1), None);
        for odd in [Value::Nil, Value::Array(Vec::new()), Value::Array(vec![Value::Int(0), Value::Int(5)])] {
            assert_eq!(of(&odd, 1), None);
        }
    }
}
