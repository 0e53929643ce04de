//! One hublatch process: started, killed without warning, started again on the same store.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, mpsc};
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use hublatch::token::AppKey;
use serde_json::Value;

/// How long a process may take to start or to die, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// A hublatch, alive or not.
pub struct Node {
    config: PathBuf,
    running: Mutex<Running>,
    /// Further variables and arguments, for one that is to die by itself.
    start: Box<dyn Fn(&Path) -> Command + Send + Sync>,
}

struct Running {
    child: Child,
    addresses: Addresses,
}

/// Where a living one listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub public: SocketAddr,
    pub management: SocketAddr,
}

/// What all nodes of one deployment share.
pub struct Deployment {
    pub folder: PathBuf,
    pub key: AppKey,
}

impl Deployment {
    pub fn new(folder: &Path) -> Self {
        let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
        write_secret(&folder.join("assertion.key.pem"), &pem);
        Self { folder: folder.to_owned(), key: AppKey::generate(&SystemRandom::new()).unwrap() }
    }

    /// Writes a configuration before `hub` with the store `store_url`; answers its path.
    pub fn configure(&self, name: &str, hub: SocketAddr, store_url: &str) -> PathBuf {
        let folder = self.folder.display();
        let digest = self.key.digest();
        let text = format!(
            "[public]\nlisten = \"127.0.0.1:0\"\nurl = \"http://hub.test\"\nthreads = 2\n\
             [management]\nlisten = \"127.0.0.1:0\"\n[hub]\nurl = \"http://{hub}\"\n\
             [login]\nconfirm = \"never\"\n\
             [assertion]\nkey_file = \"{folder}/assertion.key.pem\"\n[store]\nurl = \"{store_url}\"\n\
             [limits]\nunknown_tokens_per_minute = 0\n\
             [log]\naccess = false\naudit = \"{folder}/{name}.audit\"\n\
             [[apps]]\nname = \"portal\"\nkeys = [\"{digest}\"]\nrate = \"1000000/s\"\nmax_live_links = 1000000\n"
        );
        let path = self.folder.join(format!("{name}.toml"));
        write_secret(&path, &text);
        path
    }
}

fn write_secret(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// `hublatch serve` with this configuration.
pub fn serve(config: &Path) -> Command {
    let binary = std::env::var_os("HUBLATCH_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_hublatch").into());
    let mut command = Command::new(binary);
    command.arg("serve").arg("--config").arg(config);
    command
}

impl Node {
    pub fn start(config: PathBuf, start: impl Fn(&Path) -> Command + Send + Sync + 'static) -> Self {
        let running = Mutex::new(launch(start(&config)));
        Self { config, running, start: Box::new(start) }
    }

    pub fn addresses(&self) -> Addresses {
        self.lock().addresses
    }

    /// Ends it without warning, as a power cut or the kernel does.
    pub fn kill(&self) {
        let mut running = self.lock();
        running.child.kill().unwrap();
        running.child.wait().unwrap();
    }

    /// The signal that ended it; waits for the end.
    pub fn died_by(&self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt as _;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.lock().child.try_wait().unwrap() {
                return status.signal();
            }
            assert!(Instant::now() < deadline, "it was to die");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Starts it again after its death, as `start` says now.
    pub fn start_again(&self) {
        let mut running = self.lock();
        *running = launch((self.start)(&self.config));
    }

    /// The same by another command.
    pub fn start_as(&self, command: impl FnOnce(&Path) -> Command) {
        let mut running = self.lock();
        *running = launch(command(&self.config));
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let running = self.running.get_mut().unwrap();
        let _dead_already = running.child.kill();
        let _reaped = running.child.wait();
    }
}

/// Starts it, and waits until it says where it listens.
fn launch(mut command: Command) -> Running {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    // Read to its end, so that it is never made to wait; of interest are the first words only.
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        stderr.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
    });
    let (mut public, mut management, mut said) = (None, None, String::new());
    let deadline = Instant::now() + PATIENCE;
    while let (None, _) | (_, None) = (public, management) {
        let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
            let _dead_already = child.kill();
            let _reaped = child.wait();
            panic!("hublatch does not start: {said}");
        };
        let json: Value = serde_json::from_str(&line).unwrap_or_default();
        let address = json["address"].as_str().and_then(|address| address.parse().ok());
        match json["listener"].as_str() {
            Some("public") => public = address,
            Some("management") => management = address,
            _ => said += &line,
        }
    }
    let addresses = Addresses { public: public.unwrap(), management: management.unwrap() };
    Running { child, addresses }
}
