//! A gate between two threads of a test: who waits at it goes on when the other opens it.

use std::sync::{Arc, Condvar, Mutex};

use super::PATIENCE;

/// Closed until it is opened, then open for ever.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Waits until it is open. A gate that is never opened is the test's mistake.
    pub fn pass(&self) {
        let open = self.0.0.lock().unwrap();
        let (_open, late) = self.0.1.wait_timeout_while(open, PATIENCE, |open| !*open).unwrap();
        assert!(!late.timed_out(), "nobody opened the gate");
    }
}
