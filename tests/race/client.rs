//! The least HTTP/1.1 client: one kept connection, and an honest word on what became of a request.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longer than hublatch waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that is made when it is needed.
#[derive(Debug, Default)]
pub struct Client {
    stream: Option<(SocketAddr, TcpStream)>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// Not a byte was sent.
    NotSent,
    /// It may have arrived.
    Unclear,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// A call of the management API; `more` are further lines of its head.
pub fn call(key: &str, method: &str, path: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: hublatch\r\nAuthorization: token {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n{more}\r\n{body}"
    )
}

impl Client {
    /// Sends `request` to `address`, once.
    pub fn send(&mut self, address: SocketAddr, request: &str) -> Result<Answer, Failure> {
        let kept = self.stream.take().filter(|(to, stream)| *to == address && is_open(stream));
        let mut stream = match kept {
            Some((_, stream)) => stream,
            None => connect(address).map_err(|_| Failure::NotSent)?,
        };
        let answer = stream.write_all(request.as_bytes()).and_then(|()| read(&mut stream));
        let answer = answer.map_err(|_| Failure::Unclear)?;
        self.stream = Some((address, stream));
        Ok(answer)
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether the other side has not closed it: nothing is to be read, and that not because it is over.
fn is_open(stream: &TcpStream) -> bool {
    let asked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    let still = matches!(&asked, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
    still && stream.set_nonblocking(false).is_ok()
}

fn read(stream: &mut TcpStream) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    let head_ends = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, &mut bytes)?;
    };
    let head = String::from_utf8_lossy(&bytes[..head_ends]).to_ascii_lowercase();
    let number = |text: Option<&str>| text.and_then(|text| text.trim().parse::<usize>().ok());
    let status = number(head.get(9..12)).ok_or(io::ErrorKind::InvalidData)?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = if status == 204 { 0 } else { number(length).ok_or(io::ErrorKind::InvalidData)? };
    while bytes.len() < head_ends + length {
        more(stream, &mut bytes)?;
    }
    Ok(Answer { status: status as u16, body: bytes[head_ends..].to_vec() })
}

fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut piece = [0; 16 * 1024];
    match stream.read(&mut piece)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => {
            bytes.extend_from_slice(&piece[..count]);
            Ok(())
        }
    }
}
