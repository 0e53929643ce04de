//! What each page is: its status, its stable code and its icon. Its words are in `catalog`.
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
//! | `hub_unavailable` | 503 | the hub does not answer; the link is not used up, and the page asks again by itself |
//! | `hub_busy` | 503 | the hub says that it has no time; the link is not used up |
//! | `hub_unexpected` | 502 | the hub, or what stands before it, answers what nobody would expect; the link is not used up |
//! | `store_unavailable` | 503 | the token store does not answer |
//! | `exchange_failed` | 503 | whose an app's own token is could not be found out; the link is used up |
//! | `logout_failed` | 503 | the earlier user could not be logged out |
//! | `login_failed` | 503 | the hub did not answer the login; the link is used up |
//! | `bad_gateway` | 502 | the upstream cannot be reached |
//! | `gateway_timeout` | 504 | the upstream does not answer in time |
//! | `queue` | 200, as JSON 202 | a login, or the start of a server, waits for its turn; the page goes on by itself |
//! | `session_ended` | 403 | the session is over: its time has come, or the app has ended it |
//! | `storage_blocked` | 200 | a login in a frame of another site: its script tests whether the browser keeps anything there, and goes on |
//! | `cookie_lost` | 403 | logged in a moment ago, and back without the hub's cookie |
//! | `too_many_cookies` | 431 | more cookies than the hub takes |
//! | `confirmation_unverified` | 403 | the button was pressed in a browser that does not say on which page |
//! | `too_many_tries` | 429 | too many unknown links from one address |
//! | `server_starting` | 200, as JSON 202 | a launched server is on its way; the page goes on by itself |
//! | `server_failed` | 502 | the hub has tried to start it, and failed; its words are shown |
//! | `server_stopped` | 409 | it is not running, and nobody is starting it |
//! | `server_limit` | 429 | the hub has no room for it now |
//! | `server_refused` | 403 | the hub does not start it |
//! | `not_waiting` | 403 | the waiting page of somebody else, or an old one |
//! | `login_refused` | 403 | the hub does not let the user in (API-only mode) |
//! | `logged_out` | 200 | the session at the hub has ended (API-only mode) |
//! | `server_not_running` | 404 | a path in a server that does not run (API-only mode) |
//! | `page_not_found` | 404 | a page that the hub would not style (API-only mode) |
//! | `unavailable` | 503 | at a limit, or draining |
//! | the caller's | the caller's | [`Page::Rejected`]: the request itself is at fault |

use std::fmt;

use hyper::StatusCode;

use crate::config::Language;

/// One of the pages that hublatch itself shows.
pub enum Page<'a> {
    /// 403, a link that is not honoured.
    Refused(LinkRefusal),
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
    HubDown {
        /// Whether the same address is worth asking for again, because the link is in it: the page does so by itself.
        retries: bool,
    },
    /// 503, the hub says that it has no time; the link is still good.
    HubBusy,
    /// 502, the hub was asked who the browser is, and has answered something else; the link is still good.
    HubUnexpected {
        /// The status that it has answered.
        answer: &'a str,
    },
    /// 503, the token store does not answer.
    StoreDown,
    /// 503, whose an app's own token is could not be found out: the link is used up.
    ExchangeFailed,
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
    /// 200 and others, a login that waits for its server.
    Server {
        /// How the start stands.
        start: Start<'a>,
        /// The page's own path: where the button posts to.
        action: &'a str,
        /// Where the events come from: a path on this origin.
        events: &'a str,
    },
    /// 200, a login that waits for its turn, with its link reserved and not used up; or the start of a server.
    Queue {
        /// What waits.
        queued_for: QueuedFor,
        /// From 1.
        position: u64,
        /// How long it will probably take.
        seconds: u64,
        /// What the page asks for again by itself: a path on this origin.
        address: &'a str,
        /// Where a script hears of its turn: a path on this origin. Each event is a JSON object with `position`,
        /// `seconds` and `down`, or with `ready: true`, and then the page goes on.
        events: Option<&'a str>,
    },
    /// 403, the session is over: its time has come, or the app has ended it.
    SessionEnded,
    /// 403, the browser has just been logged in, and comes without the hub's cookie.
    CookieLost,
    /// 200, a login in a frame of another site: a script that tests whether the browser keeps anything there. If so, it asks for
    /// the page's own address again; if not, the page says so. Nothing is used up.
    Frame {
        /// What a cookie must say to be kept as login cookies are: `; SameSite=None; Secure`.
        attributes: &'a str,
    },
    /// 431, more cookies than the hub takes: a form that makes the browser forget them.
    TooManyCookies {
        /// Where the form is posted: a path on this origin.
        action: &'a str,
        /// The hidden fields, names and values, in this order.
        fields: &'a [(&'a str, &'a str)],
    },
    /// 403, the confirm page's form came, and it cannot be known from which page.
    ConfirmationUnverified,
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
        /// The status of the response.
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
        write!(f, "Page({})", self.content(Language::English.words()).code)
    }
}

/// Why a link is not honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkRefusal {
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

/// What waits in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueuedFor {
    /// A login.
    Login,
    /// A login, at a hub that does not answer.
    LoginHubDown,
    /// The start of a server.
    Start,
}

/// How the start of a server stands. The messages are the hub's, which quotes programs of all kinds: they are escaped here,
/// and text alone in the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start<'a> {
    /// On its way.
    Starting {
        /// From 0 to 100.
        percent: u8,
        /// What the hub says.
        message: &'a str,
    },
    /// The hub has tried and failed.
    Failed {
        /// What the hub says.
        message: &'a str,
    },
    /// It is not running, and nobody is starting it.
    Stopped,
    /// The hub has no room for it now.
    Full {
        /// What the hub says.
        message: &'a str,
    },
    /// The hub does not start it.
    Refused {
        /// What the hub says.
        message: &'a str,
    },
}

impl Page<'_> {
    /// Whether a new link would lead on from here: what the page around a frame is told.
    pub(super) fn needs_link(&self) -> bool {
        let refused = matches!(
            self,
            Self::Refused(
                LinkRefusal::Unknown | LinkRefusal::Expired | LinkRefusal::Used | LinkRefusal::Revoked
            )
        );
        refused
            || matches!(
                self,
                Self::NoToken
                    | Self::SessionEnded
                    | Self::ExchangeFailed
                    | Self::LoginFailed
                    | Self::LoggedOut
                    | Self::NotWaiting
            )
    }
}
