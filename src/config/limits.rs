//! `[limits]`: every bound on time, size and count, with its default, written here and nowhere else.

use std::time::Duration;

/// The bounds in force. Each field is the key of the same name in `[limits]`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest request head, in bytes (request line and headers).
    pub head_bytes: usize,
    /// The most header lines in a request.
    pub head_count: usize,
    /// The most downstream connections at once, all public listeners together.
    pub connections: usize,
    /// From the first byte of a request head to its last.
    pub head_timeout: Duration,
    /// Between two requests on a connection.
    pub idle_timeout: Duration,
    /// Between two reads of a request body.
    pub body_stall_timeout: Duration,
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
    /// Each request of our own to the hub during a login.
    pub login_hub_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 32 * 1024,
            head_count: 100,
            connections: 20_000,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_stall_timeout: Duration::from_secs(30),
            write_stall_timeout: Duration::from_secs(30),
            tunnel_idle_timeout: Duration::from_secs(3600),
            drain_timeout: Duration::from_secs(10),
            upstream_connect_timeout: Duration::from_secs(3),
            upstream_head_timeout: Duration::from_secs(300),
            upstream_idle_timeout: Duration::from_secs(4),
            upstream_idle_connections: 256,
            login_hub_timeout: Duration::from_secs(10),
        }
    }
}
