//! A hub that knows nobody, lets everybody in, and writes down each login with the link that its proof names.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::history::{Event, History, Token};

/// What a moment of a login is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    AskedWho,
    HalfToldWho,
    ToldWho,
    AskedLogout,
    HalfToldLogout,
    ToldLogout,
    AskedLogin,
    HalfToldLogin,
    ToldLogin,
}

/// Called at each moment of each login.
pub type Watcher = Arc<dyn Fn(Moment) + Send + Sync>;

/// Answers until the process ends.
#[derive(Clone)]
pub struct Hub {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    history: Arc<History>,
    /// Link id → number and user of the token.
    links: Mutex<HashMap<String, (Token, String)>>,
    watcher: Mutex<Option<Watcher>>,
}

impl Hub {
    pub fn start(history: &Arc<History>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared =
            Shared { history: Arc::clone(history), links: Mutex::default(), watcher: Mutex::default() };
        let shared = Arc::new(shared);
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = Arc::clone(&accepting);
                // hublatch may be killed in the middle: its connection ends then.
                std::thread::spawn(move || serving.serve(&stream).unwrap_or_default());
            }
        });
        Self { address, shared }
    }

    /// Tells of a link before anybody can use it.
    pub fn expect(&self, id: &str, token: Token, user: &str) {
        self.shared.links.lock().unwrap().insert(id.to_owned(), (token, user.to_owned()));
    }

    /// Lets `watcher` look on from now on.
    pub fn watch(&self, watcher: Option<Watcher>) {
        *self.shared.watcher.lock().unwrap() = watcher;
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut lines = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if lines.read_line(&mut head)? == 0 {
                    return Ok(());
                }
            }
            self.answer(&head, stream)?;
        }
    }

    fn answer(&self, head: &str, mut stream: &TcpStream) -> std::io::Result<()> {
        let path = head.split([' ', '?']).nth(1).unwrap_or_default();
        let (answer, moments) = match path {
            "/hub/login" => {
                self.login(head);
                let answer = "HTTP/1.1 302 Found\r\nLocation: /hub/home\r\nContent-Length: 0\r\n\r\n";
                (answer.to_owned(), [Moment::AskedLogin, Moment::HalfToldLogin, Moment::ToldLogin])
            }
            "/hub/api/user" => {
                // Whoever comes with this cookie is somebody else than any link is for.
                let known = head.contains("jupyterhub-hub-login=mallory");
                let (status, body) =
                    if known { ("200 OK", r#"{"name":"mallory"}"#) } else { ("403 Forbidden", "{}") };
                let moments = [Moment::AskedWho, Moment::HalfToldWho, Moment::ToldWho];
                (sized(status, body), moments)
            }
            _ => (sized("200 OK", ""), [Moment::AskedLogout, Moment::HalfToldLogout, Moment::ToldLogout]),
        };
        let watcher = self.watcher.lock().unwrap().clone();
        let at = |moment: Moment| watcher.iter().for_each(|watcher| watcher(moment));
        let (half, rest) = answer.split_at(answer.len() / 2);
        at(moments[0]);
        if watcher.is_some() {
            stream.write_all(half.as_bytes())?;
            at(moments[1]);
            stream.write_all(rest.as_bytes())?;
        } else {
            stream.write_all(answer.as_bytes())?;
        }
        at(moments[2]);
        Ok(())
    }

    fn login(&self, head: &str) {
        let at = self.history.now();
        let value = |name: &str| {
            let of = |line: &'_ str| {
                line.split_once(": ")
                    .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value.to_owned())
            };
            head.lines().find_map(of)
        };
        let claims: Option<Value> = value("x-hublatch-assertion").and_then(|assertion| {
            let part = assertion.split('.').nth(1)?;
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
        });
        let claims = claims.unwrap_or_default();
        let found = claims["jti"].as_str().and_then(|id| self.links.lock().unwrap().get(id).cloned());
        self.history.add(match found {
            Some((token, user)) => {
                let name_is_right = claims["sub"] == *user && value("remote_user").as_deref() == Some(&user);
                Event::Login { token, at, name_is_right }
            }
            None => Event::StrangeLogin { at },
        });
    }
}

fn sized(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
}
