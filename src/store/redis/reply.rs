//! What a script answers: read strictly, and what each answer tells besides is kept.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use redis::{FromRedisValue as _, Value};

use super::super::record::GrantRecord;
use super::super::{Link, LinkStatus, Memory, StoreError};
use crate::clock::Moment;
use crate::token::{LinkId, TokenDigest};

/// What every reply tells of the server, as last read.
#[derive(Debug, Default)]
pub(super) struct ServerInfo {
    live: AtomicUsize,
    memory: Mutex<Option<ServerMemory>>,
    /// The server's time of its last reply, in milliseconds, and when that reply came.
    present: Mutex<Option<(i64, Instant)>>,
}

/// How far the server's memory goes back.
#[derive(Debug, Clone, Copy)]
struct ServerMemory {
    /// When it began, in milliseconds of the server's clock, which may differ from ours: it only tells one memory from
    /// another.
    began: i64,
    /// How old the memory was when the reply came.
    age: Duration,
    heard: Instant,
}

/// A word, the number of live links, since when all is remembered, the server's present, and what belongs to the word.
pub(super) struct Reply {
    pub(super) word: String,
    rest: Vec<Value>,
}

impl ServerInfo {
    /// Reads a reply.
    pub(super) fn read(&self, values: Vec<Value>) -> Result<Reply, StoreError> {
        let mut values = values.into_iter();
        let word = values.next().map(String::from_redis_value).and_then(Result::ok).ok_or_else(damaged)?;
        let live = values.next().map(usize::from_redis_value).and_then(Result::ok).ok_or_else(damaged)?;
        let since = values.next().map(i64::from_redis_value).and_then(Result::ok).ok_or_else(damaged)?;
        let present = values.next().map(i64::from_redis_value).and_then(Result::ok).ok_or_else(damaged)?;
        self.live.store(live, Ordering::Relaxed);
        *self.present.lock().unwrap_or_else(PoisonError::into_inner) = Some((present, Instant::now()));
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        // The later one: a reply of an earlier server may arrive after one of its successor.
        if memory.is_none_or(|memory| memory.began < since) {
            let age = Duration::from_millis(u64::try_from(present.saturating_sub(since)).unwrap_or(0));
            *memory = Some(ServerMemory { began: since, age, heard: Instant::now() });
        }
        drop(memory);
        Ok(Reply { word, rest: values.collect() })
    }

    pub(super) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// How far the server's clock is ahead of ours, which stands at `now`.
    pub(super) fn skew(&self, now: Moment) -> Option<SignedDuration> {
        let (present, heard) = (*self.present.lock().unwrap_or_else(PoisonError::into_inner))?;
        let since = SignedDuration::try_from(heard.elapsed()).ok()?;
        let theirs = Timestamp::from_millisecond(present).ok()?.checked_add(since).ok()?;
        Some(theirs.duration_since(now.wall))
    }

    /// How far the server's memory goes back, by our clock, which stands at `now`: only ages were taken from the server's.
    pub(super) fn memory(&self, now: Moment) -> Option<Memory> {
        let memory = (*self.memory.lock().unwrap_or_else(PoisonError::into_inner))?;
        let age = memory.age.saturating_add(memory.heard.elapsed());
        let since = now.wall.checked_sub(SignedDuration::try_from(age).ok()?).unwrap_or(Timestamp::MIN);
        Some(Memory { epoch: memory.began, since })
    }
}

impl Reply {
    pub(super) fn id(&self) -> Result<LinkId, StoreError> {
        self.text(0).and_then(|id| LinkId::parse(&id)).ok_or_else(damaged)
    }

    /// Everything that belongs to the word, as texts.
    pub(super) fn texts(&self) -> Result<Vec<String>, StoreError> {
        self.rest.iter().map(|value| String::from_redis_value_ref(value).map_err(|_| damaged())).collect()
    }

    pub(super) fn number(&self) -> Result<usize, StoreError> {
        self.rest.first().and_then(|value| usize::from_redis_value_ref(value).ok()).ok_or_else(damaged)
    }

    pub(super) fn link_or_nothing(&self, now: Moment) -> Result<Option<Link>, StoreError> {
        match self.word.as_str() {
            "link" => self.link(now).map(Some),
            "unknown" => Ok(None),
            _ => Err(damaged()),
        }
    }

    /// The link in the reply: id, status, record, digest, the server's present, issue, expiry and use.
    ///
    /// Its record has the issuer's times of day, for whoever reads it. What is measured by (the monotonic times, and
    /// how long ago it was used) is brought from the server's clock to ours.
    pub(super) fn link(&self, now: Moment) -> Result<Link, StoreError> {
        let id = self.id()?;
        let status = match self.text(1).as_deref() {
            Some("pending") => LinkStatus::Pending,
            Some("used") => LinkStatus::Used,
            Some("expired") => LinkStatus::Expired,
            Some("revoked") => LinkStatus::Revoked,
            Some(_) | None => return Err(damaged()),
        };
        let record = self.text(2).ok_or_else(damaged)?;
        let record = GrantRecord::from_json(record.as_bytes()).map_err(StoreError::unavailable)?;
        let digest = self.text(3).and_then(|text| digest_of_text(&text)).ok_or_else(damaged)?;
        let [present, issued, expires, used] = [4, 5, 6, 7].map(|at| self.millis(at));
        let (present, issued_at, expires_at) = (present?, issued?, expires?);
        let moment = |wall: Timestamp, at: i64| {
            let ahead = Duration::from_millis(at.abs_diff(present));
            let monotonic = if at >= present {
                now.monotonic.saturating_add(ahead)
            } else {
                now.monotonic.saturating_sub(ahead)
            };
            Moment { wall, monotonic }
        };
        let issued = moment(record.issued, issued_at);
        let expires = moment(record.expires, expires_at);
        let used_at = match used? {
            0 => None,
            used => now.wall.checked_sub(SignedDuration::from_millis(present.saturating_sub(used))).ok(),
        };
        let (grant, note) = record.into_grant().map_err(StoreError::unavailable)?;
        Ok(Link { id, digest, grant, status, issued, expires, used_at, note })
    }

    fn text(&self, at: usize) -> Option<String> {
        self.rest.get(at).and_then(|value| String::from_redis_value_ref(value).ok())
    }

    fn millis(&self, at: usize) -> Result<i64, StoreError> {
        self.rest.get(at).and_then(|value| i64::from_redis_value_ref(value).ok()).ok_or_else(damaged)
    }
}

fn digest_of_text(text: &str) -> Option<TokenDigest> {
    let mut bytes = [0; 32];
    (URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) == Ok(32)).then(|| TokenDigest::from_bytes(bytes))
}

pub(super) fn damaged() -> StoreError {
    StoreError::unavailable("the answer of Redis cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, ManualClock};

    #[test]
    fn how_far_a_memory_goes_back_does_not_depend_on_the_servers_clock() {
        let clock = ManualClock::at("2026-01-01T12:00:00Z".parse().unwrap());
        let hour = 3_600_000;
        // Its clock is right, an hour behind, or an hour ahead; its memory is ten seconds old in each case.
        for skew in [0, -hour, hour] {
            let present = clock.wall().as_millisecond() + skew;
            let info = ServerInfo::default();
            let reply = [Value::Int(0), Value::Int(present - 10_000), Value::Int(present)];
            let reply = [vec![Value::SimpleString("here".to_owned())], reply.to_vec()].concat();
            assert_eq!(info.read(reply).unwrap().word, "here");
            let memory = info.memory(clock.now()).unwrap();
            let age = clock.wall().duration_since(memory.since);
            assert!((10..15).contains(&age.as_secs()), "{age}");
            let told = info.skew(clock.now()).unwrap() - SignedDuration::from_millis(skew);
            assert!((0..5).contains(&told.as_secs()), "{told}");
        }
    }

    #[test]
    fn another_servers_memory_is_another_epoch_and_an_answer_that_comes_late_changes_nothing() {
        let clock = ManualClock::at("2026-01-01T12:00:00Z".parse().unwrap());
        let info = ServerInfo::default();
        let epoch_after = |since: i64| {
            let reply = [Value::Int(0), Value::Int(since), Value::Int(5000)];
            info.read([vec![Value::SimpleString("here".to_owned())], reply.to_vec()].concat()).unwrap();
            info.memory(clock.now()).unwrap().epoch
        };
        assert_eq!(
            (epoch_after(1000), epoch_after(1000), epoch_after(2000), epoch_after(1000)),
            (1000, 1000, 2000, 2000)
        );
    }
}
