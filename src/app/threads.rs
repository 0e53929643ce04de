//! The threads that serve: each with a runtime and sockets of its own.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::join_all;
use socket2::Socket;
use tokio::runtime::{Handle, Runtime};

use super::snapshot::Live;
use crate::server::listener::{Bound, Listener};
use crate::shutdown::Shutdown;

/// Shorter than any timeout by default.
const BEAT: Duration = Duration::from_secs(1);

/// A thread that serves.
#[derive(Debug)]
pub(super) struct Serving {
    thread: JoinHandle<()>,
    runtime: Handle,
}

impl Serving {
    /// Its runtime.
    pub(super) fn handle(&self) -> Handle {
        self.runtime.clone()
    }

    /// Waits for its end. A thread that panicked has told so itself.
    pub(super) fn join(self) {
        let _joined = self.thread.join();
    }
}

/// Starts the public threads; each takes a socket of every listener.
pub(super) fn public(
    live: &Live,
    threads: usize,
    listeners: Vec<Bound>,
    redirects: Vec<Bound>,
    hub_api: Vec<Bound>,
    shutdown: &Shutdown,
) -> io::Result<Vec<Serving>> {
    let sockets = by_thread(listeners, threads)
        .into_iter()
        .zip(by_thread(redirects, threads))
        .zip(by_thread(hub_api, threads));
    let start = |(number, ((sockets, redirects), of_notebooks))| {
        let (server, proxy) = live.public(number);
        let (redirecting, redirect) = live.redirect();
        let hub_api = live.hub_api(number);
        let shutdown = shutdown.clone();
        let serve = move |runtime: Runtime, [public, redirected, of_notebooks]: [Vec<Listener>; 3]| {
            // A timer that ends before all others makes tokio wake its own thread, by two system calls: with a beat,
            // the timers of a new connection never do.
            runtime.spawn(async {
                let mut beat = tokio::time::interval(BEAT);
                loop {
                    beat.tick().await;
                }
            });
            runtime.block_on(async {
                let public = public.into_iter().map(|listener| server.serve(listener, proxy.clone()));
                let redirected =
                    redirected.into_iter().map(|listener| redirecting.serve(listener, redirect.clone()));
                // In the clear, as the redirects are.
                let of_notebooks =
                    of_notebooks.into_iter().map(|listener| redirecting.serve(listener, hub_api.clone()));
                tokio::join!(join_all(public), join_all(redirected), join_all(of_notebooks));
                shutdown.finish(server.settings().limits.drain_timeout).await;
            });
        };
        spawn(format!("hublatch-{number}"), [sockets, redirects, of_notebooks], serve)
    };
    sockets.enumerate().map(start).collect()
}

/// Starts the management thread.
pub(super) fn management(
    live: &Live,
    listener: Bound,
    [routing, metrics, status]: [Option<Bound>; 3],
    shutdown: &Shutdown,
) -> io::Result<Serving> {
    let (server, api) = live.management();
    let (routing_server, routing_api) = live.routing();
    let counters = live.counters();
    let sessions = live.close_ended_tunnels();
    let (status_server, status_pages) = live.status();
    let shutdown = shutdown.clone();
    let serve = move |runtime: Runtime, [listeners, routing, metrics, status]: [Vec<Listener>; 4]| {
        runtime.block_on(async {
            let all = listeners.into_iter().map(|listener| server.serve(listener, api.clone()));
            let routing =
                routing.into_iter().map(|listener| routing_server.serve(listener, routing_api.clone()));
            let counted =
                metrics.into_iter().map(|listener| routing_server.serve(listener, counters.clone()));
            let status =
                status.into_iter().map(|listener| status_server.serve(listener, status_pages.clone()));
            let until_all_end =
                async { tokio::join!(join_all(all), join_all(routing), join_all(counted), join_all(status)) };
            tokio::select! {
                _ = until_all_end => {}
                () = sessions => {}
            }
            shutdown.finish(Duration::from_secs(1)).await;
        });
    };
    let [routing, metrics, status] =
        [routing, metrics, status].map(|bound| bound.map(Bound::into_sockets).unwrap_or_default());
    spawn("hublatch-management".to_owned(), [listener.into_sockets(), routing, metrics, status], serve)
}

/// Starts a thread with a runtime and `sockets` in it, which are of one kind or several. An error of the runtime is the
/// caller's to tell.
fn spawn<const KINDS: usize>(
    name: String,
    sockets: [Vec<Socket>; KINDS],
    run: impl FnOnce(Runtime, [Vec<Listener>; KINDS]) + Send + 'static,
) -> io::Result<Serving> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut listeners = [const { Vec::new() }; KINDS];
    {
        let _entered = runtime.enter();
        for (sockets, listeners) in sockets.into_iter().zip(&mut listeners) {
            *listeners = sockets.into_iter().map(Listener::new).collect::<io::Result<_>>()?;
        }
    }
    let handle = runtime.handle().clone();
    let thread = std::thread::Builder::new().name(name).spawn(move || run(runtime, listeners))?;
    Ok(Serving { thread, runtime: handle })
}

/// The sockets of all listeners, by the thread that serves them.
fn by_thread(bound: Vec<Bound>, threads: usize) -> Vec<Vec<Socket>> {
    let mut by_thread: Vec<Vec<Socket>> = (0..threads).map(|_| Vec::new()).collect();
    for bound in bound {
        for (thread, socket) in by_thread.iter_mut().zip(bound.into_sockets()) {
            thread.push(socket);
        }
    }
    by_thread
}
