//! A client of HTTP/2 over TLS: one connection, on a thread's own runtime.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use hyper::{HeaderMap, Request, Response};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::support::PATIENCE;

/// A connection.
pub struct Http2 {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Http2 {
    pub fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        Self::with(address, config, &h2::client::Builder::new())
    }

    pub fn with(address: SocketAddr, config: &Arc<ClientConfig>, builder: &h2::client::Builder) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connector = TlsConnector::from(Arc::clone(config));
        let (sender, connection) = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let stream = connector.connect(ServerName::try_from("hub.test").unwrap(), stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let (sender, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
            #[allow(clippy::disallowed_methods)] // it ends with the runtime
            (sender, tokio::spawn(connection))
        });
        Self { runtime, sender, connection }
    }

    /// Does something on the connection's runtime, within the test's patience.
    pub fn run<T>(&mut self, future: impl AsyncFnOnce(SendRequest<Bytes>) -> T) -> T {
        self.run_within(PATIENCE, future)
    }

    /// The same for what takes its time.
    pub fn run_within<T>(&mut self, limit: Duration, future: impl AsyncFnOnce(SendRequest<Bytes>) -> T) -> T {
        let sender = self.sender.clone();
        let done = async { tokio::time::timeout(limit, future(sender)).await };
        self.runtime.block_on(done).expect("done in time")
    }

    /// Sends a request without body.
    pub fn ask(&mut self, request: Request<()>) -> Answer {
        self.try_ask(request).expect("an answer")
    }

    pub fn try_ask(&mut self, request: Request<()>) -> Result<Answer, h2::Error> {
        self.run(async |sender| {
            let (response, _) = sender.ready().await?.send_request(request, true)?;
            read(response).await
        })
    }

    /// Sends a request with a body.
    pub fn send(&mut self, request: Request<()>, body: &[u8]) -> Answer {
        let body = Bytes::copy_from_slice(body);
        self.run(async |sender| {
            let (response, mut stream) = sender.ready().await.unwrap().send_request(request, false).unwrap();
            upload(&mut stream, body).await;
            read(response).await.expect("an answer")
        })
    }

    /// Waits until the connection has ended; what the client still had to say may come too late.
    pub fn ended(mut self, limit: Duration) {
        let ended = async { tokio::time::timeout(limit, &mut self.connection).await };
        if let Err(error) = self.runtime.block_on(ended).expect("it ends in time").unwrap() {
            assert!(error.is_io(), "{error}");
        }
    }
}

/// `GET` of a path at `hub.test`.
pub fn get(path: &str, headers: &[(&str, &str)]) -> Request<()> {
    request("GET", path, headers)
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(format!("https://hub.test{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// Sends all of `body`, as fast as the windows allow.
pub async fn upload(stream: &mut SendStream<Bytes>, mut body: Bytes) {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let capacity =
            std::future::poll_fn(|cx| stream.poll_capacity(cx)).await.expect("open").expect("open");
        let part = body.split_to(capacity.min(body.len()));
        stream.send_data(part, false).unwrap();
    }
    stream.send_data(Bytes::new(), true).unwrap();
}

/// Reads an answer to its end.
pub async fn read(response: ResponseFuture) -> Result<Answer, h2::Error> {
    let response = response.await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut stream: RecvStream = Response::into_body(response);
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await?;
    Ok(Answer { status, headers, body, trailers })
}
