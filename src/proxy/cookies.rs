//! Which cookies go upstream: pairs are cut out by name, and what stays, stays byte for byte.
//!
//! The hub's values are quoted and hold `|`, `:` and `=`, so a Cookie header is never parsed and
//! written anew.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderValue, SET_COOKIE};
use memchr::memmem::Finder;

use crate::token::{BrowserSecret, State, TokenDigest};

/// The hub's own login cookies. A fresh login must not carry them: the hub would keep the old session id, and any
/// logged-in user would make it skip the login.
const HUB_LOGIN: [&str; 6] = [
    "jupyterhub-hub-login",
    "jupyterhub-session-id",
    "_xsrf",
    "__Host-jupyterhub-hub-login",
    "__Host-jupyterhub-session-id",
    "__Host-_xsrf",
];

/// The cookie that holds the id of a hub session.
const SESSION: [&str; 2] = ["jupyterhub-session-id", HOST_SESSION];
/// The same where the hub uses the prefix.
pub const HOST_SESSION: &str = "__Host-jupyterhub-session-id";

/// The kinds of our own cookies, none of which is ever sent on: the login-continuation cookie, which carries a token from a
/// form post to the request that redeems it; a browser's secret and the signed time of a click, one for each pending login.
const KINDS: [&str; 3] = ["hublatch-token", "hublatch-state", "hublatch-click"];

/// The prefix of a name that no other site can set, not even a sibling domain (RFC 6265bis § 4.1.3.2); it needs https.
const HOST: &str = "__Host-";

/// What versions before this one have called them, without the tag of a hub.
const OLD_NAMES: [&str; 3] = ["hublatch-token", "hublatch-state", "__Host-hublatch-state"];

/// The most spoilt cookies that one response makes a browser forget.
const SPOILT_MAX: usize = 8;

/// Finds what is in the name of every cookie of ours. Made once: to make it costs more than to search with it.
static OURS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("hublatch-"));

/// Whether a cookie of this name says who somebody is at the hub or at a server of theirs, or is one of ours.
pub fn is_of_a_login(name: &[u8]) -> bool {
    let name = name.strip_prefix(b"__Host-").unwrap_or(name);
    name == b"_xsrf" || name.starts_with(b"jupyterhub-") || name.starts_with(b"hublatch-")
}

/// Whether the browser has any cookie of the hub, of a server there or of ours: it keeps those that it gets here.
pub fn has_of_a_login(headers: &HeaderMap) -> bool {
    let mut pairs = headers.get_all(COOKIE).iter().flat_map(|line| pairs(line.as_bytes()));
    pairs.any(|pair| is_of_a_login(as_the_hub_reads(split(pair).0)))
}

/// Whether the browser has any cookie by which the hub could know who it is.
pub fn has_of_hub(headers: &HeaderMap) -> bool {
    let mut pairs = headers.get_all(COOKIE).iter().flat_map(|line| pairs(line.as_bytes()));
    pairs.any(|pair| is_of_hub(as_the_hub_reads(split(pair).0)))
}

/// Whether a response of the hub logs somebody in: it sets the hub's login cookie.
pub fn sets_hub_login(headers: &HeaderMap) -> bool {
    let names = headers.get_all(SET_COOKIE).iter().map(|line| split(line.as_bytes()).0);
    names.into_iter().any(|name| {
        let name = name.strip_prefix(HOST.as_bytes()).unwrap_or(name);
        name == b"jupyterhub-hub-login"
    })
}

/// Cuts our own cookies out. Nothing is touched when there are none.
pub fn strip_ours(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().any(|value| OURS.find(value.as_bytes()).is_some()) {
        cut(headers, |name, _| name.strip_prefix(b"__Host-").unwrap_or(name).starts_with(b"hublatch-"));
    }
}

/// Takes out of a response of the hub, or of a server behind it, what would set or delete a cookie of ours: those say whose
/// login goes on in a browser. Nothing is touched when there is none.
pub fn strip_set_ours(headers: &mut HeaderMap) {
    if !headers.get_all(SET_COOKIE).iter().any(|line| sets_ours(line.as_bytes())) {
        return;
    }
    let lines: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().cloned().collect();
    headers.remove(SET_COOKIE);
    for line in lines.into_iter().filter(|line| !sets_ours(line.as_bytes())) {
        headers.append(SET_COOKIE, line);
    }
}

fn sets_ours(line: &[u8]) -> bool {
    // Most lines set a cookie of the hub's, and every response is looked through.
    if !matches!(line.trim_ascii_start().first(), Some(b'h' | b'_' | b'=')) {
        return false;
    }
    let pair = pairs(line).next().unwrap_or_default();
    // A cookie without a name: browsers send its value alone, and that would be read as a name (RFC 6265bis § 5.8.3).
    let (name, value) = split(pair);
    let name = if name.trim_ascii().is_empty() { split(value).0 } else { name }.trim_ascii();
    let name =
        [&b"__Host-"[..], b"__Secure-"].iter().find_map(|prefix| name.strip_prefix(*prefix)).unwrap_or(name);
    name.starts_with(b"hublatch-")
}

/// Whether a response of the hub to a logout ends the session that it was asked with. The hub deletes the session id of a
/// user who is logged in, and of nobody else; a login cookie that is worth nothing it deletes in any case.
pub fn end_session(headers: &HeaderMap) -> bool {
    headers.get_all(SET_COOKIE).iter().any(|line| {
        let (name, value) = split(pairs(line.as_bytes()).next().unwrap_or_default());
        SESSION.iter().any(|session| session.as_bytes() == name.trim_ascii())
            && matches!(value.trim_ascii(), b"" | b"\"\"")
    })
}

/// What our cookies are called. Browsers keep cookies by host name alone, so the names are bound to the port and the base
/// URL: two hubs on one host name do not disturb each other.
#[derive(Debug, Clone)]
pub struct CookieNames {
    prefix: &'static str,
    tag: String,
}

impl CookieNames {
    /// Those of the hub at `origin` and `base_url`.
    pub fn new(origin: &str, base_url: &str) -> Self {
        let prefix = if origin.starts_with("https:") { HOST } else { "" };
        let digest = TokenDigest::of(format!("{origin}{base_url}").as_bytes());
        Self { prefix, tag: short(digest.as_bytes()) }
    }

    /// Of the login-continuation cookie.
    pub fn continuation(&self) -> String {
        format!("{}hublatch-token-{}", self.prefix, self.tag)
    }

    /// Of the cookie with the secret of the pending login with this `state`. Who has only the name cannot make the secret.
    pub fn state(&self, state: State) -> String {
        format!("{}hublatch-state-{}-{}", self.prefix, self.tag, short(state.as_bytes()))
    }

    /// Of the cookie with the time of a click with the token of this digest.
    pub fn click(&self, digest: TokenDigest) -> String {
        format!("{}hublatch-click-{}-{}", self.prefix, self.tag, short(digest.as_bytes()))
    }
}

/// So much of a digest as tells a few names apart.
fn short(digest: &[u8; 32]) -> String {
    let [one, two, three, four, ..] = *digest;
    format!("{:08x}", u32::from_be_bytes([one, two, three, four]))
}

/// Our own cookies in one request.
#[derive(Debug, Default)]
pub struct OurCookies {
    /// The value of the login-continuation cookie.
    pub continuation: Option<String>,
    /// The secrets of pending logins; browsers send the oldest cookie first (RFC 6265 § 5.4).
    pub secrets: Vec<BrowserSecret>,
    /// The names of those that are worth nothing: two values of one name, a value that we have not written, or a name of an
    /// older version or without its prefix. Somebody may have planted them.
    pub spoilt: Vec<String>,
}

impl OurCookies {
    /// Those of a request with `headers`.
    pub fn read(headers: &HeaderMap, names: &CookieNames) -> Self {
        let mut ours = Self::default();
        // Nearly no request has one.
        if !headers.get_all(COOKIE).iter().any(|line| OURS.find(line.as_bytes()).is_some()) {
            return ours;
        }
        let (continuation, tag) = (names.continuation(), format!("-{}", names.tag));
        let state = format!("{}hublatch-state{tag}-", names.prefix);
        let mut found: Vec<(&str, Vec<&[u8]>)> = Vec::new();
        let mut places = HashMap::new();
        for pair in headers.get_all(COOKIE).iter().flat_map(|line| pairs(line.as_bytes())) {
            let (name, value) = split(pair);
            let Ok(name) = std::str::from_utf8(as_browsers_write(name)) else { continue };
            if !KINDS.iter().any(|kind| name.strip_prefix(HOST).unwrap_or(name).starts_with(kind)) {
                continue;
            }
            let place = *places.entry(name).or_insert(found.len());
            match found.get_mut(place) {
                Some((_, values)) => values.push(value.trim_ascii()),
                None => found.push((name, vec![value.trim_ascii()])),
            }
        }
        for (name, values) in found {
            let value = match values[..] {
                [value] => std::str::from_utf8(value).ok(),
                _ => None,
            };
            let is_good = if OLD_NAMES.contains(&name) {
                false
            } else if !name.contains(&tag) {
                // Of another hub on this host name.
                true
            } else if !name.starts_with(names.prefix) {
                false
            } else if name == continuation {
                ours.continuation = value.map(str::to_owned);
                value.is_some()
            } else if name.starts_with(&state) {
                let secret = value.and_then(BrowserSecret::parse);
                let secret = secret.filter(|secret| names.state(secret.state()) == name);
                let is_secret = secret.is_some();
                ours.secrets.extend(secret);
                is_secret
            } else {
                value.is_some()
            };
            if !is_good && ours.spoilt.len() < SPOILT_MAX && is_token(name) {
                ours.spoilt.push(name.to_owned());
            }
        }
        ours
    }
}

/// Whether `name` can be the name of a cookie that we clear (RFC 9110 § 5.6.2).
fn is_token(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The names of the cookies that came with `headers`, the largest first.
pub fn by_size(headers: &HeaderMap) -> Vec<String> {
    let all = headers.get_all(COOKIE).iter().flat_map(|line| pairs(line.as_bytes()));
    let mut sizes: Vec<(usize, String)> = all
        .filter_map(|pair| {
            let name = as_browsers_write(split(pair).0);
            // What a header that we write can hold.
            let is_plain = name.iter().all(|byte| byte.is_ascii_graphic() && !b";,=\"\\".contains(byte));
            let name = std::str::from_utf8(name).ok().filter(|name| is_plain && !name.is_empty())?;
            Some((pair.len(), name.to_owned()))
        })
        .collect();
    sizes.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
    let mut known = HashSet::new();
    sizes.into_iter().map(|(_, name)| name).filter(|name| known.insert(name.clone())).collect()
}

/// How many bytes of cookies came with `headers`.
pub fn size(headers: &HeaderMap) -> usize {
    headers.get_all(COOKIE).iter().map(|line| line.as_bytes().len()).sum()
}

/// Cuts the hub's login cookies out.
pub fn strip_hub_login(headers: &mut HeaderMap) {
    cut(headers, |name, _| HUB_LOGIN.iter().any(|cookie| cookie.as_bytes() == name));
}

/// How the names begin of all cookies of the hub and of its users' servers.
const HUB: [&str; 2] = ["jupyterhub-", "__Host-jupyterhub-"];

fn is_of_hub(name: &[u8]) -> bool {
    HUB.iter().any(|begin| name.starts_with(begin.as_bytes()))
}

/// Cuts all cookies of the hub and its servers out, and answers their names but that of the session id.
pub fn strip_hub(headers: &mut HeaderMap) -> Vec<String> {
    let (mut names, mut known) = (Vec::new(), HashSet::new());
    for line in headers.get_all(COOKIE) {
        for pair in pairs(line.as_bytes()) {
            let name = as_the_hub_reads(split(pair).0);
            let text = std::str::from_utf8(name).unwrap_or_default();
            if is_of_hub(name) && !SESSION.contains(&text) && !text.is_empty() && known.insert(text) {
                names.push(text.to_owned());
            }
        }
    }
    cut(headers, |name, _| is_of_hub(name));
    names
}

/// How many bytes [`set_session_id`] adds at most.
pub fn session_id_bytes(id: &str) -> usize {
    "cookie: \r\n".len() + SESSION.iter().map(|name| name.len() + "=; ".len() + id.len()).sum::<usize>()
}

/// Gives the login request the id that its session is to have.
pub fn set_session_id(headers: &mut HeaderMap, id: &str) {
    let ours = SESSION.map(|name| format!("{name}={id}")).join("; ");
    // One line: the hub would join two of them with a comma.
    let mut lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    lines.push(ours.as_bytes());
    if let Ok(mut value) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        value.set_sensitive(true);
        headers.insert(COOKIE, value);
    }
}

/// The ids of the browser's hub sessions. A page of one server can set a second cookie of the same name for its own
/// path, so every value counts.
pub fn session_ids(headers: &HeaderMap) -> Vec<String> {
    SESSION.iter().flat_map(|name| values(headers, as_the_hub_reads, name)).collect()
}

/// Those under the name that no other site can set: of other spellings it can, so they do not count.
pub fn host_session_ids(headers: &HeaderMap) -> Vec<String> {
    values(headers, as_browsers_write, HOST_SESSION).collect()
}

/// Cuts the session ids out that are `unwanted`.
pub fn strip_session_ids(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    cut(headers, |name, value| {
        SESSION.iter().any(|session| session.as_bytes() == name)
            && unwanted(&String::from_utf8_lossy(value.trim_ascii()))
    });
}

/// Whether a response sets a session id under that name.
pub fn sets_host_session_id(headers: &HeaderMap) -> bool {
    headers.get_all(SET_COOKIE).iter().any(|line| {
        let pair = pairs(line.as_bytes()).next().unwrap_or_default();
        as_browsers_write(split(pair).0) == HOST_SESSION.as_bytes()
    })
}

/// The one value of the cookie with the time of a click with the token of this digest.
pub fn click(headers: &HeaderMap, names: &CookieNames, digest: TokenDigest) -> Option<String> {
    // Nearly no request has one.
    if !headers.get_all(COOKIE).iter().any(|line| OURS.find(line.as_bytes()).is_some()) {
        return None;
    }
    let name = names.click(digest);
    let mut values = values(headers, as_browsers_write, &name);
    let value = values.next();
    value.filter(|_| values.next().is_none())
}

/// Every value of the cookie `name`, a name being what `read` makes of it.
fn values<'a>(
    headers: &'a HeaderMap,
    read: fn(&[u8]) -> &[u8],
    name: &'a str,
) -> impl Iterator<Item = String> + 'a {
    headers.get_all(COOKIE).iter().flat_map(|line| pairs(line.as_bytes())).filter_map(move |pair| {
        let (key, value) = split(pair);
        (read(key) == name.as_bytes()).then(|| String::from_utf8_lossy(value.trim_ascii()).into_owned())
    })
}

fn cut(headers: &mut HeaderMap, unwanted: impl Fn(&[u8], &[u8]) -> bool) {
    let lines: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    for line in lines {
        let is_unwanted = |pair: &&[u8]| {
            let (name, value) = split(pair);
            unwanted(as_the_hub_reads(name), value)
        };
        let kept: Vec<&[u8]> = pairs(line.as_bytes()).filter(|pair| !is_unwanted(pair)).collect();
        let kept = kept.join(&b';');
        let kept = kept.trim_ascii_start();
        if !kept.is_empty()
            && let Ok(value) = HeaderValue::from_bytes(kept)
        {
            headers.append(COOKIE, value);
        }
    }
}

fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';')
}

fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
    (&pair[..end], pair.get(end + 1..).unwrap_or_default())
}

/// A name as browsers write it. Of our own cookies no other spelling counts: only by its exact name has a browser kept
/// `__Host-` from other sites.
fn as_browsers_write(name: &[u8]) -> &[u8] {
    name.trim_ascii()
}

/// A name as the hub reads it: Latin-1, without what Python takes for whitespace, and that is 0x85 and 0xa0 as well. A
/// cookie that somebody has planted under such a name is the hub's login cookie to it.
fn as_the_hub_reads(mut name: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0x0b | 0x1c..=0x1f | 0x85 | 0xa0);
    while let [first, rest @ ..] = name
        && is_space(first)
    {
        name = rest;
    }
    while let [rest @ .., last] = name
        && is_space(last)
    {
        name = rest;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, HeaderValue::from_str(line).unwrap())).collect()
    }

    #[test]
    fn the_hubs_login_cookies_go_and_all_else_stays_byte_for_byte() {
        let mut map = headers(&[
            "a=\"2|1:0|x=y\"; jupyterhub-session-id=0f; jupyterhub-user-alice=\"2|=\";_xsrf=x ; b",
            "__Host-jupyterhub-hub-login=q",
            "_xsrf-not=1;  jupyterhub-hub-login=\"a|b\";c=d=e",
        ]);
        strip_hub_login(&mut map);
        let left: Vec<_> = map.get_all(COOKIE).iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(left, ["a=\"2|1:0|x=y\"; jupyterhub-user-alice=\"2|=\"; b", "_xsrf-not=1;c=d=e"]);
    }

    #[test]
    fn our_own_cookie_goes_and_a_line_of_nothing_else_with_it() {
        let mut map = headers(&["hublatch-token=hl_x"]);
        strip_ours(&mut map);
        assert!(!map.contains_key(COOKIE));
    }

    #[test]
    fn a_name_that_the_hub_would_trim_is_the_hubs_and_not_ours() {
        let line = |bytes: &[u8]| -> HeaderMap {
            [(COOKIE, HeaderValue::from_bytes(bytes).unwrap())].into_iter().collect()
        };
        for space in [&b"\xa0"[..], b"\x85", b"\t\xa0 \x85"] {
            let mut map = line(&[b"a=1;", space, b"jupyterhub-session-id", space, b"=planted; b=2"].concat());
            assert_eq!(session_ids(&map), ["planted"]);
            strip_hub_login(&mut map);
            assert_eq!(map[COOKIE], "a=1; b=2");
            let mut map = line(&[space, b"__Host-hublatch-token-1=x;", space, b"hublatch-token=x"].concat());
            let read = OurCookies::read(&map, &names("https://hub.test"));
            assert!(read.secrets.is_empty() && read.continuation.is_none());
            strip_ours(&mut map);
            assert!(!map.contains_key(COOKIE));
        }
        // Of UTF-8 the hub trims the second byte only.
        let mut map = line("\u{a0}_xsrf=1".as_bytes());
        strip_hub_login(&mut map);
        assert!(map.contains_key(COOKIE));
    }

    #[test]
    fn the_time_of_a_click_is_found_by_its_token_and_goes_no_further() {
        let (digest, names) = (TokenDigest::of(b"token"), names("http://hub.test"));
        let line = format!("a=1; {}=then; hublatch-click-00000000=x", names.click(digest));
        let mut map = headers(&[&line]);
        assert_eq!(click(&map, &names, digest).as_deref(), Some("then"));
        assert_eq!(click(&map, &names, TokenDigest::of(b"other")), None);
        let twice = headers(&[&line, &line]);
        assert_eq!(click(&twice, &names, digest), None);
        strip_ours(&mut map);
        assert_eq!(map[COOKIE], "a=1");
    }

    fn names(origin: &str) -> CookieNames {
        CookieNames::new(origin, "/")
    }

    fn secret() -> BrowserSecret {
        BrowserSecret::generate(&aws_lc_rs::rand::SystemRandom::new()).expect("random bytes")
    }

    #[test]
    fn our_cookies_are_bound_to_their_hub_and_on_https_to_its_host() {
        let state = secret().state();
        let hubs = [
            CookieNames::new("https://hub.test", "/"),
            CookieNames::new("https://hub.test", "/b/"),
            CookieNames::new("https://hub.test:8443", "/"),
            CookieNames::new("http://hub.test", "/"),
        ];
        for (at, names) in hubs.iter().enumerate() {
            for name in [names.continuation(), names.state(state), names.click(TokenDigest::of(b"x"))] {
                assert_eq!(name.starts_with("__Host-hublatch-"), at < 3, "{name}");
                let others = hubs.iter().enumerate().filter(|(other, _)| *other != at);
                for (_, other) in others {
                    let read = OurCookies::read(&headers(&[&format!("{name}=x")]), other);
                    assert!(read.spoilt.is_empty() && read.continuation.is_none(), "{name}: {read:?}");
                }
            }
        }
    }

    #[test]
    fn each_pending_login_has_its_own_secret_and_what_is_spoilt_counts_as_none() {
        let names = names("https://hub.test");
        let (one, two) = (secret(), secret());
        let pair = |secret: &BrowserSecret| format!("{}={}", names.state(secret.state()), secret.expose());
        let token = names.continuation();
        let read = |line: &str| OurCookies::read(&headers(&[line]), &names);
        let good = read(&format!("a=1; {}; {}; {token}=hl_x", pair(&one), pair(&two)));
        let states: Vec<_> = good.secrets.iter().map(BrowserSecret::state).collect();
        assert_eq!((states, good.continuation.as_deref()), (vec![one.state(), two.state()], Some("hl_x")));
        assert!(good.spoilt.is_empty(), "{good:?}");
        let plain = |name: &str| name.trim_start_matches("__Host-").to_owned();
        for (line, spoilt) in [
            (format!("{token}=a; {token}=b"), token.clone()),
            (format!("{}; {}", pair(&one), pair(&one)), names.state(one.state())),
            (format!("{}={}", names.state(one.state()), two.expose()), names.state(one.state())),
            (format!("{}=x", names.state(one.state())), names.state(one.state())),
            (format!("{}=hl_x", plain(&token)), plain(&token)),
            ("hublatch-token=hl_x".to_owned(), "hublatch-token".to_owned()),
            ("__Host-hublatch-state=x".to_owned(), "__Host-hublatch-state".to_owned()),
        ] {
            let read = read(&line);
            assert_eq!(read.spoilt, [spoilt], "{line}");
            assert!(read.secrets.is_empty() && read.continuation.is_none(), "{line}");
        }
    }

    #[test]
    fn the_largest_cookies_come_first() {
        let map = headers(&["a=1; big=xxxxxxxxx; b=\"2\"; big=y", "=z; q\u{e9}=1"]);
        assert_eq!(by_size(&map), ["big", "b", "a"]);
    }

    #[test]
    fn as_many_names_as_a_head_cannot_hold_are_told_apart_in_no_time() {
        let many = |name: &str| {
            let line: Vec<String> = (0..200_000).map(|number| format!("{name}{number:06}=x")).collect();
            headers(&[&line.join("; ")])
        };
        let begun = std::time::Instant::now();
        assert_eq!(by_size(&many("x")).len(), 200_000);
        assert_eq!(strip_hub(&mut many("jupyterhub-")).len(), 200_000);
        drop(OurCookies::read(&many("hublatch-state"), &names("http://hub.test")));
        // Each compared with all before it would take minutes.
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", begun.elapsed());
    }

    #[test]
    fn no_response_sets_a_cookie_of_ours_in_any_shape() {
        let left = |lines: &[&str]| -> Vec<String> {
            let lines = lines.iter().map(|line| (SET_COOKIE, HeaderValue::from_str(line).unwrap()));
            let mut map: HeaderMap = lines.collect();
            strip_set_ours(&mut map);
            map.get_all(SET_COOKIE).iter().map(|line| line.to_str().unwrap().to_owned()).collect()
        };
        for line in [
            "hublatch-state=x; Path=/",
            " hublatch-token = x",
            "__Host-hublatch-state=x; Secure; Path=/",
            "__Secure-hublatch-click-0=x",
            "hublatch-state",
            "=hublatch-state=x; Domain=hub.test",
            " = hublatch-state=x",
        ] {
            assert_eq!(left(&["a=1", line, "b=2"]), ["a=1", "b=2"], "{line}");
        }
        for line in ["a=hublatch-state", "hublatch=x", "x-hublatch-state=x", "=a; hublatch-x=1", ""] {
            assert_eq!(left(&[line]), [line], "{line}");
        }
    }

    #[test]
    fn a_session_ends_with_the_deletion_of_its_id_and_of_no_other_cookie() {
        let ends = |line: &str| {
            end_session(&[(SET_COOKIE, HeaderValue::from_str(line).unwrap())].into_iter().collect())
        };
        for line in ["jupyterhub-session-id=\"\"; expires=x; Path=/", "__Host-jupyterhub-session-id=; Path=/"]
        {
            assert!(ends(line), "{line}");
        }
        for line in
            ["jupyterhub-session-id=0f; Path=/", "jupyterhub-hub-login=\"\"; Path=/hub/", "_xsrf=", "x"]
        {
            assert!(!ends(line), "{line}");
        }
    }

    #[test]
    fn every_session_is_found_by_its_whole_name() {
        let map = headers(&["x-jupyterhub-session-id=1; jupyterhub-session-id=2", "jupyterhub-session-id=3"]);
        assert_eq!(session_ids(&map), ["2", "3"]);
        assert!(session_ids(&headers(&["a=jupyterhub-session-id"])).is_empty());
    }

    #[test]
    fn a_session_id_goes_by_its_value_and_the_others_stay_byte_for_byte() {
        let mut map = headers(&[
            "jupyterhub-session-id=x; a=x;jupyterhub-session-id=y",
            "__Host-jupyterhub-session-id=x",
        ]);
        assert_eq!(host_session_ids(&map), ["x"]);
        strip_session_ids(&mut map, |id| id == "x");
        let left: Vec<_> = map.get_all(COOKIE).iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(left, ["a=x;jupyterhub-session-id=y"]);
        let planted = HeaderValue::from_bytes(b"\xa0__Host-jupyterhub-session-id=x").unwrap();
        let map: HeaderMap = [(COOKIE, planted)].into_iter().collect();
        assert!(host_session_ids(&map).is_empty() && session_ids(&map) == ["x"]);
    }
}
