//! What wakes the task of one connection to the hub, and when it need not.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Wake, Waker};

/// Wakes one task, unless it is hushed.
#[derive(Debug, Default)]
pub struct Bell {
    task: OnceLock<Waker>,
    hushed: AtomicBool,
    rang: AtomicBool,
}

impl Bell {
    /// Runs `connection` in the task that this bell wakes: in a spawned one, whose waker stays the same.
    pub async fn attend<F: Future>(self: Arc<Self>, connection: F) -> F::Output {
        let mut connection = pin!(connection);
        let waker = Waker::from(Arc::clone(&self));
        poll_fn(|cx| {
            self.task.get_or_init(|| cx.waker().clone());
            connection.as_mut().poll(&mut Context::from_waker(&waker))
        })
        .await
    }

    /// Hushes it until the guard goes.
    pub fn hush(&self) -> Hush<'_> {
        self.hushed.store(true, Ordering::Relaxed);
        Hush { bell: self, needed: true }
    }

    fn wake_task(&self) {
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }
}

impl Wake for Bell {
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

/// A bell that does not ring. Held within one poll on the thread of the connection's own task, so that nothing rings
/// meanwhile but what this poll rings.
#[derive(Debug)]
pub struct Hush<'a> {
    bell: &'a Bell,
    needed: bool,
}

impl Hush<'_> {
    /// What has rung needs no answer.
    pub fn forget(mut self) {
        self.needed = false;
    }
}

impl Drop for Hush<'_> {
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
    fn counted() -> (Arc<Bell>, Arc<Wakes>) {
        let (bell, wakes) = (Arc::new(Bell::default()), Arc::<Wakes>::default());
        bell.task.set(Waker::from(Arc::clone(&wakes))).unwrap();
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
        let hush = bell.hush();
        bell.wake_by_ref();
        bell.wake_by_ref();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        drop(hush);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        drop(bell.hush());
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_is_forgotten_is_not_heard_and_what_rings_later_is() {
        let (bell, wakes) = counted();
        let hush = bell.hush();
        bell.wake_by_ref();
        hush.forget();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        bell.wake_by_ref();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    }
}
