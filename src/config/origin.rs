//! URLs, origins and paths as they are written. An error is the rest of a sentence that begins with the value.

use hyper::header::HeaderValue;
use url::Url;

use super::PublicUrl;

/// What browsers type: scheme, host and port.
pub(super) fn public_url(text: &str) -> Result<PublicUrl, String> {
    let example = "write for example \"https://hub.example.org\"";
    let url = web_url(text).ok_or_else(|| format!("is not a URL of http or https; {example}"))?;
    origin_only(&url)
        .map_err(|extra| format!("has {extra}; write scheme, host and port only: {:?}", origin(&url)))?;
    let authority = url.host_str().unwrap_or_default();
    let authority = url.port().map_or_else(|| authority.to_owned(), |port| format!("{authority}:{port}"));
    Ok(PublicUrl { origin: origin(&url), secure: url.scheme() == "https", authority, port: port(&url)? })
}

/// A page of the app; none if empty.
pub(super) fn page_url(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let url = web_url(text)
        .filter(|url| !has_credentials(url))
        .ok_or("is not the URL of a page; write for example \"https://portal.example.org/\"")?;
    Ok(Some(url.into()))
}

/// Where a click may come from, exactly as a browser writes it in `Origin` (RFC 6454 § 6.1).
pub(super) fn click_origin(text: &str) -> Result<HeaderValue, String> {
    let wrong = "is not an origin; write scheme, host and port, for example \"https://portal.example.org\"";
    let origin = origin(&web_url(text).ok_or(wrong)?);
    if origin != text {
        return Err(format!("is not an origin as browsers write it; write {origin:?}"));
    }
    HeaderValue::try_from(origin).map_err(|_| wrong.to_owned())
}

/// Where the clicks of the page at `url` come from.
pub(super) fn origin_of_page(url: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(origin(&web_url(url)?)).ok()
}

/// The same for what is compared as it is: a wildcard would match nothing.
pub(super) fn whole_origin(text: &str) -> Result<HeaderValue, String> {
    if text.contains('*') {
        return Err("has a wildcard, which is not read as one; write each origin".to_owned());
    }
    click_origin(text)
}

/// An http(s) URL with a host, without the liberties that the WHATWG parser takes (no `//`, backslashes, spaces).
pub(super) fn web_url(text: &str) -> Option<Url> {
    let lower = text.to_ascii_lowercase();
    let scheme = lower.starts_with("http://") || lower.starts_with("https://");
    let odd = text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\');
    if !scheme || odd { None } else { Url::parse(text).ok().filter(Url::has_host) }
}

/// Scheme, host and port as a browser serialises them.
pub(super) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Its host name or address, IPv6 without brackets.
pub(super) fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_matches(['[', ']'])
}

/// Its port, written or the scheme's.
pub(super) fn port(url: &Url) -> Result<u16, &'static str> {
    url.port_or_known_default().filter(|port| *port != 0).ok_or("has the port 0; write the real one")
}

/// Whether a user or a password stands in `url`.
pub(super) fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// What `url` has beyond scheme, host and port, if anything. One slash at the end is no path.
pub(super) fn origin_only(url: &Url) -> Result<(), &'static str> {
    if has_credentials(url) {
        return Err("a user or password");
    }
    if url.query().is_some() {
        return Err("a query");
    }
    if url.fragment().is_some() {
        return Err("a fragment");
    }
    if url.path() == "/" { Ok(()) } else { Err("a path") }
}

/// Whether somebody on the way could change what `url` answers.
pub(super) fn is_unprotected(url: &Url) -> bool {
    url.scheme() == "http" && !is_loopback(url)
}

/// Whether `url` is this machine's.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The `base_url` of the hub.
pub(super) fn base_url(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'@');
    // Escaped is what needs it: not what would be another path once it is decoded.
    let escaped = |part: &str| {
        let byte = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let odd = |byte: u8| byte < 0x20 || byte == 0x7f || plain(byte) || b"/\\%".contains(&byte);
        byte.is_some_and(|byte| !odd(byte)) && part.get(2..).is_some_and(|rest| rest.bytes().all(plain))
    };
    let segment = |segment: &str| {
        let mut parts = segment.split('%');
        let first = parts.next().unwrap_or_default();
        !matches!(segment, "" | "." | "..") && first.bytes().all(plain) && parts.all(escaped)
    };
    let inner = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
    if text == "/" || inner.is_some_and(|inner| inner.split('/').all(segment)) {
        return Ok(text.to_owned());
    }
    Err("is not a base_url; write a path that starts and ends with \"/\", of letters, digits, \"-._~@\" and %XX, for \
         example \"/jupyter/\""
        .to_owned())
}

/// A prefix of `next`: a path exactly as a browser writes it, because that is what it is compared with.
pub(super) fn next_prefix(text: &str) -> Result<String, String> {
    let as_browsers_write = Url::parse("http://localhost").and_then(|origin| origin.join(text));
    match as_browsers_write {
        Ok(url) if url.path() == text && !text.contains("//") => Ok(text.to_owned()),
        Ok(_) | Err(_) => {
            Err("is not a path as browsers write it; write for example \"/user\" or \"/\"".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, u16, bool) {
        let url = public_url(text).expect("a URL");
        (url.origin, url.authority, url.port, url.secure)
    }

    #[test]
    fn the_public_url_is_an_origin_as_browsers_write_it() {
        let plain = ("https://hub.example.org".to_owned(), "hub.example.org".to_owned(), 443, true);
        assert_eq!(parts("https://hub.example.org"), plain);
        assert_eq!(parts("HTTPS://Hub.Example.org:443/"), plain);
        assert_eq!(
            parts("http://[::1]:8000"),
            ("http://[::1]:8000".to_owned(), "[::1]:8000".to_owned(), 8000, false)
        );
        assert_eq!(parts("https://bücher.example").1, "xn--bcher-kva.example");
    }

    #[test]
    fn a_public_url_with_anything_else_is_refused() {
        for text in [
            "",
            "hub.example.org",
            "//hub",
            "ftp://hub",
            "http:hub",
            "http://",
            "http://a b",
            "http://a\\b",
            "http://hub/x",
            "http://hub?x",
            "http://hub/#x",
            "http://u@hub",
            "http://u:p@hub",
            "http://hub:0",
            "http://hub:99999",
            "javascript:alert(1)",
            " http://hub",
            "http://hub\n",
        ] {
            assert!(public_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        assert!(click_origin("https://portal.example.org").is_ok());
        assert!(click_origin("http://127.0.0.1:9000").is_ok());
        for text in [
            "",
            "null",
            "*",
            "portal.example.org",
            "https://Portal.example.org",
            "https://portal.example.org/",
            "https://portal.example.org:443",
            "https://portal.example.org/x",
            "https://u@portal.example.org",
        ] {
            assert!(click_origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_page_is_a_web_page() {
        assert_eq!(page_url(""), Ok(None));
        assert_eq!(page_url("https://a.example/x?y#z"), Ok(Some("https://a.example/x?y#z".to_owned())));
        for text in ["a.example", "javascript:alert(1)", "data:text/html,x", "https://u:p@a.example", "/x"] {
            assert!(page_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_base_url_is_plain_and_has_both_slashes() {
        for text in ["/", "/jupyter/", "/a/b-c/~d.e_f/", "/@/space%20word/", "/hub@home/", "/%C3%A9/"] {
            assert!(base_url(text).is_ok(), "{text}");
        }
        for text in [
            "", "jupyter", "/jupyter", "jupyter/", "//", "/a//b/", "/../", "/./", "/a b/", "/a%2fb/",
            "/%2e%2e/", "/a%5cb/", "/a%/", "/a%2/", "/a%00b/", "/%25/", "/é/", "/a?/", "/a;b/",
        ] {
            assert!(base_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_prefix_is_a_path_as_browsers_write_it() {
        for text in ["/", "/user", "/user/", "/hub/spawn", "/user/a%20b/"] {
            assert!(next_prefix(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "user",
            "//evil",
            "/\\evil",
            "/a//b",
            "/a/../b",
            "/a?x",
            "/a#x",
            "/a b",
            "/é",
            "http://localhost/",
            "/a\tb",
        ] {
            assert!(next_prefix(text).is_err(), "{text}");
        }
    }
}
