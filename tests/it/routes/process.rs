//! `hublatch chp` as a process, as a hub starts it.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::hub::free_port;
use crate::support::proxy::wait_until;
use crate::support::requests::get;
use crate::support::{FakeHub, Gate, PATIENCE, Wire};

/// A process on two ports; killed when it is dropped.
struct Chp {
    child: Child,
    public: u16,
    api: u16,
}

impl Chp {
    /// With more words than those of the two ports, once it listens.
    fn start(more: &[&str]) -> Self {
        Self::with(more, &[])
    }

    /// And with these variables.
    fn with(more: &[&str], variables: &[(&str, &str)]) -> Self {
        let (public, api) = (free_port(), free_port());
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("hublatch"));
        command.args(["chp", "--ip", "127.0.0.1", "--port", &public.to_string()]);
        command.args(["--api-ip", "127.0.0.1", "--api-port", &api.to_string()]).args(more);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HUBLATCH") {
                command.env_remove(name);
            }
        }
        command.envs(variables.iter().copied());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let chp = Self { child, public, api };
        wait_until("both ports", || chp.listens() == [true, true]);
        chp
    }

    /// Whether the public port and that of the API take connections.
    fn listens(&self) -> [bool; 2] {
        [self.public, self.api].map(|port| TcpStream::connect(("127.0.0.1", port)).is_ok())
    }

    fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Chp {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[test]
fn the_first_signal_frees_both_ports_and_the_second_ends_it_at_once() {
    let hub = FakeHub::start();
    let gate = Gate::new();
    let held = gate.clone();
    hub.on("/slow", move |exchange| {
        held.pass();
        exchange.answer("200 OK", "")
    });
    let mut chp = Chp::start(&["--default-target", &hub.url()]);
    let mut wire = Wire::connect(([127, 0, 0, 1], chp.public).into());
    wire.send(get("/slow", &[]));
    hub.wait_for_path("/slow");
    chp.terminate();
    wait_until("the ports to be free", || chp.listens() == [false, false]);
    assert!(chp.child.try_wait().unwrap().is_none(), "a request is under way");
    let begun = Instant::now();
    chp.terminate();
    chp.ended();
    assert!(begun.elapsed() < PATIENCE / 2, "the request goes on for longer");
    gate.open();
}

#[test]
fn a_pid_file_is_there_while_it_runs_and_the_end_is_a_success() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("proxy.pid");
    let mut chp = Chp::start(&["--pid-file", file.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&file).unwrap(), chp.child.id().to_string());
    chp.terminate();
    assert!(chp.ended().success());
    assert!(!file.exists());
}

#[test]
fn called_by_the_name_of_configurable_http_proxy_it_is_that() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("configurable-http-proxy");
    std::os::unix::fs::symlink(assert_cmd::cargo::cargo_bin!("hublatch"), &name).unwrap();
    let help = Command::new(&name).arg("--help").output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains("--error-target"));
    for (words, why) in [
        (&["--nonsense"][..], "unexpected argument"),
        (&["--storage-backend", "x"], "Node.js"),
        (&["--redirect-port", "1"], "--ssl-key"),
        (&["--error-target", "http://a", "--error-path", "/b"], "cannot be used with"),
        (&["--socket", "/a", "--port", "1"], "cannot be used with"),
        (&["--ssl-key", "/nowhere", "--ssl-cert", "/nowhere"], "cannot read /nowhere"),
        (&["--custom-header", "x"], "is not a header"),
    ] {
        let refused = Command::new(&name).args(words).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(why), "{words:?}: {said}");
    }
}

/// A hub's API token, in a configuration that says nothing of where the hub is.
const WITH_A_TOKEN: &str =
    "[public]\nurl = \"http://hub.test\"\n[hub]\napi_token = \"0123456789abcdef\"\n[routes]\n";

#[test]
fn the_hubs_api_is_where_its_route_leads() {
    let (hub, other) = (FakeHub::start(), FakeHub::start());
    let chp = Chp::with(&[], &[("HUBLATCH_CONFIG_TOML", WITH_A_TOKEN)]);
    let write = |key: &str, hub: &FakeHub| {
        let body = format!("{{\"target\":{:?},\"hub\":true}}", hub.url());
        let head =
            format!("POST /api/routes{key} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        assert_eq!(Wire::connect(([127, 0, 0, 1], chp.api).into()).ask(format!("{head}{body}")).status, 201);
    };
    // A user without a route: the hub is asked for it, once it is known where.
    let asked = |path: &str, hub: &FakeHub, at: &str| {
        wait_until("the hub to be asked", || {
            Wire::connect(([127, 0, 0, 1], chp.public).into()).ask(get(path, &[]));
            !hub.seen_at(at).is_empty()
        });
        let asked = &hub.seen_at(at)[0];
        assert_eq!(asked.headers.get("authorization"), Some("token 0123456789abcdef"));
    };
    write("/", &hub);
    asked("/user/alice/lab", &hub, "/hub/api/proxy");
    // It moves, below a base URL.
    write("/jupyter", &other);
    let gone = b"DELETE /api/routes/ HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(Wire::connect(([127, 0, 0, 1], chp.api).into()).ask(gone).status, 204);
    asked("/jupyter/user/alice/lab", &other, "/jupyter/hub/api/proxy");
}

#[test]
fn a_configuration_in_a_variable_is_checked_like_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hublatch.toml");
    let bad = "[public]\nurl = \"http://hub.test\"\nnonsense = 1\n[routes]\nactivity = \"x\"\n";
    fs::write(&file, bad).unwrap();
    let binary = || {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("hublatch"));
        command.env_remove("HUBLATCH_CONFIG").args(["chp", "--port", "0", "--api-port", "0"]);
        command
    };
    let by_file = binary().arg("--config").arg(&file).output().unwrap();
    let by_variable = binary().env("HUBLATCH_CONFIG_TOML", bad).output().unwrap();
    for (refused, name) in [(&by_file, file.to_str().unwrap()), (&by_variable, "HUBLATCH_CONFIG_TOML")] {
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(78), "{said}");
        for fault in ["public.nonsense", "routes.activity"] {
            assert!(said.contains(fault) && said.contains(name), "{said}");
        }
    }
}

#[test]
fn a_key_with_a_passphrase_is_refused_in_one_line_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name).to_str().unwrap().to_owned()
    };
    let certificate = file("cert.pem", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n");
    let modern = file(
        "modern.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let old = file(
        "old.pem",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMAA=\n\
         -----END RSA PRIVATE KEY-----\n",
    );
    for (options, variable) in [
        (["--ssl-key", &modern, "--ssl-cert", &certificate], "CONFIGPROXY_SSL_KEY_PASSPHRASE"),
        (["--api-ssl-key", &old, "--api-ssl-cert", &certificate], "CONFIGPROXY_API_SSL_KEY_PASSPHRASE"),
    ] {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("hublatch"));
        let refused = command.arg("chp").args(options).env(variable, "secret words").output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(78), "{said}");
        let line = said.lines().find(|line| line.contains("is encrypted")).expect("a line");
        assert!(
            line.contains(options[1]) && line.contains(variable) && line.contains("openssl pkey"),
            "{line}"
        );
        assert!(!said.contains("secret words"));
    }
}
