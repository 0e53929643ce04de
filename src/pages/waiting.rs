//! The page of a login that waits for its server: a progress bar that moves by script, or by asking again without one.
//!
//! | code | status | said when |
//! | --- | --- | --- |
//! | `server_starting` | 200, as JSON 202 | the server is on its way; the page goes on by itself |
//! | `server_failed` | 502 | the hub has tried and failed; its words are shown |
//! | `server_stopped` | 409 | it is not running, and nobody is starting it |
//! | `server_limit` | 429 | the hub has no room for it now |
//! | `server_refused` | 403 | the hub does not start it |
//!
//! Its words come from the hub, which quotes programs of all kinds: they are escaped here, and text alone in the script.

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use minijinja::context;
use minijinja::value::Value;

use super::page::Notice;
use super::{Format, Pages, Sign, page_answer};

pub(super) const TEMPLATE: &str = "waiting.html";
pub(super) const SOURCE: &str = include_str!("waiting.html");
pub(super) const SCRIPT: &str = include_str!("waiting.js");

/// How long the page rests without script before it asks again, in seconds.
const REFRESH_SECONDS: u64 = 3;

/// How the start of a server stands.
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
        /// When to try again, in seconds, if the hub says so.
        retry_after: Option<u64>,
    },
    /// The hub does not start it.
    Refused {
        /// What the hub says.
        message: &'a str,
    },
}

/// A page that waits.
#[derive(Debug, Clone, Copy)]
pub struct Waiting<'a> {
    /// How the start stands.
    pub start: Start<'a>,
    /// The page's own path: where the button posts to.
    pub action: &'a str,
    /// Where the events come from: a path on this origin.
    pub events: &'a str,
}

impl Start<'_> {
    fn notice(&self) -> Notice<'_> {
        let notice = |status, code, title, what, advice| Notice {
            status,
            code,
            sign: Sign::Clock,
            title,
            what,
            detail: None,
            advice,
            retry: false,
            again: false,
        };
        match self {
            Self::Starting { .. } => notice(
                StatusCode::OK,
                "server_starting",
                "Your server is starting",
                "This page goes on by itself when it is ready.",
                "That can take a few minutes. You may leave this page open, or come back to it.",
            ),
            Self::Failed { message } => Notice {
                detail: Some(message).filter(|message| !message.is_empty()).copied(),
                ..notice(
                    StatusCode::BAD_GATEWAY,
                    "server_failed",
                    "Your server did not start",
                    "You are logged in, but the server that you wanted could not be started.",
                    "Start it again. If that does not help, show this page to the people who run the application.",
                )
            },
            Self::Stopped => notice(
                StatusCode::CONFLICT,
                "server_stopped",
                "Your server is not running",
                "It was stopped, or it has ended by itself.",
                "Work that is saved is not lost. Start it again to go on.",
            ),
            Self::Full { message, .. } => Notice {
                detail: Some(message).filter(|message| !message.is_empty()).copied(),
                ..notice(
                    StatusCode::TOO_MANY_REQUESTS,
                    "server_limit",
                    "There is no room for your server right now",
                    "Too many servers are running or starting.",
                    "Wait a little, then start it again.",
                )
            },
            Self::Refused { message } => Notice {
                detail: Some(message).filter(|message| !message.is_empty()).copied(),
                ..notice(
                    StatusCode::FORBIDDEN,
                    "server_refused",
                    "Your server cannot be started",
                    "You are logged in, but the server that you wanted was refused.",
                    "Go back to the application and open the notebook again.",
                )
            },
        }
    }
}

impl Pages {
    /// The whole answer: status, headers and body. As JSON a server on its way is 202.
    pub fn waiting(&self, waiting: &Waiting<'_>, format: Format) -> Response<Bytes> {
        let notice = waiting.start.notice();
        let starting = matches!(waiting.start, Start::Starting { .. });
        let mut answer = match format {
            Format::Html => {
                page_answer(notice.status, "text/html; charset=utf-8", self.waiting_html(waiting, &notice))
            }
            Format::Json => {
                let status = if starting { StatusCode::ACCEPTED } else { notice.status };
                page_answer(status, "application/json", super::json(status, &notice))
            }
        };
        let policy = if starting { &self.script_policy } else { &self.form_policy };
        self.protect(answer.headers_mut(), policy, format == Format::Html && !starting);
        if let Start::Full { retry_after: Some(seconds), .. } = waiting.start {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }

    fn waiting_html(&self, waiting: &Waiting<'_>, notice: &Notice<'_>) -> String {
        let starting = match waiting.start {
            Start::Starting { percent, message } => context! {
                percent => percent.min(100),
                message => message,
                events => waiting.events,
                refresh => REFRESH_SECONDS,
            },
            Start::Failed { .. } | Start::Stopped | Start::Full { .. } | Start::Refused { .. } => {
                Value::UNDEFINED
            }
        };
        let words = context! {
            starting,
            style => super::STYLE,
            script => SCRIPT,
            sign => notice.sign.name(),
            title => notice.title,
            what => notice.what,
            detail => notice.detail,
            advice => notice.advice,
            action => waiting.action,
            app_url => self.app_url.as_deref(),
            words => context! { start => "Start it again", back => "Back to the app", log => "What has happened so far" },
            status => notice.status.as_u16(),
            code => notice.code,
        };
        let template = self.templates.get_template(TEMPLATE).expect("Pages::new added it");
        template
            .render(words)
            .expect("it only prints and tests texts and numbers; the tests render every state")
    }
}

#[cfg(test)]
mod tests;
