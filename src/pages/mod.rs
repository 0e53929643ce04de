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
mod samples;
#[cfg(test)]
mod tests;
mod theme;
mod values;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use jiff::Timestamp;
use serde::Serialize;

use crate::config::{App, Config, Fault, Faults, Language, Pages as Wanted, PublicUrl};

pub use format::{Format, prefers_json};
use language::LANGUAGES;
pub use page::{LinkRefusal, Page, QueuedFor, Start};
use page_content::PageContent;
use theme::{Theme, plain};
use values::{ID_MARK, Rendered, TIME_MARK};

/// What moves the progress bar of a server that starts.
const WAITING_SCRIPT: &str = include_str!("waiting.js");
/// What asks again when the hub answers.
const RETRY_SCRIPT: &str = include_str!("retry.js");
/// What tells of the place in the queue.
const QUEUE_SCRIPT: &str = include_str!("queue.js");
/// What tests whether the browser keeps anything in a frame.
const STORAGE_SCRIPT: &str = include_str!("storage.js");
/// What tells the page around a frame what is shown in it.
const FRAME_SCRIPT: &str = include_str!("frame.js");

/// Renders the few pages that hublatch itself shows.
#[derive(Debug)]
pub struct Pages {
    theme: Theme,
    /// The language of all pages; none: what the browser asks for.
    language: Option<Language>,
    name: Option<String>,
    /// A `data:` URL.
    logo: Option<String>,
    app_url: Option<String>,
    /// The address of the notebooks.
    notebooks: String,
    /// The hashes of the styles, as a policy names them.
    styles: String,
    /// Where a form may lead.
    form_action: String,
    /// The origins whose pages may show ours in a frame.
    ancestors: Vec<String>,
}

/// The JSON of a response, in the order and with the words of the management API's errors.
#[derive(Serialize)]
struct PageErrorJson<'a> {
    status: u16,
    message: &'a str,
    code: &'a str,
}

impl Pages {
    /// The pages of `config`; every fault of the operator's templates, if there is any.
    pub fn new(config: &Config) -> Result<Self, Faults> {
        let ancestors = config.embed.as_ref().map(|embed| embed.frame_ancestors.clone());
        let public = (&config.public.url, config.hub.base_url.as_str());
        Self::of(&config.pages, config.login.app_url.clone(), public, ancestors.unwrap_or_default())
    }

    fn of(
        wanted: &Wanted,
        app_url: Option<String>,
        (public, base_url): (&PublicUrl, &str),
        ancestors: Vec<String>,
    ) -> Result<Self, Faults> {
        let (theme, faults) = Theme::with(&wanted.templates);
        let logo = wanted
            .logo
            .as_ref()
            .map(|logo| format!("data:{};base64,{}", logo.media_type, STANDARD.encode(&logo.bytes)));
        let styles = theme.styles().map(|style| format!("'{}'", sha256(style))).collect::<Vec<_>>().join(" ");
        let pages = Self {
            language: wanted.language,
            name: wanted.name.clone(),
            logo,
            app_url: app_url.filter(|url| !url.is_empty()),
            notebooks: format!("{}{base_url}", public.origin),
            styles,
            form_action: form_action(public),
            ancestors,
            theme,
        };
        let faults = if faults.is_empty() { pages.judge(wanted) } else { faults };
        Faults::new(faults).map_or(Ok(pages), Err)
    }

    /// The faults that show only when the operator's templates are rendered: each page in each language is.
    fn judge(&self, wanted: &Wanted) -> Vec<Fault> {
        let mut faults: Vec<Fault> = Vec::new();
        if wanted.templates.is_empty() {
            return faults;
        }
        for page in Page::samples() {
            for language in LANGUAGES {
                let content = page.content(language.words());
                let rendered =
                    Rendered { page: &page, content: &content, language, app: None, frame_script: None };
                let fault = self.theme.judge(&wanted.templates, |style| rendered.values(self, style));
                faults.extend(fault);
            }
        }
        // Most of them fail in one place.
        faults.dedup();
        faults
    }

    /// The whole response: status, headers and body.
    ///
    /// [`Page::Confirm`] as JSON is 403: a program cannot press the button, and must not take 200 for a login. A wait is
    /// 202. Its footer is for [`sign`] to complete.
    pub fn response(&self, page: &Page<'_>, format: Format) -> Response<Bytes> {
        self.response_for(page, format, None)
    }

    /// The same for the people of `app`: the way back leads to its own address, and bears its own title.
    pub fn response_for(&self, page: &Page<'_>, format: Format, app: Option<&App>) -> Response<Bytes> {
        let waits = matches!(page, Page::Server { start: Start::Starting { .. }, .. } | Page::Queue { .. });
        let with_form =
            matches!(page, Page::Confirm { .. } | Page::Server { .. } | Page::TooManyCookies { .. });
        let has_form = with_form && !waits;
        let frame_script = if let Format::Html(_) = format { self.frame_script(page) } else { None };
        let policy = match format {
            Format::Html(_) => self.policy(page.script(), frame_script.as_deref(), has_form),
            Format::Json => self.policy(None, None, false),
        };
        let (status, media_type, language, body) = match format {
            Format::Html(asked) => {
                let language = self.language.unwrap_or(asked);
                let content = page.content(language.words());
                let frame_script = frame_script.as_deref();
                let rendered = Rendered { page, content: &content, language, app, frame_script };
                let body = self.theme.render(|style| rendered.values(self, style));
                (content.status, "text/html; charset=utf-8", language, body)
            }
            Format::Json => {
                let content = page.content(Language::English.words());
                let is_confirm = matches!(page, Page::Confirm { .. });
                let status = if is_confirm { StatusCode::FORBIDDEN } else { content.status };
                let status = if waits { StatusCode::ACCEPTED } else { status };
                (status, "application/json", Language::English, json(status, page, &content))
            }
        };
        // An operator's template may leave our script and the tag for browsers without script out.
        let refresh = page
            .refresh()
            .filter(|_| format != Format::Json && !body.contains("http-equiv=\"refresh\""))
            .and_then(|refresh| HeaderValue::try_from(refresh).ok());
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let body_bytes = response.body().len();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body_bytes));
        if let Some(refresh) = refresh {
            headers.insert(header::REFRESH, refresh);
        }
        self.protect(headers, policy, has_form && format != Format::Json);
        response
    }

    /// What a page in a frame tells the page around it; none where there are no frames.
    fn frame_script(&self, page: &Page<'_>) -> Option<String> {
        if self.ancestors.is_empty() {
            return None;
        }
        let reason = page.content(Language::English.words()).code;
        let kind = if matches!(page, Page::Frame { .. }) {
            reason
        } else if page.needs_link() {
            "needs_link"
        } else {
            "page"
        };
        let message = serde_json::json!({ "hublatch": kind, "reason": reason }).to_string();
        let origins = serde_json::json!(self.ancestors).to_string();
        let script = if let Page::Frame { attributes } = page {
            STORAGE_SCRIPT.replace("COOKIE", &serde_json::json!(attributes).to_string())
        } else {
            FRAME_SCRIPT.to_owned()
        };
        Some(script.replace("ORIGINS", &origins).replace("MESSAGE", &message))
    }

    /// Nothing may load, frame, script or rebase the page; only its own style and scripts, known by their hashes, and the
    /// logo within it apply. The script of a wait listens to this origin.
    fn policy(&self, script: Option<&str>, frame_script: Option<&str>, has_form: bool) -> HeaderValue {
        let images = if self.logo.is_some() { " img-src data:;" } else { "" };
        let hashes: Vec<String> =
            script.into_iter().chain(frame_script).map(|script| format!("'{}'", sha256(script))).collect();
        let scripts =
            if hashes.is_empty() { String::new() } else { format!(" script-src {};", hashes.join(" ")) };
        let connects = if script.is_some() { " connect-src 'self';" } else { "" };
        let form_action = if has_form { &self.form_action } else { "'none'" };
        let ancestors =
            if self.ancestors.is_empty() { "'none'".to_owned() } else { self.ancestors.join(" ") };
        let policy = format!(
            "default-src 'none'; style-src {};{images}{scripts}{connects} form-action {form_action}; base-uri 'none'; \
             frame-ancestors {ancestors}",
            self.styles
        );
        HeaderValue::try_from(policy).expect("base64, keywords and origins are visible ASCII")
    }

    fn protect(&self, headers: &mut HeaderMap, policy: HeaderValue, has_form: bool) {
        // With "no-referrer" a browser posts "Origin: null" (Fetch, "`Origin` header"), and the form could not be told from a
        // forged one; "strict-origin" never sends the path or the query.
        let referrer = if has_form { "strict-origin" } else { "no-referrer" };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static(referrer));
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.ancestors.is_empty() {
            headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        }
        let vary = match self.language {
            None => "Accept, Accept-Language, Sec-Fetch-Mode",
            Some(_) => "Accept, Sec-Fetch-Mode",
        };
        headers.insert(header::VARY, HeaderValue::from_static(vary));
    }
}

fn json(status: StatusCode, page: &Page<'_>, content: &PageContent<'_>) -> String {
    let mut sentence = format!("{}. {}", content.message.title, content.message.what);
    if let Page::Queue { position, seconds, .. } = page {
        let (position, seconds) = (position.to_string(), seconds.to_string());
        sentence = plain(&sentence, &[("position", &position), ("seconds", &seconds)]);
    }
    let message = content.detail.unwrap_or(&sentence);
    let told = PageErrorJson { status: status.as_u16(), message, code: content.code };
    serde_json::to_string(&told).expect("a number and two strings are JSON")
}

/// Puts the request's id and its time into the footer of `page`, which whoever has rendered it did not know; its new
/// length, if it has changed. `id` is well-formed: it needs no escaping.
pub fn sign(page: &mut Bytes, id: &str, at: impl FnOnce() -> Timestamp) -> Option<usize> {
    let text = std::str::from_utf8(page).ok().filter(|text| text.contains([ID_MARK, TIME_MARK]))?;
    let time = at().strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    let signed = text.replace(ID_MARK, id).replace(TIME_MARK, &time);
    *page = Bytes::from(signed);
    Some(page.len())
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

/// The hash by which a policy knows `text` (CSP3 § 2.3.1, "hash-source").
fn sha256(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(digest(&SHA256, text.as_bytes())))
}
