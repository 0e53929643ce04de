//! An app that signs its own tokens: its keys, its JWK Set, and a token of whatever claims.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://portal.example";
pub const AUDIENCE: &str = "http://hub.test";

/// A private key, with all that can be told of it.
pub struct Signer {
    pub algorithm: Algorithm,
    key: EncodingKey,
    /// The public key, PEM.
    pub pem: String,
    /// The public key as a JWK, without an id.
    pub jwk: Value,
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    pub fn ed25519() -> Self {
        let pair = Ed25519KeyPair::generate().expect("a key pair");
        let private = pair.to_pkcs8v1().expect("PKCS#8");
        let public = pair.public_key().as_ref();
        // RFC 8410 § 4: the algorithm's identifier, then the 32 bytes.
        let head = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        Self {
            algorithm: Algorithm::EdDSA,
            key: EncodingKey::from_ed_der(private.as_ref()),
            pem: pem("PUBLIC KEY", &[&head, public].concat()),
            jwk: json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(public) }),
        }
    }

    pub fn p256() -> Self {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let private =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key pair");
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private.as_ref()).expect("a pair");
        let point = pair.public_key().as_ref();
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("DER");
        Self {
            algorithm: Algorithm::ES256,
            key: EncodingKey::from_ec_der(private.as_ref()),
            pem: pem("PUBLIC KEY", der.as_ref()),
            jwk: json!({ "kty": "EC", "crv": "P-256", "x": base64url(&point[1..33]), "y": base64url(&point[33..]) }),
        }
    }

    pub fn rsa() -> Self {
        let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).expect("a key pair");
        let private =
            aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).expect("DER");
        let public = pair.public_key();
        let der: PublicKeyX509Der<'_> = public.as_der().expect("DER");
        Self {
            algorithm: Algorithm::RS256,
            key: EncodingKey::from_rsa_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes()).expect("a key"),
            pem: pem("PUBLIC KEY", der.as_ref()),
            jwk: json!({
                "kty": "RSA",
                "n": base64url(public.modulus().big_endian_without_leading_zero()),
                "e": base64url(public.exponent().big_endian_without_leading_zero()),
            }),
        }
    }

    /// The JWK with an id and whatever else.
    pub fn jwk(&self, id: &str, more: &Value) -> Value {
        let mut jwk = self.jwk.clone();
        jwk["kid"] = json!(id);
        for (name, value) in more.as_object().into_iter().flatten() {
            jwk[name] = value.clone();
        }
        jwk
    }

    /// A token of these claims.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(claims, |_| {})
    }

    /// A token of these claims with another header.
    pub fn sign_as(&self, claims: &Value, change: impl FnOnce(&mut Header)) -> String {
        let mut header = Header::new(self.algorithm);
        change(&mut header);
        jsonwebtoken::encode(&header, claims, &self.key).expect("a token")
    }
}

/// Good claims at `now`, with a `jti` of their own, changed by `more`; `null` removes one.
pub fn claims(now: i64, more: &Value) -> Value {
    let jti = hublatch::token::LinkId::generate(&aws_lc_rs::rand::SystemRandom::new()).expect("random bytes");
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 60, "jti": jti.as_str(),
    });
    let all = claims.as_object_mut().expect("an object");
    for (name, value) in more.as_object().into_iter().flatten() {
        if value.is_null() {
            all.remove(name)
        } else {
            all.insert(name.clone(), value.clone())
        };
    }
    claims
}
