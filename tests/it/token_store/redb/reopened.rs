//! A file that is opened again: what was kept in memory is made anew from it, to the last detail.

use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use hublatch::store::{RETENTION, Revoked};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::super::contract::link_of;
use super::*;

const ENTRIES: [TableDefinition<'_, u64, &[u8]>; 2] =
    [TableDefinition::new("issued"), TableDefinition::new("ends")];
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");

impl File {
    fn reopen(&mut self) {
        self.close();
        self.open();
    }

    /// How many rows each table has.
    fn rows(&mut self) -> [u64; 2] {
        self.close();
        let database = Database::open(self.path()).expect("a database");
        let reader = database.begin_read().expect("readable");
        let rows = ENTRIES.map(|table| {
            let table = reader.open_table(table).expect("the table");
            table.iter().expect("readable").count() as u64
        });
        drop((reader, database));
        self.open();
        rows
    }

    fn write_state(&mut self, change: impl FnOnce(&str) -> String) {
        self.close();
        let database = Database::open(self.path()).expect("a database");
        let writer = database.begin_write().expect("writable");
        {
            let mut table = writer.open_table(STATE).expect("the table");
            let state = table.get("state").expect("readable").expect("a state").value().to_vec();
            let changed = change(std::str::from_utf8(&state).expect("JSON"));
            table.insert("state", changed.as_bytes()).expect("written");
        }
        writer.commit().expect("written");
    }

    /// Puts `change` of the JSON of the first link in its place, with the checksum that belongs to it.
    fn change_link(&mut self, change: impl FnOnce(&str) -> String) -> String {
        const CHECKSUM_BYTES: usize = 16;
        let database = Database::open(self.path()).expect("a database");
        let writer = database.begin_write().expect("writable");
        let changed;
        {
            let mut table = writer.open_table(ENTRIES[0]).expect("the table");
            let (number, bytes) = {
                let (number, bytes) = table.first().expect("readable").expect("a link");
                (number.value(), bytes.value().to_vec())
            };
            changed = change(std::str::from_utf8(&bytes[CHECKSUM_BYTES..]).expect("JSON"));
            let summed = [b"link\0".as_slice(), &number.to_be_bytes(), changed.as_bytes()].concat();
            let sum = digest(&SHA256, &summed);
            let entry = [&sum.as_ref()[..CHECKSUM_BYTES], changed.as_bytes()].concat();
            table.insert(number, entry.as_slice()).expect("written");
        }
        writer.commit().expect("written");
        changed
    }
}

#[test]
fn everything_is_found_again_as_it_was_left() {
    let mut rig = File::new(100);
    let now = rig.now();
    let (used, revoked, pending, of_bob) =
        (rig.link(), rig.link(), rig.link(), link_of(now, "bob", "portal"));
    let of_shop = link_of(now, "alice", "shop");
    rig.insert_with_key(&used, &key("portal", "used", 1));
    rig.insert_with_key(&pending, &key("portal", "pending", 2));
    rig.insert(&[&revoked, &of_bob, &of_shop]);
    assert!(rig.admits(&used));
    assert_eq!(rig.revoke(&revoked), Revoked::Dead);
    rig.reopen();

    assert_eq!(rig.store().live(rig.now()), 3);
    for (link, status) in
        [(&used, LinkStatus::Used), (&revoked, LinkStatus::Revoked), (&pending, LinkStatus::Pending)]
    {
        assert_eq!(rig.status(link), Some(status));
        assert_eq!(rig.get(&link.id, "portal").map(|link| link.status), Some(status));
    }
    assert!(!rig.admits(&used) && !rig.admits(&revoked));
    assert_eq!(rig.insert_with_key(&rig.link(), &key("portal", "used", 1)), Inserted::Ended);
    assert_eq!(rig.insert_with_key(&rig.link(), &key("portal", "pending", 3)), Inserted::OtherBody);
    let again = rig.link();
    let answer = rig.insert_with_key(&again, &key("portal", "pending", 2));
    assert_eq!(answer, Inserted::Again(pending.id.clone()));
    assert_eq!(rig.status(&pending), None);
    rig.reopen();
    assert_eq!(rig.get(&pending.id, "portal").map(|link| link.digest), Some(again.digest));
    assert_eq!(rig.revoke_user("alice", "portal"), 1);
    rig.reopen();
    assert!(!rig.admits(&again));
    assert!(rig.admits(&of_bob) && rig.admits(&of_shop));
    assert_eq!(rig.store().live(rig.now()), 0);
}

#[test]
fn sessions_that_were_ended_are_known_to_the_next_process_until_they_are_forgotten() {
    let mut rig = File::new(100);
    let heard = |rig: &File| {
        contract::wait(rig.store().ended_sessions().expect("it outlives its process")).expect("an answer")
    };
    let end = |rig: &File, ids: &[&str]| {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        contract::wait(rig.store().end_sessions(ids, Duration::from_mins(10))).expect("it is told");
    };
    assert_eq!(heard(&rig), Vec::<String>::new());
    end(&rig, &["hl1.1900000000.x.y", "0123456789abcdef0123456789abcdef"]);
    let both = ["0123456789abcdef0123456789abcdef", "hl1.1900000000.x.y"];
    assert_eq!(heard(&rig), both);
    rig.restart(5);
    assert_eq!(heard(&rig), both);
    rig.restart(594);
    assert_eq!(heard(&rig), both);
    rig.restart(1);
    assert_eq!(heard(&rig), Vec::<String>::new());
    end(&rig, &["another"]);
    assert_eq!(heard(&rig), ["another"]);
    assert!(rig.admits(&{
        let link = rig.link();
        rig.insert(&[&link]);
        link
    }));
}

#[test]
fn what_is_forgotten_leaves_nothing_in_the_file() {
    let mut rig = File::new(100);
    let links: Vec<Link> = (0..6).map(|_| rig.link()).collect();
    for (number, link) in links.iter().enumerate() {
        rig.insert_with_key(link, &key("portal", &format!("k{number}"), 1));
    }
    assert!(rig.admits(&links[0]) && rig.admits(&links[1]));
    rig.revoke(&links[2]);
    rig.insert_with_key(&rig.link(), &key("portal", "k3", 1));
    assert_eq!(rig.rows(), [6, 3]);
    rig.pass(Duration::from_secs(31) + RETENTION);
    let last = rig.link();
    rig.insert(&[&last]);
    assert_eq!(rig.rows(), [1, 0]);
    assert_eq!(rig.insert_with_key(&rig.link(), &key("portal", "k0", 2)), Inserted::New);
    assert!(rig.admits(&last));
    rig.reopen();
    assert!(!rig.admits(&last));
}

#[test]
fn many_sessions_leave_one_life_to_each_link() {
    let mut rig = File::new(1000);
    let mut pending: Vec<Link> = Vec::new();
    for session in 0..20 {
        for _ in 0..5 {
            let link = rig.link();
            rig.insert(&[&link]);
            pending.push(link);
        }
        let used = pending.remove(session % pending.len());
        assert!(rig.admits(&used), "session {session}");
        rig.reopen();
        assert!(!rig.admits(&used), "session {session}");
        assert_eq!(rig.store().live(rig.now()), pending.len(), "session {session}");
    }
    assert!(pending.iter().all(|link| rig.admits(link)));
}

#[test]
fn an_entry_that_is_damaged_or_missing_is_no_reason_to_forget_it() {
    // What was changed by somebody who knows how: the pages are whole.
    let damages: [fn(&mut Vec<u8>); 2] = [|bytes| bytes[20] ^= 1, |bytes| bytes.clear()];
    for (table, damage) in ENTRIES.iter().flat_map(|table| damages.map(|damage| (table, damage))) {
        let mut rig = File::new(10);
        let used = rig.link();
        rig.insert(&[&used]);
        assert!(rig.admits(&used));
        rig.close();
        let database = Database::open(rig.path()).expect("a database");
        let writer = database.begin_write().expect("writable");
        {
            let mut table = writer.open_table(*table).expect("the table");
            let (number, mut bytes) = {
                let (number, bytes) = table.first().expect("readable").expect("an entry");
                (number.value(), bytes.value().to_vec())
            };
            damage(&mut bytes);
            table.insert(number, bytes.as_slice()).expect("written");
        }
        writer.commit().expect("written");
        drop(database);
        assert!(matches!(rig.refusal(), FileError::Corrupt(_)));
    }
    // An end whose link is gone.
    let mut rig = File::new(10);
    let used = rig.link();
    rig.insert(&[&used]);
    assert!(rig.admits(&used));
    rig.close();
    let database = Database::open(rig.path()).expect("a database");
    let writer = database.begin_write().expect("writable");
    writer.open_table(ENTRIES[0]).expect("the table").pop_first().expect("written");
    writer.commit().expect("written");
    drop(database);
    assert!(matches!(rig.refusal(), FileError::Corrupt(_)));
}

#[test]
fn another_schema_is_refused_by_its_name() {
    let mut rig = File::new(10);
    rig.write_state(|state| state.replace("\"schema\":2", "\"schema\":3"));
    assert!(matches!(rig.refusal(), FileError::Newer { found: 3, .. }), "{}", rig.refusal());
    rig.write_state(|state| state.replace("\"schema\":3", "\"schema\":1"));
    assert!(matches!(rig.refusal(), FileError::Unreleased(1)), "{}", rig.refusal());
    rig.write_state(|_| "{\"schema\":3,\"epoch\":1}".to_owned());
    assert!(matches!(rig.refusal(), FileError::Newer { found: 3, .. }), "{}", rig.refusal());
}

#[test]
fn a_link_of_a_newer_hublatch_is_told_apart_from_a_damaged_one() {
    let mut rig = File::new(10);
    rig.insert(&[&rig.link()]);
    rig.close();
    let issued = rig.change_link(|link| link.to_owned());
    for newer in [
        issued.replace("\"v\":1", "\"v\":3"),
        issued.replace("\"v\":1", "\"v\":3,\"more\":true"),
        issued.replace("\"v\":1,\"username\"", "\"v\":3,\"user\""),
        issued.replace("\"session\"", "\"sessions\"").replace("\"v\":1", "\"v\":3"),
    ] {
        assert_ne!(newer, issued);
        rig.change_link(|_| newer.clone());
        let refusal = rig.refusal();
        assert!(matches!(refusal, FileError::NewerRecord(3)), "{newer}: {refusal}");
        let told = refusal.to_string();
        assert!(
            told.starts_with(
                "it was written by a newer hublatch (record version 3; this one reads up to 2); run that one"
            ),
            "{told}"
        );
    }
    rig.change_link(|_| issued.replace("\"v\":1", "\"v\":1,\"more\":true"));
    assert!(matches!(rig.refusal(), FileError::Corrupt(_)), "{}", rig.refusal());
    rig.change_link(|_| issued.clone());
    rig.open();
    assert_eq!(rig.store().live(rig.now()), 1, "nothing is lost");
}

#[test]
fn a_link_is_never_out_of_sight_while_it_is_issued_again() {
    let rig = File::new(1000);
    let (key, first) = (key("portal", "k1", 1), rig.link());
    rig.insert_with_key(&first, &key);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ending = Ending(&over);
        scope.spawn(|| {
            let mut reads = 0;
            while !over.load(Ordering::Acquire) || reads == 0 {
                assert!(rig.get(&first.id, "portal").is_some(), "read {reads}");
                reads += 1;
            }
        });
        for _ in 0..100 {
            assert_eq!(rig.insert_with_key(&rig.link(), &key), Inserted::Again(first.id.clone()));
        }
    });
}

/// Ends the reader, also when the test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
