//! The two ends of a process: "stop accepting and finish" and "stop now"; no signals, no I/O.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Shared by every part that runs: tells when the drain begins and when it is over, and tracks every task.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    deadline: CancellationToken,
    tasks: TaskTracker,
    /// Those that have no end of their own, so that a drain does not wait for them.
    tunnels: TaskTracker,
}

impl Shutdown {
    /// Nothing is shutting down yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns `task` on the present runtime, tracked until it ends.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(task);
    }

    /// The same for the `task` of a tunnel, for which a drain does not wait.
    pub fn spawn_tunnel<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tunnels.spawn(task);
    }

    /// Begins the drain: no connection is accepted any more.
    pub fn drain(&self) {
        self.draining.cancel();
        self.tasks.close();
        self.tunnels.close();
    }

    /// Ends what the drain has not ended.
    pub fn stop(&self) {
        self.drain();
        self.deadline.cancel();
    }

    /// Whether the drain has begun.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Resolves when the drain begins.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Resolves when the drain is over and what is left must end.
    pub async fn deadline(&self) {
        self.deadline.cancelled().await;
    }

    /// Waits until every task but the tunnels has ended, at most `limit`, then ends the rest.
    pub async fn finish(&self, limit: Duration) {
        self.drain();
        let _in_time = tokio::time::timeout(limit, self.tasks.wait()).await;
        if self.tasks() > 0 {
            self.stop();
            // Tasks see the deadline at their next poll; this bound is for one that never yields.
            let all = async { tokio::join!(self.tasks.wait(), self.tunnels.wait()) };
            let _ended = tokio::time::timeout(Duration::from_secs(1), all).await;
        }
    }

    /// The tasks that have not ended.
    pub fn tasks(&self) -> usize {
        self.tasks.len() + self.tunnels.len()
    }
}
