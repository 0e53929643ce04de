//! A certificate chain with its private key: parsed once, found to belong together and to be valid now.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::pem::PemError;

/// What a listener proves itself with.
#[derive(Clone)]
pub struct TlsIdentity {
    key: Arc<CertifiedKey>,
    certificate: CertificateDer<'static>,
    /// Seconds since 1970.
    ends: u64,
}

/// Why a certificate and a key are no [`TlsIdentity`]. Texts are the rest of a sentence that begins with the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// No certificates in PEM.
    #[error("is not a certificate chain in PEM, the server's own certificate first: {0}")]
    Pem(PemError),
    /// No certificate, or one that cannot be read.
    #[error("is not a certificate chain in PEM, the server's own certificate first")]
    Certificate,
    /// It begins later.
    #[error("is not valid yet; look at the clock, or at the certificate's dates")]
    NotYetValid,
    /// No private key in PEM, or one of an unknown kind.
    #[error(
        "is not a private key in PEM (PKCS#8, SEC1 or PKCS#1; ECDSA, Ed25519 or RSA, without a passphrase)"
    )]
    Key,
    /// They do not belong together.
    #[error("does not belong to the certificate; write the key that the certificate was made for")]
    Mismatch,
}

impl IdentityError {
    /// Whether the private key is at fault, and not the certificate.
    pub fn is_of_key(&self) -> bool {
        match self {
            Self::Key | Self::Mismatch => true,
            Self::Certificate | Self::Pem(_) | Self::NotYetValid => false,
        }
    }
}

impl TlsIdentity {
    /// The chain in `certificate_pem` with the key in `key_pem`.
    pub fn new(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Self, IdentityError> {
        let chain = super::pem::certificates(certificate_pem).map_err(IdentityError::Pem)?;
        let certificate = chain.first().cloned().ok_or(IdentityError::Certificate)?;
        let (begins, ends) = validity(&certificate).ok_or(IdentityError::Certificate)?;
        let now = UnixTime::now().as_secs();
        if now < begins {
            return Err(IdentityError::NotYetValid);
        }
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| IdentityError::Key)?;
        let key = any_supported_type(&key).map_err(|_| IdentityError::Key)?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) => Ok(Self { key: Arc::new(key), certificate, ends }),
            Err(rustls::Error::InconsistentKeys(_)) => Err(IdentityError::Mismatch),
            Err(_) => Err(IdentityError::Certificate),
        }
    }

    /// How long the certificate is valid from now on; nothing if it has expired.
    pub fn left(&self) -> Option<Duration> {
        self.ends.checked_sub(UnixTime::now().as_secs()).map(Duration::from_secs)
    }

    /// When it ends, in seconds since 1970.
    pub fn not_after(&self) -> u64 {
        self.ends
    }

    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(super) fn resolver(&self) -> Arc<SingleCertAndKey> {
        Arc::new(SingleCertAndKey::from(Arc::clone(&self.key)))
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity").field("ends", &self.ends).finish_non_exhaustive()
    }
}

/// Whether `certificate` is valid now, by its dates.
pub(super) fn is_current(certificate: &CertificateDer<'_>) -> Option<bool> {
    let (begins, ends) = validity(certificate)?;
    Some((begins..=ends).contains(&UnixTime::now().as_secs()))
}

/// How long `certificate` is valid from now on; nothing if its dates cannot be read.
pub(super) fn left(certificate: &CertificateDer<'_>) -> Option<Duration> {
    let (_, ends) = validity(certificate)?;
    Some(Duration::from_secs(ends.saturating_sub(UnixTime::now().as_secs())))
}

const SEQUENCE: u8 = 0x30;
const EXPLICIT_VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// From when to when a certificate is valid, in seconds since 1970 (RFC 5280 § 4.1): rustls judges a peer's dates but
/// does not tell our own.
fn validity(certificate: &[u8]) -> Option<(u64, u64)> {
    let (SEQUENCE, certificate, _) = element(certificate)? else { return None };
    let (SEQUENCE, mut fields, _) = element(certificate)? else { return None };
    // version, if any; then serialNumber, signature, issuer.
    let (tag, _, rest) = element(fields)?;
    fields = if tag == EXPLICIT_VERSION { rest } else { fields };
    for _ in 0..3 {
        (_, _, fields) = element(fields)?;
    }
    let (SEQUENCE, dates, _) = element(fields)? else { return None };
    let (kind, begins, rest) = element(dates)?;
    let begins = time(kind, begins)?;
    let (kind, ends, _) = element(rest)?;
    Some((begins, time(kind, ends)?))
}

/// The first element of DER: its tag, its content, and what follows it (X.690 § 8.1, § 10.1).
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if bytes.is_empty() || bytes.len() > 4 {
            return None;
        }
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280 § 4.1.2.5), in seconds since 1970; what lies before counts as 1970.
fn time(kind: u8, text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let full = match (kind, text.len()) {
        (UTC_TIME, 12) => format!("{}{text}", if text < "5" { "20" } else { "19" }),
        (GENERALIZED_TIME, 14) => text.to_owned(),
        _ => return None,
    };
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", full).ok()?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(u64::try_from(time.timestamp().as_second()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms_of_a_date_are_read() {
        let seconds = |kind, text: &str| time(kind, text.as_bytes());
        assert_eq!(seconds(UTC_TIME, "700101000001Z"), Some(1));
        assert_eq!(seconds(UTC_TIME, "500101000000Z"), Some(0));
        assert_eq!(seconds(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(seconds(GENERALIZED_TIME, "20500101000000Z"), Some(2_524_608_000));
        for (kind, text) in [
            (UTC_TIME, ""),
            (UTC_TIME, "260101000000"),
            (UTC_TIME, "2601010000Z"),
            (UTC_TIME, "26010100000+Z"),
            (UTC_TIME, "261301000000Z"),
            (UTC_TIME, "20260101000000Z"),
            (GENERALIZED_TIME, "260101000000Z"),
            (GENERALIZED_TIME, "20260230000000Z"),
            (0x02, "260101000000Z"),
        ] {
            assert_eq!(seconds(kind, text), None, "{kind} {text}");
        }
    }

    #[test]
    fn an_element_that_is_cut_short_is_none() {
        assert_eq!(element(&[0x30, 1, 7, 9]), Some((0x30, &[7][..], &[9][..])));
        assert_eq!(element(&[0x30, 0x81, 1, 7]), Some((0x30, &[7][..], &[][..])));
        for der in
            [&[][..], &[0x30], &[0x30, 1], &[0x30, 0x80], &[0x30, 0x82, 1], &[0x30, 0x85, 0, 0, 0, 0, 0]]
        {
            assert_eq!(element(der), None, "{der:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            _ = validity(&bytes);
            _ = TlsIdentity::new(&bytes, &bytes);
        }
    }
}
