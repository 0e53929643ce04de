//! What the targets hold hublatch to, written a second time and in another way.

use std::sync::LazyLock;

use percent_encoding::percent_decode;
use regex::bytes::Regex;

/// The parameter as some server may read it in a query, or in the URL that a value of the query is.
static PARAMETER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i-u)(^|[&;?#=+ ])login[_-]token=|(^|[&;?#])login[_-]token([&;+ ]|$)").expect("a pattern")
});

/// Whether `query` holds `login_token` in any spelling, decoded up to three times.
pub fn holds_parameter(query: &[u8]) -> bool {
    let mut level = query.to_vec();
    for depth in 0..=3 {
        if PARAMETER.is_match(&level) {
            return true;
        }
        if depth < 3 {
            level = percent_decode(&level).collect();
        }
    }
    false
}

/// The name of a header as a server may read it that folds `-` and `_`.
pub fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

/// Whether `needle` can be had from `hay` by leaving bytes out.
pub fn is_left_of(needle: &[u8], hay: &[u8]) -> bool {
    let mut hay = hay.iter();
    needle.iter().all(|byte| hay.any(|other| other == byte))
}
