//! Browsers that were called: their turn has come, they have been told so by an event, and are not back yet.
//!
//! Room at the hub is kept for whoever is called, so that no more are called than can log in; only for a moment, and once a
//! minute for a token, because anybody can be called and not come. Whoever comes later has lost nothing but that room: they
//! are before all others until they have had their turn, or the call is forgotten; then the place of their click counts again.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::token::TokenDigest;

/// How long room is kept: a page asks again at once, and a browser far away takes some round trips for that.
const ROOM_FOR: Duration = Duration::from_secs(2);
/// How long a call is remembered.
const REMEMBERED_FOR: Duration = Duration::from_mins(1);

/// Who was called lately, by the tokens of their links.
#[derive(Debug, Default)]
pub struct PageCalls {
    /// For whom room is kept, and until when. As few as may log in at once.
    expected: Vec<(TokenDigest, Instant)>,
    /// Whether their turn is still theirs.
    called: HashMap<TokenDigest, bool>,
    /// When they were called first, the oldest first.
    since: VecDeque<(Instant, TokenDigest)>,
}

impl PageCalls {
    /// Calls the browser with `token`.
    pub fn call(&mut self, token: TokenDigest, now: Instant) {
        while let Some((_, old)) = self.since.pop_front_if(|(at, _)| now.duration_since(*at) > REMEMBERED_FOR)
        {
            self.called.remove(&old);
        }
        if self.called.insert(token, true).is_none() {
            self.since.push_back((now, token));
            self.expected.push((token, now + ROOM_FOR));
        }
    }

    /// For how many room is kept.
    pub fn expected(&mut self, now: Instant) -> usize {
        self.expected.retain(|(_, until)| *until > now);
        self.expected.len()
    }

    /// Nobody needs to keep room for `token` any more.
    pub fn release(&mut self, token: TokenDigest) {
        self.expected.retain(|(expected, _)| *expected != token);
    }

    /// Whether whoever comes with `token` is before all others.
    pub fn is_due(&self, token: TokenDigest) -> bool {
        self.called.get(&token) == Some(&true)
    }

    /// The turn of `token` was taken.
    pub fn taken(&mut self, token: TokenDigest) {
        if let Some(is_due) = self.called.get_mut(&token) {
            *is_due = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str) -> TokenDigest {
        TokenDigest::of_parts(&[name])
    }

    #[test]
    fn room_is_kept_for_a_token_once_a_minute() {
        let (mut calls, begun) = (PageCalls::default(), Instant::now());
        let mut kept = 0;
        for second in 0..=120 {
            let now = begun + Duration::from_secs(second);
            calls.call(token("one"), now);
            kept += calls.expected(now);
        }
        assert_eq!(kept, 4, "two seconds twice");
        let now = begun + Duration::from_secs(121);
        calls.call(token("other"), now);
        assert_eq!(calls.expected(now), 1);
        calls.release(token("other"));
        assert_eq!(calls.expected(now), 0);
    }

    #[test]
    fn whoever_was_called_stays_due_until_the_turn_is_taken() {
        let (mut calls, begun) = (PageCalls::default(), Instant::now());
        assert!(!calls.is_due(token("one")));
        calls.call(token("one"), begun);
        calls.release(token("one"));
        assert_eq!(calls.expected(begun + ROOM_FOR), 0);
        assert!(calls.is_due(token("one")), "later as well");
        calls.taken(token("one"));
        assert!(!calls.is_due(token("one")));
        calls.call(token("one"), begun);
        assert!(calls.is_due(token("one")) && calls.expected(begun) == 0);
    }

    #[test]
    fn what_was_called_a_minute_ago_is_forgotten() {
        let (mut calls, begun) = (PageCalls::default(), Instant::now());
        for number in 0..100 {
            calls.call(token(&number.to_string()), begun);
        }
        calls.call(token("late"), begun + REMEMBERED_FOR + Duration::from_secs(1));
        assert_eq!((calls.called.len(), calls.since.len()), (1, 1));
    }
}
