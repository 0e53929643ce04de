//! Certificates and keys: a pair that would not serve is a fault of its key, one that soon will not is told.

use super::*;
use crate::tls::certificates::{Authority, Files};

/// The configuration with `public.tls` (line 2) and what it needs.
fn with_tls(files: &Files) -> String {
    MINIMAL
        .replace("url = \"http://127.0.0.1:8000\"", &format!("url = \"https://hub.test\"\n{}", files.toml()))
}

/// The line of `public.tls` in it.
const LINE: usize = 4;

fn days(days: i64) -> rcgen::CertificateParams {
    // The time of the machine is what certificates are judged by.
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    let mut params = rcgen::CertificateParams::default();
    params.not_after = rcgen::date_time_ymd(1970, 1, 1)
        + std::time::Duration::from_secs(now.saturating_add_signed(days * 24 * 60 * 60));
    params
}

#[test]
fn a_good_pair_is_taken_whatever_the_kind_of_its_key() {
    let authority = Authority::new("public");
    assert!(loaded(&with_tls(&authority.files())).expect("valid").public.tls.is_some());
    for (kind, older) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, Some("EC PRIVATE KEY")),
        (&rcgen::PKCS_ECDSA_P384_SHA384, Some("EC PRIVATE KEY")),
        (&rcgen::PKCS_RSA_SHA256, Some("RSA PRIVATE KEY")),
        (&rcgen::PKCS_ED25519, None),
    ] {
        let key = rcgen::KeyPair::generate_for(kind).expect("a key");
        let mut issued = authority.issue_for(&["hub.test"], &key, |_| ());
        assert!(loaded(&with_tls(&authority.write("pkcs8", &issued))).is_ok(), "{kind:?}");
        // The same key in an older form: it is what PKCS#8 wraps.
        let Some(label) = older else { continue };
        let inner = STANDARD.encode(unwrapped(key.serialized_der()));
        issued.key = format!("-----BEGIN {label}-----\n{inner}\n-----END {label}-----\n");
        assert!(loaded(&with_tls(&authority.write("older", &issued))).is_ok(), "{kind:?}");
    }
}

/// The key within PKCS#8 (RFC 5958 § 2): the OCTET STRING after version and algorithm.
fn unwrapped(pkcs8: &[u8]) -> &[u8] {
    fn element(der: &[u8]) -> (&[u8], &[u8]) {
        let long = usize::from(der[1].saturating_sub(0x80)) * usize::from(der[1] > 0x80);
        let length = if long == 0 { usize::from(der[1]) } else { 0 };
        let length = der[2..2 + long].iter().fold(length, |length, byte| length << 8 | usize::from(*byte));
        der[2 + long..].split_at(length)
    }
    let (fields, _) = element(pkcs8);
    let (_, rest) = element(fields);
    let (_, rest) = element(rest);
    element(rest).0
}

#[test]
fn a_pair_that_would_not_serve_is_a_fault_of_its_key() {
    let authority = Authority::new("public");
    let (good, other) = (authority.issue(&["hub.test"]), authority.issue(&["hub.test"]));
    let with = |chain: &str, key: &str, mode| Files {
        certificate: authority.file("a.pem", chain, 0o644),
        private_key: authority.file("a.key.pem", key, mode),
    };
    let future = authority.issue_with(&["hub.test"], |params| params.not_before = days(1).not_after);
    let damaged = good.chain.replacen("MII", "MIJ", 1);
    for (key, said, chain, secret, mode) in [
        ("private_key", "does not belong to the certificate", &good.chain, &other.key, 0o600),
        ("certificate", "is not valid yet", &future.chain, &future.key, 0o600),
        ("certificate", "is not a certificate chain in PEM", &good.key, &good.key, 0o600),
        ("certificate", "is not a certificate chain in PEM", &damaged, &good.key, 0o600),
        ("certificate", "is not a certificate chain in PEM", &String::new(), &good.key, 0o600),
        ("private_key", "is not a private key in PEM", &good.chain, &good.chain, 0o600),
        ("private_key", "is not a private key in PEM", &good.chain, &"secret".to_owned(), 0o600),
        ("private_key", "can be read by others than its owner; run chmod 600", &good.chain, &good.key, 0o640),
        ("private_key", "can be read by others than its owner; run chmod 600", &good.chain, &good.key, 0o604),
        ("private_key", "holds a certificate, which is no secret; name", &good.chain, &good.chain, 0o644),
    ] {
        let wrong = complaint(loaded(&with_tls(&with(chain, secret, mode))));
        assert!(wrong.starts_with(&format!("hublatch.toml:{LINE}: public.tls.{key}: ")), "{said}: {wrong}");
        assert!(wrong.contains(said), "{said}: {wrong}");
        assert_eq!(wrong.lines().count(), 1, "{wrong}");
        assert!(!wrong.contains("BEGIN"), "{wrong}");
    }
}

#[test]
fn files_that_are_not_there_are_told_both_at_once() {
    let files = Files { certificate: "/nowhere/a.pem".into(), private_key: "/dev/zero".into() };
    let wrong = complaint(loaded(&with_tls(&files)));
    assert!(wrong.contains("public.tls.certificate: cannot read /nowhere/a.pem: "), "{wrong}");
    assert!(wrong.contains("public.tls.private_key: cannot read /dev/zero: it is not a file"), "{wrong}");
    assert_eq!(wrong.lines().count(), 2, "{wrong}");

    let wrong = complaint(loaded(&MINIMAL.replace("[hub]", "tls = { certificate = \"\" }\n[hub]")));
    assert!(wrong.contains("public.tls.private_key: is required"), "{wrong}");
    assert!(wrong.contains("public.tls.certificate: \"\" is not the path of a file"), "{wrong}");
}

#[test]
fn a_key_in_the_place_of_its_path_is_not_repeated() {
    let key = Authority::new("public").issue(&["hub.test"]).key;
    let text = MINIMAL
        .replace("[hub]", &format!("tls = {{ certificate = \"a.pem\", private_key = {key:?} }}\n[hub]"));
    let wrong = complaint(loaded(&text));
    let secret = key.lines().nth(1).expect("a line of the key");
    assert!(wrong.contains("public.tls.private_key") && !wrong.contains(secret), "{wrong}");
}

/// So that a reload which removes a stolen key is not refused by it, and a restart comes up.
#[test]
fn an_expired_certificate_is_told_and_refuses_nothing() {
    let authority = Authority::new("public");
    let issued = authority.issue_with(&["hub.test"], |params| params.not_after = days(-1).not_after);
    let files = authority.write("expired", &issued);
    let warnings = loaded(&with_tls(&files)).expect("valid").warnings;
    let told = |warning: &String| warning.starts_with("public.tls.certificate has expired");
    assert!(warnings.iter().any(told), "{warnings:?}");
}

#[test]
fn a_certificate_for_another_name_is_told() {
    let authority = Authority::new("public");
    for (names, told) in [(&["hub.test"][..], false), (&["other.test"], true), (&["127.0.0.1"], true)] {
        let files = authority.write("named", &authority.issue(names));
        let warnings = loaded(&with_tls(&files)).expect("valid").warnings;
        let is_told = warnings.iter().any(|warning| warning.contains("certificate is not for \"hub.test\""));
        assert_eq!(is_told, told, "{names:?}: {warnings:?}");
    }
}

#[test]
fn a_certificate_that_ends_within_14_days_is_told() {
    let authority = Authority::new("public");
    for (left, told) in [(13, true), (15, false)] {
        let issued = authority.issue_with(&["hub.test"], |params| params.not_after = days(left).not_after);
        let files = authority.write("soon", &issued);
        let text = format!("{}\n[management]\n{}\n", with_tls(&files), files.toml());
        let warnings = loaded(&text).expect("valid").warnings;
        for section in ["public.tls", "management.tls"] {
            let warned = warnings
                .iter()
                .any(|warning| warning.starts_with(&format!("{section}.certificate ends in 1")));
            assert_eq!(warned, told, "{left} days: {warnings:?}");
        }
    }
}

#[test]
fn tls_and_redirects_want_a_public_url_of_https() {
    let authority = Authority::new("public");
    let files = authority.files();
    let wrong = complaint(loaded(&with_tls(&files).replace("https://hub.test", "http://hub.test")));
    assert!(
        wrong.contains("public.url: is http, but public.tls answers https only; write \"https://hub.test\"")
    );
    assert_eq!(wrong.lines().count(), 1, "{wrong}");
    let wrong = complaint(loaded(&MINIMAL.replace("[hub]", "redirect_listen = [\"127.0.0.1:80\"]\n[hub]")));
    assert!(wrong.contains("public.url: is http, so public.redirect_listen leads nowhere"), "{wrong}");
}

#[test]
fn a_redirect_needs_an_address_of_its_own() {
    let authority = Authority::new("public");
    let text = with_tls(&authority.files());
    let with = |lines: &str| loaded(&text.replace("[public]", &format!("[public]\n{lines}")));
    assert!(with("listen = \"0.0.0.0:443\"\nredirect_listen = [\"0.0.0.0:80\", \"[::]:80\"]").is_ok());
    for (lines, said) in [
        (
            "redirect_listen = [\"127.0.0.1:8000\"]",
            "public.redirect_listen: \"127.0.0.1:8000\" is also public.listen",
        ),
        (
            "redirect_listen = [\"127.0.0.1:8010\"]",
            "public.redirect_listen: \"127.0.0.1:8010\" is also management",
        ),
        ("redirect_listen = [\"0.0.0.0:80\", \"0.0.0.0:80\"]", "has \"0.0.0.0:80\" twice"),
        (
            "redirect_listen = [\"127.0.0.1:8400\"]",
            "hub.url: this address is hublatch's own listener \"127.0.0.1:8400\"",
        ),
        ("redirect_listen = [\":80\"]", "is not an address to listen on"),
    ] {
        let wrong = complaint(with(lines));
        assert!(wrong.contains(said) && wrong.lines().count() == 1, "{lines}: {wrong}");
    }
}

#[test]
fn management_may_leave_loopback_with_tls_only() {
    let authority = Authority::new("management");
    let files = authority.files();
    let told = |config: &Config| config.warnings.iter().any(|warning| warning.contains("client_ca"));
    let with = |tls: &str| loaded(&format!("{MINIMAL}\n[management]\nlisten = \"0.0.0.0:8001\"\n{tls}\n"));
    let wrong = complaint(with(""));
    assert!(
        wrong.contains("management.listen: \"0.0.0.0:8001\" can be reached from other machines"),
        "{wrong}"
    );
    assert!(told(&with(&files.toml()).expect("valid")));
    let ca = format!(", client_ca = {:?}", authority.ca_file());
    assert!(!told(&with(&files.toml_and(&ca)).expect("valid")));
    // On loopback nobody needs to be told.
    assert!(!told(&loaded(&format!("{MINIMAL}\n[management]\n{}\n", files.toml())).expect("valid")));
    for not_a_ca in [authority.file("empty.pem", "", 0o644), files.private_key.clone()] {
        let wrong = complaint(with(&files.toml_and(&format!(", client_ca = {not_a_ca:?}"))));
        assert!(wrong.contains("management.tls.client_ca: ") && wrong.contains("authorities"), "{wrong}");
    }
}

#[test]
fn the_authority_of_the_hub_goes_with_https() {
    let authority = Authority::new("hub");
    let ca = authority.ca_file();
    let hub = |url: &str, ca: &Path| {
        let hub = format!("url = {url:?}\nca_file = {ca:?}");
        loaded(&MINIMAL.replace("url = \"http://127.0.0.1:8400\"", &hub))
    };
    assert!(hub("https://hub.internal", &ca).expect("valid").hub.tls.is_some());
    for url in ["http://127.0.0.1:8400", "unix:/run/hub.sock"] {
        let wrong = complaint(hub(url, &ca));
        assert!(wrong.contains("hub.ca_file: is of use with https only"), "{wrong}");
    }
    let wrong = complaint(hub("https://hub.internal", Path::new("/nowhere/ca.pem")));
    assert!(wrong.contains("hub.ca_file: cannot read /nowhere/ca.pem"), "{wrong}");
    let wrong = complaint(hub("https://hub.internal/jupyter/", &ca));
    assert!(wrong.contains("hub.url") && wrong.contains("has a path"), "{wrong}");
}
