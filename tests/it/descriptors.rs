//! Clients that hold all the descriptors they can get: they get no more than their part, management goes on, and all is
//! as before when they leave.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::requests::get;
use crate::support::{FakeHub, PATIENCE, Process, TestProxy, Wire};

/// What the process may open. It takes some twenty for itself.
const DESCRIPTORS: usize = 100;
/// Nobody is cut off meanwhile, and each request needs a new connection to the hub.
const LIMITS: &str = "idle_timeout = \"10m\"\nhandshake_timeout = \"10m\"\nupstream_idle_connections = 0";

/// A process with few descriptors.
fn start(hub: &FakeHub, soft: usize) -> Process {
    let text = TestProxy::before(hub).set("public", "threads = 1").set("limits", LIMITS).text();
    Process::start_in(tempfile::tempdir().unwrap(), &text, |command| {
        let script = format!("ulimit -Sn {soft} && ulimit -Hn {DESCRIPTORS} && exec \"$0\" \"$@\"");
        let mut limited = Command::new("sh");
        limited
            .args(["-c", &script])
            .arg(command.get_program())
            .args(command.get_args())
            .stderr(Stdio::piped());
        for (name, _) in command.get_envs().filter(|(_, value)| value.is_none()) {
            limited.env_remove(name);
        }
        *command = limited;
    })
}

/// The value of a metric, if it is there.
fn metric(wire: &mut Wire, name: &str) -> Option<f64> {
    let text = wire.ask(get("/metrics", &[])).text();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// Asks for the metric until it is as `wanted`.
fn wait_for(wire: &mut Wire, name: &str, wanted: impl Fn(Option<f64>) -> bool) {
    let begun = std::time::Instant::now();
    loop {
        let value = metric(wire, name);
        if wanted(value) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{name} is {value:?}");
        std::thread::yield_now();
    }
}

fn connect(address: SocketAddr, count: usize) -> Vec<Wire> {
    (0..count).map(|_| Wire::connect(address)).collect()
}

#[test]
fn while_browsers_hold_their_part_management_answers_and_then_all_comes_back() {
    let hub = FakeHub::start();
    let mut process = start(&hub, 64);
    let (public, management) = (process.address("public"), process.address("management"));
    let mut probe = Wire::connect(management);
    assert_eq!(metric(&mut probe, "process_max_fds"), Some(DESCRIPTORS as f64), "the soft limit is raised");

    let mut held = connect(public, DESCRIPTORS);
    wait_for(&mut probe, "hublatch_accept_pauses_total", |pauses| pauses > Some(0.0));
    let open = metric(&mut probe, "process_open_fds").expect("room to look");
    // 90 of them, the one before the pause, and now and then a file that is looked at.
    assert!((90.0..95.0).contains(&open), "{open}");
    for _ in 0..20 {
        assert_eq!(Wire::connect(management).ask(get("/health", &[])).status, 200);
    }
    assert_eq!(held[0].ask(get("/x", &[])).status, 200, "there is room for a connection to the hub");

    // Who waited to be accepted is served when the others have left.
    let waiting = held.split_off(DESCRIPTORS - 5);
    drop(held);
    for mut wire in waiting.into_iter().chain(connect(public, 20)) {
        assert_eq!(wire.ask(get("/x", &[])).status, 200);
    }
    let told = process.logged("accepting pauses until there is room again");
    assert_eq!((&told["cause"], &told["limit"]), (&"few descriptors are left".into(), &100.into()));
    process.signal(Signal::TERM);
    assert!(process.ended().success());
    let said = process.said();
    assert!(!said.contains("accepting pauses"), "once is enough: {said}");
}

#[test]
fn without_a_single_descriptor_a_request_is_told_to_come_again_and_nothing_is_lost() {
    let hub = FakeHub::start();
    let process = start(&hub, DESCRIPTORS);
    let (public, management) = (process.address("public"), process.address("management"));
    let (mut probe, mut browser) = (Wire::connect(management), Wire::connect(public));
    assert_eq!(browser.ask(get("/x", &[])).status, 200);

    // Those of management may take the last one.
    let held = connect(management, DESCRIPTORS);
    let begun = std::time::Instant::now();
    while browser.ask(get("/x", &[])).status != 503 {
        assert!(begun.elapsed() < PATIENCE, "there is always one left");
    }
    let more = connect(public, 10);
    // Whoever reads the metrics asks the hub as well, and finds no connection either.
    assert!(metric(&mut probe, "hublatch_upstream_busy_total").is_some_and(|busy| busy >= 1.0));

    drop((held, more));
    wait_for(&mut probe, "process_open_fds", |open| open.is_some_and(|open| open < 40.0));
    assert_eq!(browser.ask(get("/x", &[])).status, 200);
    assert_eq!(Wire::connect(public).ask(get("/x", &[])).status, 200);
    assert_eq!(Wire::connect(management).ask(get("/health", &[])).status, 200);
}
