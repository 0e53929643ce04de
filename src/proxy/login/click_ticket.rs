//! The time of a click, signed: what a browser carries in a cookie while it waits for its turn.
//!
//! It proves to any replica, of this token in this browser only: when the browser clicked, so that its place and its link
//! are kept; that a person has pressed the button of the confirm page; and from where the click came, which later
//! requests of the waiting page do not show: from the app's own page, or in a frame of a stranger. It also says by which
//! origins that was judged, because a reload may have changed them since. It is no credential: without the token it is
//! worth nothing. It names the browser's secret (`state_cookie`), because in another browser it would spare somebody a
//! question that was answered by somebody else.

use std::hash::BuildHasher as _;

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use foldhash::quality::FixedState;
use hyper::HeaderMap;
use jiff::{SignedDuration, Timestamp};

use super::browser_checks::{is_for_frame, is_foreign};
use crate::config::{App, Config};
use crate::login::{Rules, WAIT_MAX};
use crate::token::{State, TokenDigest};

/// What the key is for: no other use of the same secret makes the same tickets.
const PURPOSE: &[u8] = b"hublatch click ticket 1";

/// What is known of a click.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Click {
    /// When the browser clicked, in whole milliseconds.
    pub at: Timestamp,
    /// A person pressed the button of our confirm page.
    pub is_confirmed: bool,
    /// It came from the app's own page.
    pub is_from_app: bool,
    /// It was for a frame, and no page that may have one has asked for it.
    pub is_framed_by_other: bool,
    /// By which origins the last two were judged; none: not yet.
    pub origins: Option<OriginsDigest>,
}

impl Click {
    /// Judges by the origins of `app` whether a request with `headers`, or the click that it goes on from, comes from
    /// elsewhere: what was judged before holds only as long as these origins are the same.
    pub fn judge_origin(&mut self, rules: &Rules, headers: &HeaderMap, app: &App) -> bool {
        let origins = Some(OriginsDigest::of(rules, app));
        if self.origins.is_some() && self.origins != origins {
            // Where the click came from cannot be seen any more, so it counts as from elsewhere.
            self.is_from_app = false;
            self.is_framed_by_other |= is_for_frame(headers);
        }
        self.origins = origins;
        self.is_from_app |= !is_foreign(headers, app);
        !self.is_from_app
    }
}

/// Stands for the origins by which a click is judged: those of its app, and those of pages that may have frames. It is made
/// for each click, so no cryptographic digest: an operator writes what is in it, and it only has to differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginsDigest(u64);

impl OriginsDigest {
    /// Of `app`, by `rules`.
    pub fn of(rules: &Rules, app: &App) -> Self {
        let origins = (app.scanner_safe, &rules.frame_ancestors, &app.origins);
        // The same in each replica of one build. In another build a click is judged again: it comes from nowhere then.
        Self(FixedState::default().hash_one(origins))
    }

    fn written(self) -> String {
        format!("{:016x}", self.0)
    }

    /// What another build has written stands for other origins.
    fn read(text: &str) -> Self {
        Self(u64::from_str_radix(text, 16).unwrap_or_default())
    }
}

/// Signs clicks, and reads what was signed.
pub struct ClickTickets {
    key: Key,
    /// Whether replicas have the same key.
    is_shared: bool,
}

impl std::fmt::Debug for ClickTickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClickTickets").field("is_shared", &self.is_shared).finish_non_exhaustive()
    }
}

impl ClickTickets {
    /// By a secret that replicas share: the key of the assertion, or else the token for the hub's API. Without either,
    /// each process knows its own tickets only.
    pub fn new(config: &Config) -> Self {
        let assertion = config.assertion.as_ref().map(|assertion| assertion.key.text.as_bytes().to_vec());
        let secret =
            assertion.or_else(|| config.hub.api.token.as_ref().map(|token| token.as_bytes().to_vec()));
        let is_shared = secret.is_some();
        let secret = secret.unwrap_or_else(|| {
            let mut random = vec![0; 32];
            // A ticket that anybody could make would only be as good as no ticket; but then nothing here would work.
            let filled = aws_lc_rs::rand::fill(&mut random);
            if filled.is_err() {
                tracing::error!("login: no random bytes for the key of places in line");
            }
            random
        });
        let derived = hmac::sign(&Key::new(HMAC_SHA256, &secret), PURPOSE);
        Self { key: Key::new(HMAC_SHA256, derived.as_ref()), is_shared }
    }

    /// These, or those of `old` if neither are shared: a reload costs nobody a place.
    pub fn carry_over(self, old: &Self) -> Self {
        if self.is_shared || old.is_shared { self } else { Self { key: old.key.clone(), is_shared: false } }
    }

    /// The ticket of a `click` with the token of `digest`, in the browser that can prove `state`.
    pub fn write(&self, click: Click, digest: TokenDigest, state: State) -> String {
        let flags = u8::from(click.is_confirmed)
            | u8::from(click.is_from_app) << 1
            | u8::from(click.is_framed_by_other) << 2;
        let origins = click.origins.map(OriginsDigest::written).unwrap_or_default();
        let signed = format!("{}.{flags}.{origins}", click.at.as_millisecond());
        let proof = hmac::sign(&self.key, &message(&signed, digest, state));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(proof))
    }

    /// The click of which `text` is the ticket, if a browser that can prove one of `states` waits with it, and has not
    /// waited too long; and which of them.
    pub fn read(
        &self,
        text: &str,
        digest: TokenDigest,
        states: &[State],
        now: Timestamp,
    ) -> Option<(Click, State)> {
        let (signed, proof) = text.rsplit_once('.')?;
        let proof = URL_SAFE_NO_PAD.decode(proof).ok()?;
        let genuine =
            |state: &State| hmac::verify(&self.key, &message(signed, digest, *state), &proof).is_ok();
        let state = *states.iter().find(|state| genuine(state))?;
        let (millis, rest) = signed.split_once('.')?;
        let (flags, origins) = rest.split_once('.')?;
        let (millis, flags): (i64, u8) = (millis.parse().ok()?, flags.parse().ok()?);
        let at = Timestamp::from_millisecond(millis).ok()?;
        let waited = now.duration_since(at);
        let longest = SignedDuration::try_from(WAIT_MAX).unwrap_or_default();
        let click = Click {
            at,
            is_confirmed: flags & 1 != 0,
            is_from_app: flags & 2 != 0,
            is_framed_by_other: flags & 4 != 0,
            origins: (!origins.is_empty()).then(|| OriginsDigest::read(origins)),
        };
        (waited <= longest).then_some((click, state))
    }
}

fn message(signed: &str, digest: TokenDigest, state: State) -> Vec<u8> {
    [digest.as_bytes().as_slice(), state.as_bytes(), signed.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(secret: &[u8]) -> ClickTickets {
        ClickTickets { key: Key::new(HMAC_SHA256, secret), is_shared: true }
    }

    fn state(seed: u8) -> State {
        State::parse(&URL_SAFE_NO_PAD.encode([seed; 32])).expect("a state")
    }

    #[test]
    fn a_ticket_is_good_for_its_token_in_its_browser_for_ten_minutes() {
        let (at, digest) = (Timestamp::from_millisecond(1_000_000).unwrap(), TokenDigest::of(b"token"));
        let one = OriginsDigest(1);
        for (is_confirmed, is_from_app, is_framed_by_other, origins) in [
            (false, false, false, None),
            (true, false, false, Some(one)),
            (false, true, false, Some(one)),
            (false, false, true, Some(one)),
            (true, true, true, None),
        ] {
            let click = Click { at, is_confirmed, is_from_app, is_framed_by_other, origins };
            let text = tickets(b"secret").write(click, digest, state(1));
            let read = |digest, states: &[State], millis| {
                let now = Timestamp::from_millisecond(millis).unwrap();
                tickets(b"secret").read(&text, digest, states, now)
            };
            assert_eq!(read(digest, &[state(2), state(1)], 1_600_000), Some((click, state(1))), "{text}");
            assert_eq!(read(digest, &[state(1)], 1_600_001), None, "too long");
            assert_eq!(read(digest, &[state(2)], 1_000_000), None, "another browser");
            assert_eq!(read(digest, &[], 1_000_000), None, "no browser");
            assert_eq!(read(TokenDigest::of(b"other"), &[state(1)], 1_000_000), None, "another token");
        }
    }

    #[test]
    fn a_ticket_that_was_altered_or_that_we_have_not_written_is_none() {
        let (at, digest) = (Timestamp::from_millisecond(1_000_000).unwrap(), TokenDigest::of(b"token"));
        let click = Click {
            at,
            is_confirmed: false,
            is_from_app: false,
            is_framed_by_other: false,
            origins: Some(OriginsDigest(1)),
        };
        let good = tickets(b"secret").write(click, digest, state(1));
        let other = tickets(b"other").write(click, digest, state(1));
        let earlier = good.replacen("1000000", "900000", 1);
        let confirmed = good.replacen(".0.", ".1.", 1);
        let elsewhere = good.replacen("01.", "02.", 1);
        assert_ne!(elsewhere, good);
        let texts =
            ["", ".", "1000000.0", "1000000.0.", "1000000.0..", &other, &earlier, &confirmed, &elsewhere];
        for text in texts {
            assert_eq!(tickets(b"secret").read(text, digest, &[state(1)], at), None, "{text}");
        }
        assert_eq!(tickets(b"secret").read(&good, digest, &[state(1)], at), Some((click, state(1))));
    }
}
