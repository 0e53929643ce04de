//! `hublatch chp` as a process, as a hub starts it.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::hub::free_port;
use crate::support::proxy::wait_until;
use crate::support::requests::get;
use crate::support::{FakeHub, Gate, Wire};

/// A process on two ports; killed when it is dropped.
struct Chp {
    child: Child,
    public: u16,
    api: u16,
}

impl Chp {
    /// With more words than those of the two ports, once it listens.
    fn start(more: &[&str]) -> Self {
        let (public, api) = (free_port(), free_port());
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("hublatch"));
        command.args(["chp", "--ip", "127.0.0.1", "--port", &public.to_string()]);
        command.args(["--api-ip", "127.0.0.1", "--api-port", &api.to_string()]).args(more);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HUBLATCH") {
                command.env_remove(name);
            }
        }
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
    assert!(begun.elapsed() < Duration::from_secs(2));
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
