//! A user's server at the [`FakeHub`](super::FakeHub), as the Hub API tells of it: started, watched, failed.

use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use super::{Exchange, FakeHub, Then};

/// One server of one user.
#[derive(Debug, Clone)]
pub struct HubServer {
    user: String,
    name: String,
    state: Arc<Mutex<State>>,
}

/// How a server stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Is {
    /// Not running.
    Stopped,
    /// Starting, with these events so far.
    Starting(Vec<Value>),
    /// Running.
    Ready,
    /// Its last start failed, in these words.
    Failed(String),
}

#[derive(Debug)]
struct State {
    known: bool,
    is: Is,
    /// What a start is refused with: status and headers, message.
    refusal: Option<(String, String)>,
    /// The bodies of all starts.
    starts: Vec<Value>,
}

impl HubServer {
    /// The server `name` (empty: the default one) of `user`, not running; the hub does not know the user yet.
    pub fn of(hub: &FakeHub, user: &str, name: &str) -> Self {
        let state = State { known: false, is: Is::Stopped, refusal: None, starts: Vec::new() };
        let server =
            Self { user: user.to_owned(), name: name.to_owned(), state: Arc::new(Mutex::new(state)) };
        let users = format!("/hub/api/users/{user}");
        let place =
            if name.is_empty() { format!("{users}/server") } else { format!("{users}/servers/{name}") };
        let of_user = server.clone();
        hub.on(&users, move |exchange| of_user.user(exchange));
        let starting = server.clone();
        hub.on(&place, move |exchange| starting.start(exchange));
        let watched = server.clone();
        hub.on(&format!("{place}/progress"), move |exchange| watched.progress(exchange));
        server
    }

    /// The hub knows the user.
    #[must_use]
    pub fn known(self) -> Self {
        self.lock().known = true;
        self
    }

    /// The server stands like this from now on.
    pub fn set(&self, is: Is) {
        let mut state = self.lock();
        state.known = true;
        state.is = is;
    }

    /// A start is answered like this from now on: `("429 Too Many Requests\r\nRetry-After: 7", "No room.")`.
    pub fn refuse(&self, head: &str, message: &str) {
        self.lock().refusal = Some((head.to_owned(), message.to_owned()));
    }

    /// Starts succeed again.
    pub fn admit(&self) {
        self.lock().refusal = None;
    }

    /// The bodies of all starts so far; null for none.
    pub fn starts(&self) -> Vec<Value> {
        self.lock().starts.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn user(&self, exchange: &mut Exchange<'_>) -> Then {
        let mut state = self.lock();
        if exchange.seen.method == "POST" {
            if state.known {
                return refusal(exchange, "409 Conflict", "already exists");
            }
            state.known = true;
            return json_answer(exchange, "201 Created", &json!({ "name": self.user, "kind": "user" }));
        }
        if !state.known {
            return refusal(exchange, "404 Not Found", "Not Found");
        }
        let server = match state.is {
            Is::Ready => json!({ "name": self.name, "ready": true, "pending": null }),
            Is::Starting(_) => json!({ "name": self.name, "ready": false, "pending": "spawn" }),
            Is::Stopped | Is::Failed(_) => Value::Null,
        };
        let servers = if server.is_null() { json!({}) } else { json!({ &self.name: server }) };
        json_answer(exchange, "200 OK", &json!({ "name": self.user, "servers": servers }))
    }

    fn start(&self, exchange: &mut Exchange<'_>) -> Then {
        let body = serde_json::from_slice(exchange.read_body()).unwrap_or_default();
        let mut state = self.lock();
        state.starts.push(body);
        if let Some((head, message)) = state.refusal.clone() {
            return refusal(exchange, &head, &message);
        }
        state.is = Is::Starting(vec![json!({ "progress": 0, "message": "Server requested" })]);
        exchange.answer("202 Accepted\r\nContent-Type: text/plain", "")
    }

    fn progress(&self, exchange: &mut Exchange<'_>) -> Then {
        let is = self.lock().is.clone();
        let events = match is {
            Is::Stopped => return refusal(exchange, "400 Bad Request", "server is not starting..."),
            Is::Starting(events) => events,
            Is::Ready => vec![json!({ "progress": 100, "ready": true, "message": "Server ready" })],
            Is::Failed(message) => vec![json!({ "progress": 100, "failed": true, "message": message })],
        };
        let text: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        exchange.answer("200 OK\r\nContent-Type: text/event-stream", text)
    }
}

fn json_answer(exchange: &mut Exchange<'_>, head: &str, value: &Value) -> Then {
    exchange.answer(&format!("{head}\r\nContent-Type: application/json"), value.to_string())
}

fn refusal(exchange: &mut Exchange<'_>, head: &str, message: &str) -> Then {
    let status: u16 = head[..3].parse().expect("a status");
    json_answer(exchange, head, &json!({ "status": status, "message": message }))
}
