//! TLS and HTTP/2: the same service as in the clear, to browsers, to apps, and towards the hub.

mod bodies;
pub mod certificates;
mod frames;
mod handshakes;
pub mod http2;
mod limits;
mod management;
pub mod pump;
mod queue;
mod requests;
mod upstream;

use std::sync::Arc;

use rustls::ClientConfig;

use crate::support::proxy::Builder;
use crate::support::{FakeHub, TestProxy, Wire};
use certificates::Authority;
use http2::Http2;

const H2: &[&str] = &["h2", "http/1.1"];
pub const H1: &[&str] = &["http/1.1"];

/// A hublatch that speaks TLS, and the authority of its certificate.
struct Secure {
    authority: Authority,
    proxy: TestProxy,
}

impl Secure {
    fn start(hub: &FakeHub) -> Self {
        Self::with(hub, |builder| builder)
    }

    fn with(hub: &FakeHub, change: impl FnOnce(Builder) -> Builder) -> Self {
        Self::of(TestProxy::before(hub), change)
    }

    fn of(builder: Builder, change: impl FnOnce(Builder) -> Builder) -> Self {
        let authority = Authority::new("public");
        let builder = builder.public_url("https://hub.test").set("public", &authority.files().toml());
        Self { proxy: change(builder).start(), authority }
    }

    fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        self.authority.client(alpn, None)
    }

    fn http1(&self) -> Wire {
        pump::http1(self.proxy.address(), &self.client(H1))
    }

    fn http2(&self) -> Http2 {
        Http2::connect(self.proxy.address(), &self.client(H2))
    }
}

/// Bytes of which no part is like another.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}
