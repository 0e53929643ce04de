//! At most one login per token, whatever crashes: real `hublatch` processes under racers and `kill -9`, and a checker
//! that reads the whole history. `make race` runs the long form, `make test` a short one.
//!
//! What needs processes is ignored unless asked for (`cargo test --test race -- --ignored`). RACE_TOKENS sets how many
//! tokens each store has to stand, HUBLATCH_BIN which binary is meant.

#![allow(clippy::pedantic, clippy::unwrap_used)]

mod checker;
mod client;
mod crash;
mod history;
mod hub;
mod node;
mod race;
// The same real Redis as in the tests of the stores.
#[allow(dead_code, reason = "the tests of the stores ask more of it")]
#[path = "../store/server.rs"]
mod server;
