//! What can be told without asking anybody: warnings of the configuration, who may write it, the assertion's key pair.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Deployment, Finding};
use crate::cli::assertion::{blocks, public_half};
use crate::config::AuditSink;

/// Every permission of others.
const OTHERS: u32 = 0o007;

pub(super) fn examine(deployment: &Deployment, public_key: Option<&Path>) -> Vec<Finding> {
    let config = &deployment.config;
    let mut findings = vec![Finding::ok(
        format!("the configuration {}", deployment.source),
        "is valid, nobody else can write it, and each file with a secret is its owner's alone",
    )];
    findings.extend(config.warnings.iter().map(|warning| {
        Finding::warn("the configuration", warning.as_str(), "see config/reference.toml on the key it names")
    }));
    if let AuditSink::File(path) = &config.log.audit {
        findings.extend(audit(path));
    }
    findings.push(key_pair(deployment, public_key));
    findings
}

/// User names and addresses are nobody else's business.
fn audit(path: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(path).map(|metadata| metadata.mode()).ok()?;
    (mode & OTHERS != 0).then(|| {
        Finding::warn(
            format!("who may read the audit log {}", path.display()),
            "everybody",
            format!("chmod o= {}", path.display()),
        )
    })
}

/// Whether the hub's copy of the public key belongs to our private one.
fn key_pair(deployment: &Deployment, public_key: Option<&Path>) -> Finding {
    let tried = "the assertion's key pair";
    let Some(assertion) = &deployment.config.assertion else {
        return Finding::skipped(tried, "there is no [assertion]");
    };
    let beside =
        deployment.source.file().and_then(Path::parent).unwrap_or(Path::new("")).join("assertion.pub.pem");
    let path = public_key.map_or(beside, PathBuf::from);
    let pem = match std::fs::read_to_string(&path) {
        Ok(pem) => pem,
        Err(error) if error.kind() == io::ErrorKind::NotFound && public_key.is_none() => {
            let why = format!("{} is not there; name the hub's copy by --public-key", path.display());
            return Finding::skipped(tried, why);
        }
        Err(error) => {
            let happened = format!("read {}: {error}", path.display());
            return Finding::failed(tried, happened, "name a file that can be read by --public-key");
        }
    };
    let Some(own) = public_half(assertion.key.text.as_bytes()) else {
        let happened = "the private key is not an Ed25519 key in PKCS#8";
        return Finding::failed(tried, happened, "make one by `hublatch init`");
    };
    if blocks(&pem, "PUBLIC KEY").any(|der| der == own) {
        return Finding::ok(tried, format!("{} holds the public half of our key", path.display()));
    }
    Finding::failed(
        tried,
        format!("{} holds another key: the hub refuses every login", path.display()),
        "give the hub the public half of assertion.key_file: openssl pkey -pubout -in KEY_FILE",
    )
}
