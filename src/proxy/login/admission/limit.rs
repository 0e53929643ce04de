//! How many logins may be under way at the hub at once: follows the hub's own response times.
//!
//! After TCP Vegas: the best response time is what a login takes when nothing waits inside the hub. What the present ones
//! take longer tells how many of those under way only wait there. A few may, so that the hub is never idle; with more, the
//! limit goes down, the faster the more there are. Browsers that were called and are on their way take room as well: the
//! further away they are, the more of them there must be.
//!
//! A hub becomes slower, so the best time is forgotten after a minute; but only while few are under way. Where always some
//! wait inside the hub, each new best time has their wait in it: by times of which more and more was a wait, the limit would
//! grow for as long as the line does not end.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::LoginsAtOnce;

/// The least: one is being answered, and the next is there when it is.
pub const FLOOR: usize = 2;
/// The most: a hub is one thread, and its other users wait for all that are there at once.
pub const CEILING: usize = 64;
/// Where it begins.
const FIRST: f64 = 4.0;
/// With fewer that only wait inside the hub the limit grows, with more it shrinks.
const WAITING_INSIDE: std::ops::RangeInclusive<f64> = 2.0..=4.0;
/// How long a best time counts: between one and two of these.
const WINDOW: Duration = Duration::from_secs(30);
/// With more under way the best time counts for longer.
const FEW: usize = 8;

/// How many logins may be under way.
#[derive(Debug)]
pub struct Limit {
    setting: LoginsAtOnce,
    adaptive: f64,
    /// The best time of the window before, and of this one.
    best: [Option<Duration>; 2],
    window_began: Option<Instant>,
}

impl Limit {
    /// As it is before any response.
    pub fn new(setting: LoginsAtOnce) -> Self {
        Self { setting, adaptive: FIRST, best: [None; 2], window_began: None }
    }

    /// Another setting; what was learnt stays.
    pub fn set(&mut self, setting: LoginsAtOnce) {
        self.setting = setting;
    }

    /// How many at once.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 2 and 64")]
    pub fn at_once(&self) -> usize {
        match self.setting {
            LoginsAtOnce::Fixed(at_once) => at_once,
            LoginsAtOnce::Auto => self.adaptive as usize,
        }
    }

    /// A login `took` so long, while `at_hub` were under way at the hub and the room of `occupied` was taken: browsers that were
    /// called and are on their way take room, but do not wait inside the hub.
    #[allow(clippy::cast_precision_loss, reason = "a few dozen")]
    pub fn answered(&mut self, took: Duration, at_hub: usize, occupied: usize, now: Instant) {
        if self.window_began.is_none_or(|began| now.duration_since(began) >= WINDOW) {
            let before = if self.at_once() > FEW { self.best() } else { self.best[1] };
            self.best = [before, None];
            self.window_began = Some(now);
        }
        self.best[1] = Some(self.best[1].map_or(took, |best| best.min(took)));
        let best = self.best().unwrap_or(took);
        let waiting = at_hub as f64 * (1.0 - best.as_secs_f64() / took.as_secs_f64().max(1e-6));
        if waiting > *WAITING_INSIDE.end() {
            self.move_by((WAITING_INSIDE.end() - waiting).min(-1.0) / self.adaptive);
        } else if waiting < *WAITING_INSIDE.start() && occupied >= self.at_once() {
            self.move_by(1.0 / self.adaptive);
        }
    }

    fn best(&self) -> Option<Duration> {
        self.best.iter().flatten().min().copied()
    }

    /// The hub has not answered.
    pub fn failed(&mut self) {
        self.move_by(-self.adaptive / 2.0);
    }

    #[allow(clippy::cast_precision_loss, reason = "2 and 64")]
    fn move_by(&mut self, step: f64) {
        self.adaptive = (self.adaptive + step).clamp(FLOOR as f64, CEILING as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limit after `rounds` responses of a hub that needs `time` for a login when so many are under way.
    fn settled(rounds: u32, time: impl Fn(usize) -> Duration) -> usize {
        let (mut limit, mut now) = (Limit::new(LoginsAtOnce::Auto), Instant::now());
        for _ in 0..rounds {
            let in_flight = limit.at_once();
            now += time(in_flight) / u32::try_from(in_flight).expect("few");
            limit.answered(time(in_flight), in_flight, in_flight, now);
        }
        limit.at_once()
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_does_one_thing_at_a_time_is_not_given_more_than_a_few() {
        let busy = |in_flight: usize| Duration::from_millis(20) * u32::try_from(in_flight).expect("few");
        // The last is an hour and a half without an end of the line.
        for rounds in [100, 1000, 5000, 50_000, 300_000] {
            let at_once = settled(rounds, busy);
            assert!((FLOOR..=12).contains(&at_once), "{at_once} after {rounds}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_whose_logins_take_longer_than_before_is_given_as_many_all_the_same() {
        let (mut limit, mut now) = (Limit::new(LoginsAtOnce::Auto), Instant::now());
        // They wait for something else than the hub: each takes as long as one alone.
        let mut logins = |limit: &mut Limit, took: Duration, count: u32| {
            for _ in 0..count {
                now += took / u32::try_from(limit.at_once()).expect("few");
                limit.answered(took, limit.at_once(), limit.at_once(), now);
            }
        };
        logins(&mut limit, Duration::from_secs(2), 4000);
        assert_eq!(limit.at_once(), CEILING);
        logins(&mut limit, Duration::from_secs(6), 4000);
        assert_eq!(limit.at_once(), CEILING);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_whose_logins_wait_for_something_else_is_given_as_many_as_there_may_be() {
        assert_eq!(settled(5000, |_| Duration::from_secs(12)), CEILING);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_is_not_reached_does_not_grow() {
        let (mut limit, now) = (Limit::new(LoginsAtOnce::Auto), Instant::now());
        for _ in 0..1000 {
            limit.answered(Duration::from_millis(20), 1, 1, now);
        }
        assert_eq!(limit.at_once(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_on_the_way_takes_room_and_does_not_wait_inside_the_hub() {
        let (mut limit, now, best) =
            (Limit::new(LoginsAtOnce::Auto), Instant::now(), Duration::from_millis(20));
        limit.answered(best, 1, 1, now);
        for _ in 0..3000 {
            limit.answered(2 * best, 1, limit.at_once(), now);
        }
        assert_eq!(limit.at_once(), CEILING);
        for _ in 0..100 {
            let at_hub = limit.at_once();
            limit.answered(best * u32::try_from(at_hub).expect("few"), at_hub, at_hub, now);
        }
        assert!(limit.at_once() <= 8, "when they come all at once: {}", limit.at_once());
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_fails_is_given_less_and_never_less_than_two() {
        let mut limit = Limit::new(LoginsAtOnce::Auto);
        limit.failed();
        limit.failed();
        limit.failed();
        assert_eq!(limit.at_once(), FLOOR);
        limit.set(LoginsAtOnce::Fixed(7));
        limit.failed();
        assert_eq!(limit.at_once(), 7, "the operator's stays");
    }
}
