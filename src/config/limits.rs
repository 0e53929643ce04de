//! `[limits]`: every bound on time, size and count.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::file::ConfigFile;
use super::kind::{duration, number, size, text};
use super::parse::{DURATION, SOME_DURATION};
use super::section::Section as _;
use super::table::section;

/// hyper's smallest read buffer, and a head that no browser or hub needs.
const HEAD_BYTES: RangeInclusive<usize> = 8 * 1024..=1024 * 1024;
/// One body of the largest kind for each of a few clients, and what fits into any machine.
const HELD_BYTES: RangeInclusive<usize> = 1024 * 1024..=64 * 1024 * 1024 * 1024;
/// More than any kernel has descriptors for.
const COUNT_MAX: usize = 10_000_000;

section! {
    /// Bounds on time, size and number. The defaults are right for a hub of some thousand users.
    #[derive(Debug, Clone)]
    pub struct Limits {
        /// The largest head of a request: its first line and all headers, from "8KiB" to "1MiB".
        head_bytes: usize, size(HEAD_BYTES), default "32KiB";
        /// The most headers in a request, from 16.
        head_count: usize, number(16..=10_000), default 100;
        /// The most connections from browsers at once. hublatch raises its limit of open files as far as it may (LimitNOFILE);
        /// when 90 % of that are in use it accepts no more until some end, so that the hub, the store and the management listener
        /// find what they need. One that is idle takes about 16 KiB; one whose browser is slow to read a large answer up to 0.9
        /// MiB, for as long as it takes something of it within each write_stall_timeout. There is no least speed;
        /// connections_per_peer bounds how many of them one address has.
        connections: usize, number(1..=COUNT_MAX), default 20000;
        /// The most of them from one address (of IPv6, one network of 64 bits), unless it is one of public.trusted_proxies: a
        /// whole campus may share an address.
        connections_per_peer: usize, number(1..=COUNT_MAX), default 4000;
        /// The most WebSockets at once; above it a new one is answered 503.
        tunnels: usize, number(1..=COUNT_MAX), default 10000;
        /// The most of them from one client: an address (of IPv6, one network of 64 bits), behind public.trusted_proxies the one
        /// that they name. A class may share an address.
        tunnels_per_client: usize, number(1..=COUNT_MAX), default 2500;
        /// The most requests at once on one HTTP/2 connection.
        streams: u32, number(1..=10_000), default 100;
        /// The most frames in ten seconds that are no part of a request (PING, SETTINGS, RST_STREAM, …), from 100: an HTTP/2
        /// connection with more is closed.
        control_frames: u32, number(100..=1_000_000), default 1000;
        /// What comes before the first request of a connection: the header of the PROXY protocol and the TLS handshake, together.
        handshake_timeout: Duration, duration(SOME_DURATION), default "5s";
        /// From the first byte of a request's head to the last.
        head_timeout: Duration, duration(SOME_DURATION), default "10s";
        /// Before the first request on a connection, and between two.
        idle_timeout: Duration, duration(SOME_DURATION), default "75s";
        /// Between two pieces of a request's body.
        body_stall_timeout: Duration, duration(SOME_DURATION), default "60s";
        /// The least bytes a second of a request's body, on average, once hublatch has waited body_stall_timeout for it: a body
        /// that drips is answered 408. What the hub itself waits does not count. 0: no limit.
        body_min_rate: usize, size(0..=COUNT_MAX), default "1KiB";
        /// From the head of a request to the end of its body, where hublatch holds the whole body: login forms, and DELETE or
        /// OPTIONS without a length.
        held_body_timeout: Duration, duration(SOME_DURATION), default "10s";
        /// The bytes of bodies that hublatch holds at once: of these, and of all others until their first 64 KiB have come and the
        /// hub is asked. One client holds a quarter of it at most; above that it is answered 503.
        held_bytes: usize, size(HELD_BYTES), default "64MiB";
        /// How long a browser may take nothing more of an answer. Whatever it takes begins the time anew.
        write_stall_timeout: Duration, duration(SOME_DURATION), default "60s";
        /// A WebSocket without a byte in either direction.
        tunnel_idle_timeout: Duration, duration(SOME_DURATION), default "1h";
        /// From SIGTERM to the end of all that is still open; "0s" ends it at once.
        drain_timeout: Duration, duration(DURATION), default "10s";
        /// Connecting to the hub.
        upstream_connect_timeout: Duration, duration(SOME_DURATION), default "3s";
        /// From the end of a request to the head of the hub's answer. Slow handlers of notebook extensions need minutes.
        upstream_head_timeout: Duration, duration(SOME_DURATION), default "5m";
        /// How long an unused connection to the hub is kept. Below the 5 s after which configurable-http-proxy closes it.
        upstream_idle_timeout: Duration, duration(DURATION), default "4s";
        /// The most unused connections to the hub, for each thread; 0 keeps none.
        upstream_idle_connections: usize, number(0..=COUNT_MAX), default 256;
        /// The most connections to the hub that are no WebSockets, in all.
        upstream_connections: usize, number(1..=COUNT_MAX), default 10000;
        /// With [routes]: the most of them, tunnels among them, to one server; others are answered 503.
        /// Logins may use a fifth more than this (1,200 by default).
        route_connections: usize, number(1..=COUNT_MAX), default 1000;
        /// With [routes]: the most WebSockets to one server; above it a new one is answered 503. Fewer than route_connections,
        /// so that they leave room for other requests. Of a service, or a server that many share, all its users count.
        route_tunnels: usize, number(1..=COUNT_MAX), default 500;
        /// The most requests of one client (see tunnels_per_client) that the hub is busy with at once: fewer than the files that a
        /// hub may open, which is 1,024 on many systems. Further ones wait for upstream_connect_timeout, then they are answered
        /// 503. Logins may use a fifth more than this, and have a twentieth of all connections to themselves.
        upstream_connections_per_client: usize, number(1..=COUNT_MAX), default 400;
        /// The most requests that wait for one of upstream_connections, and the most of one client that wait for one of its own,
        /// each for upstream_connect_timeout at most; others are answered 503.
        upstream_queue: usize, number(0..=COUNT_MAX), default 1000;
        /// The most interim answers (1xx) of the hub to one request; with one more, the browser is answered 502 and the
        /// connection to the hub is closed.
        upstream_interim_answers: usize, number(0..=COUNT_MAX), default 64;
        /// The most logins under way at the hub at once; others wait in line, with their links kept, and are shown their place
        /// after two seconds. "auto": as many as the hub's own response times allow, from 2 to 64. Or a number: "8". Of several
        /// hublatch each counts for itself.
        logins_at_once: LoginsAtOnce, text(at_once), default "auto";
        /// Each question that hublatch itself puts to the hub during a login, and the login itself; in place of
        /// upstream_head_timeout.
        login_hub_timeout: Duration, duration(SOME_DURATION), default "60s";
        /// Each call of the Hub API, and each pause in what it streams. Starting a server takes the hub up to 10 s to answer
        /// (c.Spawner.slow_spawn_timeout).
        hub_api_timeout: Duration, duration(SOME_DURATION), default "20s";
        /// The most calls of the Hub API at once; further ones wait, and their wait counts. While starts wait for room, as many
        /// that were accepted are followed to their end.
        hub_api_calls: usize, number(1..=10_000), default 100;
        /// How long a start of a server waits while the hub starts none for want of room: too many at once
        /// (c.JupyterHub.concurrent_spawn_limit) or in all (active_server_limit). It waits in line, is tried again as the hub
        /// allows, and its browser is shown its place. While others are started, the wait goes on. After it, or with "0s" at
        /// once, the hub's refusal is shown.
        launch_queue_timeout: Duration, duration(DURATION), default "10m";
        /// Unknown tokens from one address within a minute, above which it is told to wait (429) and no app is asked to exchange
        /// its tokens. Good links work on. Of several hublatch each counts for itself. 0: no limit.
        unknown_tokens_per_minute: usize, number(0..=COUNT_MAX), default 100;
    }
}

/// How many logins may be under way at the hub at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginsAtOnce {
    /// As many as the hub's own response times allow.
    Auto,
    /// So many.
    Fixed(usize),
}

/// `"auto"`, or a number.
fn at_once(text: &str) -> Result<LoginsAtOnce, String> {
    match text.parse() {
        _ if text == "auto" => Ok(LoginsAtOnce::Auto),
        Ok(at_once @ 1..=10_000) => Ok(LoginsAtOnce::Fixed(at_once)),
        Ok(_) | Err(_) => Err("is not \"auto\" or a number from 1 to 10000, for example \"8\"".to_owned()),
    }
}

/// What an empty file says. Each default is read as it is written in the manual, which is slow: not to be called for each
/// connection or request.
impl Default for Limits {
    fn default() -> Self {
        Self::read(&mut ConfigFile::empty(Path::new("")), "limits")
    }
}

impl Limits {
    /// How many descriptors may be open at once: one for each connection of a browser and to the hub, and some for all
    /// else.
    pub fn descriptors(&self) -> usize {
        let Self { connections, tunnels, upstream_connections, .. } = *self;
        connections.saturating_add(tunnels).saturating_add(upstream_connections).saturating_add(256)
    }
}
