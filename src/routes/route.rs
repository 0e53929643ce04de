//! One row of the table.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::target::Target;
use crate::last_activity::LastActivity;

/// One row of the table.
#[derive(Debug)]
pub struct Route {
    /// `/user/alice`: decoded, with one `/` before and none behind; `/` alone is the root.
    pub key: Box<str>,
    /// Whose it is.
    pub kind: RouteKind,
    /// Where its requests go; none if what was written is no URL.
    pub target: Option<Arc<Target>>,
    /// The same as it was written.
    pub target_text: Box<str>,
    /// What else was written.
    pub data: Map<String, Value>,
    /// Which change of the table made it.
    pub generation: u64,
    /// When it was last used.
    pub last_activity: LastActivity,
}

/// Whose a route is, by what the hub says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteKind {
    /// The hub itself.
    Hub,
    /// A user's server.
    User,
    /// A service.
    Service,
    /// Anything else: `c.Proxy.extra_routes`, and what others write.
    Extra,
}

impl RouteKind {
    /// By the data that came with a route.
    pub fn of(data: &Map<String, Value>) -> Self {
        if data.get("hub") == Some(&Value::Bool(true)) {
            Self::Hub
        } else if data.contains_key("user") {
            Self::User
        } else if data.contains_key("service") {
            Self::Service
        } else {
            Self::Extra
        }
    }
}

impl Route {
    /// What the API answers: what was written, and when it was last used.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut json = self.data.clone();
        json.insert("target".to_owned(), Value::from(&*self.target_text));
        json.insert("last_activity".to_owned(), Value::from(iso(self.last_activity.millis())));
        json
    }
}

/// As JavaScript writes a date.
fn iso(millis: u64) -> String {
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).map(|time| format!("{time:.3}")).unwrap_or_default()
}
