//! A routing table that several replicas share, beside their links: what each writes, all go by.
//!
//! Each change has a number within an epoch (`table.lua`). A replica asks for what has changed since the version that it
//! goes by, and by asking tells which that is: so who writes can wait until all go by the change. A message wakes the
//! others; one that is lost costs a second, not the change. Knows nothing of what a route is.

use std::fmt;
use std::sync::Arc;

use futures_util::StreamExt as _;
use redis::{FromRedisValue as _, Script, Value};

use super::super::StoreError;
use super::connection::{ReconnectingConnection, RedisError};
use super::dial::Dialler;
use super::reply::damaged;

/// The table in Redis, as one replica sees it.
#[derive(Debug, Clone)]
pub struct SharedTable {
    connection: Arc<ReconnectingConnection>,
    dialler: Dialler,
    scripts: Arc<TableScripts>,
    /// What this replica is called.
    replica: String,
}

#[derive(Debug)]
struct TableScripts {
    write: Script,
    sync: Script,
    seed: Script,
    late: Script,
    leave: Script,
    activity: Script,
}

/// Which table it is: the later of two is the greater one.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableVersion {
    /// A history of changes: it begins with the time of its first one, and is empty before any.
    epoch: String,
    /// How many changes there have been.
    number: u64,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteWritten {
    /// It was written; the table now has this version.
    Done(TableVersion),
    /// The route to delete was not there.
    Unknown,
    /// The server knows less than the caller: it must be told the table first.
    Behind,
}

/// What a replica does not know yet: keys, and what their routes are; none: deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Synced {
    /// The whole table, and which it is.
    All(TableVersion, Vec<(String, Option<String>)>),
    /// What has changed up to this version.
    Changes(TableVersion, Vec<(String, Option<String>)>),
    /// The server knows less than the caller.
    Behind,
}

impl TableVersion {
    /// How many changes there have been.
    pub fn number(&self) -> u64 {
        self.number
    }

    fn parse(text: &str) -> Option<Self> {
        let (epoch, number) = text.split_once(':')?;
        Some(Self { epoch: epoch.to_owned(), number: number.parse().ok()? })
    }
}

/// As the scripts read it.
impl fmt::Display for TableVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.number)
    }
}

impl SharedTable {
    /// Over the connection of a store, for the replica of this name.
    pub(super) fn new(connection: Arc<ReconnectingConnection>, dialler: Dialler, replica: String) -> Self {
        let script = |own: &str| Script::new(&format!("{}\n{own}", include_str!("scripts/table.lua")));
        let scripts = TableScripts {
            write: script(include_str!("scripts/table_write.lua")),
            sync: script(include_str!("scripts/table_sync.lua")),
            seed: script(include_str!("scripts/table_seed.lua")),
            late: script(include_str!("scripts/table_late.lua")),
            leave: script(include_str!("scripts/table_leave.lua")),
            activity: script(include_str!("scripts/table_activity.lua")),
        };
        Self { connection, dialler, scripts: Arc::new(scripts), replica }
    }

    /// Writes the route `key`, last used at `used`, or deletes it. The caller goes by `known`.
    pub async fn write(
        &self,
        known: &TableVersion,
        key: &str,
        route: Option<&str>,
        used: u64,
    ) -> Result<RouteWritten, StoreError> {
        let arguments = [&known.to_string(), key, route.unwrap_or_default(), &used.to_string()];
        let (word, version, _) = self.call(&self.scripts.write, &arguments).await?;
        match word.as_str() {
            "done" => Ok(RouteWritten::Done(version)),
            "unknown" => Ok(RouteWritten::Unknown),
            "behind" => Ok(RouteWritten::Behind),
            _ => Err(damaged()),
        }
    }

    /// What has changed since `known`; everything, if that is none. Tells the others that this replica goes by it.
    pub async fn sync(&self, known: Option<&TableVersion>) -> Result<Synced, StoreError> {
        let known = known.map(ToString::to_string).unwrap_or_default();
        let (word, version, rest) = self.call(&self.scripts.sync, &[&self.replica, &known]).await?;
        let rows = pairs(rest).map(|(key, route)| (key, Some(route).filter(|route| !route.is_empty())));
        match word.as_str() {
            "all" => Ok(Synced::All(version, rows.collect())),
            "changes" => Ok(Synced::Changes(version, rows.collect())),
            "behind" => Ok(Synced::Behind),
            _ => Err(damaged()),
        }
    }

    /// Tells a server that has forgotten it the table `known`.
    pub async fn seed(&self, known: &TableVersion, rows: &[(String, String)]) -> Result<(), StoreError> {
        let known = known.to_string();
        let rows = rows.iter().flat_map(|(key, route)| [key.as_str(), route.as_str()]);
        let arguments: Vec<&str> = std::iter::once(known.as_str()).chain(rows).collect();
        self.call(&self.scripts.seed, &arguments).await.map(|_| ())
    }

    /// The replicas that are there and do not go by `version` yet; with `forget` nobody waits for them again before they
    /// have come back.
    pub async fn late(&self, version: &TableVersion, forget: bool) -> Result<Vec<String>, StoreError> {
        let forget = if forget { "1" } else { "0" };
        let (_, _, late) = self.call(&self.scripts.late, &[&version.to_string(), forget]).await?;
        Ok(late)
    }

    /// Nobody waits for this replica any more.
    pub async fn leave(&self) -> Result<(), StoreError> {
        self.call(&self.scripts.leave, &[&self.replica]).await.map(|_| ())
    }

    /// Tells when routes were last used here, and answers the same of all replicas, since `since`. Milliseconds.
    pub async fn activity(
        &self,
        since: u64,
        used: &[(String, u64)],
    ) -> Result<Vec<(String, u64)>, StoreError> {
        let mut arguments = vec![since.to_string()];
        for (key, millis) in used {
            arguments.push(key.clone());
            arguments.push(millis.to_string());
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (_, _, rest) = self.call(&self.scripts.activity, &arguments).await?;
        pairs(rest).map(|(key, millis)| Ok((key, millis.parse().map_err(|_| damaged())?))).collect()
    }

    /// Calls `wake` for each change that somebody makes, until the connection for it ends.
    pub async fn listen(&self, mut wake: impl FnMut()) -> Result<(), RedisError> {
        // The likeliest primary is good enough: a replica of Redis hands messages on as well.
        let address = self.dialler.candidates().await?.into_iter().next();
        let address = address.ok_or_else(|| RedisError::NoPrimary("none is named".to_owned()))?;
        let mut messages = self.dialler.messages(&address).await?;
        messages.subscribe(format!("{}routes", self.dialler.redis.prefix)).await?;
        let mut messages = messages.into_on_message();
        // Changes from before the subscription.
        wake();
        while messages.next().await.is_some() {
            wake();
        }
        Ok(())
    }

    /// A word, the version of the table, and texts.
    async fn call(
        &self,
        script: &Script,
        arguments: &[&str],
    ) -> Result<(String, TableVersion, Vec<String>), StoreError> {
        let mut invocation = script.key(&self.dialler.redis.prefix);
        for argument in arguments {
            invocation.arg(*argument);
        }
        let mut values = self.connection.invoke(&invocation).await?.into_iter();
        let word = values.next().and_then(|word| String::from_redis_value(word).ok()).ok_or_else(damaged)?;
        let version = values.next().and_then(|version| String::from_redis_value(version).ok());
        let version = version.as_deref().and_then(TableVersion::parse).ok_or_else(damaged)?;
        let rest: Result<Vec<String>, _> =
            values.map(|value: Value| String::from_redis_value(value)).collect();
        Ok((word, version, rest.map_err(|_| damaged())?))
    }
}

fn pairs(texts: Vec<String>) -> impl Iterator<Item = (String, String)> {
    let mut texts = texts.into_iter();
    std::iter::from_fn(move || Some((texts.next()?, texts.next()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_a_later_epoch_is_later_whatever_its_number() {
        let in_order = [":0", ":7", "1764000000000000ab:9", "1764000000000000ab:10", "1764000000000001aa:1"];
        let versions: Vec<TableVersion> =
            in_order.iter().map(|text| TableVersion::parse(text).unwrap()).collect();
        assert!(versions.is_sorted_by(|one, next| one < next), "{versions:?}");
        assert_eq!(versions.iter().map(ToString::to_string).collect::<Vec<_>>(), in_order);
        assert_eq!(TableVersion::default(), versions[0]);
        for damaged in ["", "7", "ab:", ":-1", "ab:7:8"] {
            assert_eq!(TableVersion::parse(damaged), None, "{damaged}");
        }
    }
}
