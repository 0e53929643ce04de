//! The management API, as an app uses it.

use std::net::SocketAddr;

use serde_json::Value;

use super::{Answer, Wire};

/// An app that issues links.
#[derive(Debug, Clone)]
pub struct Links {
    address: SocketAddr,
    key: String,
}

/// An issued link.
#[derive(Debug, Clone)]
pub struct Issued {
    /// Its id.
    pub id: String,
    /// The whole URL.
    pub url: String,
    /// The secret.
    pub token: String,
    /// The whole answer.
    pub json: Value,
}

impl Issued {
    /// The path and query of the URL.
    pub fn target(&self) -> String {
        let from = self.url.find("://").map_or(0, |at| at + 3);
        let at = self.url[from..].find('/').map_or(self.url.len(), |at| from + at);
        self.url[at..].to_owned()
    }
}

impl Links {
    /// An app with `key` at the API of `address`.
    pub fn new(address: SocketAddr, key: &str) -> Self {
        Self { address, key: key.to_owned() }
    }

    /// Issues the link that `order` describes.
    pub fn issue(&self, order: &Value) -> Issued {
        let answer = self.call("POST", "/api/v1/links", &[], order.to_string());
        assert_eq!(answer.status, 201, "{}", answer.text());
        let json = answer.json();
        let text = |name: &str| json[name].as_str().unwrap_or_else(|| panic!("no {name}: {json}")).to_owned();
        Issued { id: text("id"), url: text("url"), token: text("login_token"), json: json.clone() }
    }

    /// What becomes of the link `id`.
    pub fn status(&self, id: &str) -> String {
        let json = self.call("GET", &format!("/api/v1/links/{id}"), &[], "").json();
        json["status"].as_str().unwrap_or_else(|| panic!("no status: {json}")).to_owned()
    }

    /// Any call, with the key and a JSON body if there is one.
    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            head += &format!("Authorization: token {}\r\n", self.key);
        }
        if !body.is_empty() {
            let typed = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
            head += if typed { "" } else { "Content-Type: application/json\r\n" };
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut wire = Wire::connect(self.address);
        wire.send([head.as_bytes(), b"\r\n", body].concat());
        wire.answer_to(method).expect("an answer of the API")
    }
}
