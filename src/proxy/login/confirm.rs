//! The confirm page: "Continue as alice", with a button that posts the token back.

use hyper::Response;

use super::own_forms::{FIELD, OwnForm};
use super::parse::LoginRequest;
use crate::login::login_token::LoginToken;
use crate::pages::Page;
use crate::proxy::context::Proxy;
use crate::proxy::respond;
use crate::proxy::upstream::ResponseBody;

/// Asks the person first; only "Continue" before the name is known. The form carries the token and `next`; the other
/// parameters stay in its address, byte for byte.
pub fn page(
    proxy: &Proxy,
    request: &LoginRequest,
    token: &LoginToken,
    names: Names<'_>,
    next: Option<&str>,
    app: Option<&str>,
) -> Response<ResponseBody> {
    let rules = &proxy.shared.token_rules;
    let action = if request.other_parameters.is_empty() {
        rules.login_path.clone()
    } else {
        format!("{}?{}", rules.login_path, request.other_parameters)
    };
    let mut fields = vec![(FIELD, OwnForm::Confirm.value()), (rules.parameter.name(), token.expose())];
    fields.extend(next.map(|next| ("next", next)));
    let Names { username, current } = names;
    let page = Page::Confirm { username, current, action: &action, fields: &fields };
    respond::page_of(proxy, &page, request.accept.format(), app)
}

/// Whom the person is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// Whom the link logs in, if that is known yet.
    pub username: Option<&'a str>,
    /// Who is logged in now, if that is somebody else.
    pub current: Option<&'a str>,
}
