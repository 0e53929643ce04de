//! Sessions at the hub that end: by themselves, because their id says when; and now, because an app says so.
//!
//! The id of a session that a link begins is `hl1.UNTIL.LINK.APP.MAC`: when it is over (seconds of Unix time), by which
//! link of which app (a short hash) it was begun, and a MAC that proves that hublatch has made it. If the wall clock of
//! its maker was set back since that one's start, `UNTIL` reads `UNTIL_AHEAD`: by so many seconds the clock was ahead
//! before. Every replica judges an id by arithmetic, without a look-up, and nothing is kept. It is no credential: the
//! hub's own cookies say who somebody is, and count for nothing beside an id that is over. The key is derived from that
//! of the assertion, which all replicas share.
//!
//! Sessions that an app has ended are kept for ten minutes: so long do servers believe what the hub has said of a user.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};

use crate::clock::Moment;
use crate::token::{LinkId, TokenDigest};

/// How the ids begin that we make.
const PREFIX: &str = "hl1.";
/// Stands between `UNTIL` and `AHEAD` in an id.
const AHEAD: char = '_';
/// What the key is for: the key of the assertion signs, and another use of it must not make session ids.
const PURPOSE: &[u8] = b"hublatch session id 1";
/// How many bytes of the MAC stand in an id.
const MAC_BYTES: usize = 16;
/// How many bytes of the hash of an app's name stand in an id: enough to find the app among a few.
const APP_BYTES: usize = 6;
/// How long a session that was ended is remembered: `HubOAuth.cache_max_age` is five minutes, and as much in reserve.
pub const REMEMBERED_FOR: Duration = Duration::from_mins(10);
/// The most ended sessions that are remembered. Above it those go first that would be forgotten first.
const REMEMBERED_MAX: usize = 100_000;
/// The longest session id that is remembered: the hub's have 32 characters.
pub const ID_BYTES_MAX: usize = 128;

/// What an id says of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// An id that the hub has made; it says nothing about an end.
    Unlimited,
    /// The session lasts until then.
    Until(Timestamp),
    /// The session is over, or its id is forged.
    Over,
}

/// Makes and judges session ids.
#[derive(Clone)]
pub struct SessionIds {
    key: Option<Arc<Key>>,
    /// When this process began.
    started: Moment,
}

impl fmt::Debug for SessionIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionIds")
    }
}

impl SessionIds {
    /// The ids that all replicas with `secret` make, in a process that began at `started`; without a secret no session ends by
    /// itself.
    pub fn new(secret: Option<&[u8]>, started: Moment) -> Self {
        let derive = |secret: &[u8]| {
            let key = hmac::sign(&Key::new(HMAC_SHA256, secret), PURPOSE);
            Arc::new(Key::new(HMAC_SHA256, key.as_ref()))
        };
        Self { key: secret.map(derive), started }
    }

    /// The id of a session that `link` of `app` begins at `now` and that goes on for `life`.
    pub fn make(&self, link: &LinkId, app: &str, life: Duration, now: Moment) -> Option<String> {
        let time = self.time(now);
        let ahead = time.duration_since(now.wall).as_secs();
        // The wall clock, even if it was set right only after the start: others judge by it, and so do we after a restart.
        let until = if ahead == 0 {
            Moment { wall: time, ..now }.plus(life).wall.as_second().to_string()
        } else {
            format!("{}{AHEAD}{ahead}", now.plus(life).wall.as_second())
        };
        let said = format!("{PREFIX}{until}.{}.{}", link.as_str(), app_hash(app));
        let proof = hmac::sign(self.key.as_deref()?, said.as_bytes());
        Some(format!("{said}.{}", URL_SAFE_NO_PAD.encode(&proof.as_ref()[..MAC_BYTES])))
    }

    /// What `id` says at `now`.
    pub fn judge(&self, id: &str, now: Moment) -> SessionState {
        if !id.starts_with(PREFIX) {
            return SessionState::Unlimited;
        }
        match self.verified(id) {
            Some((until, ahead)) if now.wall < until && self.time(now).duration_since(until) < ahead => {
                SessionState::Until(until)
            }
            Some(_) | None => SessionState::Over,
        }
    }

    /// The time of day by which sessions are judged: if the wall clock is set back, the one that it would have shown.
    fn time(&self, now: Moment) -> Timestamp {
        let passed = now.monotonic.saturating_sub(self.started.monotonic);
        now.wall.max(self.started.plus(passed).wall)
    }

    /// Until when the session lasts by the wall clock, and how much longer by the time since the start of whoever made `id`.
    fn verified(&self, id: &str) -> Option<(Timestamp, SignedDuration)> {
        let (said, proof) = id.rsplit_once('.')?;
        // The shape first: a request can bring a thousand that are no id, and a proof costs more than all of the rest.
        let mut parts = said.strip_prefix(PREFIX)?.split('.').skip(1);
        let (link, app) = (parts.next()?, parts.next()?);
        LinkId::parse(link).filter(|_| app.len() == (4 * APP_BYTES).div_ceil(3))?;
        let proof = URL_SAFE_NO_PAD.decode(proof).ok().filter(|proof| proof.len() == MAC_BYTES)?;
        let right = hmac::sign(self.key.as_deref()?, said.as_bytes());
        aws_lc_rs::constant_time::verify_slices_are_equal(&right.as_ref()[..MAC_BYTES], &proof).ok()?;
        let until = said.strip_prefix(PREFIX)?.split('.').next()?;
        let (until, ahead) = until.split_once(AHEAD).unwrap_or((until, "0"));
        let until = Timestamp::from_second(until.parse().ok()?).ok()?;
        Some((until, SignedDuration::from_secs(ahead.parse().ok()?)))
    }
}

/// Whether a link of `app` has begun the session of this id, as the id says: not to be believed of one that nobody has judged.
pub fn is_begun_by(id: &str, app: &str) -> bool {
    id.strip_prefix(PREFIX).and_then(|said| said.split('.').nth(2)) == Some(&app_hash(app))
}

fn app_hash(app: &str) -> String {
    URL_SAFE_NO_PAD.encode(&TokenDigest::of_parts(&["session app", app]).as_bytes()[..APP_BYTES])
}

/// The link by which a session of ours was begun.
fn link_of(id: &str) -> Option<&str> {
    id.strip_prefix(PREFIX)?.split('.').nth(1)
}

type Listener = Box<dyn Fn(&str) + Send + Sync>;

/// Sessions that were ended a short time ago, as every request looks them up.
#[derive(Default)]
pub struct EndedSessions {
    /// Each with the time by the monotonic clock when it is forgotten.
    ended: ArcSwap<HashMap<String, Duration>>,
    listeners: Mutex<Vec<Listener>>,
}

impl fmt::Debug for EndedSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndedSessions").field("known", &self.ended.load().len()).finish_non_exhaustive()
    }
}

impl EndedSessions {
    /// Calls `listener` with each session that is ended from now on.
    pub fn on_end(&self, listener: impl Fn(&str) + Send + Sync + 'static) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(listener));
    }

    /// Whether no ended session is known: the usual case, in which nothing has to be looked up.
    pub fn is_empty(&self) -> bool {
        self.ended.load().is_empty()
    }

    /// Whether this session was ended.
    pub fn contains(&self, id: &str) -> bool {
        self.ended.load().contains_key(id)
    }

    /// Whether the session that `link` began was ended.
    pub fn contains_session_of(&self, link: &LinkId) -> bool {
        self.ended.load().keys().any(|id| link_of(id) == Some(link.as_str()))
    }

    /// Ends these sessions at `now` by the monotonic clock; those that are known already stay as they are.
    pub fn end(&self, ids: &[String], now: Duration) {
        let until = now.saturating_add(REMEMBERED_FOR);
        let known = self.ended.load_full();
        let new = |id: &&String| id.len() <= ID_BYTES_MAX && !known.contains_key(*id);
        let new: Vec<&String> = ids.iter().filter(new).collect();
        if new.is_empty() && known.values().all(|until| *until > now) {
            return;
        }
        self.ended.rcu(|known| {
            let mut next: HashMap<String, Duration> = known
                .iter()
                .filter(|(_, until)| **until > now)
                .map(|(id, until)| (id.clone(), *until))
                .collect();
            next.extend(new.iter().map(|id| ((*id).clone(), until)));
            while next.len() > REMEMBERED_MAX {
                let Some(first) = next.iter().min_by_key(|(_, until)| **until).map(|(id, _)| id.clone())
                else {
                    break;
                };
                next.remove(&first);
            }
            next
        });
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        for id in new {
            for listener in &*listeners {
                listener(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both clocks stand at this second.
    fn at(second: u64) -> Moment {
        Moment { wall: Timestamp::UNIX_EPOCH, monotonic: Duration::ZERO }.plus(Duration::from_secs(second))
    }

    fn ids(secret: &[u8]) -> SessionIds {
        SessionIds::new(Some(secret), at(0))
    }

    /// Of a session that is over at second 1000.
    fn made_by(secret: &[u8]) -> String {
        ids(secret).make(&link(), "portal", Duration::from_secs(990), at(10)).unwrap()
    }

    fn link() -> LinkId {
        LinkId::parse("AAAAAAAAAAAAAAAAAAAAAA").unwrap()
    }

    #[test]
    fn an_id_says_until_when_its_session_goes_on_to_all_who_share_the_secret() {
        let (id, ids) = (made_by(b"secret"), ids(b"secret"));
        assert_eq!(ids.judge(&id, at(999)), SessionState::Until(at(1000).wall));
        assert_eq!(ids.judge(&id, at(1000)), SessionState::Over);
        assert_eq!(ids.judge("0123456789abcdef0123456789abcdef", at(0)), SessionState::Unlimited);
        assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{id}");
        assert!(id.len() <= ID_BYTES_MAX);
        assert_eq!(link_of(&id), Some(link().as_str()));
        assert!(is_begun_by(&id, "portal") && !is_begun_by(&id, "lms") && !is_begun_by("hl1.1000", "portal"));
    }

    #[test]
    fn a_wall_clock_that_is_set_back_prolongs_no_session_and_brings_none_back() {
        let (id, ids) = (made_by(b"secret"), ids(b"secret"));
        let stepped = |second, wall| Moment { wall: at(wall).wall, ..at(second) };
        assert_eq!(ids.judge(&id, stepped(1000, 500)), SessionState::Over);
        assert_eq!(ids.judge(&id, stepped(999, 500)), SessionState::Until(at(1000).wall));
        assert_eq!(ids.judge(&id, stepped(500, 1000)), SessionState::Over, "nor one that is set forward");
        // One that begins then lasts no longer, either, and no shorter.
        let late = ids.make(&link(), "portal", Duration::from_mins(1), stepped(2000, 1500)).unwrap();
        assert_eq!(ids.judge(&late, stepped(2059, 1559)), SessionState::Until(at(1560).wall));
        assert_eq!(ids.judge(&late, stepped(2060, 1560)), SessionState::Over);
    }

    #[test]
    fn a_process_that_began_while_its_clock_ran_ahead_makes_no_session_longer_once_it_is_set_right() {
        let stepped = |second, wall| Moment { wall: at(wall).wall, ..at(second) };
        let (hasty, other) = (SessionIds::new(Some(b"secret"), stepped(0, 90_000)), ids(b"secret"));
        let id = hasty.make(&link(), "portal", Duration::from_mins(10), stepped(100, 100)).unwrap();
        for (ids, whose) in [(&hasty, "its own"), (&other, "of a replica, or of the next process")] {
            let until = SessionState::Until(at(700).wall);
            assert_eq!(ids.judge(&id, stepped(699, 699)), until, "{whose}");
            assert_eq!(ids.judge(&id, stepped(700, 700)), SessionState::Over, "{whose}");
        }
        // Set back once more, it prolongs nothing.
        assert_eq!(hasty.judge(&id, stepped(700, 500)), SessionState::Over);
        assert!(id.len() <= ID_BYTES_MAX && is_begun_by(&id, "portal"), "{id}");
        assert_eq!(link_of(&id), Some(link().as_str()));
        let forged = id.replacen("_90000", "_99999", 1);
        assert!(forged != id && other.judge(&forged, stepped(1, 1)) == SessionState::Over, "{id}");
    }

    #[test]
    fn an_id_that_we_have_not_made_is_over() {
        let ids = ids(b"secret");
        let good = made_by(b"secret");
        let later = good.replacen("1000", "9999", 1);
        let other = made_by(b"other");
        let cut = &good[..good.len() - 1];
        for id in
            [&*later, &other, cut, "hl1.", "hl1.9999", "hl1.9999.AAAA.", "hl1.9999.AAAA.AAAA", "hl1...."]
        {
            assert_eq!(ids.judge(id, at(1)), SessionState::Over, "{id}");
        }
        let none = SessionIds::new(None, at(0));
        assert_eq!(none.judge(&good, at(1)), SessionState::Over);
        assert_eq!(none.make(&link(), "portal", Duration::from_mins(1), at(0)), None);
    }

    #[test]
    fn sessions_that_were_ended_are_known_for_ten_minutes_and_told_once() {
        let (ended, told) = (EndedSessions::default(), Arc::<Mutex<Vec<String>>>::default());
        let listener = Arc::clone(&told);
        ended.on_end(move |id| listener.lock().unwrap().push(id.to_owned()));
        let second = Duration::from_secs(1);
        ended.end(&["one".to_owned(), "x".repeat(ID_BYTES_MAX + 1)], second);
        ended.end(&["one".to_owned(), "two".to_owned()], 2 * second);
        assert_eq!(*told.lock().unwrap(), ["one", "two"]);
        assert!(ended.contains("one") && ended.contains("two") && !ended.contains("three"));
        ended.end(&[], second + REMEMBERED_FOR);
        assert!(!ended.contains("one") && ended.contains("two"));
    }
}
