//! A hub for tests: an HTTP/1.1 origin on a raw socket that records every byte and answers as JupyterHub does, or by
//! script.

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use socket2::{Domain, Socket, Type};

use super::hub_pages::Accounts;
use super::script::Script;
use super::{Exchange, Gate, PATIENCE, Seen, Then, Wire};

/// Runs until it is dropped.
#[derive(Debug)]
pub struct FakeHub {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    scripts: HashMap<String, Script>,
    otherwise: Option<Script>,
    accounts: Accounts,
    /// Accepted so far.
    connections: usize,
    /// The bytes of each connection, in the order of reading.
    received: Vec<Vec<u8>>,
    streams: HashMap<usize, TcpStream>,
    stopped: bool,
}

/// The URL of a hub that is not there, and a socket that keeps its port from everybody else for as long as it is held.
pub fn absent() -> (Socket, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
    let address = socket.local_addr().expect("an address").as_socket().expect("TCP");
    (socket, format!("http://{address}"))
}

/// A port for a server that this test starts, and that nobody else is given, neither by `bind` nor for an outgoing
/// connection, as long as this process lives: a socket is bound to it that does not listen. With SO_REUSEADDR, which
/// servers set, another one may (socket(7)).
pub fn free_port() -> u16 {
    let hold = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    hold.set_reuse_address(true).expect("an option");
    hold.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
    let port = hold.local_addr().expect("an address").as_socket().expect("TCP").port();
    std::mem::forget(hold);
    port
}

impl FakeHub {
    /// A hub under base URL `/`.
    pub fn start() -> Self {
        Self::on_listener(TcpListener::bind("127.0.0.1:0").expect("bind"))
    }

    /// The same on a listener of the test's own.
    pub fn on_listener(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut state = accepting.lock();
                if state.stopped {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let number = state.connections;
                state.connections += 1;
                state.received.push(Vec::new());
                state.streams.insert(number, stream.try_clone().expect("another handle"));
                accepting.changed.notify_all();
                drop(state);
                let serving = Arc::clone(&accepting);
                std::thread::spawn(move || serving.serve(number, Wire::of(stream).recording()));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it knows of users and sessions; to be set before it is asked.
    pub fn accounts(&self, change: impl FnOnce(&mut Accounts)) {
        change(&mut self.shared.lock().accounts);
    }

    /// Answers requests for `path`, whatever their query, by `script`. The body is not read before.
    pub fn on(&self, path: &str, script: impl Fn(&mut Exchange<'_>) -> Then + Send + Sync + 'static) {
        self.shared.lock().scripts.insert(path.to_owned(), Arc::new(script));
    }

    /// Answers requests for `/slow` when the gate is open.
    pub fn slow(&self) -> Gate {
        let gate = Gate::new();
        let waiting = gate.clone();
        self.on("/slow", move |exchange| {
            waiting.pass();
            exchange.answer("200 OK", "slow")
        });
        gate
    }

    /// The same as [`FakeHub::reply`], when the gate is open.
    pub fn reply_later(&self, path: &str, bytes: &'static str) -> Gate {
        let gate = Gate::new();
        let waits = gate.clone();
        self.on(path, move |exchange| {
            waits.pass();
            exchange.read_body();
            exchange.send(bytes);
            Then::Next
        });
        gate
    }

    /// Answers requests for `path` with these bytes, once their body is read.
    pub fn reply(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.on(path, move |exchange| {
            exchange.read_body();
            exchange.send(&bytes);
            Then::Next
        });
    }

    /// Answers every request that no script names, and that is not the hub's own, by `script`.
    pub fn otherwise(&self, script: impl Fn(&mut Exchange<'_>) -> Then + Send + Sync + 'static) {
        self.shared.lock().otherwise = Some(Arc::new(script));
    }

    /// Every request so far, in the order of their heads.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.lock().seen.clone()
    }

    /// Every request for `path` so far.
    pub fn seen_at(&self, path: &str) -> Vec<Seen> {
        self.shared.lock().seen.iter().filter(|seen| seen.path() == path).cloned().collect()
    }

    /// The only request for `path`.
    pub fn only(&self, path: &str) -> Seen {
        let mut seen = self.seen_at(path);
        assert_eq!(seen.len(), 1, "requests for {path}: {seen:?}");
        seen.remove(0)
    }

    /// Forgets what it has seen.
    pub fn forget(&self) {
        let mut state = self.shared.lock();
        state.seen.clear();
        state.received.iter_mut().for_each(Vec::clear);
    }

    /// Every byte that it received, by connection.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.shared.lock().received.clone()
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// How many of them are open on its side.
    pub fn open(&self) -> usize {
        self.shared.lock().streams.len()
    }

    /// Waits until what it has seen fulfils `wanted`, and gives it.
    pub fn wait_for(&self, wanted: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        self.shared.wait(|state| wanted(&state.seen)).seen.clone()
    }

    /// Waits until the head of a request for `path` has come.
    pub fn wait_for_path(&self, path: &str) -> Seen {
        let seen = self.wait_for(|seen| seen.iter().any(|seen| seen.path() == path));
        seen.into_iter().rfind(|seen| seen.path() == path).expect("just seen")
    }

    /// Waits until `count` connections are open on its side.
    pub fn wait_for_open(&self, count: usize) {
        drop(self.shared.wait(|state| state.streams.len() == count));
    }

    /// Closes every connection, as a hub that restarts does; goes on listening.
    pub fn drop_connections(&self) {
        for stream in self.shared.lock().streams.values() {
            let _gone = stream.shutdown(Shutdown::Both);
        }
        self.wait_for_open(0);
    }
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopped = true;
        for stream in state.streams.values() {
            let _gone = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        // Wakes the thread that accepts.
        let _woken = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A script that panics fails its own request, and not whatever comes after it.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn wait(&self, wanted: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_timeout_while(self.lock(), PATIENCE, |state| !wanted(state));
        let (state, late) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        assert!(!late.timed_out(), "the hub waited in vain; it has seen {:?}", state.seen);
        state
    }

    fn serve(&self, number: usize, mut wire: Wire) {
        // A script that panics has said so; its connection ends, and the test sees that.
        let conversing = std::panic::AssertUnwindSafe(|| self.converse(number, &mut wire));
        let _panicked = std::panic::catch_unwind(conversing);
        self.note(number, &mut wire);
        drop(self.lock().streams.remove(&number));
        wire.close();
        self.changed.notify_all();
    }

    fn converse(&self, number: usize, wire: &mut Wire) {
        while let Some(head) = wire.idle_head() {
            self.note(number, wire);
            let seen = Seen::new(number, &head);
            let (script, earlier, index) = self.take_down(&seen);
            self.changed.notify_all();
            let record = |seen: &Seen| self.record(index, seen);
            let length = head.request_length();
            let mut exchange = Exchange { seen, wire, earlier, length, read: false, record: &record };
            let then = match script {
                Some(script) => script(&mut exchange),
                None => exchange.answer("200 OK\r\nContent-Type: text/plain", &head.line),
            };
            self.note(number, wire);
            self.changed.notify_all();
            if then == Then::Close {
                return;
            }
        }
    }

    /// Records a request, and finds what answers it: the test's script for its path, the hub's own pages, the test's
    /// script for all else.
    fn take_down(&self, seen: &Seen) -> (Option<Script>, usize, usize) {
        let mut state = self.lock();
        let earlier = state.seen.iter().filter(|old| old.path() == seen.path()).count();
        state.seen.push(seen.clone());
        let index = state.seen.len() - 1;
        if let Some(script) = state.scripts.get(seen.path()) {
            return (Some(Arc::clone(script)), earlier, index);
        }
        let script: Option<Script> = match state.accounts.answer(seen) {
            Some(answer) => Some(Arc::new(move |exchange| {
                exchange.read_body();
                exchange.send(&answer);
                Then::Next
            })),
            None => state.otherwise.clone(),
        };
        (script, earlier, index)
    }

    fn record(&self, index: usize, seen: &Seen) {
        let mut state = self.lock();
        // Unless the test has forgotten it meanwhile.
        if let Some(old) = state.seen.get_mut(index).filter(|old| old.head == seen.head) {
            seen.clone_into(old);
        }
        drop(state);
        self.changed.notify_all();
    }

    fn note(&self, number: usize, wire: &mut Wire) {
        let read = wire.take_recorded();
        self.lock().received[number].extend_from_slice(&read);
    }
}
