//! A deadline that costs nothing while there is progress: its timer is only touched when it fires.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Measures one wait after another with one timer.
#[derive(Debug, Default)]
pub struct Deadline {
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// What was waited for has come: the next wait begins anew.
    pub fn progress(&mut self) {
        self.since = None;
    }

    /// The next wait begins, or has begun, at `since`.
    pub fn begin(&mut self, since: Instant) {
        self.since = Some(since);
    }

    /// Ready when nothing has come for `limit`.
    pub fn poll(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        self.poll_until(cx, since + limit)
    }

    /// Ready at `end`.
    pub fn poll_until(&mut self, cx: &mut Context<'_>, end: Instant) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        // A timer that is set too early is set anew when it fires; one that is set too late, now.
        if timer.deadline() > end {
            timer.as_mut().reset(end);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn wait(deadline: &mut Deadline, limit: Duration) {
        std::future::poll_fn(|cx| deadline.poll(cx, limit)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_after_its_limit_and_the_next_one_after_its_own() {
        let mut deadline = Deadline::default();
        for seconds in [10, 3, 75, 1] {
            let begun = Instant::now();
            wait(&mut deadline, Duration::from_secs(seconds)).await;
            assert_eq!(begun.elapsed().as_secs(), seconds);
            deadline.progress();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn progress_moves_the_end() {
        let mut deadline = Deadline::default();
        let begun = Instant::now();
        for _ in 0..5 {
            let cut =
                tokio::time::timeout(Duration::from_secs(9), wait(&mut deadline, Duration::from_secs(10)));
            assert!(cut.await.is_err());
            deadline.progress();
        }
        wait(&mut deadline, Duration::from_secs(10)).await;
        assert_eq!(begun.elapsed().as_secs(), 55);
    }
}
