//! The path of a request: what is let through is the path that any URL parser behind us sees, segment by segment.

#![no_main]

use hublatch::proxy::validate::check_path;
use hyper::http::uri::PathAndQuery;
use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode_str;
use url::Url;

fuzz_target!(|text: &str| {
    if !text.starts_with('/') {
        return;
    }
    let Ok(target) = PathAndQuery::try_from(text) else { return };
    if check_path(&target).is_err() {
        return;
    }
    let path = target.path();
    // Behind an origin, because "//a" alone names a host.
    let url = Url::parse(&format!("http://hub.example{path}")).expect("a URL");
    assert_eq!(url.host_str(), Some("hub.example"), "{path}");
    let seen: Vec<Vec<u8>> =
        url.path().split('/').map(|segment| percent_decode_str(segment).collect()).collect();
    let sent: Vec<Vec<u8>> = path.split('/').map(|segment| percent_decode_str(segment).collect()).collect();
    assert_eq!(seen, sent, "{path}");
    assert!(url.query().is_none() && url.fragment().is_none(), "{path}");
    // The login path by that parser is the login path by ours.
    assert_eq!(url.path() == "/hub/login", path == "/hub/login", "{path}");
});
