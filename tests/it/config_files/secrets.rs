//! Secrets in files of their own: who may read them, and that no fault repeats them.

use super::*;

fn with_assertion(key: &str) -> String {
    format!("{MINIMAL}\n[assertion]\n{key}\n")
}

#[test]
fn a_key_file_is_found_beside_the_configuration() {
    let directory = directory();
    signing_key_file(&directory, 0o600);
    let path = file(&directory, "hublatch.toml", &with_assertion("key_file = \"assertion.key.pem\""), 0o644);
    let config = load(&path, []).expect("valid");
    let assertion = config.assertion.expect("an assertion");
    assert!(assertion.key.text.starts_with("-----BEGIN PRIVATE KEY-----"));
    assert!(!format!("{assertion:?}").contains("PRIVATE"));
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    for mode in [0o640, 0o604, 0o660, 0o644] {
        let directory = directory();
        let key = signing_key_file(&directory, mode);
        let wrong = complaint(loaded(&with_assertion(&format!("key_file = {key:?}"))));
        assert!(wrong.starts_with("hublatch.toml:11: assertion.key_file: "), "{wrong}");
        assert!(wrong.contains("can be read by others than its owner; run chmod 600"), "{wrong}");
        assert_eq!(wrong.lines().count(), 1, "{wrong}");
    }
}

#[test]
fn a_file_that_is_not_a_private_ed25519_key_is_refused() {
    let pair = Ed25519KeyPair::generate().expect("a key pair");
    let truncated = signing_key().replace("MC4C", "MC4D");
    let public = format!(
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(aws_lc_rs::signature::KeyPair::public_key(&pair).as_ref())
    );
    for text in ["", "secret", &truncated, &public] {
        let directory = directory();
        let key = file(&directory, "key.pem", text, 0o600);
        let wrong = complaint(loaded(&with_assertion(&format!("key_file = {key:?}"))));
        assert!(
            wrong.contains("is not an Ed25519 private key in PEM (PKCS#8); make one with hublatch init"),
            "{wrong}"
        );
    }
}

#[test]
fn a_key_can_come_as_a_variable() {
    let key = signing_key();
    let config = with_variables(MINIMAL, &[("HUBLATCH_ASSERTION__KEY", key.as_str())]).expect("valid");
    let pem = config.assertion.expect("an assertion").key.text;
    assert_eq!(pem.trim(), key.trim());
}

/// Kubernetes gives secrets to root and to a group of the pod (fsGroup), Docker and certbot do alike.
#[test]
fn a_secret_of_root_may_be_read_by_a_group_of_ours_and_by_nobody_else() {
    use std::os::unix::fs::chown;
    use std::os::unix::process::CommandExt as _;
    const OURS: u32 = 65_532;
    if !rustix::process::geteuid().is_root() {
        return; // nobody else can give files away
    }
    let directory = directory();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("set permissions");
    let config =
        file(&directory, "hublatch.toml", &with_assertion("key_file = \"assertion.key.pem\""), 0o644);
    let key = signing_key_file(&directory, 0o600);
    for (owner, group, mode, accepted) in [
        (0, OURS, 0o440, true),
        (0, OURS, 0o640, true),
        (OURS, OURS, 0o600, true),
        (OURS, OURS, 0o400, true),
        (0, OURS, 0o660, false),
        (0, OURS, 0o444, false),
        (0, 0, 0o444, false),
        (OURS, OURS, 0o640, false),
        (OURS, 0, 0o440, false),
    ] {
        chown(&key, Some(owner), Some(group)).expect("change the owner");
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("set permissions");
        let mut check = std::process::Command::new(assert_cmd::cargo::cargo_bin!("hublatch"));
        check.args(["check", "--config"]).arg(&config).env_clear().uid(OURS).gid(OURS);
        let outcome = check.output().expect("hublatch runs");
        let said = String::from_utf8_lossy(&outcome.stderr);
        assert_eq!(outcome.status.success(), accepted, "{owner}:{group} {mode:o}: {said}");
        assert_eq!(said.contains("can be read by others than its owner"), !accepted, "{said}");
    }
}

#[test]
fn a_configuration_that_others_can_write_is_refused() {
    use std::os::unix::fs::chown;
    let directory = directory();
    let path = file(&directory, "hublatch.toml", MINIMAL, 0o644);
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    assert!(load(&path, []).is_ok());
    set(&path, 0o646);
    let wrong = complaint(load(&path, []));
    assert!(wrong.contains("hublatch.toml can be written by everybody"), "{wrong}");
    assert!(wrong.contains("run chmod go-w"), "{wrong}");
    set(&path, 0o644);
    for (mode, accepted) in [(0o757, false), (0o1777, true), (0o755, true)] {
        set(directory.path(), mode);
        assert_eq!(load(&path, []).is_ok(), accepted, "{mode:o}");
    }
    if rustix::process::geteuid().is_root() {
        for (group, accepted) in [(12, false), (0, true)] {
            chown(&path, None, Some(group)).expect("change the group");
            set(&path, 0o664);
            assert_eq!(load(&path, []).is_ok(), accepted, "group {group}");
        }
    }
}

#[test]
fn a_key_in_a_file_that_others_can_read_is_refused() {
    let directory = directory();
    let text = with_assertion(&format!("key = {:?}", signing_key()));
    let path = file(&directory, "hublatch.toml", &text, 0o600);
    assert!(load(&path, []).is_ok());
    let path = file(&directory, "hublatch.toml", &text, 0o640);
    let wrong = complaint(load(&path, []));
    assert!(wrong.contains("assertion.key: is a secret in a file that others can read"), "{wrong}");
    assert!(!wrong.contains("BEGIN"), "{wrong}");
}

#[test]
fn the_name_of_the_identity_header_can_be_a_secret() {
    let directory = directory();
    let path = file(&directory, "header", "X-0f8b2c9d4e5a6f708192a3b4c5d6e7f8\n", 0o600);
    let config = loaded(&format!("{MINIMAL}\n[login]\nuser_header_file = {path:?}\n")).expect("valid");
    assert_eq!(config.login.user_header, "x-0f8b2c9d4e5a6f708192a3b4c5d6e7f8");
    assert!(!config.warnings.iter().any(|warning| warning.contains("[assertion]")), "{:?}", config.warnings);

    let path = file(&directory, "header", "not a secret header", 0o600);
    let wrong = complaint(loaded(&format!("{MINIMAL}\n[login]\nuser_header_file = {path:?}\n")));
    assert!(wrong.contains("login.user_header_file: the name is not a header name"), "{wrong}");
    assert!(!wrong.contains("secret header"), "{wrong}");
}

#[test]
fn a_key_in_the_place_of_a_path_is_not_repeated() {
    for key in [signing_key(), signing_key().replace('\n', "")] {
        let wrong = complaint(loaded(&with_assertion(&format!("key_file = {key:?}"))));
        assert!(
            wrong.contains("is not the path of a file; write the text itself as assertion.key"),
            "{wrong}"
        );
        assert!(!wrong.contains("BEGIN"), "{wrong}");
    }
}

#[test]
fn the_password_of_a_url_is_not_repeated() {
    let wrong = complaint(loaded(&MINIMAL.replace("127.0.0.1:8400", "me:hunter2@127.0.0.1:8400")));
    assert!(wrong.contains("\"http://…@127.0.0.1:8400\" has a user or password"), "{wrong}");
    assert!(!wrong.contains("hunter2"), "{wrong}");
}

#[test]
fn a_pipe_or_a_huge_file_is_no_secret() {
    let directory = directory();
    let huge = file(&directory, "huge", &"x".repeat(64 * 1024 + 1), 0o600);
    let wrong = complaint(loaded(&with_assertion(&format!("key_file = {huge:?}"))));
    assert!(wrong.contains("is longer than 64 KiB"), "{wrong}");
    let wrong = complaint(loaded(&with_assertion("key_file = \"/dev/zero\"")));
    assert!(wrong.contains("it is not a file"), "{wrong}");
}
