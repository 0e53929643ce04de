//! A form with a token posted to the login path: the confirm page's button, or another site's form.

use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION, SET_COOKIE, TRANSFER_ENCODING};
use hyper::{HeaderMap, Request, Response, StatusCode};
use tokio::time::Instant;

use super::responses::{location, plain};
use super::single_flight::DOUBLE_CLICK;
use super::{Answer, Click, browser_checks, own_headers, redeem, state_cookie, token_text};
use crate::body::{RequestBody, collect};
use crate::login::query::LoginQuery;
use crate::proxy::accept::AcceptHeaders;
use crate::proxy::error::ProxyError;
use crate::proxy::upstream::ResponseBody;
use crate::proxy::validate::Rejection;
use crate::proxy::{Proxy, RequestContext, cookies};

/// The largest login form.
const FORM_BYTES_MAX: usize = 16 * 1024;
/// How long a token may lie in the hand-over cookie.
const HAND_OVER_SECONDS: i64 = 30;

/// Whether the body is a form as browsers post it by default.
pub fn is_urlencoded(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        let kind = value.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
    })
}

/// Answers a form: without a token it is the hub's own, and passes untouched.
pub async fn answer(proxy: &Proxy, context: RequestContext) -> Answer {
    let wishes = AcceptHeaders::of(context.request.headers());
    let (upgrade, origin) = (context.has_upgrade, context.origin);
    let (parts, incoming) = (*context.request).into_parts();
    let body = collect(incoming, FORM_BYTES_MAX, proxy.shared.rules.body_stall).await?;
    let parameter = &proxy.shared.token_rules.parameter;
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let text = String::from_utf8_lossy(&body);
    let form = LoginQuery::parse(&text, parameter).map_err(|_| Rejection::LoginQuery)?;
    let Some(token) = form.token else {
        let mut request = Request::from_parts(parts, RequestBody::Whole(body.clone()));
        request.headers_mut().remove(TRANSFER_ENCODING);
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        return pass_form(proxy, request).await;
    };
    // The form becomes a query. What a browser encodes may not stand raw in it: it would end or break the query.
    if !body.iter().all(|byte| byte.is_ascii_graphic() && !br#"#<>"\"#.contains(byte)) {
        return Err(Rejection::LoginForm.into());
    }
    let address = LoginQuery::parse(&query, parameter).map_err(|_| Rejection::LoginQuery)?;
    if address.token.is_some() || (address.next.is_some() && form.next.is_some()) {
        return Err(Rejection::LoginQuery.into());
    }
    let next = form.next.or(address.next);
    let token = token_text(token);
    let others = [address.rest(parameter), form.rest(parameter)];
    let others: Vec<&str> = others.iter().map(String::as_str).filter(|rest| !rest.is_empty()).collect();
    let others = others.join("&");
    if !browser_checks::is_from_this_origin(&parts.headers, &proxy.shared.rules.public_origin) {
        return hand_over(proxy, &token, next, &others);
    }
    let click = Click {
        token,
        next: next.map(str::to_owned),
        others,
        origin,
        wishes,
        upgrade,
        confirmed: true,
        handed_over: cookies::handed_over(&parts.headers).is_some(),
        states: state_cookie::of(proxy, &parts.headers),
        deadline: Instant::now() + DOUBLE_CLICK,
        headers: own_headers(parts.headers),
    };
    redeem(proxy, click).await
}

/// The hub's own login form.
async fn pass_form(proxy: &Proxy, mut request: Request<RequestBody>) -> Answer {
    cookies::strip_ours(request.headers_mut());
    proxy.strip_query(&mut request)?;
    *request.version_mut() = hyper::Version::HTTP_11;
    let mut response = proxy.upstream.send(Box::new(request)).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(ProxyError::UnaskedUpgrade);
    }
    proxy.shared.finish(response.headers_mut());
    Ok(response)
}

/// Another site's form: the browser withholds its SameSite cookies from a cross-site POST, so who is logged in cannot
/// be known. The token waits in a cookie for the GET that the 303 brings, which has the cookies.
fn hand_over(proxy: &Proxy, token: &str, next: Option<&str>, others: &str) -> Answer {
    let rules = &proxy.shared.token_rules;
    // The GET would refuse it; and no token may stand in a redirect.
    if next.is_some_and(|next| rules.parameter.mentions(next)) {
        return Err(Rejection::Next.into());
    }
    let next = next.map(|next| format!("next={next}"));
    let query: Vec<&str> =
        next.as_deref().into_iter().chain((!others.is_empty()).then_some(others)).collect();
    let target = if query.is_empty() {
        rules.login_path.clone()
    } else {
        format!("{}?{}", rules.login_path, query.join("&"))
    };
    // Only a token's own characters may enter a cookie.
    if proxy.shared.login.redeemer.parse(token).is_none() {
        return Err(Rejection::LoginForm.into());
    }
    let mut answer = plain(StatusCode::SEE_OTHER);
    answer.headers_mut().insert(LOCATION, location(&target)?);
    answer.headers_mut().insert(SET_COOKIE, hand_over_cookie(proxy, token, HAND_OVER_SECONDS)?);
    Ok(answer)
}

/// Takes the hand-over cookie back with the `answer` to a click that carried it: it has served.
pub fn take_back(proxy: &Proxy, click: &Click, mut answer: Response<ResponseBody>) -> Answer {
    if click.handed_over {
        answer.headers_mut().append(SET_COOKIE, hand_over_cookie(proxy, "", 0)?);
    }
    Ok(answer)
}

fn hand_over_cookie(proxy: &Proxy, value: &str, seconds: i64) -> Result<HeaderValue, ProxyError> {
    cookie(proxy, cookies::HAND_OVER, &proxy.shared.rules.login_path, value, seconds)
}

/// A cookie of ours: no script sees it, and it comes with no request of another site but a navigation.
pub fn cookie(
    proxy: &Proxy,
    name: &'static str,
    path: &str,
    value: &str,
    seconds: i64,
) -> Result<HeaderValue, ProxyError> {
    let cookie = cookie::Cookie::build((name, value.to_owned()))
        .path(path.to_owned())
        .max_age(cookie::time::Duration::seconds(seconds))
        .http_only(true)
        .same_site(cookie::SameSite::Lax)
        .secure(proxy.shared.rules.public_secure);
    let cookie = cookie.build().to_string();
    let text = match &proxy.shared.embed {
        Some(embed) => embed.cookie(cookie),
        None => cookie,
    };
    HeaderValue::try_from(text).map_err(|error| ProxyError::Assembly(error.into()))
}
