//! What each page says: its status, its code, its icon and which of the words.

use std::borrow::Cow;

use hyper::StatusCode;

use super::catalog::{Catalog, Message};
use super::page::{LinkRefusal, Page, Start};

/// The picture at the head of a page.
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
    /// A server that has not started.
    Failed,
    /// A server that has stopped.
    Stopped,
    /// A session that has ended.
    LoggedOut,
}

/// What a page says, apart from the names in it.
pub(super) struct PageContent<'a> {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) icon: Icon,
    pub(super) message: &'static Message,
    /// The developer's sentence, if there is one.
    pub(super) detail: Option<&'a str>,
    /// Whether asking for the same address again is the thing to do.
    pub(super) retry: bool,
    /// Whether the address of the notebooks is the thing to open.
    pub(super) opens_notebooks: bool,
    /// Whether the page is about a fault, and tells its code to whoever helps.
    pub(super) is_error: bool,
}

/// The sentences of the confirm page hold names and stand elsewhere; these are for the JSON response.
static CONFIRM: Message = Message {
    title: Cow::Borrowed("Please confirm"),
    what: Cow::Borrowed("Open this link in a browser and press the button to log in."),
    advice: Cow::Borrowed(""),
};

impl Icon {
    /// Its name in templates and in the style.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::BrokenLink => "link",
            Self::Clock => "clock",
            Self::Start => "start",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::LoggedOut => "out",
        }
    }
}

impl Page<'_> {
    pub(super) fn content(&self, words: &'static Catalog) -> PageContent<'_> {
        match self {
            Self::Refused(reason) => reason.content(words),
            Self::NoToken => refusal("link_required", &words.link_required),
            Self::Confirm { .. } => PageContent {
                status: StatusCode::OK,
                icon: Icon::Person,
                is_error: false,
                ..refusal("confirmation_required", &CONFIRM)
            },
            Self::HubDown { retries } => {
                PageContent { retry: *retries, ..delay("hub_unavailable", &words.hub_unavailable) }
            }
            Self::HubBusy => delay("hub_busy", &words.hub_busy),
            Self::HubUnexpected { answer } => PageContent {
                status: StatusCode::BAD_GATEWAY,
                detail: Some(answer),
                ..refusal("hub_unexpected", &words.hub_unexpected)
            },
            Self::StoreDown => delay("store_unavailable", &words.store_unavailable),
            Self::ExchangeFailed => delay("exchange_failed", &words.exchange_failed),
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
            Self::Server { start, .. } => start.content(words),
            Self::NotWaiting => refusal("not_waiting", &words.not_waiting),
            Self::LoginRefused => refusal("login_refused", &words.login_refused),
            Self::LoggedOut => PageContent {
                status: StatusCode::OK,
                icon: Icon::LoggedOut,
                is_error: false,
                ..refusal("logged_out", &words.logged_out)
            },
            Self::SessionEnded => PageContent {
                icon: Icon::LoggedOut,
                is_error: false,
                ..refusal("session_ended", &words.session_ended)
            },
            Self::Queue { .. } => {
                PageContent { status: StatusCode::OK, is_error: false, ..delay("queue", &words.queue) }
            }
            Self::CookieLost => {
                PageContent { opens_notebooks: true, ..refusal("cookie_lost", &words.cookie_lost) }
            }
            Self::Frame { .. } => PageContent {
                status: StatusCode::OK,
                is_error: false,
                ..refusal("storage_blocked", &words.storage_blocked)
            },
            Self::TooManyCookies { .. } => PageContent {
                status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                ..refusal("too_many_cookies", &words.too_many_cookies)
            },
            Self::ConfirmationUnverified => PageContent {
                opens_notebooks: true,
                ..refusal("confirmation_unverified", &words.confirmation_unverified)
            },
            Self::ServerNotRunning => PageContent {
                status: StatusCode::NOT_FOUND,
                icon: Icon::Stopped,
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
    fn content(self, words: &'static Catalog) -> PageContent<'a> {
        let (status, code, message, detail) = match self {
            Self::Starting { .. } => {
                return PageContent {
                    status: StatusCode::OK,
                    icon: Icon::Start,
                    is_error: false,
                    ..delay("server_starting", &words.server_starting)
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
        let icon = match self {
            Self::Failed { .. } | Self::Refused { .. } => Icon::Failed,
            Self::Stopped => Icon::Stopped,
            Self::Starting { .. } | Self::Full { .. } => Icon::Clock,
        };
        PageContent {
            status,
            icon,
            detail: Some(detail).filter(|detail| !detail.is_empty()),
            ..delay(code, message)
        }
    }
}

impl LinkRefusal {
    fn content(self, words: &'static Catalog) -> PageContent<'static> {
        match self {
            Self::Unknown => refusal("link_unknown", &words.link_unknown),
            Self::Expired => refusal("link_expired", &words.link_expired),
            Self::Used => refusal("link_used", &words.link_used),
            Self::Revoked => refusal("link_revoked", &words.link_revoked),
            Self::NotAllowed => refusal("link_not_allowed", &words.link_not_allowed),
            Self::Bound => PageContent { opens_notebooks: true, ..refusal("link_bound", &words.link_bound) },
            Self::NeedsState => {
                PageContent { opens_notebooks: true, ..refusal("link_needs_state", &words.link_needs_state) }
            }
        }
    }
}

/// 403: coming in by this link does not work.
fn refusal(code: &'static str, message: &'static Message) -> PageContent<'static> {
    PageContent {
        status: StatusCode::FORBIDDEN,
        code,
        icon: Icon::BrokenLink,
        message,
        detail: None,
        retry: false,
        opens_notebooks: false,
        is_error: true,
    }
}

/// 503: not now.
fn delay(code: &'static str, message: &'static Message) -> PageContent<'static> {
    PageContent {
        status: StatusCode::SERVICE_UNAVAILABLE,
        code,
        icon: Icon::Clock,
        message,
        detail: None,
        retry: false,
        opens_notebooks: false,
        is_error: true,
    }
}
