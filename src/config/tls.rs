//! TLS as it is written: files of certificates and keys, read and tried here, so that a bad pair is a fault of its key.

use std::path::Path;
use std::time::Duration;

use super::fault::Noted;
use super::file::ConfigFile;
use super::kind::{Kind, section, text};
use super::table::section;
use super::{Management, Public, RoutesConfig, secret};
use crate::tls::{Acceptor, ClientRules, Connector, Roots, TlsError, TlsIdentity};

/// No chain of certificates is longer, and no bundle of authorities.
const CERTIFICATES_BYTES_MAX: u64 = 1024 * 1024;
/// A certificate that ends sooner is told of: renewals begin 30 days before.
const ENDS_SOON: Duration = Duration::from_hours(14 * 24);

section! {
    /// TLS towards browsers.
    struct BrowserTls {
        /// The server's certificate and the intermediate ones after it, PEM.
        certificate: String, text(path), required "/etc/hublatch/tls/fullchain.pem";
        /// Its private key, PEM (PKCS#8, SEC1 or PKCS#1).
        private_key: String, text(path), required "/etc/hublatch/tls/privkey.pem";
    }
}

section! {
    /// TLS towards apps.
    struct ProgramTls {
        /// The server's certificate and the intermediate ones after it, PEM.
        certificate: String, text(path), required "/etc/hublatch/tls/fullchain.pem";
        /// Its private key, PEM (PKCS#8, SEC1 or PKCS#1).
        private_key: String, text(path), required "/etc/hublatch/tls/privkey.pem";
        /// Authorities' certificates, PEM: a client must have one of theirs.
        client_ca: Option<Roots>, authorities(), optional "/etc/hublatch/tls/apps-ca.pem";
    }
}

/// `public.tls`.
pub(super) fn for_browsers() -> Kind<Acceptor> {
    section().and_then(|file, key, BrowserTls { certificate, private_key }| {
        let (at, key_at) = (format!("{key}.certificate"), format!("{key}.private_key"));
        let identity = identity(file, (&at, &key_at), &certificate, &private_key)?;
        made(file, &at, Acceptor::for_browsers(identity))
    })
}

/// `management.tls`.
pub(super) fn for_programs() -> Kind<Acceptor> {
    section().and_then(|file, key, ProgramTls { certificate, private_key, client_ca }| {
        let (at, key_at) = (format!("{key}.certificate"), format!("{key}.private_key"));
        let identity = identity(file, (&at, &key_at), &certificate, &private_key)?;
        made(file, &at, Acceptor::for_programs(identity, client_ca))
    })
}

/// A file of authorities' certificates.
pub(super) fn authorities() -> Kind<Roots> {
    text(path).and_then(|file, key, path: String| {
        let pem = certificates_at(file, key, &path)?;
        Roots::from_pem(&pem).map_err(|error| {
            file.noted(key, format!("{path} is not a file of authorities' certificates in PEM: {error}"))
        })
    })
}

/// What connects to the hub at `host`, which the URL at `key` names: trusts `roots`, or else the system's authorities.
pub(super) fn to_hub(
    file: &mut ConfigFile,
    key: &str,
    host: &str,
    roots: Option<Roots>,
) -> Option<Connector> {
    let Some(roots) = roots.or_else(|| Roots::of_system().ok()) else {
        let message = "is https, and this system has no certificates of authorities to trust; install them \
                       (ca-certificates), or write hub.ca_file";
        file.conflict(key, &["hub.ca_file"], message);
        return None;
    };
    made(file, key, Connector::to(host, roots)).ok()
}

/// How targets of https are spoken to, by `routes.client_*`, if any is written: a certificate and its key, and the
/// authorities that vouch for theirs.
pub(super) fn route_client_rules(file: &mut ConfigFile, routes: &RoutesConfig) -> Option<ClientRules> {
    let (of_certificate, of_key) = ("routes.client_certificate", "routes.client_private_key");
    let roots = routes.client_ca_file.clone();
    let identity = match (&routes.client_certificate, &routes.client_private_key) {
        (Some(certificate), Some(key)) => {
            Some(identity(file, (of_certificate, of_key), certificate, key).ok()?)
        }
        (None, None) => None,
        (Some(_), None) => {
            file.conflict(of_key, &[], "is required, because routes.client_certificate is written");
            return None;
        }
        (None, Some(_)) => {
            file.conflict(of_certificate, &[], "is required, because routes.client_private_key is written");
            return None;
        }
    };
    if roots.is_none() && identity.is_none() {
        return None;
    }
    let Some(roots) = roots.or_else(|| Roots::of_system().ok()) else {
        let message = "is required: this system has no certificates of authorities to trust";
        file.conflict("routes.client_ca_file", &[], message);
        return None;
    };
    made(file, of_certificate, ClientRules::new(roots, identity)).ok()
}

/// What is allowed but unwise: a certificate that ends soon, apps on other machines that prove nothing but their key.
pub(super) fn warnings(public: &Public, management: &Management) -> Vec<String> {
    let mut warnings = Vec::new();
    for (section, acceptor) in [("public.tls", &public.tls), ("management.tls", &management.tls)] {
        let Some(acceptor) = acceptor else { continue };
        match acceptor.left() {
            None => warnings.push(format!(
                "{section}.certificate has expired, and whoever verifies it will not connect: renew it"
            )),
            Some(left) if left < ENDS_SOON => {
                let days = left.as_secs() / (24 * 60 * 60);
                warnings.push(format!(
                    "{section}.certificate ends in {days} days: renew it, or look why its renewal fails"
                ));
            }
            Some(_) => {}
        }
    }
    let host = public.url.host();
    if public.tls.as_ref().is_some_and(|acceptor| !acceptor.has_name(host)) {
        warnings.push(format!(
            "public.tls.certificate is not for \"{host}\", the host of public.url: browsers will not go there"
        ));
    }
    let listen = &management.listen;
    if !listen.is_local() && management.tls.as_ref().is_some_and(|acceptor| !acceptor.proves_clients()) {
        warnings.push(format!(
            "management.listen \"{listen}\" can be reached from other machines, and whoever has an app's key is let \
             in; write management.tls.client_ca, so that clients must also prove a certificate"
        ));
    }
    warnings
}

/// The certificate and the key at these two keys, which fit each other.
fn identity(
    file: &mut ConfigFile,
    (of_certificate, of_key): (&str, &str),
    certificate: &str,
    private_key: &str,
) -> Result<TlsIdentity, Noted> {
    // What stands in for a key with a fault is no file to look for.
    let chain =
        (!file.is_faulty(of_certificate)).then(|| contents(file, of_certificate, certificate, certificates));
    let secret = (!file.is_faulty(of_key)).then(|| contents(file, of_key, private_key, secret::read));
    let (chain, secret) = (chain.ok_or(Noted)??, secret.ok_or(Noted)??);
    TlsIdentity::new(&chain, secret.as_bytes()).map_err(|error| {
        let (at, path) =
            if error.is_of_key() { (of_key, private_key) } else { (of_certificate, certificate) };
        file.noted(at, format!("{path} {error}"))
    })
}

fn contents<T>(
    file: &mut ConfigFile,
    key: &str,
    path: &str,
    read: impl FnOnce(&Path) -> Result<T, String>,
) -> Result<T, Noted> {
    let path = file.file_at(path);
    read(&path).map_err(|wrong| file.noted(key, wrong))
}

/// The contents of the file of certificates that `path` names.
pub(super) fn certificates_at(file: &mut ConfigFile, key: &str, path: &str) -> Result<Vec<u8>, Noted> {
    contents(file, key, path, certificates)
}

fn certificates(path: &Path) -> Result<Vec<u8>, String> {
    secret::public_bytes(path, CERTIFICATES_BYTES_MAX, "these are not certificates")
}

/// The path of a file; not repeated if it is a certificate or a key itself.
pub(super) fn path(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(['\n', '\r', '\0']) || text.starts_with("-----BEGIN") {
        return Err("is not the path of a file in PEM".to_owned());
    }
    Ok(text.to_owned())
}

fn made<T>(file: &mut ConfigFile, key: &str, made: Result<T, TlsError>) -> Result<T, Noted> {
    made.map_err(|error| file.noted(key, error.to_string()))
}
