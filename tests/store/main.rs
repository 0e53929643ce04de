//! The token stores against what they stand on: a real Redis, a real disk, a full machine.
//!
//! Each test is ignored unless asked for (`cargo test --test store -- --ignored`, as `make test` does): it needs
//! `redis-server` on the path, and fails without.

// As in the in-process tests.
#![allow(clippy::pedantic, clippy::unwrap_used)]

mod cluster;
mod contract;
mod disk;
mod earlier;
mod failover;
mod fleet;
mod hub_oauth;
mod inspect;
mod loading;
mod measure;
mod reach;
mod ready;
mod redis;
mod replicas;
mod rotate;
mod routes;
mod sentinel;
mod server;
#[path = "../it/jwt/signer.rs"]
#[allow(dead_code, reason = "it can do more than these tests need")]
mod signer;
#[path = "../it/support/mod.rs"]
mod support;
