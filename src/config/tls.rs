//! TLS as it is written: files of certificates and keys, read and tried here, so that a bad pair is a fault of its key.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use super::file::ConfigFile;
use super::{Management, Public, secret};
use crate::tls::{Acceptor, ClientRules, Connector, Identity, Roots, TlsError};

/// No chain of certificates is longer, and no bundle of authorities.
const CERTIFICATES_BYTES_MAX: u64 = 1024 * 1024;
/// A certificate that ends sooner is told of: renewals begin 30 days before.
const ENDS_SOON: Duration = Duration::from_hours(14 * 24);

/// `public.tls`, if it is there: `Some(None)` is none, `None` a bad one.
#[allow(clippy::option_option)] // the outer one is that of every reader: a fault has been noted
pub(super) fn of_public(file: &mut ConfigFile) -> Option<Option<Acceptor>> {
    if !file.has_section("public.tls") {
        return Some(None);
    }
    let identity = identity(file, "public.tls")?;
    made(file, "public.tls.certificate", Acceptor::for_browsers(identity)).map(Some)
}

/// `management.tls`, if it is there: `Some(None)` is none, `None` a bad one.
#[allow(clippy::option_option)] // as above
pub(super) fn of_management(file: &mut ConfigFile) -> Option<Option<Acceptor>> {
    if !file.has_section("management.tls") {
        return Some(None);
    }
    let identity = identity(file, "management.tls");
    let clients = authorities(file, "management.tls.client_ca")?;
    made(file, "management.tls.certificate", Acceptor::for_programs(identity?, clients)).map(Some)
}

/// `hub.ca_file`, if it is written: the authorities that vouch for the hub. `secure`: whether it is asked over TLS.
#[allow(clippy::option_option)] // as above
pub(super) fn hub_roots(file: &mut ConfigFile, secure: bool) -> Option<Option<Roots>> {
    if !secure && file.is_written("hub.ca_file") {
        _ = file.value("hub.ca_file", None, path);
        file.fault(
            "hub.ca_file",
            "is of use with https only; write hub.url = \"https://…\", or leave it out",
        );
        return Some(None);
    }
    authorities(file, "hub.ca_file")
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
        file.fault(key, message);
        return None;
    };
    made(file, key, Connector::to(host, roots))
}

/// How targets of https are spoken to, by `routes.client_*`, if any is written: `Some(None)` is none, `None` a bad one.
#[allow(clippy::option_option)] // as above
pub(super) fn of_routes(file: &mut ConfigFile) -> Option<Option<ClientRules>> {
    let roots = authorities(file, "routes.client_ca_file");
    let proves = file.is_written("routes.client_certificate") || file.is_written("routes.client_private_key");
    // Both are known keys, also where neither is written.
    let identity = if proves {
        pair(file, "routes.client_certificate", "routes.client_private_key").map(Some)
    } else {
        for key in ["routes.client_certificate", "routes.client_private_key"] {
            _ = file.value(key, None, path);
        }
        Some(None)
    };
    let (roots, identity) = (roots?, identity?);
    if roots.is_none() && identity.is_none() {
        return Some(None);
    }
    let roots = roots.or_else(|| Roots::of_system().ok());
    let Some(roots) = roots else {
        file.fault(
            "routes.client_ca_file",
            "is required: this system has no certificates of authorities to trust",
        );
        return None;
    };
    made(file, "routes.client_certificate", ClientRules::new(roots, identity)).map(Some)
}

/// What is allowed but unwise: a certificate that ends soon, apps on other machines that prove nothing but their key.
pub(super) fn warnings(public: &Public, management: &Management) -> Vec<String> {
    let mut warnings = Vec::new();
    for (section, acceptor) in [("public.tls", &public.tls), ("management.tls", &management.tls)] {
        let left = acceptor.as_ref().map(Acceptor::left);
        if let Some(left) = left.filter(|left| *left < ENDS_SOON) {
            let days = left.as_secs() / (24 * 60 * 60);
            warnings.push(format!(
                "{section}.certificate ends in {days} days: renew it, or look why its renewal fails"
            ));
        }
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

fn identity(file: &mut ConfigFile, section: &str) -> Option<Identity> {
    pair(file, &format!("{section}.certificate"), &format!("{section}.private_key"))
}

/// The certificate in the file at the key `of_certificate`, with the key in the file at `of_key`.
fn pair(file: &mut ConfigFile, of_certificate: &str, of_key: &str) -> Option<Identity> {
    let certificate = file.required(of_certificate, "/etc/hublatch/tls/fullchain.pem", path).flatten();
    let key = file.required(of_key, "/etc/hublatch/tls/privkey.pem", path).flatten();
    let chain = certificate.as_ref().and_then(|path| contents(file, of_certificate, path, certificates));
    let secret = key.as_ref().and_then(|path| contents(file, of_key, path, secret::read));
    let (certificate, key, chain, secret) = (certificate?, key?, chain?, secret?);
    Identity::new(&chain, secret.as_bytes())
        .map_err(|error| {
            let (at, path) = if error.is_of_key() { (of_key, key) } else { (of_certificate, certificate) };
            file.fault(at, format!("{path} {error}"));
        })
        .ok()
}

/// The authorities in the file at `key`, if it is written.
#[allow(clippy::option_option)] // as above
fn authorities(file: &mut ConfigFile, key: &str) -> Option<Option<Roots>> {
    let Some(path) = file.value(key, None, path)? else { return Some(None) };
    let pem = contents(file, key, &path, certificates)?;
    let roots = Roots::from_pem(&pem).map_err(|error| {
        file.fault(key, format!("{path} is not a file of authorities' certificates in PEM: {error}"));
    });
    roots.ok().map(Some)
}

fn contents<T>(
    file: &mut ConfigFile,
    key: &str,
    path: &str,
    read: impl FnOnce(&Path) -> Result<T, String>,
) -> Option<T> {
    let path = file.file_at(path);
    read(&path).map_err(|wrong| file.fault(key, wrong)).ok()
}

fn certificates(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let cannot = |error: std::io::Error| format!("cannot read {shown}: {error}");
    if !std::fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(format!("cannot read {shown}: it is not a file"));
    }
    let mut pem = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(CERTIFICATES_BYTES_MAX + 1).read_to_end(&mut pem).map_err(cannot)?;
    if pem.len() as u64 > CERTIFICATES_BYTES_MAX {
        return Err(format!("{shown} is longer than 1 MiB: these are not certificates"));
    }
    Ok(pem)
}

/// The path of a file; not repeated if it is a certificate or a key itself.
fn path(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() || text.contains(['\n', '\r', '\0']) || text.starts_with("-----BEGIN") {
        return Err("is not the path of a file in PEM".to_owned());
    }
    Ok(Some(text.to_owned()))
}

fn made<T>(file: &mut ConfigFile, key: &str, made: Result<T, TlsError>) -> Option<T> {
    made.map_err(|error| file.fault(key, error.to_string())).ok()
}
