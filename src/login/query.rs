//! The query of a login link, or the form that stands for one: token, `next`, and the rest, as raw slices.

use super::next::form_decode;
use super::parameter::Parameter;

/// The query is ambiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than one login token, another spelling of its name, or more than one next")]
pub struct Ambiguous;

/// A query, taken apart and not decoded.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LoginQuery<'a> {
    /// The value of the login parameter.
    pub token: Option<&'a str>,
    /// The value of `next`; an empty one counts as none.
    pub next: Option<&'a str>,
    /// There is more than one `next`, and servers do not agree which of them counts: no login is taken with that. A request
    /// that is only forwarded to the hub may have it.
    pub has_many_nexts: bool,
    /// Every other pair, in order.
    pub others: Vec<&'a str>,
}

impl<'a> LoginQuery<'a> {
    /// Takes `query` apart.
    pub fn parse(query: &'a str, parameter: &Parameter) -> Result<Self, Ambiguous> {
        let mut parsed = Self::default();
        let mut nexts = 0;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if pair.split(';').skip(1).any(|part| is_ours(part, parameter)) {
                return Err(Ambiguous);
            }
            if name == parameter.name() {
                if parsed.token.replace(value).is_some() {
                    return Err(Ambiguous);
                }
            } else if parameter.mentions(name) {
                return Err(Ambiguous);
            } else if form_decode(name).as_deref() == Some("next") {
                nexts += 1;
                if !value.is_empty() {
                    parsed.next = Some(value);
                }
            } else {
                parsed.others.push(pair);
            }
        }
        parsed.has_many_nexts = nexts > 1;
        if parsed.has_many_nexts && parsed.token.is_some() { Err(Ambiguous) } else { Ok(parsed) }
    }

    /// The rest, without any login parameter that is nested in it.
    pub fn rest(&self, parameter: &Parameter) -> String {
        let rest = self.others.join("&");
        parameter.cut(&rest).unwrap_or(rest)
    }
}

/// Whether a server that takes `;` for a delimiter would see a token or a `next` in `part`.
fn is_ours(part: &str, parameter: &Parameter) -> bool {
    let name = part.split('=').next().unwrap_or_default();
    parameter.mentions(part) || form_decode(name).as_deref() == Some("next")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<LoginQuery<'_>, Ambiguous> {
        LoginQuery::parse(query, &Parameter::new("login_token"))
    }

    #[test]
    fn a_link_is_taken_apart_byte_for_byte() {
        let query = parse("a=%20+&login_token=hl_x&next=%2Fa%2520b&b").unwrap();
        assert_eq!(
            (query.token, query.next, query.others.join("&").as_str()),
            (Some("hl_x"), Some("%2Fa%2520b"), "a=%20+&b")
        );
        assert_eq!(parse("").unwrap(), LoginQuery::default());
        assert_eq!(parse("next=").unwrap().next, None);
    }

    #[test]
    fn whatever_is_not_exactly_one_login_is_ambiguous() {
        for query in [
            "login_token=a&login_token=b",
            "login_token=a&login_token=a",
            "LOGIN_TOKEN=a",
            "login-token=a",
            "login%5Ftoken=a",
            "login_token=a&%6Cogin_token=b",
            "%256Cogin_token=a",
            "a=1;login_token=b",
            "login_token=a;login_token=b",
            "login_token=a&next=/a&next=/b",
            "next=/a&login_token=a&n%65xt=/b",
            "next=&next=/b&login_token=a",
            "a=1;next=/b",
        ] {
            assert_eq!(parse(query), Err(Ambiguous), "{query}");
        }
    }

    #[test]
    fn two_destinations_without_a_login_are_the_hubs_to_read() {
        for query in ["next=/a&next=/b", "next=/a&n%65xt=/b", "next=&next=/b"] {
            let parsed = parse(query).unwrap();
            assert_eq!((parsed.next, parsed.has_many_nexts), (Some("/b"), true), "{query}");
        }
        assert!(!parse("next=/b").unwrap().has_many_nexts);
    }

    #[test]
    fn a_nested_token_is_not_the_links_own() {
        let query = parse("next=%2Fhub%2Flogin%3Flogin_token%3Dx&u=a%3Flogin_token%3Dy").unwrap();
        assert_eq!((query.token, query.rest(&Parameter::new("login_token")).as_str()), (None, "u=a%3F"));
    }
}
