//! The memory store's links, packed: a million live ones must fit into 300 MB.
//!
//! Links lie in slots; the indices hold slot numbers only and compare with what lies there. Knows nothing of locks,
//! and decides nothing: [`super::memory`] does.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher as _;
use std::sync::Arc;

use hashbrown::HashTable;

use super::packed::Packed;
use super::{IdempotencyKey, Link, LinkStatus, RETENTION};
use crate::clock::Moment;
use crate::token::{LinkId, TokenDigest, Username};

/// Room made at the start: no insertion waits while a table of this many links is moved.
const ROOM_AT_START: usize = 1 << 20;

/// Where a link lies. Slots are used again.
pub(super) type Slot = u32;

#[derive(Debug, Default)]
pub(super) struct Slab {
    slots: Vec<Option<Packed>>,
    free: Vec<Slot>,
    by_id: HashTable<Slot>,
    by_digest: HashTable<Slot>,
    repeats: HashMap<(Arc<str>, String), Repeat>,
    /// Links that no call has ended and whose expiry has not been noticed yet.
    live: usize,
    /// Second (monotonic) → links that expire in it or, later, may be forgotten in it. A slot may since have been
    /// given to another link: whoever looks asks the link.
    due: BTreeMap<u64, Vec<Slot>>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Repeat {
    body: [u8; 32],
    slot: Slot,
}

impl Slab {
    pub(super) fn for_links(max_tokens: usize) -> Self {
        let room = max_tokens.min(ROOM_AT_START);
        Self {
            slots: Vec::with_capacity(room),
            by_id: HashTable::with_capacity(room),
            by_digest: HashTable::with_capacity(room),
            ..Self::default()
        }
    }

    pub(super) fn live(&self) -> usize {
        self.live
    }

    pub(super) fn by_id(&self, id: &LinkId) -> Option<Slot> {
        let hash = self.hasher.hash_one(id.as_str().as_bytes());
        let same = |slot: &Slot| self.at(*slot).is_some_and(|kept| kept.id_bytes() == id.as_str().as_bytes());
        self.by_id.find(hash, same).copied()
    }

    pub(super) fn by_digest(&self, digest: &TokenDigest) -> Option<Slot> {
        let hash = self.hasher.hash_one(digest);
        let same = |slot: &Slot| self.at(*slot).is_some_and(|kept| kept.digest() == digest);
        self.by_digest.find(hash, same).copied()
    }

    /// The link of an idempotency key, and the digest of the body with which it came.
    pub(super) fn by_repeat(&self, key: &IdempotencyKey) -> Option<(Slot, [u8; 32])> {
        let found = self.repeats.get(&(key.app.clone(), key.key.clone()));
        found.map(|repeat| (repeat.slot, repeat.body))
    }

    pub(super) fn is_of(&self, slot: Slot, app: &str) -> bool {
        self.at(slot).is_some_and(|kept| kept.app() == app)
    }

    pub(super) fn status(&self, slot: Slot, now: Moment) -> Option<LinkStatus> {
        self.at(slot).map(|kept| kept.status(now))
    }

    /// Whether the stored status says pending: expiry is noticed later, by `purge`.
    pub(super) fn counts_as_live(&self, slot: Slot) -> bool {
        self.at(slot).is_some_and(Packed::counts_as_live)
    }

    /// A copy of the link with its status as of `now`.
    pub(super) fn read(&self, slot: Slot, now: Moment) -> Option<Link> {
        self.at(slot).and_then(|kept| kept.unpack(now))
    }

    pub(super) fn pending_of(&self, username: &Username, app: &str, now: Moment) -> Vec<Slot> {
        let theirs = |kept: &Packed| {
            kept.username() == username && kept.app() == app && kept.status(now) == LinkStatus::Pending
        };
        let slots = self.slots.iter().zip(0..).filter(|(kept, _)| kept.as_ref().is_some_and(theirs));
        slots.map(|(_, slot)| slot).collect()
    }

    pub(super) fn end(&mut self, slot: Slot, status: LinkStatus, now: Moment) {
        if let Some(kept) = self.slots.get_mut(slot as usize).and_then(Option::as_mut)
            && kept.counts_as_live()
        {
            kept.end(status, (status == LinkStatus::Used).then_some(now.wall));
            self.live -= 1;
        }
    }

    pub(super) fn add(&mut self, link: Link, key: Option<&IdempotencyKey>) {
        let expiry = seconds(link.expires) + 1;
        let kept = Packed::pack(link, key);
        let hashes = (self.hasher.hash_one(kept.id_bytes()), self.hasher.hash_one(kept.digest()));
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            // config refuses a max_tokens of which twice as many would not be counted by 32 bits.
            Slot::try_from(self.slots.len() - 1).unwrap_or(Slot::MAX)
        });
        if let Some(key) = key {
            let repeat = Repeat { body: key.body, slot };
            self.repeats.insert((key.app.clone(), key.key.clone()), repeat);
        }
        self.slots[slot as usize] = Some(kept);
        let Self { slots, by_id, by_digest, hasher, .. } = self;
        let at = |slot: Slot| slots[slot as usize].as_ref();
        by_id.insert_unique(hashes.0, slot, |slot| {
            at(*slot).map_or(0, |kept| hasher.hash_one(kept.id_bytes()))
        });
        by_digest
            .insert_unique(hashes.1, slot, |slot| at(*slot).map_or(0, |kept| hasher.hash_one(kept.digest())));
        self.due.entry(expiry).or_default().push(slot);
        self.live += 1;
    }

    /// Notices expiries and forgets what has been readable long enough. Each link is visited twice in its life.
    pub(super) fn purge(&mut self, now: Moment) {
        while let Some(bucket) = self.due.first_entry().filter(|bucket| *bucket.key() <= seconds(now)) {
            for slot in bucket.remove() {
                let Some(kept) = self.slots[slot as usize].as_mut() else { continue };
                let expiry = kept.expires().monotonic;
                if now.monotonic < expiry {
                    // The slot was given to a younger link, which has an entry of its own.
                    continue;
                }
                if kept.counts_as_live() {
                    kept.end(LinkStatus::Expired, None);
                    self.live -= 1;
                }
                if now.monotonic >= expiry.saturating_add(RETENTION) {
                    self.forget(slot);
                } else {
                    let removal = expiry.saturating_add(RETENTION).as_secs() + 1;
                    self.due.entry(removal).or_default().push(slot);
                }
            }
        }
    }

    /// Bounds the records of ended links by `max_tokens` too: the oldest go first, a live one never.
    pub(super) fn forget_ended(&mut self, coming: usize, max_tokens: usize) {
        let records = self.slots.len() - self.free.len();
        if records + coming <= max_tokens.saturating_mul(2) {
            return;
        }
        // Half of them at once, so that the walk is paid by many insertions.
        let mut surplus = (records - self.live).saturating_sub(max_tokens / 2);
        let mut gone = Vec::new();
        for slots in self.due.values_mut() {
            slots.retain(|slot| {
                let ended = self.slots[*slot as usize].as_ref().is_some_and(|kept| !kept.counts_as_live());
                let forget = ended && surplus > 0;
                if forget {
                    surplus -= 1;
                    gone.push(*slot);
                }
                !forget
            });
            if surplus == 0 {
                break;
            }
        }
        for slot in gone {
            self.forget(slot);
        }
    }

    /// Drops the record; answers whose it was.
    pub(super) fn forget(&mut self, slot: Slot) -> Option<LinkId> {
        let kept = self.slots.get_mut(slot as usize).and_then(Option::take)?;
        self.free.push(slot);
        self.live -= usize::from(kept.counts_as_live());
        let by_id = self.by_id.find_entry(self.hasher.hash_one(kept.id_bytes()), |found| *found == slot);
        if let Ok(entry) = by_id {
            entry.remove();
        }
        let by_digest =
            self.by_digest.find_entry(self.hasher.hash_one(kept.digest()), |found| *found == slot);
        if let Ok(entry) = by_digest {
            entry.remove();
        }
        if let Some(key) = kept.repeat_key() {
            self.repeats.remove(&key);
        }
        kept.id()
    }

    fn at(&self, slot: Slot) -> Option<&Packed> {
        self.slots.get(slot as usize).and_then(Option::as_ref)
    }
}

fn seconds(moment: Moment) -> u64 {
    moment.monotonic.as_secs()
}
