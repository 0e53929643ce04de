//! How long a look-up takes, for tokens that nobody must be able to tell apart by it (T-TIME): a measurement in the manner
//! of dudect, for a quiet machine, and no gate of `make test`.
//!
//! `cargo test --release --test it -- --ignored timing:: --nocapture`

use std::sync::Arc;
use std::time::{Duration, Instant};

use hublatch::audit::Client;
use hublatch::clock::Clock as _;
use hublatch::login::Asked;
use hublatch::store::MemoryStore;
use hublatch::token::{LoginToken, TokenDigest};

use crate::support::proxy::standing_clock;
use crate::used_links::rules::{block_on, issue, service};

const SAMPLES: usize = 1_000_000;
/// Of each class the slowest tenth is the machine's doing.
const KEPT: f64 = 0.9;

/// Mean, variance and number.
fn moments(samples: &[f64]) -> (f64, f64, f64) {
    let count = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / count;
    let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, variance, count)
}

/// Welch's t of two classes, each without its slowest samples.
fn welch(mut first: Vec<f64>, mut second: Vec<f64>) -> f64 {
    for class in [&mut first, &mut second] {
        class.sort_by(f64::total_cmp);
        class.truncate((class.len() as f64 * KEPT) as usize);
    }
    let ((a, var_a, n_a), (b, var_b, n_b)) = (moments(&first), moments(&second));
    (a - b) / (var_a / n_a + var_b / n_b).sqrt()
}

/// Times `act` of one of two inputs at a time, in an order that does not repeat.
fn compare<T>(first: &[T], second: &[T], mut act: impl FnMut(&T)) -> f64 {
    let mut classes = [Vec::with_capacity(SAMPLES), Vec::with_capacity(SAMPLES)];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for number in 0..SAMPLES {
        // xorshift64: no more is needed of it than not to be in step with anything.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let class = (random >> 33) as usize & 1;
        let inputs = if class == 0 { first } else { second };
        let input = &inputs[number % inputs.len()];
        let begun = Instant::now();
        act(input);
        classes[class].push(begun.elapsed().as_nanos() as f64);
    }
    let [first, second] = classes;
    welch(first, second)
}

fn token(text: &str) -> LoginToken {
    LoginToken::parse(text).expect("the shape of a token")
}

/// Tokens that agree with `like` in all but the last characters.
fn nearly(like: &LoginToken) -> Vec<LoginToken> {
    let stem = &like.expose()[..like.expose().len() - 2];
    ["AA", "BE", "CI", "DM"].iter().map(|end| token(&format!("{stem}{end}"))).collect()
}

#[test]
#[ignore = "a measurement: wants a quiet machine"]
fn a_look_up_does_not_tell_how_much_of_a_token_was_guessed() {
    let (store, clock) = (Arc::new(MemoryStore::new(10_000)), standing_clock());
    let login = service(&store, &clock, "name = \"portal\"", "");
    let live: Vec<LoginToken> = (0..1000).map(|_| issue(&login, "alice", None)).collect();
    let far: Vec<LoginToken> =
        (0..4).map(|n| token(&format!("hl_{}", format!("Q{n}x").repeat(20).split_at(43).0))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let t = compare(&nearly(&live[0]), &far, |token| {
        assert!(runtime.block_on(login.offer(token, Asked::default())).is_err());
    });
    println!(
        "unknown, all but two characters of a live one / nothing of any: t = {t:.2} of {SAMPLES} samples"
    );

    // The ends of a link differ in what is told, so that this is a matter of interest and not of secrecy: whoever has a
    // token that was good once learns from the page which of these it is.
    let used = issue(&login, "alice", None);
    let _verified = block_on(async {
        let offer = login.offer(&used, Asked::default()).await.expect("a pending link");
        login.redeem(offer, Client::default()).await.expect("the one success")
    });
    clock.advance(Duration::from_secs(31));
    let now = clock.now();
    let find =
        |digest: &TokenDigest| drop(block_on_ready(hublatch::store::TokenStore::find(&*store, *digest, now)));
    let digests = |tokens: &[LoginToken]| tokens.iter().map(LoginToken::digest).collect::<Vec<_>>();
    let (unknown, used, expired) = (digests(&far), digests(&[used]), digests(&live[1..2]));
    for (what, first, second) in [
        ("unknown / used", &unknown, &used),
        ("unknown / expired", &unknown, &expired),
        ("used / expired", &used, &expired),
    ] {
        println!("in the memory store, {what}: t = {:.2} of {SAMPLES} samples", compare(first, second, find));
    }
    assert!(t.abs() < 4.5, "a look-up of a nearly good token takes another time: t = {t:.2}");
}

/// What a future that never waits comes to.
fn block_on_ready<F: Future>(future: F) -> F::Output {
    use std::task::{Context, Poll, Waker};
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the memory store never waits"),
    }
}
