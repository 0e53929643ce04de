//! `[embed]`: responses that pages of other sites may show in frames, and cookies that work there.
//!
//! The hub and its servers forbid frames and say nothing of SameSite, and most have no setting for either. So what they
//! say is amended on its way to the browser: `frame-ancestors` gains the operator's list, `X-Frame-Options`, which
//! knows no list, goes, and each cookie gets the attributes without which a browser keeps it from a frame of another
//! site. Nothing else is touched.
//!
//! The partition is part of what a cookie is (CHIPS): one with `Partitioned` neither replaces nor deletes one without.
//! After a change of `cookies` a browser would keep both, and be somebody whom the hub has logged out; so each login
//! cookie that is set or deleted comes with the deletion of its other sort.

use hyper::HeaderMap;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, SET_COOKIE, X_FRAME_OPTIONS};

use super::cookies;
use crate::config::{Embed as Config, EmbedCookies};

/// What a cookie says of other sites, and what is said in its place.
const CROSS_SITE: [&[u8]; 3] = [b"samesite", b"secure", b"partitioned"];

/// Amends responses.
#[derive(Debug)]
pub struct Embed {
    /// `https://a.example https://b.example`.
    ancestors: String,
    /// The same, as browsers write them.
    origins: Vec<HeaderValue>,
    /// What is added to a cookie; nothing, if they stay as they are.
    attributes: &'static str,
    cookies: EmbedCookies,
}

impl Embed {
    /// By `[embed]`.
    pub fn new(config: &Config) -> Self {
        let attributes = match config.cookies {
            EmbedCookies::Lax => "",
            EmbedCookies::None => "; SameSite=None; Secure",
            EmbedCookies::Partitioned => "; SameSite=None; Secure; Partitioned",
        };
        let origin = |text: &String| {
            HeaderValue::try_from(url::Url::parse(text).ok()?.origin().ascii_serialization()).ok()
        };
        Self {
            ancestors: config.frame_ancestors.join(" "),
            origins: config.frame_ancestors.iter().filter_map(origin).collect(),
            attributes,
            cookies: config.cookies,
        }
    }

    /// The origins of the pages that may have frames.
    pub fn origins(&self) -> &[HeaderValue] {
        &self.origins
    }

    /// What is done to cookies.
    pub fn cookies(&self) -> EmbedCookies {
        self.cookies
    }

    /// What a cookie says of other sites that is to be kept as login cookies are.
    pub fn attributes(&self) -> &'static str {
        if self.attributes.is_empty() { "; SameSite=Lax" } else { self.attributes }
    }

    /// Amends the headers of a response.
    pub fn amend(&self, headers: &mut HeaderMap) {
        self.amend_policies(headers);
        if !headers.contains_key(SET_COOKIE) {
            return;
        }
        let cookies: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().cloned().collect();
        headers.remove(SET_COOKIE);
        for cookie in cookies {
            for amended in self.cookie(&cookie) {
                headers.append(SET_COOKIE, amended);
            }
        }
    }

    /// The lines to send for `cookie`, the hub's or our own. The deletion of the other sort comes first: to a browser that
    /// knows no partitions both are one cookie, and the last line counts.
    pub fn cookie(&self, cookie: &HeaderValue) -> Vec<HeaderValue> {
        let line = cookie.as_bytes();
        let is_login = cookies::is_of_a_login(name_of(line));
        let keeps = self.attributes.is_empty()
            || self.cookies == EmbedCookies::None && !is_login && has_attribute(line, b"partitioned");
        let other = is_login.then(|| self.deletion_of_the_other(line));
        let own = if keeps { line.to_vec() } else { self.amend_cookie(line) };
        // Of header bytes only header bytes are made.
        other.into_iter().chain([own]).filter_map(|line| HeaderValue::from_bytes(&line).ok()).collect()
    }

    fn deletion_of_the_other(&self, cookie: &[u8]) -> Vec<u8> {
        let other: &[u8] = match self.cookies {
            EmbedCookies::Partitioned => b"; Max-Age=0; SameSite=None; Secure",
            EmbedCookies::Lax | EmbedCookies::None => b"; Max-Age=0; SameSite=None; Secure; Partitioned",
        };
        let mut deletion = [name_of(cookie), b"="].concat();
        for attribute in cookie.split(|byte| *byte == b';').skip(1) {
            // What says which cookie it is (RFC 6265bis § 5.7), and the flag that a script would need.
            let stays = [&b"path"[..], b"domain", b"httponly"];
            if stays.iter().any(|name| attribute_name(attribute).eq_ignore_ascii_case(name)) {
                deletion.push(b';');
                deletion.extend_from_slice(attribute);
            }
        }
        deletion.extend_from_slice(other);
        deletion
    }

    fn amend_policies(&self, headers: &mut HeaderMap) {
        let mut has_list = false;
        if headers.contains_key(CONTENT_SECURITY_POLICY) {
            each(headers, &CONTENT_SECURITY_POLICY, |line| {
                let policies: Vec<Vec<u8>> = line
                    .split(|byte| *byte == b',')
                    .map(|policy| self.amend_policy(policy, &mut has_list))
                    .collect();
                policies.join(&b',')
            });
        }
        let Some(options) = headers.remove(X_FRAME_OPTIONS) else { return };
        if !has_list {
            // It has been the only word on frames, so that without it anybody could have them.
            let own = options.as_bytes().trim_ascii().eq_ignore_ascii_case(b"sameorigin");
            let policy = format!("frame-ancestors {}{}", if own { "'self' " } else { "" }, self.ancestors);
            if let Ok(policy) = HeaderValue::try_from(policy) {
                headers.append(CONTENT_SECURITY_POLICY, policy);
            }
        }
    }

    /// One policy; of several lists in it the first counts (CSP 3 § 2.2.1), and all are amended.
    fn amend_policy(&self, policy: &[u8], has_list: &mut bool) -> Vec<u8> {
        let directives = policy.split(|byte| *byte == b';').map(|directive| {
            let mut words = directive.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            if !words.next().is_some_and(|name| name.eq_ignore_ascii_case(b"frame-ancestors")) {
                return directive.to_vec();
            }
            *has_list = true;
            if words.all(|source| source.eq_ignore_ascii_case(b"'none'")) {
                // "'none'" beside anything else means nothing.
                let before = directive.len() - directive.trim_ascii_start().len();
                let name = &directive[..before + b"frame-ancestors".len()];
                return [name, b" ", self.ancestors.as_bytes()].concat();
            }
            [directive, b" ", self.ancestors.as_bytes()].concat()
        });
        directives.collect::<Vec<_>>().join(&b';')
    }

    /// The cookie with our attributes in place of its own; all else byte for byte.
    fn amend_cookie(&self, cookie: &[u8]) -> Vec<u8> {
        let mut parts = cookie.split(|byte| *byte == b';');
        let mut amended = parts.next().unwrap_or_default().to_vec();
        for part in parts {
            let name = attribute_name(part);
            if !CROSS_SITE.iter().any(|attribute| name.eq_ignore_ascii_case(attribute)) {
                amended.push(b';');
                amended.extend_from_slice(part);
            }
        }
        amended.extend_from_slice(self.attributes.as_bytes());
        amended
    }
}

fn name_of(cookie: &[u8]) -> &[u8] {
    let pair = cookie.split(|byte| *byte == b';').next().unwrap_or_default();
    pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii()
}

fn attribute_name(attribute: &[u8]) -> &[u8] {
    attribute.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii()
}

fn has_attribute(cookie: &[u8], name: &[u8]) -> bool {
    let mut attributes = cookie.split(|byte| *byte == b';').skip(1);
    attributes.any(|attribute| attribute_name(attribute).eq_ignore_ascii_case(name))
}

/// Writes each line of `name` anew, in order.
fn each(
    headers: &mut HeaderMap,
    name: &hyper::header::HeaderName,
    mut amended: impl FnMut(&[u8]) -> Vec<u8>,
) {
    let lines: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
    headers.remove(name);
    for line in lines {
        // Of header bytes only header bytes are made.
        let value = HeaderValue::from_bytes(&amended(line.as_bytes())).unwrap_or(line);
        headers.append(name.clone(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amended(cookies: EmbedCookies, lines: &[(&str, &str)]) -> Vec<(String, String)> {
        let config =
            Config { frame_ancestors: vec!["https://a.example".into(), "https://b.example".into()], cookies };
        let mut headers: HeaderMap = lines
            .iter()
            .map(|(name, value)| {
                (hyper::header::HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap())
            })
            .collect();
        Embed::new(&config).amend(&mut headers);
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    fn policy(value: &str) -> String {
        amended(EmbedCookies::Lax, &[("content-security-policy", value)]).remove(0).1
    }

    fn cookie(cookies: EmbedCookies, value: &str) -> String {
        amended(cookies, &[("set-cookie", value)]).pop().expect("a line").1
    }

    #[test]
    fn each_login_cookie_comes_with_the_deletion_of_its_other_sort_before_it() {
        let lines = |cookies: EmbedCookies, value: &str| -> Vec<String> {
            amended(cookies, &[("set-cookie", value)]).into_iter().map(|(_, line)| line).collect()
        };
        let other = "=; HttpOnly; Path=/hub/; Max-Age=0; SameSite=None; Secure";
        for name in ["jupyterhub-hub-login", "__Host-jupyterhub-session-id", "__Host-hublatch-state", "_xsrf"]
        {
            for value in ["1", ""] {
                let set = format!("{name}={value}; HttpOnly; Path=/hub/");
                let partitioned = lines(EmbedCookies::Partitioned, &set);
                assert_eq!(partitioned[0], format!("{name}{other}"), "the one without a partition goes");
                assert_eq!(partitioned[1..], [format!("{set}; SameSite=None; Secure; Partitioned")]);
                let lax = lines(EmbedCookies::Lax, &set);
                assert_eq!(lax, [format!("{name}{other}; Partitioned"), set.clone()]);
                let none = lines(EmbedCookies::None, &set);
                assert_eq!(
                    none,
                    [format!("{name}{other}; Partitioned"), format!("{set}; SameSite=None; Secure")]
                );
            }
        }
        // An application's own is its own business.
        let own = "widget=1; Path=/user/alice/; Secure; SameSite=None; Partitioned";
        assert_eq!(lines(EmbedCookies::None, own), [own]);
        assert_eq!(lines(EmbedCookies::Lax, own), [own]);
    }

    #[test]
    fn a_list_of_ancestors_gains_ours_and_the_rest_stays_byte_for_byte() {
        const OURS: &str = "https://a.example https://b.example";
        for (before, after) in [
            ("frame-ancestors 'none'; report-uri /x", format!("frame-ancestors {OURS}; report-uri /x")),
            (
                "default-src 'self' ;  Frame-Ancestors 'self'",
                format!("default-src 'self' ;  Frame-Ancestors 'self' {OURS}"),
            ),
            ("frame-ancestors", format!("frame-ancestors {OURS}")),
            ("frame-ancestors  'NONE' ", format!("frame-ancestors {OURS}")),
            (
                "sandbox allow-scripts, frame-ancestors 'self'",
                format!("sandbox allow-scripts, frame-ancestors 'self' {OURS}"),
            ),
            (
                "frame-ancestors 'none';frame-ancestors 'self'",
                format!("frame-ancestors {OURS};frame-ancestors 'self' {OURS}"),
            ),
            ("script-src 'self' frame-ancestors", "script-src 'self' frame-ancestors".to_owned()),
            ("x-frame-ancestors 'none'", "x-frame-ancestors 'none'".to_owned()),
            ("", String::new()),
        ] {
            assert_eq!(policy(before), after, "{before}");
        }
    }

    #[test]
    fn the_older_header_goes_and_its_meaning_stays() {
        let lines = |lines| amended(EmbedCookies::Lax, lines);
        let ours = |before: &str| {
            vec![(
                "content-security-policy".to_owned(),
                format!("frame-ancestors {before}https://a.example https://b.example"),
            )]
        };
        assert_eq!(lines(&[("x-frame-options", "DENY")]), ours(""));
        assert_eq!(lines(&[("x-frame-options", " sameorigin")]), ours("'self' "));
        assert_eq!(
            lines(&[("x-frame-options", "DENY"), ("content-security-policy", "frame-ancestors 'none'")]),
            ours("")
        );
        let both = lines(&[("x-frame-options", "SAMEORIGIN"), ("content-security-policy", "sandbox")]);
        assert_eq!(both.len(), 2, "{both:?}");
        assert_eq!(
            lines(&[("content-type", "text/html")]),
            [("content-type".to_owned(), "text/html".to_owned())]
        );
    }

    #[test]
    fn a_cookie_gets_the_attributes_once_and_keeps_its_value_byte_for_byte() {
        let hubs = "jupyterhub-hub-login=\"2|1:0|10:1|20:x|44:a=|sig\"; expires=Tue, 01 Dec 2026 00:00:00 GMT; HttpOnly; Path=/hub/";
        assert_eq!(cookie(EmbedCookies::Lax, hubs), hubs);
        assert_eq!(cookie(EmbedCookies::None, hubs), format!("{hubs}; SameSite=None; Secure"));
        assert_eq!(
            cookie(EmbedCookies::Partitioned, hubs),
            format!("{hubs}; SameSite=None; Secure; Partitioned")
        );
        for (before, after) in [
            ("a=b;Secure; samesite = Strict;Path=/", "a=b;Path=/; SameSite=None; Secure"),
            ("secure", "secure; SameSite=None; Secure"),
            ("a", "a; SameSite=None; Secure"),
        ] {
            assert_eq!(cookie(EmbedCookies::None, before), after, "{before}");
        }
    }
}
