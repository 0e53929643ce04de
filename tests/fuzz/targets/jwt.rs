//! Tokens that an app has signed: what is accepted has the app's signature and keeps to every rule, by another reading of
//! the same claims.
//!
//! The first byte chooses: the text as it comes, or the text as claims that the app has signed.

#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hublatch::clock::{Clock as _, SystemClock};
use hublatch::config::{App, Jwt, JwtAlgorithm, JwtKeys, load_str};
use hublatch::login::jwt::JwtIssuers;
use hublatch::login::login_token::{TokenKind, LoginToken};
use hublatch::login::ApplicationClient;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

const ISSUER: &str = "https://portal.example";
const AUDIENCE: &str = "https://hub.example";

static KEY: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed"));
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));
static SIGNATORIES: LazyLock<JwtIssuers> = LazyLock::new(|| {
    let text = format!(
        "public.url = \"http://127.0.0.1:8000\"\nhub.url = \"http://127.0.0.1:8400\"\n[[apps]]\nname = \"portal\"\nkeys = [\"sha256:{}\"]",
        "5f3a".repeat(16)
    );
    let config = load_str(&text, Path::new("/nonexistent/hublatch.toml"), []).expect("a configuration");
    // SubjectPublicKeyInfo of Ed25519 (RFC 8410 § 10.1).
    let der = [&b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"[..], KEY.public_key().as_ref()].concat();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
    let jwt = Jwt {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        keys: JwtKeys::Pem(pem),
        algorithms: vec![JwtAlgorithm::EdDsa],
    };
    let app = App { jwt: Some(jwt), ..App::clone(&config.apps[0]) };
    JwtIssuers::new(&[Arc::new(app)], Arc::new(ApplicationClient::default()))
});

fn signed(header: &str, claims: &str) -> String {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(KEY.sign(text.as_bytes())))
}

/// Whether the rules of contract 4 are kept, by `serde_json` alone.
fn is_sound(claims: &Value) -> bool {
    let text = |name: &str| claims[name].as_str();
    let number = |name: &str| claims[name].as_f64();
    let (Some(iat), Some(exp)) = (number("iat"), number("exp")) else { return false };
    let meant = match &claims["aud"] {
        Value::String(one) => one == AUDIENCE,
        Value::Array(several) => several.iter().any(|one| one == AUDIENCE),
        _ => false,
    };
    text("iss") == Some(ISSUER)
        && meant
        && text("sub").is_some()
        && text("jti").is_some_and(|id| (1..=255).contains(&id.len()))
        && exp - iat > 0.0
        && exp - iat <= 120.0
}

/// `text`, which was accepted, by `serde_json`'s own reading; none if it says what only a reader of all members minds.
fn read(text: &str) -> Option<Value> {
    match serde_json::from_str(text) {
        Ok(value) => Some(value),
        // In a member that nobody reads: there it is passed over, here it must become a number.
        Err(error) if error.to_string().starts_with("number out of range") => None,
        Err(error) => panic!("{error}: {text}"),
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((first, rest)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let now = SystemClock::new().now();
    let verify = |token: &str| RUNTIME.block_on(SIGNATORIES.verify(token, now)).is_ok();
    match first % 3 {
        0 => {
            // Nobody makes a signature by chance.
            assert!(!verify(text), "{text}");
            if let Some(token) = LoginToken::parse(text) {
                assert_eq!(token.expose(), text);
                match token.kind() {
                    TokenKind::Opaque => assert!(text.starts_with("hl_") && text.len() == 46, "{text}"),
                    TokenKind::Jwt => assert_eq!(text.split('.').count(), 3, "{text}"),
                    TokenKind::External => assert!(!text.starts_with("hl_"), "{text}"),
                }
            }
        }
        1 => {
            let token = signed(r#"{"alg":"EdDSA","typ":"JWT"}"#, text);
            if verify(&token) {
                assert!(read(text).is_none_or(|claims| is_sound(&claims)), "{text}");
                // Any other signature, or none, is worth nothing.
                let (signed, signature) = token.rsplit_once('.').expect("three parts");
                let mut other = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
                other[usize::from(*first) % 64] ^= 1;
                assert!(!verify(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(other))));
                assert!(!verify(&format!("{signed}.")) && !verify(signed));
            }
        }
        _ => {
            let claims = format!(
                r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"alice","iat":1,"exp":60,"jti":"1"}}"#
            );
            if verify(&signed(text, &claims)) {
                let Some(header) = read(text) else { return };
                assert_eq!(header["alg"], "EdDSA", "{text}");
                assert!(header.get("crit").is_none_or(Value::is_null), "{text}");
            }
        }
    }
});
