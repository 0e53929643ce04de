//! The house of the in-process tests: a hublatch in this process, a hub that answers by script, a browser of raw bytes.
//!
//! Everything runs on threads and blocking sockets, so that a test says in order what happens. Every wait ends after
//! [`PATIENCE`]; nothing sleeps.

// A test topic uses what it needs; what only one of them needs is not dead.
#![allow(dead_code, unused_imports)]

pub mod browser;
pub mod faulty_store;
pub mod form;
pub mod gate;
pub mod hub;
pub mod hub_pages;
pub mod keys;
pub mod links;
pub mod message;
pub mod node;
pub mod process;
pub mod proxy;
pub mod requests;
pub mod rotation;
pub mod script;
pub mod servers;
pub mod tables;
pub mod wire;

use std::time::Duration;

pub use browser::{Browser, Sending};
pub use gate::Gate;
pub use hub::FakeHub;
pub use links::{Issued, Links};
pub use message::{Answer, Headers};
pub use process::Process;
pub use proxy::TestProxy;
pub use script::{Exchange, Seen, Then};
pub use servers::{HubServer, Is};
pub use wire::Wire;

/// The longest that any wait of a test may be. Nothing waits that long unless a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);
