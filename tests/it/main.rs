//! The in-process tests: one binary, a file a topic. No outside help, real sockets on port 0.

mod api;
mod cli;
mod config_files;
mod floors;
mod forwarding;
mod identity;
mod support;
mod targets;
