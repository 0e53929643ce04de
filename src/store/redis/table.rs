//! A routing table that several replicas share, beside their links: what each writes, all go by.
//!
//! Each change has a number (`table.lua`). A replica asks for what has changed since the number that it goes by, and by
//! asking tells which that is: so who writes can wait until all go by the change. A message wakes the others; one that is
//! lost costs a second, not the change. Knows nothing of what a route is.

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

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteWritten {
    /// It has this number.
    Done(u64),
    /// There is nothing to delete.
    Unknown,
    /// The server knows less than the caller: it must be told the table first.
    Behind,
}

/// What a replica does not know yet: keys, and what their routes are; none: deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Synced {
    /// The whole table, and its number.
    All(u64, Vec<(String, Option<String>)>),
    /// What has changed up to this number.
    Changes(u64, Vec<(String, Option<String>)>),
    /// The server knows less than the caller.
    Behind,
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

    /// Writes the route `key`, last used at `used`, or deletes it. The caller goes by number `known`.
    pub async fn write(
        &self,
        known: u64,
        key: &str,
        route: Option<&str>,
        used: u64,
    ) -> Result<RouteWritten, StoreError> {
        let arguments = [&known.to_string(), key, route.unwrap_or_default(), &used.to_string()];
        let (word, number, _) = self.call(&self.scripts.write, &arguments).await?;
        match word.as_str() {
            "done" => Ok(RouteWritten::Done(number)),
            "unknown" => Ok(RouteWritten::Unknown),
            "behind" => Ok(RouteWritten::Behind),
            _ => Err(damaged()),
        }
    }

    /// What has changed since `known`; everything, if that is none. Tells the others that this replica goes by it.
    pub async fn sync(&self, known: Option<u64>) -> Result<Synced, StoreError> {
        let known = known.map(|known| known.to_string()).unwrap_or_default();
        let (word, number, rest) = self.call(&self.scripts.sync, &[&self.replica, &known]).await?;
        let rows = pairs(rest).map(|(key, route)| (key, Some(route).filter(|route| !route.is_empty())));
        match word.as_str() {
            "all" => Ok(Synced::All(number, rows.collect())),
            "changes" => Ok(Synced::Changes(number, rows.collect())),
            "behind" => Ok(Synced::Behind),
            _ => Err(damaged()),
        }
    }

    /// Tells a server that has forgotten it the table of number `known`.
    pub async fn seed(&self, known: u64, rows: &[(String, String)]) -> Result<(), StoreError> {
        let known = known.to_string();
        let rows = rows.iter().flat_map(|(key, route)| [key.as_str(), route.as_str()]);
        let arguments: Vec<&str> = std::iter::once(known.as_str()).chain(rows).collect();
        self.call(&self.scripts.seed, &arguments).await.map(|_| ())
    }

    /// The replicas that are there and do not go by `number` yet; with `forget` nobody waits for them again before they
    /// have come back.
    pub async fn late(&self, number: u64, forget: bool) -> Result<Vec<String>, StoreError> {
        let forget = if forget { "1" } else { "0" };
        let (_, _, late) = self.call(&self.scripts.late, &[&number.to_string(), forget]).await?;
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
        // What was said before.
        wake();
        while messages.next().await.is_some() {
            wake();
        }
        Ok(())
    }

    /// A word, the number of the table, and texts.
    async fn call(
        &self,
        script: &Script,
        arguments: &[&str],
    ) -> Result<(String, u64, Vec<String>), StoreError> {
        let mut invocation = script.key(&self.dialler.redis.prefix);
        for argument in arguments {
            invocation.arg(*argument);
        }
        let mut values = self.connection.invoke(&invocation).await?.into_iter();
        let word = values.next().and_then(|word| String::from_redis_value(word).ok()).ok_or_else(damaged)?;
        let number = values.next().and_then(|number| u64::from_redis_value(number).ok());
        let rest: Result<Vec<String>, _> =
            values.map(|value: Value| String::from_redis_value(value)).collect();
        Ok((word, number.ok_or_else(damaged)?, rest.map_err(|_| damaged())?))
    }
}

fn pairs(texts: Vec<String>) -> impl Iterator<Item = (String, String)> {
    let mut texts = texts.into_iter();
    std::iter::from_fn(move || Some((texts.next()?, texts.next()?)))
}
