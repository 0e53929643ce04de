//! `hublatch init`: what it writes, and what it never touches.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hublatch::token::KeyDigest;
use tempfile::TempDir;

use super::{Outcome, hublatch, run};

fn init(dir: &Path, public_url: &str, hub_url: &str) -> Outcome {
    run(hublatch(&["init", "--dir", dir.to_str().unwrap(), "--public-url", public_url, "--hub-url", hub_url]))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn init_writes_what_check_accepts_and_nobody_else_reads_the_secrets() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("a new \"one\"");
    let outcome = init(&dir, "http://127.0.0.1:9000", "http://127.0.0.1:8400/jupyter");
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    let names: std::collections::BTreeMap<String, u32> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), mode(&path) & 0o077))
        .collect();
    let expected =
        ["app.key", "assertion.key.pem", "assertion.pub.pem", "hublatch.toml", "hublatch_authenticator.py"];
    assert!(names.keys().eq(expected), "{names:?}");
    assert_eq!((names["app.key"], names["assertion.key.pem"]), (0, 0));
    let config = fs::read_to_string(dir.join("hublatch.toml")).unwrap();
    assert!(
        config.contains("base_url = \"/jupyter/\"") && config.contains("listen = \"127.0.0.1:9000\""),
        "{config}"
    );
    let checked = run(hublatch(&["check", "--config", dir.join("hublatch.toml").to_str().unwrap()]));
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    assert!(!checked.stdout.contains("no [assertion]"), "{}", checked.stdout);
}

#[test]
fn the_hub_can_read_its_two_files_whatever_the_umask_is() {
    for umask in ["077", "000"] {
        let parent = TempDir::new().unwrap();
        let dir = parent.path().join("above").join("new");
        let mut command = assert_cmd::Command::new("sh");
        command.args(["-c", &format!("umask {umask} && exec \"$0\" \"$@\"")]);
        command.arg(assert_cmd::cargo::cargo_bin!("hublatch")).timeout(std::time::Duration::from_secs(30));
        command.args(["init", "--dir", dir.to_str().unwrap(), "--public-url", "http://127.0.0.1:8000"]);
        command.args(["--hub-url", "http://127.0.0.1:8400"]);
        let outcome = run(command);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert_eq!((mode(dir.parent().unwrap()), mode(&dir)), (0o755, 0o755), "umask {umask}");
        for name in ["hublatch.toml", "assertion.pub.pem", "hublatch_authenticator.py"] {
            assert_eq!(mode(&dir.join(name)), 0o644, "umask {umask}: {name}");
        }
        for name in ["app.key", "assertion.key.pem"] {
            assert_eq!(mode(&dir.join(name)), 0o600, "umask {umask}: {name}");
        }
    }
}

#[test]
fn init_shows_no_key_and_the_file_and_the_digest_agree() {
    let dir = TempDir::new().unwrap();
    let outcome = init(dir.path(), "http://127.0.0.1:8000", "http://127.0.0.1:8400");
    let key = fs::read_to_string(dir.path().join("app.key")).unwrap();
    let key = key.trim_end();
    assert!(!outcome.stdout.contains("hk_"), "it is in a file for its owner alone: {}", outcome.stdout);
    let config = fs::read_to_string(dir.path().join("hublatch.toml")).unwrap();
    assert!(config.contains(&KeyDigest::of(key.as_bytes()).to_string()) && !config.contains(key));
}

/// The same with more words.
fn init_with(dir: &Path, more: &[&str]) -> Outcome {
    let words = ["init", "--dir", dir.to_str().unwrap(), "--public-url", "https://hub.example.org"];
    run(hublatch(&[&words, more].concat()))
}

fn checked(dir: &Path) -> String {
    let checked = run(hublatch(&["check", "--config", dir.join("hublatch.toml").to_str().unwrap()]));
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    fs::read_to_string(dir.join("hublatch.toml")).unwrap()
}

#[test]
fn init_takes_the_page_the_name_and_the_address_and_prints_the_next_two_commands() {
    let dir = TempDir::new().unwrap();
    let words = [
        "--hub-url",
        "http://127.0.0.1:8400",
        "--app-url",
        "https://app.example.org/",
        "--name",
        "Our \"app\"",
    ];
    let outcome = init_with(dir.path(), &[&words[..], &["--listen", "127.0.0.1:8100", "--launch"]].concat());
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    let config = checked(dir.path());
    for line in [
        "listen = \"127.0.0.1:8100\"",
        "app_url = \"https://app.example.org/\"",
        "name = \"Our \\\"app\\\"\"",
        "api_token_file = \"hub.token\"",
    ] {
        assert!(config.contains(line), "{line} in {config}");
    }
    assert_eq!(mode(&dir.path().join("hub.token")), 0o600);
    for line in [
        "c.JupyterHub.bind_url = \"http://127.0.0.1:8400\"",
        "\"scopes\": [\"servers\", \"admin:users\"]",
        "    hublatch serve --config ",
        "    hublatch doctor --config ",
    ] {
        assert!(outcome.stdout.contains(line), "{line} in {}", outcome.stdout);
    }
    for (word, value, blamed) in [
        ("--app-url", "javascript:x", "--app-url"),
        ("--listen", "localhost:1", "--listen"),
        ("--name", "a\nb", "--name"),
    ] {
        let parent = TempDir::new().unwrap();
        let dir = parent.path().join("new");
        let outcome = init_with(&dir, &["--hub-url", "http://127.0.0.1:8400", word, value]);
        assert_eq!(outcome.code, Some(1), "{word} {value}");
        assert!(outcome.stderr.contains(&format!("{blamed}: ")), "{}", outcome.stderr);
        assert!(!dir.exists(), "{word}");
    }
}

#[test]
fn init_for_the_hubs_own_proxy_prints_its_lines_and_needs_no_address_of_the_hub() {
    for more in [&[][..], &["--launch"]] {
        let dir = TempDir::new().unwrap();
        let outcome = init_with(dir.path(), &[&["--proxy"][..], more].concat());
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
        assert!(checked(dir.path()).contains("[routes]"));
        let here = dir.path().canonicalize().unwrap();
        for line in [
            "c.JupyterHub.proxy_class = \"hublatch\"".to_owned(),
            format!("c.HublatchProxy.config_file = \"{}/hublatch.toml\"", here.display()),
            "c.JupyterHub.authenticator_class = \"hublatch\"".to_owned(),
        ] {
            assert!(outcome.stdout.contains(&line), "{line} in {}", outcome.stdout);
        }
    }
    let dir = TempDir::new().unwrap();
    assert_eq!(init_with(dir.path(), &[]).code, Some(2), "no hub and no proxy");
}

#[test]
fn init_for_kubernetes_writes_objects_and_values() {
    let dir = TempDir::new().unwrap();
    let outcome = init_with(
        dir.path(),
        &["--hub-url", "http://proxy-public", "--kubernetes", "latch", "--name", "Ours"],
    );
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    let file = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(mode(&dir.path().join("objects.yaml")), 0o600);
    let objects: Vec<serde_json::Value> = file("objects.yaml")
        .split("\n---\n")
        .map(|object| serde_norway::from_str(object).unwrap_or_else(|error| panic!("{error}: {object}")))
        .collect();
    let [secret, map] = &objects[..] else { panic!("{objects:?}") };
    assert_eq!((&secret["kind"], &secret["metadata"]["name"]), (&"Secret".into(), &"latch".into()));
    assert_eq!(
        secret["stringData"]["assertion.key"].as_str().map(str::trim),
        Some(file("assertion.key.pem").trim())
    );
    assert_eq!(secret["stringData"]["app.key"].as_str(), Some(file("app.key").trim()));
    assert_eq!((&map["kind"], &map["metadata"]["name"]), (&"ConfigMap".into(), &"latch-hub".into()));
    assert_eq!(map["data"]["assertion.pub.pem"].as_str(), Some(file("assertion.pub.pem").as_str()));
    let code = map["data"]["hublatch_authenticator.py"].as_str().unwrap().trim_end();
    assert_eq!(code, file("hublatch_authenticator.py").trim_end());
    let values: serde_json::Value = serde_norway::from_str(&file("values.yaml")).unwrap();
    assert_eq!(values["publicUrl"], "https://hub.example.org");
    assert_eq!(values["hub"]["url"], "http://proxy-public");
    assert_eq!(values["assertion"]["secretName"], "latch");
    let digest = KeyDigest::of(file("app.key").trim().as_bytes()).to_string();
    assert!(values["apps"].as_str().unwrap().contains(&digest));
    assert!(values["extraConfig"].as_str().unwrap().contains("name = \"Ours\""));
    assert!(!file("values.yaml").contains("PRIVATE") && !outcome.stdout.contains("PRIVATE"));
    assert!(
        outcome.stdout.contains("kubectl apply -f ")
            && outcome.stdout.contains("helm upgrade --install latch ")
    );
}

#[test]
fn init_prints_the_block_for_the_hub() {
    let dir = TempDir::new().unwrap();
    let outcome = init(dir.path(), "http://127.0.0.1:8000", "http://127.0.0.1:8400");
    let here = dir.path().canonicalize().unwrap();
    for line in [
        "c.JupyterHub.authenticator_class = \"hublatch_authenticator.HublatchAuthenticator\"".to_owned(),
        format!("c.HublatchAuthenticator.public_key_file = \"{}/assertion.pub.pem\"", here.display()),
        "c.HublatchAuthenticator.audience = \"jupyterhub\"".to_owned(),
        format!("sys.path.insert(0, \"{}\")", here.display()),
    ] {
        assert!(outcome.stdout.contains(&line), "{line} in {}", outcome.stdout);
    }
}

#[test]
fn the_two_halves_of_the_assertion_key_belong_together() {
    use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
    let dir = TempDir::new().unwrap();
    init(dir.path(), "http://127.0.0.1:8000", "http://127.0.0.1:8400");
    let der = |name: &str, label: &str| {
        use base64::Engine as _;
        let pem = fs::read_to_string(dir.path().join(name)).unwrap();
        let body = pem.strip_prefix(&format!("-----BEGIN {label}-----\n")).unwrap();
        let body = body.strip_suffix(&format!("-----END {label}-----\n")).unwrap();
        assert!(body.lines().all(|line| line.len() <= 64), "{body}");
        base64::engine::general_purpose::STANDARD.decode(body.replace('\n', "")).unwrap()
    };
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der("assertion.key.pem", "PRIVATE KEY")).unwrap();
    let spki = der("assertion.pub.pem", "PUBLIC KEY");
    // RFC 8410 § 4: a header of 12 bytes, then the key.
    assert_eq!(spki[12..], *pair.public_key().as_ref());
    assert_eq!(spki[..12], [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0]);
    let signature = pair.sign(b"hello");
    UnparsedPublicKey::new(&ED25519, &spki[12..]).verify(b"hello", signature.as_ref()).unwrap();
}

#[test]
fn init_never_overwrites_and_leaves_no_half() {
    let names =
        ["app.key", "assertion.key.pem", "assertion.pub.pem", "hublatch.toml", "hublatch_authenticator.py"];
    for name in names {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join(name), "mine").unwrap();
        let outcome = init(dir.path(), "http://127.0.0.1:8000", "http://127.0.0.1:8400");
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{name}");
        assert!(outcome.stderr.contains(&format!("{name} is there already")), "{}", outcome.stderr);
        assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), "mine");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "{name}");
    }
    let dir = TempDir::new().unwrap();
    std::os::unix::fs::symlink("/nowhere/x", dir.path().join("app.key")).unwrap();
    let outcome = init(dir.path(), "http://127.0.0.1:8000", "http://127.0.0.1:8400");
    assert_eq!((outcome.code, fs::read_dir(dir.path()).unwrap().count()), (Some(1), 1), "a dangling link");
}

#[test]
fn init_refuses_urls_that_check_would_refuse_and_writes_nothing() {
    for (public, hub, blamed) in [
        ("https://hub.example.org/path", "http://127.0.0.1:8400", "--public-url"),
        ("hub.example.org", "http://127.0.0.1:8400", "--public-url"),
        ("http://127.0.0.1:8000", "ftp://127.0.0.1", "--hub-url"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8400/?x", "--hub-url"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000", "--hub-url"),
    ] {
        let parent = TempDir::new().unwrap();
        let dir = parent.path().join("new");
        let outcome = init(&dir, public, hub);
        assert_eq!(outcome.code, Some(1), "{public} {hub}");
        assert!(outcome.stderr.starts_with(&format!("hublatch init: {blamed}: ")), "{}", outcome.stderr);
        assert!(!dir.exists(), "{public} {hub}");
    }
}

#[test]
fn a_hub_at_our_own_address_is_told_where_to_move() {
    for (url, port) in [("http://127.0.0.1:8000", 8400), ("http://127.0.0.1:8400", 8401)] {
        let parent = TempDir::new().unwrap();
        let outcome = init(&parent.path().join("new"), url, url);
        let own = url.trim_start_matches("http://");
        let said = format!(
            "--hub-url: this address is hublatch's own listener \"{own}\"; move the hub's public proxy"
        );
        let to = format!("c.JupyterHub.bind_url = \"http://127.0.0.1:{port}\"");
        assert!(outcome.stderr.contains(&said) && outcome.stderr.contains(&to), "{}", outcome.stderr);
    }
}

#[test]
fn init_finds_ports_that_do_not_collide() {
    for (public, hub) in [
        ("http://127.0.0.1:8001", "http://127.0.0.1:8400"),
        ("http://127.0.0.1:8001", "http://127.0.0.1:8002"),
        ("http://localhost:8000", "http://localhost:8001"),
        ("https://hub.example.org", "http://127.0.0.1:8400"),
        ("http://hub.example.org", "http://hub:8400"),
        ("http://[::1]:8000", "unix:/run/hub.sock"),
    ] {
        let dir = TempDir::new().unwrap();
        let outcome = init(dir.path(), public, hub);
        assert_eq!(outcome.code, Some(0), "{public} {hub}: {}", outcome.stderr);
        let checked =
            run(hublatch(&["check", "--config", dir.path().join("hublatch.toml").to_str().unwrap()]));
        assert_eq!(checked.code, Some(0), "{public} {hub}: {}", checked.stderr);
    }
}

#[test]
fn assertion_tells_the_hub_the_public_key_and_nothing_of_the_private_one() {
    let dir = TempDir::new().unwrap();
    init(dir.path(), "http://127.0.0.1:8000", "http://127.0.0.1:8400");
    let file = dir.path().join("hublatch.toml");
    let outcome = run(hublatch(&["assertion", "--config", file.to_str().unwrap()]));
    let told: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let public = fs::read_to_string(dir.path().join("assertion.pub.pem")).unwrap();
    assert_eq!(told["public_keys"], public);
    assert_eq!(
        (&told["audience"], &told["assertion_header"]),
        (&"jupyterhub".into(), &"x-hublatch-assertion".into())
    );
    assert!(!outcome.stdout.contains("PRIVATE"));
}

#[test]
fn assertion_fails_without_an_assertion_section() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("hublatch.toml");
    fs::write(&file, super::CONFIG).unwrap();
    let outcome = run(hublatch(&["assertion", "--config", file.to_str().unwrap()]));
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""));
    assert!(outcome.stderr.contains("no [assertion]"), "{}", outcome.stderr);
}
