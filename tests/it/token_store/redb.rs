//! The redb store: the contract, restarts, and files that must not be believed.

mod earlier;
mod reopened;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hublatch::clock::{Clock, ManualClock, Moment};
use hublatch::store::{Consumed, FileError, Inserted, Link, LinkStatus, RedbStore, TokenStore};
use jiff::SignedDuration;

use super::contract::{self, Calls as _, Clocked, Rig, contract, contract_of_clocks, key, link};

/// A redb store in a directory of its own, and clocks that stand still until they are told to move.
struct File {
    store: Option<RedbStore>,
    clock: Arc<ManualClock>,
    max_tokens: usize,
    directory: tempfile::TempDir,
}

impl Rig for File {
    fn new(max_tokens: usize) -> Self {
        let clock = Arc::new(ManualClock::at("2026-03-01T12:00:00.123456789Z".parse().expect("a time")));
        let directory = tempfile::tempdir().expect("a directory");
        let mut rig = Self { store: None, clock, max_tokens, directory };
        rig.open();
        rig
    }

    fn store(&self) -> &dyn TokenStore {
        self.store.as_ref().expect("it is open")
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    fn pass(&self, span: Duration) {
        self.clock.advance(span);
    }

    fn short_life(&self) -> Duration {
        Duration::from_secs(1)
    }
}

impl Clocked for File {
    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

impl File {
    fn path(&self) -> PathBuf {
        self.directory.path().join("tokens.redb")
    }

    fn marker(&self) -> PathBuf {
        self.directory.path().join("tokens.redb.marker")
    }

    fn try_open(&self) -> Result<RedbStore, FileError> {
        RedbStore::open(&self.path(), self.max_tokens, self.clock.clone())
    }

    fn open(&mut self) {
        self.store = Some(self.try_open().expect("the store opens"));
    }

    fn close(&mut self) {
        self.store = None;
    }

    /// Ends this session and begins another, whose monotonic clock starts at zero, `later` by the wall clock.
    fn restart(&mut self, later: i64) {
        self.close();
        let wall = self.now().wall.checked_add(SignedDuration::from_secs(later)).expect("a time");
        self.clock = Arc::new(ManualClock::at(wall));
        self.open();
    }

    fn refusal(&self) -> FileError {
        self.try_open().expect_err("it is refused")
    }
}

contract!(keeps_the_contract, File);
contract_of_clocks!(obeys_two_clocks, File);

#[test]
fn links_survive_a_restart_with_everything() {
    let mut rig = File::new(10);
    let (pending, used, revoked) = (rig.link(), rig.link(), rig.link());
    rig.insert(&[&used, &revoked]);
    rig.insert_with_key(&pending, &key("portal", "k1", 1));
    rig.admits(&used);
    rig.revoke(&revoked);
    let created = rig.store().memory(rig.now()).map(|memory| memory.since);
    rig.restart(5);
    assert_eq!(rig.store().memory(rig.now()).map(|memory| memory.since), created, "nothing was forgotten");
    assert_eq!(rig.store().live(rig.now()), 1);
    assert_eq!(rig.status(&used), Some(LinkStatus::Used));
    assert_eq!(rig.status(&revoked), Some(LinkStatus::Revoked));
    let found = rig.find(&pending).expect("it survived");
    assert_eq!((found.status, &found.grant), (LinkStatus::Pending, &pending.grant));
    assert_eq!(rig.insert_with_key(&rig.link(), &key("portal", "k1", 2)), Inserted::OtherBody);
    assert!(!rig.admits(&used) && !rig.admits(&revoked));
    assert!(rig.admits(&pending));
    rig.restart(0);
    assert!(!rig.admits(&pending));
}

#[test]
fn after_a_restart_the_wall_clock_ends_a_link() {
    let mut rig = File::new(10);
    let link = rig.link();
    rig.insert(&[&link]);
    rig.restart(29);
    assert_eq!(rig.status(&link), Some(LinkStatus::Pending));
    rig.restart(1);
    assert_eq!(rig.status(&link), Some(LinkStatus::Expired));
    assert!(!rig.admits(&link));
}

#[test]
fn after_a_restart_a_step_of_the_wall_clock_does_not_prolong_a_life() {
    let mut rig = File::new(10);
    let link = rig.link();
    rig.insert(&[&link]);
    rig.restart(10);
    let stepped = rig.now().wall;
    rig.pass(Duration::from_secs(20));
    rig.clock.step(stepped);
    assert_eq!(rig.status(&link), Some(LinkStatus::Expired));
    assert!(!rig.admits(&link));
}

#[test]
fn a_wall_clock_that_went_back_during_the_restart_ends_all_older_links() {
    let mut rig = File::new(10);
    rig.pass(Duration::from_secs(100));
    let old = link(rig.now(), contract::LIFE);
    rig.insert(&[&old]);
    rig.pass(Duration::from_secs(20));
    rig.insert(&[&rig.link()]);
    // Ten seconds after the issue by its own word, but twenty had passed.
    rig.restart(-10);
    assert_eq!(rig.status(&old), Some(LinkStatus::Expired));
    assert!(!rig.admits(&old));
    let new = rig.link();
    rig.insert(&[&new]);
    assert!(rig.admits(&new));
}

#[test]
fn a_wall_clock_that_went_back_during_the_restart_makes_nothing_forgotten_good_again() {
    let mut rig = File::new(10);
    let created = rig.now().wall;
    rig.pass(Duration::from_secs(3600));
    rig.insert(&[&rig.link()]);
    let written = rig.now().wall;
    let since = |rig: &File| rig.store().memory(rig.now()).expect("a file has one").since;
    assert_eq!(since(&rig), created);
    rig.restart(-1);
    assert_eq!(since(&rig), created, "so much clocks may differ");
    rig.restart(-1800);
    assert!(since(&rig) >= written - SignedDuration::from_secs(1), "{} {written}", since(&rig));
    rig.restart(0);
    assert_eq!(since(&rig), created, "whoever starts it again means it");
}

#[test]
fn a_copy_that_is_put_back_is_refused() {
    let mut rig = File::new(10);
    let link = rig.link();
    rig.insert(&[&link]);
    rig.close();
    let copy = fs::read(rig.path()).expect("the file");
    rig.open();
    assert!(rig.admits(&link));
    rig.close();
    fs::write(rig.path(), copy).expect("the copy");
    assert!(matches!(rig.refusal(), FileError::Older { .. }));
    // And it stays refused.
    assert!(matches!(rig.refusal(), FileError::Older { .. }));
}

#[test]
fn a_copy_taken_from_a_running_store_is_refused() {
    let mut rig = File::new(10);
    let link = rig.link();
    rig.insert(&[&link]);
    let copy = fs::read(rig.path()).expect("the file");
    assert!(rig.admits(&link));
    rig.close();
    fs::write(rig.path(), copy).expect("the copy");
    assert!(matches!(rig.refusal(), FileError::Older { .. }));
}

#[test]
fn a_file_or_a_marker_that_is_gone_is_not_replaced() {
    let mut rig = File::new(10);
    rig.insert(&[&rig.link()]);
    rig.close();
    let marker = fs::read(rig.marker()).expect("the marker");
    fs::remove_file(rig.marker()).expect("removed");
    assert!(matches!(rig.refusal(), FileError::NoMarker));
    assert!(!rig.marker().exists());
    fs::write(rig.marker(), marker).expect("the marker");
    fs::set_permissions(rig.marker(), Permissions::from_mode(0o600)).expect("private");
    fs::remove_file(rig.path()).expect("removed");
    assert!(matches!(rig.refusal(), FileError::Vanished));
    assert!(!rig.path().exists());
}

#[test]
fn a_marker_that_is_damaged_or_anothers_is_refused() {
    let mut rig = File::new(10);
    rig.close();
    let other = File::new(10);
    let foreign = fs::read(other.marker()).expect("the marker");
    for damaged in [&b""[..], b"x", b"hublatch-store-marker-1 00 7\nmore", &[0xff; 70]] {
        fs::write(rig.marker(), damaged).expect("written");
        let refusal = rig.refusal();
        assert!(matches!(refusal, FileError::NoMarker | FileError::OtherStore), "{refusal}");
    }
    fs::write(rig.marker(), foreign).expect("written");
    assert!(matches!(rig.refusal(), FileError::OtherStore));
}

#[test]
fn a_new_file_is_its_owners_alone_and_one_that_others_can_read_is_refused() {
    let mut rig = File::new(10);
    for path in [rig.path(), rig.marker()] {
        assert_eq!(fs::metadata(path).expect("made").permissions().mode() & 0o777, 0o600);
    }
    rig.close();
    for (path, mode) in [(rig.path(), 0o640), (rig.path(), 0o604), (rig.marker(), 0o620)] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("changed");
        assert!(matches!(rig.refusal(), FileError::Exposed), "{mode:o}");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("changed");
    }
    rig.open();
}

#[test]
fn a_store_has_one_process() {
    let rig = File::new(10);
    assert!(matches!(rig.refusal(), FileError::InUse));
    assert!(rig.admits(&{
        let link = rig.link();
        rig.insert(&[&link]);
        link
    }));
}

#[test]
fn what_is_no_store_is_refused_and_left_as_it_is() {
    let mut rig = File::new(10);
    rig.close();
    for other in [&b""[..], b"not a database", &[0; 100_000]] {
        fs::write(rig.path(), other).expect("written");
        let refusal = rig.refusal();
        assert!(matches!(refusal, FileError::Corrupt(_)), "{refusal}");
        assert_eq!(fs::read(rig.path()).expect("still there"), other);
    }
    fs::remove_file(rig.path()).expect("removed");
    fs::create_dir(rig.path()).expect("a directory");
    assert!(matches!(rig.refusal(), FileError::NotAFile | FileError::Io(_)));
}

#[test]
fn a_directory_that_is_missing_is_an_error() {
    let rig = File::new(10);
    let path = rig.directory.path().join("missing/tokens.redb");
    let refusal = RedbStore::open(&path, 10, rig.clock.clone()).expect_err("refused");
    assert!(matches!(refusal, FileError::Io(_)), "{refusal}");
}

#[test]
fn flipped_bits_never_log_in_twice_nor_another_user() {
    flip_bits(24);
}

#[test]
#[ignore = "takes minutes"]
fn a_thousand_flipped_bits_never_log_in_twice_nor_another_user() {
    flip_bits(1000);
}

fn flip_bits(rounds: usize) {
    let mut rig = File::new(100);
    let used: Vec<Link> = (0..5).map(|_| rig.link()).collect();
    let pending: Vec<Link> = (0..5).map(|_| rig.link()).collect();
    rig.insert(&used.iter().chain(&pending).collect::<Vec<_>>());
    assert!(used.iter().all(|link| rig.admits(link)));
    rig.close();
    let (file, marker) =
        (fs::read(rig.path()).expect("the file"), fs::read(rig.marker()).expect("the marker"));
    let written: Vec<usize> = (0..file.len()).filter(|at| file[*at] != 0).collect();
    let mut refused = 0;
    for round in 0..rounds {
        // Spread over what was written; the bit changes with the round.
        let at = written[round * written.len() / rounds];
        let mut flipped = file.clone();
        flipped[at] ^= 1 << (round % 8);
        fs::write(rig.path(), flipped).expect("written");
        fs::write(rig.marker(), &marker).expect("written");
        let Ok(store) = rig.try_open() else {
            refused += 1;
            continue;
        };
        rig.store = Some(store);
        for link in &used {
            let consumed = contract::wait(rig.store().consume(link.digest, rig.now()));
            assert!(!matches!(consumed, Ok(Consumed::Granted(_))), "a second login, byte {at}");
        }
        for link in &pending {
            if let Ok(Consumed::Granted(granted)) =
                contract::wait(rig.store().consume(link.digest, rig.now()))
            {
                assert_eq!(granted.grant, link.grant, "byte {at}");
            }
        }
        rig.close();
    }
    println!("{refused} of {rounds} files were refused");
    assert!(refused > 0, "most of what is flipped is seen");
}
