//! A service that can be replaced while its connections stay open: each request is answered by the one in force.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hyper::body::Incoming;
use hyper::{Request, Response};

use super::{ConnectionInfo, Service};

/// The service in force.
pub struct Reloadable<S>(Arc<ArcSwap<S>>);

impl<S> Reloadable<S> {
    /// `service`, until it is replaced.
    pub fn new(service: S) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(service)))
    }

    /// Answers the requests to come by `service`; those under way are answered by the one that they came to.
    pub fn replace(&self, service: S) {
        self.0.store(Arc::new(service));
    }
}

impl<S> Clone for Reloadable<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: fmt::Debug> fmt::Debug for Reloadable<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reloadable").field(&self.0.load()).finish()
    }
}

impl<S: Service> Service for Reloadable<S> {
    type Body = S::Body;

    async fn call(
        &self,
        connection: Arc<ConnectionInfo>,
        request: Box<Request<Incoming>>,
    ) -> Response<S::Body> {
        let service = self.0.load_full();
        service.call(connection, request).await
    }
}
