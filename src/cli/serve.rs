//! `hublatch serve`: the process around the parts: its log, its limits, its signals.

mod supervisor;
mod watch;

use std::pin::pin;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Exit, fail, judge, read};
use crate::app::{self, Dependencies, Running};
use crate::config::{Config, Limits, LogFormat, Reading, Source};
use crate::logging;
use crate::server::inherited::Inherited;
use supervisor::Watchdog;

/// Runs until a signal ends it.
pub fn run(source: &Source) -> Exit {
    // Before the first secret is read.
    if let Err(error) = forbid_core_files() {
        return fail("serve", &format!("turn core files off: {error}"));
    }
    let Reading { outcome, files } = read(source);
    let config = match judge(outcome) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let inherited = match Inherited::from_environment() {
        Ok(inherited) => inherited,
        Err(error) => return fail("serve", &format!("take the sockets of LISTEN_FDS: {error}")),
    };
    let log = logging::start(config.log.format == LogFormat::Json, config.log.level);
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
    let reload = match watch::start(source, files, running.reloader()) {
        Ok(reload) => reload,
        Err(error) => return fail("serve", &format!("start a thread: {error}")),
    };
    supervisor::ready();
    let ended = until_signalled(running, &reload);
    drop(log);
    ended
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
    // It fails where a sandbox forbids it; then what there is has to do.
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

/// The first signal drains, the second ends the process at once.
fn until_signalled(running: Running, reload: &watch::Reload) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail("serve", &format!("start a runtime: {error}")),
    };
    runtime.block_on(async {
        let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()))
        else {
            return fail("serve", "cannot listen to signals");
        };
        let (shutdown, reloader) = (running.shutdown().clone(), Arc::clone(running.reloader()));
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
                }
                _ = hangup.recv() => reload.ask(),
                () = &mut watchdog => {}
                _ = &mut ended => {
                    tracing::info!("ended");
                    return Exit::Done;
                }
            }
        }
    })
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
