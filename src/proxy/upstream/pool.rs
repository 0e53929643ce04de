//! Connections that wait for their next exchange: last in, first out, and none longer than it may.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::connection::Connection;

/// The unused connections of one thread.
#[derive(Debug)]
pub(super) struct IdleConnections {
    // One thread only ever takes it: the lock is for the type, and costs an uncontended exchange.
    state: Mutex<IdleState>,
    max: usize,
    timeout: Duration,
    tasks: TaskTracker,
}

#[derive(Debug, Default)]
struct IdleState {
    /// The longer unused, the nearer to the front.
    #[expect(clippy::vec_box, reason = "a connection stays in its box when it is taken and given back")]
    connections: Vec<Box<Connection>>,
    /// A task looks after them.
    is_swept: bool,
}

impl IdleConnections {
    /// Room for `max`, each of them for `timeout`. What looks after them is one of `tasks`.
    pub(super) fn new(max: usize, timeout: Duration, tasks: TaskTracker) -> Self {
        Self { state: Mutex::default(), max, timeout, tasks }
    }

    /// The connection that was used last.
    pub(super) fn take(&self, now: Instant) -> Option<Box<Connection>> {
        let mut state = self.lock();
        while let Some(last) = state.connections.pop() {
            let unused = now.duration_since(last.since);
            if unused > self.timeout {
                // The last to come back is too old, so all the others are.
                state.connections.clear();
                return None;
            }
            if !last.is_closed() {
                return Some(last);
            }
        }
        None
    }

    /// Takes back a connection that can serve another exchange.
    pub(super) fn give_back(self: &Arc<Self>, mut connection: Box<Connection>) {
        let mut state = self.lock();
        if state.connections.len() >= self.max {
            return;
        }
        connection.since = Instant::now();
        state.connections.push(connection);
        if !state.is_swept {
            state.is_swept = true;
            // The descriptors must come back when no request comes any more, too.
            self.tasks.spawn(sweep(Arc::downgrade(self), self.timeout));
        }
    }

    /// Closes what has waited for too long; whether any is left.
    fn close_old(&self) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        let old = state.connections.partition_point(|idle| now.duration_since(idle.since) > self.timeout);
        state.connections.drain(..old);
        state.is_swept = !state.connections.is_empty();
        state.is_swept
    }

    fn lock(&self) -> MutexGuard<'_, IdleState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks after `idle` until nothing is left in it.
async fn sweep(idle: Weak<IdleConnections>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if !idle.upgrade().is_some_and(|idle| idle.close_old()) {
            return;
        }
    }
}
