//! Waiting for a server: the ticket by which a browser sees, after its login, how a server of its user starts.
//!
//! A ticket says which server, for whom, and where to go then; a MAC proves that hublatch has written it. It is no
//! credential: it stands in the path of the waiting page, and shows something only to a browser whom the hub knows as
//! its user. The session at the hub stays the one proof of who somebody is.
//!
//! The key is derived from the hub API token, which all replicas share because they need it to start a server. Nothing
//! is kept, so that any of them answers for any other, for as long as the server takes.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::next::Next;
use super::rules::Rules;
use crate::clock::Clock;
use crate::store::Link;
use crate::token::{LoginGrant, ServerName, Username};

/// How long a ticket is good: longer than a server may take to start (`c.Spawner.start_timeout`), a cold node included.
const LIFETIME: Duration = Duration::from_hours(1);
/// What the key is for: the token itself keys nothing else, but another use of it must not make tickets.
const PURPOSE: &[u8] = b"hublatch launch ticket 1";

/// A login whose browser waits for a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The app that issued the link.
    pub app: Arc<str>,
    /// Whose server.
    pub username: Username,
    /// Which.
    pub server: ServerName,
    /// Where the browser goes when it runs.
    pub next: String,
}

/// The tickets of one configuration.
pub struct SpawnTickets {
    key: Option<TicketKey>,
    rules: Arc<Rules>,
    clock: Arc<dyn Clock>,
}

/// Writes and reads tickets.
struct TicketKey(Key);

/// A ticket as it is written. Short names: it stands in an address.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketJson {
    a: Arc<str>,
    u: String,
    s: String,
    n: String,
    /// Its end, in seconds of Unix time.
    e: i64,
}

impl SpawnTickets {
    /// Tickets of all who share `secret`, for the waiting pages of `rules`; without a secret no server can be launched,
    /// and there are none.
    pub(super) fn new(secret: Option<&[u8]>, rules: Arc<Rules>, clock: Arc<dyn Clock>) -> Self {
        Self { key: secret.map(TicketKey::new), rules, clock }
    }

    /// The waiting page of a login by `link`, if there is something to wait for; `next` is where the link leads.
    pub fn waiting_page(&self, link: &Link, next: Option<&Next>) -> Option<String> {
        let (key, server, next) = (self.key.as_ref()?, link.grant.launch.as_ref()?, next?);
        let ticket = key.write(&link.grant, server, next.as_str(), self.clock.wall());
        Some(format!("{}{ticket}", self.rules.waiting_path))
    }

    /// What goes before the browser's own `next` in a login by `link` that leads to `next`: the waiting page, or the
    /// `next` of the link.
    pub fn granted_next(&self, link: &Link, next: Option<&Next>) -> Option<String> {
        self.waiting_page(link, next).or_else(|| link.grant.next.clone())
    }

    /// The ticket that `text` spells, if we have written it and it has not ended.
    pub fn read(&self, text: &str) -> Option<Ticket> {
        let ticket = self.key.as_ref()?.read(text, self.clock.wall())?;
        // By today's rule, as everything that a browser is sent to.
        self.rules.next.check(&ticket.next).is_ok().then_some(ticket)
    }
}

impl std::fmt::Debug for SpawnTickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpawnTickets").finish_non_exhaustive()
    }
}

impl TicketKey {
    /// Tickets of all who share `secret`.
    fn new(secret: &[u8]) -> Self {
        let key = hmac::sign(&Key::new(HMAC_SHA256, secret), PURPOSE);
        Self(Key::new(HMAC_SHA256, key.as_ref()))
    }

    fn write(&self, grant: &LoginGrant, server: &ServerName, next: &str, now: Timestamp) -> String {
        let written = TicketJson {
            a: Arc::clone(&grant.app),
            u: grant.username.as_str().to_owned(),
            s: server.as_str().to_owned(),
            n: next.to_owned(),
            e: now.as_second().saturating_add_unsigned(LIFETIME.as_secs()),
        };
        // Texts and a number: writing them cannot fail.
        let json = serde_json::to_vec(&written).unwrap_or_default();
        let proof = hmac::sign(&self.0, &json);
        format!("{}.{}", URL_SAFE_NO_PAD.encode(&json), URL_SAFE_NO_PAD.encode(proof))
    }

    fn read(&self, text: &str, now: Timestamp) -> Option<Ticket> {
        let (json, proof) = text.split_once('.')?;
        let json = URL_SAFE_NO_PAD.decode(json).ok()?;
        hmac::verify(&self.0, &json, &URL_SAFE_NO_PAD.decode(proof).ok()?).ok()?;
        let TicketJson { a, u, s, n, e } = serde_json::from_slice(&json).ok()?;
        let (username, server) = (Username::from_store(&u)?, ServerName::parse(&s)?);
        (now.as_second() < e).then_some(Ticket { app: a, username, server, next: n })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> LoginGrant {
        LoginGrant::new(Username::from_store("me").unwrap(), "portal".into())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_ticket_is_read_by_all_who_share_the_secret_until_its_hour_is_over() {
        let server = ServerName::parse("named").unwrap();
        let text = TicketKey::new(b"secret").write(&grant(), &server, "/user/me/named/lab?x=%20é", at(1000));
        let read = TicketKey::new(b"secret").read(&text, at(1000 + 3599)).unwrap();
        assert_eq!((read.username.as_str(), read.server.as_str(), &*read.app), ("me", "named", "portal"));
        assert_eq!(read.next, "/user/me/named/lab?x=%20é");
        assert_eq!(TicketKey::new(b"secret").read(&text, at(1000 + 3600)), None);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{text}");
    }

    #[test]
    fn a_ticket_that_we_have_not_written_is_none() {
        let tickets = TicketKey::new(b"secret");
        let good = tickets.write(&grant(), &ServerName::default(), "/user/me/", at(1000));
        let (json, proof) = good.split_once('.').unwrap();
        let other = TicketKey::new(b"other").write(&grant(), &ServerName::default(), "/user/me/", at(1000));
        let forged = String::from_utf8(URL_SAFE_NO_PAD.decode(json).unwrap()).unwrap().replace("me", "you");
        let forged = format!("{}.{proof}", URL_SAFE_NO_PAD.encode(forged));
        for text in ["", ".", json, &format!("{json}."), &format!("{json}.AAAA"), &other, &forged] {
            assert_eq!(tickets.read(text, at(1000)), None, "{text}");
        }
        assert!(tickets.read(&good, at(1000)).is_some());
    }
}
