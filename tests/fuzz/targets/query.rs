//! Cutting the login parameter out of a query: nothing of it is left at any depth, and what is not it stays byte for
//! byte.

#![no_main]

use hublatch::login::parameter::Parameter;
use hublatch::login::query::LoginQuery;
use hublatch_fuzz::{holds_parameter, is_left_of};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|query: &str| {
    let parameter = Parameter::new("login_token");
    let held = holds_parameter(query.as_bytes());
    assert_eq!(parameter.mentions(query), held, "{query}");
    let cut = parameter.cut(query);
    assert_eq!(cut.is_some(), held, "{query}");
    let rest = cut.as_deref().unwrap_or(query);
    assert!(!holds_parameter(rest.as_bytes()), "{query} -> {rest}");
    assert!(is_left_of(rest.as_bytes(), query.as_bytes()), "{query} -> {rest}");
    // A query with more occurrences than any person's goes as a whole.
    if !rest.is_empty() {
        let mut left = rest.split(['&', ';']);
        for pair in query.split(['&', ';']).filter(|pair| !holds_parameter(pair.as_bytes())) {
            assert!(left.any(|other| other == pair), "{query} -> {rest} without {pair}");
        }
    }
    if let Ok(parsed) = LoginQuery::parse(query, &parameter) {
        let rest = parsed.rest(&parameter);
        assert!(!holds_parameter(rest.as_bytes()), "{query} -> {rest}");
        let named = query.split('&').filter(|pair| pair.split('=').next() == Some("login_token")).count();
        assert_eq!(named, usize::from(parsed.token.is_some()), "{query}");
    }
});
