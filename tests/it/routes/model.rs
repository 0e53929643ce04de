//! The table against a model of configurable-http-proxy's rule: the longest key by whole segments of the decoded path.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hublatch::config::load_str;
use hublatch::routes::{Routes, key};
use hublatch::store::MemoryStore;
use proptest::prelude::*;

/// An empty table.
fn table(host_routing: bool) -> Arc<Routes> {
    let text = format!("[public]\nurl = \"http://hub.test\"\n[routes]\nhost_routing = {host_routing}\n");
    let config = load_str(&text, Path::new("hublatch.toml"), []).expect("valid");
    Routes::new(config.routes.as_ref().expect("it is there"), &config.hub, &MemoryStore::new(1))
        .expect("a table")
}

/// Each segment in turn, as a trie does it.
fn model<'m>(routes: &'m BTreeMap<String, u32>, path: &str) -> Option<&'m u32> {
    let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
    let path = path.trim_end_matches('/');
    let mut best = routes.get("/");
    let mut prefix = String::new();
    for segment in path.split('/').skip(1) {
        prefix.push('/');
        prefix.push_str(segment);
        best = routes.get(&prefix).or(best);
    }
    best
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab]{1,2}",
        Just("a%20b".to_owned()),
        Just("%61".to_owned()),
        Just("a%2Fb".to_owned()),
        Just("é".to_owned())
    ]
}

fn path() -> impl Strategy<Value = String> {
    (prop::collection::vec(segment(), 0..6), any::<bool>())
        .prop_map(|(segments, slash)| format!("/{}{}", segments.join("/"), if slash { "/" } else { "" }))
}

proptest! {
    #[test]
    fn a_request_goes_where_a_trie_of_decoded_segments_sends_it(
        changes in prop::collection::vec((path(), any::<bool>()), 0..40),
        asked in prop::collection::vec(path(), 1..20),
    ) {
        let routes = table(false);
        let mut rows = BTreeMap::new();
        for (number, (path, is_added)) in changes.iter().enumerate() {
            let key = key::of_path(path).unwrap();
            let number = u32::try_from(number).unwrap();
            if *is_added {
                routes.add(&key, &format!("http://127.0.0.1:{}", 1000 + number), serde_json::Map::new()).unwrap();
                rows.insert(key, number);
            } else {
                prop_assert_eq!(routes.remove(&key), rows.remove(&key).is_some());
            }
        }
        prop_assert_eq!(routes.table().len(), rows.len());
        for path in changes.iter().map(|(path, _)| path).chain(&asked) {
            let table = routes.table();
            let found = table.find("", path).unwrap().map(|route| &*route.target_text);
            let wanted = model(&rows, path).map(|number| format!("http://127.0.0.1:{}", 1000 + number));
            prop_assert_eq!(found, wanted.as_deref(), "{}", path);
        }
    }

    #[test]
    fn no_path_and_no_host_make_the_table_panic(host in "\\PC{0,20}", path in "/\\PC{0,40}") {
        let routes = table(true);
        routes.add("/hub.test/a", "http://127.0.0.1:1", serde_json::Map::new()).unwrap();
        let _found = routes.table().find(&host, &path);
        let _key = key::of_path(&path);
        let _rest = key::behind(&path, "/a b");
    }
}

#[test]
fn with_host_routing_a_host_is_a_segment_without_case_port_or_dot() {
    let routes = table(true);
    for (key, target) in [
        ("/hub.test/a", "http://127.0.0.1:1"),
        ("/", "http://127.0.0.1:2"),
        ("/alice.hub.test", "http://127.0.0.1:3"),
    ] {
        routes.add(key, target, serde_json::Map::new()).unwrap();
    }
    let table = routes.table();
    for (host, path, port) in [
        ("hub.test", "/a/x", 1),
        ("HUB.test:8000", "/a", 1),
        ("hub.test.", "/a", 1),
        ("hub.test", "/b", 2),
        ("alice.hub.test", "/a", 3),
        ("[::1]:80", "/a", 2),
    ] {
        let found = table.find(host, path).unwrap().unwrap();
        assert_eq!(&*found.target_text, format!("http://127.0.0.1:{port}"), "{host}{path}");
    }
}
