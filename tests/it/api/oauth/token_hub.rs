//! A hub that makes, tells of and deletes tokens of its users, as JupyterHub does.

use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use super::OWN;
use crate::support::{Exchange, FakeHub, Gate, Then};

/// A token of alice's or bob's.
#[derive(Debug, Clone)]
pub struct Token {
    pub user: String,
    pub id: String,
    pub secret: String,
    /// What it was asked for with.
    pub asked: Value,
}

#[derive(Default)]
pub struct State {
    pub tokens: Vec<Token>,
    made: usize,
    /// Tokens are made without an end.
    pub endless: bool,
    /// As before JupyterHub 5.
    pub hides_ids: bool,
}

pub struct TokenHub {
    pub hub: FakeHub,
    state: Arc<Mutex<State>>,
}

impl TokenHub {
    pub fn start() -> Self {
        let (hub, state) = (FakeHub::start(), Arc::new(Mutex::new(State::default())));
        let new = Self { hub, state };
        let answering = Arc::clone(&new.state);
        new.hub.otherwise(move |exchange| answer(&answering, exchange));
        new.restore("/hub/api/user");
        new
    }

    pub fn url(&self) -> String {
        self.hub.url()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The tokens that are live.
    pub fn tokens(&self) -> Vec<Token> {
        self.state().tokens.clone()
    }

    /// Gives `user` a token that nobody of ours has asked for.
    pub fn add(&self, user: &str, secret: &str, note: &str) {
        let mut state = self.state();
        state.made += 1;
        let id = format!("a{}", state.made);
        let asked = json!({ "note": note });
        state.tokens.push(Token { user: user.to_owned(), id, secret: secret.to_owned(), asked });
    }

    /// Refuses `path` from now on, in the hub's form.
    pub fn refuse(&self, path: &str, status: u16, message: &str) {
        let body = json!({"status": status, "message": message}).to_string();
        self.hub.on(path, move |exchange| exchange.answer(&format!("{status} No"), &body));
    }

    /// Answers `path` as it should once `gate` is open.
    pub fn hold(&self, path: &str, gate: &Gate) {
        let (answering, gate) = (Arc::clone(&self.state), gate.clone());
        self.hub.on(path, move |exchange| {
            gate.pass();
            answer(&answering, exchange)
        });
    }

    /// Answers `path` as it should again.
    pub fn restore(&self, path: &str) {
        let answering = Arc::clone(&self.state);
        self.hub.on(path, move |exchange| answer(&answering, exchange));
    }
}

fn answer(state: &Mutex<State>, exchange: &mut Exchange<'_>) -> Then {
    exchange.read_body();
    let seen = exchange.seen.clone();
    let key = seen.headers.all("authorization").join(",");
    let key = key.strip_prefix("token ").unwrap_or_default().to_owned();
    let path = seen.path().strip_prefix("/hub/api/").unwrap_or_default().to_owned();
    let parts: Vec<&str> = path.split('/').collect();
    let mut state = state.lock().unwrap();
    let (status, body) = match (seen.method.as_str(), &parts[..]) {
        ("GET", ["user"]) => match state.tokens.iter().find(|token| token.secret == key) {
            Some(token) if token.user.starts_with("service-") => {
                ("200 OK", json!({"name": token.user, "kind": "service", "token_id": token.id, "scopes": []}))
            }
            Some(token) => {
                let id = (!state.hides_ids).then_some(&token.id);
                (
                    "200 OK",
                    json!({"name": token.user, "kind": "user", "groups": [], "token_id": id, "scopes": []}),
                )
            }
            None => ("403 Forbidden", json!({"status": 403, "message": null})),
        },
        _ if key != OWN => ("403 Forbidden", json!({"status": 403, "message": "not hublatch"})),
        ("GET", ["users", "alice" | "bob", "tokens"]) => ("200 OK", json!({"api_tokens": []})),
        ("GET", ["users", _, "tokens"]) => {
            ("404 Not Found", json!({"status": 404, "message": "No such user"}))
        }
        ("POST", ["users", user @ ("alice" | "bob"), "tokens"]) => {
            state.made += 1;
            let (id, secret) = (format!("a{}", state.made), format!("{:032x}", 0xfeed_0000 + state.made));
            let asked: Value = serde_json::from_slice(&seen.body).expect("JSON");
            let end = (!state.endless).then_some("2026-01-31T13:00:00Z");
            let token = Token { user: (*user).to_owned(), id: id.clone(), secret: secret.clone(), asked };
            state.tokens.push(token);
            ("201 Created", json!({"token": secret, "id": id, "expires_at": end, "scopes": ["…"]}))
        }
        ("POST", ["users", _, "tokens"]) => {
            let message = "Service nobody not found or no permissions to generate tokens";
            ("403 Forbidden", json!({"status": 403, "message": message}))
        }
        (method, ["users", user, "tokens", id]) => {
            let found = state.tokens.iter().position(|token| token.user == *user && token.id == *id);
            match (method, found) {
                (_, None) => ("404 Not Found", json!({"status": 404, "message": "No such token"})),
                ("DELETE", Some(index)) => {
                    state.tokens.remove(index);
                    ("204 No Content", Value::Null)
                }
                (_, Some(index)) => {
                    let token = &state.tokens[index];
                    ("200 OK", json!({"id": token.id, "note": token.asked["note"]}))
                }
            }
        }
        _ => ("404 Not Found", json!({"status": 404, "message": null})),
    };
    drop(state);
    if body.is_null() {
        exchange.send(format!("HTTP/1.1 {status}\r\n\r\n"));
        return Then::Next;
    }
    exchange.answer(&format!("{status}\r\nContent-Type: application/json"), body.to_string())
}
