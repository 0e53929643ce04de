//! Encrypted connections as plain ones: bytes that a test writes to a local socket go through TLS, and back.

use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::support::requests::get;
use crate::support::{PATIENCE, Wire};

/// A connection to `address` through TLS, and the protocol that was agreed on; an error if the handshake fails.
pub fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> std::io::Result<(Wire, Option<String>)> {
    connect_as(address, config, "hub.test")
}

/// The same to a server of this name.
pub fn connect_as(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &'static str,
) -> std::io::Result<(Wire, Option<String>)> {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let near = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    far.set_nonblocking(true).unwrap();
    let (shaken, outcome) = std::sync::mpsc::channel();
    let connector = TlsConnector::from(Arc::clone(config));
    std::thread::spawn(move || {
        runtime().block_on(async move {
            let mut far = TcpStream::from_std(far).unwrap();
            let remote = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from(name).unwrap();
            let mut remote =
                match tokio::time::timeout(PATIENCE, connector.connect(name, remote)).await.unwrap() {
                    Ok(remote) => remote,
                    Err(error) => return shaken.send(Err(error)).unwrap(),
                };
            let alpn = remote.get_ref().1.alpn_protocol();
            let alpn = alpn.map(|name| String::from_utf8_lossy(name).into_owned());
            shaken.send(Ok(alpn)).unwrap();
            // However it ends: the test sees that at its own socket.
            let _ended = copy_bidirectional(&mut far, &mut remote).await;
        });
    });
    let alpn = outcome.recv_timeout(PATIENCE).expect("a handshake in time")?;
    Ok((Wire::of(near), alpn))
}

/// The same over HTTP/1.1.
pub fn http1(address: SocketAddr, config: &Arc<ClientConfig>) -> Wire {
    let (wire, alpn) = connect(address, config).expect("a handshake");
    assert_ne!(alpn.as_deref(), Some("h2"));
    wire
}

/// Whether a session was resumed for one request over HTTP/1.1.
pub fn handshake(address: SocketAddr, config: &Arc<ClientConfig>) -> HandshakeKind {
    runtime().block_on(async {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("hub.test").unwrap();
        let mut stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await.unwrap();
        stream.write_all(&get("/x", &["Connection: close"])).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("a clean end of TLS");
        assert!(answer.starts_with(b"HTTP/1.1 200"));
        stream.get_ref().1.handshake_kind().unwrap()
    })
}

/// A TLS front before `hub`, until the process ends.
pub fn front(hub: SocketAddr, config: Arc<ServerConfig>) -> SocketAddr {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        runtime().block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let acceptor = TlsAcceptor::from(Arc::clone(&config));
                connections.spawn(async move {
                    let (Ok(mut near), Ok(mut far)) =
                        (acceptor.accept(near).await, TcpStream::connect(hub).await)
                    else {
                        return;
                    };
                    let _ended = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
    });
    address
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
