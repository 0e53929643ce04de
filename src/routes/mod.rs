//! The routing table of a hub whose proxy hublatch is: which path goes to which server.
//!
//! `JupyterHub` writes it through the REST API of configurable-http-proxy (`api.rs`); the proxy reads it on every request.
//! Knows nothing of connections: a [`Target`] says where a server is, and not how it is reached.

pub mod api;
pub mod counters;
pub mod key;
mod route;
mod state;
mod table;
mod target;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use arc_swap::{ArcSwap, Guard};
use serde_json::{Map, Value};

use crate::config;
use crate::last_activity::{LastActivity, now_millis};

pub use counters::{ApiCall, Counters};
pub use route::{Route, RouteKind};
pub use state::{RoutesFile, StateError};
pub use table::Table;
pub use target::{Health, Scheme, Target, TargetError};

/// The table and who may change it. Outlives every configuration.
#[derive(Debug)]
pub struct Routes {
    table: ArcSwap<Table>,
    writer: Mutex<RouteWriter>,
    rules: RouteRules,
    state: Option<RoutesFile>,
    started: std::time::Instant,
    base_url_changed: OnceLock<Hook>,
    /// The hub's base URL that everybody goes by.
    base_url: Mutex<String>,
    counters: Option<Counters>,
}

/// Called without an answer.
struct Hook(Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

/// What decides whether a route is taken in.
#[derive(Debug, Clone, Default)]
struct RouteRules {
    /// The hub's own address; a hub route to another is refused.
    pin: Option<Pin>,
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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// It is the hub's, and leads elsewhere than `hub.url` says.
    #[error("the hub's route must lead to hub.url, and not to {0}")]
    NotTheHub(String),
}

impl Routes {
    /// The table of `config`, empty but for the default target and what the state file holds.
    pub fn new(config: &config::RoutesConfig, hub: &config::Hub) -> Result<Arc<Self>, StateError> {
        let rules = RouteRules {
            pin: hub.upstream.as_ref().map(Pin::of),
            default_target: config.default_target.clone(),
        };
        let state = config.state.as_deref().map(RoutesFile::open).transpose()?;
        let routes = Self {
            table: ArcSwap::from_pointee(Table::new(config.host_routing)),
            writer: Mutex::default(),
            rules,
            state,
            started: std::time::Instant::now(),
            base_url_changed: OnceLock::new(),
            base_url: Mutex::new(hub.base_url.clone()),
            counters: config
                .chp
                .as_ref()
                .is_some_and(|chp| chp.metrics_listen.is_some())
                .then(Counters::default),
        };
        if let Some(state) = &routes.state {
            for saved in state.load()? {
                let data = saved.data;
                // What the pin forbids today may have been right yesterday: it is left out.
                if routes.insert(&saved.key, &saved.target, data, Some(saved.last_activity)).is_err() {
                    tracing::warn!(key = saved.key, "a kept route is left out: it is not the hub's");
                }
            }
            let kept = routes.table().len();
            tracing::info!(kept, "routes of before the restart");
        }
        if let Some(target) = routes.rules.default_target.clone() {
            // The operator's own word needs no pin.
            _ = routes.insert("/", &target, Map::new(), None);
        }
        Ok(Arc::new(routes))
    }

    /// The table of this moment.
    pub fn table(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// The table of this moment, to keep.
    pub fn snapshot(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Calls `hook` when the table tells another base URL of the hub. The first who asks is heard.
    pub fn when_base_url_changes(&self, hook: impl Fn() + Send + Sync + 'static) {
        let _first = self.base_url_changed.set(Hook(Box::new(hook)));
    }

    /// What is counted under the names of configurable-http-proxy, if anybody reads it.
    pub fn counters(&self) -> Option<&Counters> {
        self.counters.as_ref()
    }

    /// How long there has been a table.
    pub fn age(&self) -> std::time::Duration {
        self.started.elapsed()
    }

    /// Puts the route `key` in force: every request from now on, on every thread, goes by it.
    pub fn add(&self, key: &str, target: &str, data: Map<String, Value>) -> Result<(), AddError> {
        self.insert(key, target, data, None)?;
        self.tell_base_url();
        self.save();
        Ok(())
    }

    /// Tells who asked that the hub's base URL is another one than everybody goes by.
    fn tell_base_url(&self) {
        let (Some(told), Some(Hook(hook))) = (self.table().base_url(), self.base_url_changed.get()) else {
            return;
        };
        let mut base_url = self.base_url.lock().unwrap_or_else(PoisonError::into_inner);
        if *base_url != told {
            *base_url = told;
            hook();
        }
    }

    fn insert(
        &self,
        key: &str,
        target: &str,
        data: Map<String, Value>,
        last_activity: Option<u64>,
    ) -> Result<(), AddError> {
        let mut writer = self.lock();
        let parsed = Target::parse(target).map(|parsed| writer.interned(parsed));
        let kind = RouteKind::of(&data);
        if kind == RouteKind::Hub
            && let Some(pin) = &self.rules.pin
            && !parsed.as_ref().is_ok_and(|target| pin.admits(target))
        {
            return Err(AddError::NotTheHub(target.to_owned()));
        }
        writer.generation += 1;
        let route = Route {
            key: key.into(),
            kind,
            target: parsed.ok(),
            target_text: target.into(),
            data,
            generation: writer.generation,
            last_activity: LastActivity::at(last_activity.unwrap_or_else(now_millis)),
        };
        self.table.store(Arc::new(self.table.load().with(Arc::new(route))));
        Ok(())
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

    /// Writes what is kept, if it is, at once.
    pub fn flush(&self) {
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

impl Pin {
    fn of(hub: &config::UpstreamAddress) -> Self {
        Self(match hub {
            config::UpstreamAddress::Tcp { host, port } => format!("{}:{port}", host.to_ascii_lowercase()),
            config::UpstreamAddress::Unix(path) => format!("unix:{}", path.display()),
        })
    }

    fn admits(&self, target: &Target) -> bool {
        self.0 == target.place()
    }
}
