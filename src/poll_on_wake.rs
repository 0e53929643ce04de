//! Futures that are rarely ready, inside tasks that are polled often: each is polled only after its own waker was called.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Remembers whether one part of a task was woken: a part that waits with a waker of its own need not be polled before
/// that waker is called.
#[derive(Debug, Default)]
pub struct WakeFlag(Option<(Arc<Flag>, Waker)>);

#[derive(Debug)]
struct Flag {
    woken: AtomicBool,
    task: Waker,
}

impl WakeFlag {
    /// The waker to poll with in the task of `cx`; none if it was not called since the last poll.
    #[inline]
    pub fn due(&mut self, cx: &Context<'_>) -> Option<&Waker> {
        match &self.0 {
            Some((flag, _)) if flag.task.will_wake(cx.waker()) => {
                if !flag.woken.load(Ordering::Acquire) {
                    return None;
                }
                // Before the poll: a wake-up during the poll counts.
                flag.woken.store(false, Ordering::Relaxed);
            }
            // The first time, or another task than before.
            _ => self.register(cx.waker()),
        }
        self.0.as_ref().map(|(_, waker)| waker)
    }

    /// A waker for another task.
    #[cold]
    fn register(&mut self, task: &Waker) {
        let flag = Arc::new(Flag { woken: AtomicBool::new(false), task: task.clone() });
        self.0 = Some((Arc::clone(&flag), Waker::from(flag)));
    }

    /// Marks it as woken: it is polled the next time.
    pub fn wake(&self) {
        if let Some((flag, _)) = &self.0 {
            flag.woken.store(true, Ordering::Relaxed);
        }
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

/// Polls a future only when that future itself was woken. A cancellation takes a lock each time it is polled, and a
/// connection is polled several times for each request.
#[derive(Debug)]
pub struct PollOnWake<F> {
    future: F,
    flag: WakeFlag,
}

impl<F> PollOnWake<F> {
    /// Wraps `future`.
    pub fn new(future: F) -> Self {
        Self { future, flag: WakeFlag::default() }
    }
}

impl<F: Future + Unpin> Future for PollOnWake<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, flag } = self.get_mut();
        let Some(waker) = flag.due(cx) else { return Poll::Pending };
        Pin::new(future).poll(&mut Context::from_waker(waker))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    /// Counts its polls; ready when it is told so.
    struct Counting<'a> {
        polls: &'a AtomicBool,
        end: tokio::sync::oneshot::Receiver<()>,
    }

    impl Future for Counting<'_> {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            assert!(!self.polls.swap(true, Ordering::Relaxed), "polled without having been woken");
            Pin::new(&mut self.end).poll(cx).map(|_| ())
        }
    }

    #[tokio::test]
    async fn a_future_is_polled_when_it_was_woken_and_not_with_its_task() {
        let polled = AtomicBool::new(false);
        let (sender, end) = tokio::sync::oneshot::channel();
        let mut waiting = pin!(PollOnWake::new(Counting { polls: &polled, end }));
        for _ in 0..3 {
            let poll = std::future::poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
            assert!(poll.is_pending());
        }
        polled.store(false, Ordering::Relaxed);
        tokio::join!(waiting, async { sender.send(()).unwrap() });
    }
}
