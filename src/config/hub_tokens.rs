//! `[hub_tokens]` and `[apps.hub_tokens]`: whose hub API tokens are keys of our own API, and who gets new ones.

use std::sync::Arc;
use std::time::Duration;

use super::file::ConfigFile;
use super::parse::duration_within;
use super::{App, Hub, Scope, apps};

/// How long the hub's word on a token is believed, unless the operator says otherwise: as in `HubAuth`.
const CACHE_MAX_AGE: Duration = Duration::from_mins(5);
/// The longest that it can be.
const CACHE_MAX_AGE_MAX: Duration = Duration::from_hours(1);
/// The life of an app's hub tokens, unless the operator says otherwise.
const TOKEN_LIFETIME: Duration = Duration::from_hours(1);
/// The longest that it can be.
const TOKEN_LIFETIME_MAX: Duration = Duration::from_hours(30 * 24);
/// The longest name or scope in a list, in bytes: the hub's own column.
const NAME_BYTES_MAX: usize = 255;

/// `[hub_tokens]`: whose hub API tokens are keys of the management API, and what their owners may do.
#[derive(Debug, Clone)]
pub struct HubTokens {
    /// Services, by name.
    pub services: Vec<String>,
    /// Users, by name.
    pub users: Vec<String>,
    /// Users, by a hub group of theirs.
    pub groups: Vec<String>,
    /// Principals of any kind, by a scope that the token has.
    pub scopes: Vec<String>,
    /// How long the hub's word on a token is believed.
    pub cache_max_age: Duration,
    /// Whether a user who is listed may log in others than herself.
    pub users_for_others: bool,
    /// The rules of an app; each owner has the rate and the live links of one.
    pub rules: Arc<App>,
}

impl HubTokens {
    /// Whether the token of anybody is a key.
    pub fn lists_anybody(&self) -> bool {
        [&self.services, &self.users, &self.groups, &self.scopes].iter().any(|list| !list.is_empty())
    }
}

/// `[apps.hub_tokens]`: what hub tokens an app may exchange its own tokens for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppHubTokens {
    /// Their scopes at most; never empty. `!user` stands for the user whose token it is.
    pub scopes: Vec<String>,
    /// Their life at most.
    pub max_lifetime: Duration,
}

/// `[hub_tokens]`, if it is there: `Some(None)` is none, `None` a bad one. `longest` is `login.max_lifetime`.
#[allow(clippy::option_option)] // the outer one is that of every reader: a fault has been noted
pub(super) fn hub_tokens(file: &mut ConfigFile, longest: Option<Duration>) -> Option<Option<HubTokens>> {
    if !file.has_section("hub_tokens") {
        return Some(None);
    }
    let services = file.list("hub_tokens.services", Vec::new(), name);
    let users = file.list("hub_tokens.users", Vec::new(), name);
    let groups = file.list("hub_tokens.groups", Vec::new(), name);
    let scopes = file.list("hub_tokens.scopes", Vec::new(), scope);
    let range = Duration::ZERO..=CACHE_MAX_AGE_MAX;
    let cache_max_age = file.value("hub_tokens.cache_max_age", CACHE_MAX_AGE, duration_within(range));
    let users_for_others = file.flag("hub_tokens.users_for_others", false);
    let rules = apps::rules(file, "hub_tokens", longest);
    Some(Some(HubTokens {
        services: services?,
        users: users?,
        groups: groups?,
        scopes: scopes?,
        cache_max_age: cache_max_age?,
        users_for_others: users_for_others?,
        rules: Arc::new(rules?.app("hub".into(), Vec::new(), Vec::from(Scope::ALL))),
    }))
}

/// `[apps.hub_tokens]` of the app `section`, if it is there.
#[allow(clippy::option_option)] // as above
pub(super) fn of_app(file: &mut ConfigFile, section: &str) -> Option<Option<AppHubTokens>> {
    let key = |name: &str| format!("{section}.hub_tokens.{name}");
    if !file.has_section(&format!("{section}.hub_tokens")) {
        return Some(None);
    }
    let scopes = file.list(&key("scopes"), Vec::new(), scope);
    if scopes.as_ref().is_some_and(Vec::is_empty) {
        // A token that is asked for without scopes has all that its user has.
        file.fault(
            &key("scopes"),
            "has no scope: which ones may the tokens have? Write for example [\"access:servers!user\"]",
        );
        return None;
    }
    let range = Duration::from_secs(1)..=TOKEN_LIFETIME_MAX;
    let max_lifetime = file.value(&key("max_lifetime"), TOKEN_LIFETIME, duration_within(range));
    Some(Some(AppHubTokens { scopes: scopes?, max_lifetime: max_lifetime? }))
}

/// Notes a fault for each app that needs what only a hub token of our own can do.
pub(super) fn demand_token(file: &mut ConfigFile, hub: Option<&Hub>, apps: Option<&[Arc<App>]>) {
    if hub.is_none_or(|hub| hub.api.token.is_some()) {
        return;
    }
    for (index, _) in
        apps.iter().flat_map(|apps| apps.iter().enumerate()).filter(|(_, app)| app.hub_tokens.is_some())
    {
        file.fault(
            &format!("apps[{index}].hub_tokens"),
            "needs hub.api_token_file: the token of a hub service that has the scope \"tokens\"",
        );
    }
}

/// The name of a service, user or group: the hub puts few bounds to it.
fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX || text.contains(char::is_control) {
        return Err(format!("is not a name; write 1 to {NAME_BYTES_MAX} bytes on one line"));
    }
    Ok(text.to_owned())
}

/// A scope (RFC 6749 § 3.3), such as `access:servers!user`.
fn scope(text: &str) -> Result<String, String> {
    let token = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(token) {
        return Err("is not a scope of the hub; write for example \"access:servers!user\"".to_owned());
    }
    Ok(text.to_owned())
}
