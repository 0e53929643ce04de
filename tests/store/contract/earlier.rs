//! What an earlier hublatch has left in a store (`tests/data/earlier`): this one reads it.

use hublatch::clock::Moment;
use hublatch::store::{Consumed, LinkStatus, TokenStore};
use hublatch::token::TokenDigest;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::wait;

/// A link as it was ordered, and what had become of it.
#[derive(Debug, Deserialize)]
pub struct EarlierLink {
    id: String,
    digest: String,
    status: String,
    username: String,
    next: String,
    note: String,
    groups: Vec<String>,
    claims: Map<String, Value>,
}

/// The bytes that hexadecimal digits spell.
pub fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().map(|digit| digit.to_digit(16).expect("a digit") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Each link is found with all that it grants; the one that waits admits once, the others nobody.
pub fn are_read(store: &dyn TokenStore, links: &[EarlierLink], now: Moment) {
    assert!(links.len() > 3, "{links:?}");
    for link in links {
        let digest = TokenDigest::from_bytes(bytes(&link.digest).try_into().expect("32 bytes"));
        let found = wait(store.find(digest, now)).expect("it is read").expect("it is there");
        let status = match found.status {
            LinkStatus::Pending => "pending",
            LinkStatus::Used => "used",
            LinkStatus::Revoked => "revoked",
            LinkStatus::Expired => "expired",
        };
        let grant = &found.grant;
        assert_eq!((found.id.as_str(), status), (link.id.as_str(), link.status.as_str()));
        assert_eq!((grant.username.as_str(), &*grant.app), (link.username.as_str(), "portal"));
        assert_eq!((grant.next.as_ref(), found.note.as_ref()), (Some(&link.next), Some(&link.note)));
        assert_eq!((grant.groups.as_ref(), grant.claims.as_ref()), (Some(&link.groups), Some(&link.claims)));
        let consumed = wait(store.consume(digest, now)).expect("an answer");
        assert_eq!(matches!(consumed, Consumed::Granted(_)), status == "pending", "{consumed:?}");
        assert!(!matches!(wait(store.consume(digest, now)), Ok(Consumed::Granted(_))));
    }
}
