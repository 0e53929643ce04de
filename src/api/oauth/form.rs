//! The form of a request, and the app that it proves to be from.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap};
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::{BASIC_CHALLENGE, OAuthError};
use crate::api::state::ApiState;
use crate::api::{auth, body, trace};
use crate::login::{Caller, LoginServices};

/// A form, each parameter once; without a value is not at all (RFC 6749 § 3.2).
#[derive(Debug)]
pub(in crate::api) struct Form(Vec<(String, Zeroizing<String>)>);

impl FromRequest<Arc<ApiState>> for Form {
    type Rejection = OAuthError;

    async fn from_request(request: Request, api: &Arc<ApiState>) -> Result<Self, OAuthError> {
        Self::parse(&body::form(request, api).await?)
    }
}

/// A form, and the app that it is from.
#[derive(Debug)]
pub(in crate::api) struct AppForm {
    pub(in crate::api) caller: Caller,
    pub(in crate::api) form: Form,
}

impl FromRequest<Arc<ApiState>> for AppForm {
    type Rejection = OAuthError;

    async fn from_request(request: Request, api: &Arc<ApiState>) -> Result<Self, OAuthError> {
        let (head, body) = request.into_parts();
        let form = Form::from_request(Request::from_parts(head.clone(), body), api).await?;
        let caller = authenticate(&api.login, &head.headers, &form)?;
        trace::authenticated(&head, &caller);
        Ok(Self { caller, form })
    }
}

impl Form {
    /// The parameters in `body`.
    fn parse(body: &[u8]) -> Result<Self, OAuthError> {
        let mut form: Vec<(String, Zeroizing<String>)> = Vec::new();
        for (name, value) in form_urlencoded::parse(body) {
            if form.iter().any(|(other, _)| *other == name) {
                let name: String = name.chars().take(40).collect();
                return Err(OAuthError::request(format!("the parameter {name:?} is there twice")));
            }
            form.push((name.into_owned(), Zeroizing::new(value.into_owned())));
        }
        Ok(Self(form))
    }

    pub(in crate::api) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// The app that the request proves to be, in one way.
fn authenticate(login: &LoginServices, headers: &HeaderMap, form: &Form) -> Result<Caller, OAuthError> {
    let in_form = form.get("client_secret");
    let basic = headers.get(AUTHORIZATION).and_then(|line| line.to_str().ok()).is_some_and(is_basic);
    let scheme = if basic { BASIC_CHALLENGE } else { "Bearer realm=\"hublatch\"" };
    if headers.contains_key(AUTHORIZATION) && in_form.is_some() {
        return Err(OAuthError::request("the key is there twice: in the header and in the form".to_owned()));
    }
    let challenge = if headers.contains_key(AUTHORIZATION) { scheme } else { BASIC_CHALLENGE };
    let unknown = || OAuthError::no_client(challenge);
    let (name, key) = if let Some(key) = in_form {
        (None, Zeroizing::new(key.to_owned()))
    } else if basic {
        let (name, key) = basic_credentials(headers).ok_or_else(unknown)?;
        (Some(name), key)
    } else {
        (None, Zeroizing::new(auth::key(headers).map_err(|_| unknown())?.to_owned()))
    };
    let caller = login.policy().applications.by_key(&key).ok_or_else(unknown)?;
    // Whoever names itself must be whose key that is.
    let names = [name.as_deref(), form.get("client_id")];
    if names.into_iter().flatten().any(|name| name != &*caller.app.name) {
        return Err(unknown());
    }
    Ok(caller)
}

fn is_basic(credentials: &str) -> bool {
    credentials.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic "))
}

/// Name and key, each form-encoded before they were joined (RFC 6749 § 2.3.1).
pub(in crate::api) fn basic_credentials(headers: &HeaderMap) -> Option<(String, Zeroizing<String>)> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let encoded = line.to_str().ok()?.get(6..)?.trim();
    let text = Zeroizing::new(String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?);
    let (name, key) = text.split_once(':')?;
    let decode = |part: &str| crate::login::next::form_decode(part);
    Some((decode(name)?, Zeroizing::new(decode(key)?)))
}

/// Scopes with one space between them (RFC 6749 § 3.3).
pub(in crate::api) fn scopes(text: &str) -> Result<Vec<String>, OAuthError> {
    let token = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    text.split(' ')
        .map(|scope| {
            let plain = !scope.is_empty() && scope.bytes().all(token);
            let wrong =
                || OAuthError::new("invalid_scope", "scope is not a list of scopes with spaces".to_owned());
            plain.then(|| scope.to_owned()).ok_or_else(wrong)
        })
        .collect()
}

pub(in crate::api) fn expires_in(form: &Form) -> Result<Option<Duration>, OAuthError> {
    let seconds = form.get("expires_in").map(|text| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| digits).map(Duration::from_secs)
    });
    match seconds {
        Some(None) => Err(OAuthError::request("expires_in must be a whole number of seconds".to_owned())),
        Some(seconds) => Ok(seconds),
        None => Ok(None),
    }
}
