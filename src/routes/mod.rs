//! The routing table of a hub whose proxy hublatch is: which path goes to which server.
//!
//! `JupyterHub` writes it through the REST API of configurable-http-proxy (`api.rs`); the proxy reads it on every request.
//! Knows nothing of connections: a [`Target`] says where a server is, and not how it is reached.

pub mod api;
pub mod counters;
pub mod key;
mod replicas;
mod route;
mod state;
mod table;
mod target;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Map, Value};

use crate::config;
use crate::config::RouteState;
use crate::last_activity::{LastActivity, now_millis};
use crate::store::{StoreError, TokenStore};
use replicas::Replicas;
use state::Saved;

pub use counters::{ApiCall, Counters};
pub use route::{Route, RouteKind};
pub use state::{RoutesFile, StateError};
pub use table::{LearntHub, Table};
pub use target::{Health, Scheme, Target, TargetError};

/// The table and who may change it. Outlives every configuration.
#[derive(Debug)]
pub struct Routes {
    table: ArcSwap<Table>,
    writer: Mutex<RouteWriter>,
    rules: RouteRules,
    state: Option<RoutesFile>,
    /// The table is one with that of other replicas.
    replicas: Option<Replicas>,
    /// When it began, or was last begun anew by others.
    started: Mutex<Instant>,
    hub_changed: OnceLock<Hook>,
    /// What the table has told of the hub, and everybody goes by.
    learnt: Mutex<LearntHub>,
    /// Whether somebody needs to know where the hub is.
    learns_origin: bool,
    counters: Option<Counters>,
}

/// Called with nothing, for nothing.
struct Hook(Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

/// What decides whether a route is taken in.
#[derive(Debug)]
struct RouteRules {
    /// The hub's own address; a hub route to another is refused. Each reload may bring another.
    pin: ArcSwapOption<Pin>,
    default_target: Option<String>,
}

/// The one place where the hub may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin(String);

#[derive(Debug, Default)]
struct RouteWriter {
    generation: u64,
    /// Targets that a route has, by their origin, so that the same server has one pool and one limit.
    targets: HashMap<String, Weak<Target>>,
}

/// Why a route is not taken in.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// It is the hub's, and leads elsewhere than `hub.url` says.
    #[error("the hub's route must lead to hub.url, and not to {0}")]
    NotTheHub(String),
    /// The table that all replicas share cannot be written.
    #[error("write the shared routing table: {0}")]
    Shared(#[from] StoreError),
}

/// A change of the table that somebody else has made.
#[derive(Debug)]
enum RouteChange {
    Put(Saved),
    Removed(String),
}

impl Routes {
    /// The table of `config`, empty but for the default target and what the state file holds, or the replicas who share
    /// `store`.
    pub fn new(
        config: &config::RoutesConfig,
        hub: &config::Hub,
        store: &dyn TokenStore,
    ) -> Result<Arc<Self>, StateError> {
        let rules = RouteRules {
            pin: ArcSwapOption::new(Pin::of_hub(hub).map(Arc::new)),
            default_target: config.default_target.clone(),
        };
        let (state, replicas) = match &config.state {
            None => (None, None),
            Some(RouteState::File(path)) => (Some(RoutesFile::open(path)?), None),
            Some(RouteState::Store) => {
                let name = replica_name()?;
                (None, Some(Replicas::new(store.shared_table(&name).ok_or(StateError::NotShared)?)))
            }
        };
        let routes = Self {
            table: ArcSwap::from_pointee(Table::new(config.host_routing)),
            writer: Mutex::default(),
            rules,
            state,
            replicas,
            started: Mutex::new(Instant::now()),
            hub_changed: OnceLock::new(),
            learnt: Mutex::new(LearntHub { base_url: Some(hub.base_url.clone()), origin: None }),
            learns_origin: hub.api.is_unknown()
                && (hub.api.token.is_some() || !config.chp.as_ref().is_some_and(|chp| chp.plain)),
            counters: config
                .chp
                .as_ref()
                .is_some_and(|chp| chp.metrics_listen.is_some())
                .then(Counters::default),
        };
        if let Some(state) = &routes.state {
            // A default target of before the restart is not in force any more unless it is written again.
            let kept = state.load()?.into_iter().filter(|saved| !is_default(&saved.key, &saved.data));
            routes.take_over(kept.map(RouteChange::Put), false);
            let kept = routes.table().len();
            tracing::info!(kept, "routes of before the restart");
        }
        if let Some(target) = routes.rules.default_target.clone()
            && routes.table().get("/").is_none()
        {
            // The operator's own word needs no pin.
            _ = routes.insert("/", &target, Map::new());
        }
        let routes = Arc::new(routes);
        if let Some(replicas) = &routes.replicas {
            replicas.follow(&routes)??;
            tracing::info!(routes = routes.table().len(), "routes of all replicas");
        }
        Ok(routes)
    }

    /// The table of this moment.
    pub fn table(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// The table of this moment, to keep.
    pub fn snapshot(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Calls `hook` when the table tells something of the hub that is new: now, if it does already. The first who asks is
    /// heard.
    pub fn when_hub_changes(&self, hook: impl Fn() + Send + Sync + 'static) {
        let _first = self.hub_changed.set(Hook(Box::new(hook)));
        self.tell_hub();
    }

    /// What the table has told of the hub.
    pub fn learnt(&self) -> LearntHub {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is counted under the names of configurable-http-proxy, if anybody reads it.
    pub fn counters(&self) -> Option<&Counters> {
        self.counters.as_ref()
    }

    /// How long there has been this table: not long either where what others have begun anew lacks a user's server.
    pub fn age(&self) -> Duration {
        self.started.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// The table lacks what only the hub knows, as after a start.
    fn begin_anew(&self) {
        *self.started.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Puts the route `key` in force: every request from now on, on every thread, goes by it.
    pub fn add(&self, key: &str, target: &str, data: Map<String, Value>) -> Result<(), AddError> {
        self.insert(key, target, data)?;
        self.tell_hub();
        self.save();
        Ok(())
    }

    /// The same, at all replicas if there are several.
    pub async fn write(&self, key: &str, target: &str, data: Map<String, Value>) -> Result<(), AddError> {
        let Some(replicas) = &self.replicas else { return self.add(key, target, data) };
        self.admit(target, RouteKind::of(&data), &Target::parse(target).map(Arc::new))?;
        let saved =
            Saved { key: key.to_owned(), target: target.to_owned(), data, last_activity: now_millis() };
        replicas.write(key, Some(&saved)).await?;
        Ok(())
    }

    /// Takes the route `key` out, at all replicas if there are several; whether there was one.
    pub async fn erase(&self, key: &str) -> Result<bool, AddError> {
        match &self.replicas {
            Some(replicas) => Ok(replicas.write(key, None).await?),
            None => Ok(self.remove(key)),
        }
    }

    /// Whether other replicas go by the same table.
    pub fn is_shared(&self) -> bool {
        self.replicas.is_some()
    }

    /// Waits until what other replicas were told before is in force here, but not for long; whether there are others.
    pub async fn look(&self) -> bool {
        match &self.replicas {
            Some(replicas) => {
                replicas.look_for_request().await;
                true
            }
            None => false,
        }
    }

    /// A reload says that the hub is where `hub` says: a route of the hub to another place is not in force any more.
    pub fn pin_to(&self, hub: &config::Hub) {
        let pin = Pin::of_hub(hub).map(Arc::new);
        // Whoever writes a route meanwhile is judged by the one or by the other.
        let mut writer = self.lock();
        if *self.rules.pin.load() == pin {
            return;
        }
        self.rules.pin.store(pin.clone());
        let mut table = Table::clone(&self.table.load());
        let is_foreign = |route: &&Arc<Route>| {
            let admits = |pin: &Arc<Pin>| route.target.as_deref().is_some_and(|target| pin.admits(target));
            route.kind == RouteKind::Hub && !pin.as_ref().is_none_or(admits)
        };
        let foreign: Vec<Arc<Route>> = table.iter().filter(is_foreign).cloned().collect();
        for route in &foreign {
            tracing::warn!(
                key = &*route.key,
                target = &*route.target_text,
                "the hub's route does not lead to hub.url any more, and is taken out until the hub writes it again"
            );
            table.take(&route.key);
        }
        if !foreign.is_empty() {
            writer.generation += 1;
            self.put_default(&mut writer, &mut table);
            self.table.store(Arc::new(table));
        }
        drop(writer);
        if !foreign.is_empty() {
            // The first login asks the hub for its route, as after a start.
            self.begin_anew();
            self.save();
        }
        if let Some(replicas) = &self.replicas {
            // What was refused before may be right now.
            replicas.read_again();
        }
    }

    /// Takes in what others have written; with `all` there is nothing else.
    fn take_over(&self, changes: impl Iterator<Item = RouteChange>, all: bool) {
        let mut writer = self.lock();
        let mut table =
            if all { Table::new(self.table.load().is_by_host()) } else { Table::clone(&self.table.load()) };
        for change in changes {
            match change {
                // What the pin forbids today may have been right yesterday: it is left out.
                RouteChange::Put(Saved { key, target, data, last_activity }) => {
                    if let Ok(route) = self.make(&mut writer, &key, &target, data, last_activity) {
                        table.put(Arc::new(route));
                    } else {
                        tracing::warn!(key, "a kept route is left out: it is not the hub's");
                    }
                }
                RouteChange::Removed(key) => _ = table.take(&key),
            }
        }
        if all {
            self.put_default(&mut writer, &mut table);
        }
        let is_lost = |route: &Arc<Route>| route.kind == RouteKind::User && table.get(&route.key).is_none();
        if all && self.table.load().iter().any(is_lost) {
            // Who has begun with an empty one may have written first: only the hub knows what is missing.
            self.begin_anew();
        }
        self.table.store(Arc::new(table));
        drop(writer);
        self.tell_hub();
    }

    /// The operator's own word is nobody else's, and is there where nobody has another.
    fn put_default(&self, writer: &mut RouteWriter, table: &mut Table) {
        if let Some(target) = &self.rules.default_target
            && table.get("/").is_none()
            && let Ok(route) = self.make(writer, "/", target, Map::new(), now_millis())
        {
            table.put(Arc::new(route));
        }
    }

    /// All routes, as they are kept. The operator's own word is nobody else's.
    fn rows(&self) -> Vec<(String, String)> {
        let is_own = |route: &Route| {
            is_default(&route.key, &route.data)
                && self.rules.default_target.as_deref() == Some(&*route.target_text)
        };
        let rows = self.table();
        let rows = rows.iter().filter(|route| !is_own(route));
        let rows = rows.map(|route| (route.key.to_string(), Saved::of(route)));
        rows.filter_map(|(key, saved)| Some((key, serde_json::to_string(&saved).ok()?))).collect()
    }

    /// Tells who asked that the table says something else of the hub than everybody goes by.
    fn tell_hub(&self) {
        let Some(Hook(hook)) = self.hub_changed.get() else { return };
        let LearntHub { base_url, origin } = self.table().learnt();
        let mut learnt = self.learnt.lock().unwrap_or_else(PoisonError::into_inner);
        // A hub that has gone is where it was.
        let told = LearntHub {
            base_url: base_url.or_else(|| learnt.base_url.clone()),
            origin: origin.filter(|_| self.learns_origin).or_else(|| learnt.origin.clone()),
        };
        if *learnt != told {
            *learnt = told;
            hook();
        }
    }

    fn insert(&self, key: &str, target: &str, data: Map<String, Value>) -> Result<(), AddError> {
        let mut writer = self.lock();
        let route = self.make(&mut writer, key, target, data, now_millis())?;
        self.table.store(Arc::new(self.table.load().with(Arc::new(route))));
        Ok(())
    }

    fn make(
        &self,
        writer: &mut RouteWriter,
        key: &str,
        target: &str,
        data: Map<String, Value>,
        last_activity: u64,
    ) -> Result<Route, AddError> {
        let parsed = Target::parse(target).map(|parsed| writer.interned(parsed));
        let kind = RouteKind::of(&data);
        self.admit(target, kind, &parsed)?;
        if let Ok(target) = &parsed {
            // Whoever writes a route knows of a server there.
            target.health().forget_refusal();
        }
        writer.generation += 1;
        // Tunnels that are open go on telling of their use where it was told before. Those to another server do not.
        let same_server = |route: &&Arc<Route>| match (&route.target, &parsed) {
            (Some(old), Ok(new)) => Arc::ptr_eq(old, new),
            (Some(_) | None, _) => false,
        };
        let used = self.table.load().get(key).filter(same_server).map(|route| route.last_activity.clone());
        let used = used.unwrap_or_else(|| LastActivity::at(last_activity));
        used.advance(last_activity);
        Ok(Route {
            key: key.into(),
            kind,
            target: parsed.ok(),
            target_text: target.into(),
            data,
            generation: writer.generation,
            last_activity: used,
        })
    }

    fn admit(
        &self,
        target: &str,
        kind: RouteKind,
        parsed: &Result<Arc<Target>, TargetError>,
    ) -> Result<(), AddError> {
        match &*self.rules.pin.load() {
            Some(pin)
                if kind == RouteKind::Hub && !parsed.as_ref().is_ok_and(|target| pin.admits(target)) =>
            {
                Err(AddError::NotTheHub(target.to_owned()))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Takes the route `key` out; whether there was one.
    pub fn remove(&self, key: &str) -> bool {
        let mut writer = self.lock();
        let Some(table) = self.table.load().without(key) else { return false };
        writer.generation += 1;
        self.table.store(Arc::new(table));
        drop(writer);
        self.save();
        true
    }

    /// At the end of the process: writes what is kept, if it is, and tells other replicas, if there are any.
    pub fn flush(&self) {
        if let Some(replicas) = &self.replicas {
            replicas.leave();
        }
        if let Some(state) = &self.state {
            state.write(&self.table());
        }
    }

    fn save(&self) {
        if let Some(state) = &self.state {
            state.changed(&self.table.load_full());
        }
    }

    fn lock(&self) -> MutexGuard<'_, RouteWriter> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a route is that of a default target, as far as it shows: whoever else writes `/` says whose it is.
fn is_default(key: &str, data: &Map<String, Value>) -> bool {
    key == "/" && data.is_empty()
}

/// What tells this process from other replicas.
fn replica_name() -> Result<String, StateError> {
    let mut bytes = [0_u8; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| StateError::NoName)?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}

impl RouteWriter {
    /// The target that is known already in place of an equal one.
    fn interned(&mut self, target: Target) -> Arc<Target> {
        if let Some(known) = self.targets.get(target.text()).and_then(Weak::upgrade) {
            return known;
        }
        self.targets.retain(|_, known| known.strong_count() > 0);
        let target = Arc::new(target);
        self.targets.insert(target.text().to_owned(), Arc::downgrade(&target));
        target
    }
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pin {
    /// That of `hub`, if its address is written.
    pub fn of_hub(hub: &config::Hub) -> Option<Self> {
        hub.upstream.as_ref().map(Self::of)
    }

    fn of(hub: &config::UpstreamAddress) -> Self {
        Self(match hub {
            config::UpstreamAddress::Tcp { host, port } => format!("{}:{port}", host.to_ascii_lowercase()),
            config::UpstreamAddress::Unix(path) => format!("unix:{}", path.display()),
        })
    }

    /// Whether `target` is there.
    pub fn admits(&self, target: &Target) -> bool {
        self.0 == target.place()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    const CONFIG: &str =
        "[public]\nurl = \"http://hub.test\"\n[routes]\nauth_token = \"the-token-of-the-routes\"\n";

    fn saved(key: &str, user: &str) -> Saved {
        let data = [(user.to_owned(), Value::from("x"))].into_iter().collect();
        Saved { key: key.to_owned(), target: "http://127.0.0.1:9".to_owned(), data, last_activity: 1 }
    }

    #[test]
    fn a_table_is_young_again_when_another_history_has_taken_a_users_server() {
        let config = config::load_str(CONFIG, std::path::Path::new("hublatch.toml"), []).unwrap();
        let routes = Routes::new(config.routes.as_ref().unwrap(), &config.hub, &MemoryStore::new(1)).unwrap();
        let all = |rows: Vec<Saved>| {
            let before = *routes.started.lock().unwrap();
            routes.take_over(rows.into_iter().map(RouteChange::Put), true);
            *routes.started.lock().unwrap() > before
        };
        assert!(!all(vec![saved("/user/a", "user"), saved("/user/b", "user"), saved("/s", "service")]));
        // The same, or more of them, or less of what is nobody's server.
        assert!(!all(vec![saved("/user/b", "user"), saved("/user/c", "user"), saved("/user/a", "user")]));
        assert!(all(vec![saved("/user/b", "user")]));
        // A server that was stopped is no loss.
        routes.take_over(std::iter::once(RouteChange::Removed("/user/b".to_owned())), false);
        assert!(!all(vec![]));
    }
}
