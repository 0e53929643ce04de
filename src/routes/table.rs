//! The table: an immutable snapshot, looked up by the longest key that a path begins with, by whole segments.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::key;
use super::route::{Route, RouteKind};
use super::target::{Scheme, Target};
use crate::config::UpstreamAddress;

/// No key has more segments that count; deeper ones are found by trying every cut.
const CUTS: usize = 24;

/// A route, found by its key.
#[derive(Debug, Clone)]
struct ByKey(Arc<Route>);

impl Borrow<str> for ByKey {
    fn borrow(&self) -> &str {
        &self.0.key
    }
}

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

/// What the hub's own route tells of the hub, where the operator has not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LearntHub {
    /// Its base URL: `/` or `/jupyter/`. With routes by host its key does not tell it.
    pub base_url: Option<String>,
    /// Where it answers: `http://127.0.0.1:8081`, or `unix:/run/hub.sock`.
    pub origin: Option<String>,
}

impl LearntHub {
    /// What the route with this key and target tells.
    pub fn of(key: &str, target: Option<&Target>, host_routing: bool) -> Self {
        // In API-only mode the route is that of the API alone.
        let base = key.strip_suffix("/hub/api").unwrap_or(key);
        let base_url = format!("/{}/", base.trim_matches('/')).replace("//", "/");
        // Over TLS it shows a certificate, and nobody has said whose.
        let target = target.filter(|target| target.scheme() == Scheme::Http);
        let origin = target.map(|target| match target.address() {
            UpstreamAddress::Unix(_) => target.place().to_owned(),
            UpstreamAddress::Tcp { .. } => format!("http://{}", target.authority()),
        });
        Self { base_url: (!host_routing).then_some(base_url), origin }
    }
}

/// The routes of one moment.
#[derive(Debug, Clone)]
pub struct Table {
    /// Looked into once for each segment of a path, so by a hash that costs less than `SipHash`.
    routes: HashSet<ByKey, RandomState>,
    /// The most segments that a key has.
    depth: usize,
    host_routing: bool,
    hub: Option<Arc<Route>>,
}

impl Table {
    /// An empty one.
    pub fn new(host_routing: bool) -> Self {
        Self { routes: HashSet::default(), depth: 0, host_routing, hub: None }
    }

    /// Whether the host of a request is the first segment of its key.
    pub fn is_by_host(&self) -> bool {
        self.host_routing
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// Each route, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter().map(|ByKey(route)| route)
    }

    /// The hub's own route.
    pub fn hub(&self) -> Option<&Arc<Route>> {
        self.hub.as_ref()
    }

    /// The hub's base URL, as the key of its route tells it: `/` or `/jupyter/`. With routes by host it does not.
    pub fn base_url(&self) -> Option<String> {
        self.learnt().base_url
    }

    /// What the hub's route tells of the hub.
    pub fn learnt(&self) -> LearntHub {
        let of = |hub: &Arc<Route>| LearntHub::of(&hub.key, hub.target.as_deref(), self.host_routing);
        self.hub.as_ref().map(of).unwrap_or_default()
    }

    /// The route of exactly this key.
    pub fn get(&self, key: &str) -> Option<&Arc<Route>> {
        self.routes.get(key).map(|ByKey(route)| route)
    }

    /// The route of a request for `path` at `host`: that of the longest key, by whole segments of the decoded path.
    pub fn find(&self, host: &str, path: &str) -> Result<Option<&Arc<Route>>, key::BadEscape> {
        let path = key::readable(path)?;
        Ok(if self.host_routing {
            self.longest(&format!("/{}{path}", key::host(host)))
        } else {
            self.longest(&path)
        })
    }

    fn longest(&self, path: &str) -> Option<&Arc<Route>> {
        let path = path.trim_end_matches('/');
        // The ends of the first segments, as many as a key can have.
        let mut cuts = [0; CUTS];
        let mut count = 0;
        let depth = self.depth.min(CUTS);
        for slash in memchr::memchr_iter(b'/', path.as_bytes()).skip(1) {
            if count >= depth {
                break;
            }
            cuts[count] = slash;
            count += 1;
        }
        if self.depth > CUTS {
            // Such a deep key is nobody's: then each cut is tried.
            let mut rest = path;
            while !rest.is_empty() {
                if let Some(route) = self.get(rest.trim_end_matches('/')) {
                    return Some(route);
                }
                rest = &rest[..rest.rfind('/').unwrap_or(0)];
            }
            return self.get("/");
        }
        if count < depth && !path.is_empty() {
            cuts[count] = path.len();
            count += 1;
        }
        for cut in cuts[..count].iter().rev() {
            if let Some(route) = self.get(&path[..*cut]) {
                return Some(route);
            }
        }
        self.get("/")
    }

    /// The same with `route` in it, in the place of one of the same key.
    #[must_use]
    pub fn with(&self, route: Arc<Route>) -> Self {
        let mut new = self.clone();
        new.put(route);
        new
    }

    /// The same without the route `key`; none if there is none.
    pub fn without(&self, key: &str) -> Option<Self> {
        let mut new = self.clone();
        new.take(key).then_some(new)
    }

    /// Puts `route` in the place of one of the same key.
    pub(super) fn put(&mut self, route: Arc<Route>) {
        self.depth = self.depth.max(depth(&route.key));
        let replaced = self.routes.replace(ByKey(Arc::clone(&route))).map(|ByKey(old)| old);
        if route.kind == RouteKind::Hub {
            self.hub = Some(route);
        } else if replaced.is_some_and(|old| self.is_hub(&old)) {
            self.hub = self.another_hub();
        }
    }

    /// Takes the route `key` out; whether there was one.
    pub(super) fn take(&mut self, key: &str) -> bool {
        let Some(ByKey(removed)) = self.routes.take(key) else { return false };
        if self.is_hub(&removed) {
            self.hub = self.another_hub();
        }
        // The depth stays: a path is looked up a little longer than it must be.
        true
    }

    fn is_hub(&self, route: &Arc<Route>) -> bool {
        self.hub.as_ref().is_some_and(|hub| Arc::ptr_eq(hub, route))
    }

    fn another_hub(&self) -> Option<Arc<Route>> {
        self.iter().find(|route| route.kind == RouteKind::Hub).cloned()
    }
}

/// How many segments a key has.
fn depth(key: &str) -> usize {
    if key == "/" { 0 } else { memchr::memchr_iter(b'/', key.as_bytes()).count() }
}
