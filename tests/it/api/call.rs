//! A request to the API under test, and what came back.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::client::TestApi;
use super::document;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A request to be sent.
pub struct Call {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: UnsyncBoxBody<Bytes, Error>,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The body as JSON; null if it is none.
    pub json: Value,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }

    pub fn message(&self) -> &str {
        self.json["message"].as_str().unwrap_or_default()
    }
}

pub fn call(method: &str, target: &str) -> Call {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, "127.0.0.1:8001".parse().unwrap());
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    Call { method: method.parse().unwrap(), target: target.to_owned(), headers, body }
}

pub fn get(target: &str) -> Call {
    call("GET", target)
}

pub fn post(target: &str) -> Call {
    call("POST", target)
}

pub fn delete(target: &str) -> Call {
    call("DELETE", target)
}

/// An order that any app of [`config`] may give.
pub fn order() -> Value {
    json!({"username": "stud-1", "path": "lab"})
}

impl Call {
    pub fn key(self, key: &str) -> Self {
        self.header(AUTHORIZATION.as_str(), &format!("token {key}"))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: hyper::header::HeaderName = name.parse().unwrap();
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    pub fn and_header(mut self, name: &str, value: &str) -> Self {
        let name: hyper::header::HeaderName = name.parse().unwrap();
        self.headers.append(name, value.parse().unwrap());
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.text(&body.to_string())
    }

    /// A body that is said to be JSON.
    pub fn text(self, body: &str) -> Self {
        self.body(Bytes::copy_from_slice(body.as_bytes())).header(CONTENT_TYPE.as_str(), "application/json")
    }

    pub fn body(mut self, body: Bytes) -> Self {
        self.body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
        self
    }

    /// A body, said to be JSON, that never ends, or breaks off.
    pub fn strange_body(mut self, body: StrangeBody) -> Self {
        self.body = body.boxed_unsync();
        self.header(CONTENT_TYPE.as_str(), "application/json")
    }

    /// Sends it and holds the answer against the document.
    pub async fn send(self, api: &TestApi) -> Reply {
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.parse().unwrap();
        *request.headers_mut() = self.headers;
        let client: IpAddr = [127, 0, 0, 1].into();
        let answer = api.api.handle(Some(client), request).await;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let reply = Reply { status: head.status.as_u16(), headers: head.headers, body, json };
        assert_eq!(reply.header("cache-control"), "no-store");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        if self.method != Method::HEAD {
            if head.status.is_client_error() || head.status.is_server_error() {
                assert_eq!(reply.json["status"], reply.status, "an error repeats its status");
                assert!(!reply.message().is_empty() && !reply.code().is_empty(), "{}", reply.json);
            }
            let is_undocumented = head.status == StatusCode::METHOD_NOT_ALLOWED;
            if !is_undocumented {
                document::check(self.method.as_str(), &self.target, &reply);
            }
        }
        reply
    }
}

/// A body that does not end well.
pub enum StrangeBody {
    NeverEnds,
    BreaksOff,
    /// So many zeros, of no declared length.
    Zeros(usize),
    /// Zeros without end, of a declared length that no limit admits; how many were read is told.
    Endless(Arc<AtomicUsize>),
}

impl Body for StrangeBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut *self {
            Self::NeverEnds => Poll::Pending,
            Self::Endless(read) => {
                read.fetch_add(1000, Ordering::Relaxed);
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'0'; 1000])))))
            }
            Self::BreaksOff => Poll::Ready(Some(Err("connection reset".into()))),
            Self::Zeros(0) => Poll::Ready(None),
            Self::Zeros(left) => {
                let now = (*left).min(1000);
                *left -= now;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'0'; now])))))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Endless(_) => SizeHint::with_exact(u64::MAX),
            Self::NeverEnds | Self::BreaksOff | Self::Zeros(_) => SizeHint::default(),
        }
    }
}
