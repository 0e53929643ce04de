//! What tells a person's click from a machine's, and when a person is asked first.

use hyper::HeaderMap;
use hyper::header::{HeaderValue, ORIGIN, REFERER};

use crate::config::App;
use crate::proxy::context::Proxy;
use crate::proxy::validate::Rejection;

const MODE: &str = "sec-fetch-mode";
const DEST: &str = "sec-fetch-dest";
const SITE: &str = "sec-fetch-site";
/// What frames are made with.
const FRAMES: [&str; 4] = ["iframe", "frame", "object", "embed"];

/// Fetch Metadata that speaks of anything but a navigation to a document is refused; none at all is an older browser,
/// or a program, and passes (W3C Fetch Metadata § 2). `framed`: a frame is as good as a document, by whichever element.
pub fn check_navigation(headers: &HeaderMap, framed: bool) -> Result<(), Rejection> {
    let all = |name: &str, fits: &dyn Fn(&HeaderValue) -> bool| headers.get_all(name).iter().all(fits);
    let navigates = all(MODE, &|mode| mode == "navigate");
    if navigates && all(DEST, &|dest| dest == "document" || (framed && is_frame(dest))) {
        Ok(())
    } else {
        Err(Rejection::NotANavigation)
    }
}

/// Whether a document is shown within another one.
fn is_frame(dest: &HeaderValue) -> bool {
    FRAMES.iter().any(|frame| dest == frame)
}

/// Whether the response is for a frame that was made to load neither by a page that may have one nor by a page of ours: any
/// site can have a frame that nobody sees, and log its reader in as somebody else there.
pub fn is_framed_by_other(proxy: &Proxy, headers: &HeaderMap) -> bool {
    let Some(embed) = &proxy.shared.embed else { return false };
    is_for_frame(headers)
        && headers.get(SITE).is_none_or(|site| site != "same-origin")
        && !comes_from(headers, embed.origins())
}

/// Whether the response is for a frame.
pub fn is_for_frame(headers: &HeaderMap) -> bool {
    headers.get_all(DEST).iter().any(is_frame)
}

/// Whether the response is for a frame of another site that a listed page has asked for: only a page in it can tell whether
/// the browser keeps a login there. What our own page leads to comes from this origin, and has been tested.
pub fn is_untested_frame(proxy: &Proxy, headers: &HeaderMap) -> bool {
    let Some(embed) = &proxy.shared.embed else { return false };
    is_for_frame(headers)
        && headers.get(SITE).is_some_and(|site| site == "cross-site")
        && comes_from(headers, embed.origins())
}

/// Whether a person's browser is to show the response, as far as can be told.
pub fn is_navigation(proxy: &Proxy, headers: &HeaderMap) -> bool {
    check_navigation(headers, proxy.shared.embed.is_some()).is_ok()
}

/// Whether a browser or a scanner fetches ahead of a click that may never come.
pub fn is_prefetch(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose", "x-moz"].iter().flat_map(|name| headers.get_all(*name)).any(|value| {
        let value = value.as_bytes().to_ascii_lowercase();
        memchr::memmem::find(&value, b"prefetch").is_some()
            || memchr::memmem::find(&value, b"preview").is_some()
    })
}

/// Whether no browser vouches for the click: scanners of mail follow links, but most say nothing of Fetch Metadata, as
/// every browser does on https.
pub fn is_unvouched(proxy: &Proxy, headers: &HeaderMap) -> bool {
    proxy.shared.rules.public_secure && !headers.contains_key(MODE) && !headers.contains_key(SITE)
}

/// Whether a click comes from none of the origins of `app`; one without origins takes it from anywhere, unless it wants to
/// be safe from scanners that are real browsers.
pub fn is_foreign(headers: &HeaderMap, app: &App) -> bool {
    (app.scanner_safe || !app.origins.is_empty()) && !comes_from(headers, &app.origins)
}

fn comes_from(headers: &HeaderMap, origins: &[HeaderValue]) -> bool {
    let known = |origin: &str| origins.iter().any(|known| known.as_bytes() == origin.as_bytes());
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    text(ORIGIN).is_some_and(known) || text(REFERER).and_then(origin_of).is_some_and(|origin| known(&origin))
}

/// Whether a POST was sent by a page of this origin.
///
/// `Origin: null` is what browsers send under a strict Referrer-Policy; it counts only where Fetch Metadata, which no
/// page can forge, says same-origin.
pub fn is_from_this_origin(headers: &HeaderMap, public_origin: &str) -> bool {
    let single = |name: &str| {
        let mut values = headers.get_all(name).iter();
        (values.next(), values.next())
    };
    let same_site = match single(SITE) {
        (Some(site), None) => Some(site == "same-origin"),
        (None, _) => None,
        (Some(_), Some(_)) => return false,
    };
    match single(ORIGIN.as_str()) {
        (Some(origin), None) if origin == public_origin => same_site.unwrap_or(true),
        (Some(origin), None) if origin == "null" => same_site == Some(true),
        (None, _) => same_site.unwrap_or_else(|| {
            let referer = headers.get(REFERER).and_then(|value| value.to_str().ok()).and_then(origin_of);
            referer.as_deref() == Some(public_origin)
        }),
        (Some(_), _) => false,
    }
}

/// The origin of a URL, as a browser writes it.
fn origin_of(url: &str) -> Option<String> {
    let origin = url::Url::parse(url).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&str, &str)| {
            (hyper::header::HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(header).collect()
    }

    #[test]
    fn only_a_navigation_to_a_document_passes() {
        for pairs in [&[][..], &[(MODE, "navigate"), (DEST, "document")], &[(MODE, "navigate")]] {
            assert_eq!(check_navigation(&headers(pairs), false), Ok(()), "{pairs:?}");
        }
        for pairs in [
            &[(MODE, "no-cors"), (DEST, "image")][..],
            &[(MODE, "cors"), (DEST, "empty")],
            &[(MODE, "navigate"), (DEST, "iframe")],
            &[(MODE, "navigate"), (DEST, "embed")],
            &[(MODE, "websocket")],
            &[(MODE, "navigate"), (MODE, "cors")],
            &[(DEST, "")],
        ] {
            assert_eq!(check_navigation(&headers(pairs), false), Err(Rejection::NotANavigation), "{pairs:?}");
        }
    }

    #[test]
    fn a_frame_passes_where_frames_are_allowed() {
        for dest in FRAMES {
            let framed = headers(&[(MODE, "navigate"), (DEST, dest)]);
            assert_eq!(check_navigation(&framed, true), Ok(()));
            assert_eq!(check_navigation(&framed, false), Err(Rejection::NotANavigation));
        }
        assert!(check_navigation(&headers(&[(MODE, "navigate"), (DEST, "document")]), true).is_ok());
        for pairs in [&[(MODE, "navigate"), (DEST, "image")][..], &[(MODE, "no-cors"), (DEST, "object")]] {
            assert!(check_navigation(&headers(pairs), true).is_err(), "{pairs:?}");
        }
    }

    #[test]
    fn a_fetch_ahead_is_told_by_any_of_its_headers() {
        for pair in [
            ("sec-purpose", "prefetch;prerender"),
            ("purpose", "Prefetch"),
            ("x-moz", "prefetch"),
            ("purpose", "preview"),
        ] {
            assert!(is_prefetch(&headers(&[pair])), "{pair:?}");
        }
        assert!(!is_prefetch(&headers(&[("purpose", "navigate")])));
    }

    #[test]
    fn the_button_of_our_own_page_is_known_by_its_origin() {
        let ours = "https://hub.example";
        for pairs in [
            &[("origin", ours), (SITE, "same-origin")][..],
            &[("origin", ours)],
            &[("origin", "null"), (SITE, "same-origin")],
            &[(SITE, "same-origin")],
            &[("referer", "https://hub.example/hub/login")],
        ] {
            assert!(is_from_this_origin(&headers(pairs), ours), "{pairs:?}");
        }
        for pairs in [
            &[][..],
            &[("origin", "null")],
            &[("origin", "null"), (SITE, "cross-site")],
            &[("origin", "https://evil.example")],
            &[("origin", "https://hub.example.evil")],
            &[("origin", ours), (SITE, "cross-site")],
            &[("origin", ours), ("origin", "https://evil.example")],
            &[("origin", "https://evil.example"), (SITE, "same-origin")],
            &[("referer", "https://evil.example/https://hub.example/")],
            &[(SITE, "same-site")],
        ] {
            assert!(!is_from_this_origin(&headers(pairs), ours), "{pairs:?}");
        }
    }
}
