//! The commands, as processes: what they print, what they write, how they end.

// A helper that cannot set up its test may panic like the test itself.
#![allow(clippy::unwrap_used)]

mod core_files;
mod doctor;
mod init;
mod running;

use std::fs;

use assert_cmd::Command;
use hublatch::token::KeyDigest;
use tempfile::TempDir;

const CONFIG: &str = "
[public]
url = \"http://127.0.0.1:8000\"
[hub]
url = \"http://127.0.0.1:8400\"
[[apps]]
name = \"portal\"
keys = [\"sha256:1111111111111111111111111111111111111111111111111111111111111111\"]
";

/// hublatch with an environment that holds none of its variables.
fn hublatch(words: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("hublatch"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HUBLATCH") {
            command.env_remove(name);
        }
    }
    command.args(words).timeout(std::time::Duration::from_secs(30));
    command
}

struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(mut command: Command) -> Outcome {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn keygen_prints_a_new_key_and_its_digest() {
    let (one, two) = (run(hublatch(&["keygen"])), run(hublatch(&["keygen"])));
    let lines: Vec<&str> = one.stdout.lines().collect();
    let [key, digest] = lines[..] else { panic!("{}", one.stdout) };
    assert!(key.starts_with("hk_") && key.len() == 46, "{key}");
    assert_eq!(digest, KeyDigest::of(key.as_bytes()).to_string());
    assert_eq!(one.code, Some(0));
    assert_ne!(one.stdout, two.stdout);
}

#[test]
fn check_tells_a_good_configuration_and_what_is_unwise_in_it() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("hublatch.toml");
    fs::write(&file, CONFIG).unwrap();
    let outcome = run(hublatch(&["check", "--config", file.to_str().unwrap()]));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert!(lines.iter().any(|line| line.starts_with("warning: no [assertion]")), "{lines:?}");
    assert!(lines.last().unwrap().ends_with("the configuration is valid"), "{lines:?}");
}

#[test]
fn check_prints_every_fault_one_a_line_and_exits_78() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("hublatch.toml");
    fs::write(
        &file,
        CONFIG.replace("http://127.0.0.1:8000", "nowhere").replace("[hub]", "[hub]\ncolour = 1"),
    )
    .unwrap();
    let outcome = run(hublatch(&["check", "--config", file.to_str().unwrap()]));
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(78), ""));
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].contains("hublatch.toml:3: public.url") && lines[1].contains("hublatch.toml:5: hub.colour"),
        "{lines:?}"
    );
}

#[test]
fn check_finds_its_file_in_the_environment_and_obeys_the_environment() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("hublatch.toml");
    fs::write(&file, CONFIG).unwrap();
    let mut good = hublatch(&["check"]);
    good.env("HUBLATCH_CONFIG", &file);
    assert_eq!(run(good).code, Some(0));
    let mut bad = hublatch(&["check"]);
    bad.env("HUBLATCH_CONFIG", &file).env("HUBLATCH_LOGIN__LIFETIME", "soon");
    let bad = run(bad);
    assert_eq!(bad.code, Some(78));
    assert!(bad.stderr.starts_with("HUBLATCH_LOGIN__LIFETIME: login.lifetime"), "{}", bad.stderr);
    let none = run(hublatch(&["check", "--config", "/nowhere/hublatch.toml"]));
    assert_eq!((none.code, none.stderr.lines().count()), (Some(78), 1), "{}", none.stderr);
}

#[test]
fn what_is_no_command_is_a_usage_error() {
    for words in
        [&["frobnicate"][..], &["link"], &["init"], &["keygen", "--config", "x"], &["--no-such-option"]]
    {
        let outcome = run(hublatch(words));
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{words:?}");
        assert!(outcome.stderr.contains("Usage:"), "{words:?}");
    }
}
