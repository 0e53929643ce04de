//! Every tunnel of the process, by the hub session it belongs to: counted, and closed when that session ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::metrics::Counted;

/// Every tunnel of the process, by the hub session it belongs to.
#[derive(Debug, Clone)]
pub struct Tunnels {
    sessions: Arc<Mutex<Sessions>>,
    open: Gauge,
}

/// By number, so that one goes without a look at the others: anybody can write any session into a request.
#[derive(Debug, Default)]
struct Sessions {
    by_session: HashMap<String, HashMap<u64, CancellationToken>>,
    next: u64,
}

/// A tunnel's entry, from before the request is sent until the tunnel ends: a session that is ended in between
/// leaves none behind.
#[derive(Debug)]
pub struct Registered {
    sessions: Arc<Mutex<Sessions>>,
    of: Vec<String>,
    number: u64,
    pub(super) closed: CancellationToken,
}

impl Tunnels {
    /// None yet; `open` counts them.
    pub fn new(open: Gauge) -> Self {
        Self { sessions: Arc::default(), open }
    }

    /// Registers a tunnel that a request with these hub sessions asks for.
    pub fn register(&self, mut of: Vec<String>) -> Registered {
        of.sort_unstable();
        of.dedup();
        let closed = CancellationToken::new();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let number = sessions.next;
        sessions.next += 1;
        for session in &of {
            sessions.by_session.entry(session.clone()).or_default().insert(number, closed.clone());
        }
        Registered { sessions: Arc::clone(&self.sessions), of, number, closed }
    }

    /// Closes every tunnel of `session`, and those whose handshake is under way.
    pub fn close_session(&self, session: &str) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let tunnels = sessions.by_session.remove(session);
        drop(sessions);
        for tunnel in tunnels.into_iter().flat_map(HashMap::into_values) {
            tunnel.cancel();
        }
    }

    /// Closes every tunnel of the sessions that are `over`.
    pub fn close_sessions(&self, over: impl Fn(&str) -> bool) {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let ended: Vec<String> = sessions.by_session.keys().filter(|id| over(id)).cloned().collect();
        drop(sessions);
        for session in ended {
            self.close_session(&session);
        }
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        usize::try_from(self.open.get()).unwrap_or(0)
    }

    /// Counts one open tunnel until it is dropped.
    pub fn count(&self) -> Counted {
        Counted::new(&self.open)
    }
}

impl Registered {
    /// Waits for the end of the session.
    pub fn closed(&self) -> WaitForCancellationFutureOwned {
        self.closed.clone().cancelled_owned()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        for session in &self.of {
            if let Some(tunnels) = sessions.by_session.get_mut(session) {
                tunnels.remove(&self.number);
                if tunnels.is_empty() {
                    sessions.by_session.remove(session);
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_is_written_often_is_registered_once_and_only_its_own_entry_goes() {
        let tunnels = Tunnels::new(Gauge::default());
        let (one, other) =
            (tunnels.register(vec!["s".to_owned(); 1000]), tunnels.register(vec!["s".to_owned()]));
        let entries = || tunnels.sessions.lock().unwrap().by_session.get("s").map_or(0, HashMap::len);
        assert_eq!(entries(), 2);
        drop(one);
        assert_eq!(entries(), 1);
        tunnels.close_session("s");
        assert!(other.closed.is_cancelled());
        drop(other);
        assert!(tunnels.sessions.lock().unwrap().by_session.is_empty());
    }
}
