//! The management API in process (T-MGMT of tests/README.md).
//!
//! Every answer in here is also held against `openapi.yaml`: its status must be documented, its body must fit the schema.

// A helper that cannot set up its test may panic like the test itself.
#![allow(clippy::unwrap_used)]

mod batch;
pub mod broken_store;
mod call;
pub mod client;
mod document;
mod exchange;
mod fields;
mod forward_auth;
mod hub_oauth;
mod hub_tokens;
mod idempotency;
mod links;
mod oauth;
mod openapi;
mod refusals;
mod status;
mod trace;
