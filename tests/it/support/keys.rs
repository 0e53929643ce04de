//! Private keys as configurations name them.

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The private key of `pair`: PEM (RFC 7468) of PKCS#8, as `assertion.key` takes it.
pub fn private_pem(pair: &Ed25519KeyPair) -> String {
    let der = pair.to_pkcs8v1().expect("PKCS#8");
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()))
}

/// That of a new pair.
pub fn signing_key() -> String {
    private_pem(&Ed25519KeyPair::generate().expect("a key pair"))
}
