//! Finds and cuts the login parameter (`login_token`) in a query, in whatever spelling.
//!
//! A token that stays in a forwarded query ends in the hub's redirects and logs. Queries are cut
//! by byte slices and never re-serialised: what is not cut stays byte for byte.

use std::borrow::Cow;

/// How often a value may be percent-encoded and still be recognised.
const NESTING_MAX: usize = 3;
/// How many bytes may be scanned while occurrences are cut out of a query one by one. A query that takes more is no
/// honest client's, and is dropped as a whole.
const WORK_BYTES_MAX: usize = 128 * 1024;

/// The name of the query parameter that holds a login token.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Folded: lower case, `-` as `_`.
    name: String,
    /// One byte of the name in both of its spellings: the one that is rarest elsewhere.
    rare: [u8; 2],
}

/// A query, percent-decoded some number of times.
struct Level {
    bytes: Vec<u8>,
    /// Where each byte was written, and where the last one ends.
    starts: Vec<usize>,
}

impl Parameter {
    /// The parameter `name`, as `login.parameter` spells it.
    pub fn new(name: &str) -> Self {
        let name: String = name.bytes().map(|byte| char::from(fold(byte))).collect();
        let first = name.bytes().next().unwrap_or_default();
        let rare = if name.contains('_') { [b'_', b'-'] } else { [first, first.to_ascii_uppercase()] };
        Self { name, rare }
    }

    /// The exact spelling, the only one that redeems.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether `query` holds the parameter in any spelling, at any depth.
    pub fn mentions(&self, query: impl AsRef<[u8]>) -> bool {
        // Encoded or not, one of these is in every spelling, and in few other queries.
        let [rare, variant] = self.rare;
        if memchr::memchr3(rare, variant, b'%', query.as_ref()).is_none() {
            return false;
        }
        // The common query is short and decodes to itself; the map of spans is only built when something is found.
        let mut level = Cow::Borrowed(query.as_ref());
        for _ in 0..=NESTING_MAX {
            if find(&level, self.name.as_bytes()).is_some() {
                return true;
            }
            if !level.contains(&b'%') {
                return false;
            }
            level = Cow::Owned(percent_encoding::percent_decode(&level).collect());
        }
        false
    }

    /// `query` without the parameter; `None` if it does not hold it.
    pub fn cut(&self, query: &str) -> Option<String> {
        if !self.mentions(query) {
            return None;
        }
        let (mut rest, mut work) = (query.to_owned(), 0);
        loop {
            work += rest.len();
            if work > WORK_BYTES_MAX {
                return Some(String::new());
            }
            let Some((start, end)) = self.span(&rest) else { return Some(rest) };
            rest.replace_range(start..end, "");
        }
    }

    /// Where the first occurrence stands in `query`, with one neighbouring delimiter.
    fn span(&self, query: &str) -> Option<(usize, usize)> {
        let mut level = Level { bytes: query.into(), starts: (0..=query.len()).collect() };
        for _ in 0..=NESTING_MAX {
            if let Some((first, last)) = find(&level.bytes, self.name.as_bytes()) {
                return level.widen(query, first, last);
            }
            memchr::memchr(b'%', &level.bytes)?;
            level = level.decoded();
        }
        None
    }
}

fn fold(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() }
}

fn separates(byte: u8) -> bool {
    matches!(byte, b'&' | b';')
}

/// Whether a name that follows `byte` can be read as a parameter's name by some server, or by the next one that gets
/// this value as a URL.
fn introduces(byte: u8) -> bool {
    separates(byte) || matches!(byte, b'?' | b'#' | b'=' | b'+' | b' ')
}

/// The first occurrence in `bytes`: from its name's first to behind its value's last byte.
fn find(bytes: &[u8], name: &[u8]) -> Option<(usize, usize)> {
    for start in 0..=bytes.len().checked_sub(name.len())? {
        if fold(bytes[start]) != name[0] || (start > 0 && !introduces(bytes[start - 1])) {
            continue;
        }
        let matches = name.iter().zip(&bytes[start..]).all(|(want, have)| fold(*have) == *want);
        // "q=login_token" is a search for the word and not the parameter: it stays.
        let after_value = start > 0 && matches!(bytes[start - 1], b'=' | b'+' | b' ');
        let named = match bytes.get(start + name.len()) {
            Some(b'=') => true,
            Some(byte) => (separates(*byte) || matches!(byte, b'+' | b' ')) && !after_value,
            None => !after_value,
        };
        if matches && named {
            let length = bytes[start..].iter().position(|byte| separates(*byte));
            return Some((start, length.map_or(bytes.len(), |length| start + length)));
        }
    }
    None
}

impl Level {
    /// The same, percent-decoded once more.
    fn decoded(&self) -> Self {
        let mut out = Self { bytes: Vec::with_capacity(self.bytes.len()), starts: Vec::new() };
        out.starts.reserve(self.starts.len());
        let mut at = 0;
        while let Some(&byte) = self.bytes.get(at) {
            out.starts.push(self.starts[at]);
            let hex = |offset: usize| self.bytes.get(at + offset).and_then(|d| char::from(*d).to_digit(16));
            if let (b'%', Some(high), Some(low)) = (byte, hex(1), hex(2)) {
                out.bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                at += 3;
            } else {
                out.bytes.push(byte);
                at += 1;
            }
        }
        out.starts.extend(self.starts.last());
        out
    }

    /// How many bytes of the query are written for the one at `at`.
    fn written(&self, at: usize) -> usize {
        self.starts[at + 1] - self.starts[at]
    }

    /// The span in `query` of the bytes from `first` to before `last` and of the delimiter behind it, or else the one before
    /// it.
    fn widen(&self, query: &str, first: usize, last: usize) -> Option<(usize, usize)> {
        let (mut start, mut end) = (*self.starts.get(first)?, *self.starts.get(last)?);
        let before = first.checked_sub(1);
        let behind = self.bytes.get(last).filter(|byte| separates(**byte)).map(|_| last);
        // Only a delimiter that is written at the same depth is the parameter's own: in "next=%3Flogin_token%3Dx&b" the
        // "&" ends `next`, and in "a&login_token%26b" the "&" ends `a`.
        let depth = before.map_or(1, |at| self.written(at));
        match (before, behind) {
            // It begins the value of another parameter, which keeps its delimiter; a raw "?" is part of such a value,
            // too.
            (Some(before), _)
                if !separates(self.bytes[before]) && (self.bytes[before] != b'?' || depth == 1) => {}
            (_, Some(behind)) if self.written(behind) == depth => end = self.starts[behind + 1],
            (Some(before), behind)
                if separates(self.bytes[before]) && behind.is_none_or(|at| self.written(at) < depth) =>
            {
                start = self.starts[before];
            }
            _ => {}
        }
        // Bytes ≥ 0x80 are only ever values; a span that would split a character cannot arise from ASCII delimiters, and
        // if it did, everything from there on is cut.
        if query.is_char_boundary(start) && query.is_char_boundary(end) {
            Some((start, end))
        } else {
            let start = (0..=start).rev().find(|at| query.is_char_boundary(*at))?;
            Some((start, query.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_spelling_is_cut_and_the_rest_stays_byte_for_byte() {
        let parameter = Parameter::new("login_token");
        for (query, rest) in [
            ("login_token=a", ""),
            ("login_token=a&next=/x%20y", "next=/x%20y"),
            ("next=/x&login_token=a", "next=/x"),
            ("a=1&login_token=a&b=2", "a=1&b=2"),
            ("LOGIN-Token=a;b=2", "b=2"),
            ("login%5Ftoken=a&b", "b"),
            ("%256Cogin_token=a&b", "b"),
            ("login_token&b", "b"),
            ("login_token=a&login_token=b", ""),
            ("next=%2Fhub%2Flogin%3Flogin_token%3Dabc%26x%3D1&b", "next=%2Fhub%2Flogin%3Fx%3D1&b"),
            ("next=%2Fa%3Fy%3D1%26login_token%3Dabc", "next=%2Fa%3Fy%3D1"),
            ("next=/a?login_token=abc", "next=/a?"),
            ("next=%252Fa%253Flogin%255Ftoken%253Dabc", "next=%252Fa%253F"),
            ("x=login_token=abc&b", "x=&b"),
            // What stands behind a deeper delimiter joins no neighbour.
            ("a=1&login_token%26b&c", "a=1&%26b&c"),
            ("a=1&login_token%2526b", "a=1&%2526b"),
            ("login_token%26b&c", "%26b&c"),
        ] {
            assert_eq!(parameter.cut(query).as_deref(), Some(rest), "{query}");
        }
    }

    #[test]
    fn other_queries_are_left_alone() {
        let parameter = Parameter::new("login_token");
        for query in [
            "",
            "a=1",
            "q=login_token",
            "my_login_token=1",
            "login_tokens=1",
            "token=hl_x",
            "a=%",
            "%zz=1",
            "a=100%25",
        ] {
            assert_eq!(parameter.cut(query), None, "{query}");
        }
    }

    #[test]
    fn a_query_that_takes_too_much_work_goes_as_a_whole_and_a_long_one_with_one_token_does_not() {
        let parameter = Parameter::new("login_token");
        let long = "x=y&".repeat(8 * 1024);
        assert_eq!(parameter.cut(&format!("{long}login_token=a")).as_deref(), long.strip_suffix('&'));
        let nested = "%25253Flogin_token=a&".repeat(1400);
        assert_eq!(parameter.cut(&nested).as_deref(), Some(""));
        // Many short ones are cut one by one.
        let short = "a=1&login_token=b&".repeat(16);
        assert_eq!(parameter.cut(&short).unwrap(), "a=1&".repeat(16));
    }

    proptest! {
        #[test]
        fn what_is_left_never_mentions_the_parameter(query in "(login_token|LOGIN-TOKEN|%6c|%25|%3D|%26|%3f|=|&|;|\\?|next|[a-z0-9%]|é){0,24}") {
            let parameter = Parameter::new("login_token");
            let rest = parameter.cut(&query).unwrap_or_else(|| query.clone());
            prop_assert!(!parameter.mentions(&rest), "{query} -> {rest}");
        }
    }
}
