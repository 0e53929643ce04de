//! Near guesses against far ones by the instructions that they cost, counted by callgrind: no machine is too busy for it.
//!
//! This test runs itself under valgrind; there the guesses are looked up by functions whose names are in the profile.

use std::path::PathBuf;
use std::process::Command;

use hublatch::store::MemoryStore;

use super::*;

const GUESSES: usize = 1000;
/// How far the counts of a look-up may differ. They do because the table of the store sometimes holds a link where another
/// one is looked for; comparing a nearly good token with a live one costs hundreds more.
const DIFFERENCE_MAX: f64 = 20.0;
const WORKLOAD: &str = "timing::instructions::the_look_ups_that_are_counted";

#[inline(never)]
fn counted_near(login: &LoginServices, guesses: &[Guess]) {
    guesses.iter().for_each(|guess| look_up(login, guess.text()));
}

#[inline(never)]
fn counted_far(login: &LoginServices, guesses: &[Guess]) {
    guesses.iter().for_each(|guess| look_up(login, guess.text()));
}

#[inline(never)]
fn leaky_near(login: &LoginServices, live: &OpaqueToken, guesses: &[Guess]) {
    guesses.iter().for_each(|guess| leak(login, live, guess.text()));
}

#[inline(never)]
fn leaky_far(login: &LoginServices, live: &OpaqueToken, guesses: &[Guess]) {
    guesses.iter().for_each(|guess| leak(login, live, guess.text()));
}

/// As many of each class.
fn sorted(live: &[OpaqueToken]) -> [Vec<Guess>; 2] {
    let (mut near, mut far): (Vec<Guess>, Vec<Guess>) =
        guesses(live, 3 * GUESSES).into_iter().partition(|guess| guess.near);
    near.truncate(GUESSES);
    far.truncate(GUESSES);
    assert_eq!((near.len(), far.len()), (GUESSES, GUESSES));
    [near, far]
}

#[test]
#[ignore = "the workload of the test below"]
fn the_look_ups_that_are_counted() {
    let (store, clock) = (Arc::new(MemoryStore::new(2000)), standing_clock());
    let login = service(&store, &clock, "name = \"portal\"", "");
    let live: Vec<OpaqueToken> = (0..500).map(|_| issue(&login, "alice", None)).collect();
    let [near, far] = sorted(&live);
    // What is made at its first use is made before the count.
    look_up(&login, near[0].text());
    counted_near(&login, &near);
    counted_far(&login, &far);
    let [near, far] = sorted(&live[..1]);
    leaky_near(&login, &live[0], &near);
    leaky_far(&login, &live[0], &far);
}

/// The instructions of the one call of the function `name`, by a profile of callgrind's (Callgrind Format Specification,
/// "calls=": the line after it is the inclusive cost).
fn instructions(profile: &str, name: &str) -> f64 {
    let end = format!("::{name}");
    let mut lines = profile.lines().skip_while(|line| !(line.starts_with("cfn=") && line.ends_with(&end)));
    let calls = lines.find(|line| line.starts_with("calls=")).expect("a call of the function");
    assert!(calls.starts_with("calls=1 "), "{calls}");
    let cost = lines.next().and_then(|line| line.split(' ').nth(1)).expect("its cost");
    cost.parse().expect("a number")
}

#[test]
#[ignore = "needs valgrind; make bench-instructions"]
fn a_nearly_good_token_costs_no_instruction_more() {
    let directory = tempfile::tempdir().expect("a directory");
    let profile: PathBuf = directory.path().join("profile");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", WORKLOAD, "--ignored", "--test-threads", "1"])
        .output()
        .expect("valgrind runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let profile = std::fs::read_to_string(profile).expect("a profile");
    let per_guess = |name: &str| instructions(&profile, name) / GUESSES as f64;
    let [near, far] = ["counted_near", "counted_far"].map(per_guess);
    let [leaky_near, leaky_far] = ["leaky_near", "leaky_far"].map(per_guess);
    println!(
        "instructions of a look-up: near {near:.1}, far {far:.1}; one that compares: {leaky_near:.1}, {leaky_far:.1}"
    );
    assert!(leaky_near - leaky_far > DIFFERENCE_MAX, "the count is blind: {leaky_near} and {leaky_far}");
    assert!((near - far).abs() < DIFFERENCE_MAX, "a nearly good token costs {near}, another {far}");
}
