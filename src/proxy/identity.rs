//! Who the hub is told that somebody is: always stripped, set only from a [`VerifiedUser`], no third branch.

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use crate::clock::Moment;
use crate::login::VerifiedUser;
use crate::login::assertion::{AssertionError, Signer, Statement};

/// Names under which some server between us and the hub might read an identity, folded.
const WELL_KNOWN: [&str; 3] = ["remote_user", "http_remote_user", "x_remote_user"];

/// The identity of one login, as it was sent to the hub. Not to be copied, and made by [`IdentityHeaders::set`] alone.
#[derive(Debug)]
#[must_use = "it may be renewed once"]
pub struct SentIdentity {
    user: VerifiedUser,
    signed_at: Moment,
}

/// The assertion's header by default: a hub that demands the assertion reads it also where this hublatch makes none.
const DEFAULT_ASSERTION: &str = "x_hublatch_assertion";

/// The headers by which the hub knows a user.
#[derive(Debug)]
pub struct IdentityHeaders {
    user_header: HeaderName,
    signer: Option<Signer>,
    /// Folded names of all headers that no client may send.
    reserved: Vec<String>,
    /// The lengths of these names, one bit each: nearly every other header is told apart by its length.
    lengths: u64,
}

impl IdentityHeaders {
    /// `user_header` alone, or with an assertion.
    pub fn new(user_header: HeaderName, signer: Option<Signer>) -> Self {
        let mut reserved: Vec<String> = WELL_KNOWN.iter().map(ToString::to_string).collect();
        reserved.push(DEFAULT_ASSERTION.to_owned());
        reserved.push(folded(user_header.as_str()));
        reserved.extend(signer.as_ref().map(|signer| folded(signer.header().as_str())));
        let lengths = reserved.iter().fold(0, |lengths, name| lengths | length_bit(name.len()));
        Self { user_header, signer, reserved, lengths }
    }

    /// Nobody is logged in by us, and what a front proxy says of its users passes.
    pub fn of_nobody(user_header: HeaderName) -> Self {
        Self { user_header, signer: None, reserved: Vec::new(), lengths: 0 }
    }

    /// Whether a client must not send a header of this name: any case, `-` for `_`.
    pub fn is_reserved(&self, name: &[u8]) -> bool {
        self.lengths & length_bit(name.len()) != 0
            && self.reserved.iter().any(|reserved| {
                reserved.len() == name.len()
                    && reserved.bytes().zip(name).all(|(reserved, byte)| reserved == fold(*byte))
            })
    }

    /// Whether logins come with an assertion.
    pub fn is_asserted(&self) -> bool {
        self.signer.is_some()
    }

    /// Sets the identity of `user` on a request from which every reserved header has been stripped.
    ///
    /// Exactly one header of each kind leaves this function, whatever came in.
    pub fn set(
        &self,
        headers: &mut HeaderMap,
        user: VerifiedUser,
        now: Moment,
    ) -> Result<SentIdentity, AssertionError> {
        if let Some(signer) = &self.signer {
            headers.insert(signer.header(), signer.sign(&user, now)?);
        }
        headers.insert(&self.user_header, HeaderValue::from_str(user.username().as_str())?);
        // By value: this proof is spent, but for the one renewal.
        Ok(SentIdentity { user, signed_at: now })
    }

    /// How many bytes [`Self::set`] adds to the head of a request for what `statement` says.
    pub fn bytes(&self, statement: Statement<'_>, now: Moment) -> usize {
        let line = |name: &HeaderName, value: usize| name.as_str().len() + ": \r\n".len() + value;
        let assertion =
            self.signer.as_ref().map_or(0, |signer| line(signer.header(), signer.length(statement, now)));
        assertion + line(&self.user_header, statement.username.as_str().len())
    }

    /// Sets a fresh assertion for a login whose first one has expired before the hub came to it; false: it has not, or
    /// there is none. To be called when the hub has refused the login.
    ///
    /// This can never make two logins of one token. It takes the identity that was sent, and gives none back: so there are
    /// two assertions at most. Both are for the same user and name the same link in `jti`, of which the hub accepts one:
    /// had it accepted the first, whatever it answered then, it refuses the second.
    pub fn renew(
        &self,
        headers: &mut HeaderMap,
        sent: SentIdentity,
        now: Moment,
    ) -> Result<bool, AssertionError> {
        let SentIdentity { user, signed_at } = sent;
        let Some(signer) = &self.signer else { return Ok(false) };
        if now.monotonic.saturating_sub(signed_at.monotonic) < signer.lifetime() {
            return Ok(false);
        }
        headers.insert(signer.header(), signer.sign(&user, now)?);
        Ok(true)
    }
}

/// Lengths from 63 on share a bit.
fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

fn folded(name: &str) -> String {
    name.bytes().map(|byte| char::from(fold(byte))).collect()
}

fn fold(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() }
}
