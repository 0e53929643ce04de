//! HTML or JSON: which of the two a client prefers, and in which language.

use std::cmp::Ordering;

use hyper::HeaderMap;
use hyper::header::ACCEPT;

use crate::config::Language;

/// The form of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A page for a person, in the language that she reads best.
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
        let json = weight(headers, "application", "json");
        let html = weight(headers, "text", "html");
        match json.cmp(&html) {
            Ordering::Greater => Self::Json,
            Ordering::Equal if is_script(headers) => Self::Json,
            Ordering::Less | Ordering::Equal => Self::Html(Language::preferred(headers)),
        }
    }
}

/// Whether a browser says that this is not a navigation (Fetch Metadata § 2.2).
fn is_script(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-mode").is_some_and(|mode| mode != "navigate")
}

/// The weight of `kind/subtype` in thousandths: that of the most specific range which matches it, 0 without one.
///
/// Parameters other than the weight are passed over: `application/json; charset=utf-8` is meant as JSON.
fn weight(headers: &HeaderMap, kind: &str, subtype: &str) -> u16 {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let ranges = lines.flat_map(|line| line.split(','));
    let matches = ranges.filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let (range_kind, range_subtype) = parts.next()?.split_once('/')?;
        let specific = if range_kind == "*" && range_subtype == "*" {
            0
        } else if !range_kind.eq_ignore_ascii_case(kind) {
            return None;
        } else if range_subtype == "*" {
            1
        } else if range_subtype.eq_ignore_ascii_case(subtype) {
            2
        } else {
            return None;
        };
        let q = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        Some((specific, q.map_or(Some(1000), thousandths)?))
    });
    matches.max().map_or(0, |(_, weight)| weight)
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
        map.append(ACCEPT, hyper::header::HeaderValue::from_bytes(b"application/json\xff").unwrap());
        assert_eq!(Format::preferred(&map), HTML);
    }
}
