//! Renders the few pages that hublatch itself shows, as HTML for people and as JSON for programs.
//!
//! Knows nothing of tokens, requests or the hub: the caller says which page, this says how it looks. The pages work
//! without script, load nothing, and tell nothing but the names that the caller gives.

#[cfg(test)]
mod contrast;
mod format;
mod page;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod tests;
mod waiting;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use minijinja::value::Value;
use minijinja::{Environment, HtmlEscape, context};
use serde::Serialize;

pub use format::Format;
use page::{Notice, Sign};
pub use page::{Page, Refused};
pub use waiting::{Start, Waiting};

const TEMPLATE: &str = "page.html";
const STYLE: &str = include_str!("style.css");

/// Renders the few pages that hublatch itself shows.
#[derive(Debug)]
pub struct Pages {
    templates: Environment<'static>,
    app_url: Option<String>,
    /// The policy of a page without a form, and of one with a form.
    policy: HeaderValue,
    form_policy: HeaderValue,
    /// The policy of the page that waits: its own script runs, and listens to this origin.
    script_policy: HeaderValue,
    /// Whether pages of other sites may show them.
    embedded: bool,
}

/// The JSON of an answer, in the order and with the words of the management API's errors.
#[derive(Serialize)]
struct Told<'a> {
    status: u16,
    message: &'a str,
    code: &'a str,
}

impl Pages {
    /// `app_url`: the app's own page, for "Back to the app"; `None` or empty: no such link.
    pub fn new(app_url: Option<String>) -> Self {
        Self {
            templates: templates(),
            app_url: app_url.filter(|url| !url.is_empty()),
            policy: content_security_policy("'none'", "'none'", None),
            form_policy: content_security_policy("'self'", "'none'", None),
            script_policy: content_security_policy("'none'", "'none'", Some(waiting::SCRIPT)),
            embedded: false,
        }
    }

    /// The same for frames in pages of `ancestors`, origins with spaces between them.
    #[must_use]
    pub fn embedded_in(self, ancestors: &str) -> Self {
        let policy = content_security_policy("'none'", ancestors, None);
        let form_policy = content_security_policy("'self'", ancestors, None);
        let script_policy = content_security_policy("'none'", ancestors, Some(waiting::SCRIPT));
        Self { policy, form_policy, script_policy, embedded: true, ..self }
    }

    /// The whole answer: status, headers and body.
    ///
    /// [`Page::Confirm`] as JSON is 403: a program cannot press the button, and must not take 200 for a login.
    pub fn answer(&self, page: &Page<'_>, format: Format) -> Response<Bytes> {
        let notice = page.notice();
        let has_form = matches!(page, Page::Confirm { .. });
        let (status, media_type, body) = match format {
            Format::Html => (notice.status, "text/html; charset=utf-8", self.html(page, &notice)),
            Format::Json => {
                let status = if has_form { StatusCode::FORBIDDEN } else { notice.status };
                (status, "application/json", json(status, &notice))
            }
        };
        let mut response = page_answer(status, media_type, body);
        let has_form = has_form && format == Format::Html;
        let policy = if has_form { &self.form_policy } else { &self.policy };
        self.protect(response.headers_mut(), policy, has_form);
        response
    }

    fn protect(&self, headers: &mut HeaderMap, policy: &HeaderValue, has_form: bool) {
        // With "no-referrer" a browser posts "Origin: null" (Fetch, "`Origin` header"), and the form could not be told from a
        // forged one; "strict-origin" never sends the path or the query.
        let referrer = if has_form { "strict-origin" } else { "no-referrer" };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static(referrer));
        headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if !self.embedded {
            headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        }
        headers.insert(header::VARY, HeaderValue::from_static("Accept, Sec-Fetch-Mode"));
    }

    fn html(&self, page: &Page<'_>, notice: &Notice<'_>) -> String {
        let confirm = match page {
            Page::Confirm { username, current, action, fields } => {
                let fields = fields.iter().map(|(name, value)| context! { name => *name, value => *value });
                let fields = fields.collect::<Vec<_>>();
                context! { username => *username, current => *current, action => *action, fields }
            }
            Page::Refused(_)
            | Page::NoToken
            | Page::HubDown
            | Page::StoreDown
            | Page::LogoutFailed
            | Page::LoginFailed
            | Page::BadGateway
            | Page::GatewayTimeout
            | Page::TooManyTries
            | Page::NotWaiting
            | Page::LoginRefused
            | Page::LoggedOut
            | Page::ServerNotRunning
            | Page::NotFound
            | Page::Unavailable
            | Page::Rejected { .. } => Value::UNDEFINED,
        };
        let words = context! {
            confirm,
            style => STYLE,
            sign => notice.sign.name(),
            title => notice.title,
            what => notice.what,
            detail => notice.detail,
            advice => notice.advice,
            retry => notice.retry,
            again => notice.again,
            app_url => self.app_url.as_deref(),
            status => notice.status.as_u16(),
            code => notice.code,
        };
        let template = self.templates.get_template(TEMPLATE).expect("Pages::new added it");
        template.render(words).expect("it only prints, tests and walks strings; the tests render every page")
    }
}

/// An answer with its status, type and length.
fn page_answer(status: StatusCode, media_type: &'static str, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let body_bytes = response.body().len();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body_bytes));
    response
}

fn templates() -> Environment<'static> {
    let mut templates = Environment::new();
    templates.add_filter("exact", exact);
    templates.add_template(TEMPLATE, include_str!("page.html")).expect("the tests parse the same text");
    templates.add_template(waiting::TEMPLATE, waiting::SOURCE).expect("the tests parse the same text");
    templates
}

impl Sign {
    fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::BrokenLink => "link",
            Self::Clock => "clock",
        }
    }
}

fn json(status: StatusCode, notice: &Notice<'_>) -> String {
    let sentence = format!("{}. {}", notice.title, notice.what);
    let message = notice.detail.unwrap_or(&sentence);
    let told = Told { status: status.as_u16(), message, code: notice.code };
    serde_json::to_string(&told).expect("a number and two strings are JSON")
}

/// Escapes the value of a hidden field. Bare CR and CR LF in a page are read as LF (HTML, "preprocessing the input stream"), so a CR that is
/// meant has to be a character reference.
fn exact(text: &str) -> Value {
    Value::from_safe_string(HtmlEscape(text).to_string().replace('\r', "&#13;"))
}

/// Nothing may load, frame, script or rebase the page; only its own style, and its own `script` if it
/// has one, known by their hashes, apply.
///
/// Chromium holds the redirects that follow a post to `form-action` as well: 'self' is right for a hub on one origin,
/// and stops one that sends users to subdomains.
fn content_security_policy(form_action: &str, ancestors: &str, script: Option<&str>) -> HeaderValue {
    let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
    let style = hash(STYLE);
    let script = script.map(|script| format!("script-src 'sha256-{}'; connect-src 'self'; ", hash(script)));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; {}form-action {form_action}; base-uri 'none'; \
         frame-ancestors {ancestors}",
        script.unwrap_or_default()
    );
    HeaderValue::try_from(policy).expect("base64, keywords and origins are visible ASCII")
}
