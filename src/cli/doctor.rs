//! `hublatch doctor`: tests a running deployment from outside and from inside, and says what to change.
//!
//! It changes nothing at a sound hub. At one that believes a bare identity header it may create a user, whose name says
//! what it is. Only with `--user` is anybody logged in.

mod files;
mod finding;
mod hub;
mod login;
mod management;
mod oauth;
mod public;
mod role;
mod routing;
mod spoof;
mod store;

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use clap::Args;

use super::call::CallTarget;
use super::{ConfigArg, Exit, block_on, fail, load, print};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Source};
use crate::tls::{Connector, Roots};
use finding::{Finding, Grade};

/// What is to be tested.
#[derive(Debug, Args)]
#[command(
    after_help = "One line a finding: ok, warn, unsafe, failed or skipped; what was tried - what happened - what to change. \
                  Exit 1 if anything is unsafe or failed. A login is tried with --user and an app's key in \
                  HUBLATCH_API_KEY or in the file HUBLATCH_API_KEY_FILE."
)]
pub struct DoctorArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// A user for a test: is logged in by a link, and out again
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The hub's copy of the public key [default: assertion.pub.pem beside the configuration]
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// Authorities to trust at public.url, PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// Of everything that is asked of the hub itself, where nothing says where that is.
const HUB_UNKNOWN: &str = "where the hub is, is not known: the routing table tells it, or hub.url (http://127.0.0.1:8081 by default)";

/// The deployment under test.
struct Deployment {
    config: Config,
    source: Source,
    clock: Arc<dyn Clock>,
    hub: CallTarget,
    /// What browsers talk to; or why it cannot be asked.
    public: Result<CallTarget, String>,
    /// A user name that nobody has.
    stranger: String,
}

impl Deployment {
    /// Whether it is known where the hub is; `routing.rs` says why not.
    fn knows_hub(&self) -> bool {
        !self.hub.name().is_empty()
    }

    /// A path of the hub.
    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.config.hub.base_url)
    }
}

/// Tries everything and prints what was found.
pub fn run(args: &DoctorArgs) -> Exit {
    let source = args.config.clone().source();
    let config = match load(&source) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let mut deployment = match deployment(args, config, source) {
        Ok(deployment) => deployment,
        Err(reason) => return fail("doctor", &reason),
    };
    let all = RefCell::new(Vec::new());
    // https://no-color.org: whoever sets it to anything wants none.
    let plain =
        !std::io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
    let line = |finding: &Finding| if plain { finding.to_string() } else { finding.coloured() };
    // As found: a hub that hangs holds up nothing but what is asked of it.
    let tell = |findings: Vec<Finding>| {
        let printed = args.json || findings.iter().all(|finding| print(&line(finding)) == Exit::Done);
        all.borrow_mut().extend(findings);
        printed
    };
    if let Err(error) = block_on(examine(args, &mut deployment, &tell)) {
        return fail("doctor", &error.to_string());
    }
    let findings = all.into_inner();
    let printed = if args.json {
        serde_json::to_string_pretty(&findings).map_or(Exit::Failed, |json| print(&json))
    } else {
        Exit::Done
    };
    let is_bad = findings.iter().any(|finding| matches!(finding.grade, Grade::Unsafe | Grade::Failed));
    if is_bad { Exit::Failed } else { printed }
}

fn deployment(args: &DoctorArgs, config: Config, source: Source) -> Result<Deployment, String> {
    let public = &config.public.url;
    let tls = if public.secure { public_tls(args, public.host()).map(Some) } else { Ok(None) };
    let mut bytes = [0_u8; 4];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the operating system gave no random bytes")?;
    Ok(Deployment {
        hub: CallTarget::hub(&config)?,
        public: tls.and_then(|tls| CallTarget::public(&config, tls)),
        source,
        clock: Arc::new(SystemClock::new()),
        stranger: format!("hublatch-doctor-{:08x}", u32::from_be_bytes(bytes)),
        config,
    })
}

fn public_tls(args: &DoctorArgs, host: &str) -> Result<Connector, String> {
    let roots = match &args.ca_file {
        None => Roots::of_system().map_err(|_| "this system trusts no authority; name one by --ca-file")?,
        Some(path) => {
            let pem = std::fs::read(path).map_err(|error| format!("read {}: {error}", path.display()))?;
            Roots::from_pem(&pem).map_err(|error| format!("{}: {error}", path.display()))?
        }
    };
    Connector::to(host, roots).map_err(|error| format!("{host} {error}"))
}

/// What is near at hand first, then what is asked of others, all at once; a login comes last. `tell` prints.
async fn examine(args: &DoctorArgs, deployment: &mut Deployment, tell: &impl Fn(Vec<Finding>) -> bool) {
    // First, because the routing table says where the hub is.
    tell(routing::examine(deployment).await);
    let deployment = &*deployment;
    tell(files::examine(deployment, args.public_key.as_deref()));
    tell(store::examine(deployment));
    let hub = async {
        let hub = hub::examine(deployment).await;
        let answers = !hub.iter().any(|finding| finding.grade == Grade::Failed);
        tell(hub);
        if answers && deployment.knows_hub() {
            tell(oauth::examine(deployment).await.into_iter().collect());
        }
        tell(if answers {
            spoof::examine(deployment, args.user.as_deref()).await
        } else {
            vec![Finding::skipped("an identity without a proof", "the hub does not answer")]
        });
    };
    let role = async { tell(role::examine(deployment).await) };
    let management = async { tell(management::examine(deployment).await) };
    let public = async {
        let (public, leads) = public::examine(deployment).await;
        tell(public);
        leads
    };
    let ((), _, _, leads) = tokio::join!(hub, role, management, public);
    tell(login::examine(deployment, args.user.as_deref(), leads).await);
}
