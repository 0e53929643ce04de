//! What each page says: its status, its stable code and its words.
//!
//! | code | status | said when |
//! | --- | --- | --- |
//! | `link_unknown` | 403 | no such token, or forgotten since |
//! | `link_expired` | 403 | opened after its time |
//! | `link_used` | 403 | has logged somebody in |
//! | `link_revoked` | 403 | the app or an operator called it back |
//! | `link_not_allowed` | 403 | the rules of the app no longer cover it |
//! | `link_bound` | 403 | made for another browser; the link is not used up |
//! | `link_needs_state` | 403 | made for no browser in particular, and only such links work (`login.require_state`) |
//! | `link_required` | 403 | the login page without a link, and nobody is logged in |
//! | `confirmation_required` | 200, as JSON 403 | a person has to press the button first |
//! | `hub_unavailable` | 503 | the hub does not answer; the link is not used up |
//! | `store_unavailable` | 503 | the token store does not answer |
//! | `logout_failed` | 503 | the earlier user could not be logged out |
//! | `login_failed` | 503 | the hub did not answer the login; the link is used up |
//! | `bad_gateway` | 502 | the upstream cannot be reached |
//! | `gateway_timeout` | 504 | the upstream does not answer in time |
//! | `too_many_tries` | 429 | too many unknown links from one address |
//! | `not_waiting` | 403 | the waiting page of somebody else, or an old one |
//! | `login_refused` | 403 | the hub does not let the user in (API-only mode) |
//! | `logged_out` | 200 | the session at the hub has ended (API-only mode) |
//! | `server_not_running` | 404 | a path in a server that does not run (API-only mode) |
//! | `page_not_found` | 404 | a page that the hub would not style (API-only mode) |
//! | `unavailable` | 503 | at a limit, or draining |
//! | the caller's | the caller's | [`Page::Rejected`]: the request itself is at fault |

use std::fmt;

use hyper::StatusCode;

/// One of the pages that hublatch itself shows.
pub enum Page<'a> {
    /// 403, a link that is not honoured.
    Refused(Refused),
    /// 403, the login page without a token and nobody logged in.
    NoToken,
    /// 200, "Continue as alice": a form that posts `fields` to `action` and works without script.
    ///
    /// A browser posts the fields as they are given here, but: every line end in a value becomes CR LF, a field without
    /// a name is left out, the value of one named `_charset_` becomes `UTF-8` (HTML, "constructing the entry list" and
    /// "converting an entry list to a list of name-value pairs"), and U+0000 becomes U+FFFD (HTML, "tokenization").
    Confirm {
        /// Whom the link logs in, if that is known yet.
        username: Option<&'a str>,
        /// Who is logged in now, if that is somebody else.
        current: Option<&'a str>,
        /// Where the form is posted: a path on this origin.
        action: &'a str,
        /// The hidden fields, names and values, in this order.
        fields: &'a [(&'a str, &'a str)],
    },
    /// 503, the hub does not answer; the link is still good.
    HubDown,
    /// 503, the token store does not answer.
    StoreDown,
    /// 503, the earlier user could not be logged out.
    LogoutFailed,
    /// 503, the hub did not answer the login itself: the link is used up.
    LoginFailed,
    /// 502, the upstream of an ordinary request cannot be reached.
    BadGateway,
    /// 504, the upstream of an ordinary request does not answer in time.
    GatewayTimeout,
    /// 429, too many unknown tokens from one address.
    TooManyTries,
    /// 403, the waiting page of somebody else, or one that has outlived its ticket.
    NotWaiting,
    /// 403, the hub does not let the user in, and its own page would have no style (API-only mode).
    LoginRefused,
    /// 200, the session has ended, and the hub's own page would have no style (API-only mode).
    LoggedOut,
    /// 404, a path in a server that does not run (API-only mode).
    ServerNotRunning,
    /// 404, a page that is not there, and about which the hub's own page would have no style (API-only mode).
    NotFound,
    /// 503, too many connections or requests, or draining.
    Unavailable,
    /// 4xx, with a sentence for a developer.
    Rejected {
        /// The status of the answer.
        status: StatusCode,
        /// What a program can match on: a word in `snake_case`.
        code: &'static str,
        /// What is wrong with the request. It is shown as it is: it must not quote a token.
        message: &'a str,
    },
}

/// The forms hold a token, so the values of the fields are not told.
impl fmt::Debug for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Page({})", self.notice().code)
    }
}

/// Why a link is not honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// No such token, or forgotten since.
    Unknown,
    /// Opened after its time.
    Expired,
    /// Has logged somebody in.
    Used,
    /// The app or an operator called it back.
    Revoked,
    /// The rules of the app no longer cover it.
    NotAllowed,
    /// It is bound to another browser.
    Bound,
    /// It is bound to no browser, and only such links work.
    NeedsState,
}

/// The sign at the head of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// Something to agree to.
    Person,
    /// A link or a request that is not honoured.
    BrokenLink,
    /// Something to wait for.
    Clock,
}

/// What a page says, apart from the names in it.
pub(super) struct Notice<'a> {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) sign: Sign,
    /// The heading: what is the matter.
    pub(super) title: &'static str,
    /// What happened, in one sentence.
    pub(super) what: &'static str,
    /// The developer's sentence, if there is one.
    pub(super) detail: Option<&'a str>,
    /// What to do now.
    pub(super) advice: &'static str,
    /// Whether asking for the same address again is the thing to do.
    pub(super) retry: bool,
    /// Whether going to the app is called "Start again".
    pub(super) again: bool,
}

const OPEN_AGAIN: &str =
    "Go back to the application and open the notebook again: each link works once, for a short time.";
const RELOAD: &str = "Wait a few seconds, then reload this page. If the link no longer works by then, \
     go back to the application and open the notebook again.";
const TRY_AGAIN: &str = "Wait a few seconds, then try again. Work that is saved is not lost.";

impl Page<'_> {
    // One line a page would not be shorter in several functions.
    #[allow(clippy::too_many_lines)]
    pub(super) fn notice(&self) -> Notice<'_> {
        match self {
            Self::Refused(reason) => reason.notice(),
            Self::NoToken => refusal(
                "link_required",
                "Please start from the application",
                "Notebooks open from a link in the application, and this address was opened without one.",
                "Go to the application and open the notebook there. If you were working here before, \
                 your session has ended; work that is saved is not lost.",
            ),
            // Its sentences hold names, so they stand in the template; these are for the JSON answer.
            Self::Confirm { .. } => Notice {
                status: StatusCode::OK,
                code: "confirmation_required",
                sign: Sign::Person,
                title: "Please confirm",
                what: "Open this link in a browser and press the button to log in.",
                detail: None,
                advice: "",
                retry: false,
                again: false,
            },
            Self::HubDown => delay(
                "hub_unavailable",
                "The notebooks do not answer right now",
                "You have not been logged in, and your link has not been used up.",
                RELOAD,
            ),
            Self::StoreDown => delay(
                "store_unavailable",
                "Your link cannot be checked right now",
                "The service that knows the links does not answer, so nobody has been logged in.",
                RELOAD,
            ),
            Self::LogoutFailed => delay(
                "logout_failed",
                "The earlier session could not be ended",
                "Somebody else is logged in in this browser. To keep the two apart, you have not been logged in.",
                "Wait a few seconds, then go back to the application and open the notebook again.",
            ),
            Self::LoginFailed => delay(
                "login_failed",
                "The login was not finished",
                "The notebooks did not answer in the middle of it, and your link is used up now.",
                "Wait a few seconds, then go back to the application and open the notebook again.",
            ),
            Self::BadGateway => Notice {
                status: StatusCode::BAD_GATEWAY,
                retry: true,
                ..delay(
                    "bad_gateway",
                    "The notebooks cannot be reached",
                    "The server behind this address does not answer at the moment.",
                    TRY_AGAIN,
                )
            },
            Self::GatewayTimeout => Notice {
                status: StatusCode::GATEWAY_TIMEOUT,
                retry: true,
                ..delay(
                    "gateway_timeout",
                    "The notebooks take too long to answer",
                    "The server behind this address was asked, and no answer came in time.",
                    TRY_AGAIN,
                )
            },
            Self::TooManyTries => Notice {
                status: StatusCode::TOO_MANY_REQUESTS,
                ..delay(
                    "too_many_tries",
                    "Too many links that are not known",
                    "Many links that nobody knows have been opened from your network, and this one is not known either.",
                    "Wait a minute, then go back to the application and open the notebook again.",
                )
            },
            Self::NotWaiting => refusal(
                "not_waiting",
                "There is nothing to wait for here",
                "This page belongs to another login, or it is too old.",
                "Go back to the application and open the notebook again.",
            ),
            Self::LoginRefused => refusal(
                "login_refused",
                "You may not log in here",
                "The notebooks do not accept this login.",
                "Ask the people who run the application.",
            ),
            Self::LoggedOut => Notice {
                status: StatusCode::OK,
                ..refusal(
                    "logged_out",
                    "You are logged out",
                    "Your session in this browser has ended.",
                    "To work on, go back to the application and open the notebook again.",
                )
            },
            Self::ServerNotRunning => Notice {
                status: StatusCode::NOT_FOUND,
                again: true,
                ..delay(
                    "server_not_running",
                    "This server is not running",
                    "It was stopped, or it has not been started yet.",
                    "Start it again from the application. Work that is saved is not lost.",
                )
            },
            Self::NotFound => Notice {
                status: StatusCode::NOT_FOUND,
                ..refusal(
                    "page_not_found",
                    "This page does not exist",
                    "Nothing stands at this address.",
                    "Go to the application and open the notebook there.",
                )
            },
            Self::Unavailable => delay(
                "unavailable",
                "There is too much to do right now",
                "This service is busy, or it is about to restart.",
                "Wait a few seconds, then reload this page.",
            ),
            Self::Rejected { status, code, message } => Notice {
                status: *status,
                detail: Some(message),
                ..refusal(
                    code,
                    "This request was refused",
                    "This address does not accept it, for this reason:",
                    "Go back to the application and open the notebook again. If this page comes back, \
                     show it to the people who run the application.",
                )
            },
        }
    }
}

impl Refused {
    fn notice(self) -> Notice<'static> {
        match self {
            Self::Unknown => refusal(
                "link_unknown",
                "This link is not known",
                "It is incomplete, or it is so old that it has been forgotten.",
                OPEN_AGAIN,
            ),
            Self::Expired => refusal(
                "link_expired",
                "This link has expired",
                "It was opened after its time was over.",
                OPEN_AGAIN,
            ),
            Self::Used => refusal(
                "link_used",
                "This link has already been used",
                "It has logged somebody in before, and it does so only once.",
                OPEN_AGAIN,
            ),
            Self::Revoked => refusal(
                "link_revoked",
                "This link has been withdrawn",
                "The application that made it has called it back.",
                OPEN_AGAIN,
            ),
            Self::NotAllowed => refusal(
                "link_not_allowed",
                "This link is not allowed",
                "The application that made it may not, or may no longer, open this for you.",
                "Ask the people who run the application.",
            ),
            Self::Bound => refusal(
                "link_bound",
                "This link belongs to another browser",
                "It works only in the browser in which it was asked for, and there it still does.",
                "Open the address of the notebooks in this browser: the application then makes a link for it. \
                 If this page comes back, allow cookies for this address.",
            ),
            Self::NeedsState => refusal(
                "link_needs_state",
                "This link cannot be used here",
                "Links work here only in the browser that has asked for them, and this one was made for none.",
                "Open the address of the notebooks in this browser: the application then makes a link for it.",
            ),
        }
    }
}

/// 403: coming in by this link does not work.
fn refusal(
    code: &'static str,
    title: &'static str,
    what: &'static str,
    advice: &'static str,
) -> Notice<'static> {
    let (status, sign) = (StatusCode::FORBIDDEN, Sign::BrokenLink);
    Notice { status, code, sign, title, what, detail: None, advice, retry: false, again: false }
}

/// 503: not now.
fn delay(
    code: &'static str,
    title: &'static str,
    what: &'static str,
    advice: &'static str,
) -> Notice<'static> {
    let (status, sign) = (StatusCode::SERVICE_UNAVAILABLE, Sign::Clock);
    Notice { status, code, sign, title, what, detail: None, advice, retry: false, again: false }
}
