//! From an HTTP request on the login path to a [`LoginRequest`], whether the token comes in a link, a form or a cookie.
//!
//! Refuses what is ambiguous. Looks nothing up, and asks nobody.

use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request;
use hyper::{HeaderMap, Method, Request};

use super::browser_checks;
use super::own_forms::OwnForm;
use super::single_flight::RequestFingerprint;
use crate::audit::Client;
use crate::body::{RequestBody, hold};
use crate::client_network::Share;
use crate::login::login_token::LoginToken;
use crate::login::next::form_decode;
use crate::login::parameter::Parameter;
use crate::login::query::LoginQuery;
use crate::proxy::accept::AcceptHeaders;
use crate::proxy::context::{Proxy, RequestContext};
use crate::proxy::cookies::{self, OurCookies};
use crate::proxy::error::ProxyError;
use crate::proxy::forward::without_body;
use crate::proxy::headers::Origin;
use crate::proxy::validate::Rejection;
use crate::request_id;
use crate::token::{BrowserSecret, OpaqueToken};

/// The largest login form.
const FORM_BYTES_MAX: usize = 16 * 1024;

/// What a request on the login path is.
pub enum Parsed {
    /// A link or a form of this origin with a token.
    Login(Box<LoginRequest>),
    /// Another site's form with a token.
    ForeignForm(ForeignForm),
    /// The button of a page of ours, in a browser that does not say that it was pressed there.
    Unverified(UnverifiedForm),
    /// The button that makes the browser forget cookies: their names, and how it goes on.
    ForgetCookies(Vec<String>, Option<LoginToken>, String),
    /// A form without a token: the hub's own. Its body has been read.
    HubForm(Request<RequestBody>),
    /// A GET without a token, with its `next`, still encoded.
    WithoutToken(RequestContext, Option<String>),
    /// A HEAD for a link: a preview, which learns nothing and costs nothing.
    Preview,
    /// Another method.
    Other(RequestContext),
}

/// A request that wants to be logged in.
#[allow(clippy::struct_excessive_bools, reason = "independent facts, not states")]
pub struct LoginRequest {
    /// The token; none: what it carries has no shape that a token here can have.
    pub token: Option<LoginToken>,
    /// `next`, still encoded.
    pub next: Option<String>,
    /// The other parameters, byte for byte.
    pub other_parameters: String,
    /// The browser's headers, stripped, without our cookies.
    pub headers: HeaderMap,
    /// Where it came from.
    pub origin: Origin,
    /// In what form it prefers a page.
    pub accept: AcceptHeaders,
    /// It asks for another protocol.
    pub has_upgrade: bool,
    /// A person pressed the button of our confirm page.
    pub confirmed: bool,
    /// It carries our login-continuation cookie.
    pub has_continuation_cookie: bool,
    /// The secrets by which the browser is known again.
    pub secrets: Vec<BrowserSecret>,
    /// The token stands in the address.
    pub is_token_in_address: bool,
    /// It is the form of our confirm page.
    pub is_post: bool,
    /// What a cookie says of an earlier click: not believed yet.
    pub click_ticket: Option<String>,
}

/// A form that a page of another site has posted. The browser withholds its SameSite cookies from it, so who is logged
/// in cannot be known: the token waits in a cookie for the GET that a redirect brings, which has the cookies.
pub struct ForeignForm {
    /// The token.
    pub token: LoginToken,
    /// The login path with the other parameters.
    pub target: String,
}

/// A form of ours that cannot be told from another site's.
pub struct UnverifiedForm {
    /// The browser's headers.
    pub headers: HeaderMap,
    /// Where it came from.
    pub origin: Origin,
    /// In what form it prefers a page.
    pub accept: AcceptHeaders,
}

/// The headers that two requests of one browser for one link have in common. The cookies are among them, because with
/// others somebody else may be logged in, for whom the response was not made; and so is all that `browser_checks` looks
/// at, because a request that must be asked first may not have the response of one that need not.
const IN_COMMON: [&str; 7] =
    ["cookie", "user-agent", "origin", "referer", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest"];

impl LoginRequest {
    /// Who asks, for the audit.
    pub fn client(&self) -> Client<'_> {
        client(&self.headers, self.origin)
    }

    /// The headers of which the fingerprint is made.
    fn in_common(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.headers.iter().filter(|(name, _)| IN_COMMON.contains(&name.as_str()))
    }

    /// The same, for a fingerprint that is made when the others are gone, if ever.
    pub fn keep_in_common(&self) -> Vec<(HeaderName, HeaderValue)> {
        self.in_common().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// What a second request of the same browser for the same link has in common with this one.
    pub fn fingerprint(&self) -> RequestFingerprint {
        let headers = self.in_common();
        let mut headers: Vec<_> = headers.map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        // The order in the map depends on what was removed from it; that of lines of one name is kept.
        headers.sort_by_key(|(name, _)| *name);
        RequestFingerprint::of(&(
            self.origin.client,
            headers,
            (self.confirmed, self.has_continuation_cookie),
            (&self.next, &self.other_parameters),
            self.secrets.iter().map(|secret| *secret.state().as_bytes()).collect::<Vec<_>>(),
        ))
    }
}

/// Who has sent a request with `headers`, for the audit.
pub fn client(headers: &HeaderMap, origin: Origin) -> Client<'_> {
    let request_id = headers.get(request_id::X_REQUEST_ID).and_then(|id| id.to_str().ok());
    Client { address: Some(origin.client), request_id }
}

/// Says what a request on the login path is, which came with `ours`.
pub async fn parse(
    proxy: &Proxy,
    mut context: RequestContext,
    ours: OurCookies,
) -> Result<Parsed, ProxyError> {
    let parameter = &proxy.shared.token_rules.parameter;
    let query = context.request.uri().query().unwrap_or_default().to_owned();
    let query = LoginQuery::parse(&query, parameter).map_err(|_| {
        // A template that escapes what is escaped already does this to every link of an app.
        if query.contains("&amp;") { Rejection::EscapedLink } else { Rejection::LoginQuery }
    });
    match *context.request.method() {
        Method::HEAD if query.as_ref().map_or(true, |query| query.token.is_some()) => Ok(Parsed::Preview),
        Method::POST if is_urlencoded(context.request.headers()) => form(proxy, context, ours).await,
        Method::GET => {
            let query = query?;
            let is_token_in_address = query.token.is_some();
            // A cookie that does not look like a token is not ours, and must not keep anybody from the hub's login.
            let continued = ours.continuation.and_then(|text| proxy.shared.login.redeemer.parse(&text));
            let has_continuation_cookie = continued.is_some();
            let token = match query.token {
                Some(text) => proxy.shared.login.redeemer.parse(&token_text(text)),
                None if has_continuation_cookie => continued,
                None => return Ok(Parsed::WithoutToken(context, query.next.map(str::to_owned))),
            };
            if query.has_many_nexts {
                return Err(Rejection::LoginQuery.into());
            }
            Ok(Parsed::Login(Box::new(LoginRequest {
                next: query.next.map(str::to_owned),
                other_parameters: query.rest(parameter),
                origin: context.origin,
                accept: AcceptHeaders::of(context.request.headers()),
                has_upgrade: context.has_upgrade,
                confirmed: false,
                has_continuation_cookie,
                secrets: ours.secrets,
                is_token_in_address,
                is_post: false,
                click_ticket: click_ticket(proxy, token.as_ref(), context.request.headers()),
                token,
                headers: own_headers(std::mem::take(context.request.headers_mut())),
            })))
        }
        _ => Ok(Parsed::Other(context)),
    }
}

/// The ticket of an earlier click with this token.
fn click_ticket(proxy: &Proxy, token: Option<&LoginToken>, headers: &HeaderMap) -> Option<String> {
    cookies::click(headers, &proxy.shared.rules.cookie_names, token?.digest())
}

/// The token that a parameter's value spells. Ours needs no escapes; an app's own may, or its library has encoded it
/// needlessly.
fn token_text(value: &str) -> String {
    let is_decoded = !value.contains(['%', '+']);
    if is_decoded || OpaqueToken::parse(value).is_some() {
        return value.to_owned();
    }
    form_decode(value)
        .filter(|decoded| OpaqueToken::parse(decoded).is_none())
        .unwrap_or_else(|| value.to_owned())
}

/// The headers of `headers` for requests of our own that stand for the browser's.
pub fn own_headers(headers: HeaderMap) -> HeaderMap {
    let mut own = without_body(headers);
    cookies::strip_ours(&mut own);
    own
}

/// Whether the body is a form as browsers post it by default.
fn is_urlencoded(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        let kind = value.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
    })
}

async fn form(proxy: &Proxy, context: RequestContext, ours: OurCookies) -> Result<Parsed, ProxyError> {
    let accept = AcceptHeaders::of(context.request.headers());
    let (has_upgrade, origin) = (context.has_upgrade, context.origin);
    let mut held = proxy.shared.held_share(origin.client);
    let (parts, incoming): (_, Incoming) = (*context.request).into_parts();
    let body = hold(incoming, FORM_BYTES_MAX, &proxy.shared.rules.bodies, &mut held).await?;
    let parameter = &proxy.shared.token_rules.parameter;
    let text = String::from_utf8_lossy(&body);
    let (own, text) = OwnForm::read(&text);
    let is_ours = browser_checks::is_from_this_origin(&parts.headers, &proxy.shared.rules.public_origin);
    if own.is_some() && !is_ours {
        return Ok(Parsed::Unverified(UnverifiedForm { headers: parts.headers, origin, accept }));
    }
    let form = LoginQuery::parse(text, parameter).map_err(|_| Rejection::LoginQuery)?;
    if own == Some(OwnForm::ForgetCookies) {
        let token = form.token.and_then(|token| proxy.shared.login.redeemer.parse(&token_text(token)));
        let login_path = &proxy.shared.rules.login_path;
        let target = continuation_target(parameter, login_path, form.next, form.rest(parameter))?;
        return Ok(Parsed::ForgetCookies(cookies::by_size(&parts.headers), token, target));
    }
    let Some(token) = form.token else { return Ok(Parsed::HubForm(whole(parts, body.clone(), held))) };
    // The form becomes a query. What a browser encodes may not stand raw in it: it would end or break the query.
    if !body.iter().all(|byte| byte.is_ascii_graphic() && !br#"#<>"\"#.contains(byte)) {
        return Err(Rejection::LoginForm.into());
    }
    let query = parts.uri.query().unwrap_or_default();
    let address = LoginQuery::parse(query, parameter).map_err(|_| Rejection::LoginQuery)?;
    let many_nexts = address.has_many_nexts || (address.next.is_some() && form.next.is_some());
    if address.token.is_some() || many_nexts {
        return Err(Rejection::LoginQuery.into());
    }
    let next = form.next.or(address.next);
    let token = proxy.shared.login.redeemer.parse(&token_text(token));
    let other_parameters = joined([address.rest(parameter), form.rest(parameter)]);
    if !is_ours {
        let target = continuation_target(parameter, &proxy.shared.rules.login_path, next, other_parameters)?;
        // Only a token's own characters may enter a cookie.
        let token = token.ok_or(Rejection::LoginForm)?;
        return Ok(Parsed::ForeignForm(ForeignForm { token, target }));
    }
    Ok(Parsed::Login(Box::new(LoginRequest {
        next: next.map(str::to_owned),
        other_parameters,
        origin,
        accept,
        has_upgrade,
        confirmed: true,
        has_continuation_cookie: ours.continuation.is_some(),
        secrets: ours.secrets,
        is_token_in_address: false,
        is_post: true,
        click_ticket: click_ticket(proxy, token.as_ref(), &parts.headers),
        token,
        headers: own_headers(parts.headers),
    })))
}

/// The request with the body that was read of it.
fn whole(parts: request::Parts, body: bytes::Bytes, held: Share) -> Request<RequestBody> {
    let length = HeaderValue::from(body.len());
    let mut request = Request::from_parts(parts, RequestBody::Whole(body, Some(held)));
    request.headers_mut().remove(TRANSFER_ENCODING);
    request.headers_mut().insert(CONTENT_LENGTH, length);
    request
}

fn continuation_target(
    parameter: &Parameter,
    login_path: &str,
    next: Option<&str>,
    others: String,
) -> Result<String, Rejection> {
    // The GET would refuse it; and no token may stand in a redirect.
    if next.is_some_and(|next| parameter.mentions(next)) {
        return Err(Rejection::Next);
    }
    let query = joined([next.map(|next| format!("next={next}")).unwrap_or_default(), others]);
    Ok(if query.is_empty() { login_path.to_owned() } else { format!("{login_path}?{query}") })
}

fn joined(parts: [String; 2]) -> String {
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("&")
}
