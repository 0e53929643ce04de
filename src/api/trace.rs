//! What is told of every call, whatever came of it: a line in the access log, a count, and of a refusal a line in the audit.
//!
//! Never the path as it was sent, which can hold anything: the endpoint's own.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::endpoint::{ApiRoute, CallKind};
use super::response::CallRefusal;
use crate::audit::Client;
use crate::login::{Caller, Recorder};

/// What is learnt of a call on its way.
#[derive(Debug)]
pub(super) struct CallTrace {
    begun: Instant,
    route: OnceLock<&'static ApiRoute>,
    caller: OnceLock<CallerName>,
}

#[derive(Debug)]
struct CallerName {
    app: Arc<str>,
    /// By a key of the configuration. Owners of hub tokens are too many for a label.
    is_listed: bool,
}

impl CallTrace {
    /// That of a call that has just come.
    pub(super) fn begin() -> Self {
        Self { begun: Instant::now(), route: OnceLock::new(), caller: OnceLock::new() }
    }

    /// Which endpoint is called.
    pub(super) fn reach(&self, route: &'static ApiRoute) {
        _ = self.route.set(route);
    }

    /// Who calls.
    fn authenticated(&self, caller: &Caller) {
        let name = CallerName { app: Arc::clone(&caller.app.name), is_listed: caller.key.is_some() };
        _ = self.caller.set(name);
    }

    /// Tells of the call. `logged`: in the access log, too.
    pub(super) fn end(
        &self,
        recorder: &Recorder,
        method: &Method,
        (status, refusal): (StatusCode, Option<&CallRefusal>),
        client: Client<'_>,
        logged: bool,
    ) {
        let route = self.route.get();
        // What is called before its endpoint is known needs a key, for all that is known.
        let kind = route.map_or(CallKind::Keyed, |route| route.kind);
        let is_refused = status.is_client_error();
        if kind == CallKind::Probe && !is_refused {
            return;
        }
        let caller = self.caller.get();
        let app = caller.map(|caller| &*caller.app);
        let label = caller.map_or("", |caller| if caller.is_listed { &caller.app } else { "hub_token" });
        recorder.called(label, status.as_u16());
        if let Some(refusal) = refusal
            && is_refused
            && kind.audits(status)
        {
            recorder.call_refused(app, refusal.username.as_deref(), refusal.code, client);
        }
        if logged {
            tracing::info!(
                target: "hublatch::access",
                listener = "management",
                client_ip = client.address.map(tracing::field::display),
                method = method.as_str(),
                path = route.map_or("-", |route| route.path),
                status = status.as_u16(),
                micros = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX),
                request_id = client.request_id,
                app,
                code = refusal.map(|refusal| refusal.code),
                "request"
            );
        }
    }
}

/// Tells the trace of the call with `head` who calls.
pub(super) fn authenticated(head: &Parts, caller: &Caller) {
    if let Some(trace) = head.extensions.get::<Arc<CallTrace>>() {
        trace.authenticated(caller);
    }
}
