//! The numbers of those who wait, which each of them asks for every second.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::line::{LinePlace, WaitingLine};

/// How old the numbers may be that people are told.
const NUMBERS_AGE: Duration = Duration::from_millis(500);

/// The numbers as they were a moment ago: to count all who wait anew for each of them would take too long.
#[derive(Debug, Default)]
pub struct LineNumbers(Option<(Instant, HashMap<LinePlace, usize>)>);

impl LineNumbers {
    /// The number of `place`, counted from 1; none: its turn has come.
    pub fn of(&mut self, place: LinePlace, line: &WaitingLine, now: Instant) -> Option<usize> {
        let is_known = |(at, numbers): &(Instant, HashMap<LinePlace, usize>)| {
            now.duration_since(*at) <= NUMBERS_AGE && numbers.contains_key(&place)
        };
        if !self.0.as_ref().is_some_and(is_known) {
            self.0 = Some((now, line.numbers()));
        }
        self.0.as_ref()?.1.get(&place).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::super::line::Group;
    use super::*;

    #[test]
    fn numbers_are_a_moment_old_at_most_and_who_has_come_since_has_one() {
        let (mut line, mut numbers, now) = (WaitingLine::default(), LineNumbers::default(), Instant::now());
        let group = Group::new(IpAddr::V4(Ipv4Addr::LOCALHOST), "app");
        let [first, second] = [1, 2].map(|clicked| line.join(&group, clicked));
        assert_eq!(numbers.of(second, &line, now), Some(2));
        line.leave(&group, first);
        assert_eq!(numbers.of(second, &line, now + NUMBERS_AGE), Some(2));
        assert_eq!(numbers.of(second, &line, now + 2 * NUMBERS_AGE), Some(1));
        assert_eq!(numbers.of(first, &line, now + 2 * NUMBERS_AGE), None);
        let third = line.join(&group, 3);
        assert_eq!(numbers.of(third, &line, now + 2 * NUMBERS_AGE), Some(2));
    }
}
