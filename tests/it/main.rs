//! The in-process tests: one binary, a file a topic. No outside help, real sockets on port 0.

mod api;
mod cli;
mod config_files;
mod double_click;
mod floors;
mod forwarding;
mod framing;
mod identity;
mod login_query;
mod logout;
mod next;
mod redeem;
mod state;
mod support;
mod targets;
