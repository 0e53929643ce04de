//! The memory store.

use std::time::Duration;

use hublatch::clock::{Clock as _, ManualClock, Moment};
use hublatch::store::{MemoryStore, TokenStore};

use super::contract::{self, Clocked, Rig, contract, contract_of_clocks};

/// A memory store and clocks that stand still until they are told to move.
struct Memory {
    store: MemoryStore,
    clock: ManualClock,
}

impl Rig for Memory {
    fn new(max_tokens: usize) -> Self {
        let clock = ManualClock::at("2026-03-01T12:00:00.123456789Z".parse().expect("a time"));
        Self { store: MemoryStore::new(max_tokens), clock }
    }

    fn store(&self) -> &dyn TokenStore {
        &self.store
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

impl Clocked for Memory {
    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

contract!(keeps_the_contract, Memory);
contract_of_clocks!(obeys_two_clocks, Memory);
