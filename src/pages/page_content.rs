//! What each page says: its status, its code, its sign and which of the words.

use hyper::StatusCode;

use super::catalog::{Catalog, Message};
use super::page::{Page, Refused, Start};

/// The sign at the head of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Icon {
    /// Something to agree to.
    Person,
    /// A link or a request that is not honoured.
    BrokenLink,
    /// Something to wait for.
    Clock,
    /// A server that starts.
    Start,
}

/// What a page says, apart from the names in it.
pub(super) struct PageContent<'a> {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) sign: Icon,
    pub(super) said: &'static Message,
    /// The developer's sentence, if there is one.
    pub(super) detail: Option<&'a str>,
    /// Whether asking for the same address again is the thing to do.
    pub(super) retry: bool,
}

/// The sentences of the confirm page hold names and stand elsewhere; these are for the JSON answer.
const CONFIRM: Message = Message {
    title: "Please confirm",
    what: "Open this link in a browser and press the button to log in.",
    advice: "",
};

impl Page<'_> {
    pub(super) fn notice(&self, words: &'static Catalog) -> PageContent<'_> {
        match self {
            Self::Refused(reason) => reason.notice(words),
            Self::NoToken => refusal("link_required", &words.link_required),
            Self::Confirm { .. } => PageContent {
                status: StatusCode::OK,
                sign: Icon::Person,
                ..refusal("confirmation_required", &CONFIRM)
            },
            Self::HubDown => delay("hub_unavailable", &words.hub_unavailable),
            Self::StoreDown => delay("store_unavailable", &words.store_unavailable),
            Self::LogoutFailed => delay("logout_failed", &words.logout_failed),
            Self::LoginFailed => delay("login_failed", &words.login_failed),
            Self::BadGateway => PageContent {
                status: StatusCode::BAD_GATEWAY,
                retry: true,
                ..delay("bad_gateway", &words.bad_gateway)
            },
            Self::GatewayTimeout => PageContent {
                status: StatusCode::GATEWAY_TIMEOUT,
                retry: true,
                ..delay("gateway_timeout", &words.gateway_timeout)
            },
            Self::Server { start, .. } => start.notice(words),
            Self::NotWaiting => refusal("not_waiting", &words.not_waiting),
            Self::LoginRefused => refusal("login_refused", &words.login_refused),
            Self::LoggedOut => {
                PageContent { status: StatusCode::OK, ..refusal("logged_out", &words.logged_out) }
            }
            Self::ServerNotRunning => PageContent {
                status: StatusCode::NOT_FOUND,
                ..delay("server_not_running", &words.server_not_running)
            },
            Self::NotFound => PageContent {
                status: StatusCode::NOT_FOUND,
                ..refusal("page_not_found", &words.page_not_found)
            },
            Self::TooManyTries => PageContent {
                status: StatusCode::TOO_MANY_REQUESTS,
                ..delay("too_many_tries", &words.too_many_tries)
            },
            Self::Unavailable => delay("unavailable", &words.unavailable),
            Self::Rejected { status, code, message } => PageContent {
                status: *status,
                detail: Some(words.rejection(code).unwrap_or(message)),
                ..refusal(code, &words.rejected)
            },
        }
    }
}

impl<'a> Start<'a> {
    fn notice(self, words: &'static Catalog) -> PageContent<'a> {
        let (status, code, said, message) = match self {
            Self::Starting { .. } => {
                let said = &words.server_starting;
                return PageContent {
                    status: StatusCode::OK,
                    sign: Icon::Start,
                    ..delay("server_starting", said)
                };
            }
            Self::Failed { message } => {
                (StatusCode::BAD_GATEWAY, "server_failed", &words.server_failed, message)
            }
            Self::Stopped => (StatusCode::CONFLICT, "server_stopped", &words.server_stopped, ""),
            Self::Full { message } => {
                (StatusCode::TOO_MANY_REQUESTS, "server_limit", &words.server_limit, message)
            }
            Self::Refused { message } => {
                (StatusCode::FORBIDDEN, "server_refused", &words.server_refused, message)
            }
        };
        PageContent {
            status,
            detail: Some(message).filter(|message| !message.is_empty()),
            ..delay(code, said)
        }
    }
}

impl Refused {
    fn notice(self, words: &'static Catalog) -> PageContent<'static> {
        match self {
            Self::Unknown => refusal("link_unknown", &words.link_unknown),
            Self::Expired => refusal("link_expired", &words.link_expired),
            Self::Used => refusal("link_used", &words.link_used),
            Self::Revoked => refusal("link_revoked", &words.link_revoked),
            Self::NotAllowed => refusal("link_not_allowed", &words.link_not_allowed),
            Self::Bound => refusal("link_bound", &words.link_bound),
            Self::NeedsState => refusal("link_needs_state", &words.link_needs_state),
        }
    }
}

/// 403: coming in by this link does not work.
fn refusal(code: &'static str, said: &'static Message) -> PageContent<'static> {
    PageContent {
        status: StatusCode::FORBIDDEN,
        code,
        sign: Icon::BrokenLink,
        said,
        detail: None,
        retry: false,
    }
}

/// 503: not now.
fn delay(code: &'static str, said: &'static Message) -> PageContent<'static> {
    PageContent {
        status: StatusCode::SERVICE_UNAVAILABLE,
        code,
        sign: Icon::Clock,
        said,
        detail: None,
        retry: false,
    }
}
