//! `[[apps]]`: who may issue links, and which.

mod keys;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use url::Url;

use super::app_hub_tokens::demand_scopes;
use super::file::ConfigFile;
use super::jwt::{JwtSection, jwt, service_url};
use super::kind::{self, duration, flag, list, list_of_words, number, text};
use super::origin::{next_prefix, origin_of_page, page_url, whole_origin};
use super::pages::name as people_name;
use super::parse::{any, app_name, duration_within, rate};
use super::section::Section as _;
use super::table::section;
use super::{AppHubTokens, Jwt};
use crate::token::{KeyDigest, KeyId, NamePattern, UsernameCase, UsernameRule};
use keys::keys;

const SCOPES: [(&str, Scope); 4] =
    [("issue", Scope::Issue), ("read", Scope::Read), ("revoke", Scope::Revoke), ("end", Scope::End)];
const NO_SCOPE: &str = "is empty, so the app could do nothing; write for example [\"issue\"]";
const NO_PREFIX: &str = "is empty, so the app's links could lead nowhere; write [\"/\"] for anywhere";

/// What an app may do with its own links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Issue links.
    Issue,
    /// Read their status.
    Read,
    /// Revoke them.
    Revoke,
    /// End the sessions of users.
    End,
}

impl Scope {
    /// What whoever issues links may do with them, unless the configuration says otherwise.
    pub const OWN_LINKS: [Self; 3] = [Self::Issue, Self::Read, Self::Revoke];
}

section! {
    /// Who may issue links: one section for each app; at least one, unless [hub_tokens] lists somebody.
    pub(super) struct AppKeys {
        /// Its name in logs and metrics: letters, digits, ".", "_" and "-".
        name: String, text(app_name), required "portal";
        /// REQUIRED, unless it has jwt or exchange_url. SHA-256 digests of its key: one, or two while the key is replaced.
        /// The links of a key that is removed here are dead at once; so remove the old one when the last of its links is over.
        /// `hublatch keygen` prints a key for the app and this line. (The digest of the example is refused.)
        keys: Option<Vec<String>>, list(any), shown
            ["sha256:8016cef8741adceedfcd6b25f94cce71d7f6a8a91e78a7333df6aeb8c6826805"];
        /// What people call it, on our pages about its links. Empty: pages.name.
        title: Option<String>, text(people_name), default "";
        /// Where people find it: those pages lead back there. Empty: login.app_url.
        url: Option<String>, text(page_url), default "";
        /// What it may do with its own links; and "end": end the sessions of users whom it may log in.
        scopes: Vec<Scope>, list_of_words(&SCOPES).not_empty(NO_SCOPE), default ["issue", "read", "revoke"];
        /// What stands before every user name that the app says: with "lms-" its alice is lms-alice at the hub. For hubs that have
        /// other logins as well, where alice may be somebody else. The names that `usernames` allows are the whole ones.
        username_prefix: String, text(username_prefix), default "";
        /// Hub groups of which the app may say that its users are in them: regular expressions for a whole name. The hub honours
        /// them with c.Authenticator.manage_groups, so list no group that gives rights which the app must not give.
        groups: Vec<NamePattern>, list(pattern), default [];
        /// Whether the app may send further claims about its users, for the hub's auth_state.
        claims: bool, flag(), default false;
        /// Tokens that the app signs itself (JWT) instead of asking for links: who issues them, for whom they are, what verifies
        /// them, and how they may be signed: "EdDSA" (the default), "ES256" or "RS256". public_key_file (PEM) holds one key;
        /// jwks_url may name several, which a change of keys without refusals needs. Such an app needs no `keys`. Not written:
        /// none.
        jwt: Option<JwtSection>, kind::section::<JwtSection>(), optional
            { issuer = "https://portal.example.org", audience = "https://hub.example.org", public_key_file = "portal.pem" };
        /// Where the app turns a token of its own making into a name: POST {"token": T}, answered {"name": U}. hublatch asks
        /// once for each token and remembers that for an hour (with `memory:`, until a restart); after that it could ask again,
        /// so the app must not take a token twice either. JupyterHub's forced-login example has such an address,
        /// http://127.0.0.1:9000/login. Such an app needs no `keys`. Not written: none.
        exchange_url: Option<Url>, text(service_url), optional "https://portal.example.org/login";
        /// How the tokens begin that go to exchange_url, such as "portal_". If several apps have one, each needs such a beginning
        /// of its own: what one app has made is no other's to see, or to answer for.
        exchange_prefix: String, text(exchange_prefix), default "";
        /// Hub API tokens that the app may have in exchange for its own tokens (POST /oauth2/token): their scopes at most, and
        /// their life at most, from "1s" to "720h". "!user" stands for the user whose token it is. Needs hub.api_token_file
        /// and `keys`. Not written: none.
        hub_tokens: Option<AppHubTokens>, kind::section::<AppHubTokens>(), optional { scopes = ["access:servers!user"], max_lifetime = "1h" };
    }
}

section! {
    /// What whoever issues links is bound by: an app, or the owner of a hub token.
    pub(super) struct Rules {
        /// Whom it may log in: a regular expression for the whole name, within login.usernames.
        usernames: NamePattern, text(pattern), default "^.*$";
        /// Whom it may not log in, whatever `usernames` says. List your administrators here.
        deny_usernames: Vec<String>, list(denied_username), default ["admin"];
        /// Where its links may lead: paths, with all that lies below them.
        next: Vec<String>, list(next_prefix).not_empty(NO_PREFIX), default ["/"];
        /// The longest life of its links. Not written, it is login.max_lifetime.
        max_lifetime: Option<Duration>, duration(super::login::LIFETIME), optional "5m";
        /// The longest session that a link begins, from "1m" to "720h"; within login.max_session. Empty: that.
        max_session: Option<Duration>, text(max_session), default "";
        /// The most links that it may issue a second. Up to ten seconds' worth may be issued at once.
        rate: NonZeroU32, text(rate), default "100/s";
        /// The most of its links that wait to be used, as far as one hublatch has issued them. Above it issuing answers 429.
        max_live_links: usize, number(1..=super::store::TOKENS_MAX), default 10000;
        /// Where its pages are, such as ["https://portal.example.org"]: a click from elsewhere is asked "Continue as alice?"
        /// first. Empty: clicks may come from anywhere.
        origins: Vec<HeaderValue>, list(whole_origin), default [];
        /// Asks "Continue as alice?" at every click that comes from none of its origins (`origins`, and that of `url`), also
        /// without any origins and with login.confirm = "never": for apps whose links are mailed, because a mail scanner that is a
        /// real browser opens them like a person, but presses no button.
        scanner_safe: bool, flag(), default false;
    }
}

/// `[[apps]]`: who may issue links, and which.
#[derive(Debug, Clone)]
pub struct App {
    /// Unique name, for logs and metrics.
    pub name: Arc<str>,
    /// Digests of its keys: one, or two while they rotate; each with its id, which every order and every redeeming asks
    /// for: to make one costs as much as half a page.
    pub keys: Vec<(KeyDigest, KeyId)>,
    /// What people call it; none: `pages.name`.
    pub title: Option<String>,
    /// Where people find it; none: `login.app_url`.
    pub url: Option<String>,
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
    /// Whether each click from elsewhere is asked, with or without `origins`, and whatever `login.confirm` says.
    pub scanner_safe: bool,
    /// How it signs tokens of its own, if it does.
    pub jwt: Option<Jwt>,
    /// Where it turns tokens of its own into names, if it does.
    pub exchange_url: Option<Url>,
    /// What hub tokens it may have, if any.
    pub hub_tokens: Option<AppHubTokens>,
    /// Which hub groups it may say that its users are in.
    pub groups: Vec<NamePattern>,
    /// Whether it may make other claims about them.
    pub claims: bool,
    /// What stands before every user name that it says.
    pub username_prefix: String,
    /// How the tokens begin that it exchanges; empty: it is the only one that does.
    pub exchange_prefix: String,
    /// The longest session that a link of its begins; none: the hub decides.
    pub max_session: Option<Duration>,
}

/// What one app may not share with another: the keys where each name, digest and issuer was first written.
#[derive(Default)]
struct Taken {
    names: HashMap<String, String>,
    digests: HashMap<KeyDigest, String>,
    issuers: HashMap<String, String>,
    /// The beginnings of tokens that are exchanged, each with its section.
    exchanged: Vec<(String, String)>,
}

/// What `[login]` says, and no app exceeds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Longest {
    /// `login.max_lifetime`.
    pub(super) lifetime: Duration,
    /// `login.max_session`.
    pub(super) session: Option<Duration>,
}

/// Every app. `longest` is what `[login]` says; `others_issue`: links are issued even without apps.
pub(super) fn apps(file: &mut ConfigFile, longest: Longest, others_issue: bool) -> Vec<Arc<App>> {
    let sections = file.sections("apps");
    if sections.is_empty() && !others_issue {
        let message = "nobody may issue links; write a section [[apps]] with a name and a key, or list a hub service \
                       in [hub_tokens]";
        file.conflict("apps", &["hub_tokens"], message);
    }
    let mut taken = Taken::default();
    sections.iter().map(|section| Arc::new(app(file, section, longest, &mut taken))).collect()
}

fn app(file: &mut ConfigFile, section: &str, longest: Longest, taken: &mut Taken) -> App {
    let key = |name: &str| format!("{section}.{name}");
    let own = AppKeys::read(file, section);
    let rules = Rules::read(file, section);
    if !file.is_faulty(&key("name"))
        && let Some(other) = taken.names.insert(own.name.clone(), key("name"))
    {
        let (name, at) = (&own.name, file.at_line(&other));
        file.fault(&key("name"), format!("{name:?} is the name of another app{at}; write a name of its own"));
    }
    let makes_tokens =
        own.jwt.is_some() || own.exchange_url.is_some() || file.is_faulty(&key("exchange_url"));
    let digests = own.keys.unwrap_or_default();
    let keys = keys(file, &key("keys"), digests, makes_tokens, &mut taken.digests);
    if let Some(tokens) = &own.hub_tokens {
        demand_scopes(file, section, tokens);
        if keys.is_empty() {
            let message = "needs a key of the app: with it the app asks for hub tokens";
            file.conflict(&key("hub_tokens"), &[&key("keys")], message);
        }
    }
    if own.exchange_url.is_some() {
        demand_own_prefix(file, section, &own.exchange_prefix, &mut taken.exchanged);
    }
    let mut rules = rules.app(file, section, longest, own.name.into());
    if rules.scanner_safe {
        rules.origins.extend(own.url.as_deref().and_then(origin_of_page));
    }
    App {
        username_prefix: own.username_prefix,
        groups: own.groups,
        claims: own.claims,
        exchange_prefix: own.exchange_prefix,
        keys: keys.into_iter().map(|digest| (digest, digest.id())).collect(),
        title: own.title,
        url: own.url,
        scopes: own.scopes,
        jwt: own.jwt.map(|signed| jwt(file, &key("jwt"), signed, &mut taken.issuers)),
        exchange_url: own.exchange_url,
        hub_tokens: own.hub_tokens,
        ..rules
    }
}

/// Notes a fault if a token could be this app's and another's.
fn demand_own_prefix(
    file: &mut ConfigFile,
    section: &str,
    prefix: &str,
    exchanged: &mut Vec<(String, String)>,
) {
    let key = format!("{section}.exchange_prefix");
    let overlaps = |other: &str| other.starts_with(prefix) || prefix.starts_with(other);
    if let Some((other, _)) = exchanged.iter().find(|(_, other)| overlaps(other)) {
        let at = file.at_line(other);
        let message = format!(
            "a token that begins like this could be another app's{at} as well; write how the tokens of each app with \
             an exchange_url begin, for example \"portal_\""
        );
        file.conflict(&key, &[other], message);
    }
    exchanged.push((key, prefix.to_owned()));
}

impl Rules {
    /// An app of these rules without a key, which makes no tokens of its own. `longest` is `login.max_lifetime`.
    pub(super) fn app(self, file: &mut ConfigFile, section: &str, longest: Longest, name: Arc<str>) -> App {
        let max_lifetime = self.max_lifetime.unwrap_or(longest.lifetime);
        let key = |name: &str| format!("{section}.{name}");
        file.refuse_longer(&key("max_lifetime"), max_lifetime, "login.max_lifetime", longest.lifetime);
        if let Some((session, longest)) = self.max_session.zip(longest.session) {
            file.refuse_longer(&key("max_session"), session, "login.max_session", longest);
        }
        App {
            name,
            max_session: self.max_session.or(longest.session),
            groups: Vec::new(),
            claims: false,
            username_prefix: String::new(),
            exchange_prefix: String::new(),
            keys: Vec::new(),
            title: None,
            url: None,
            scopes: Vec::new(),
            usernames: self.usernames,
            deny_usernames: self.deny_usernames,
            next: self.next,
            max_lifetime,
            rate_per_second: self.rate,
            max_live_links: self.max_live_links,
            origins: self.origins,
            scanner_safe: self.scanner_safe,
            jwt: None,
            exchange_url: None,
            hub_tokens: None,
        }
    }
}

/// The shortest session.
pub const SESSION_MIN: Duration = Duration::from_mins(1);
/// The longest session: the cookies of the hub live 14 days unless it is told otherwise.
const SESSION_MAX: Duration = Duration::from_hours(30 * 24);

/// The longest session, or none.
pub(super) fn max_session(text: &str) -> Result<Option<Duration>, String> {
    if text.is_empty() { Ok(None) } else { duration_within(SESSION_MIN..=SESSION_MAX)(text).map(Some) }
}

fn username_prefix(text: &str) -> Result<String, String> {
    let rule =
        UsernameRule::new(NamePattern::new(".*").map_err(|error| error.to_string())?, UsernameCase::Refuse);
    if text.is_empty() || rule.parse(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err("cannot begin a user name; write for example \"lms-\"".to_owned())
}

/// The beginning of a token that we have not made.
fn exchange_prefix(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if text.len() <= 64 && text.bytes().all(plain) && !text.starts_with("hl_") {
        return Ok(text.to_owned());
    }
    Err("is no beginning of a token; write letters, digits, \"-\" and \"_\", and not \"hl_\", which ours begin with"
        .to_owned())
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
