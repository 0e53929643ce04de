//! Uploads and downloads of 64 MiB: every byte arrives, and none is held: who does not read stops who sends.

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};

use crate::support::message::Length;
use crate::support::requests::{get, request};
use crate::support::{FakeHub, Gate, PATIENCE, TestProxy, Then, Wire};

const SIZE: usize = 64 * 1024 * 1024;
/// What the kernel's buffers on the way may take together; hublatch's own are far smaller.
const HELD_MAX: usize = 56 * 1024 * 1024;
/// The last of these buffers, so that they are fewer.
const RECEIVE_BUFFER: usize = 256 * 1024;
/// A writer that cannot write for so long is taken to be stopped.
const STOPPED: Duration = Duration::from_millis(250);

/// The `number`th piece of the body.
fn piece(number: usize) -> Vec<u8> {
    let mut piece = vec![0; 64 * 1024];
    for (at, word) in piece.chunks_mut(8).enumerate() {
        word.copy_from_slice(&(number * 8192 + at).to_le_bytes());
    }
    piece
}

fn digest_of_all() -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    (0..SIZE / (64 * 1024)).for_each(|number| context.update(&piece(number)));
    context.finish().as_ref().to_vec()
}

/// Writes the body until the peer takes no more; then opens `stopped`, and writes the rest to the peer that reads now.
/// Returns how much was written before.
fn write_against_a_wall(stream: &mut TcpStream, stopped: &Gate) -> usize {
    let mut held = None;
    stream.set_write_timeout(Some(STOPPED)).expect("set a timeout");
    let mut written = 0;
    for number in 0..SIZE / (64 * 1024) {
        let piece = piece(number);
        let mut rest = &piece[..];
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(count) => {
                    written += count;
                    rest = &rest[count..];
                }
                Err(error) if held.is_none() && error.kind() == io::ErrorKind::WouldBlock => {
                    held = Some(written);
                    stream.set_write_timeout(Some(PATIENCE)).expect("set a timeout");
                    stopped.open();
                }
                Err(error) => panic!("write at {written}: {error}"),
            }
        }
    }
    stopped.open();
    held.unwrap_or(written)
}

fn digest_of_next(wire: &mut Wire, count: usize) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    let read = wire.each(count as u64, |bytes| context.update(bytes));
    assert_eq!(read, count as u64);
    context.finish().as_ref().to_vec()
}

#[test]
fn an_upload_of_64_mib_arrives_whole_and_waits_for_the_hub() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let (stopped, expected) = (Gate::new(), digest_of_all());
    let reading = stopped.clone();
    hub.on("/upload", move |exchange| {
        assert_eq!(exchange.length, Length::Sized(SIZE as u64));
        exchange.wire.bound_receive_buffer(RECEIVE_BUFFER);
        reading.pass();
        exchange.read = true;
        exchange.wire.stop_recording();
        let same = digest_of_next(exchange.wire, SIZE) == expected;
        exchange.answer("200 OK", if same { "same" } else { "different" })
    });
    let mut wire = proxy.connect();
    wire.send(request("PUT", "/upload", &[&format!("Content-Length: {SIZE}")]));
    let held = write_against_a_wall(&mut wire.writer(), &stopped);
    assert!(held < HELD_MAX, "{held} bytes were taken while the hub read none");
    assert_eq!(wire.answer_to("PUT").expect("an answer").text(), "same");
}

#[test]
fn a_download_of_64_mib_arrives_whole_and_waits_for_the_browser() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let (stopped, expected) = (Gate::new(), digest_of_all());
    let (told, tell) = std::sync::mpsc::channel();
    let writing = stopped.clone();
    let told = std::sync::Mutex::new(told);
    hub.on("/download", move |exchange| {
        exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"));
        let held = write_against_a_wall(&mut exchange.wire.writer(), &writing);
        told.lock().unwrap().send(held).expect("the test listens");
        Then::Next
    });
    let mut wire = proxy.connect();
    wire.bound_receive_buffer(RECEIVE_BUFFER);
    wire.send(get("/download", &[]));
    stopped.pass();
    let head = wire.head().expect("a head");
    assert_eq!(head.headers.get("content-length"), Some(SIZE.to_string().as_str()));
    assert!(digest_of_next(&mut wire, SIZE) == expected, "the bytes differ");
    let held = tell.recv_timeout(PATIENCE).expect("the hub is done");
    assert!(held < HELD_MAX, "{held} bytes were taken while the browser read none");
    assert_eq!(wire.ask(get("/next", &[])).status, 200);
}
