//! The way to the hub itself, as a proof: an identity is sent over a [`HubConnection`], and a connection to a notebook is
//! of another type.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::{PooledConnection, ResponseBody, Share, Upstream, UpstreamError};
use crate::body::RequestBody;

/// The hub, and nobody else: there is one only where the table names it, or in front of its own proxy.
#[derive(Debug)]
pub struct HubRoute(Arc<Upstream>);

/// A connection to the hub. Only a [`HubRoute`] makes one.
#[derive(Debug)]
pub struct HubConnection(PooledConnection);

impl HubRoute {
    /// To be called where it is known that `pool` is the hub's: by `Upstreams::hub` alone.
    pub(super) fn new(pool: Arc<Upstream>) -> Self {
        Self(pool)
    }

    /// An unused connection, or else a new one.
    pub async fn lease(self) -> Result<HubConnection, UpstreamError> {
        self.0.lease().await.map(HubConnection)
    }

    /// A new connection.
    pub async fn connect(self) -> Result<HubConnection, UpstreamError> {
        self.0.connect().await.map(HubConnection)
    }

    /// Sends `request`; its connection goes back to the pool by itself.
    pub async fn send(
        self,
        request: Box<Request<RequestBody>>,
        share: Share,
    ) -> Result<Response<ResponseBody>, UpstreamError> {
        self.0.send(request, Some(share), None).await
    }

    /// Its connections, for a request without an identity.
    pub fn into_pool(self) -> Arc<Upstream> {
        self.0
    }
}

impl HubConnection {
    /// Gives the connection back; the response of its last exchange has been read to the end.
    pub fn release(self) {
        self.0.release();
    }

    /// Ties the connection to the body of its response.
    pub fn release_with(self, answer: Response<Incoming>) -> Response<ResponseBody> {
        self.0.release_with(answer)
    }
}

impl Deref for HubConnection {
    type Target = PooledConnection;

    fn deref(&self) -> &PooledConnection {
        &self.0
    }
}

impl DerefMut for HubConnection {
    fn deref_mut(&mut self) -> &mut PooledConnection {
        &mut self.0
    }
}
