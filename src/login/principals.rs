//! Principals of hub API tokens as issuers of links: who is listed in `[hub_tokens]`, and what rules each is bound by.
//!
//! Each principal is an app of its own, called `hub:service:NAME` or `hub:user:NAME` (no app's name has a ":"): with links, a
//! rate and live links of its own. A service may do what an app with these rules may. Users may log in themselves alone,
//! unless the operator says otherwise, without groups and claims, and only by a token that may do all that they may: the
//! token of their notebook server, or one that they have given to another program, must not become a session of theirs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::metered_app::MeteredApp;
use crate::config::{App, HubTokens};
use crate::hub::{OwnerKind, TokenOwner};
use crate::token::NamePattern;

/// The most owners whose rate is remembered. Above it the one who has not called for longest begins anew.
const OWNERS_MAX: usize = 4096;
/// What stands before the names of these apps.
const PREFIX: &str = "hub:";

/// The owners who are listed.
#[derive(Debug)]
pub struct Principals {
    listed: HubTokens,
    seen: Mutex<SeenPrincipals>,
}

#[derive(Debug, Default)]
struct SeenPrincipals {
    owners: HashMap<Arc<str>, (Arc<MeteredApp>, u64)>,
    /// Counts up with each use.
    uses: u64,
}

impl Principals {
    /// Those of the configuration, if it lists anybody.
    pub fn new(listed: Option<&HubTokens>) -> Option<Self> {
        let listed = listed.filter(|listed| listed.lists_anybody())?.clone();
        Some(Self { listed, seen: Mutex::default() })
    }

    /// The app that stands for `owner`, if they are listed and their token is good enough.
    pub fn app_of(&self, owner: &TokenOwner) -> Option<Arc<App>> {
        let by_scope = owner.scopes.iter().any(|scope| self.listed.scopes.contains(scope));
        let listed = by_scope
            || match owner.kind {
                OwnerKind::Service => self.listed.services.contains(&owner.name),
                OwnerKind::User => {
                    let by_group = owner.groups.iter().any(|group| self.listed.groups.contains(group));
                    (by_group || self.listed.users.contains(&owner.name)) && is_whole(owner)
                }
            };
        let name = format!("{PREFIX}{}:{}", owner.kind.as_str(), owner.name);
        let metered = if listed { self.metered(&name) } else { None };
        metered.map(|metered| Arc::clone(&metered.app))
    }

    /// The app of this name, if its owner may still be listed. Who is listed by a group or by a scope is known to the hub
    /// alone; the owner's links do not live longer than it takes to notice.
    pub(super) fn metered(&self, app: &str) -> Option<Arc<MeteredApp>> {
        let (kind, name) = app.strip_prefix(PREFIX)?.split_once(':')?;
        let kind = [OwnerKind::Service, OwnerKind::User].into_iter().find(|known| known.as_str() == kind)?;
        let named = match kind {
            OwnerKind::Service => &self.listed.services,
            OwnerKind::User => &self.listed.users,
        };
        let otherwise =
            !self.listed.scopes.is_empty() || (kind == OwnerKind::User && !self.listed.groups.is_empty());
        if !otherwise && !named.iter().any(|named| named == name) {
            return None;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.uses += 1;
        let uses = seen.uses;
        if let Some((metered, last)) = seen.owners.get_mut(app) {
            *last = uses;
            return Some(Arc::clone(metered));
        }
        if seen.owners.len() >= OWNERS_MAX
            && let Some(oldest) =
                seen.owners.iter().min_by_key(|(_, (_, last))| *last).map(|(name, _)| name.clone())
        {
            seen.owners.remove(&oldest);
        }
        let metered = Arc::new(MeteredApp::new(Arc::new(self.rules(kind, name, app)?)));
        seen.owners.insert(app.into(), (Arc::clone(&metered), uses));
        Some(metered)
    }

    /// Those who were seen before go on where they were, as far as they are still listed.
    pub(super) fn carry_over(&self, old: &Self) {
        let old = old.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, (before, _)) in &old.owners {
            let Some(metered) = self.metered(name) else { continue };
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let uses = seen.uses;
            seen.owners.insert(Arc::clone(name), (Arc::new(metered.carry_over(before)), uses));
        }
    }

    fn rules(&self, kind: OwnerKind, name: &str, app: &str) -> Option<App> {
        let rules = &*self.listed.rules;
        let mut rules = App { name: app.into(), ..rules.clone() };
        // A user must not put themselves into a group of the hub's (`manage_groups`), nor anybody else.
        if kind == OwnerKind::User {
            (rules.groups, rules.claims) = (Vec::new(), false);
        }
        if kind == OwnerKind::User && !self.listed.users_for_others {
            let own_name = rules.usernames.matches(name).then(|| regex::escape(name));
            // An empty character class matches nothing.
            rules.usernames = NamePattern::new(&own_name.unwrap_or_else(|| "[^\\s\\S]".to_owned())).ok()?;
        }
        Some(rules)
    }
}

/// Whether a user's token may do all that the user may: one that may make tokens for them is as good as any.
fn is_whole(owner: &TokenOwner) -> bool {
    let own = format!("tokens!user={}", owner.name);
    owner.scopes.iter().any(|scope| scope == "tokens" || *scope == own)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::load_str;
    use crate::token::{UsernameCase, UsernameRule};

    const BASE: &str = "[public]\nurl = \"http://h\"\n[hub]\nurl = \"http://127.0.0.1:8400\"\n[hub_tokens]\n";

    fn principals(lines: &str) -> Principals {
        let config = load_str(&format!("{BASE}{lines}"), Path::new("hublatch.toml"), []).unwrap();
        Principals::new(config.hub_tokens.as_ref()).unwrap()
    }

    fn owner(kind: OwnerKind, name: &str, scopes: &[&str]) -> TokenOwner {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        TokenOwner { name: name.to_owned(), kind, groups: vec!["staff".to_owned()], scopes, token_id: None }
    }

    fn may_log_in(app: &App, name: &str) -> bool {
        let rule = UsernameRule::new(NamePattern::new(".*").unwrap(), UsernameCase::Refuse);
        app.allows_user(&rule.parse(name).unwrap())
    }

    #[test]
    fn a_service_is_listed_by_name_and_a_user_of_that_name_is_not_the_service() {
        let principals = principals("services = [\"issuer\"]");
        let app = principals.app_of(&owner(OwnerKind::Service, "issuer", &[])).unwrap();
        assert_eq!(&*app.name, "hub:service:issuer");
        assert!(may_log_in(&app, "alice") && !may_log_in(&app, "admin"));
        assert!(principals.app_of(&owner(OwnerKind::User, "issuer", &["tokens!user=issuer"])).is_none());
        assert!(principals.app_of(&owner(OwnerKind::Service, "other", &["tokens"])).is_none());
    }

    #[test]
    fn a_user_logs_in_herself_alone_by_a_token_that_may_do_all_that_she_may() {
        for lines in ["users = [\"a.b\"]", "groups = [\"staff\"]"] {
            let principals = principals(lines);
            let whole = owner(OwnerKind::User, "a.b", &["access:servers!user=a.b", "tokens!user=a.b"]);
            let app = principals.app_of(&whole).unwrap();
            assert!(may_log_in(&app, "a.b") && !may_log_in(&app, "axb") && !may_log_in(&app, "alice"));
            for scopes in
                [&[][..], &["access:servers!user=a.b"], &["tokens!user=alice"], &["read:tokens!user=a.b"]]
            {
                assert!(principals.app_of(&owner(OwnerKind::User, "a.b", scopes)).is_none(), "{scopes:?}");
            }
        }
        let others = principals("users = [\"alice\"]\nusers_for_others = true\nusernames = \"stud-.*\"");
        let app = others.app_of(&owner(OwnerKind::User, "alice", &["tokens"])).unwrap();
        assert!(may_log_in(&app, "stud-1") && !may_log_in(&app, "alice"));
        let denied = principals("users = [\"admin\"]");
        let app = denied.app_of(&owner(OwnerKind::User, "admin", &["tokens"])).unwrap();
        assert!(!may_log_in(&app, "admin"), "the rules hold for oneself too");
    }

    #[test]
    fn a_scope_lists_whoever_has_it_to_the_letter() {
        let principals = principals("scopes = [\"custom:hublatch:issue\"]");
        assert!(principals.app_of(&owner(OwnerKind::Service, "x", &["custom:hublatch:issue"])).is_some());
        let user = principals.app_of(&owner(OwnerKind::User, "alice", &["custom:hublatch:issue"])).unwrap();
        assert!(may_log_in(&user, "alice") && !may_log_in(&user, "bob"));
        for scope in ["custom:hublatch", "custom:hublatch:issue!user=x", "custom:hublatch:issue2", ""] {
            assert!(principals.app_of(&owner(OwnerKind::Service, "x", &[scope])).is_none(), "{scope}");
        }
    }

    #[test]
    fn the_app_of_an_owner_who_is_listed_no_more_is_gone() {
        let principals = principals("services = [\"issuer\"]");
        assert!(principals.metered("hub:service:issuer").is_some());
        for name in [
            "hub:service:other",
            "hub:user:issuer",
            "hub:issuer",
            "portal",
            "hub:robot:issuer",
            "hub:service:",
        ] {
            assert!(principals.metered(name).is_none(), "{name}");
        }
    }

    #[test]
    fn the_owners_who_are_remembered_are_bounded_and_the_busy_ones_stay() {
        let principals = principals("scopes = [\"x\"]");
        let first = principals.metered("hub:user:u0").unwrap();
        for number in 0..OWNERS_MAX + 5 {
            assert!(principals.metered(&format!("hub:user:u{number}")).is_some());
            assert!(Arc::ptr_eq(&principals.metered("hub:user:u0").unwrap(), &first));
            assert!(principals.seen.lock().unwrap().owners.len() <= OWNERS_MAX);
        }
    }
}
