//! Certificates in PEM as files really hold them: what cannot be read is told, and never left out in silence.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

const BEGIN: &str = "-----BEGIN ";
const MARK: &str = "-----";

/// Why a file holds no certificates, or more than can be read. Texts follow a colon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// None at all.
    #[error("no certificate was found in it")]
    None,
    /// Another kind of block.
    #[error("it holds a block \"{0}\", which is no certificate")]
    Label(String),
    /// A block that is damaged.
    #[error("block {0} of it cannot be read: {1}")]
    Block(usize, String),
}

/// The certificates in `pem`, one or more. A private key among them is passed over: some keep both in one file.
///
/// Blocks may be glued together and byte order marks stand between them, as concatenation leaves them; "X509
/// CERTIFICATE" is an old name of the same block (RFC 7468 § 5.1).
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let text = String::from_utf8_lossy(pem).replace('\u{feff}', "");
    let mut certificates = Vec::new();
    for (index, block) in text.split(BEGIN).skip(1).enumerate() {
        let (label, body) = block.split_once(MARK).unwrap_or((block, ""));
        match label {
            "CERTIFICATE" | "X509 CERTIFICATE" => {
                let body = body.split(MARK).next().unwrap_or_default();
                let block = format!("{BEGIN}CERTIFICATE{MARK}\n{}\n-----END CERTIFICATE-----\n", body.trim());
                let read = CertificateDer::from_pem_slice(block.as_bytes());
                certificates
                    .push(read.map_err(|error| PemError::Block(index + 1, error.to_string()))?.into_owned());
            }
            key if key.ends_with("PRIVATE KEY") || key == "EC PARAMETERS" || key == "DH PARAMETERS" => {}
            other => return Err(PemError::Label(other.chars().take(40).collect())),
        }
    }
    if certificates.is_empty() { Err(PemError::None) } else { Ok(certificates) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(label: &str, content: &str) -> String {
        format!("-----BEGIN {label}-----\n{content}\n-----END {label}-----")
    }

    #[test]
    fn every_certificate_is_read_however_the_blocks_are_put_together() {
        let (one, two) = (block("CERTIFICATE", "AAEC"), block("X509 CERTIFICATE", "AwQF"));
        for pem in [
            format!("{one}\n{two}\n"),
            format!("{one}{two}"),
            format!("\u{feff}{one}\n\u{feff}{two}"),
            format!("# a comment\r\n{}\r\n", format!("{one}\n{two}").replace('\n', "\r\n")),
            format!("{one}\n{}\n{two}", block("EC PRIVATE KEY", "AAAA")),
        ] {
            let read = certificates(pem.as_bytes()).unwrap_or_else(|error| panic!("{error}: {pem}"));
            assert_eq!(
                read.iter().map(|der| der.to_vec()).collect::<Vec<_>>(),
                [[0, 1, 2], [3, 4, 5]],
                "{pem}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        assert_eq!(certificates(b""), Err(PemError::None));
        assert_eq!(certificates(block("PRIVATE KEY", "AAAA").as_bytes()), Err(PemError::None));
        for label in ["TRUSTED CERTIFICATE", "CERTIFICATE REQUEST", "PKCS7"] {
            let pem = format!("{}\n{}", block("CERTIFICATE", "AAEC"), block(label, "AAAA"));
            assert_eq!(certificates(pem.as_bytes()), Err(PemError::Label(label.to_owned())));
        }
        let damaged = format!("{}\n{}", block("CERTIFICATE", "AAEC"), block("CERTIFICATE", "A*EC"));
        assert!(matches!(certificates(damaged.as_bytes()), Err(PemError::Block(2, _))));
    }
}
