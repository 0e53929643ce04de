//! The redb store on a disk that is full, and one that cannot be written.
//!
//! A small file system of its own is mounted in a user namespace (`unshare`), in which the test runs itself again: no
//! rights are needed and nothing is left behind.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use hublatch::clock::{Clock, SystemClock};
use hublatch::store::{Consumed, FileError, Inserted, RedbStore, TokenStore as _};

use crate::contract::{LIFE, link, wait};

/// Set in the run inside: where the file system is.
const INSIDE: &str = "HUBLATCH_TEST_SMALL_DISK";

/// Runs the test `name` inside, on a file system of `size`.
fn run_inside(name: &str, size: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let script =
        "mount -t tmpfs -o size=\"$1\" tmpfs \"$2\" && exec \"$3\" --exact \"$4\" --ignored --nocapture";
    // Alone in there, and for minutes at most.
    let status = Command::new("timeout")
        .args(["300", "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", size])
        .arg(directory.path())
        .arg(std::env::current_exe().expect("this binary"))
        .arg(name)
        .env(INSIDE, directory.path())
        .status()
        .expect("timeout (coreutils)");
    assert!(status.success(), "{name} inside a file system of {size}");
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

#[test]
#[ignore = "needs user namespaces"]
fn a_full_disk_is_an_error_and_the_store_returns_with_room() {
    let Some(disk) = std::env::var_os(INSIDE) else {
        return run_inside("disk::a_full_disk_is_an_error_and_the_store_returns_with_room", "8m");
    };
    let disk = Path::new(&disk);
    let clock = clock();
    let path = disk.join("tokens.redb");
    let store = RedbStore::open(&path, 1_000_000, Arc::clone(&clock)).expect("a store");
    let used = link(clock.now(), LIFE * 10);
    assert_eq!(wait(store.insert(vec![used.clone()], None, clock.now())).expect("room"), Inserted::New);
    assert!(matches!(wait(store.consume(used.digest, clock.now())), Ok(Consumed::Granted(_))));

    let ballast = disk.join("ballast");
    let room = fs::metadata(&path).expect("the file").len();
    fs::write(&ballast, vec![1; usize::try_from(7 * 1024 * 1024 - room).expect("small")]).expect("room");
    let mut kept = Vec::new();
    let error = loop {
        let batch: Vec<_> = (0..50).map(|_| link(clock.now(), LIFE * 10)).collect();
        match wait(store.insert(batch.clone(), None, clock.now())) {
            Ok(outcome) => {
                assert_eq!(outcome, Inserted::New);
                kept.extend(batch);
            }
            Err(error) => break error,
        }
        assert!(kept.len() < 100_000, "the disk is full some time");
    };
    println!("full after {} links: {error}", kept.len());
    // Whatever it answers while the disk is full, it is no login of a used token.
    assert!(!matches!(wait(store.consume(used.digest, clock.now())), Ok(Consumed::Granted(_))));

    fs::remove_file(&ballast).expect("removed");
    crate::server::until("the store is back", || wait(store.ping()).is_ok());
    for link in &kept {
        assert!(
            wait(store.find(link.digest, clock.now())).expect("it is back").is_some(),
            "an acknowledged link"
        );
    }
    assert!(matches!(wait(store.consume(kept[0].digest, clock.now())), Ok(Consumed::Granted(_))));
    for link in [&kept[0], &used] {
        assert!(matches!(wait(store.consume(link.digest, clock.now())), Ok(Consumed::Ended(_))));
    }
}

#[test]
#[ignore = "needs user namespaces"]
fn a_disk_that_cannot_be_written_is_a_clear_error_at_the_start() {
    let Some(disk) = std::env::var_os(INSIDE) else {
        return run_inside("disk::a_disk_that_cannot_be_written_is_a_clear_error_at_the_start", "8m");
    };
    let disk = Path::new(&disk);
    let path = disk.join("tokens.redb");
    drop(RedbStore::open(&path, 10, clock()).expect("a store"));
    let mounted = Command::new("mount").args(["-o", "remount,ro"]).arg(disk).status().expect("mount");
    assert!(mounted.success());
    let refused = RedbStore::open(&path, 10, clock()).expect_err("refused");
    assert!(matches!(refused, FileError::Io(_)) && refused.to_string().contains("Read-only"), "{refused}");
    let refused = RedbStore::open(&disk.join("new.redb"), 10, clock()).expect_err("refused");
    assert!(matches!(refused, FileError::Io(_)), "{refused}");
}

#[test]
#[ignore = "needs user namespaces"]
fn a_full_disk_is_told_by_ready_and_nobody_is_logged_in() {
    match std::env::var_os(INSIDE) {
        None => run_inside("disk::a_full_disk_is_told_by_ready_and_nobody_is_logged_in", "8m"),
        Some(disk) => crate::ready::a_full_disk_is_told(Path::new(&disk)),
    }
}
