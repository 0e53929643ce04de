//! What becomes of a token that is not honoured: a page, or the way on for one whom the link has served already.

use std::time::Duration;

use hyper::header::{HeaderValue, LOCATION, REFRESH, RETRY_AFTER};
use hyper::{Response, StatusCode};

use super::responses::{location, page, plain};
use super::{Answer, Click, execute, form, relay};
use crate::audit::AuditReason;
use crate::login::{LoginServices, Refusal, RefusalReason};
use crate::pages::{Format, Page, Refused};
use crate::proxy::upstream::ResponseBody;
use crate::proxy::validate::Rejection;
use crate::proxy::{Proxy, hub_session};
use crate::store::Link;

/// Whoever finds a link used that was used this short a time ago may have opened it twice at once.
const AT_ONCE: Duration = Duration::from_secs(10);
/// After how many seconds her browser asks again.
const ASK_AGAIN_SECONDS: u64 = 2;

/// A refusal that is not in the audit yet. It gets there when this is dropped, also because the browser has gone.
struct AuditGuard<'a> {
    login: &'a LoginServices,
    refusal: &'a Refusal,
    click: &'a Click,
    is_none: bool,
}

impl AuditGuard<'_> {
    /// It was no refusal, or it is recorded as another.
    fn forget(mut self) {
        self.is_none = true;
    }
}

impl Drop for AuditGuard<'_> {
    fn drop(&mut self) {
        if !self.is_none {
            self.login.recorder.refused(self.refusal, self.click.client());
        }
    }
}

/// The page of a link that is not honoured, or the way on for one whom it has served already.
pub async fn refuse(proxy: &Proxy, click: &Click, asked: Option<&str>, refusal: &Refusal) -> Answer {
    let login = &proxy.shared.login;
    let record = AuditGuard { login, refusal, click, is_none: false };
    match refusal {
        Refusal::Link { reason, link: Some(link) }
            if (*reason == RefusalReason::Used && login.redeemer.is_within_grace(link))
                || *reason == RefusalReason::Bound =>
        {
            // Boxed, as all that is rare on a login's way: it must not make the state of every login larger.
            if let Some((lease, current)) = Box::pin(hub_session::of(proxy, &click.headers)).await {
                lease.release();
                if current.as_deref() == Some(link.grant.username.as_str()) {
                    record.forget();
                    return go_on(proxy, click, link, asked);
                }
            }
            if *reason == RefusalReason::Used
                && let Some(answer) = Box::pin(relay::ask(proxy, click, link)).await
            {
                record.forget();
                return Ok(answer);
            }
        }
        Refusal::Link { .. } | Refusal::Next { .. } | Refusal::Store(_) => {}
    }
    if matches!(refusal, Refusal::Link { reason: RefusalReason::Unknown, .. }) {
        login.redeemer.count_unknown(click.origin.client);
        if let Some(wait) = login.redeemer.must_wait(click.origin.client) {
            record.forget();
            return form::take_back(proxy, click, too_many_tries(proxy, click, wait));
        }
    }
    drop(record);
    let refused = match refusal {
        Refusal::Next { error, .. } => {
            tracing::debug!(%error, "login: next refused");
            return Err(Rejection::Next.into());
        }
        Refusal::Store(error) => {
            tracing::error!(%error, "login: token store");
            return Ok(page(proxy, &Page::StoreDown, click.wishes.format()));
        }
        Refusal::Link { reason, .. } => match reason {
            RefusalReason::Unknown => Refused::Unknown,
            RefusalReason::Expired => Refused::Expired,
            RefusalReason::Used => Refused::Used,
            RefusalReason::Revoked | RefusalReason::KeyRevoked => Refused::Revoked,
            RefusalReason::NotAllowed => Refused::NotAllowed,
            RefusalReason::Bound => Refused::Bound,
            RefusalReason::NeedsState => Refused::NeedsState,
        },
    };
    let mut answer = page(proxy, &Page::Refused(refused), click.wishes.format());
    if may_be_let_on(proxy, click, refusal) {
        answer.headers_mut().insert(REFRESH, HeaderValue::from(ASK_AGAIN_SECONDS));
    }
    form::take_back(proxy, click, answer)
}

/// Whether this may be the second of two tabs that were opened at once: its request was sent before the first one's
/// login had come, so its cookies tell nothing. When the browser asks again by itself, they do. To anybody else it is
/// the same page a few times over.
fn may_be_let_on(proxy: &Proxy, click: &Click, refusal: &Refusal) -> bool {
    let login = &proxy.shared.login;
    let Refusal::Link { reason: RefusalReason::Used, link: Some(link) } = refusal else { return false };
    let is_page = matches!(click.wishes.format(), Format::Html(_));
    // Only an address that has the token in it is worth asking for again.
    let is_link = !click.confirmed && !click.handed_over;
    is_page
        && is_link
        && login.redeemer.is_within_grace(link)
        && login.redeemer.was_used_within(link, AT_ONCE)
}

/// The page of a hub that is not to be had; `link` stays as it is.
pub fn hub_down(proxy: &Proxy, click: &Click, link: Option<&Link>) -> Response<ResponseBody> {
    proxy.shared.login.recorder.refused_for(AuditReason::HubUnavailable, link, click.client());
    page(proxy, &Page::HubDown, click.wishes.format())
}

/// An address that has brought too many unknown tokens waits.
pub fn too_many_tries(proxy: &Proxy, click: &Click, wait: Duration) -> Response<ResponseBody> {
    proxy.shared.login.recorder.refused_for(AuditReason::TooManyTries, None, click.client());
    let mut answer = page(proxy, &Page::TooManyTries, click.wishes.format());
    // Whole seconds, and none too few (RFC 9110 § 10.2.3).
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
    answer
}

/// Refresh, back, double click, another tab: this very user is logged in; she goes where the link leads, without a
/// login.
pub fn go_on(proxy: &Proxy, click: &Click, link: &Link, asked: Option<&str>) -> Answer {
    let login = &proxy.shared.login;
    let next = login.policy().destination_of(link, asked).map_err(|_| Rejection::Next)?;
    let way = login
        .policy()
        .spawn_tickets
        .waiting_page(link, next.as_ref())
        .or_else(|| next.map(|next| next.as_str().to_owned()))
        .or_else(|| execute::home(proxy, &link.grant.username))
        .unwrap_or_else(|| format!("{}hub/", proxy.shared.rules.base_url));
    let mut answer = plain(StatusCode::SEE_OTHER);
    answer.headers_mut().insert(LOCATION, location(&way)?);
    form::take_back(proxy, click, answer)
}
