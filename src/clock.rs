//! The time, passed in: what decides whether a token still lives must be settable by a test.
//!
//! Nothing else in the crate may ask the system for the time of day, but `last_activity`, by which no token is judged.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// One instant, read from two clocks at once.
///
/// The wall clock can be stepped (NTP, an operator) and the monotonic one stands still while a machine is
/// suspended, so a lifetime is held to both: whichever says "over" first is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Time of day in UTC.
    pub wall: Timestamp,
    /// Time since the clock was made; never goes back.
    pub monotonic: Duration,
}

impl Moment {
    /// The moment `after` later, by both clocks.
    #[must_use]
    pub fn plus(self, after: Duration) -> Self {
        let wall = SignedDuration::try_from(after)
            .ok()
            .and_then(|span| self.wall.checked_add(span).ok())
            .unwrap_or(Timestamp::MAX);
        Self { wall, monotonic: self.monotonic.saturating_add(after) }
    }

    /// Whether `end` is reached by at least one of the two clocks.
    pub fn reached(self, end: Self) -> bool {
        self.wall >= end.wall || self.monotonic >= end.monotonic
    }

    /// Whether the wall clock stands more than `tolerance` before `start`, that is, was stepped back.
    pub fn precedes(self, start: Self, tolerance: Duration) -> bool {
        let tolerance = SignedDuration::try_from(tolerance).unwrap_or(SignedDuration::MAX);
        start.wall.duration_since(self.wall) > tolerance
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present moment.
    fn now(&self) -> Moment;

    /// Its time of day alone: what is told of it, or compared with a time that came from elsewhere.
    fn wall(&self) -> Timestamp {
        self.now().wall
    }

    /// Its monotonic part alone: how long something takes, or is remembered in this process; never the life of a token.
    fn monotonic(&self) -> Duration {
        self.now().monotonic
    }
}

/// The system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic part starts at zero now.
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment { wall: self.wall(), monotonic: self.monotonic() }
    }

    // The one place where the time of day is read.
    #[allow(clippy::disallowed_methods)]
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// A clock that stands still until it is told to move: for tests.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<Moment>,
}

impl ManualClock {
    /// A clock that stands at `wall`.
    pub fn at(wall: Timestamp) -> Self {
        Self { now: Mutex::new(Moment { wall, monotonic: Duration::ZERO }) }
    }

    /// Lets `span` pass by both clocks.
    pub fn advance(&self, span: Duration) {
        let mut now = self.lock();
        *now = now.plus(span);
    }

    /// Steps the wall clock alone to `wall`, as NTP or an operator does.
    pub fn step(&self, wall: Timestamp) {
        self.lock().wall = wall;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Moment> {
        self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        *self.lock()
    }
}
