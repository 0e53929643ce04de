//! The answers of the login path that are ours: pages, redirects, and statuses without a body.

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, HeaderValue, REFERRER_POLICY};
use hyper::{Response, StatusCode};

use super::Click;
use crate::login::login_token::LoginToken;
use crate::pages::{Format, Page};
use crate::proxy::Proxy;
use crate::proxy::error::ProxyError;
use crate::proxy::upstream::ResponseBody;

/// "Continue as alice", or only "Continue" before the name is known: the form carries the token and `next`; the other
/// parameters stay in its address, byte for byte.
pub fn confirm_page(
    proxy: &Proxy,
    click: &Click,
    token: &LoginToken,
    username: Option<&str>,
    next: Option<&str>,
    other: Option<&str>,
) -> Response<ResponseBody> {
    let rules = &proxy.shared.token_rules;
    let action = if click.others.is_empty() {
        rules.login_path.clone()
    } else {
        format!("{}?{}", rules.login_path, click.others)
    };
    let mut fields = vec![(rules.parameter.name(), token.expose())];
    fields.extend(next.map(|next| ("next", next)));
    page(
        proxy,
        &Page::Confirm { username, current: other, action: &action, fields: &fields },
        click.wishes.format(),
    )
}

/// A page in the form that the client prefers.
pub fn page(proxy: &Proxy, page: &Page<'_>, format: Format) -> Response<ResponseBody> {
    proxy.shared.pages.answer(page, format).map(ResponseBody::Whole)
}

/// An answer without a body that nobody keeps.
pub fn plain(status: StatusCode) -> Response<ResponseBody> {
    let mut answer = Response::new(ResponseBody::Whole(Bytes::new()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

/// `text` as a Location: characters outside ASCII are percent-encoded, as a browser would.
pub fn location(text: &str) -> Result<HeaderValue, ProxyError> {
    let encoded = percent_encoding::utf8_percent_encode(text, &percent_encoding::AsciiSet::EMPTY).to_string();
    HeaderValue::try_from(encoded).map_err(|error| ProxyError::Assembly(error.into()))
}
