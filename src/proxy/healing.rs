//! A young table that may lack a route: the hub is asked to write its routes again, instead of telling users that their
//! server does not run.
//!
//! A proxy that was restarted begins with an empty table, and the hub looks at it only once in one to five minutes
//! (`last_activity_interval`). `POST {hub}/hub/api/proxy` makes it look now. The hub's token needs the scope `proxy`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::upstream::{RouteError, UpstreamDestination};
use crate::hub::HubClient;
use crate::routes::{RouteKind, Routes};

/// A table older than the longest interval of the hub's own look is no younger than the hub's knowledge.
const YOUNG: Duration = Duration::from_mins(5);
/// The hub is asked no more often.
const EVERY: Duration = Duration::from_secs(5);
/// A request waits no longer for the hub.
const PATIENCE: Duration = Duration::from_secs(3);

/// When the hub was last asked.
#[derive(Debug, Default)]
pub struct Healing(Mutex<Option<Instant>>);

impl Healing {
    /// Whether a user's path below `base_url` has found nobody, or the hub alone, in `routes`, which may lack its route.
    pub fn may_help(
        routes: Option<&Arc<Routes>>,
        found: &Result<UpstreamDestination, RouteError>,
        path: &str,
        base_url: &str,
    ) -> bool {
        let is_missing = match found {
            Ok(destination) => destination.route.as_ref().is_some_and(|route| {
                route.kind == RouteKind::Hub || (route.kind == RouteKind::Extra && &*route.key == "/")
            }),
            Err(RouteError::NoRoute) => true,
            Err(RouteError::BadEscape(_) | RouteError::BadTarget) => false,
        };
        is_missing
            && path.strip_prefix(base_url).is_some_and(|rest| rest.starts_with("user/"))
            && routes.is_some_and(|routes| routes.is_shared() || routes.age() < YOUNG)
    }

    /// Asks other replicas, whose message may be on its way; whether there are any.
    pub async fn look(routes: Option<&Arc<Routes>>) -> bool {
        match routes {
            Some(routes) => routes.look().await,
            None => false,
        }
    }

    /// Asks the hub, if the table is young, unless it was asked a moment ago; whether it has written its routes meanwhile.
    /// Without a token it is not asked.
    pub async fn heal(&self, routes: Option<&Arc<Routes>>, hub: Arc<HubClient>) -> bool {
        let is_young = routes.is_some_and(|routes| routes.age() < YOUNG);
        if !is_young || !hub.has_token() {
            return false;
        }
        let asking = async {
            // Whoever comes meanwhile waits for the response to the first.
            let mut asked = self.0.lock().await;
            if asked.is_some_and(|asked| asked.elapsed() < EVERY) {
                return true;
            }
            *asked = Some(Instant::now());
            match hub.check_routes().await {
                Ok(()) => true,
                Err(error) => {
                    tracing::warn!(%error, "ask the hub for its routes");
                    false
                }
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.unwrap_or(false)
    }
}
