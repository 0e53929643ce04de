//! What waits for something that seldom happens, within a task that is woken often: it is asked only when it was woken.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Tells what of a task was woken: something that waits with a waker of its own need not be asked before that rings.
#[derive(Debug, Default)]
pub struct WakeFlag(Option<(Arc<Bell>, Waker)>);

#[derive(Debug)]
struct Bell {
    rang: AtomicBool,
    task: Waker,
}

impl WakeFlag {
    /// The waker to wait with in the task of `cx`; none if that would be to wait on: nothing has rung since.
    #[inline]
    pub fn due(&mut self, cx: &Context<'_>) -> Option<&Waker> {
        match &self.0 {
            Some((bell, _)) if bell.task.will_wake(cx.waker()) => {
                if !bell.rang.load(Ordering::Acquire) {
                    return None;
                }
                // Before it is asked: what rings meanwhile counts.
                bell.rang.store(false, Ordering::Relaxed);
            }
            // The first time, or another task than before.
            _ => self.hang(cx.waker()),
        }
        self.0.as_ref().map(|(_, waker)| waker)
    }

    /// A bell for another task.
    #[cold]
    fn hang(&mut self, task: &Waker) {
        let bell = Arc::new(Bell { rang: AtomicBool::new(false), task: task.clone() });
        self.0 = Some((Arc::clone(&bell), Waker::from(bell)));
    }

    /// Nothing waits with the waker any more: it is due the next time.
    pub fn ring(&self) {
        if let Some((bell, _)) = &self.0 {
            bell.rang.store(true, Ordering::Relaxed);
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

/// Polls a future only when that future itself was woken. A cancellation takes a lock each time it is polled, and a
/// connection is polled several times for each request.
#[derive(Debug)]
pub struct PollOnWake<F> {
    future: F,
    alarm: WakeFlag,
}

impl<F> PollOnWake<F> {
    /// Wraps `future`.
    pub fn new(future: F) -> Self {
        Self { future, alarm: WakeFlag::default() }
    }
}

impl<F: Future + Unpin> Future for PollOnWake<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, alarm } = self.get_mut();
        let Some(waker) = alarm.due(cx) else { return Poll::Pending };
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
        let mut dormant = pin!(PollOnWake::new(Counting { polls: &polled, end }));
        for _ in 0..3 {
            let poll = std::future::poll_fn(|cx| Poll::Ready(dormant.as_mut().poll(cx))).await;
            assert!(poll.is_pending());
        }
        polled.store(false, Ordering::Relaxed);
        tokio::join!(dormant, async { sender.send(()).unwrap() });
    }
}
