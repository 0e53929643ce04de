//! Upgraded connections and event streams: what stays open after its request has been answered.
//!
//! Every tunnel is registered under the session ids of its browser, so that a session that ends takes its tunnels along.

pub(super) mod copy;
pub(super) mod event_stream;
pub(super) mod registry;
