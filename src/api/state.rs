//! What all endpoints share.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderMap;

use super::endpoints::Info;
use super::response::ApiResponse;
use crate::login::LoginServices;
use crate::login::hub_oauth::HubOAuth;
use crate::reloads::Reloads;
use crate::shutdown::Shutdown;

/// Answers `/health`, `/live`, `/ready` and `/metrics`: `status.rs` makes one. Passed in, because neither side knows the other.
pub type StatusPages =
    Arc<dyn Fn(&'static str, &HeaderMap) -> Pin<Box<dyn Future<Output = ApiResponse> + Send>> + Send + Sync>;

/// What all endpoints share: of one configuration, but for what `login` asks anew for each decision.
pub(super) struct ApiState {
    pub(super) login: Arc<LoginServices>,
    pub(super) status: StatusPages,
    pub(super) reloads: Arc<Reloads>,
    /// Of what must go on when its caller hangs up.
    pub(super) shutdown: Shutdown,
    pub(super) info: Info,
    /// The host of `public.url`, which may be ours as well.
    pub(super) public_host: String,
    /// No browser reaches a unix socket, so there the host says nothing.
    pub(super) on_unix_socket: bool,
    /// The longest that a body may take.
    pub(super) body_timeout: Duration,
}

impl ApiState {
    /// The provider of the hub's own OAuth login, with `[hub_oauth]`.
    pub(super) fn hub_oauth(&self) -> Option<Arc<HubOAuth>> {
        self.login.policy().hub_oauth.clone()
    }
}
