//! `hublatch init`: writes a working configuration and its keys, and prints what the hub needs. It never overwrites.

mod addresses;

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use clap::Args;
use zeroize::Zeroizing;

use super::assertion::pem;
use super::{Exit, fail, print};
use crate::config;
use crate::token::{AppKey, KeyDigest};
use addresses::{hub_and_base, management_listen, proxy_api, public_listen};

/// The hub's side, as an operator puts it on the hub's Python path.
const AUTHENTICATOR: &str = include_str!("../../python/hublatch/authenticator.py");

const HUB_URL_HELP: &str = "The hub's own public proxy, such as http://127.0.0.1:8400, with the hub's base_url as its path if it has one";

/// Where and for what.
#[derive(Debug, Args)]
pub struct InitArgs {
    #[arg(long, help = "The directory to write into; it is made if it is not there")]
    dir: PathBuf,
    #[arg(long, value_name = "URL", help = "What browsers type, such as https://hub.example.org")]
    public_url: String,
    #[arg(long, value_name = "URL", help = HUB_URL_HELP)]
    hub_url: String,
}

/// One file to be written.
struct NewFile<'a> {
    name: &'static str,
    mode: u32,
    content: &'a [u8],
}

/// Writes the files and says what comes next.
pub fn run(args: &InitArgs) -> Exit {
    match write(args) {
        Ok(key) => print(&next_steps(args, &key)),
        Err(reason) => fail("init", &reason),
    }
}

fn write(args: &InitArgs) -> Result<AppKey, String> {
    let random = SystemRandom::new();
    let key = AppKey::generate(&random).map_err(|error| error.to_string())?;
    let config = configuration(args, &key.digest())?;
    let (private, public) = assertion_keys(&random)?;
    let key_line = Zeroizing::new(format!("{}\n", key.expose()));
    let files = [
        NewFile { name: "hublatch.toml", mode: 0o644, content: config.as_bytes() },
        NewFile { name: "assertion.key.pem", mode: 0o600, content: private.as_bytes() },
        NewFile { name: "assertion.pub.pem", mode: 0o644, content: public.as_bytes() },
        NewFile { name: "hublatch_authenticator.py", mode: 0o644, content: AUTHENTICATOR.as_bytes() },
        NewFile { name: "app.key", mode: 0o600, content: key_line.as_bytes() },
    ];
    make(&args.dir).map_err(|error| format!("make {}: {error}", args.dir.display()))?;
    create_all(&args.dir, &files)?;
    Ok(key)
}

/// The directory, and those above it that are missing. The hub, which is another user, reads its files there, whatever
/// our umask is; a directory that is there already keeps its mode.
fn make(dir: &Path) -> std::io::Result<()> {
    let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
    let missing: Vec<&Path> = dir.ancestors().take_while(is_missing).collect();
    fs::create_dir_all(dir)?;
    missing.into_iter().try_for_each(|made| fs::set_permissions(made, Permissions::from_mode(0o755)))
}

/// Creates every file, or leaves the directory as it was.
fn create_all(dir: &Path, files: &[NewFile<'_>]) -> Result<(), String> {
    for file in files {
        let path = dir.join(file.name);
        // A dangling link is there too, though what it names is not.
        if path.symlink_metadata().is_ok() {
            return Err(format!("{} is there already; nothing was written", path.display()));
        }
    }
    let mut created = Vec::with_capacity(files.len());
    for file in files {
        let path = dir.join(file.name);
        if let Err(error) = create(&path, file, &mut created) {
            for path in &created {
                // What cannot be taken back is named by the error that is reported anyway.
                let _removed = fs::remove_file(path);
            }
            return Err(format!("write {}: {error}; nothing was left behind", path.display()));
        }
    }
    Ok(())
}

fn create(path: &Path, file: &NewFile<'_>, created: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut handle = OpenOptions::new().write(true).create_new(true).mode(file.mode).open(path)?;
    created.push(path.to_owned());
    // Until here the umask has its say, which can only take permissions away.
    handle.set_permissions(Permissions::from_mode(file.mode))?;
    handle.write_all(file.content)?;
    handle.sync_all()
}

/// A new Ed25519 key: the private half as PKCS#8 (RFC 8410 § 7), the public one as SPKI (§ 4), both in PEM.
fn assertion_keys(random: &SystemRandom) -> Result<(Zeroizing<String>, String), String> {
    let failed = |_| "the Ed25519 key could not be made".to_owned();
    // Version 1: version 2 adds the public half, which OpenSSL before 3.0 does not read.
    let document = Ed25519KeyPair::generate_pkcs8v1(random).map_err(failed)?;
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(document.as_ref())
        .map_err(|error| format!("read the new Ed25519 key: {error}"))?;
    let public = AsDer::<PublicKeyX509Der>::as_der(pair.public_key()).map_err(failed)?;
    Ok((pem("PRIVATE KEY", document.as_ref()), pem("PUBLIC KEY", public.as_ref()).to_string()))
}

/// The text of hublatch.toml. The validator judges it before anything is written.
fn configuration(args: &InitArgs, key: &KeyDigest) -> Result<String, String> {
    let (hub, base_url) = hub_and_base(&args.hub_url);
    let public = public_listen(&args.public_url);
    let management = management_listen(public, &hub);
    let (public, management) = (quoted(&public.to_string()), quoted(&management.to_string()));
    let (url, hub, base_url) = (quoted(&args.public_url), quoted(&hub), quoted(&base_url));
    let head = format!(
        "# Written by `hublatch init`. Every key and its default: config/reference.toml in the source of hublatch.
# `hublatch check --config FILE` tells what a change has broken.

[public]
listen = {public}
url = {url} # what browsers type

[management]
listen = {management} # the API, /ready and /metrics: for programs, never for browsers

[hub]
url = {hub} # the hub's own public proxy
base_url = {base_url}
"
    );
    let assertion = r#"
[assertion]
key_file = "assertion.key.pem" # beside this file; its public half, assertion.pub.pem, is for the hub
"#;
    let apps = format!(
        r#"
[[apps]]
name = "portal"
keys = ["{key}"] # the digest of the key in app.key
"#
    );
    // Without [assertion], whose key is not there yet.
    config::load_str(&format!("{head}{apps}"), &args.dir.join("hublatch.toml"), []).map_err(|faults| {
        let lines = faults.iter().map(|fault| match fault.key.as_str() {
            "public.url" | "public.listen" => format!("--public-url: {}", fault.message),
            "hub.url" | "hub.base_url" => format!("--hub-url: {}", fault.message),
            _ => fault.to_string(),
        });
        lines.collect::<Vec<_>>().join("\n")
    })?;
    Ok(format!("{head}{assertion}{apps}"))
}

/// A basic string of TOML: JSON's escapes are among its own.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn next_steps(args: &InitArgs, key: &AppKey) -> String {
    let dir = fs::canonicalize(&args.dir).unwrap_or_else(|_| args.dir.clone());
    let dir = dir.to_string_lossy();
    let path = |name: &str| quoted(&format!("{dir}/{name}"));
    let (key, public_key, place) = (key.expose(), path("assertion.pub.pem"), quoted(&dir));
    let proxy_api = proxy_api(&args.public_url, &args.hub_url).unwrap_or_default();
    format!(
        r#"Wrote hublatch.toml, assertion.key.pem, assertion.pub.pem, hublatch_authenticator.py and app.key into
{dir}

The key of the app "portal", shown this once; app.key holds it too:

    {key}

Paste into jupyterhub_config.py (the hub must be able to read the two files it names, and no other of these):

    import sys
    sys.path.insert(0, {place})  # where hublatch_authenticator.py is
    c.JupyterHub.authenticator_class = "hublatch_authenticator.HublatchAuthenticator"
    c.HublatchAuthenticator.public_key_file = {public_key}
    c.HublatchAuthenticator.audience = "jupyterhub"
    c.Authenticator.allow_all = True  # or allowed_users, as always
{proxy_api}
Then restart the hub and run

    hublatch serve --config {dir}/hublatch.toml"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_takes_the_others_back() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mine"), "mine").unwrap();
        let file = |name| NewFile { name, mode: 0o600, content: b"x" };
        let outcome = create_all(dir.path(), &[file("one"), file("two"), file("no such directory/three")]);
        assert!(outcome.unwrap_err().contains("three"), "the file is named");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_appears_in_the_meantime_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.key");
        fs::write(&path, "mine").unwrap();
        let mut created = Vec::new();
        let outcome = create(&path, &NewFile { name: "app.key", mode: 0o600, content: b"x" }, &mut created);
        assert_eq!(outcome.unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), created.len()), ("mine", 0));
    }
}
