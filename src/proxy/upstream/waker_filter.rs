//! What wakes the task of one connection to the hub, and when it need not.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Wake, Waker};

/// Wakes one task, unless it is hushed.
#[derive(Debug, Default)]
pub struct WakeFilter {
    task: OnceLock<(Waker, Thread)>,
    hushed: AtomicBool,
    rang: AtomicBool,
}

impl WakeFilter {
    /// Runs `connection` in the task that this bell wakes: in a spawned one, whose waker stays the same.
    pub async fn attend<F: Future>(self: Arc<Self>, connection: F) -> F::Output {
        let mut connection = pin!(connection);
        let waker = Waker::from(Arc::clone(&self));
        poll_fn(|cx| {
            self.task.get_or_init(|| (cx.waker().clone(), Thread::present()));
            connection.as_mut().poll(&mut Context::from_waker(&waker))
        })
        .await
    }

    /// Hushes it until the guard goes. Only on the thread of the connection's own task, so that nothing rings meanwhile
    /// but what the holder of the guard rings; elsewhere (a response that another request took over) none.
    pub fn hush(&self) -> Option<WakeFilterGuard<'_>> {
        let (_, thread) = self.task.get()?;
        (*thread == Thread::present()).then(|| {
            self.hushed.store(true, Ordering::Relaxed);
            WakeFilterGuard { bell: self, needed: true }
        })
    }

    fn wake_task(&self) {
        if let Some((task, _)) = self.task.get() {
            task.wake_by_ref();
        }
    }
}

impl Wake for WakeFilter {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.hushed.load(Ordering::Relaxed) {
            self.rang.store(true, Ordering::Relaxed);
        } else {
            self.wake_task();
        }
    }
}

/// Which thread, told by the place of one of its variables: cheaper than `ThreadId`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Thread(usize);

impl Thread {
    fn present() -> Self {
        thread_local!(static HERE: u8 = const { 0 });
        Self(HERE.with(|here| std::ptr::from_ref(here).addr()))
    }
}

/// A bell that does not ring. Held within one poll.
#[derive(Debug)]
pub struct WakeFilterGuard<'a> {
    bell: &'a WakeFilter,
    needed: bool,
}

impl WakeFilterGuard<'_> {
    /// What has rung needs no further ring.
    pub fn forget(mut self) {
        self.needed = false;
    }
}

impl Drop for WakeFilterGuard<'_> {
    fn drop(&mut self) {
        self.bell.hushed.store(false, Ordering::Relaxed);
        if self.bell.rang.swap(false, Ordering::Relaxed) && self.needed {
            self.bell.wake_task();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// A bell whose task counts how often it is woken.
    fn counted() -> (Arc<WakeFilter>, Arc<Wakes>) {
        let (bell, wakes) = (Arc::new(WakeFilter::default()), Arc::<Wakes>::default());
        bell.task.set((Waker::from(Arc::clone(&wakes)), Thread::present())).unwrap();
        (bell, wakes)
    }

    #[derive(Debug, Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_rings_within_a_hush_is_heard_behind_it_once() {
        let (bell, wakes) = counted();
        let hush = bell.hush().unwrap();
        bell.wake_by_ref();
        bell.wake_by_ref();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        drop(hush);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        drop(bell.hush());
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_bell_of_another_thread_is_not_hushed() {
        let (bell, wakes) = counted();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(bell.hush().is_none());
                bell.wake_by_ref();
            });
        });
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_is_forgotten_is_not_heard_and_what_rings_later_is() {
        let (bell, wakes) = counted();
        let hush = bell.hush().unwrap();
        bell.wake_by_ref();
        hush.forget();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        bell.wake_by_ref();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    }
}
