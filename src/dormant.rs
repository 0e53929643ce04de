//! A future that waits for what seldom happens, within a task that is woken often.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Polls a future only when that future itself was woken. A cancellation takes a lock each time it is polled, and a
/// connection is polled several times for each request.
#[derive(Debug)]
pub struct Dormant<F> {
    future: F,
    alarm: Option<Arc<Alarm>>,
}

#[derive(Debug)]
struct Alarm {
    rang: AtomicBool,
    task: Waker,
}

impl<F> Dormant<F> {
    /// Wraps `future`.
    pub fn new(future: F) -> Self {
        Self { future, alarm: None }
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl<F: Future + Unpin> Future for Dormant<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let alarm = match &mut this.alarm {
            Some(alarm) if alarm.task.will_wake(cx.waker()) => {
                if !alarm.rang.load(Ordering::Acquire) {
                    return Poll::Pending;
                }
                alarm.rang.store(false, Ordering::Relaxed);
                alarm
            }
            // The first poll, or another task than before.
            alarm => alarm.insert(Arc::new(Alarm { rang: AtomicBool::new(false), task: cx.waker().clone() })),
        };
        let waker = Waker::from(Arc::clone(alarm));
        Pin::new(&mut this.future).poll(&mut Context::from_waker(&waker))
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
        let mut dormant = pin!(Dormant::new(Counting { polls: &polled, end }));
        for _ in 0..3 {
            let poll = std::future::poll_fn(|cx| Poll::Ready(dormant.as_mut().poll(cx))).await;
            assert!(poll.is_pending());
        }
        polled.store(false, Ordering::Relaxed);
        tokio::join!(dormant, async { sender.send(()).unwrap() });
    }
}
