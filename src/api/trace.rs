//! What is told of every call, whatever came of it: a line in the access log, a count, and of a refusal a line in the audit.
//!
//! Never the path as it was sent, which can hold anything: the endpoint's own.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hyper::{Method, StatusCode};

use super::routes::{ApiRoute, Endpoint};
use crate::audit::Client;
use crate::login::{Caller, Recorder};

/// What is learnt of a call on its way.
#[derive(Debug)]
pub(super) struct CallTrace {
    begun: Instant,
    route: OnceLock<&'static ApiRoute>,
    caller: OnceLock<CallerName>,
    refusal: OnceLock<CallRefusal>,
}

#[derive(Debug)]
struct CallerName {
    app: Arc<str>,
    /// By a key of the configuration. Owners of hub tokens are too many for a label.
    is_listed: bool,
}

#[derive(Debug)]
struct CallRefusal {
    code: &'static str,
    username: Option<String>,
}

impl CallTrace {
    /// That of a call that has just come.
    pub(super) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            route: OnceLock::new(),
            caller: OnceLock::new(),
            refusal: OnceLock::new(),
        }
    }

    /// Which endpoint is called.
    pub(super) fn reach(&self, route: &'static ApiRoute) {
        _ = self.route.set(route);
    }

    /// Who calls.
    pub(super) fn authenticated(&self, caller: &Caller) {
        let name = CallerName { app: Arc::clone(&caller.app.name), is_listed: caller.key.is_some() };
        _ = self.caller.set(name);
    }

    /// Why the call came to nothing; and about whom, if that is why.
    pub(super) fn fail(&self, code: &'static str, username: Option<&str>) {
        _ = self.refusal.set(CallRefusal { code, username: username.map(str::to_owned) });
    }

    /// Tells of the call. `logged`: in the access log, too.
    pub(super) fn end(
        &self,
        recorder: &Recorder,
        method: &Method,
        status: StatusCode,
        client: Client<'_>,
        logged: bool,
    ) {
        let route = self.route.get();
        let is_refused = status.is_client_error();
        // Probes and scrapers come every few seconds, and are nobody's call.
        if route.is_some_and(|route| matches!(route.endpoint, Endpoint::Status)) && !is_refused {
            return;
        }
        let (caller, refusal) = (self.caller.get(), self.refusal.get());
        let app = caller.map(|caller| &*caller.app);
        let label = caller.map_or("", |caller| if caller.is_listed { &caller.app } else { "hub_token" });
        recorder.called(label, status.as_u16());
        if let Some(refusal) = refusal
            && is_refused
            && is_of_interest(route.copied(), status)
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

/// Whether a refusal belongs into the audit: that of a call which needs a key. What is not there, or was done before, is an
/// answer; and the refusals of tokens are told where the tokens are judged.
fn is_of_interest(route: Option<&ApiRoute>, status: StatusCode) -> bool {
    let is_answer = matches!(
        status,
        StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::CONFLICT
            | StatusCode::REQUEST_TIMEOUT
    );
    let needs_key = route.is_none_or(|route| match route.endpoint {
        Endpoint::Issue
        | Endpoint::IssueBatch
        | Endpoint::ReadLink
        | Endpoint::Progress
        | Endpoint::RevokeLink
        | Endpoint::RevokeUser
        | Endpoint::EndSessions => true,
        Endpoint::OAuthToken | Endpoint::OAuthRevoke => status != StatusCode::BAD_REQUEST,
        Endpoint::BackchannelLogout
        | Endpoint::Verify
        | Endpoint::ForwardAuth
        | Endpoint::HubOAuthToken
        | Endpoint::HubOAuthUserinfo
        | Endpoint::HubOAuthJwks
        | Endpoint::HubOAuthDiscovery
        | Endpoint::Exchange
        | Endpoint::Info
        | Endpoint::OpenApi
        | Endpoint::Errors
        | Endpoint::Status => false,
    });
    needs_key && !is_answer
}
