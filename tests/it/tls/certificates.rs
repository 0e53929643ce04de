//! Certificates for tests: an authority, what it issues, and the files that hublatch reads.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;

/// An authority, and a directory for what it issues.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Issued {
    pub chain: String,
    pub key: String,
}

/// The same in files.
#[derive(Debug, Clone)]
pub struct Files {
    pub certificate: PathBuf,
    pub private_key: PathBuf,
}

impl Files {
    /// An inline table of TOML.
    pub fn toml(&self) -> String {
        self.toml_and("")
    }

    /// The same with more keys.
    pub fn toml_and(&self, more: &str) -> String {
        format!(
            "tls = {{ certificate = {:?}, private_key = {:?}{more} }}",
            self.certificate, self.private_key
        )
    }
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, directory: TempDir::new().unwrap() }
    }

    /// A certificate for `names`, with what `change` makes of it.
    pub fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let key = KeyPair::generate().unwrap();
        self.issue_for(names, &key, change)
    }

    /// The same for a key that is there.
    pub fn issue_for(
        &self,
        names: &[&str],
        key: &KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let certificate = params.signed_by(key, &self.issuer).unwrap();
        Issued { chain: certificate.pem(), key: key.serialize_pem() }
    }

    /// A certificate for `names`.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| ())
    }

    /// Its own certificate and key, as a server that has itself for its authority proves them.
    pub fn itself(&self) -> Issued {
        Issued { chain: self.issuer.pem(), key: self.issuer.key().serialize_pem() }
    }

    /// An authority whose own certificate is for `names`: `openssl req -x509` makes such ones.
    pub fn named(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Self {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, directory: TempDir::new().unwrap() }
    }

    /// A certificate for `hub.test` and 127.0.0.1, in files.
    pub fn files(&self) -> Files {
        self.write("server", &self.issue(&["hub.test", "127.0.0.1"]))
    }

    /// `issued` in files, the key for its owner only.
    pub fn write(&self, name: &str, issued: &Issued) -> Files {
        Files {
            certificate: self.file(&format!("{name}.pem"), &issued.chain, 0o644),
            private_key: self.file(&format!("{name}.key.pem"), &issued.key, 0o600),
        }
    }

    /// The authority's own certificate, in a file.
    pub fn ca_file(&self) -> PathBuf {
        self.file("ca.pem", &self.issuer.pem(), 0o644)
    }

    pub fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// A client that trusts this authority, and proves `own` if it is asked.
    pub fn client(&self, alpn: &[&str], own: Option<&Issued>) -> Arc<ClientConfig> {
        self.client_of(rustls::ALL_VERSIONS, alpn, own)
    }

    /// The same for some versions of TLS only.
    pub fn client_of(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
        alpn: &[&str],
        own: Option<&Issued>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder.with_client_auth_cert(own.chain(), own.key()).unwrap(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

impl Issued {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.chain.as_bytes()).map(Result::unwrap).collect()
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }

    /// A server that proves it.
    pub fn server(&self) -> Arc<ServerConfig> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain(), self.key())
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
