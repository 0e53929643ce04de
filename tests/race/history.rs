//! What happened, in the order of one clock: the driver and the hub write it, the checker reads it.

use std::sync::Mutex;
use std::time::Instant;

use super::client::{self, Failure};

/// The number of a token; links are known by it once they were issued.
pub type Token = u32;

/// Nanoseconds since the history began.
pub type Time = u64;

/// One thing that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The API acknowledged a link that it was asked for at this time.
    Issued { token: Token, asked: Time },
    /// A browser opened the link.
    Tried { token: Token, began: Time, ended: Time, answer: Answer },
    /// The app took the link back, or tried to.
    Revoked { token: Token, ended: Time, answer: Taken },
    /// The hub was asked to log somebody in by this token; whether by the right name.
    Login { token: Token, at: Time, name_is_right: bool },
    /// The hub was asked to log somebody in by no token of this history.
    StrangeLogin { at: Time },
    /// What keeps the links of this store was killed, and need not remember them.
    Voided { at: Time },
}

/// What a browser got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    LoggedIn,
    Used,
    Revoked,
    Expired,
    Unknown,
    /// Sent, and not answered, or answered 5xx: it may have been consumed.
    Unclear,
    /// Never sent.
    NotSent,
    /// None of these; the status.
    Odd(u16),
}

impl Answer {
    /// What a browser makes of this.
    pub fn of(answer: Result<client::Answer, Failure>) -> Self {
        match answer {
            Err(Failure::NotSent) => Self::NotSent,
            Err(Failure::Unclear) => Self::Unclear,
            Ok(answer) => match (answer.status, answer.json()["code"].as_str()) {
                (302, _) => Self::LoggedIn,
                (403, Some("link_used")) => Self::Used,
                (403, Some("link_revoked")) => Self::Revoked,
                (403, Some("link_expired")) => Self::Expired,
                (403, Some("link_unknown")) => Self::Unknown,
                (500.., _) => Self::Unclear,
                (status, _) => Self::Odd(status),
            },
        }
    }
}

/// What the app got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// 204: nobody will log in by it, and nobody has.
    Dead,
    /// 409.
    Used,
    /// 404.
    NotFound,
    /// No answer, or 5xx.
    Unclear,
}

/// Collects events from all threads.
#[derive(Debug)]
pub struct History {
    began: Instant,
    events: Mutex<Vec<Event>>,
}

impl History {
    pub fn new() -> Self {
        Self { began: Instant::now(), events: Mutex::default() }
    }

    pub fn now(&self) -> Time {
        u64::try_from(self.began.elapsed().as_nanos()).expect("centuries")
    }

    pub fn add(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    /// How often the hub has logged somebody in by `wanted`.
    pub fn logins_of(&self, wanted: Token) -> usize {
        let is_one = |event: &&Event| matches!(event, Event::Login { token, .. } if *token == wanted);
        self.events.lock().unwrap().iter().filter(is_one).count()
    }

    /// All that has happened.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.events.lock().unwrap())
    }
}
