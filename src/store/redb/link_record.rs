//! One link as it lies in the file: its record and the clocks of the process that issued it; and its end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::super::record::{GrantRecord, RecordError, Versioned};
use super::super::{IdempotencyKey, Link, LinkStatus, RETENTION, STEP_TOLERANCE, as_of, reserved};
use crate::clock::Moment;
use crate::token::{LinkId, TokenDigest};

/// The first bytes of the SHA-256 of an entry and its place: a flipped bit must not log in another user.
const CHECKSUM_BYTES: usize = 16;

/// One opening of the file, by one run of hublatch. Monotonic times mean something only within the opening that wrote them.
#[derive(Debug)]
pub(super) struct Opening {
    /// Counted in the file.
    pub(super) number: u64,
    /// When it began.
    pub(super) opened: Moment,
    /// Whether the wall clock stands before the last thing that an earlier opening wrote: then the age of what it
    /// issued cannot be known.
    pub(super) clock_went_back: bool,
    /// The latest monotonic time, in nanoseconds, of anything that was written.
    latest: AtomicU64,
}

impl Opening {
    pub(super) fn new(number: u64, opened: Moment, last_written: Timestamp) -> Self {
        let last_written = Moment { wall: last_written, monotonic: Duration::ZERO };
        let clock_went_back = opened.precedes(last_written, STEP_TOLERANCE);
        Self { number, opened, clock_went_back, latest: AtomicU64::new(0) }
    }

    /// The moment of a write, which callers read before they queued: never before that of an earlier write. Else a link
    /// that one write found expired could have time left in the next.
    pub(super) fn in_order(&self, now: Moment) -> Moment {
        let nanos = u64::try_from(now.monotonic.as_nanos()).unwrap_or(u64::MAX);
        let latest = self.latest.fetch_max(nanos, Ordering::Relaxed).max(nanos);
        Moment { monotonic: Duration::from_nanos(latest), ..now }
    }

    /// A moment that an earlier opening wrote, by the clocks of this one.
    ///
    /// Time of day is all that a restart leaves. From the start of this opening on, the monotonic clock counts too: a
    /// step of the wall clock does not prolong a life.
    fn translate(&self, wall: Timestamp) -> Moment {
        let since_opened = wall.duration_since(self.opened.wall);
        let offset = Duration::try_from(since_opened.abs()).unwrap_or(Duration::MAX);
        let monotonic = if since_opened.is_negative() {
            self.opened.monotonic.saturating_sub(offset)
        } else {
            self.opened.monotonic.saturating_add(offset)
        };
        Moment { wall, monotonic }
    }
}

/// A link as it was issued. It is written once; its end is another entry.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LinkRecord {
    pub(super) id: String,
    digest: String,
    /// The opening of the file in which it was issued, and the monotonic clock of that at issue and at expiry, in nanoseconds.
    #[serde(rename = "session")] // as it stands in files that exist
    opening: u64,
    monotonic: [u64; 2],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) repeat: Option<IdempotencyRecord>,
    pub(super) link: GrantRecord,
}

/// What stays where it is in every version.
#[derive(Deserialize)]
struct VersionedLinkRecord {
    link: Versioned,
}

/// The idempotency key of an issue, whose it is, and the digest of its body.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct IdempotencyRecord {
    pub(super) app: String,
    pub(super) key: String,
    pub(super) body: [u8; 32],
}

/// How a link has ended before its time.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct EndRecord {
    /// Which link.
    pub(super) link: u64,
    /// None: it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used_at: Option<Timestamp>,
    /// When both may be forgotten, in milliseconds.
    pub(super) forgotten: i64,
}

impl EndRecord {
    pub(super) fn new(link: u64, record: &LinkRecord, used_at: Option<Timestamp>, now: Moment) -> Self {
        // Not before its own end: until then a redeeming is told what became of the link.
        let since = now.wall.max(record.link.expires);
        Self { link, used_at, forgotten: millis_after(since, RETENTION) }
    }

    pub(super) fn encode(&self, number: u64) -> Vec<u8> {
        // Numbers and a time: writing them cannot fail.
        sealed("end", number, &serde_json::to_vec(self).unwrap_or_default())
    }

    pub(super) fn decode(number: u64, bytes: &[u8]) -> Result<Self, RecordError> {
        serde_json::from_slice(unsealed("end", number, bytes)?).map_err(|_| RecordError::Damaged)
    }
}

impl LinkRecord {
    pub(super) fn new(link: &Link, opening: &Opening, key: Option<&IdempotencyKey>) -> Self {
        let nanos = |at: Moment| u64::try_from(at.monotonic.as_nanos()).unwrap_or(u64::MAX);
        Self {
            id: link.id.as_str().to_owned(),
            digest: URL_SAFE_NO_PAD.encode(link.digest.as_bytes()),
            opening: opening.number,
            monotonic: [nanos(link.issued), nanos(link.expires)],
            repeat: key.map(|key| IdempotencyRecord {
                app: key.app.to_string(),
                key: key.key.clone(),
                body: key.body,
            }),
            link: GrantRecord::of(link),
        }
    }

    /// The same, kept until `until`.
    pub(super) fn reserved(
        mut self,
        opening: &Opening,
        until: Moment,
        now: Moment,
    ) -> Result<Self, RecordError> {
        let repeat = self.repeat.take();
        let link = reserved(self.into_link(None, opening, now)?, until);
        Ok(Self { repeat, ..Self::new(&link, opening, None) })
    }

    pub(super) fn encode(&self, number: u64) -> Vec<u8> {
        // Texts, numbers and maps with text keys: writing them cannot fail.
        sealed("link", number, &serde_json::to_vec(self).unwrap_or_default())
    }

    pub(super) fn decode(number: u64, bytes: &[u8]) -> Result<Self, RecordError> {
        let json = unsealed("link", number, bytes)?;
        let record: Self = serde_json::from_slice(json).map_err(|_| {
            serde_json::from_slice(json)
                .map_or(RecordError::Damaged, |record: VersionedLinkRecord| record.link.unreadable())
        })?;
        record.link.refuse_newer()?;
        Ok(record)
    }

    pub(super) fn digest(&self) -> Result<TokenDigest, RecordError> {
        let mut bytes = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(&self.digest, &mut bytes) {
            Ok(32) => Ok(TokenDigest::from_bytes(bytes)),
            Ok(_) | Err(_) => Err(RecordError::Damaged),
        }
    }

    pub(super) fn status(&self, end: Option<&EndRecord>, opening: &Opening, now: Moment) -> LinkStatus {
        let stored = match end {
            None => LinkStatus::Pending,
            Some(EndRecord { used_at: Some(_), .. }) => LinkStatus::Used,
            Some(EndRecord { used_at: None, .. }) => LinkStatus::Revoked,
        };
        let [issued, expires] = self.life(opening);
        let lost = self.opening != opening.number && opening.clock_went_back;
        if stored == LinkStatus::Pending && lost {
            return LinkStatus::Expired;
        }
        as_of(stored, issued, expires, now)
    }

    pub(super) fn into_link(
        self,
        end: Option<&EndRecord>,
        opening: &Opening,
        now: Moment,
    ) -> Result<Link, RecordError> {
        let [issued, expires] = self.life(opening);
        let (status, digest) = (self.status(end, opening, now), self.digest()?);
        let used_at = end.and_then(|end| end.used_at);
        let id = LinkId::parse(&self.id).ok_or(RecordError::Damaged)?;
        let (grant, note) = self.link.into_grant()?;
        Ok(Link { id, digest, grant, status, issued, expires, used_at, note })
    }

    fn life(&self, opening: &Opening) -> [Moment; 2] {
        let walls = [self.link.issued, self.link.expires];
        if self.opening != opening.number {
            return walls.map(|wall| opening.translate(wall));
        }
        let moment = |which: usize| Moment {
            wall: walls[which],
            monotonic: Duration::from_nanos(self.monotonic[which]),
        };
        [moment(0), moment(1)]
    }
}

fn sealed(kind: &str, number: u64, json: &[u8]) -> Vec<u8> {
    let mut bytes = checksum(kind, number, json).to_vec();
    bytes.extend_from_slice(json);
    bytes
}

fn unsealed<'b>(kind: &str, number: u64, bytes: &'b [u8]) -> Result<&'b [u8], RecordError> {
    let (sum, json) = bytes.split_at_checked(CHECKSUM_BYTES).ok_or(RecordError::Damaged)?;
    if sum == checksum(kind, number, json) { Ok(json) } else { Err(RecordError::Damaged) }
}

fn checksum(kind: &str, number: u64, json: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut bytes = Vec::with_capacity(json.len() + 16);
    bytes.extend_from_slice(kind.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.extend_from_slice(json);
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&digest(&SHA256, &bytes).as_ref()[..CHECKSUM_BYTES]);
    sum
}

/// The time of day in milliseconds, by which the file is tidied up.
pub(super) fn millis(wall: Timestamp) -> i64 {
    wall.as_millisecond()
}

/// `span` later.
pub(super) fn millis_after(wall: Timestamp, span: Duration) -> i64 {
    let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
    wall.checked_add(span).map_or(i64::MAX, Timestamp::as_millisecond)
}
