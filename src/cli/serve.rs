//! `hublatch serve`: the process around the parts: its log, its limits, its signals.

mod supervisor;
mod watch;

use std::io::IsTerminal as _;
use std::pin::pin;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Exit, fail, judge, read};
use crate::app::{self, Dependencies, Running};
use crate::config::{Config, Limits, LogFormat, Reading, Source};
use crate::logging;
use crate::routes::LearntHub;
use crate::server::inherited::Inherited;
use supervisor::Watchdog;

/// Runs until a signal ends it.
pub fn run(source: &Source) -> Exit {
    // Before the first secret is read.
    if let Err(error) = forbid_core_files() {
        return fail("serve", &format!("turn core files off: {error}"));
    }
    let source = source.clone();
    run_by(
        Process::default(),
        Arc::new(move |learnt: &LearntHub| with_learnt(learnt, |more| read(&source, more))),
    )
}

/// Reads the configuration; with what the routing table tells of the hub, where nobody has written it.
pub(super) type Read = Arc<dyn Fn(&LearntHub) -> Reading + Send + Sync>;

/// Tells whoever waits for it that it runs.
pub(super) type Announce = Box<dyn FnOnce(&Running)>;

/// What is different where the hub has started the process.
#[derive(Default)]
pub(super) struct Process {
    /// The ports are free at the first signal: the hub starts the next proxy without waiting for the end of this one.
    pub(super) frees_ports: bool,
    /// Tells whoever has started it that it runs, in the words that they wait for.
    pub(super) announce: Option<Announce>,
}

/// Reads, and once more with what was `learnt`, if nobody has written something else.
pub(super) fn with_learnt(learnt: &LearntHub, read: impl Fn(&[(String, String)]) -> Reading) -> Reading {
    let first = read(&[]);
    let Ok(config) = &first.outcome else { return first };
    if config.routes.is_none() {
        return first;
    }
    let (mut more, mut base) = (Vec::new(), config.hub.base_url.as_str());
    // "/" is the default: an operator who writes nothing wants the one that the table tells.
    if let Some(base_url) = learnt.base_url.as_deref().filter(|base_url| base == "/" && *base_url != "/") {
        more.push(("HUBLATCH_HUB__BASE_URL".to_owned(), base_url.to_owned()));
        base = base_url;
    }
    if let Some(origin) = learnt.origin.as_ref().filter(|_| config.hub.api.is_unknown()) {
        let url = if origin.starts_with("unix:") { origin.clone() } else { format!("{origin}{base}hub/api") };
        more.push(("HUBLATCH_HUB__API_URL".to_owned(), url));
    }
    if more.is_empty() { first } else { read(&more) }
}

/// Runs by what is `read` until a signal ends it.
pub(super) fn run_by(process: Process, by: Read) -> Exit {
    let Reading { outcome, files } = by(&LearntHub::default());
    // Now: until all is started, which may take as long as a store needs, a file may change.
    let watch = watch::Watch::new(files);
    let config = match judge(outcome) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let inherited = match Inherited::from_environment() {
        Ok(inherited) => inherited,
        Err(error) => return fail("serve", &format!("take the sockets of LISTEN_FDS: {error}")),
    };
    // Before anybody can connect: whoever starts this may end it as soon as it listens.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail("serve", &format!("start a runtime: {error}")),
    };
    let Ok(signals) = Signals::listen(&runtime) else { return fail("serve", "cannot listen to signals") };
    let log = logging::start(is_json(config.log.format), config.log.level.clone());
    warn_about(&config);
    let running = match app::start(&config, Dependencies { inherited, ..Dependencies::default() }) {
        Ok(running) => running,
        Err(error) => return fail("serve", &error.to_string()),
    };
    log.count_dropped(running.metrics().log_lines_dropped.clone());
    for address in running.public() {
        tracing::info!(listener = "public", %address, "listening");
    }
    for address in running.redirect() {
        tracing::info!(listener = "redirect", %address, "listening");
    }
    tracing::info!(listener = "management", address = %running.management(), "listening");
    if let Some(address) = running.status() {
        tracing::info!(listener = "status", %address, "listening");
    }
    if let Some(address) = running.routing() {
        tracing::info!(listener = "routes", %address, "listening");
    }
    if let Some(address) = running.hub_api() {
        tracing::info!(listener = "hub_api", %address, "listening");
    }
    if let Some(announce) = process.announce {
        announce(&running);
    }
    let reload = match watch::start(by, watch, &running) {
        Ok(reload) => reload,
        Err(error) => return fail("serve", &format!("start a thread: {error}")),
    };
    supervisor::ready();
    let ended = runtime.block_on(until_signalled(running, signals, &reload, process.frees_ports));
    // The drain is over, or a second signal has come: nothing else is waited for.
    runtime.shutdown_background();
    drop(log);
    ended
}

/// Whether log lines are for programs.
fn is_json(format: LogFormat) -> bool {
    match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    }
}

/// No core file: it would hold live tokens and keys. The flag also keeps other processes of the same user out; the limit
/// holds where a kernel dumps in spite of it.
fn forbid_core_files() -> Result<(), rustix::io::Errno> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
}

/// Tells what is allowed but unwise, once.
fn warn_about(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if rustix::process::geteuid().is_root() {
        tracing::warn!("running as root: give hublatch a user of its own");
    }
    raise_descriptor_limit(&config.limits);
}

/// Takes as many descriptors as it may have.
fn raise_descriptor_limit(limits: &Limits) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // A sandbox may forbid it; then the present limit has to do.
    let _raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let wanted = limits.descriptors();
    let possible = getrlimit(Resource::Nofile).current;
    if possible.is_some_and(|possible| possible < u64::try_from(wanted).unwrap_or(u64::MAX)) {
        tracing::warn!(
            wanted,
            possible,
            "nofile is below what limits.connections, tunnels and upstream_connections may take: raise it, or lower them"
        );
    }
}

/// The signals that mean something here.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen(runtime: &tokio::runtime::Runtime) -> std::io::Result<Self> {
        let _entered = runtime.enter();
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// The first signal drains, the second ends the process at once.
async fn until_signalled(
    running: Running,
    signals: Signals,
    reload: &watch::ReloadTrigger,
    frees_ports: bool,
) -> Exit {
    let Signals { mut terminate, mut interrupt, mut hangup } = signals;
    let (shutdown, reloader) = (running.shutdown().clone(), Arc::clone(running.reloader()));
    let management = running.management_shutdown().clone();
    let mut watchdog = pin!(Watchdog::of_environment().run(running.alive()));
    let mut ended = tokio::task::spawn_blocking(move || running.join());
    loop {
        tokio::select! {
            () = next(&mut terminate, &mut interrupt) => {
                if shutdown.is_draining() {
                    tracing::warn!("second signal: ending at once");
                    return Exit::Failed;
                }
                tracing::info!("draining");
                supervisor::stopping(reloader.drain_timeout());
                shutdown.drain();
                if frees_ports {
                    management.drain();
                }
            }
            _ = hangup.recv() => reload.ask(),
            () = &mut watchdog => {}
            _ = &mut ended => {
                tracing::info!("ended");
                return Exit::Done;
            }
        }
    }
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
