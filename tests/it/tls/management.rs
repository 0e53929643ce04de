//! The management listener over TLS: with which certificate it is answered, and which it asks for.

use std::fs;

use hublatch::app::{self, Dependencies, Running};
use hublatch::config::load;
use hublatch::token::KeyDigest;

use super::certificates::{Authority, Files, Issued};
use super::{H1, H2, pump};
use crate::api::client::PORTAL;
use crate::support::FakeHub;
use crate::support::hub::free_port;

/// A hublatch whose management listener speaks TLS, and the file of its configuration.
struct Management {
    running: Running,
    authority: Authority,
    files: Files,
    file: std::path::PathBuf,
}

impl Management {
    /// With `client_ca`, clients must prove a certificate of that authority.
    fn start(hub: &FakeHub, client_ca: Option<&Authority>) -> Self {
        // A name that no health probe calls.
        Self::start_as("management.internal", hub, client_ca)
    }

    fn start_as(name: &str, hub: &FakeHub, client_ca: Option<&Authority>) -> Self {
        let authority = Authority::new("management");
        let files = authority.write("management", &authority.issue(&[name]));
        let port = free_port();
        let ca = client_ca.map(|ca| format!(", client_ca = {:?}", ca.ca_file())).unwrap_or_default();
        let text = format!(
            "[public]\nlisten = \"127.0.0.1:0\"\nthreads = 1\nurl = \"http://hub.test\"\n\
             [management]\nlisten = \"127.0.0.1:{port}\"\n{}\n[hub]\nurl = {:?}\n[[apps]]\nname = \"portal\"\n\
             keys = [\"{}\"]\n[log]\naudit = \"/dev/null\"\n",
            files.toml_and(&ca),
            hub.url(),
            KeyDigest::of(PORTAL.as_bytes())
        );
        let file = authority.file("hublatch.toml", &text, 0o600);
        let config = load(&file, []).unwrap_or_else(|faults| panic!("{faults}"));
        let running = app::start(&config, Dependencies::default()).unwrap();
        Self { running, authority, files, file }
    }

    /// The status of `/health` for a client with this certificate, or that it is not let in.
    fn health(&self, own: Option<&Issued>) -> Option<u16> {
        let mut roots = self.authority.client(H1, own);
        std::sync::Arc::get_mut(&mut roots).unwrap().enable_sni = false;
        let address = self.running.management().to_string().parse().unwrap();
        let (mut wire, alpn) = pump::connect_as(address, &roots, "management.internal").ok()?;
        assert_eq!(alpn.as_deref(), Some("http/1.1"));
        // In TLS 1.3 a client learns only now that its certificate is refused.
        let sent = wire.try_send("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        sent.ok().and_then(|()| wire.answer_to("GET")).map(|answer| answer.status)
    }

    fn probe(&self) -> (bool, String) {
        let output = assert_cmd::Command::cargo_bin("hublatch")
            .unwrap()
            .env_clear()
            .args(["health", "--config", self.file.to_str().unwrap()])
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn stop(self) {
        self.running.stop();
    }
}

#[test]
fn the_api_answers_over_tls() {
    let hub = FakeHub::start();
    let management = Management::start(&hub, None);
    assert_eq!(management.health(None), Some(200));
    // A certificate that nobody asks for does no harm.
    assert_eq!(management.health(Some(&Authority::new("apps").issue(&["portal"]))), Some(200));
    assert_eq!(management.probe(), (true, String::new()));
    let address = management.running.management().to_string().parse().unwrap();
    let plain = crate::support::wire::raw(address, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(!plain.starts_with(b"HTTP"), "{plain:?}");
    assert!(
        pump::connect_as(address, &management.authority.client(&H2[..1], None), "management.internal")
            .is_err()
    );
    management.stop();
}

#[test]
fn a_client_authority_lets_in_its_own_clients_only() {
    let hub = FakeHub::start();
    let apps = Authority::new("apps");
    let management = Management::start(&hub, Some(&apps));
    assert_eq!(management.health(Some(&apps.issue(&["portal"]))), Some(200));
    assert_eq!(management.health(None), None);
    for stranger in [
        Authority::new("apps").issue(&["portal"]),
        management.authority.issue(&["management.internal"]),
        apps.issue_with(&["portal"], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1)),
        apps.issue_with(&["portal"], |params| {
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        }),
    ] {
        assert_eq!(management.health(Some(&stranger)), None);
    }
    management.stop();
}

#[test]
fn the_health_probe_gets_in_by_the_listeners_own_key() {
    let hub = FakeHub::start();
    let apps = Authority::new("apps");
    let management = Management::start(&hub, Some(&apps));
    assert_eq!(management.probe(), (true, String::new()));
    management.stop();
}

#[test]
fn the_health_probe_believes_nobody_with_another_certificate() {
    let hub = FakeHub::start();
    let management = Management::start(&hub, None);
    // Somebody else answers there, with a certificate of the same authority for the same name.
    let other = management.authority.issue(&["management.internal"]);
    fs::write(&management.files.certificate, other.chain).unwrap();
    fs::write(&management.files.private_key, other.key).unwrap();
    let (ready, said) = management.probe();
    assert!(!ready && said.contains("TLS handshake"), "{said}");
    management.stop();
}

#[test]
fn hublatch_link_proves_its_certificate_and_trusts_the_named_authority() {
    let hub = FakeHub::start();
    let apps = Authority::new("apps");
    let management = Management::start_as("127.0.0.1", &hub, Some(&apps));
    let own = apps.write("portal", &apps.issue(&["portal"]));
    let (cert, key) = (own.certificate.to_str().unwrap(), own.private_key.to_str().unwrap());
    let ca = management.authority.ca_file();
    let ca = ca.to_str().unwrap();
    let link = |words: &[&str], variables: &[(&str, &str)]| {
        let output = assert_cmd::Command::cargo_bin("hublatch")
            .unwrap()
            .env_clear()
            .env("HUBLATCH_API_URL", format!("https://{}", management.running.management()))
            .env("HUBLATCH_API_KEY", PORTAL)
            .envs(variables.iter().copied())
            .args([&["link", "alice"], words].concat())
            .timeout(std::time::Duration::from_secs(60))
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let variables =
        [("HUBLATCH_API_CA_FILE", ca), ("HUBLATCH_API_CERT_FILE", cert), ("HUBLATCH_API_CERT_KEY_FILE", key)];
    for outcome in [link(&["--ca-file", ca, "--cert", cert, "--key", key], &[]), link(&[], &variables)] {
        assert!(outcome.0 == Some(0) && outcome.1.contains("login_token=hl_"), "{outcome:?}");
    }
    for (words, said) in [
        (&["--ca-file", ca][..], "hublatch link: "),
        (&["--ca-file", cert, "--cert", cert, "--key", key], "certificate"),
        (&["--ca-file", key, "--cert", cert, "--key", key], "no certificate was found"),
        (&["--ca-file", ca, "--cert", cert], "both --cert and --key"),
        (&["--ca-file", "/nowhere/ca.pem"], "read /nowhere/ca.pem"),
    ] {
        let outcome = link(words, &[]);
        assert!(outcome.0 == Some(1) && outcome.2.contains(said), "{words:?}: {outcome:?}");
        assert_eq!(outcome.1, "", "{words:?}");
    }
    management.stop();
}
