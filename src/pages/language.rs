//! Which of our languages a browser's user reads (RFC 9110 § 12.5.4).

use hyper::HeaderMap;
use hyper::header::ACCEPT_LANGUAGE;

use super::format::thousandths;
use crate::config::Language;

/// All of them; the first is for those who read none.
pub(super) const LANGUAGES: [Language; 7] = [
    Language::English,
    Language::German,
    Language::French,
    Language::Spanish,
    Language::Portuguese,
    Language::Chinese,
    Language::Arabic,
];

impl Language {
    /// Its tag (RFC 5646): the value of `lang` and of `Content-Language`.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::French => "fr",
            Self::Spanish => "es",
            Self::Portuguese => "pt",
            Self::Chinese => "zh",
            Self::Arabic => "ar",
        }
    }

    /// In which direction it is written: the value of `dir`.
    pub fn direction(self) -> &'static str {
        match self {
            Self::Arabic => "rtl",
            Self::English
            | Self::German
            | Self::French
            | Self::Spanish
            | Self::Portuguese
            | Self::Chinese => "ltr",
        }
    }

    /// The one that weighs most in `Accept-Language`; of several the one that is named first; English if none does.
    ///
    /// A range stands for all that begins like it, and `de-AT` is content with `de` (RFC 4647 § 3.4, "Lookup").
    pub fn preferred(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(ACCEPT_LANGUAGE).iter().filter_map(|line| line.to_str().ok());
        let ranges: Vec<Range<'_>> =
            lines.flat_map(|line| line.split(',')).filter_map(Range::parse).collect();
        let weighed = LANGUAGES.iter().map(|language| (*language, weight(&ranges, *language)));
        // Of equals `max_by_key` takes the last, and the earlier is meant.
        let (language, best) = weighed
            .rev()
            .max_by_key(|(_, (weight, place))| (*weight, std::cmp::Reverse(*place)))
            .unwrap_or((LANGUAGES[0], (0, 0)));
        if best.0 > 0 { language } else { LANGUAGES[0] }
    }
}

/// One element of `Accept-Language`.
struct Range<'a> {
    tag: &'a str,
    /// In thousandths.
    weight: u16,
}

impl<'a> Range<'a> {
    fn parse(element: &'a str) -> Option<Self> {
        let mut parts = element.split(';').map(str::trim);
        let tag = parts.next().filter(|tag| !tag.is_empty())?;
        let q = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        Some(Self { tag, weight: q.map_or(Some(1000), thousandths)? })
    }

    fn is_of(&self, language: Language) -> bool {
        let primary = self.tag.split('-').next().unwrap_or_default();
        primary.eq_ignore_ascii_case(language.tag())
    }
}

/// The weight of `language` and the place of the range that gives it.
fn weight(ranges: &[Range<'_>], language: Language) -> (u16, usize) {
    let all = || ranges.iter().enumerate();
    // `en;q=0` excludes it, whatever else is said of the English of some country.
    if all().any(|(_, range)| range.weight == 0 && range.tag.eq_ignore_ascii_case(language.tag())) {
        return (0, 0);
    }
    let best = |fits: &dyn Fn(&Range<'_>) -> bool| {
        let fitting = all().filter(|(_, range)| fits(range)).map(|(place, range)| (range.weight, place));
        fitting.max_by_key(|(weight, place)| (*weight, std::cmp::Reverse(*place)))
    };
    best(&|range| range.is_of(language)).or_else(|| best(&|range| range.tag == "*")).unwrap_or((0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred(lines: &[&str]) -> &'static str {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_LANGUAGE, line.parse().unwrap());
        }
        Language::preferred(&headers).tag()
    }

    #[test]
    fn a_reader_gets_the_language_that_weighs_most() {
        for (accepted, expected) in [
            ("de", "de"),
            ("fr", "fr"),
            ("en", "en"),
            ("de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7", "de"),
            ("fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5", "fr"),
            ("en-GB,en;q=0.9,de;q=0.8", "en"),
            ("it,de;q=0.8,fr;q=0.9", "fr"),
            ("de-AT", "de"),
            ("DE-at", "de"),
            ("de;q=0.5, fr;q=0.5", "de"),
            ("fr, de", "fr"),
            ("da, en-gb;q=0.8, en;q=0.7", "en"),
            ("it, *;q=0.1", "en"),
            ("es-MX,es;q=0.9,en;q=0.8", "es"),
            ("pt-BR,pt;q=0.9", "pt"),
            ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
            ("zh-TW", "zh"),
            ("ar-EG,ar;q=0.9", "ar"),
            ("en;q=0, *", "de"),
            ("en;q=0, en-US, de;q=0.1", "de"),
            ("de;q=0, fr;q=0.001", "fr"),
            ("fr;q=1.000, de;q=0.999", "fr"),
            ("de ; q=0.4 , fr ; Q=0.6", "fr"),
            ("*", "en"),
            ("*, fr;q=0.5", "en"),
            ("nl, it", "en"),
            ("", "en"),
            ("den, fra", "en"),
            ("de;q=2", "en"),
            ("de;q=0.1234", "en"),
            ("de;q=", "en"),
            (",;,-,;q=1,de;;q=0.1", "de"),
            ("de-", "de"),
        ] {
            assert_eq!(preferred(&[accepted]), expected, "Accept-Language: {accepted}");
        }
    }

    #[test]
    fn without_the_header_and_with_bytes_that_are_no_text_the_answer_is_english() {
        assert_eq!(preferred(&[]), "en");
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT_LANGUAGE, hyper::header::HeaderValue::from_bytes(b"de\xff").unwrap());
        assert_eq!(Language::preferred(&headers).tag(), "en");
    }

    #[test]
    fn several_lines_are_one_list() {
        assert_eq!(preferred(&["en;q=0.5", "de"]), "de");
    }
}
