//! Restarts under a supervisor: sockets that outlive the process, and what the supervisor is told.

use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::support::requests::get;
use crate::support::{FakeHub, Gate, PATIENCE, Process, TestProxy, Wire};

/// Passes `socket` on as systemd does.
fn pass(command: &mut Command, socket: &impl std::os::fd::AsFd) {
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::empty()).unwrap();
    let number = socket.as_fd().as_raw_fd().to_string();
    command.envs([("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", &number)]);
}

/// A configuration that listens at the address of `socket`.
fn at(hub: &FakeHub, socket: &TcpListener) -> String {
    let listen = format!("listen = \"{}\"", socket.local_addr().unwrap());
    TestProxy::before(hub).set("public", &listen).set("limits", "drain_timeout = \"10m\"").text()
}

fn start(text: &str, socket: &impl std::os::fd::AsFd) -> Process {
    let process = Process::start_in(tempfile::tempdir().unwrap(), text, |command| pass(command, socket));
    process.address("management");
    process
}

#[test]
fn who_connects_while_nobody_serves_is_answered_by_the_next_process() {
    let hub = FakeHub::start();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let (text, address) = (at(&hub, &socket), socket.local_addr().unwrap());
    let mut one = start(&text, &socket);
    assert_eq!(Wire::connect(address).ask(get("/x", &[])).status, 200);
    one.signal(Signal::TERM);
    assert!(one.ended().success());
    let mut waiting = Wire::connect(address);
    waiting.send(get("/y", &[]));
    let _two = start(&text, &socket);
    assert_eq!(waiting.answer_to("GET").expect("an answer").status, 200);
}

#[test]
fn what_is_under_way_is_finished_by_the_old_process_while_the_next_one_serves() {
    let hub = FakeHub::start();
    let (gate, socket) = (Gate::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let waiting = gate.clone();
    hub.on("/slow", move |exchange| {
        waiting.pass();
        exchange.answer("200 OK", "slow")
    });
    let (text, address) = (at(&hub, &socket), socket.local_addr().unwrap());
    let mut one = start(&text, &socket);
    let mut slow = Wire::connect(address);
    slow.send(get("/slow", &[]));
    hub.wait_for_path("/slow");
    let _two = start(&text, &socket);
    one.signal(Signal::TERM);
    one.logged("draining");
    for _ in 0..20 {
        assert_eq!(Wire::connect(address).ask(get("/x", &["Connection: close"])).status, 200);
    }
    gate.open();
    assert_eq!(slow.answer_to("GET").expect("an answer").text(), "slow");
    assert!(one.ended().success());
}

#[test]
fn a_unix_socket_is_passed_too() {
    let hub = FakeHub::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("public.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let text = TestProxy::before(&hub).set("public", &format!("listen = \"unix:{}\"", path.display())).text();
    let process = start(&text, &socket);
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap());
    assert_eq!(ask_unix(&path), "HTTP/1.1 200 OK");
    drop(process);
    let after = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap());
    assert_eq!(inode, after, "it was not bound anew");
}

/// The first line of the answer to a request for `/x`.
fn ask_unix(path: &Path) -> String {
    use std::io::{BufRead as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&get("/x", &["Connection: close"])).unwrap();
    std::io::BufReader::new(stream).lines().next().unwrap().unwrap()
}

#[test]
fn a_socket_that_the_configuration_does_not_know_is_no_start() {
    let hub = FakeHub::start();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = TestProxy::before(&hub).text();
    let mut process =
        Process::start_in(tempfile::tempdir().unwrap(), &text, |command| pass(command, &socket));
    assert!(!process.ended().success());
    let said = process.said();
    assert!(said.contains("hublatch serve: the supervisor passes the socket 127.0.0.1:"), "{said}");
}

#[test]
fn two_that_were_started_by_themselves_do_not_share_an_address() {
    let hub = FakeHub::start();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = at(&hub, &socket);
    drop(socket);
    let one = Process::start(&text);
    one.address("management");
    let mut two = Process::start(&text);
    assert!(!two.ended().success());
    assert!(two.said().contains("listen on 127.0.0.1:"), "{}", two.said());
}

#[test]
fn the_supervisor_is_told_what_happens() {
    let hub = FakeHub::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut bytes = [0; 1024];
        let length = supervisor.recv(&mut bytes).expect("a message in time");
        String::from_utf8_lossy(&bytes[..length]).trim_end().to_owned()
    };
    let builder = TestProxy::before(&hub).set("limits", "drain_timeout = \"3s\"");
    let mut process = Process::start_in(directory, &builder.text(), |command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    assert_eq!(told(), "READY=1");
    assert!(!process.logged("listening").is_null(), "it was ready no sooner than it listened");
    process.signal(Signal::HUP);
    let reloading = told();
    let (first, second) = reloading.split_once('\n').expect("two lines");
    assert_eq!(first, "RELOADING=1");
    assert!(second.strip_prefix("MONOTONIC_USEC=").unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(told(), "READY=1");
    process.signal(Signal::TERM);
    assert_eq!(told(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=8000000");
    assert!(process.ended().success());
}

#[test]
fn a_watchdog_hears_from_it_in_time() {
    let hub = FakeHub::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
    let text = TestProxy::before(&hub).set("public", "threads = 2").text();
    let _process = Process::start_in(directory, &text, |command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000");
    });
    let mut heard = 0;
    while heard < 5 {
        let mut bytes = [0; 1024];
        let length = supervisor.recv(&mut bytes).expect("a message in time");
        heard += usize::from(bytes[..length].starts_with(b"WATCHDOG=1"));
    }
}
