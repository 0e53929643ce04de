//! How many logins or starts the hub does a second, by those that it has done lately.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// What counts as lately.
const WINDOW: Duration = Duration::from_secs(20);
/// The most that are remembered.
const REMEMBERED_MAX: usize = 256;

/// When the last ones were done.
#[derive(Debug, Default)]
pub struct Rate(VecDeque<Instant>);

impl Rate {
    /// Notes that one was done.
    pub fn note(&mut self, now: Instant) {
        if self.0.len() == REMEMBERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }

    /// How many a second; none: too few were done lately to tell.
    #[allow(clippy::cast_precision_loss, reason = "at most 256")]
    pub fn per_second(&self, now: Instant) -> Option<f64> {
        let lately = |at: &&Instant| now.duration_since(**at) <= WINDOW;
        let (count, first) = self
            .0
            .iter()
            .filter(lately)
            .fold((0_usize, None), |(count, first), at| (count + 1, first.or(Some(*at))));
        // A hub that has stopped shows in the time since the last one.
        let span = now.duration_since(first?).as_secs_f64();
        (count > 2 && span > 0.05).then(|| count as f64 / span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_that_of_the_last_seconds() {
        let (mut rate, begin) = (Rate::default(), Instant::now());
        assert_eq!(rate.per_second(begin), None);
        for number in 0..100 {
            rate.note(begin + Duration::from_millis(100) * number);
        }
        let at = |seconds| rate.per_second(begin + Duration::from_secs(seconds));
        let now = at(10).expect("enough");
        assert!((9.0..11.0).contains(&now), "{now}");
        let slower = at(20).expect("enough");
        assert!((4.0..6.0).contains(&slower), "{slower}");
        assert_eq!(at(60), None);
    }
}
