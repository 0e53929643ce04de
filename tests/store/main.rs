//! The token stores against what they stand on: a real Redis, a real disk, a full machine.
//!
//! Each test is ignored unless asked for (`cargo test --test store -- --ignored`, as `make test` does): it needs
//! `redis-server` on the path, and fails without.

mod cluster;
mod contract;
mod disk;
mod failover;
mod fleet;
mod inspect;
mod measure;
mod reach;
mod redis;
mod sentinel;
mod server;
