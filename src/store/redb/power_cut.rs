//! Power cuts: a disk that forgets, at random, what was written since the last sync.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use redb::{Database, ReadableDatabase as _, StorageBackend};

use super::super::{Consumed, Inserted, Link, LinkStatus};
use super::file::{database, index, initialise};
use super::file_state::FileState;
use super::index::Index;
use super::link_record::Opening;
use super::read::{Lookup, find};
use super::tables::Tables;
use crate::clock::{Clock as _, ManualClock, Moment};
use crate::token::{LinkId, LoginGrant, OpaqueToken, Username};

/// Disks write sectors whole.
const SECTOR: usize = 512;

/// A disk whose power can be cut.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    /// What survives whatever happens.
    synced: Vec<u8>,
    /// What a reader sees.
    seen: Vec<u8>,
    /// What was done since the last sync.
    unsynced: Vec<DiskWrite>,
    /// Operations left until the power goes; none: it stays.
    left: Option<u32>,
}

#[derive(Debug)]
enum DiskWrite {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

fn apply(bytes: &mut Vec<u8>, change: &DiskWrite) {
    match change {
        DiskWrite::Length(length) => bytes.resize(*length, 0),
        DiskWrite::Bytes(offset, data) => {
            let end = offset + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*offset..end].copy_from_slice(data);
        }
    }
}

impl Disk {
    fn act<T>(&self, act: impl FnOnce(&mut Platter) -> T) -> io::Result<T> {
        let mut platter = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut platter.left {
            Some(0) => return Err(io::Error::other("the power is off")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(act(&mut platter))
    }

    fn change(&self, change: DiskWrite) -> io::Result<()> {
        self.act(|platter| {
            apply(&mut platter.seen, &change);
            platter.unsynced.push(change);
        })
    }

    fn cut_after(&self, operations: u32) {
        self.0.lock().expect("no panic").left = Some(operations);
    }

    /// The disk when the power is back: of what was not synced, some sectors are there and some are not.
    fn power_up(self, dice: &mut Dice) -> Self {
        let mut platter = self.0.lock().expect("no panic");
        let mut bytes = std::mem::take(&mut platter.synced);
        for change in &platter.unsynced {
            match change {
                // Of two lengths without a sync between, either may be there; a file never shrinks in these tests.
                DiskWrite::Length(length) if *length > bytes.len() && dice.roll(2) == 0 => {
                    bytes.resize(*length, 0);
                }
                DiskWrite::Length(_) => {}
                DiskWrite::Bytes(offset, data) => {
                    let mut at = *offset;
                    for sector in data.chunks(SECTOR) {
                        if dice.roll(2) == 0 {
                            apply(&mut bytes, &DiskWrite::Bytes(at, sector.to_vec()));
                        }
                        at += sector.len();
                    }
                }
            }
        }
        let (synced, seen) = (bytes.clone(), bytes);
        Self(Arc::new(Mutex::new(Platter { synced, seen, ..Platter::default() })))
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.act(|platter| platter.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).expect("a small disk");
        let read = self.act(|platter| {
            platter.seen.get(from..from + out.len()).map(|bytes| out.copy_from_slice(bytes))
        })?;
        read.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(DiskWrite::Length(usize::try_from(len).expect("a small disk")))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.act(|platter| {
            platter.synced = platter.seen.clone();
            platter.unsynced.clear();
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(DiskWrite::Bytes(usize::try_from(offset).expect("a small disk"), data.to_vec()))
    }
}

/// Numbers that look random and are the same in each run (xorshift64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % sides
    }
}

fn link(now: Moment) -> Link {
    let random = SystemRandom::new();
    let grant = LoginGrant::new(Username::from_store("alice").expect("a name"), "portal".into());
    Link {
        id: LinkId::generate(&random).expect("randomness"),
        digest: OpaqueToken::generate(&random).expect("randomness").digest(),
        grant,
        status: LinkStatus::Pending,
        issued: now,
        expires: now.plus(Duration::from_mins(5)),
        used_at: None,
        note: None,
    }
}

/// What the callers were told, and so what must hold.
#[derive(Default)]
struct PromisedLinks {
    issued: Vec<Link>,
    used: Vec<Link>,
    commits: u64,
}

/// One commit with a few links issued and a few consumed; an error is the power.
fn commit(
    database: &Database,
    index: &mut Index,
    state: &mut FileState,
    opening: &Opening,
    now: Moment,
    told: &mut PromisedLinks,
    dice: &mut Dice,
) -> Result<(), redb::Error> {
    let next = state.next(now.wall);
    let new: Vec<Link> = (0..=dice.roll(4)).map(|_| link(now)).collect();
    let mut consumed = Vec::new();
    let transaction = database.begin_write()?;
    let mut tables = Tables::open(&transaction, index, opening, 100_000)?;
    assert_eq!(tables.insert(new.clone(), None, now)?, Inserted::New);
    for _ in 0..dice.roll(4) {
        if told.issued.is_empty() {
            break;
        }
        let which = usize::try_from(dice.roll(told.issued.len() as u64)).expect("small");
        let link = told.issued.swap_remove(which);
        let granted = matches!(tables.consume(link.digest, now)?, Consumed::Granted(_));
        assert!(granted, "an acknowledged link is there");
        consumed.push(link);
    }
    drop(tables);
    next.write(&transaction)?;
    transaction.commit()?;
    // Only now is anybody told; a link whose consuming was not acknowledged may be either.
    told.issued.extend(new);
    told.used.extend(consumed);
    told.commits = next.commits;
    *state = next;
    Ok(())
}

#[test]
fn no_power_cut_brings_a_used_token_back_or_loses_an_acknowledged_link() {
    cut_power(40);
}

#[test]
#[ignore = "takes a minute"]
fn of_500_power_cuts_none_brings_a_used_token_back_or_loses_an_acknowledged_link() {
    cut_power(500);
}

fn cut_power(cuts: u64) {
    let clock = ManualClock::at("2026-03-01T12:00:00Z".parse().expect("a time"));
    let now = clock.now();
    let mut commits = 0;
    for cut in 0..cuts {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (cut + 1));
        let disk = Disk::default();
        let opened = database(disk.clone()).expect("an empty disk");
        let mut state = initialise(&opened, now.wall).expect("an empty disk");
        let opening = Opening::new(1, now, now.wall);
        let mut seen = index(&opened).expect("an empty disk");
        let mut told = PromisedLinks::default();
        disk.cut_after(u32::try_from(dice.roll(400)).expect("small"));
        while commit(&opened, &mut seen, &mut state, &opening, now, &mut told, &mut dice).is_ok() {}
        // Closing finds the power off.
        drop(opened);

        let opened = database(disk.power_up(&mut dice)).expect("the file is whole after every cut");
        let seen = FileState::read(&opened).expect("the state is whole");
        assert!(seen.commits >= told.commits, "cut {cut}: older than its marker");
        let opening = Opening::new(2, now, now.wall);
        let reader = opened.begin_read().expect("readable");
        let index = RwLock::new(index(&opened).expect("every entry is whole"));
        if told.commits > 0 {
            for link in &told.issued {
                let found = find(&reader, &index, &opening, link.digest, now).expect("readable");
                let Lookup::Link(found) = found else { panic!("cut {cut}: a link was lost") };
                assert_eq!(found.status, LinkStatus::Pending, "cut {cut}");
            }
        }
        drop(reader);
        let transaction = opened.begin_write().expect("writable");
        let mut index = index.into_inner().expect("no panic");
        let mut tables = Tables::open(&transaction, &mut index, &opening, 100_000).expect("tables");
        for link in &told.used {
            let again = tables.consume(link.digest, now).expect("readable");
            assert!(!matches!(again, Consumed::Granted(_)), "cut {cut}: a second login");
        }
        commits += told.commits;
    }
    assert!(commits > cuts, "the power stays on for some commits: {commits} in {cuts} cuts");
}
