//! HTML or JSON: which of the two a client prefers, and in which language.

use std::cmp::Ordering;

use hyper::HeaderMap;
use hyper::header::{ACCEPT, HeaderValue};

use crate::config::Language;

/// The form of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A page for a person, in the language that they read best.
    Html(Language),
    /// An object for a program, in English.
    Json,
}

impl Format {
    /// What the `Accept` of a request asks for (RFC 9110 § 12.5.1).
    ///
    /// JSON where it weighs more than HTML, HTML where it weighs more than JSON. Where both weigh the same (no
    /// `Accept`, or `*/*` alone, as curl and `fetch` send it) a browser's script gets JSON, known by a
    /// `Sec-Fetch-Mode` other than `navigate`: notebooks show the `message` of a JSON response.
    /// Everybody else, so curl, gets HTML, as from the hub.
    pub fn preferred(headers: &HeaderMap) -> Self {
        if prefers_json(&headers.get_all(ACCEPT), headers.get("sec-fetch-mode")) {
            Self::Json
        } else {
            Self::Html(Language::preferred(headers))
        }
    }
}

/// Whether a client with these lines of `Accept`, and this `Sec-Fetch-Mode`, prefers JSON to HTML.
pub fn prefers_json<'a>(
    accept: impl IntoIterator<Item = &'a HeaderValue> + Copy,
    fetch_mode: Option<&HeaderValue>,
) -> bool {
    // A browser says what is no navigation (Fetch Metadata § 2.2).
    let is_script = fetch_mode.is_some_and(|mode| mode != "navigate");
    let html = weight(accept, "text", "html");
    // As every browser that navigates: nothing weighs more.
    if html == WEIGHT_MAX && !is_script {
        return false;
    }
    match weight(accept, "application", "json").cmp(&html) {
        Ordering::Greater => true,
        Ordering::Equal => is_script,
        Ordering::Less => false,
    }
}

/// The weight of what is named without one.
const WEIGHT_MAX: u16 = 1000;
/// A range that names a type and its subtype, and no wildcard.
const SPECIFIC_MAX: u8 = 2;

/// The weight of `kind/subtype` in thousandths: that of the most specific range which matches it, 0 without one.
///
/// Parameters other than the weight are passed over: `application/json; charset=utf-8` is meant as JSON.
fn weight<'a>(accept: impl IntoIterator<Item = &'a HeaderValue>, kind: &str, subtype: &str) -> u16 {
    let ranges = accept.into_iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    let mut best = None;
    for weighed in ranges.filter_map(|range| weighed(range, kind, subtype)) {
        best = best.max(Some(weighed));
        if weighed == (SPECIFIC_MAX, WEIGHT_MAX) {
            break;
        }
    }
    best.map_or(0, |(_, weight)| weight)
}

/// How specific `range` is, and its weight, if it matches `kind/subtype`.
fn weighed(range: &str, kind: &str, subtype: &str) -> Option<(u8, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let (range_kind, range_subtype) = parts.next()?.split_once('/')?;
    let specific = if range_kind == "*" && range_subtype == "*" {
        0
    } else if !range_kind.eq_ignore_ascii_case(kind) {
        return None;
    } else if range_subtype == "*" {
        1
    } else if range_subtype.eq_ignore_ascii_case(subtype) {
        SPECIFIC_MAX
    } else {
        return None;
    };
    let q = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some((specific, q.map_or(Some(WEIGHT_MAX), thousandths)?))
}

/// A `qvalue` (RFC 9110 § 12.4.2): `0` or `1` with at most three decimals, `None` if it is not one.
pub(super) fn thousandths(q: &str) -> Option<u16> {
    let (whole, decimals) = q.split_once('.').unwrap_or((q, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction = format!("{decimals:0<3}").parse::<u16>().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTML: Format = Format::Html(Language::English);

    fn preferred(headers: &[(&'static str, &str)]) -> Format {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Format::preferred(&map)
    }

    #[test]
    fn a_client_gets_json_only_if_it_prefers_it_to_html() {
        let table = [
            ("application/json", Format::Json),
            ("application/json, */*", HTML),
            ("application/json, text/plain, */*;q=0.5", Format::Json),
            ("Application/JSON", Format::Json),
            ("application/json; charset=utf-8", Format::Json),
            ("application/json;odata=verbose;q=0.9, text/html;q=0.8", Format::Json),
            ("text/html;q=0.8, application/json;q=0.9", Format::Json),
            ("text/html;q=0.9, application/json;q=0.8", HTML),
            ("text/html;q=0.001,application/json;q=0", HTML),
            ("application/json ; Q=0.5 , text/html ; q=0.4", Format::Json),
            ("application/*, text/html;q=0.5", Format::Json),
            ("text/*;q=0.3, application/*;q=0.2", HTML),
            ("text/html;q=0, */*", Format::Json),
            ("application/json;q=0, */*", HTML),
            ("application/json;q=0.2, application/*;q=0.9, text/html;q=0.5", HTML),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML),
            ("text/html, application/json", HTML),
            ("*/*", HTML),
            ("", HTML),
            ("application/problem+json", HTML),
            ("application/jsonp", HTML),
            ("image/avif,image/webp,*/*;q=0.8", HTML),
            ("application/json;q=2, text/html;q=0.1", HTML),
            ("application/json;q=0.1234, text/html;q=0.1", HTML),
            ("application/json;q=+.5, text/html;q=0.1", HTML),
            ("application/json;q=1., text/html;q=0.999", Format::Json),
            ("application/json;q=, text/html;q=0.1", HTML),
            ("json", HTML),
            ("/,;;,*/*/*,q=1", HTML),
        ];
        for (accept, expected) in table {
            assert_eq!(preferred(&[("accept", accept)]), expected, "Accept: {accept}");
        }
    }

    #[test]
    fn without_accept_the_answer_is_html() {
        assert_eq!(preferred(&[]), HTML);
    }

    #[test]
    fn several_accept_lines_are_one_list() {
        assert_eq!(preferred(&[("accept", "text/html;q=0.5"), ("accept", "application/json")]), Format::Json);
    }

    #[test]
    fn a_script_that_takes_anything_gets_json_and_a_navigation_gets_html() {
        for mode in ["cors", "same-origin", "no-cors", "websocket"] {
            let headers = [("accept", "*/*"), ("sec-fetch-mode", mode)];
            assert_eq!(preferred(&headers), Format::Json, "Sec-Fetch-Mode: {mode}");
        }
        assert_eq!(preferred(&[("accept", "*/*"), ("sec-fetch-mode", "navigate")]), HTML);
    }

    #[test]
    fn a_script_that_prefers_html_gets_html() {
        assert_eq!(preferred(&[("accept", "text/html"), ("sec-fetch-mode", "cors")]), HTML);
    }

    #[test]
    fn a_page_is_in_the_language_of_its_reader() {
        let headers = [("accept", "text/html"), ("accept-language", "fr-FR, en;q=0.5")];
        assert_eq!(preferred(&headers), Format::Html(Language::French));
        let headers = [("accept", "application/json"), ("accept-language", "fr-FR")];
        assert_eq!(preferred(&headers), Format::Json);
    }

    #[test]
    fn bytes_that_are_no_text_are_no_preference() {
        let mut map = HeaderMap::new();
        map.append(ACCEPT, HeaderValue::from_bytes(b"application/json\xff").unwrap());
        assert_eq!(Format::preferred(&map), HTML);
    }
}
