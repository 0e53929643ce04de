//! Configuration files: the ones we ship tell the truth, bad ones are refused with the line and what to write instead.

mod bad_files;
mod environment;
mod secrets;
mod shipped;
mod tls;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hublatch::config::{Config, Faults, Listen, Scope, UpstreamAddress, load, load_str};
use hublatch::token::{AppKey, KeyDigest};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::support::keys::signing_key;

/// The fewest keys that run, with a digest that nobody knows.
const MINIMAL: &str = r#"
[public]
url = "http://127.0.0.1:8000"
[hub]
url = "http://127.0.0.1:8400"
[[apps]]
name = "portal"
keys = ["sha256:6f2c1a5e7b9d3f8046c2e1a9b8d7f6053142536475869708192a3b4c5d6e7f80"]
"#;

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text_of(path: &str) -> String {
    fs::read_to_string(in_repository(path)).expect("a file of the repository")
}

fn loaded(text: &str) -> Result<Config, Faults> {
    load_str(text, Path::new("hublatch.toml"), [])
}

fn with_variables(text: &str, variables: &[(&str, &str)]) -> Result<Config, Faults> {
    let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load_str(text, Path::new("hublatch.toml"), owned)
}

/// What is wrong with a configuration that must not load, as an operator reads it.
fn complaint(outcome: Result<Config, Faults>) -> String {
    outcome.expect_err("a configuration that must be refused").to_string()
}

fn sha256_line(text: &str) -> String {
    KeyDigest::of(text.as_bytes()).to_string()
}

/// Every `sha256:` and 64 hex digits in `text`.
fn digests_in(text: &str) -> Vec<String> {
    let is_digest = |hex: &str| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let hexes = text.split("sha256:").skip(1).filter_map(|rest| rest.get(..64)).filter(|hex| is_digest(hex));
    hexes.map(|hex| format!("sha256:{hex}")).collect()
}

/// A shipped file as an operator would finish it: digests of real keys, and the path of a real key.
fn finished(path: &str, directory: &TempDir) -> String {
    let mut text = text_of(path);
    for (index, documented) in digests_in(&text).into_iter().enumerate() {
        text = text.replace(&documented, &sha256_line(&format!("key {index} of this test")));
    }
    let key = signing_key_file(directory, 0o600);
    text.replace("/etc/hublatch/assertion.key.pem", key.to_str().expect("a path in UTF-8"))
}

fn signing_key_file(directory: &TempDir, mode: u32) -> PathBuf {
    file(directory, "assertion.key.pem", &signing_key(), mode)
}

fn file(directory: &TempDir, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, text).expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set permissions");
    path
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

mod files {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_one_fault() {
        let directory = directory();
        let absent = directory.path().join("absent.toml");
        let wrong = complaint(load(&absent, []));
        assert!(
            wrong.starts_with(&format!("{}: cannot read the configuration: ", absent.display())),
            "{wrong}"
        );
        assert!(complaint(load(directory.path(), [])).contains("cannot read the configuration"));
        assert!(complaint(load(Path::new("/dev/zero"), [])).contains("longer than 1 MiB"));

        let latin1 = directory.path().join("latin1.toml");
        fs::write(&latin1, b"# one\n# caf\xe9\n").expect("write");
        assert!(
            complaint(load(&latin1, []))
                .contains("latin1.toml:2: cannot read the configuration: this line is")
        );
    }

    #[test]
    fn windows_line_ends_keep_their_lines() {
        let text = format!("{MINIMAL}\n[login]\nlifetime = \"30\"\n").replace('\n', "\r\n");
        assert!(complaint(loaded(&text)).starts_with("hublatch.toml:11: login.lifetime"));
    }
}

mod meanings {
    use super::*;

    #[test]
    fn a_digest_is_that_of_the_whole_text_of_a_key() {
        let hex: String = digest(&SHA256, b"a key")
            .as_ref()
            .iter()
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let own = digests_in(MINIMAL).remove(0);
        let config = loaded(&MINIMAL.replace(&own, &format!("sha256:{hex}"))).expect("valid");
        assert!(config.apps[0].keys[0].0.matches(&KeyDigest::of(b"a key")));
    }

    #[test]
    fn an_app_lives_within_login_max_lifetime() {
        let config = loaded(&format!("{MINIMAL}\n[login]\nmax_lifetime = \"45s\"\n")).expect("valid");
        assert_eq!(config.apps[0].max_lifetime.as_secs(), 45);
        assert_eq!(config.apps[0].scopes, [Scope::Issue, Scope::Read, Scope::Revoke]);
        assert_eq!(config.apps[0].deny_usernames, ["admin"]);
    }

    #[test]
    fn port_zero_is_never_the_same_address() {
        let text = format!("[management]\nlisten = \"127.0.0.1:0\"\n{MINIMAL}")
            .replace("[public]\n", "[public]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n");
        assert!(loaded(&text).is_ok());
    }

    #[test]
    fn unwise_settings_are_told() {
        let text = format!("{MINIMAL}\n[login]\nconfirm = \"never\"\n")
            .replace("[public]\n", "[public]\nlisten = \"0.0.0.0:8000\"\n");
        let warnings = loaded(&text).expect("valid").warnings;
        let told = |word: &str| warnings.iter().any(|warning| warning.contains(word));
        assert_eq!(warnings.len(), 4, "{warnings:#?}");
        assert!(
            told("no [assertion]") && told("public.url is http") && told("\"never\"") && told("\"memory:\"")
        );
    }

    #[test]
    fn a_tls_front_whose_address_is_not_written_is_told() {
        let https = MINIMAL.replace("http://127.0.0.1:8000", "https://hub.example.org");
        let trusting = https.replace("[public]\n", "[public]\ntrusted_proxies = [\"192.0.2.7\"]\n");
        for (text, told) in [(https.as_str(), true), (&trusting, false), (MINIMAL, false)] {
            let warnings = loaded(text).expect("valid").warnings;
            let is_told = warnings.iter().any(|warning| warning.contains("that of the TLS front"));
            assert_eq!(is_told, told, "{text}: {warnings:#?}");
        }
    }

    #[test]
    fn tunnels_that_could_take_all_connections_to_a_server_are_told() {
        let routed = "\n[routes]\n";
        for (more, told) in [
            (format!("{routed}[limits]\nroute_tunnels = 1000\n"), true),
            (format!("{routed}[limits]\nroute_connections = 500\n"), true),
            (format!("{routed}[limits]\nroute_connections = 501\n"), false),
            (routed.to_owned(), false),
            ("\n[limits]\nroute_tunnels = 1000\n".to_owned(), false),
        ] {
            let warnings = loaded(&format!("{MINIMAL}{more}")).expect("valid").warnings;
            let is_told = warnings.iter().any(|warning| warning.contains("limits.route_tunnels"));
            assert_eq!(is_told, told, "{more}: {warnings:#?}");
        }
    }

    #[test]
    fn http_on_loopback_is_nothing_to_warn_of() {
        let warnings = loaded(MINIMAL).expect("valid").warnings;
        assert!(!warnings.iter().any(|warning| warning.contains("public.url is http")), "{warnings:?}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_loading_panic(text in "\\PC*") {
        _ = loaded(&text);
    }

    #[test]
    fn no_value_makes_loading_panic(key in key(), value in value(), variable in any::<String>()) {
        _ = loaded(&format!("{MINIMAL}\n{key} = {value}\n"));
        _ = loaded(&format!("{key} = {value}\n{MINIMAL}\n"));
        _ = with_variables(MINIMAL, &[(&key.to_uppercase(), &value), (&format!("HUBLATCH_{variable}"), &variable)]);
    }

    #[test]
    fn no_damage_to_the_reference_makes_loading_panic(at in 0..8000_usize, length in 0..40_usize, new in "\\PC{0,8}") {
        let mut text = text_of("config/reference.toml");
        let begin = text.floor_char_boundary(at);
        let end = text.floor_char_boundary(begin + length);
        text.replace_range(begin..end.max(begin), &new);
        _ = loaded(&text);
    }
}

/// Keys of every kind: right, nested, quoted.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        "(public|management|hub|login|assertion|store|limits|log|apps)\\.(listen|url|base_url|lifetime|usernames|key|level)",
        "[a-z.]{1,12}",
        "\"\\PC{0,6}\"",
        "HUBLATCH_(LOGIN|HUB|LIMITS|EMBED)__[A-Z_]{0,12}",
    ]
}

/// Values of every type, with what parsers stumble over.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "'[^'\\p{C}]{0,20}'",
        "-?[0-9]{1,25}(ms|s|h|KiB)?",
        "'[0-9]{1,25}(ms|s|m|h|B|KiB|GiB|/s)'",
        "'(http|https|unix|redis):(//)?[a-z\\[\\]:0-9@/?#%é.]{0,20}'",
        "\\[('[a-z:/.0-9]{0,9}',){0,3}\\]",
        "\\{ [a-z]{1,4} = [0-9] \\}",
        "(true|false|nan|inf|1e400|0x7f|0o17|2026-01-01|12:00:00)",
    ]
}
