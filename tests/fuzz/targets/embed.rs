//! Responses for frames: each cookie has our attributes once and is the same cookie otherwise, by the `cookie` crate's
//! reading, and a login cookie comes after the deletion of its other sort; each policy has our ancestors and all its
//! other directives.

#![no_main]

use cookie::{Cookie, SameSite};
use hublatch::config::{Embed as Config, EmbedCookies};
use hublatch::proxy::embed::Embed;
use hyper::HeaderMap;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, SET_COOKIE, X_FRAME_OPTIONS};
use libfuzzer_sys::fuzz_target;

const ANCESTORS: [&str; 2] = ["https://lms.example", "https://b.example:8443"];

fn read(bytes: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(32) {
        let Some((kind, value)) = line.split_first() else { continue };
        let name = match kind % 3 {
            0 => SET_COOKIE,
            1 => CONTENT_SECURITY_POLICY,
            _ => X_FRAME_OPTIONS,
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    headers
}

fn texts(headers: &HeaderMap, name: &hyper::header::HeaderName) -> Vec<String> {
    let text = |value: &HeaderValue| value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
    headers.get_all(name).iter().map(text).collect()
}

/// The directives of every policy, each as its words.
fn policies(headers: &HeaderMap) -> Vec<Vec<Vec<String>>> {
    let words = |directive: &str| directive.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines = texts(headers, &CONTENT_SECURITY_POLICY);
    let policy = |policy: &str| policy.split(';').map(words).filter(|words| !words.is_empty()).collect();
    lines.iter().flat_map(|line| line.split(',').map(policy).collect::<Vec<_>>()).collect()
}

fn is_list(directive: &[String]) -> bool {
    directive[0].eq_ignore_ascii_case("frame-ancestors")
}

fn check_policies(before: &HeaderMap, after: &HeaderMap) {
    let (was, is) = (policies(before), policies(after));
    assert!(!after.contains_key(X_FRAME_OPTIONS));
    let has_list = was.iter().flatten().any(|directive| is_list(directive));
    let added = usize::from(before.contains_key(X_FRAME_OPTIONS) && !has_list);
    assert_eq!(was.len() + added, is.len(), "{was:?} {is:?}");
    for (was, is) in was.iter().zip(&is) {
        assert_eq!(was.len(), is.len(), "{was:?} {is:?}");
        for (was, is) in was.iter().zip(is) {
            if is_list(was) {
                // Whoever could before still can, and so can ours.
                let sources = was[1..].iter().filter(|source| !source.eq_ignore_ascii_case("'none'"));
                assert!(sources.chain(ANCESTORS.map(str::to_owned).iter()).all(|one| is.contains(one)));
                assert!(is_list(is) && is.len() <= was.len() + ANCESTORS.len(), "{was:?} {is:?}");
                let only_none = was[1..].iter().all(|source| source.eq_ignore_ascii_case("'none'"));
                assert!(!only_none || is.len() == 1 + ANCESTORS.len(), "{was:?} {is:?}");
            } else {
                assert_eq!(was, is);
            }
        }
    }
    if added == 1 {
        let list = &is[was.len()][0];
        assert!(is_list(list) && ANCESTORS.iter().all(|ours| list.iter().any(|word| word == ours)));
        assert_eq!(list.contains(&"'self'".to_owned()), list.len() == 4, "{list:?}");
    }
}

fn check_cookies(before: &HeaderMap, after: &HeaderMap, kind: EmbedCookies) {
    let (was, is) = (texts(before, &SET_COOKIE), texts(after, &SET_COOKIE));
    let mut is = is.into_iter();
    for was in was {
        if is_of_a_login(&was) {
            let deletion = is.next().expect("the deletion of the other sort");
            check_deletion(&was, &deletion, kind);
        }
        let is = is.next().expect("the cookie itself");
        if kind == EmbedCookies::Lax {
            assert_eq!(was, is);
            continue;
        }
        // A partition that an application chose for a cookie of its own stays.
        if kind == EmbedCookies::None && !is_of_a_login(&was) && count(&was, "partitioned") > 0 {
            assert_eq!(was, is);
            continue;
        }
        for (attribute, expected) in
            [("samesite", 1), ("secure", 1), ("partitioned", usize::from(kind == EmbedCookies::Partitioned))]
        {
            assert_eq!(count(&is, attribute), expected, "{is}");
        }
        let (Ok(was), Ok(is)) = (Cookie::parse(was), Cookie::parse(is.clone())) else { continue };
        assert_eq!((is.same_site(), is.secure()), (Some(SameSite::None), Some(true)), "{is}");
        assert_eq!(was.name_value(), is.name_value());
        assert_eq!((was.path(), was.domain()), (is.path(), is.domain()), "{is}");
        assert_eq!(
            (was.http_only(), was.max_age(), was.expires()),
            (is.http_only(), is.max_age(), is.expires())
        );
    }
    assert_eq!(is.next(), None);
}

/// Whether the line sets a cookie that says who somebody is.
fn is_of_a_login(line: &str) -> bool {
    let name = trimmed(line.split([';', '=']).next().unwrap_or_default());
    let name = name.strip_prefix("__Host-").unwrap_or(name);
    name == "_xsrf" || ["jupyterhub-", "hublatch-"].iter().any(|prefix| name.starts_with(prefix))
}

/// RFC 6265 § 5.2: only these two are whitespace.
fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn attribute_name(part: &str) -> String {
    trimmed(part.split('=').next().unwrap_or_default()).to_ascii_lowercase()
}

/// How often the line has this attribute.
fn count(line: &str, attribute: &str) -> usize {
    line.split(';').skip(1).filter(|part| attribute_name(part) == attribute).count()
}

/// `deletion` ends the cookie of the same name, path and domain that has a partition if `cookie` gets none, and the
/// other way round.
fn check_deletion(cookie: &str, deletion: &str, kind: EmbedCookies) {
    let partitioned = usize::from(kind != EmbedCookies::Partitioned);
    for (attribute, expected) in [("max-age", 1), ("samesite", 1), ("secure", 1), ("partitioned", partitioned)] {
        assert_eq!(count(deletion, attribute), expected, "{deletion}");
    }
    let identity = |line: &str| {
        let parts = line.split(';').skip(1);
        let stays = |part: &&str| ["path", "domain", "httponly"].contains(&attribute_name(part).as_str());
        parts.filter(stays).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(identity(deletion), identity(cookie));
    let (Ok(cookie), Ok(deletion)) = (Cookie::parse(cookie), Cookie::parse(deletion)) else { return };
    assert_eq!((deletion.name(), deletion.value()), (cookie.name(), ""));
    assert_eq!(deletion.max_age().map(|age| age.whole_seconds()), Some(0));
}

fuzz_target!(|bytes: &[u8]| {
    let before = read(bytes);
    for kind in [EmbedCookies::Lax, EmbedCookies::None, EmbedCookies::Partitioned] {
        let config = Config { frame_ancestors: ANCESTORS.map(str::to_owned).to_vec(), cookies: kind };
        let mut after = before.clone();
        Embed::new(&config).amend(&mut after);
        check_policies(&before, &after);
        check_cookies(&before, &after, kind);
    }
});
