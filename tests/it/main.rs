//! The in-process tests: one binary, a file a topic. No outside help, real sockets on port 0.

// Pedantry and the ban on unwrap are for code that runs unattended. A test that panics has done its work.
#![allow(clippy::pedantic, clippy::unwrap_used)]

mod api;
mod audit;
mod canary;
mod cli;
mod config_files;
mod confirm;
mod double_click;
mod drain;
mod embed;
mod exchange_url;
mod faults;
mod floors;
mod forwarding;
mod framing;
mod hub_api;
mod identity;
mod invariants;
mod jwt;
mod limits;
mod login_query;
mod logout;
mod next;
mod pages;
mod places;
mod proxy_protocol;
mod races;
mod redeem;
mod reload;
mod request_id;
mod restart;
mod state;
mod support;
mod switch;
mod targets;
mod tls;
mod token_store;
mod transparency;
mod upgrades;
mod upstream_failures;
mod used_links;
mod usernames;
mod without_token;
