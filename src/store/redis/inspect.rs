//! What is to be said of a Redis: who answers, what its primary is like, and whether it does what a store must do.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use jiff::Timestamp;

use super::RedisStore;
use super::connection::Primary;
use super::dial::Dialler;
use crate::clock::{Clock, Moment};
use crate::config::{self, RedisAddress, RedisServers};
use crate::store::inspect::StoreFinding;
use crate::store::{Consumed, Inserted, Link, LinkStatus, Revoked, StoreError, TokenStore as _, clock_fault};
use crate::token::{LinkId, LoginGrant, OpaqueToken, Username};

/// The app of the trial's links: ":" is in no app's name.
const APP: &str = "doctor:";
/// Live links that the trial needs at once.
const TRIAL_TOKENS: usize = usize::MAX >> 32;
/// How long a link of the trial is good for.
const TRIAL_LIFE: Duration = Duration::from_secs(10);

/// On a thread of its own: whoever asks may be within a runtime.
pub(in crate::store) fn inspect(redis: &config::Redis, clock: &Arc<dyn Clock>) -> Vec<StoreFinding> {
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(look(redis, &**clock)),
                Err(error) => vec![StoreFinding::not_safe(format!("the store was not looked at: {error}"))],
            }
        });
        looking.join().unwrap_or_else(|_panicked| {
            vec![StoreFinding::not_safe("the store was not looked at".to_owned())]
        })
    })
}

async fn look(redis: &config::Redis, clock: &dyn Clock) -> Vec<StoreFinding> {
    let dialler = Dialler { redis: redis.clone() };
    let mut findings = dialler.guides().await;
    match dialler.primary().await {
        Ok(primary) => {
            findings.extend(of_primary(primary, redis, clock).await);
            findings.push(trial(redis, clock).await);
        }
        Err(why) => findings.push(StoreFinding::not_safe(format!("the store: {why}"))),
    }
    findings
}

impl Dialler {
    /// The Sentinels or nodes that say where the primary is: whether all of them respond, and agree.
    async fn guides(&self) -> Vec<StoreFinding> {
        let (kind, addresses) = match &self.redis.servers {
            RedisServers::One(_) => return Vec::new(),
            RedisServers::Sentinels { sentinels, .. } => ("Sentinels", sentinels),
            RedisServers::Cluster(nodes) => ("nodes", nodes),
        };
        let mut findings = Vec::new();
        let mut named: Vec<RedisAddress> = Vec::new();
        for address in addresses {
            let answer = match &self.redis.servers {
                RedisServers::Sentinels { service, .. } => self.ask_sentinel(address, service).await,
                RedisServers::One(_) | RedisServers::Cluster(_) => self.ask_node(address).await,
            };
            match answer {
                Ok(primary) => named.push(primary),
                Err(why) => findings.push(StoreFinding::unwise(why)),
            }
        }
        let (all, answered) = (addresses.len(), named.len());
        named.sort_by_key(ToString::to_string);
        named.dedup();
        let text = format!("{answered} of {all} {kind} answer");
        findings.push(match named.as_slice() {
            [] => StoreFinding::not_safe(text),
            [primary] => StoreFinding::good(format!("{text} and name {primary} as the primary")),
            several => {
                let several: Vec<String> = several.iter().map(ToString::to_string).collect();
                StoreFinding::unwise(format!(
                    "{text}, but do not agree on the primary: {}",
                    several.join(", ")
                ))
            }
        });
        if kind == "Sentinels" && all < 3 {
            findings.push(StoreFinding::unwise(
                "fewer than three Sentinels are named: when one is gone, the others cannot agree on a failover",
            ));
        }
        findings
    }
}

async fn of_primary(mut primary: Primary, redis: &config::Redis, clock: &dyn Clock) -> Vec<StoreFinding> {
    let (address, server) = (&primary.address, &primary.server);
    let mut findings = vec![StoreFinding::good(format!(
        "Redis {} at {address} is a primary, evicts nothing and shows its run_id",
        server.version
    ))];
    if !server.append_only {
        findings.push(StoreFinding::unwise(
            "Redis keeps no append-only file: after its restart nothing is known of earlier links",
        ));
    }
    if !matches!(redis.servers, RedisServers::One(_)) && server.replicas == 0 {
        findings.push(StoreFinding::unwise("the primary has no replica: nothing can take its place"));
    }
    let time: Result<(i64, i32), _> = redis::cmd("TIME").query_async(&mut primary.connection).await;
    let theirs = time.ok().and_then(|(seconds, micros)| Timestamp::new(seconds, micros * 1000).ok());
    let ahead = theirs.map(|theirs| theirs.duration_since(clock.wall()));
    findings.push(match ahead.map(clock_fault) {
        None => StoreFinding::not_safe("Redis does not tell its time"),
        Some(Some(fault)) => StoreFinding::unwise(format!("the clock of Redis is {fault}; both need NTP")),
        Some(None) => StoreFinding::good("the clock of Redis and ours agree"),
    });
    findings
}

/// Two links are issued, one is taken once and refused then, one is revoked; which also shows that the user may do all
/// that the scripts do.
async fn trial(redis: &config::Redis, clock: &dyn Clock) -> StoreFinding {
    match tried(redis, clock).await {
        Ok(()) => StoreFinding::good("a link was kept, taken once, and refused the second time"),
        Err(why) => StoreFinding::not_safe(format!("a trial link failed: {why}")),
    }
}

async fn tried(redis: &config::Redis, clock: &dyn Clock) -> Result<(), String> {
    // The doctor reports that Redis still loads its data, and does not wait for it.
    let redis = config::Redis { loading_timeout: Duration::ZERO, ..redis.clone() };
    let store = RedisStore::open(&redis, TRIAL_TOKENS).map_err(|error| error.to_string())?;
    let told = |error: StoreError| error.to_string();
    let (taken, revoked) = (link(clock.now())?, link(clock.now())?);
    let inserted =
        store.insert(vec![taken.clone(), revoked.clone()], None, clock.now()).await.map_err(told)?;
    if inserted != Inserted::New {
        return Err(format!("it was not kept: {inserted:?}"));
    }
    let found = store.find(taken.digest, clock.now()).await.map_err(told)?;
    if found.is_none_or(|found| found.status != LinkStatus::Pending) {
        return Err("it was not found".to_owned());
    }
    let first = store.consume(taken.digest, clock.now()).await.map_err(told)?;
    let second = store.consume(taken.digest, clock.now()).await.map_err(told)?;
    if !matches!((first, second), (Consumed::Granted(_), Consumed::Ended(_))) {
        return Err("it was not taken once and only once".to_owned());
    }
    let ended = store.revoke(&revoked.id, APP, clock.now()).await.map_err(told)?;
    let rest = store.revoke_user(&revoked.grant.username, APP, clock.now()).await.map_err(told)?;
    let read = store.get(&revoked.id, APP, clock.now()).await.map_err(told)?;
    let is_dead = read.is_some_and(|read| read.status == LinkStatus::Revoked);
    if ended != Revoked::Dead || rest != 0 || !is_dead {
        return Err("it was not revoked".to_owned());
    }
    // Of no session that there is; to be forgotten in a moment.
    store.end_sessions(vec![APP.to_owned()], TRIAL_LIFE).await.map_err(told)?;
    if let Some(asked) = store.ended_sessions() {
        asked.await.map_err(told)?;
    }
    Ok(())
}

fn link(now: Moment) -> Result<Link, String> {
    let random = SystemRandom::new();
    let no_randomness = |_| "there are no random bytes".to_owned();
    Ok(Link {
        id: LinkId::generate(&random).map_err(no_randomness)?,
        digest: OpaqueToken::generate(&random).map_err(no_randomness)?.digest(),
        grant: LoginGrant::new(
            Username::from_store("doctor").ok_or("the name of the trial's user is refused")?,
            APP.into(),
        ),
        status: LinkStatus::Pending,
        issued: now,
        expires: now.plus(TRIAL_LIFE),
        used_at: None,
        note: None,
    })
}
