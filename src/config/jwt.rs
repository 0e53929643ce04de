//! `[apps.jwt]`: how an app signs tokens of its own.

use std::collections::HashMap;

use jsonwebtoken::DecodingKey;
use url::Url;

use super::file::ConfigFile;
use super::kind::{list_of_words, text};
use super::origin::{has_credentials, web_url};
use super::parse::any;
use super::secret::public_text;
use super::table::section;

const ALGORITHMS: [(&str, JwtAlgorithm); 3] =
    [("EdDSA", JwtAlgorithm::EdDsa), ("ES256", JwtAlgorithm::Es256), ("RS256", JwtAlgorithm::Rs256)];
const NO_ALGORITHM: &str = "is empty, so no token would do; write for example [\"EdDSA\"]";

/// `[apps.jwt]`: tokens that an app signs itself (RFC 7519).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// `iss`; no other app has the same.
    pub issuer: String,
    /// `aud` must be this or hold it.
    pub audience: String,
    /// What verifies the signatures.
    pub keys: JwtKeys,
    /// How they may be made.
    pub algorithms: Vec<JwtAlgorithm>,
}

/// Where the public keys of an app are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwtKeys {
    /// One key, in PEM.
    Pem(String),
    /// A JWK Set (RFC 7517 § 5) at this URL.
    Url(Url),
}

/// How a token is signed (RFC 7518 § 3.1, RFC 8037 § 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwtAlgorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2048 to 8192 bits.
    Rs256,
}

section! {
    /// Tokens that an app signs itself.
    pub(super) struct JwtSection {
        /// Who issues them (`iss`): no other app has the same.
        issuer: String, text(name), required "https://portal.example.org";
        /// For whom they are (`aud`).
        audience: String, text(name), required "https://hub.example.org";
        /// How they may be signed: "EdDSA", "ES256" or "RS256".
        algorithms: Vec<JwtAlgorithm>, list_of_words(&ALGORITHMS).not_empty(NO_ALGORITHM), default ["EdDSA"];
        /// The public key that verifies them, PEM.
        public_key_file: Option<String>, text(any), optional "portal.pem";
        /// Where a JWK Set with the public keys is.
        jwks_url: Option<Url>, text(service_url), optional "https://portal.example.org/keys";
    }
}

/// What the section at `key` (`apps[0].jwt`) says. `issuers`: those of other apps, and where they are written.
pub(super) fn jwt(
    file: &mut ConfigFile,
    key: &str,
    section: JwtSection,
    issuers: &mut HashMap<String, String>,
) -> Jwt {
    let JwtSection { issuer, audience, public_key_file, jwks_url, algorithms } = section;
    let issuer_key = format!("{key}.issuer");
    if !file.is_faulty(&issuer_key)
        && let Some(other) = issuers.insert(issuer.clone(), issuer_key.clone())
    {
        let at = file.at_line(&other);
        let message = format!("{issuer:?} is the issuer of another app{at}; each app needs its own");
        file.fault(&issuer_key, message);
    }
    let file_key = format!("{key}.public_key_file");
    let keys = match (jwks_url, public_key_file) {
        (Some(url), file_too) => {
            if file_too.is_some() {
                file.fault(&file_key, "is written as well as jwks_url; keep one of the two");
            }
            JwtKeys::Url(url)
        }
        (None, None) => {
            let message = "is required, or jwks_url: what verifies the app's signatures";
            file.conflict(&file_key, &[&format!("{key}.jwks_url")], message);
            JwtKeys::Pem(String::new())
        }
        (None, Some(path)) => match public_text(&file.file_at(&path)) {
            Ok(pem) => {
                refuse_misfit(file, &file_key, &pem, &algorithms);
                JwtKeys::Pem(pem)
            }
            Err(wrong) => {
                file.fault(&file_key, wrong);
                JwtKeys::Pem(String::new())
            }
        },
    };
    Jwt { issuer, audience, keys, algorithms }
}

/// Notes a fault if the key in `pem` does not verify what each of `algorithms` signs.
fn refuse_misfit(file: &mut ConfigFile, key: &str, pem: &str, algorithms: &[JwtAlgorithm]) {
    let misfit = algorithms.iter().find(|algorithm| algorithm.public_key(pem.as_bytes()).is_err());
    let Some(misfit) = misfit else { return };
    let word =
        |algorithm| ALGORITHMS.iter().find(|(_, other)| *other == algorithm).map_or("", |(word, _)| word);
    let made_for = ALGORITHMS.iter().find(|(_, algorithm)| algorithm.public_key(pem.as_bytes()).is_ok());
    let instead = made_for.map_or_else(
        || "write the public key in PEM (\"-----BEGIN PUBLIC KEY-----\")".to_owned(),
        |(word, _)| format!("write algorithms = [{word:?}] if that is what the app signs with"),
    );
    file.fault(key, format!("is no public key for {}; {instead}", word(*misfit)));
}

impl JwtAlgorithm {
    /// The public key in `pem` for this algorithm.
    pub fn public_key(self, pem: &[u8]) -> Result<DecodingKey, jsonwebtoken::errors::Error> {
        match self {
            Self::EdDsa => DecodingKey::from_ed_pem(pem),
            Self::Es256 => DecodingKey::from_ec_pem(pem),
            Self::Rs256 => DecodingKey::from_rsa_pem(pem),
        }
    }
}

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 1024 || text.chars().any(char::is_control) {
        return Err("is not a name; write 1 to 1024 characters on one line".to_owned());
    }
    Ok(text.to_owned())
}

/// The URL of a service that hublatch itself calls.
pub(super) fn service_url(text: &str) -> Result<Url, String> {
    web_url(text).filter(|url| !has_credentials(url) && url.fragment().is_none()).ok_or_else(|| {
        "is not the URL of a service; write for example \"https://portal.example.org/keys\"".to_owned()
    })
}
