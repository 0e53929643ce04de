//! A real `redis-server` (or Sentinel) on a free port, in a directory of its own; stopped when it is dropped.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hublatch::config::{Redis, RedisAddress, RedisServers};
use socket2::{Domain, Socket, Type};

/// How long a server may take to start, or a state to be reached.
const PATIENCE: Duration = Duration::from_secs(90);

pub struct RedisServer {
    child: Child,
    port: u16,
    options: Vec<String>,
    directory: tempfile::TempDir,
}

/// Options of a server that keeps nothing on disk.
const FORGETFUL: [&str; 6] = ["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"];

impl RedisServer {
    /// Nothing is kept on disk.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With further options of the command line.
    pub fn with(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self::in_directory(directory, [&FORGETFUL, options].concat())
    }

    /// A Sentinel with the lines of `config`, which is its to change.
    pub fn sentinel(config: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("sentinel.conf");
        std::fs::write(&file, config).expect("written");
        let file = file.to_str().expect("a path").to_owned();
        Self::in_directory(directory, vec![&file, "--sentinel"])
    }

    fn in_directory(directory: tempfile::TempDir, options: Vec<&str>) -> Self {
        let options: Vec<String> = options.into_iter().map(str::to_owned).collect();
        for _ in 0..10 {
            let port = free_port();
            let mut child = launch(directory.path(), port, &options);
            if answers(&mut child, port) {
                return Self { child, port, options, directory };
            }
            // Another process was faster at the port.
            end(&mut child);
        }
        panic!("redis-server does not start: {}", read_log(directory.path()));
    }

    /// What hublatch is told of it.
    pub fn config(&self) -> Redis {
        Redis {
            servers: RedisServers::One(self.address()),
            database: 0,
            username: None,
            password: None,
            sentinel_username: None,
            sentinel_password: None,
            ca_pem: None,
            prefix: "{hublatch}:".to_owned(),
            timeout: Duration::from_secs(2),
            loading_timeout: Duration::ZERO,
        }
    }

    pub fn address(&self) -> RedisAddress {
        RedisAddress::Tcp { host: "127.0.0.1".to_owned(), port: self.port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs a command; an error of the server is a failure of the test.
    pub fn run(&self, command: &[&str]) -> String {
        self.try_run(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// Runs a command.
    pub fn try_run(&self, command: &[&str]) -> Result<String, String> {
        let output = cli(self.port).arg("-e").args(command).output().expect("redis-cli");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Whether it was started and not killed.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Ends it without warning, as a power cut does.
    pub fn kill(&mut self) {
        end(&mut self.child);
    }

    /// Starts it again on the same port and directory.
    pub fn start_again(&mut self) {
        self.child = launch(self.directory.path(), self.port, &self.options);
        assert!(answers(&mut self.child, self.port), "{}", read_log(self.directory.path()));
    }

    /// Starts it again with further options, and does not wait until it answers.
    pub fn launch_again(&mut self, options: &[&str]) {
        let options: Vec<String> =
            self.options.iter().cloned().chain(options.iter().map(|&option| option.to_owned())).collect();
        self.child = launch(self.directory.path(), self.port, &options);
    }

    /// Makes it stand still, or go on.
    pub fn stand_still(&self, still: bool) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let signal = if still { rustix::process::Signal::STOP } else { rustix::process::Signal::CONT };
        rustix::process::kill_process(pid, signal).expect("a signal");
    }

    /// Makes it a replica of `primary` and waits until it has all its data.
    pub fn follow(&self, primary: &Self) {
        self.run(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
        self.wait_for_primary();
    }

    /// Waits until it is a replica that has all its primary's data.
    pub fn wait_for_primary(&self) {
        until("the replica has its primary's data", || {
            self.try_run(&["INFO", "replication"]).is_ok_and(|info| info.contains("master_link_status:up"))
        });
    }

    /// Cuts it off from its primary: it keeps what it has.
    pub fn cut_off(&self) {
        // Nothing listens on port 1.
        self.run(&["REPLICAOF", "127.0.0.1", "1"]);
    }

    /// Makes it a primary.
    pub fn promote(&self) {
        self.run(&["REPLICAOF", "NO", "ONE"]);
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Waits until `reached`.
pub fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port on which nothing listens, and which nobody else is given, neither by `bind` nor for an outgoing connection, as
/// long as this process lives: a socket is bound to it that does not listen. With SO_REUSEADDR, as Redis sets it, another
/// one may (socket(7)).
pub fn free_port() -> u16 {
    let hold = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    hold.set_reuse_address(true).expect("an option");
    hold.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
    let port = hold.local_addr().expect("an address").as_socket().expect("TCP").port();
    std::mem::forget(hold);
    port
}

fn launch(directory: &Path, port: u16, options: &[String]) -> Child {
    let log = File::create(directory.join("log")).expect("a log");
    Command::new("redis-server")
        // A file of configuration comes first.
        .args(options)
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"])
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .spawn()
        .expect("redis-server is on the path (Debian: apt-get install redis-server)")
}

fn answers(child: &mut Child, port: u16) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE && child.try_wait().expect("a child").is_none() {
        let output = cli(port).arg("PING").output().expect("redis-cli");
        let text = String::from_utf8_lossy(&output.stdout);
        if text.starts_with("PONG") || text.starts_with("NOAUTH") {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

fn cli(port: u16) -> Command {
    let mut command = redis_cli();
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    command
}

/// `redis-cli`, which by itself would wait for a server that stands still as long as that stands.
pub fn redis_cli() -> Command {
    let mut command = Command::new("timeout");
    command.args([&PATIENCE.as_secs().to_string(), "redis-cli"]);
    command
}

fn end(child: &mut Child) {
    let _dead_already = child.kill();
    let _reaped = child.wait();
}

fn read_log(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("log")).unwrap_or_default()
}
