//! `hublatch serve` as a process of its own, watched through its log.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use super::PATIENCE;

/// A process with a directory for its files; killed when it is dropped.
pub struct Process {
    child: Child,
    log: Receiver<Value>,
    directory: TempDir,
}

impl Process {
    /// A process that obeys `text`, in a file of its own directory.
    pub fn start(text: &str) -> Self {
        Self::start_in(TempDir::new().unwrap(), text, |_| ())
    }

    /// The same in a directory that is there, with what `change` makes of the command.
    pub fn start_in(directory: TempDir, text: &str, change: impl FnOnce(&mut Command)) -> Self {
        let file = directory.path().join("hublatch.toml");
        write(&file, text);
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("hublatch"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HUBLATCH") {
                command.env_remove(name);
            }
        }
        command.args(["serve", "--config"]).arg(&file).stderr(Stdio::piped());
        change(&mut command);
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (line, log) = channel();
        std::thread::spawn(move || {
            for text in stderr.lines().map_while(Result::ok) {
                // What is no JSON object is an error before the log began.
                let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
                if line.send(value).is_err() {
                    return;
                }
            }
        });
        Self { child, log, directory }
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its configuration.
    pub fn file(&self) -> PathBuf {
        self.directory().join("hublatch.toml")
    }

    /// Its number.
    pub fn id(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.id(), signal).unwrap();
    }

    /// Waits for a line of its log with this message, and answers it.
    pub fn logged(&self, message: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut before = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.log.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("waited in vain for {message:?} after {before:#?}"));
            if line["message"] == message {
                return line;
            }
            before.push(line);
        }
    }

    /// All that it has said before it ended.
    pub fn said(&self) -> String {
        let line = |line: Value| line.as_str().map_or_else(|| line.to_string(), str::to_owned);
        self.log.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Waits until it has told where this listener is.
    pub fn address(&self, listener: &str) -> SocketAddr {
        loop {
            let line = self.logged("listening");
            if line["listener"] == listener {
                return line["address"].as_str().unwrap().parse().unwrap();
            }
        }
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Writes a file that only its owner may read, as an editor does: another file takes its name.
pub fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(new, path).unwrap();
}
