//! The contract of every token store, for those that need nothing else; and what holds for each of them alone.

#[path = "../store/contract/mod.rs"]
pub mod contract;

mod memory;
mod redb;
