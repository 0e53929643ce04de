//! Near guesses against far ones by the clock, as dudect does (Reparaz, Balasch, Verbauwhede 2017): Welch's t over a million
//! samples in random order, over all of them and without the slowest.
//!
//! `cargo test --release --test it -- --ignored timing::nanoseconds --nocapture`
//!
//! A machine's hiccup makes one run lie, so several are made and the median counts. The same with a look-up that does
//! compare must be found out, or the measurement can find nothing.

use std::time::Instant;

use hublatch::store::MemoryStore;

use super::*;

const SAMPLES: usize = 1_000_000;
/// Looked up and not counted: caches, branches and the machine's clock rate settle.
const WARM_UP: usize = 50_000;
const RUNS: usize = 5;
/// What is kept of the samples, the fastest first, in thousandths: above them is the machine's doing.
const KEPT: [usize; 6] = [1000, 990, 950, 900, 750, 500];
/// dudect's and TVLA's threshold.
const T_MAX: f64 = 4.5;

/// What looking each of `guesses` up takes, in their order, in nanoseconds.
fn durations(guesses: &[Guess], mut look_up: impl FnMut(&str)) -> Vec<u64> {
    guesses[..WARM_UP].iter().for_each(|guess| look_up(guess.text()));
    let timed = |guess: &Guess| {
        let text = guess.text();
        let begun = Instant::now();
        look_up(text);
        u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    };
    guesses.iter().map(timed).collect()
}

/// Welch's t of the near against the far, once for each of [`KEPT`].
fn welch(guesses: &[Guess], durations: &[u64]) -> [f64; KEPT.len()] {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    KEPT.map(|kept| {
        let slowest = sorted[(sorted.len() * kept / 1000).saturating_sub(1)];
        let class = |near: bool| {
            let all = guesses.iter().zip(durations);
            let class = all.filter(|(guess, nanos)| guess.near == near && **nanos <= slowest);
            moments(class.map(|(_, nanos)| *nanos as f64))
        };
        let ((a, var_a, n_a), (b, var_b, n_b)) = (class(true), class(false));
        (a - b) / (var_a / n_a + var_b / n_b).sqrt()
    })
}

/// Mean, variance and number.
fn moments(samples: impl Iterator<Item = f64> + Clone) -> (f64, f64, f64) {
    let count = samples.clone().count() as f64;
    let mean = samples.clone().sum::<f64>() / count;
    let variance = samples.map(|sample| (sample - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, variance, count)
}

/// Several runs with fresh guesses; the median of the largest |t| of each.
fn median_t(what: &str, live: &[OpaqueToken], mut look_up: impl FnMut(&str)) -> f64 {
    let run = |number| {
        let guesses = guesses(live, SAMPLES);
        let all = welch(&guesses, &durations(&guesses, &mut look_up));
        let t = all.iter().fold(0.0, |most: f64, t| most.max(t.abs()));
        let listed: Vec<String> = all.iter().map(|t| format!("{t:.2}")).collect();
        println!("{what}, run {number}: t = {} with {KEPT:?} thousandths kept", listed.join(" "));
        t
    };
    let mut largest: Vec<f64> = (1..=RUNS).map(run).collect();
    largest.sort_by(f64::total_cmp);
    println!("{what}: median of the largest |t| of {RUNS} runs of {SAMPLES}: {:.2}", largest[RUNS / 2]);
    largest[RUNS / 2]
}

#[test]
#[ignore = "a measurement: wants a quiet machine"]
fn a_look_up_does_not_tell_how_much_of_a_token_was_guessed() {
    let (store, clock) = (Arc::new(MemoryStore::new(20_000)), standing_clock());
    let login = service(&store, &clock, "name = \"portal\"\nmax_live_links = 20000\nrate = \"100000/s\"", "");
    let live: Vec<OpaqueToken> = (0..10_000).map(|_| issue(&login, "alice", None)).collect();
    let found_out = median_t("a look-up that compares", &live[..1], |text| leak(&login, &live[0], text));
    let t = median_t("the look-up", &live, |text| look_up(&login, text));
    assert!(found_out > T_MAX, "the measurement is blind: t = {found_out:.2}");
    assert!(t < T_MAX, "a look-up of a nearly good token takes another time: t = {t:.2}");
}
