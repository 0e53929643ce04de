//! `routes`: keys are decoded and matched as configurable-http-proxy does it, by a trie of decoded segments. The last line of
//! an input is the path of a request, each line before it a path at which the API was given a route.

#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use hublatch::last_activity::LastActivity;
use hublatch::routes::{Route, RouteKind, Table, key};
use libfuzzer_sys::fuzz_target;

/// The bytes behind the escapes; none if one is broken.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let (bytes, mut read, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let digit = |at: usize| bytes.get(at).and_then(|byte| (*byte as char).to_digit(16));
            read.push(u8::try_from(digit(at + 1)? * 16 + digit(at + 2)?).expect("two digits"));
            at += 3;
        } else {
            read.push(bytes[at]);
            at += 1;
        }
    }
    Some(read)
}

fn without_slashes(text: &str) -> &str {
    text.trim_matches('/')
}

fuzz_target!(|text: &str| {
    let mut lines: Vec<&str> = text.lines().take(24).collect();
    let Some(path) = lines.pop().filter(|path| path.starts_with('/')) else { return };
    let (mut table, mut trie) = (Table::new(false), BTreeMap::<Vec<String>, usize>::new());
    for (number, line) in lines.iter().enumerate() {
        let expected = decoded(line).and_then(|bytes| String::from_utf8(bytes).ok());
        let expected = expected.map(|text| format!("/{}", without_slashes(&text)));
        let key = key::of_path(line).ok();
        assert_eq!(key, expected, "the key of {line:?}");
        let Some(key) = key else { continue };
        let segments = key.split('/').skip(1).map(str::to_owned);
        trie.insert(if key == "/" { Vec::new() } else { segments.collect() }, number);
        table = table.with(Arc::new(Route {
            key: key.into(),
            kind: RouteKind::Extra,
            target: None,
            target_text: number.to_string().into(),
            data: serde_json::Map::new(),
            generation: 0,
            last_activity: LastActivity::at(0),
        }));
    }
    let found = table.find("hub.test", path);
    let Some(bytes) = decoded(path) else {
        assert!(found.is_err(), "{path:?} has a broken escape");
        return;
    };
    let read = String::from_utf8_lossy(&bytes).into_owned();
    let segments: Vec<&str> = read.trim_end_matches('/').split('/').skip(1).collect();
    let mut expected = trie.get(&Vec::new());
    for end in 1..=segments.len() {
        let prefix: Vec<String> = segments[..end].iter().map(|&segment| segment.to_owned()).collect();
        expected = trie.get(&prefix).or(expected);
    }
    let found = found.expect("it can be decoded").map(|route| route.target_text.to_string());
    assert_eq!(found, expected.map(usize::to_string), "{path:?} among {lines:?}");
});
