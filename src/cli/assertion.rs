//! `hublatch assertion`: what the hub's authenticator has to know of `[assertion]`, as JSON: nothing secret is in it but a
//! secret `login.user_header`. The proxy class of our Python package runs it, so that no key file has to be copied.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{Exit, fail, load, print};
use crate::config::Source;

/// Characters of base64 in a line (RFC 7468 § 2).
const PEM_LINE_CHARS: usize = 64;

/// Prints the public key, the audience and the two headers' names.
pub fn run(source: &Source) -> Exit {
    let config = match load(source) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let Some(assertion) = &config.assertion else {
        return fail(
            "assertion",
            "the configuration has no [assertion]: REMOTE_USER is sent alone, without a proof",
        );
    };
    let Some(public) = public_half(assertion.key.text.as_bytes()) else {
        return fail(
            "assertion",
            "assertion.key_file is not an Ed25519 key in PKCS#8; make one by `hublatch init`",
        );
    };
    let told = serde_json::json!({
        "public_keys": pem("PUBLIC KEY", &public).as_str(),
        "audience": assertion.audience,
        "assertion_header": assertion.header.as_str(),
        "user_header": config.login.user_header.as_str(),
    });
    print(&told.to_string())
}

/// A block with this label (RFC 7468 § 2). It may be a private key, so its text is wiped too.
pub(super) fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(STANDARD.encode(der));
    let mut pem = Zeroizing::new(format!("-----BEGIN {label}-----\n"));
    for (index, character) in base64.chars().enumerate() {
        if index > 0 && index % PEM_LINE_CHARS == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str("\n-----END ");
    pem.push_str(label);
    pem.push_str("-----\n");
    pem
}

/// The SPKI (RFC 8410 § 4) of the public half of a private key in PEM.
pub(super) fn public_half(pem: &[u8]) -> Option<Vec<u8>> {
    let pem = std::str::from_utf8(pem).ok()?;
    let der = blocks(pem, "PRIVATE KEY").next()?;
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).ok()?;
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).ok()?;
    Some(public.as_ref().to_vec())
}

/// The contents of the blocks with this label (RFC 7468 § 2).
pub(super) fn blocks<'a>(pem: &'a str, label: &str) -> impl Iterator<Item = Vec<u8>> + use<'a> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut rest = pem;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&begin)?;
        let (block, after) = after.split_once(&end)?;
        rest = after;
        Some(block.split_whitespace().collect::<String>())
    })
    .filter_map(|base64| STANDARD.decode(base64).ok())
}
