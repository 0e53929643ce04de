//! A process that is killed by a signal that dumps core, with live tokens in its memory: it leaves no core file.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use aws_lc_rs::rand::SystemRandom;
use hublatch::token::AppKey;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{FakeHub, Links};

/// Runs `program` in `folder` under a shell that allows core files of any size.
fn with_core_files(folder: &TempDir, program: &str, words: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -c unlimited; exec \"$0\" \"$@\"", program]).args(words);
    command.current_dir(folder.path()).env_clear().stdin(Stdio::null());
    command
}

fn kill(child: &mut Child, signal: &str) -> std::process::ExitStatus {
    let pid = child.id().to_string();
    assert!(
        Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", signal, &pid]).status().unwrap().success()
    );
    child.wait().unwrap()
}

fn files(folder: &TempDir) -> Vec<String> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = std::fs::read_dir(folder.path()).unwrap().map(name).collect();
    names.sort();
    names
}

#[test]
fn a_process_that_is_aborted_with_live_tokens_leaves_no_core_file() {
    for signal in ["ABRT", "ILL"] {
        let (hub, folder) = (FakeHub::start(), TempDir::new().unwrap());
        let key = AppKey::generate(&SystemRandom::new()).unwrap();
        let config = format!(
            "public.listen = \"127.0.0.1:0\"\npublic.url = \"http://hub.test\"\nmanagement.listen = \"127.0.0.1:0\"\n\
             hub.url = {:?}\n[[apps]]\nname = \"portal\"\nkeys = [\"{}\"]\n",
            hub.url(),
            key.digest()
        );
        std::fs::write(folder.path().join("hublatch.toml"), config).unwrap();
        let hublatch = assert_cmd::cargo::cargo_bin!("hublatch").to_str().unwrap().to_owned();
        let mut child = with_core_files(&folder, &hublatch, &["serve", "--config", "hublatch.toml"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let management = lines
            .by_ref()
            .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
            .find(|line| line["message"] == "listening" && line["listener"] == "management")
            .expect("it listens");
        let address = management["address"].as_str().unwrap().parse().unwrap();
        let links = Links::new(address, key.expose());
        let tokens: Vec<String> =
            (0..20).map(|_| links.issue(&json!({ "username": "alice" })).token).collect();
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        let limits: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
        assert_eq!(limits, ["0", "0"], "{core}");
        let status = kill(&mut child, signal);
        assert!(status.signal().is_some() && !status.core_dumped(), "{signal}: {status}");
        assert_eq!(files(&folder), ["hublatch.toml"], "{signal}");
        // Nor do its last words tell of them.
        let last: String = lines.collect();
        assert!(tokens.iter().all(|token| !last.contains(&token[3..25])), "{last}");
    }
}

/// Says whether the test above can fail on this machine, where core files may go to a program or nowhere.
#[test]
fn another_process_is_dumped_where_this_machine_keeps_core_files() {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let folder = TempDir::new().unwrap();
    let mut child = with_core_files(&folder, "sleep", &["60"]).env("PATH", "/usr/bin:/bin").spawn().unwrap();
    // Until the shell has become `sleep`, and with the limit that it has raised.
    let limits = format!("/proc/{}/limits", child.id());
    let name = format!("/proc/{}/comm", child.id());
    crate::support::proxy::wait_until("sleep to run", || {
        std::fs::read_to_string(&name).is_ok_and(|name| name.trim() == "sleep")
    });
    let raised = std::fs::read_to_string(limits)
        .unwrap()
        .lines()
        .any(|line| line.starts_with("Max core file size") && line.contains("unlimited"));
    let status = kill(&mut child, "ABRT");
    if raised && pattern.trim() == "core" {
        assert!(status.core_dumped() && !files(&folder).is_empty(), "{status}");
    }
}
