//! Headers on their way to the hub: no spelling of an identity, nothing hop-by-hop and no word on where the request came
//! from gets through, ours are there once, and what must arrive does, byte for byte.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use hublatch::config::PublicUrl;
use hublatch::login::parameter::Parameter;
use hublatch::proxy::header_scan::HeaderScan;
use hublatch::proxy::headers::{Forwarding, asked_upgrade, strip_request, strip_response};
use hublatch::proxy::identity::IdentityHeaders;
use hublatch_fuzz::{folded, holds_parameter};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Version};
use libfuzzer_sys::fuzz_target;

const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const OURS: [&str; 5] = ["x-real-ip", "x-forwarded-for", "x-scheme", "x-forwarded-proto", "x-forwarded-port"];
const SPOOFS: [&str; 11] = [
    "remote_user",
    "http_remote_user",
    "x_remote_user",
    "x_secret_5f3a",
    "x_forwarded_for",
    "x_forwarded_proto",
    "x_forwarded_host",
    "x_forwarded_port",
    "x_real_ip",
    "x_scheme",
    "forwarded",
];
/// What a client cannot make disappear by naming it in `Connection`.
const KEPT: [&str; 5] = ["host", "authorization", "cookie", "content-length", "content-type"];

static FORWARDING: LazyLock<[Forwarding; 2]> = LazyLock::new(|| {
    let public = PublicUrl {
        origin: "https://hub.example".to_owned(),
        secure: true,
        authority: "hub.example".to_owned(),
        port: 443,
    };
    let trusted = vec!["127.0.0.0/8".parse().expect("a network")];
    [Forwarding::new(Vec::new(), &public), Forwarding::new(trusted, &public)]
});

fn read(bytes: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

fuzz_target!(|bytes: &[u8]| {
    let before = read(bytes);
    let identity = IdentityHeaders::new(HeaderName::from_static("x-secret-5f3a"), None);
    let parameter = Parameter::new("login_token");
    let named: Vec<String> = before
        .get_all("connection")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    if let Some(upgrade) = asked_upgrade(Version::HTTP_11, &before) {
        let protocol = upgrade.to_str().expect("text").to_ascii_lowercase();
        let name = protocol.split('/').next().unwrap_or_default();
        assert!(named.iter().any(|name| name == "upgrade"), "{protocol}");
        assert!(!["h2", "h2c", "http"].contains(&name), "{protocol}");
        assert!(!protocol.contains([',', ' ']), "{protocol}");
    }
    assert!(asked_upgrade(Version::HTTP_10, &before).is_none());
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for (forwarding, trusts) in FORWARDING.iter().zip([false, true]) {
        let origin = forwarding.origin(peer, &before);
        assert!(trusts || (origin.client == peer && origin.secure));
        let mut after = before.clone();
        let found = HeaderScan::among(&after, &identity);
        assert_eq!(found.upgrade, before.contains_key("upgrade"));
        strip_request(&mut after, found, &parameter);
        for name in after.keys() {
            assert!(!SPOOFS.contains(&folded(name.as_str()).as_str()), "{name}");
            assert!(!HOP_BY_HOP.contains(&name.as_str()), "{name}");
        }
        for name in before.keys() {
            let values = |headers: &HeaderMap| headers.get_all(name).iter().cloned().collect::<Vec<_>>();
            let is_spoof = SPOOFS.contains(&folded(name.as_str()).as_str());
            let is_hop = HOP_BY_HOP.contains(&name.as_str());
            let is_named = named.iter().any(|named| *named == name.as_str());
            let is_leak = name == "referer"
                && before.get_all(name).iter().any(|value| holds_parameter(value.as_bytes()));
            let stays = !is_spoof && !is_hop && !is_leak && (!is_named || KEPT.contains(&name.as_str()));
            if stays {
                assert_eq!(values(&before), values(&after), "{name}");
            } else if is_leak {
                assert!(!after.contains_key(name), "{name}");
            }
        }
        forwarding.add(&mut after, origin, None);
        for name in OURS {
            assert_eq!(after.get_all(name).iter().count(), 1, "{name}");
        }
        let client = after["x-forwarded-for"].to_str().expect("text").parse::<IpAddr>().expect("an address");
        assert_eq!(client, origin.client);
    }
    let mut answer = before.clone();
    strip_response(&mut answer);
    for name in answer.keys() {
        assert!(*name == "trailer" || !HOP_BY_HOP.contains(&name.as_str()), "{name}");
    }
});
