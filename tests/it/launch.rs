//! Launching: one call starts a server and issues the link that waits for it.

mod events;
mod issue;
mod queue;
mod waiting;

use super::support::proxy::Builder;
use super::support::{Browser, FakeHub, TestProxy};

/// The token of hublatch's own service at the hub.
const OWN: &str = "0123456789abcdef0123456789abcdef";

/// A hublatch that may start servers at `hub`.
pub fn launching(hub: &FakeHub) -> Builder {
    TestProxy::before(hub).set("hub", &format!("api_token = {OWN:?}"))
}

/// A browser whom the hub knows as `name`.
pub fn logged_in(proxy: &TestProxy, name: &str) -> Browser {
    let mut browser = proxy.browser();
    browser.set_cookie("jupyterhub-hub-login", name, "/hub/");
    browser
}

/// The path of the waiting page to which the redeeming of `target` leads.
pub fn waiting_page(browser: &mut Browser, target: &str) -> String {
    let answer = browser.get(target);
    assert_eq!(answer.status, 302, "{}", answer.text());
    let page = answer.location().to_owned();
    assert!(page.starts_with("/hub/hublatch/launch/"), "{page}");
    page
}
