//! `[apps.jwt]`: how an app signs tokens of its own.

use std::collections::HashMap;

use jsonwebtoken::DecodingKey;
use url::Url;

use super::apps::at_line;
use super::file::ConfigFile;
use super::origin::web_url;
use super::parse::one_of;
use super::secret::public_text;

const ALGORITHMS: [(&str, JwtAlgorithm); 3] =
    [("EdDSA", JwtAlgorithm::EdDsa), ("ES256", JwtAlgorithm::Es256), ("RS256", JwtAlgorithm::Rs256)];

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

/// The section `key` (`apps[0].jwt`), if there is one: `Some(None)` is none, `None` a bad one. `issuers`: those of other
/// apps, and where they are written.
#[allow(clippy::option_option)] // the outer one is that of every reader: a fault has been noted
pub(super) fn jwt(
    file: &mut ConfigFile,
    key: &str,
    issuers: &mut HashMap<String, String>,
) -> Option<Option<Jwt>> {
    if !file.has_section(key) {
        return Some(None);
    }
    let name = |name: &str| format!("{key}.{name}");
    let issuer = file.required(&name("issuer"), "https://portal.example.org", text);
    if let Some(issuer) = &issuer
        && let Some(other) = issuers.insert(issuer.clone(), name("issuer"))
    {
        let at = at_line(file, &other);
        file.fault(
            &name("issuer"),
            format!("{issuer:?} is the issuer of another app{at}; each app needs its own"),
        );
    }
    let audience = file.required(&name("audience"), "https://hub.example.org", text);
    let algorithms = file.list(&name("algorithms"), vec![JwtAlgorithm::EdDsa], one_of(&ALGORITHMS));
    if algorithms.as_ref().is_some_and(Vec::is_empty) {
        file.fault(&name("algorithms"), "is empty, so no token would do; write for example [\"EdDSA\"]");
    }
    let keys = keys(file, key, algorithms.as_deref());
    Some(Some(Jwt { issuer: issuer?, audience: audience?, keys: keys?, algorithms: algorithms? }))
}

fn keys(file: &mut ConfigFile, section: &str, algorithms: Option<&[JwtAlgorithm]>) -> Option<JwtKeys> {
    let (url_key, file_key) = (format!("{section}.jwks_url"), format!("{section}.public_key_file"));
    let url = file.value(&url_key, None, |text| service_url(text).map(Some));
    let path = file.value(&file_key, None, |path| Ok(Some(path.to_owned())));
    match (url?, path?) {
        (Some(_), Some(_)) => {
            file.fault(&file_key, "is written as well as jwks_url; keep one of the two");
            None
        }
        (None, None) => {
            file.fault(&file_key, "is required, or jwks_url: what verifies the app's signatures");
            None
        }
        (Some(url), None) => Some(JwtKeys::Url(url)),
        (None, Some(path)) => match public_text(&file.file_at(&path)) {
            Ok(pem) => fits(file, &file_key, &pem, algorithms?).then_some(JwtKeys::Pem(pem)),
            Err(wrong) => {
                file.fault(&file_key, wrong);
                None
            }
        },
    }
}

/// Whether the key in `pem` verifies what each of `algorithms` signs; a fault if not.
fn fits(file: &mut ConfigFile, key: &str, pem: &str, algorithms: &[JwtAlgorithm]) -> bool {
    let misfit = algorithms.iter().find(|algorithm| algorithm.public_key(pem.as_bytes()).is_err());
    let Some(misfit) = misfit else { return true };
    let word =
        |algorithm| ALGORITHMS.iter().find(|(_, other)| *other == algorithm).map_or("", |(word, _)| word);
    let made_for = ALGORITHMS.iter().find(|(_, algorithm)| algorithm.public_key(pem.as_bytes()).is_ok());
    let instead = made_for.map_or_else(
        || "write the public key in PEM (\"-----BEGIN PUBLIC KEY-----\")".to_owned(),
        |(word, _)| format!("write algorithms = [{word:?}] if that is what the app signs with"),
    );
    file.fault(key, format!("is no public key for {}; {instead}", word(*misfit)));
    false
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

fn text(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 1024 || text.chars().any(char::is_control) {
        return Err("is not a name; write 1 to 1024 characters on one line".to_owned());
    }
    Ok(text.to_owned())
}

/// The URL of a service that hublatch itself calls.
pub(super) fn service_url(text: &str) -> Result<Url, String> {
    web_url(text)
        .filter(|url| url.username().is_empty() && url.password().is_none() && url.fragment().is_none())
        .ok_or_else(|| {
            "is not the URL of a service; write for example \"https://portal.example.org/keys\"".to_owned()
        })
}

/// Whether somebody on the way could change what `url` answers.
pub(super) fn is_unprotected(url: &Url) -> bool {
    url.scheme() == "http" && !is_loopback(url)
}

/// Whether `url` is this machine's.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
