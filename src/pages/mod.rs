//! Renders the few pages that hublatch itself shows, as HTML for people and as JSON for programs.
//!
//! Knows nothing of tokens, requests or the hub: the caller says which page, this says how it looks. The pages work
//! without script, load nothing, and tell nothing but the names that the caller gives.

mod catalog;
#[cfg(test)]
mod contrast;
mod format;
mod language;
mod page;
mod page_content;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod tests;
mod theme;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use minijinja::context;
use minijinja::value::Value;
use serde::Serialize;

use crate::config::{Config, Fault, Faults, Language, Pages as Wanted, PublicUrl};

pub use format::Format;
use language::LANGUAGES;
pub use page::{Page, Refused, Start};
use page_content::{Icon, PageContent};
use theme::{Theme, markup, plain};

/// What moves the progress bar of a server that starts.
const SCRIPT: &str = include_str!("waiting.js");
/// How long that page rests without script before it asks again, in seconds.
const REFRESH_SECONDS: u64 = 3;

/// Renders the few pages that hublatch itself shows.
#[derive(Debug)]
pub struct Pages {
    look: Theme,
    /// The one language; none: the reader's.
    language: Option<Language>,
    name: Option<String>,
    /// A `data:` URL.
    logo: Option<String>,
    app_url: Option<String>,
    /// The policy of a page without a form, and of one with a form.
    policy: HeaderValue,
    form_policy: HeaderValue,
    /// The policy of the page of a server that starts: its own script runs, and listens to this origin.
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
    /// The pages of `config`; every fault of the operator's templates, if there is any.
    pub fn new(config: &Config) -> Result<Self, Faults> {
        let ancestors = config.embed.as_ref().map(|embed| embed.frame_ancestors.join(" "));
        Self::of(&config.pages, config.login.app_url.clone(), &config.public.url, ancestors.as_deref())
    }

    fn of(
        wanted: &Wanted,
        app_url: Option<String>,
        public: &PublicUrl,
        ancestors: Option<&str>,
    ) -> Result<Self, Faults> {
        let (look, faults) = Theme::with(&wanted.templates);
        let logo = wanted
            .logo
            .as_ref()
            .map(|logo| format!("data:{};base64,{}", logo.media_type, STANDARD.encode(&logo.bytes)));
        let images = if logo.is_some() { " img-src data:;" } else { "" };
        let policy = |more: &str, form_action: &str| {
            content_security_policy(&look, more, form_action, ancestors.unwrap_or("'none'"))
        };
        let script = format!("{images} script-src '{}'; connect-src 'self';", sha256(SCRIPT));
        let script_policy = policy(&script, "'none'");
        let (policy, form_policy) = (policy(images, "'none'"), policy(images, &form_action(public)));
        let pages = Self {
            language: wanted.language,
            name: wanted.name.clone(),
            logo,
            app_url: app_url.filter(|url| !url.is_empty()),
            policy,
            form_policy,
            script_policy,
            embedded: ancestors.is_some(),
            look,
        };
        let faults = if faults.is_empty() { pages.judge(wanted) } else { faults };
        Faults::new(faults).map_or(Ok(pages), Err)
    }

    /// The faults that show only when the operator's templates are rendered: each page in each language is.
    fn judge(&self, wanted: &Wanted) -> Vec<Fault> {
        let mut faults: Vec<Fault> = Vec::new();
        for page in Page::samples() {
            for language in LANGUAGES {
                let notice = page.notice(language.words());
                let fault =
                    self.look.judge(&wanted.templates, |style| self.words(&page, &notice, language, style));
                faults.extend(fault);
            }
        }
        // Most of them fail in one place.
        faults.dedup();
        faults
    }

    /// The whole answer: status, headers and body.
    ///
    /// [`Page::Confirm`] as JSON is 403: a program cannot press the button, and must not take 200 for a login. A server
    /// that starts is 202.
    pub fn answer(&self, page: &Page<'_>, format: Format) -> Response<Bytes> {
        let starting = matches!(page, Page::Server { start: Start::Starting { .. }, .. });
        let has_form = matches!(page, Page::Confirm { .. } | Page::Server { .. }) && !starting;
        let policy = match format {
            Format::Html(_) if has_form => &self.form_policy,
            Format::Html(_) if starting => &self.script_policy,
            Format::Html(_) | Format::Json => &self.policy,
        };
        let (status, media_type, language, body) = match format {
            Format::Html(asked) => {
                let language = self.language.unwrap_or(asked);
                let notice = page.notice(language.words());
                let body = self.look.render(|style| self.words(page, &notice, language, style));
                (notice.status, "text/html; charset=utf-8", language, body)
            }
            Format::Json => {
                let notice = page.notice(Language::English.words());
                let is_confirm = matches!(page, Page::Confirm { .. });
                let status = if is_confirm { StatusCode::FORBIDDEN } else { notice.status };
                let status = if starting { StatusCode::ACCEPTED } else { status };
                (status, "application/json", Language::English, json(status, &notice))
            }
        };
        // An operator's template may leave our script and the tag for browsers without script out.
        let refreshes = starting && format != Format::Json && !body.contains("http-equiv=\"refresh\"");
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let body_bytes = response.body().len();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body_bytes));
        if refreshes {
            headers.insert(header::REFRESH, HeaderValue::from(REFRESH_SECONDS));
        }
        self.protect(headers, policy, has_form && format != Format::Json);
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
        let vary = match self.language {
            None => "Accept, Accept-Language, Sec-Fetch-Mode",
            Some(_) => "Accept, Sec-Fetch-Mode",
        };
        headers.insert(header::VARY, HeaderValue::from_static(vary));
    }

    /// Everything that a template can print: `config/reference.toml` tells operators of it.
    fn words(&self, page: &Page<'_>, notice: &PageContent<'_>, language: Language, style: Value) -> Value {
        let words = language.words();
        let (heading, what, advice, names, form) = match page {
            Page::Confirm { username, current, action, fields } => {
                let fields = fields.iter().map(|(name, value)| context! { name => *name, value => *value });
                let fields = fields.collect::<Vec<_>>();
                let names: Vec<(&str, &str)> = [("user", *username), ("current", *current)]
                    .into_iter()
                    .filter_map(|(name, value)| Some((name, value?)))
                    .collect();
                let confirm = &words.confirm;
                let (what, advice) = match (username, current) {
                    (Some(_), Some(_)) => (confirm.switch, confirm.switch_advice),
                    (Some(_), None) => (confirm.what, confirm.advice),
                    (None, _) => (confirm.what_unnamed, confirm.advice),
                };
                let heading = if username.is_some() { confirm.title } else { confirm.title_unnamed };
                let button = markup(heading, &names);
                (heading, what, advice, names, Some(context! { action => *action, fields, button }))
            }
            Page::Server { start, action, .. } => {
                let fields: [Value; 0] = [];
                let form = context! { action => *action, fields, button => words.start_again };
                let form = (!matches!(start, Start::Starting { .. })).then_some(form);
                (notice.said.title, notice.said.what, notice.said.advice, Vec::new(), form)
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
            | Page::Rejected { .. } => {
                (notice.said.title, notice.said.what, notice.said.advice, Vec::new(), None)
            }
        };
        let starting = if let Page::Server { start: Start::Starting { percent, message }, events, .. } = page
        {
            Some(context! {
                percent => percent.min(&100),
                message => *message,
                events => *events,
                so_far => words.so_far,
                refresh => REFRESH_SECONDS,
                script => Value::from_safe_string(SCRIPT.to_owned()),
            })
        } else {
            None
        };
        let back = match &self.name {
            Some(name) => markup(words.back_to, &[("app", name)]),
            None => markup(words.back, &[]),
        };
        let status = notice.status.as_u16();
        let error = plain(words.error, &[("status", &status.to_string()), ("code", notice.code)]);
        context! {
            lang => language.tag(),
            style,
            sign => notice.sign.name(),
            title => plain(heading, &names),
            heading => markup(heading, &names),
            what => markup(what, &names),
            detail => notice.detail,
            advice => markup(advice, &names),
            form,
            starting,
            retry => notice.retry,
            app => context! { url => self.app_url.as_deref(), name => self.name.as_deref(), logo => self.logo.as_deref() },
            words => context! { back, again => words.again, error },
            status,
            code => notice.code,
        }
    }
}

impl Icon {
    fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::BrokenLink => "link",
            Self::Clock => "clock",
            Self::Start => "start",
        }
    }
}

fn json(status: StatusCode, notice: &PageContent<'_>) -> String {
    let sentence = format!("{}. {}", notice.said.title, notice.said.what);
    let message = notice.detail.unwrap_or(&sentence);
    let told = Told { status: status.as_u16(), message, code: notice.code };
    serde_json::to_string(&told).expect("a number and two strings are JSON")
}

/// Where the confirm page's form may lead. Chromium and Safari hold every redirect that follows the post to it, and a
/// hub with `subdomain_host` leads on to a subdomain of its own.
fn form_action(public: &PublicUrl) -> String {
    let has_subdomains = public.authority.contains(|character: char| character.is_ascii_alphabetic())
        && !public.authority.starts_with('[');
    match public.origin.split_once("://").filter(|_| has_subdomains) {
        Some((scheme, authority)) => format!("'self' {scheme}://*.{authority}"),
        None => "'self'".to_owned(),
    }
}

/// Nothing may load, frame, script or rebase the page; only its own style, known by its hash, and the logo within it
/// apply; and what `more` says.
fn content_security_policy(look: &Theme, more: &str, form_action: &str, ancestors: &str) -> HeaderValue {
    let hash = |style: &str| format!("'{}'", sha256(style));
    let styles = look.styles().map(hash).collect::<Vec<_>>().join(" ");
    let policy = format!(
        "default-src 'none'; style-src {styles};{more} form-action {form_action}; base-uri 'none'; \
         frame-ancestors {ancestors}"
    );
    HeaderValue::try_from(policy).expect("base64, keywords and origins are visible ASCII")
}

/// The hash by which a policy knows `text` (CSP3 § 2.3.1, "hash-source").
fn sha256(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(digest(&SHA256, text.as_bytes())))
}
