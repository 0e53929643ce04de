//! Requests as bytes.

/// A request for the host `hub.test` with these header lines.
pub fn request(method: &str, target: impl AsRef<[u8]>, lines: &[&str]) -> Vec<u8> {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let begin = format!("{method} ");
    let end = format!(" HTTP/1.1\r\nHost: hub.test\r\n{lines}\r\n");
    [begin.as_bytes(), target.as_ref(), end.as_bytes()].concat()
}

/// A `GET`.
pub fn get(target: impl AsRef<[u8]>, lines: &[&str]) -> Vec<u8> {
    request("GET", target, lines)
}

/// A request with a body of a length that is told.
pub fn sized(method: &str, target: &str, lines: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = format!("Content-Length: {}", body.len());
    [&request(method, target, &[lines, &[&length]].concat()), body].concat()
}

/// A request with a body of these chunks, and these trailer lines.
pub fn chunked(method: &str, target: &str, lines: &[&str], chunks: &[&[u8]], trailers: &[&str]) -> Vec<u8> {
    let mut bytes = request(method, target, &[lines, &["Transfer-Encoding: chunked"]].concat());
    for chunk in chunks {
        bytes.extend_from_slice(&self::chunk(chunk));
    }
    let trailers: String = trailers.iter().map(|line| format!("{line}\r\n")).collect();
    bytes.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
    bytes
}

/// One chunk.
pub fn chunk(data: impl AsRef<[u8]>) -> Vec<u8> {
    let data = data.as_ref();
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

/// A `GET` that asks for a WebSocket.
pub fn websocket(target: &str, lines: &[&str]) -> Vec<u8> {
    let asks = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    get(target, &[&asks, lines].concat())
}

/// Whether `text` stands anywhere in `bytes`.
pub fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}
