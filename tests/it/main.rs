//! The in-process tests: one binary, a file a topic. No outside help, real sockets on port 0.

// Pedantry and the ban on unwrap are for code that runs unattended. A test that panics has done its work.
#![allow(clippy::pedantic, clippy::unwrap_used)]

mod api;
mod cli;
mod config_files;
mod double_click;
mod floors;
mod forwarding;
mod framing;
mod identity;
mod login_query;
mod next;
mod redeem;
mod support;
mod targets;
