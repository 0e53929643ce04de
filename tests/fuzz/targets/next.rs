//! `next`: whatever is accepted leads to the same origin and inside the base URL, by the `url` crate as well, and holds
//! no login token; what anybody would call a path of the hub is accepted.

#![no_main]

use std::sync::LazyLock;

use hublatch::login::next::{NextRule, form_decode, form_encode};
use hublatch::login::parameter::Parameter;
use hublatch::token::{NamePattern, ServerName, Username, UsernameCase, UsernameRule};
use hublatch_fuzz::holds_parameter;
use libfuzzer_sys::fuzz_target;
use url::Url;

const ORIGIN: &str = "https://hub.example";
const BASES: [&str; 2] = ["/", "/jupyter/"];

static RULES: LazyLock<[NextRule; 2]> = LazyLock::new(|| {
    BASES.map(|base| NextRule::new(ORIGIN, base, Parameter::new("login_token")).expect("a rule"))
});

static USER: LazyLock<Username> = LazyLock::new(|| {
    let names = UsernameRule::new(NamePattern::new(".*").expect("a pattern"), UsernameCase::Refuse);
    names.parse("al@ice+b").expect("a name")
});

static SERVER: LazyLock<ServerName> = LazyLock::new(|| ServerName::parse("s1").expect("a name"));

fn is_within(path: &str, base: &str) -> bool {
    format!("{path}/").starts_with(base)
}

fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'/';
    text.len() <= 8192 && text.starts_with('/') && !text.starts_with("//") && text.bytes().all(plain)
}

fuzz_target!(|text: &str| {
    for (rule, base) in RULES.iter().zip(BASES) {
        let checked = rule.check(text);
        if is_plain(text) && is_within(text, base) {
            assert!(checked.is_ok(), "{text:?} with {base}: {checked:?}");
        }
        let Ok(next) = checked else { continue };
        assert_eq!(next.as_str(), text);
        assert!(!holds_parameter(text.as_bytes()), "{text:?}");
        // As a browser reads a Location, wherever it stands at that time, and again what that leads to.
        for place in ["/", "/hub/login?login_token=x", "/user/alice/lab/tree/a;b#c"] {
            let place = Url::parse(ORIGIN).and_then(|origin| origin.join(place)).expect("a place");
            let url = place.join(text).expect("a URL");
            assert_eq!(url.origin().ascii_serialization(), ORIGIN, "{text:?}");
            assert!(url.username().is_empty() && url.password().is_none(), "{text:?}");
            assert!(is_within(url.path(), base), "{text:?} with {base} leads to {url}");
            let again = place.join(url.path()).expect("a URL");
            assert_eq!((again.origin(), again.path()), (url.origin(), url.path()), "{text:?}");
        }
        assert_eq!(form_decode(&form_encode(text)).as_deref(), Some(text));
    }
    for (rule, base) in RULES.iter().zip(BASES) {
        let Ok((outer, inner)) = rule.spawn(&USER, &SERVER, text) else { continue };
        let home = format!("{base}user/al@ice%2Bb/s1/");
        let url = Url::parse(ORIGIN).and_then(|origin| origin.join(inner.as_str())).expect("a URL");
        assert!(url.path().starts_with(&home), "{text:?} leads to {url}");
        let (path, query) = outer.as_str().split_once('?').expect("a query");
        assert_eq!(path, format!("{base}hub/spawn/al@ice%2Bb/s1"));
        let next = query.strip_prefix("next=").expect("one parameter");
        assert!(!next.contains(['&', ';', '#']), "{next}");
        assert_eq!(form_decode(next).as_deref(), Some(inner.as_str()), "{text:?}");
    }
});
