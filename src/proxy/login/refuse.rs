//! The pages of tokens that are not honoured, and their lines in the audit.

use std::sync::Arc;
use std::time::Duration;

use hyper::Response;
use hyper::header::{HeaderValue, ORIGIN, REFRESH, RETRY_AFTER};

use super::own_forms::{FIELD, OwnForm};
use super::parse::{self, LoginRequest, UnverifiedForm};
use crate::audit::{AuditReason, Client};
use crate::login::login_token::LoginToken;
use crate::login::{ExchangeSubject, LoginServices, Refusal, RefusalReason, Subject};
use crate::pages::{Format, LinkRefusal, Page};
use crate::proxy::context::Proxy;
use crate::proxy::hub_session::HubTrouble;
use crate::proxy::respond;
use crate::proxy::upstream::ResponseBody;
use crate::store::Link;

/// A link that was used this short a time ago may have been opened twice at once.
const AT_ONCE: Duration = Duration::from_secs(10);
/// After how many seconds such a browser asks again.
const ASK_AGAIN_SECONDS: u64 = 2;

/// After how many seconds a busy hub may be asked again that does not say so itself.
const COME_BACK_SECONDS: u64 = 5;

/// A refusal that is not in the audit yet. It gets there when this is dropped, also because the browser has gone.
pub struct AuditGuard {
    login: Arc<LoginServices>,
    /// None: there is nothing to record any more.
    reason: Option<AuditReason>,
    link: Option<Box<Link>>,
    /// What is known where there is no link.
    subject: ExchangeSubject,
    address: Option<std::net::IpAddr>,
    request_id: Option<String>,
}

impl AuditGuard {
    /// Of `refusal`; `subject` is what is known where it has no link.
    pub fn new(
        login: &Arc<LoginServices>,
        refusal: &Refusal,
        subject: ExchangeSubject,
        client: Client<'_>,
    ) -> Self {
        Self {
            login: Arc::clone(login),
            reason: Some(refusal.reason()),
            link: refusal.link().cloned().map(Box::new),
            subject,
            address: client.address,
            request_id: client.request_id.map(str::to_owned),
        }
    }

    /// It was no refusal, or it is recorded as another.
    pub fn forget(mut self) {
        self.reason = None;
    }
}

impl Drop for AuditGuard {
    fn drop(&mut self) {
        let client = Client { address: self.address, request_id: self.request_id.as_deref() };
        if let Some(reason) = self.reason {
            let ExchangeSubject { app, name } = &self.subject;
            let of_app = Subject { id: None, app: app.as_deref(), username: name.as_deref() };
            let subject = self.link.as_deref().map_or(of_app, Subject::from);
            self.login.recorder.refused_of(reason, subject, client);
        }
    }
}

/// The page of a token that is not honoured.
pub fn page(proxy: &Proxy, request: &LoginRequest, refusal: &Refusal) -> Response<ResponseBody> {
    let format = request.accept.format();
    let refused = match refusal {
        Refusal::Next { .. } => LinkRefusal::NotAllowed,
        Refusal::Store(error) => {
            tracing::error!(%error, "login: token store");
            return respond::page(proxy, &Page::StoreDown, format);
        }
        Refusal::Exchange(error) => {
            tracing::error!(%error, "login: a token that was to be exchanged is lost");
            return respond::page(proxy, &Page::ExchangeFailed, format);
        }
        Refusal::Link { reason, .. } => match reason {
            RefusalReason::Unknown => LinkRefusal::Unknown,
            RefusalReason::Expired => LinkRefusal::Expired,
            RefusalReason::Used => LinkRefusal::Used,
            RefusalReason::Revoked | RefusalReason::KeyRevoked => LinkRefusal::Revoked,
            RefusalReason::NotAllowed => LinkRefusal::NotAllowed,
            RefusalReason::Bound => LinkRefusal::Bound,
            RefusalReason::NeedsState => LinkRefusal::NeedsState,
        },
    };
    let app = refusal.link().map(|link| &*link.grant.app);
    let mut response = respond::page_of(proxy, &Page::Refused(refused), format, app);
    if may_be_second_tab(proxy, request, refusal) {
        response.headers_mut().insert(REFRESH, HeaderValue::from(ASK_AGAIN_SECONDS));
    }
    response
}

/// Whether this may be the second of two tabs that were opened at once: its request was sent before the first one's login
/// had come, so its cookies tell nothing. When the browser asks again by itself, they do. Anybody else gets the same page
/// a few times more.
fn may_be_second_tab(proxy: &Proxy, request: &LoginRequest, refusal: &Refusal) -> bool {
    let login = &proxy.shared.login;
    let Refusal::Link { reason: RefusalReason::Used, link: Some(link) } = refusal else { return false };
    let is_page = matches!(request.accept.format(), Format::Html(_));
    // Only an address that has the token in it is worth asking for again.
    is_page
        && request.is_token_in_address
        && login.redeemer.is_within_grace(link)
        && login.redeemer.was_used_within(link, AT_ONCE)
}

/// The page of a hub that does not answer; `link` stays as it is.
pub fn hub_down(proxy: &Proxy, request: &LoginRequest, link: Option<&Link>) -> Response<ResponseBody> {
    proxy.shared.login.recorder.refused_for(AuditReason::HubUnavailable, link, request.client());
    // Only an address that has the token in it is worth asking for again.
    let retries = link.is_some() && request.is_token_in_address;
    let app = link.map(|link| &*link.grant.app);
    respond::page_of(proxy, &Page::HubDown { retries }, request.accept.format(), app)
}

/// The page of a hub that answers, but does not say who the browser is; `link` stays as it is.
pub fn unidentified(
    proxy: &Proxy,
    request: &LoginRequest,
    trouble: HubTrouble,
    link: Option<&Link>,
    next: Option<&str>,
) -> Response<ResponseBody> {
    let reason = match trouble {
        HubTrouble::Down => return hub_down(proxy, request, link),
        HubTrouble::Busy { .. } | HubTrouble::NoRoom => AuditReason::HubBusy,
        HubTrouble::TooManyCookies => AuditReason::TooManyCookies,
        HubTrouble::Unexpected(_) => AuditReason::HubUnexpected,
    };
    proxy.shared.login.recorder.refused_for(reason, link, request.client());
    let app = link.map(|link| &*link.grant.app);
    let token = request.token.as_ref().map(LoginToken::expose);
    trouble_page(proxy, trouble, request.accept.format(), (token, next), app)
}

/// What a browser is told of `trouble`. `login`: its token and `next`, with which it goes on without its cookies.
pub fn trouble_page(
    proxy: &Proxy,
    trouble: HubTrouble,
    format: Format,
    (token, next): (Option<&str>, Option<&str>),
    app: Option<&str>,
) -> Response<ResponseBody> {
    match trouble {
        HubTrouble::Down => respond::page_of(proxy, &Page::HubDown { retries: false }, format, app),
        HubTrouble::Busy { .. } | HubTrouble::NoRoom => {
            let mut response = respond::page_of(proxy, &Page::HubBusy, format, app);
            let told = if let HubTrouble::Busy { retry_after } = trouble { retry_after } else { None };
            let seconds = told.unwrap_or(COME_BACK_SECONDS);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
        HubTrouble::TooManyCookies => {
            let rules = &proxy.shared.token_rules;
            let mut fields = vec![(FIELD, OwnForm::ForgetCookies.value())];
            fields.extend(token.map(|token| (rules.parameter.name(), token)));
            fields.extend(next.map(|next| ("next", next)));
            let page = Page::TooManyCookies { action: &rules.login_path, fields: &fields };
            respond::page_of(proxy, &page, format, app)
        }
        HubTrouble::Unexpected(status) => {
            let answer = status.to_string();
            respond::page_of(proxy, &Page::HubUnexpected { answer: &answer }, format, app)
        }
    }
}

/// A button of ours, in a browser that does not say on which page it was pressed.
pub fn unverified(proxy: &Proxy, form: &UnverifiedForm) -> Response<ResponseBody> {
    let client = parse::client(&form.headers, form.origin);
    proxy.shared.login.recorder.refused_for(AuditReason::ConfirmationUnverified, None, client);
    tracing::warn!(
        origin = ?form.headers.get(ORIGIN),
        public_url = proxy.shared.rules.public_origin,
        "login: a button of ours was pressed, and the request says neither by its Origin nor by Fetch Metadata that it \
         comes from public.url"
    );
    respond::page(proxy, &Page::ConfirmationUnverified, form.accept.format())
}

/// An address that has brought too many unknown tokens waits.
pub fn too_many_tries(proxy: &Proxy, request: &LoginRequest, wait: Duration) -> Response<ResponseBody> {
    proxy.shared.login.recorder.refused_for(AuditReason::TooManyTries, None, request.client());
    let mut response = respond::page(proxy, &Page::TooManyTries, request.accept.format());
    // Whole seconds, and none too few (RFC 9110 § 10.2.3).
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
    response
}
