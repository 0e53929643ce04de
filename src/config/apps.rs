//! `[[apps]]`: who may issue links, and which.

mod keys;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;

use super::file::ConfigFile;
use super::jwt::{jwt, service_url};
use super::origin::{click_origin, next_prefix};
use super::parse::{app_name, duration_within, one_of, rate, written};
use super::{AppHubTokens, Jwt, hub_tokens};
use crate::token::{KeyDigest, KeyId, NamePattern, UsernameCase, UsernameRule};
use keys::keys;

/// Links a second, unless the app says otherwise.
const RATE: NonZeroU32 = NonZeroU32::new(100).expect("100 is not zero");

/// Live links, unless the app says otherwise.
const LIVE_LINKS: usize = 10_000;

/// What an app may do with its own links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Issue links.
    Issue,
    /// Read their status.
    Read,
    /// Revoke them.
    Revoke,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Issue, Self::Read, Self::Revoke];
}

/// `[[apps]]`: who may issue links, and which.
#[derive(Debug, Clone)]
pub struct App {
    /// Unique name, for logs and metrics.
    pub name: Arc<str>,
    /// Digests of its keys: one, or two while they rotate; each with its id, which every order and every redeeming asks
    /// for: to make one costs as much as half a page.
    pub keys: Vec<(KeyDigest, KeyId)>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Whom it may log in, within `login.usernames`.
    pub usernames: NamePattern,
    /// Whom it may not, whatever `usernames` says.
    pub deny_usernames: Vec<String>,
    /// Prefixes of `next` that it may use; whole path segments.
    pub next: Vec<String>,
    /// The longest life of its links; at most `login.max_lifetime`.
    pub max_lifetime: Duration,
    /// The most links it may issue per second.
    pub rate_per_second: NonZeroU32,
    /// The most links of its that wait to be used.
    pub max_live_links: usize,
    /// Where its clicks come from; empty: anywhere.
    pub origins: Vec<HeaderValue>,
    /// How it signs tokens of its own, if it does.
    pub jwt: Option<Jwt>,
    /// Where it turns tokens of its own into names, if it does.
    pub exchange_url: Option<url::Url>,
    /// What hub tokens it may have, if any.
    pub hub_tokens: Option<AppHubTokens>,
    /// Whether it may say of which groups its users are, and make other claims: not a user who issues links herself.
    pub may_assert_groups: bool,
}

/// What one app may not share with another: the keys where each name and each digest was first written.
#[derive(Default)]
struct Taken {
    names: HashMap<String, String>,
    digests: HashMap<KeyDigest, String>,
    issuers: HashMap<String, String>,
}

/// Every app. `longest` is `login.max_lifetime`, if that is known; `others_issue`: links are issued even without apps.
pub(super) fn apps(
    file: &mut ConfigFile,
    longest: Option<Duration>,
    others_issue: bool,
) -> Option<Vec<Arc<App>>> {
    let sections = file.sections("apps");
    if sections.is_empty() && !others_issue && !file.is_withdrawn("apps") {
        file.fault(
            "apps",
            "nobody may issue links; write a section [[apps]] with a name and a key, or list a hub service in \
             [hub_tokens]",
        );
    }
    let mut taken = Taken::default();
    // Every section is read before one that is bad ends the list.
    let apps: Vec<Option<Arc<App>>> =
        sections.iter().map(|section| app(file, section, longest, &mut taken).map(Arc::new)).collect();
    apps.into_iter().collect()
}

fn app(file: &mut ConfigFile, section: &str, longest: Option<Duration>, taken: &mut Taken) -> Option<App> {
    let key = |name: &str| format!("{section}.{name}");
    let name = name(file, &key("name"), taken);
    let jwt = jwt(file, &key("jwt"), &mut taken.issuers);
    let exchange_url = file.value(&key("exchange_url"), None, |text| service_url(text).map(Some));
    let makes_tokens = !matches!((&jwt, &exchange_url), (Some(None), Some(None)));
    let keys = keys(file, &key("keys"), makes_tokens, &mut taken.digests);
    let scopes = scopes(file, &key("scopes"));
    let rules = rules(file, section, longest);
    let hub_tokens = hub_tokens::of_app(file, section);
    let (jwt, exchange_url, hub_tokens) = (jwt?, exchange_url?, hub_tokens?);
    let keys = keys?;
    if hub_tokens.is_some() && keys.is_empty() {
        file.fault(&key("hub_tokens"), "needs a key of the app: with it the app asks for hub tokens");
    }
    Some(App { jwt, exchange_url, hub_tokens, ..rules?.app(name?, keys, scopes?) })
}

/// What whoever issues links is bound by.
pub(super) struct Rules {
    usernames: NamePattern,
    deny_usernames: Vec<String>,
    next: Vec<String>,
    max_lifetime: Duration,
    rate_per_second: NonZeroU32,
    max_live_links: usize,
    origins: Vec<HeaderValue>,
}

/// The rules in `section`. `longest` is `login.max_lifetime`, if that is known.
pub(super) fn rules(file: &mut ConfigFile, section: &str, longest: Option<Duration>) -> Option<Rules> {
    let key = |name: &str| format!("{section}.{name}");
    let usernames = file.value(&key("usernames"), None, |text| pattern(text).map(Some));
    let deny_usernames = file.list(&key("deny_usernames"), vec!["admin".to_owned()], denied_username);
    let next = prefixes(file, &key("next"));
    let max_lifetime = max_lifetime(file, &key("max_lifetime"), longest);
    let rate_per_second = file.value(&key("rate"), RATE, rate);
    let max_live_links = file.number(&key("max_live_links"), LIVE_LINKS, 1..=super::store::TOKENS_MAX);
    let origins = file.list(&key("origins"), Vec::new(), click_origin);
    let usernames = match usernames? {
        Some(pattern) => pattern,
        None => pattern("^.*$").ok()?,
    };
    Some(Rules {
        usernames,
        deny_usernames: deny_usernames?,
        next: next?,
        max_lifetime: max_lifetime?,
        rate_per_second: rate_per_second?,
        max_live_links: max_live_links?,
        origins: origins?,
    })
}

impl Rules {
    /// An app of these rules, which makes no tokens of its own.
    pub(super) fn app(self, name: Arc<str>, keys: Vec<KeyDigest>, scopes: Vec<Scope>) -> App {
        App {
            name,
            keys: keys.into_iter().map(|digest| (digest, digest.id())).collect(),
            scopes,
            usernames: self.usernames,
            deny_usernames: self.deny_usernames,
            next: self.next,
            max_lifetime: self.max_lifetime,
            rate_per_second: self.rate_per_second,
            max_live_links: self.max_live_links,
            origins: self.origins,
            jwt: None,
            exchange_url: None,
            hub_tokens: None,
            may_assert_groups: true,
        }
    }
}

fn name(file: &mut ConfigFile, key: &str, taken: &mut Taken) -> Option<Arc<str>> {
    let name = file.required(key, "portal", app_name)?;
    if let Some(other) = taken.names.insert(name.clone(), key.to_owned()) {
        let at = at_line(file, &other);
        file.fault(key, format!("{name:?} is the name of another app{at}; write a name of its own"));
        return None;
    }
    Some(name.into())
}

fn scopes(file: &mut ConfigFile, key: &str) -> Option<Vec<Scope>> {
    const WORDS: [(&str, Scope); 3] =
        [("issue", Scope::Issue), ("read", Scope::Read), ("revoke", Scope::Revoke)];
    let scopes = file.list(key, Vec::from(Scope::ALL), one_of(&WORDS))?;
    if scopes.is_empty() {
        file.fault(key, "is empty, so the app could do nothing; write for example [\"issue\"]");
    }
    Some(scopes)
}

fn prefixes(file: &mut ConfigFile, key: &str) -> Option<Vec<String>> {
    let prefixes = file.list(key, vec!["/".to_owned()], next_prefix)?;
    if prefixes.is_empty() {
        file.fault(key, "is empty, so the app's links could lead nowhere; write [\"/\"] for anywhere");
    }
    Some(prefixes)
}

fn max_lifetime(file: &mut ConfigFile, key: &str, longest: Option<Duration>) -> Option<Duration> {
    let range = Duration::from_secs(1)..=super::login::LIFETIME_MAX;
    let lifetime = file.value(key, None, |text| duration_within(range)(text).map(Some))?;
    match (lifetime, longest) {
        (Some(lifetime), Some(longest)) if lifetime > longest => {
            let longest = written(longest);
            file.fault(
                key,
                format!(
                    "\"{}\" is longer than login.max_lifetime; write at most \"{longest}\"",
                    written(lifetime)
                ),
            );
            None
        }
        (Some(lifetime), _) => Some(lifetime),
        (None, longest) => longest,
    }
}

/// A pattern of user names.
pub(super) fn pattern(text: &str) -> Result<NamePattern, String> {
    NamePattern::new(text).map_err(|error| {
        let reason = error.to_string();
        // The crate draws the place over several lines; the last one says what is wrong.
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("is not a regular expression ({reason}); write for example \"^[a-z0-9]+$\"")
    })
}

/// A name that is really compared with something: user names are lower case when the deny list is consulted.
fn denied_username(text: &str) -> Result<String, String> {
    let anything = NamePattern::new(".*").map_err(|error| error.to_string())?;
    let name = UsernameRule::new(anything, UsernameCase::Lower).parse(text);
    let name = name.map_err(|_| "can never be a user name; write the whole name of one user".to_owned())?;
    if name.as_str() != text {
        return Err(format!(
            "would never match, because user names are lower case here; write {:?}",
            name.as_str()
        ));
    }
    Ok(text.to_owned())
}

pub(super) fn at_line(file: &ConfigFile, key: &str) -> String {
    file.line(key).map(|line| format!(" (line {line})")).unwrap_or_default()
}
