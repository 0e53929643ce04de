//! What the [`FakeHub`](super::FakeHub) answers at the hub's own paths: the parts of a real hub's behaviour that
//! hublatch relies on (users, sessions, the login).

use std::collections::HashSet;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use super::Seen;
use super::message::folded;

/// What a login must prove.
#[derive(Clone)]
pub struct Proof {
    /// The header of the assertion.
    pub header: String,
    /// The raw Ed25519 public key.
    pub public_key: Vec<u8>,
    /// `aud`.
    pub audience: String,
}

/// Users and sessions of the hub.
#[derive(Default)]
pub struct Accounts {
    /// `/` if empty.
    pub base_url: String,
    /// The identity header; `REMOTE_USER` if empty.
    pub user_header: String,
    /// If set, a login without a valid assertion is refused.
    pub proof: Option<Proof>,
    /// Whether it refuses in the words of `HublatchAuthenticator`.
    pub speaks: bool,
    /// What the hub makes of a request with several identity headers, or a bad proof: for the test to look at.
    pub refused: Vec<String>,
    /// Sessions that were logged out: their login cookies.
    ended: HashSet<String>,
    proofs_used: HashSet<String>,
    sessions: usize,
}

impl Accounts {
    fn base(&self) -> &str {
        if self.base_url.is_empty() { "/" } else { &self.base_url }
    }

    /// The answer of the hub itself, if the path is one of its own.
    pub fn answer(&mut self, seen: &Seen) -> Option<Vec<u8>> {
        let path = seen.path().strip_prefix(self.base())?;
        Some(match path {
            "hub/api/" => json("200 OK", &serde_json::json!({ "version": "6.1.1" })),
            "hub/api/user" => match self.user(seen) {
                Some(name) => {
                    json("200 OK", &serde_json::json!({ "name": name, "kind": "user", "admin": false }))
                }
                None => json("403 Forbidden", &serde_json::json!({ "status": 403, "message": null })),
            },
            "hub/logout" => {
                // Only somebody who is logged in is logged out.
                let is_user = self.user(seen).is_some();
                self.ended.extend(cookie(seen, "jupyterhub-hub-login").map(str::to_owned));
                let gone = ["jupyterhub-hub-login=\"\"; Path=/hub/", "jupyterhub-session-id=\"\"; Path=/"];
                let gone = gone.map(|cookie| format!("Set-Cookie: {cookie}"));
                page("200 OK", "Successfully logged out.", if is_user { &gone } else { &gone[..1] })
            }
            "hub/login" => self.login(seen),
            _ => return None,
        })
    }

    /// Who the browser is: `jupyterhub-hub-login` is the plain name, or a value of [`Accounts::login`].
    fn user(&self, seen: &Seen) -> Option<String> {
        let value = cookie(seen, "jupyterhub-hub-login")?;
        if self.ended.contains(value) {
            return None;
        }
        let plain = value.trim_matches('"');
        Some(plain.split('|').nth(2).unwrap_or(plain).to_owned())
    }

    /// As a hub with an auto_login authenticator: a user who is logged in is not authenticated again, and a session id
    /// that the browser sends is kept.
    fn login(&mut self, seen: &Seen) -> Vec<u8> {
        if seen.method != "GET" {
            return page("403 Forbidden", "XSRF cookie does not match", &[]);
        }
        let next = format!("Location: {}", self.next(seen));
        if self.user(seen).is_some() {
            return page("302 Found", "", &[next]);
        }
        let name = match self.authenticate(seen) {
            Ok(name) => name,
            Err(wrong) => {
                self.refused.push(wrong);
                let proof = self.proof.as_ref().is_some_and(|proof| seen.headers.has(&proof.header));
                let words = match (self.speaks, proof) {
                    (false, _) => "403 : None",
                    (true, false) => "This JupyterHub is entered by a link from your application.",
                    (true, true) => "Your login could not be confirmed.",
                };
                return page("403 Forbidden", words, &[]);
            }
        };
        self.sessions += 1;
        let number = self.sessions;
        let session = cookie(seen, "jupyterhub-session-id").map_or(format!("{number:032x}"), str::to_owned);
        let base = self.base();
        let lines = [
            next,
            format!("Set-Cookie: jupyterhub-session-id={session}; HttpOnly; Path={base}"),
            format!(
                "Set-Cookie: jupyterhub-hub-login=\"2|1:0|{name}|44:{number}=|sig\"; HttpOnly; Path={base}hub/"
            ),
            format!("Set-Cookie: _xsrf=x{number}; Path={base}hub/"),
        ];
        page("302 Found", "", &lines)
    }

    fn next(&self, seen: &Seen) -> String {
        let next = seen.query().split('&').find_map(|pair| pair.strip_prefix("next="));
        let decoded =
            next.map(|next| percent_encoding::percent_decode_str(next).decode_utf8_lossy().into_owned());
        decoded.unwrap_or_else(|| format!("{}hub/spawn", self.base()))
    }

    fn authenticate(&mut self, seen: &Seen) -> Result<String, String> {
        let wanted = if self.user_header.is_empty() { "REMOTE_USER" } else { &self.user_header };
        // Any spelling counts here: a hop between hublatch and the hub may fold names.
        let named = seen.headers.0.iter().filter(|(name, _)| folded(name) == folded(wanted));
        let names: Vec<String> = named.map(|(_, value)| value.clone()).collect();
        let [name] = &names[..] else { return Err(format!("identity headers: {names:?}")) };
        if let Some(proof) = self.proof.clone() {
            self.verify(&proof, seen, name)?;
        }
        Ok(name.clone())
    }

    fn verify(&mut self, proof: &Proof, seen: &Seen, name: &str) -> Result<(), String> {
        let tokens = seen.headers.all(&proof.header);
        let [token] = tokens[..] else { return Err(format!("assertions: {tokens:?}")) };
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_audience(&[&proof.audience]);
        rules.set_issuer(&["hublatch"]);
        rules.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // A test's clock may stand still at any time.
        rules.validate_exp = false;
        let key = DecodingKey::from_ed_der(&proof.public_key);
        let claims =
            jsonwebtoken::decode::<Value>(token, &key, &rules).map_err(|error| error.to_string())?.claims;
        if claims["sub"] != name {
            return Err(format!("the assertion is for {}", claims["sub"]));
        }
        let jti = claims["jti"].as_str().unwrap_or_default().to_owned();
        let life = claims["exp"].as_i64().zip(claims["iat"].as_i64()).map(|(end, begin)| end - begin);
        if jti.is_empty() || !self.proofs_used.insert(jti) || !matches!(life, Some(1..=60)) {
            return Err(format!("the claims {claims}"));
        }
        Ok(())
    }
}

/// The value of the cookie `name`, byte for byte.
pub fn cookie<'a>(seen: &'a Seen, name: &str) -> Option<&'a str> {
    let lines = seen.headers.all("cookie");
    let mut pairs =
        lines.into_iter().flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The claims of an assertion, unverified.
pub fn claims_of(token: &str) -> Value {
    let part = token.split('.').nth(1).expect("a JWT");
    let bytes =
        base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, part).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn json(status: &str, value: &Value) -> Vec<u8> {
    let body = value.to_string();
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn page(status: &str, text: &str, lines: &[String]) -> Vec<u8> {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let length = text.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: text/html\r\n{lines}Content-Length: {length}\r\n\r\n{text}")
        .into_bytes()
}
