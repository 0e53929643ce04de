//! What the time of a look-up tells: nothing of how much of a token was guessed.
//!
//! Three readings. What the store is asked (here, in every run); instructions counted by callgrind (`instructions.rs`, a gate
//! of `make test`); and nanoseconds (`nanoseconds.rs`, a measurement in the manner of dudect for a quiet machine).
//!
//! Whether a token that was good once is used or expired is told by the page, so its time is no secret either.

mod instructions;
mod nanoseconds;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use hublatch::audit::Client;
use hublatch::login::{LoginServices, RedeemRequest, Refusal};
use hublatch::store::TokenStore;
use hublatch::token::OpaqueToken;

use crate::support::faulty_store::{At, Fault, FaultyStore};
use crate::support::proxy::standing_clock;
use crate::used_links::rules::{block_on, issue, service};

/// `hl_` and 43 characters of base64url.
const TOKEN_BYTES: usize = 46;
const PREFIX_BYTES: usize = 3;
/// All but so many characters of a near guess are right.
const WRONG_BYTES: usize = 2;

/// A token that was never issued.
struct Guess {
    text: [u8; TOKEN_BYTES],
    /// All but its last characters are those of a live token; else none is, but by chance.
    near: bool,
}

impl Guess {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.text).expect("ASCII")
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("random bytes");
    bytes
}

/// Guesses at `live` tokens, near and far in random order: made alike, of the same characters, laid side by side. A far
/// one is a live one turned by a character, so that reading either costs the same, and only what they are near to differs.
fn guesses(live: &[OpaqueToken], count: usize) -> Vec<Guess> {
    const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let guess = |_| loop {
        let [class, end @ ..] = random::<{ 1 + WRONG_BYTES }>();
        let chosen = usize::try_from(u64::from_ne_bytes(random()) % live.len() as u64).expect("an index");
        let live = live[chosen].expose().as_bytes();
        let near = class % 2 == 0;
        let mut text = [0; TOKEN_BYTES];
        text.copy_from_slice(live);
        text[PREFIX_BYTES..].rotate_left(usize::from(!near));
        for (to, byte) in text[TOKEN_BYTES - WRONG_BYTES..].iter_mut().zip(end) {
            *to = BASE64URL[usize::from(byte) % BASE64URL.len()];
        }
        if text != *live {
            return Guess { text, near };
        }
    };
    (0..count).map(guess).collect()
}

/// Presents `text` as a browser would: it must be refused.
fn look_up(login: &LoginServices, text: &str) {
    let token = login.redeemer.parse(text).expect("the shape of a token");
    let refused = ready(login.redeemer.validate(&token, RedeemRequest::default())).is_err();
    assert!(refused, "a guess is good");
}

/// What the look-up would be if it compared with a live token: it takes the longer, the more is right.
fn leak(login: &LoginServices, live: &OpaqueToken, text: &str) {
    look_up(login, text);
    let right = live.expose().bytes().zip(text.bytes()).take_while(|(live, guess)| live == guess).count();
    std::hint::black_box(right);
}

/// What a future that never waits comes to.
fn ready<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the memory store never waits"),
    }
}

#[test]
fn the_store_is_asked_the_same_one_question_for_any_token() {
    let (store, clock) = (Arc::new(FaultyStore::new()), standing_clock());
    let login = service(&store, &clock, "name = \"portal\"", "");
    let [used, late] = ["alice", "alice"].map(|name| issue(&login, name, None));
    let _verified = block_on(async {
        let offer =
            login.redeemer.validate_opaque(&used, RedeemRequest::default()).await.expect("a pending link");
        login.redeemer.consume(offer, Client::default()).await.expect("the one success")
    });
    clock.advance(Duration::from_secs(31));
    let live: Vec<OpaqueToken> = (0..10).map(|_| issue(&login, "alice", None)).collect();
    let guesses = guesses(&live, 50);
    let known = [(used.expose(), "used"), (late.expose(), "expired")];
    for (text, word) in guesses.iter().map(|guess| (guess.text(), "unknown")).chain(known) {
        // Sound: only the calls are written down.
        store.arm(At::Each("none"), Fault::Fails);
        let token = login.redeemer.parse(text).expect("the shape of a token");
        let refusal: Refusal =
            block_on(login.redeemer.validate(&token, RedeemRequest::default())).expect_err("refused");
        assert_eq!((refusal.reason().as_str(), store.calls()), (word, vec!["find"]));
    }
    assert!(guesses.iter().any(|guess| guess.near) && guesses.iter().any(|guess| !guess.near));
    assert_eq!(store.live(hublatch::clock::Clock::now(&*clock)), live.len(), "looking costs nothing");
}
