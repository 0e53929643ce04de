//! `hublatch link` and `hublatch health`, against an API in this process.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use hublatch::store::MemoryStore;
use tempfile::TempDir;

use super::{CONFIG, Outcome, hublatch, run};
use crate::api::client::{PORTAL, READER, TestApi, Variant};
use crate::support::hub::free_port;

/// A management listener in this process, on TCP and on a unix socket.
struct Management {
    dir: TempDir,
    port: u16,
}

impl Management {
    fn start(variant: fn() -> Variant) -> Self {
        let dir = TempDir::new().unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let unix = UnixListener::bind(dir.path().join("management.sock")).unwrap();
        let port = tcp.local_addr().unwrap().port();
        std::thread::spawn(move || serve(&tcp, &unix, &TestApi::with(variant())));
        Self { dir, port }
    }

    fn socket(&self) -> String {
        format!("unix:{}", self.dir.path().join("management.sock").display())
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `hublatch health` with a configuration whose management listener is `listen`.
    fn health(&self, listen: &str) -> Outcome {
        let file = self.dir.path().join("hublatch.toml");
        fs::write(&file, format!("{CONFIG}\n[management]\nlisten = \"{listen}\"\n")).unwrap();
        run(hublatch(&["health", "--config", file.to_str().unwrap()]))
    }
}

fn link(api: &str, key: &str, words: &[&str]) -> Outcome {
    let mut command = hublatch(&[&["link"], words].concat());
    // A proxy of the environment must not get to see the key.
    command.env("HUBLATCH_API_URL", api).env("HUBLATCH_API_KEY", key).env("http_proxy", "http://127.0.0.1:1");
    run(command)
}

/// Answers one connection at a time until the process ends.
fn serve(tcp: &TcpListener, unix: &UnixListener, api: &TestApi) {
    use hyper_util::rt::TokioIo;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tcp.set_nonblocking(true).unwrap();
    unix.set_nonblocking(true).unwrap();
    runtime.block_on(async {
        let tcp = tokio::net::TcpListener::from_std(tcp.try_clone().unwrap()).unwrap();
        let unix = tokio::net::UnixListener::from_std(unix.try_clone().unwrap()).unwrap();
        let service = hyper::service::service_fn(|request| async move {
            Ok::<_, std::convert::Infallible>(api.api.handle(None, request).await)
        });
        let http = hyper::server::conn::http1::Builder::new();
        loop {
            // A client that goes away in mid-request is its own failure.
            let _ended = tokio::select! {
                accepted = tcp.accept() => http.serve_connection(TokioIo::new(accepted.unwrap().0), service).await,
                accepted = unix.accept() => http.serve_connection(TokioIo::new(accepted.unwrap().0), service).await,
            };
        }
    });
}

#[test]
fn link_prints_the_url_alone() {
    let management = Management::start(Variant::default);
    for api in [management.url(), format!("{}/", management.url()), management.socket()] {
        let outcome =
            link(&api, PORTAL, &["alice", "--path", "lab/a b", "--server", "one", "--expires-in", "1m"]);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{api}");
        assert!(
            outcome.stdout.starts_with("http://127.0.0.1:8000/hub/login?login_token=hl_"),
            "{}",
            outcome.stdout
        );
        let next =
            "&next=%2Fhub%2Fspawn%2Falice%2Fone%3Fnext%3D%252Fuser%252Falice%252Fone%252Flab%252Fa%252520b\n";
        assert!(outcome.stdout.ends_with(next), "{}", outcome.stdout);
    }
    let outcome = link(&management.url(), PORTAL, &["alice", "--next", "/hub/home"]);
    assert!(outcome.stdout.ends_with("&next=%2Fhub%2Fhome\n"), "{}", outcome.stdout);
}

#[test]
fn link_repeats_what_the_api_says_against_it() {
    let management = Management::start(Variant::default);
    for (key, words, said) in [
        (PORTAL, &["Alice"][..], "the user name has upper-case letters"),
        (PORTAL, &["alice", "--expires-in", "1h"], "expires_in must be from 1 to 300 seconds"),
        (READER, &["alice"], "403 Forbidden, insufficient_scope"),
        ("hk_wrong", &["alice"], "this key is not known"),
    ] {
        let outcome = link(&management.url(), key, words);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{words:?}");
        assert!(
            outcome.stderr.starts_with("hublatch link: ") && outcome.stderr.contains(said),
            "{}",
            outcome.stderr
        );
        assert!(!outcome.stderr.contains(key), "{}", outcome.stderr);
    }
}

#[test]
fn link_reads_its_key_from_a_file() {
    let management = Management::start(Variant::default);
    let file = management.dir.path().join("app.key");
    fs::write(&file, format!("{PORTAL}\n")).unwrap();
    let mut command = hublatch(&["link", "alice"]);
    command.env("HUBLATCH_API_URL", management.url()).env("HUBLATCH_API_KEY_FILE", &file);
    assert_eq!(run(command).code, Some(0));
}

#[test]
fn link_needs_no_certificates_where_there_is_no_tls() {
    let management = Management::start(Variant::default);
    let mut command = hublatch(&["link", "alice"]);
    command.env("HUBLATCH_API_URL", management.url()).env("HUBLATCH_API_KEY", PORTAL);
    command.env("SSL_CERT_FILE", "/nowhere/certificates.pem").env("SSL_CERT_DIR", "/nowhere");
    let outcome = run(command);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
}

#[test]
fn link_says_what_is_missing() {
    let none = run(hublatch(&["link", "alice"]));
    assert_eq!((none.code, none.stdout.as_str()), (Some(1), ""));
    assert!(none.stderr.contains("HUBLATCH_API_URL"), "{}", none.stderr);
    let mut keyless = hublatch(&["link", "alice"]);
    keyless.env("HUBLATCH_API_URL", "http://127.0.0.1:1").env("HUBLATCH_API_KEY", "");
    assert!(run(keyless).stderr.contains("HUBLATCH_API_KEY"));
    let mut schemeless = hublatch(&["link", "alice"]);
    schemeless.env("HUBLATCH_API_URL", "127.0.0.1:8001").env("HUBLATCH_API_KEY", "hk_x");
    let told =
        "hublatch link: HUBLATCH_API_URL \"127.0.0.1:8001\" must begin with http://, https:// or unix:/\n";
    assert_eq!(run(schemeless).stderr, told);
    let mut nobody = hublatch(&["link", "alice"]);
    nobody.env("HUBLATCH_API_URL", "http://127.0.0.1:1").env("HUBLATCH_API_KEY", "hk_x");
    let nobody = run(nobody);
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.stderr.contains("Connection refused"), "{}", nobody.stderr);
}

#[test]
fn health_is_0_when_ready_over_tcp_and_unix() {
    let management = Management::start(Variant::default);
    for listen in [format!("127.0.0.1:{}", management.port), management.socket()] {
        let outcome = management.health(&listen);
        assert_eq!(
            (outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()),
            (Some(0), "", ""),
            "{listen}"
        );
    }
}

#[test]
fn health_is_1_when_not_ready_and_says_why() {
    let management = Management::start(|| Variant {
        hub: std::sync::Arc::new(|| Box::pin(async { Err("connect to upstream 127.0.0.1:8400".to_owned()) })),
        store: std::sync::Arc::new(MemoryStore::new(1)),
        ..Variant::default()
    });
    let outcome = management.health(&format!("127.0.0.1:{}", management.port));
    assert_eq!(outcome.code, Some(1));
    assert_eq!(outcome.stderr, "hublatch health: connect to upstream 127.0.0.1:8400\n");
    // The process lives, and a restart of the hub is no reason to cut off what runs.
    let file = management.dir.path().join("hublatch.toml");
    let live = run(hublatch(&["health", "--live", "--config", file.to_str().unwrap()]));
    assert_eq!((live.code, live.stderr.as_str()), (Some(0), ""));
}

#[test]
fn health_is_1_when_nobody_answers_or_the_port_is_unknown() {
    let management = Management::start(Variant::default);
    let nobody = management.health(&format!("127.0.0.1:{}", free_port()));
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.stderr.contains("Connection refused"), "{}", nobody.stderr);
    let unknown = management.health("127.0.0.1:0");
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("port 0"), "{}", unknown.stderr);
    let bad = management.health("nowhere");
    assert_eq!(bad.code, Some(78));
}

#[test]
fn serve_says_who_may_have_its_port() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("hublatch.toml");
    // A loopback address of its own, so that whatever else runs here is not in the way.
    let own = "127.83.12.7";
    // Taken by whomever: it is taken.
    let _proxy = TcpListener::bind((own, 8001));
    let other = TcpListener::bind((own, 0)).unwrap();
    for (port, told) in [(8001, true), (other.local_addr().unwrap().port(), false)] {
        let free = "127.0.0.1:0".to_owned();
        let taken = format!("{own}:{port}");
        for (public, management) in [(&free, &taken), (&taken, &free)] {
            let text = CONFIG.replace("[public]", &format!("[public]\nlisten = \"{public}\""));
            fs::write(&file, format!("{text}\n[management]\nlisten = \"{management}\"\n")).unwrap();
            let outcome = run(hublatch(&["serve", "--config", file.to_str().unwrap()]));
            // The log has a thread of its own: its lines may come after.
            let said =
                outcome.stderr.lines().find(|line| line.starts_with("hublatch serve: ")).unwrap_or_default();
            assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
            assert!(said.contains(&format!("listen on {taken}: Address already in use")), "{said}");
            assert_eq!(said.contains("c.ConfigurableHTTPProxy.api_url"), told, "{said}");
        }
    }
}
