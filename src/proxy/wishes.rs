//! What an error page must know of a request that is gone by then.

use hyper::HeaderMap;
use hyper::header::{ACCEPT, ACCEPT_LANGUAGE, HeaderName, HeaderValue};

use crate::pages::Format;

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What an error page must know of a request that is gone by then: kept instead of judged, because nearly no request
/// ends in one.
pub struct Wishes {
    accept: Option<HeaderValue>,
    language: Option<HeaderValue>,
    mode: Option<HeaderValue>,
}

impl Wishes {
    /// The wishes of a request with `headers`.
    pub fn of(headers: &HeaderMap) -> Self {
        // One walk past all headers costs less than three lookups by name.
        let mut wishes = Self { accept: None, language: None, mode: None };
        for (name, value) in headers {
            if *name == ACCEPT {
                wishes.accept.get_or_insert_with(|| value.clone());
            } else if *name == ACCEPT_LANGUAGE {
                wishes.language.get_or_insert_with(|| value.clone());
            } else if *name == SEC_FETCH_MODE {
                wishes.mode.get_or_insert_with(|| value.clone());
            }
        }
        wishes
    }

    /// Whether it asks for an event stream, as a page's `EventSource` does (HTML, "server-sent events").
    pub fn a_stream(&self) -> bool {
        self.accept.as_ref().is_some_and(|accept| accept == "text/event-stream")
    }

    /// The form of the answer that it wants.
    pub fn format(&self) -> Format {
        let accept = self.accept.clone().map(|value| (ACCEPT, value));
        let language = self.language.clone().map(|value| (ACCEPT_LANGUAGE, value));
        let mode = self.mode.clone().map(|value| (SEC_FETCH_MODE, value));
        Format::preferred(&accept.into_iter().chain(language).chain(mode).collect())
    }
}
