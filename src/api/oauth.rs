//! `POST /oauth2/token` (RFC 8693) and `POST /oauth2/revoke` (RFC 7009): hub API tokens for an app's own, and their end.
//!
//! The app proves itself by its key (RFC 6749 § 2.3.1): as the password of HTTP Basic with its name, as `client_secret` in
//! the form, or as a Bearer token as everywhere in this API; one way at a time. Errors are those of RFC 6749 § 5.2, with
//! the members of this API's other errors beside them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::auth;
use super::error::{ApiError, hub_status_and_code, refusal_status_and_code, whole_seconds};
use super::{Answer, json_answer};
use crate::config::App;
use crate::hub::HubError;
use crate::login::LoginService;
use crate::login::hub_tokens::{Exchange, NoHubToken, RevokedToken, Subject};
use crate::shutdown::Shutdown;

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// RFC 8693 § 3 leaves other types to URIs of one's own.
const LOGIN_TOKEN: &str = "urn:hublatch:params:oauth:token-type:login_token";

/// A form, each parameter once; without a value is not at all (RFC 6749 § 3.2).
#[derive(Debug)]
pub(super) struct Form(Vec<(String, Zeroizing<String>)>);

/// An error of RFC 6749 § 5.2.
#[derive(Debug)]
pub(super) struct OAuthError {
    status: StatusCode,
    error: &'static str,
    code: &'static str,
    description: String,
    retry_after: Option<Duration>,
    /// For 401: how the client has tried to prove itself.
    challenge: Option<&'static str>,
}

#[derive(Serialize)]
struct ErrorJson<'a> {
    error: &'a str,
    error_description: &'a str,
    status: u16,
    message: &'a str,
    code: &'a str,
}

#[derive(Serialize)]
struct TokenJson<'a> {
    access_token: &'a str,
    issued_token_type: &'static str,
    token_type: &'static str,
    expires_in: u64,
    scope: String,
}

/// `POST /oauth2/token`
pub(super) async fn token(
    login: &Arc<LoginService>,
    shutdown: &Shutdown,
    headers: &HeaderMap,
    form: Form,
    client: Option<IpAddr>,
) -> Result<Answer, OAuthError> {
    let app = authenticate(login, headers, &form)?;
    match form.get("grant_type") {
        Some(TOKEN_EXCHANGE) => {}
        Some(_) => {
            let wrong = format!("grant_type must be {TOKEN_EXCHANGE}");
            return Err(OAuthError::new("unsupported_grant_type", wrong));
        }
        None => return Err(missing("grant_type")),
    }
    let subject = form.get("subject_token").ok_or_else(|| missing("subject_token"))?;
    let kind = match form.get("subject_token_type") {
        Some(JWT) => Subject::Jwt,
        Some(LOGIN_TOKEN) => Subject::LoginToken,
        Some(_) => {
            let wrong = format!("subject_token_type must be {JWT} or {LOGIN_TOKEN}");
            return Err(OAuthError::request(wrong));
        }
        None => return Err(missing("subject_token_type")),
    };
    if form.get("requested_token_type").is_some_and(|wanted| wanted != ACCESS_TOKEN) {
        return Err(OAuthError::request(format!("requested_token_type must be {ACCESS_TOKEN}")));
    }
    if form.get("actor_token").or(form.get("actor_token_type")).is_some() {
        return Err(OAuthError::request(
            "there is no acting for another here: leave actor_token out".to_owned(),
        ));
    }
    if form.get("resource").or(form.get("audience")).is_some() {
        // RFC 8693 § 2.2.2.
        return Err(OAuthError::new(
            "invalid_target",
            "tokens are for the hub alone: leave it out".to_owned(),
        ));
    }
    let exchange = Exchange {
        app,
        subject: Zeroizing::new(subject.to_owned()),
        kind,
        scopes: form.get("scope").map(scopes).transpose()?,
        expires_in: expires_in(&form)?,
        client,
    };
    let issued = login.hub_token(exchange, shutdown).await?;
    let json = TokenJson {
        access_token: &issued.token,
        issued_token_type: ACCESS_TOKEN,
        token_type: "Bearer",
        expires_in: issued.expires_in.as_secs(),
        scope: issued.scopes.join(" "),
    };
    let mut answer = json_answer(StatusCode::OK, &json);
    // RFC 6749 § 5.1; Cache-Control is on every answer of this API.
    answer.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    issued.seen();
    Ok(answer)
}

/// `POST /oauth2/revoke`
pub(super) async fn revoke(
    login: &LoginService,
    headers: &HeaderMap,
    form: Form,
    client: Option<IpAddr>,
) -> Result<Answer, OAuthError> {
    let app = authenticate(login, headers, &form)?;
    let token = form.get("token").ok_or_else(|| missing("token"))?;
    if !login.hub().has_token() {
        let wrong = "there are no hub tokens here: hub.api_token_file is not configured".to_owned();
        return Err(OAuthError::new("unauthorized_client", wrong));
    }
    match login.revoke_hub_token(&app, token, client).await.map_err(|error| OAuthError::hub(&error))? {
        // RFC 7009 § 2.2: a token that is worth nothing is no error.
        RevokedToken::Dead => Ok(Answer::new(Full::new(Bytes::new()))),
        RevokedToken::NotOfApp => {
            Err(OAuthError::new("invalid_grant", "this is no token that this app got".to_owned()))
        }
        RevokedToken::NotTold => {
            let wrong =
                "this hub does not tell tokens apart (JupyterHub before 5.0); the token's user can revoke it";
            Err(OAuthError::new("unsupported_token_type", wrong.to_owned()))
        }
    }
}

impl Form {
    /// The parameters in `body`.
    pub(super) fn parse(body: &[u8]) -> Result<Self, OAuthError> {
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

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// The app that the request proves to be, in one way.
fn authenticate(login: &LoginService, headers: &HeaderMap, form: &Form) -> Result<Arc<App>, OAuthError> {
    let in_form = form.get("client_secret");
    let basic = headers.get(AUTHORIZATION).and_then(|line| line.to_str().ok()).is_some_and(is_basic);
    let scheme = if basic { "Basic realm=\"hublatch\"" } else { "Bearer realm=\"hublatch\"" };
    if headers.contains_key(AUTHORIZATION) && in_form.is_some() {
        return Err(OAuthError::request("the key is there twice: in the header and in the form".to_owned()));
    }
    let unknown = || OAuthError {
        status: StatusCode::UNAUTHORIZED,
        challenge: Some(if headers.contains_key(AUTHORIZATION) {
            scheme
        } else {
            "Basic realm=\"hublatch\""
        }),
        ..OAuthError::new("invalid_client", "no key of an app, or one that is not known".to_owned())
    };
    let (name, key) = if let Some(key) = in_form {
        (None, Zeroizing::new(key.to_owned()))
    } else if basic {
        let (name, key) = basic_credentials(headers).ok_or_else(unknown)?;
        (Some(name), key)
    } else {
        (None, Zeroizing::new(auth::key(headers).map_err(|_| unknown())?.to_owned()))
    };
    let app = login.apps().authenticate(&key).ok_or_else(unknown)?.app;
    // Whoever names itself must be whose key that is.
    let names = [name.as_deref(), form.get("client_id")];
    if names.into_iter().flatten().any(|name| name != &*app.name) {
        return Err(unknown());
    }
    Ok(app)
}

fn is_basic(credentials: &str) -> bool {
    credentials.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic "))
}

/// Name and key, each form-encoded before they were joined (RFC 6749 § 2.3.1).
fn basic_credentials(headers: &HeaderMap) -> Option<(String, Zeroizing<String>)> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let encoded = line.to_str().ok()?.get(6..)?.trim();
    let text = Zeroizing::new(String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?);
    let (name, key) = text.split_once(':')?;
    let decode = |part: &str| crate::login::next::form_decode(part);
    Some((decode(name)?, Zeroizing::new(decode(key)?)))
}

/// Scopes with one space between them (RFC 6749 § 3.3).
fn scopes(text: &str) -> Result<Vec<String>, OAuthError> {
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

fn expires_in(form: &Form) -> Result<Option<Duration>, OAuthError> {
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

fn missing(name: &str) -> OAuthError {
    OAuthError::request(format!("{name} is missing"))
}

impl OAuthError {
    fn new(error: &'static str, description: String) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error,
            code: error,
            description,
            retry_after: None,
            challenge: None,
        }
    }

    fn request(description: String) -> Self {
        Self::new("invalid_request", description)
    }

    fn hub(error: &HubError) -> Self {
        let (status, code) = hub_status_and_code(error);
        let retry_after = error.retry_after();
        Self { status, code, retry_after, ..Self::new("temporarily_unavailable", error.to_string()) }
    }

    /// The answer.
    pub(super) fn into_answer(self) -> Answer {
        let Self { status, error, code, description, retry_after, challenge } = self;
        if status.is_server_error() {
            tracing::error!(code, error = %description, "management API");
        }
        let json = ErrorJson {
            error,
            error_description: &description,
            status: status.as_u16(),
            message: &description,
            code,
        };
        let mut answer = json_answer(status, &json);
        if let Some(retry_after) = retry_after {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(retry_after)));
        }
        if let Some(challenge) = challenge {
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        answer
    }
}

/// A body that cannot be had.
impl From<ApiError> for OAuthError {
    fn from(error: ApiError) -> Self {
        let (status, code) = error.status_and_code();
        Self { status, code, ..Self::request(error.to_string()) }
    }
}

impl From<NoHubToken> for OAuthError {
    fn from(none: NoHubToken) -> Self {
        let description = none.to_string();
        match none {
            NoHubToken::NotForApp => Self::new("unauthorized_client", description),
            NoHubToken::Scope(_) => Self::new("invalid_scope", description),
            NoHubToken::Refused { message } if message.contains("scope") => {
                Self::new("invalid_scope", description)
            }
            NoHubToken::Lifetime { .. } | NoHubToken::Refused { .. } => Self::request(description),
            NoHubToken::RateLimited { retry_after } => Self {
                status: StatusCode::TOO_MANY_REQUESTS,
                code: "rate_limited",
                retry_after: Some(retry_after),
                ..Self::new("temporarily_unavailable", description)
            },
            NoHubToken::Subject(refusal) => match refusal_status_and_code(&refusal) {
                (status, code) if status.is_server_error() => {
                    Self { status, code, ..Self::new("temporarily_unavailable", description) }
                }
                // RFC 8693 § 2.2.2: whatever is wrong with the token.
                (_, code) => Self { code, ..Self::request(description) },
            },
            NoHubToken::NotOfApp => Self { code: "unknown", ..Self::request(description) },
            NoHubToken::ConfirmRequired => Self { code: "confirm_required", ..Self::request(description) },
            NoHubToken::NoSuchUser(_) => Self { code: "no_such_user", ..Self::request(description) },
            NoHubToken::Endless => Self {
                status: StatusCode::BAD_GATEWAY,
                code: "hub_error",
                ..Self::new("temporarily_unavailable", description)
            },
            NoHubToken::Hub(error) => Self::hub(&error),
            NoHubToken::BrokenOff => Self {
                status: StatusCode::SERVICE_UNAVAILABLE,
                code: "draining",
                ..Self::new("temporarily_unavailable", description)
            },
        }
    }
}
