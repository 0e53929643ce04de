//! What an error page must know of a request that is gone by then.

use hyper::HeaderMap;
use hyper::header::{ACCEPT_LANGUAGE, HeaderValue};

use crate::config::Language;
use crate::pages::{self, Format};

/// What an error page must know of a request that is gone by then: kept instead of judged, because nearly no request
/// ends in one.
#[derive(Debug, Default)]
pub struct AcceptHeaders {
    accept: Option<HeaderValue>,
    language: Option<HeaderValue>,
    mode: Option<HeaderValue>,
    /// It says that a script sent it (`X-Requested-With`).
    is_script: bool,
}

impl AcceptHeaders {
    /// The wishes of a request with `headers`.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut wishes = Self::default();
        for (name, value) in headers {
            wishes.note(name.as_str().as_bytes(), value);
        }
        wishes
    }

    /// Takes down what the header `name` says of them, if anything; of several the first.
    pub fn note(&mut self, name: &[u8], value: &HeaderValue) {
        let noted = match name {
            b"accept" => &mut self.accept,
            b"accept-language" => &mut self.language,
            b"sec-fetch-mode" => &mut self.mode,
            b"x-requested-with" => {
                self.is_script |= value.as_bytes().eq_ignore_ascii_case(b"XMLHttpRequest");
                return;
            }
            _ => return,
        };
        noted.get_or_insert_with(|| value.clone());
    }

    /// Whether it asks for an event stream, as a page's `EventSource` does (HTML, "server-sent events").
    pub fn a_stream(&self) -> bool {
        self.accept.as_ref().is_some_and(|accept| accept == "text/event-stream")
    }

    /// Whether it names HTML among what it takes, as browsers do that are to show the response.
    pub fn names_html(&self) -> bool {
        self.accept
            .as_ref()
            .is_some_and(|accept| memchr::memmem::find(accept.as_bytes(), b"text/html").is_some())
    }

    /// Whether a script of a page sent it.
    pub fn is_script(&self) -> bool {
        self.is_script || self.mode.as_ref().is_some_and(|mode| mode != "navigate")
    }

    /// The form of the response that it wants.
    pub fn format(&self) -> Format {
        if self.prefers_json() {
            return Format::Json;
        }
        let language = self.language.clone().map(|value| (ACCEPT_LANGUAGE, value));
        Format::Html(Language::preferred(&language.into_iter().collect()))
    }

    /// Whether that is JSON: without a look at the languages, which takes longer.
    pub fn prefers_json(&self) -> bool {
        pages::prefers_json(&self.accept, self.mode.as_ref())
    }
}
