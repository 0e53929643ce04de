//! One page of each kind: to judge templates by, and to look at.

use std::io;
use std::path::Path;

use hyper::StatusCode;
use jiff::Timestamp;

use super::language::LANGUAGES;
use super::page::{LinkRefusal, Page, QueuedFor, Start};
use super::{Format, Pages, sign};

/// The id of the request in the footer of a sample.
const REQUEST_ID: &str = "0123456789abcdef";

impl Pages {
    /// Writes one page of each kind, in each language, into folders of `directory` that bear the languages' tags; how many.
    pub fn write_samples(&self, directory: &Path) -> io::Result<usize> {
        let mut written = 0;
        for language in LANGUAGES.into_iter().filter(|one| self.language.is_none_or(|only| only == *one)) {
            let folder = directory.join(language.tag());
            std::fs::create_dir_all(&folder)?;
            for (number, page) in (1..).zip(Page::samples()) {
                let mut html = self.response(&page, Format::Html(language)).into_body();
                let _length = sign(&mut html, REQUEST_ID, || Timestamp::UNIX_EPOCH);
                let code = page.content(language.words()).code;
                std::fs::write(folder.join(format!("{number:02}-{code}.html")), html)?;
                written += 1;
            }
        }
        Ok(written)
    }
}

impl Page<'_> {
    /// One of each kind, to try templates on.
    pub(super) fn samples() -> Vec<Page<'static>> {
        let refused = [
            LinkRefusal::Unknown,
            LinkRefusal::Expired,
            LinkRefusal::Used,
            LinkRefusal::Revoked,
            LinkRefusal::NotAllowed,
            LinkRefusal::Bound,
            LinkRefusal::NeedsState,
        ];
        let confirm = |username, current| Page::Confirm {
            username,
            current,
            action: "/hub/login",
            fields: &[("login_token", "…"), ("next", "/hub/home")],
        };
        let server = |start| Page::Server { start, action: "/hub/x", events: "/hub/x/events" };
        let queue = |queued_for| Page::Queue {
            queued_for,
            position: 37,
            seconds: 20,
            address: "/hub/login?x",
            events: Some("/hub/x/events"),
        };
        let rejected = Page::Rejected {
            status: StatusCode::BAD_REQUEST,
            code: "bad_next",
            message: "It leads elsewhere.",
        };
        let mut samples: Vec<Page<'static>> = refused.map(Page::Refused).into();
        samples.extend([
            Page::NoToken,
            Page::HubDown { retries: true },
            Page::HubBusy,
            Page::HubUnexpected { answer: "404 Not Found" },
            Page::StoreDown,
            Page::ExchangeFailed,
            Page::LogoutFailed,
            Page::LoginFailed,
            Page::BadGateway,
            Page::GatewayTimeout,
            Page::TooManyTries,
            server(Start::Starting { percent: 50, message: "Spawning server" }),
            server(Start::Failed { message: "Spawn failed" }),
            server(Start::Stopped),
            server(Start::Full { message: "Active user limit exceeded." }),
            server(Start::Refused { message: "alice is pending stop" }),
            queue(QueuedFor::Login),
            queue(QueuedFor::LoginHubDown),
            queue(QueuedFor::Start),
            Page::SessionEnded,
            Page::CookieLost,
            Page::Frame { attributes: "; SameSite=None; Secure" },
            Page::TooManyCookies { action: "/hub/login", fields: &[("login_token", "…")] },
            Page::ConfirmationUnverified,
            Page::NotWaiting,
            Page::LoginRefused,
            Page::LoggedOut,
            Page::ServerNotRunning,
            Page::NotFound,
            Page::Unavailable,
            confirm(Some("alice"), None),
            confirm(Some("alice"), Some("bob")),
            confirm(None, None),
            rejected,
        ]);
        samples
    }
}
