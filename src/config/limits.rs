//! `[limits]`: every bound on time, size and count, with its default, written here and nowhere else.

use std::time::Duration;

use super::file::ConfigFile;
use super::parse::{duration, size_within, some_duration};

/// The bounds in force. Each field is the key of the same name in `[limits]`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest request head, in bytes (request line and headers).
    pub head_bytes: usize,
    /// The most header lines in a request.
    pub head_count: usize,
    /// The most downstream connections at once, all public listeners together.
    pub connections: usize,
    /// The most of them from one address (IPv6: one network of 64 bits) that is no trusted proxy.
    pub connections_per_peer: usize,
    /// The most tunnels (WebSockets) at once.
    pub tunnels: usize,
    /// The most of them from one client.
    pub tunnels_per_client: usize,
    /// The most requests at once on an HTTP/2 connection.
    pub streams: u32,
    /// The most frames that are no part of a request, in ten seconds, on an HTTP/2 connection.
    pub control_frames: u32,
    /// What comes before the first request: the PROXY header and the TLS handshake, together.
    pub handshake_timeout: Duration,
    /// From the first byte of a request head to its last.
    pub head_timeout: Duration,
    /// Before the first request on a connection, and between two.
    pub idle_timeout: Duration,
    /// Between two reads of a request body.
    pub body_stall_timeout: Duration,
    /// The least bytes a second of a request body, on average, once `body_stall_timeout` has been waited for it; 0: none.
    pub body_min_rate: usize,
    /// From the head of a request to the end of its body, where hublatch holds the whole body.
    pub held_body_timeout: Duration,
    /// The bytes of request bodies that hublatch holds at once, in all; one client holds a quarter at most.
    pub held_bytes: usize,
    /// How long a peer may refuse to take the bytes of an answer.
    pub write_stall_timeout: Duration,
    /// A tunnel (WebSocket) without a byte either way.
    pub tunnel_idle_timeout: Duration,
    /// From SIGTERM to the end of what is still open.
    pub drain_timeout: Duration,
    /// Connecting to the hub.
    pub upstream_connect_timeout: Duration,
    /// From the end of a request to the head of the hub's answer.
    pub upstream_head_timeout: Duration,
    /// An unused connection to the hub; below the 5 s after which configurable-http-proxy closes it.
    pub upstream_idle_timeout: Duration,
    /// Unused connections to the hub, per thread.
    pub upstream_idle_connections: usize,
    /// Connections to the hub that are no tunnels, in all.
    pub upstream_connections: usize,
    /// Connections to one target of a route, tunnels among them.
    pub route_connections: usize,
    /// The most requests of one client that the hub is busy with at once.
    pub upstream_connections_per_client: usize,
    /// Requests that may wait for one of them.
    pub upstream_queue: usize,
    /// Interim answers (1xx) of the hub to one request.
    pub upstream_interim_answers: usize,
    /// Each request of our own to the hub during a login.
    pub login_hub_timeout: Duration,
    /// Each call of the Hub API, and each pause in what it streams.
    pub hub_api_timeout: Duration,
    /// The most calls of the Hub API at once; further ones wait within that time.
    pub hub_api_calls: usize,
    /// Unknown tokens a minute from one address, before it is told to wait; 0: never.
    pub unknown_tokens_per_minute: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 32 * 1024,
            head_count: 100,
            connections: 20_000,
            connections_per_peer: 4000,
            tunnels: 10_000,
            tunnels_per_client: 2500,
            streams: 100,
            control_frames: 1000,
            handshake_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_stall_timeout: Duration::from_secs(60),
            body_min_rate: 1024,
            held_body_timeout: Duration::from_secs(10),
            held_bytes: 64 * 1024 * 1024,
            write_stall_timeout: Duration::from_secs(60),
            tunnel_idle_timeout: Duration::from_hours(1),
            drain_timeout: Duration::from_secs(10),
            upstream_connect_timeout: Duration::from_secs(3),
            upstream_head_timeout: Duration::from_mins(5),
            upstream_idle_timeout: Duration::from_secs(4),
            upstream_idle_connections: 256,
            upstream_connections: 10_000,
            route_connections: 1000,
            upstream_connections_per_client: 400,
            upstream_queue: 1000,
            upstream_interim_answers: 64,
            login_hub_timeout: Duration::from_secs(10),
            hub_api_timeout: Duration::from_secs(20),
            hub_api_calls: 100,
            unknown_tokens_per_minute: 100,
        }
    }
}

/// hyper's smallest read buffer, and a head that no browser or hub needs.
const HEAD_BYTES: std::ops::RangeInclusive<usize> = 8 * 1024..=1024 * 1024;
/// One body of the largest kind for each of a few clients, and what fits into any machine.
const HELD_BYTES: std::ops::RangeInclusive<usize> = 1024 * 1024..=64 * 1024 * 1024 * 1024;
/// More than any kernel has descriptors for.
const COUNT_MAX: usize = 10_000_000;

impl Limits {
    /// How many descriptors may be open at once: one for each connection of a browser and to the hub, and some for all
    /// else.
    pub fn descriptors(&self) -> usize {
        let Self { connections, tunnels, upstream_connections, .. } = *self;
        connections.saturating_add(tunnels).saturating_add(upstream_connections).saturating_add(256)
    }

    /// `[limits]`.
    pub(super) fn read(file: &mut ConfigFile) -> Option<Self> {
        let Self {
            head_bytes,
            head_count,
            connections,
            connections_per_peer,
            tunnels,
            tunnels_per_client,
            streams,
            control_frames,
            handshake_timeout,
            head_timeout,
            idle_timeout,
            body_stall_timeout,
            body_min_rate,
            held_body_timeout,
            held_bytes,
            write_stall_timeout,
            tunnel_idle_timeout,
            drain_timeout,
            upstream_connect_timeout,
            upstream_head_timeout,
            upstream_idle_timeout,
            upstream_idle_connections,
            upstream_connections,
            route_connections,
            upstream_connections_per_client,
            upstream_queue,
            upstream_interim_answers,
            login_hub_timeout,
            hub_api_timeout,
            hub_api_calls,
            unknown_tokens_per_minute,
        } = Self::default();
        // All are read before one that is missing ends the function.
        let head_bytes = file.value("limits.head_bytes", head_bytes, size_within(HEAD_BYTES));
        let head_count = file.number("limits.head_count", head_count, 16..=10_000);
        let connections = file.number("limits.connections", connections, 1..=COUNT_MAX);
        let connections_per_peer =
            file.number("limits.connections_per_peer", connections_per_peer, 1..=COUNT_MAX);
        let tunnels = file.number("limits.tunnels", tunnels, 1..=COUNT_MAX);
        let tunnels_per_client = file.number("limits.tunnels_per_client", tunnels_per_client, 1..=COUNT_MAX);
        let streams = file.number("limits.streams", streams, 1..=10_000);
        let control_frames = file.number("limits.control_frames", control_frames, 100..=1_000_000);
        let handshake_timeout = file.value("limits.handshake_timeout", handshake_timeout, some_duration);
        let head_timeout = file.value("limits.head_timeout", head_timeout, some_duration);
        let idle_timeout = file.value("limits.idle_timeout", idle_timeout, some_duration);
        let body_stall_timeout = file.value("limits.body_stall_timeout", body_stall_timeout, some_duration);
        let body_min_rate = file.value("limits.body_min_rate", body_min_rate, size_within(0..=COUNT_MAX));
        let held_body_timeout = file.value("limits.held_body_timeout", held_body_timeout, some_duration);
        let held_bytes = file.value("limits.held_bytes", held_bytes, size_within(HELD_BYTES));
        let write_stall_timeout =
            file.value("limits.write_stall_timeout", write_stall_timeout, some_duration);
        let tunnel_idle_timeout =
            file.value("limits.tunnel_idle_timeout", tunnel_idle_timeout, some_duration);
        let drain_timeout = file.value("limits.drain_timeout", drain_timeout, duration);
        let upstream_connect_timeout =
            file.value("limits.upstream_connect_timeout", upstream_connect_timeout, some_duration);
        let upstream_head_timeout =
            file.value("limits.upstream_head_timeout", upstream_head_timeout, some_duration);
        let upstream_idle_timeout =
            file.value("limits.upstream_idle_timeout", upstream_idle_timeout, duration);
        let upstream_idle_connections =
            file.number("limits.upstream_idle_connections", upstream_idle_connections, 0..=COUNT_MAX);
        let upstream_connections =
            file.number("limits.upstream_connections", upstream_connections, 1..=COUNT_MAX);
        let route_connections = file.number("limits.route_connections", route_connections, 1..=COUNT_MAX);
        let upstream_connections_per_client = file.number(
            "limits.upstream_connections_per_client",
            upstream_connections_per_client,
            1..=COUNT_MAX,
        );
        let upstream_queue = file.number("limits.upstream_queue", upstream_queue, 0..=COUNT_MAX);
        let upstream_interim_answers =
            file.number("limits.upstream_interim_answers", upstream_interim_answers, 0..=COUNT_MAX);
        let login_hub_timeout = file.value("limits.login_hub_timeout", login_hub_timeout, some_duration);
        let hub_api_timeout = file.value("limits.hub_api_timeout", hub_api_timeout, some_duration);
        let hub_api_calls = file.number("limits.hub_api_calls", hub_api_calls, 1..=10_000);
        let unknown_tokens_per_minute =
            file.number("limits.unknown_tokens_per_minute", unknown_tokens_per_minute, 0..=COUNT_MAX);
        Some(Self {
            head_bytes: head_bytes?,
            head_count: head_count?,
            connections: connections?,
            connections_per_peer: connections_per_peer?,
            tunnels: tunnels?,
            tunnels_per_client: tunnels_per_client?,
            streams: streams?,
            control_frames: control_frames?,
            handshake_timeout: handshake_timeout?,
            head_timeout: head_timeout?,
            idle_timeout: idle_timeout?,
            body_stall_timeout: body_stall_timeout?,
            body_min_rate: body_min_rate?,
            held_body_timeout: held_body_timeout?,
            held_bytes: held_bytes?,
            write_stall_timeout: write_stall_timeout?,
            tunnel_idle_timeout: tunnel_idle_timeout?,
            drain_timeout: drain_timeout?,
            upstream_connect_timeout: upstream_connect_timeout?,
            upstream_head_timeout: upstream_head_timeout?,
            upstream_idle_timeout: upstream_idle_timeout?,
            upstream_idle_connections: upstream_idle_connections?,
            upstream_connections: upstream_connections?,
            route_connections: route_connections?,
            upstream_connections_per_client: upstream_connections_per_client?,
            upstream_queue: upstream_queue?,
            upstream_interim_answers: upstream_interim_answers?,
            login_hub_timeout: login_hub_timeout?,
            hub_api_timeout: hub_api_timeout?,
            hub_api_calls: hub_api_calls?,
            unknown_tokens_per_minute: unknown_tokens_per_minute?,
        })
    }
}
