//! Whose a hub token is, as `JupyterHub`'s own `HubAuth` finds out: the hub's word is believed for a while.
//!
//! Of many requests with one token one asks, and the others wait for its response. What the hub refuses is not kept, and
//! neither is any token: an owner is found by the token's digest. Time is the monotonic clock's, and a response's age is
//! counted from the question, so that a token that is revoked at the hub is refused here `cache_max_age` later at most.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::{HubClient, HubError, TokenOwner};
use crate::clock::Clock;
use crate::token::TokenDigest;

/// The most tokens that are known at once, some megabytes. Above it, the one that has been known for longest is asked
/// about again.
const TOKENS_MAX: usize = 10_000;
/// The longest token that the hub is asked about, in bytes.
const TOKEN_BYTES_MAX: usize = 512;
/// What keys and login tokens of our own begin with: the hub is never shown one.
const OWN_PREFIXES: [&str; 2] = ["hk_", "hl_"];

/// What the hub says of a token: its owner, or that it knows none.
type OwnerLookup = Result<Option<Arc<TokenOwner>>, HubError>;

/// Asks the hub about tokens, and remembers.
pub struct TokenChecks {
    hub: Arc<HubClient>,
    clock: Arc<dyn Clock>,
    max_age: Duration,
    tokens: Mutex<HashMap<TokenDigest, Token>>,
}

enum Token {
    /// Somebody asks the hub. The cell gets when it was asked, and what it has said.
    Asked(Arc<OnceCell<(Duration, OwnerLookup)>>),
    /// This owner's, as the hub has said; believed until then.
    Known(Arc<TokenOwner>, Duration),
}

impl std::fmt::Debug for TokenChecks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenChecks").field("max_age", &self.max_age).finish_non_exhaustive()
    }
}

impl TokenChecks {
    /// Asks `hub`, and believes it for `max_age`.
    pub fn new(hub: Arc<HubClient>, clock: Arc<dyn Clock>, max_age: Duration) -> Self {
        Self { hub, clock, max_age, tokens: Mutex::default() }
    }

    /// Whose `token` is; nobody's, if the hub does not know it.
    pub async fn owner(&self, token: &str) -> OwnerLookup {
        if !is_hub_token(token) {
            return Ok(None);
        }
        let digest = TokenDigest::of_parts(&["hub token", token]);
        self.hub.count_check();
        let asked = match self.look(digest) {
            Ok(owner) => return Ok(Some(owner)),
            Err(asked) => asked,
        };
        // Whoever comes first asks; if that request goes away, the next one takes over.
        let ask =
            async { (self.clock.monotonic(), self.hub.whoami(token).await.map(|owner| owner.map(Arc::new))) };
        let (since, verdict) = asked.get_or_init(|| ask).await.clone();
        self.settle(digest, &asked, since, &verdict);
        verdict
    }

    /// Forgets `token`, which has just been revoked.
    pub fn forget(&self, token: &str) {
        self.lock().remove(&TokenDigest::of_parts(&["hub token", token]));
    }

    /// The owner, if known; else the question that is under way.
    fn look(&self, digest: TokenDigest) -> Result<Arc<TokenOwner>, Arc<OnceCell<(Duration, OwnerLookup)>>> {
        let now = self.clock.monotonic();
        let mut tokens = self.lock();
        make_room(&mut tokens, &digest, now);
        let asked = match tokens.entry(digest) {
            Entry::Occupied(mut entry) => match entry.get() {
                Token::Known(owner, until) if now < *until => return Ok(Arc::clone(owner)),
                Token::Asked(asked) => Arc::clone(asked),
                Token::Known(..) => {
                    let asked = Arc::default();
                    entry.insert(Token::Asked(Arc::clone(&asked)));
                    asked
                }
            },
            Entry::Vacant(entry) => {
                let asked = Arc::default();
                entry.insert(Token::Asked(Arc::clone(&asked)));
                asked
            }
        };
        Err(asked)
    }

    /// Keeps what the hub has said, unless the token was forgotten meanwhile.
    fn settle(
        &self,
        digest: TokenDigest,
        asked: &Arc<OnceCell<(Duration, OwnerLookup)>>,
        since: Duration,
        verdict: &OwnerLookup,
    ) {
        let mut tokens = self.lock();
        if !matches!(tokens.get(&digest), Some(Token::Asked(other)) if Arc::ptr_eq(other, asked)) {
            return;
        }
        match verdict {
            Ok(Some(owner)) if !self.max_age.is_zero() => {
                tokens.insert(digest, Token::Known(Arc::clone(owner), since.saturating_add(self.max_age)));
            }
            Ok(_) | Err(_) => {
                tokens.remove(&digest);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenDigest, Token>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the hub may be asked about `token`: it is neither a key nor a login token of ours, nor too long.
pub fn is_hub_token(token: &str) -> bool {
    let is_own = OWN_PREFIXES.iter().any(|prefix| token.starts_with(prefix));
    !is_own && (1..=TOKEN_BYTES_MAX).contains(&token.len())
}

/// Makes room for `digest`. What is too old goes first, with questions that nobody waits for any more; then what becomes
/// too old next; then questions under way, whose requests get their response all the same, but it is not kept.
fn make_room(tokens: &mut HashMap<TokenDigest, Token>, digest: &TokenDigest, now: Duration) {
    if tokens.len() < TOKENS_MAX || tokens.contains_key(digest) {
        return;
    }
    tokens.retain(|_, token| match token {
        Token::Known(_, until) => *until > now,
        // Whoever waits has a handle of their own, taken under the lock that is held here.
        Token::Asked(asked) => Arc::strong_count(asked) > 1,
    });
    if tokens.len() < TOKENS_MAX {
        return;
    }
    let end = |token: &Token| match token {
        Token::Known(_, until) => *until,
        Token::Asked(_) => Duration::MAX,
    };
    let soonest = tokens.iter().min_by_key(|(_, token)| end(token)).map(|(digest, _)| *digest);
    if let Some(soonest) = soonest {
        tokens.remove(&soonest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_nobody_waits_for_makes_room_and_one_that_somebody_does_stays() {
        let digest = |number: usize| TokenDigest::of_parts(&[&number.to_string()]);
        let waiting = Arc::default();
        let mut tokens: HashMap<_, _> =
            (1..TOKENS_MAX).map(|number| (digest(number), Token::Asked(Arc::default()))).collect();
        tokens.insert(digest(0), Token::Asked(Arc::clone(&waiting)));
        assert_eq!(tokens.len(), TOKENS_MAX);
        make_room(&mut tokens, &digest(TOKENS_MAX), Duration::ZERO);
        assert!(matches!(tokens.get(&digest(0)), Some(Token::Asked(asked)) if Arc::ptr_eq(asked, &waiting)));
        assert_eq!(tokens.len(), 1);
    }
}
