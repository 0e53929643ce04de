//! A deployment for the doctor: a hublatch and a hub in this process, and the configuration that it reads.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{Outcome, hublatch, run};
use crate::support::hub::free_port;
use crate::support::{FakeHub, TestProxy};
use crate::tls::certificates::Authority;

/// A deployment that is sound until a test changes something.
pub struct Deployment {
    pub hub: FakeHub,
    pub proxy: TestProxy,
    pub authority: Authority,
    pub dir: TempDir,
    pub key_pem: String,
}

/// What the doctor said.
pub struct Findings {
    pub code: Option<i32>,
    pub list: Vec<Value>,
}

impl Findings {
    /// Grade, what happened and what to change of the only finding in whose `tried` is `about`.
    pub fn about(&self, about: &str) -> (&str, &str, &str) {
        let text = |finding: &'_ Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        let found: Vec<&Value> = self.list.iter().filter(|one| text(one, "tried").contains(about)).collect();
        let [one] = found[..] else { panic!("{} findings about {about}: {:#?}", found.len(), self.list) };
        let text = |name: &str| one[name].as_str().unwrap_or_default();
        (text("grade"), text("happened"), text("change"))
    }

    /// How many say that something does not work.
    pub fn failures(&self) -> usize {
        self.list.iter().filter(|one| one["grade"] == "failed").count()
    }

    pub fn assert(&self, about: &str, grade: &str, words: &str) {
        let (found, happened, change) = self.about(about);
        assert_eq!(found, grade, "{about}: {happened}");
        assert!(happened.contains(words) || change.contains(words), "{about}: {happened}; {change}");
        assert_eq!(["warn", "unsafe", "failed"].contains(&grade), !change.is_empty(), "{about}: {change}");
        if ["unsafe", "failed"].contains(&grade) {
            assert_eq!(self.code, Some(1), "{about}");
        }
    }
}

impl Deployment {
    pub fn new() -> Self {
        Self::with(false)
    }

    pub fn with(secure: bool) -> Self {
        Self::with_login(secure, "")
    }

    /// `login`: lines of that section of the running hublatch.
    pub fn with_login(secure: bool, login: &str) -> Self {
        let hub = FakeHub::start();
        let authority = Authority::new("public");
        let scheme = if secure { "https" } else { "http" };
        let (public, management) = (free_port(), free_port());
        let tls = if secure { authority.files().toml() } else { String::new() };
        let builder = TestProxy::before(&hub)
            .public_url(&format!("{scheme}://127.0.0.1:{public}"))
            .set("login", login)
            .set("public", &format!("listen = \"127.0.0.1:{public}\"\n{tls}"))
            .set("management", &format!("listen = \"127.0.0.1:{management}\""));
        let key_pem = builder.section("assertion").trim_start_matches("key = ").trim_end().to_owned();
        let proxy = builder.start();
        hub.accounts(|accounts| accounts.speaks = true);
        let deployment = Self { hub, proxy, authority, dir: TempDir::new().unwrap(), key_pem };
        deployment.write("", "", &tls);
        deployment
    }

    /// hublatch as the hub's own proxy. `is_open`: whoever is on this machine can write its routes.
    pub fn routed(is_open: bool) -> Self {
        let hub = FakeHub::start();
        let (public, management, hub_api) = (free_port(), free_port(), free_port());
        let hub_api = format!("hub_api_listen = \"127.0.0.1:{hub_api}\"");
        let mut builder = TestProxy::before(&hub)
            .routed()
            .public_url(&format!("http://127.0.0.1:{public}"))
            .set("public", &format!("listen = \"127.0.0.1:{public}\""))
            .set("management", &format!("listen = \"127.0.0.1:{management}\""))
            .set("routes", &hub_api);
        if is_open {
            builder = builder.section_is("routes", &hub_api);
        }
        let key_pem = builder.section("assertion").trim_start_matches("key = ").trim_end().to_owned();
        let routes = builder.section("routes");
        let proxy = builder.start();
        hub.accounts(|accounts| accounts.speaks = true);
        proxy.add_route("/", &hub.url(), r#""hub":true"#);
        proxy.add_route("/user/alice", "http://127.0.0.1:9", r#""user":"alice""#);
        let deployment =
            Self { hub, proxy, authority: Authority::new("public"), dir: TempDir::new().unwrap(), key_pem };
        deployment.write_routed(&routes);
        deployment
    }

    /// The configuration that the doctor reads, with these lines of `[routes]`.
    pub fn write_routed(&self, routes: &str) {
        let (origin, listen, management) =
            (self.proxy.origin(), self.proxy.address(), self.proxy.management());
        let digest = hublatch::token::KeyDigest::of(self.proxy.key().as_bytes());
        let text = format!(
            "[public]\nlisten = \"{listen}\"\nurl = \"{origin}\"\n[management]\nlisten = \"{management}\"\n\
             [routes]\n{routes}\n[assertion]\nkey = {}\n[[apps]]\nname = \"portal\"\nkeys = [\"{digest}\"]\n",
            self.key_pem
        );
        fs::write(self.file(), text).unwrap();
        fs::set_permissions(self.file(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn file(&self) -> PathBuf {
        self.dir.path().join("hublatch.toml")
    }

    /// The configuration that the doctor reads: the running one, with `hub` and `more` besides.
    pub fn write(&self, hub: &str, more: &str, public: &str) {
        let origin = self.proxy.origin();
        self.write_with(origin, &self.proxy.management().to_string(), hub, more, public);
    }

    pub fn write_with(&self, url: &str, management: &str, hub: &str, more: &str, public: &str) {
        let (listen, hub_url) = (self.proxy.address(), self.hub.url());
        let digest = hublatch::token::KeyDigest::of(self.proxy.key().as_bytes());
        let hub = if hub.starts_with("url") { hub.to_owned() } else { format!("url = \"{hub_url}\"\n{hub}") };
        let text = format!(
            "[public]\nlisten = \"{listen}\"\nurl = \"{url}\"\n{public}\n[management]\nlisten = \"{management}\"\n\
             [hub]\n{hub}\n[assertion]\nkey = {}\n[[apps]]\nname = \"portal\"\nkeys = [\"{digest}\"]\n{more}\n",
            self.key_pem
        );
        fs::write(self.file(), text).unwrap();
        fs::set_permissions(self.file(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn outcome(&self, words: &[&str]) -> Outcome {
        self.outcome_with_key(Some(self.proxy.key()), words)
    }

    fn outcome_with_key(&self, key: Option<&str>, words: &[&str]) -> Outcome {
        let file = self.file();
        let mut command = hublatch(&[&["doctor", "--config", file.to_str().unwrap()], words].concat());
        command.env("http_proxy", "http://127.0.0.1:1");
        if let Some(key) = key {
            command.env("HUBLATCH_API_KEY", key);
        }
        run(command)
    }

    pub fn doctor(&self, words: &[&str]) -> Findings {
        self.doctor_with_key(Some(self.proxy.key()), words)
    }

    /// With this app's key in the environment, or none.
    pub fn doctor_with_key(&self, key: Option<&str>, words: &[&str]) -> Findings {
        let outcome = self.outcome_with_key(key, &[&["--json"], words].concat());
        assert_eq!(outcome.stderr, "");
        let list = serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{}", outcome.stdout));
        Findings { code: outcome.code, list }
    }
}
