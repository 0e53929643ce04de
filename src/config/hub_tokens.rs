//! `[hub_tokens]` and `[apps.hub_tokens]`: whose hub API tokens are keys of our own API, and who gets new ones.

use std::sync::Arc;
use std::time::Duration;

use super::app_hub_tokens::{NAME_BYTES_MAX, scope};
use super::apps::{Longest, Rules, pattern};
use super::file::ConfigFile;
use super::kind::{duration, flag, list};
use super::section::Section as _;
use super::table::section;
use super::{App, Scope};
use crate::token::NamePattern;

/// The longest that the hub's word on a token can be believed.
const CACHE_MAX_AGE_MAX: Duration = Duration::from_hours(1);
section! {
    /// Hub API tokens as keys of the management API, for services that have one anyway. With this section (remove the "#" to
    /// have it) POST /api/v1/verify and GET /api/v1/forward-auth answer too.
    pub(super) struct HubTokenKeys {
        /// Who may issue links by a hub token, and read and revoke those: services by name.
        services: Vec<String>, list(name), default [];
        /// The same for users, by name.
        users: Vec<String>, list(name), default [];
        /// The same for users, by a hub group of theirs.
        groups: Vec<String>, list(name), default [];
        /// The same for owners of any kind, by a scope that the token has, exactly as the hub spells it ("custom:hublatch:issue").
        scopes: Vec<String>, list(scope), default [];
        /// Users issue links for themselves only, without groups and claims, and only by a token that may do all that they may
        /// ("inherit"). true: for others as well, within the rules below. Services issue as apps do.
        users_for_others: bool, flag(), default false;
        /// Hub groups of which a service that issues links may say that its users are in them, as `groups` of an app.
        service_groups: Vec<NamePattern>, list(pattern), default [];
        /// Whether a service may send further claims about its users.
        service_claims: bool, flag(), default false;
        /// How long the hub's word on a token is believed, at most "1h": a token that is revoked at the hub works here for so
        /// long at most. "0s" asks the hub each time. What the hub refuses is asked again each time.
        cache_max_age: Duration, duration(Duration::ZERO..=CACHE_MAX_AGE_MAX), default "5m";
    }
}

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
    /// Whether a user who is listed may log in others than themselves.
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

/// `[hub_tokens]`, if it is there. `longest` is what `[login]` says.
pub(super) fn hub_tokens(file: &mut ConfigFile, longest: Longest) -> Option<HubTokens> {
    file.has_section("hub_tokens").then(|| {
        let keys = HubTokenKeys::read(file, "hub_tokens");
        let rules = Rules::read(file, "hub_tokens");
        let rules = rules.app(file, "hub_tokens", longest, "hub".into());
        let scopes = Vec::from(Scope::OWN_LINKS);
        let (groups, claims) = (keys.service_groups, keys.service_claims);
        HubTokens {
            services: keys.services,
            users: keys.users,
            groups: keys.groups,
            scopes: keys.scopes,
            cache_max_age: keys.cache_max_age,
            users_for_others: keys.users_for_others,
            rules: Arc::new(App { scopes, groups, claims, ..rules }),
        }
    })
}

/// The name of a service, user or group: the hub puts few bounds to it.
fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX || text.contains(char::is_control) {
        return Err(format!("is not a name; write 1 to {NAME_BYTES_MAX} bytes on one line"));
    }
    Ok(text.to_owned())
}
