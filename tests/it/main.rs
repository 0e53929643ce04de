//! The in-process tests: one binary, a file a topic. No outside help, real sockets on port 0.

mod config_files;
mod floors;
