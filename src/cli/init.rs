//! `hublatch init`: writes a working configuration and its keys, and prints what the hub needs. It never overwrites.

mod addresses;
mod kubernetes;

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
    #[arg(long, value_name = "URL", help = HUB_URL_HELP, required_unless_present = "proxy", default_value = "")]
    #[arg(hide_default_value = true)]
    hub_url: String,
    /// hublatch takes the place of the hub's own proxy, which the hub starts
    #[arg(long)]
    proxy: bool,
    /// The application's own page: where people come from, and get back to
    #[arg(long, value_name = "URL")]
    app_url: Option<String>,
    /// The name of the application or of you who run it, at the head of our pages
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Links may start servers (hublatch then calls the Hub API)
    #[arg(long)]
    launch: bool,
    /// Where to listen for browsers, or for the TLS front before hublatch
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Also write objects.yaml (a Secret and a config map of this name) and values.yaml for the Helm chart
    #[arg(long, value_name = "NAME", value_parser = kubernetes_name, conflicts_with = "proxy")]
    kubernetes: Option<String>,
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
        Ok(()) => print(&next_steps(args)),
        Err(reason) => fail("init", &reason),
    }
}

fn write(args: &InitArgs) -> Result<(), String> {
    let random = SystemRandom::new();
    let failed = |error: crate::token::NoRandomness| error.to_string();
    let key = AppKey::generate(&random).map_err(failed)?;
    let config = configuration(args, &key.digest())?;
    let (private, public) = assertion_keys(&random)?;
    let key_line = Zeroizing::new(format!("{}\n", key.expose()));
    // 256 random bits, like any key of ours.
    let hub_token = AppKey::generate(&random).map_err(failed)?;
    let hub_token = Zeroizing::new(format!("{}\n", hub_token.expose()));
    let mut files = vec![
        NewFile { name: "hublatch.toml", mode: 0o644, content: config.as_bytes() },
        NewFile { name: "assertion.key.pem", mode: 0o600, content: private.as_bytes() },
        NewFile { name: "assertion.pub.pem", mode: 0o644, content: public.as_bytes() },
        NewFile { name: "hublatch_authenticator.py", mode: 0o644, content: AUTHENTICATOR.as_bytes() },
        NewFile { name: "app.key", mode: 0o600, content: key_line.as_bytes() },
    ];
    if args.launch {
        files.push(NewFile { name: "hub.token", mode: 0o600, content: hub_token.as_bytes() });
    }
    let kubernetes =
        args.kubernetes.as_ref().map(|name| kubernetes::files(name, args, &private, &public, &key));
    if let Some((objects, values)) = &kubernetes {
        files.push(NewFile { name: "objects.yaml", mode: 0o600, content: objects.as_bytes() });
        files.push(NewFile { name: "values.yaml", mode: 0o644, content: values.as_bytes() });
    }
    make(&args.dir).map_err(|error| format!("make {}: {error}", args.dir.display()))?;
    create_all(&args.dir, &files)
}

/// A name of an object (RFC 1123): lower-case letters, digits and `-`.
fn kubernetes_name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.len() <= 40
        && !text.ends_with('-')
        && text.bytes().all(plain);
    if is_name { Ok(text.to_owned()) } else { Err("write lower-case letters, digits and \"-\"".to_owned()) }
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
        // A symbolic link that leads nowhere counts as a file that is there.
        if path.symlink_metadata().is_ok() {
            return Err(format!("{} is there already; nothing was written", path.display()));
        }
    }
    let mut created = Vec::with_capacity(files.len());
    for file in files {
        let path = dir.join(file.name);
        if let Err(error) = create(&path, file, &mut created) {
            for path in &created {
                // If a file cannot be removed again, the error that is reported names it anyway.
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
    // The umask can have taken permissions away, but not added any.
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
    let management = quoted(&management_listen(public, &hub, args.proxy).to_string());
    let listen = quoted(&args.listen.clone().unwrap_or_else(|| public.to_string()));
    let url = quoted(&args.public_url);
    let mut head = format!(
        "# Written by `hublatch init`. Every key and its default: `hublatch reference`.
# `hublatch check --config FILE` tells what a change has broken.

[public]
listen = {listen}
url = {url} # what browsers type

[management]
listen = {management} # the API, /ready and /metrics: for programs, never for browsers
"
    );
    if args.proxy {
        head.push_str(
            "\n[routes] # hublatch is the hub's own proxy: the hub starts it and tells it the routes\n",
        );
    }
    let mut hub_section = if args.proxy {
        String::new()
    } else {
        let (hub, base_url) = (quoted(&hub), quoted(&base_url));
        format!("url = {hub} # the hub's own public proxy\nbase_url = {base_url}\n")
    };
    if args.launch && args.proxy {
        hub_section.push_str("api_url = \"http://127.0.0.1:8081/hub/api\" # c.JupyterHub.hub_bind_url\n");
    }
    let token = "api_token_file = \"hub.token\" # of the hub's service \"hublatch\"\n";
    let login = args.app_url.as_ref().map(|url| format!("\n[login]\napp_url = {}\n", quoted(url)));
    let pages = args.name.as_ref().map(|name| format!("\n[pages]\nname = {}\n", quoted(name)));
    let rest = format!("{}{}", login.unwrap_or_default(), pages.unwrap_or_default());
    let assertion = "
[assertion]
key_file = \"assertion.key.pem\" # beside this file; its public half, assertion.pub.pem, is for the hub
";
    let apps = format!(
        "
[[apps]]
name = \"portal\"
keys = [\"{key}\"] # the digest of the key in app.key
"
    );
    let section = |lines: &str| if lines.is_empty() { String::new() } else { format!("\n[hub]\n{lines}") };
    // Without the files that are not there yet.
    let draft = format!("{head}{}{rest}{apps}", section(&hub_section));
    config::load_str(&draft, &args.dir.join("hublatch.toml"), []).map_err(|faults| {
        let lines = faults.iter().map(|fault| match fault.key.as_str() {
            "public.listen" if args.listen.is_some() => format!("--listen: {}", fault.message),
            "public.url" | "public.listen" => format!("--public-url: {}", fault.message),
            "hub.url" | "hub.base_url" => format!("--hub-url: {}", fault.message),
            "login.app_url" => format!("--app-url: {}", fault.message),
            "pages.name" => format!("--name: {}", fault.message),
            _ => fault.to_string(),
        });
        lines.collect::<Vec<_>>().join("\n")
    })?;
    if args.launch {
        hub_section.push_str(token);
    }
    Ok(format!("{head}{}{rest}{assertion}{apps}", section(&hub_section)))
}

/// A basic string of TOML: JSON's escapes are among its own.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn next_steps(args: &InitArgs) -> String {
    let dir = fs::canonicalize(&args.dir).unwrap_or_else(|_| args.dir.clone());
    let dir = dir.to_string_lossy();
    let path = |name: &str| quoted(&format!("{dir}/{name}"));
    let config = format!("{dir}/hublatch.toml");
    let head = format!(
        "Wrote the configuration and its keys into\n{dir}\n\nThe key of the app \"portal\" is in app.key.\n"
    );
    if let Some(name) = &args.kubernetes {
        return format!(
            "{head}\nThe next two commands, in the namespace of the hub:\n\n    kubectl apply -f {dir}/objects.yaml\n    \
             helm upgrade --install {name} config/helm/hublatch --values {dir}/values.yaml\n\ndocs/install.md has the \
             hub's side: it mounts the ConfigMap \"{name}-hub\"."
        );
    }
    let service = if args.launch {
        format!(
            "    c.JupyterHub.services = [{{\"name\": \"hublatch\", \"api_token\": open({}).read().strip()}}]\n    \
             c.JupyterHub.load_roles = [{{\"name\": \"hublatch\", \"services\": [\"hublatch\"], \"scopes\": \
             [\"servers\", \"admin:users\"]}}]\n",
            path("hub.token")
        )
    } else {
        String::new()
    };
    if args.proxy {
        return format!(
            "{head}\nInstall hublatch's Python package where the hub is, and paste into jupyterhub_config.py:\n\n    \
             c.JupyterHub.proxy_class = \"hublatch\"\n    c.HublatchProxy.config_file = {}\n    \
             c.JupyterHub.authenticator_class = \"hublatch\"\n    c.JupyterHub.bind_url = {}\n    \
             c.Authenticator.allow_all = True  # or allowed_users, as always\n{service}\nThe next commands (the hub starts \
             hublatch; it must be able to read the files):\n\n    hublatch check --config {config}\n    jupyterhub\n    \
             hublatch doctor --config {config}",
            path("hublatch.toml"),
            proxy_bind_url(&args.public_url),
        );
    }
    let (public_key, place) = (path("assertion.pub.pem"), quoted(&dir));
    let proxy_api = proxy_api(&args.public_url, &args.hub_url).unwrap_or_default();
    let (hub, _) = hub_and_base(&args.hub_url);
    let bind_url = if addresses::is_here(&hub) && !hub.starts_with("unix:") {
        format!(
            "    c.JupyterHub.bind_url = {}  # the hub's own proxy, out of hublatch's way\n",
            quoted(&args.hub_url)
        )
    } else {
        String::new()
    };
    format!(
        r#"{head}
Paste into jupyterhub_config.py (the hub must be able to read the two files it names, and no other of these):

    import sys
    sys.path.insert(0, {place})  # where hublatch_authenticator.py is
    c.JupyterHub.authenticator_class = "hublatch_authenticator.HublatchAuthenticator"
    c.HublatchAuthenticator.public_key_file = {public_key}
    c.HublatchAuthenticator.audience = "jupyterhub"
    c.Authenticator.allow_all = True  # or allowed_users, as always
{bind_url}{proxy_api}{service}
Then restart the hub. The next two commands:

    hublatch serve --config {config}
    hublatch doctor --config {config}"#
    )
}

/// Where the hub's proxy listens: behind a TLS front, or where browsers are.
fn proxy_bind_url(public_url: &str) -> String {
    if public_url.starts_with("https:") {
        "\"http://127.0.0.1:8000\"  # behind your TLS front; or https, with ssl_cert and ssl_key".to_owned()
    } else {
        quoted(public_url)
    }
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
