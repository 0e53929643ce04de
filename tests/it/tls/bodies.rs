//! Bodies over TLS and HTTP/2, both ways: whole, broken off, large, and what comes behind them.

use std::sync::mpsc;

use super::http2::{get, read, request, upload};
use super::{Secure, noise};
use crate::support::requests::holds;
use crate::support::{FakeHub, PATIENCE, Then};

#[test]
fn bodies_pass_over_http2_with_and_without_a_length() {
    let hub = FakeHub::start();
    hub.otherwise(|exchange| {
        exchange.read_body();
        exchange.answer("200 OK", "thanks")
    });
    let secure = Secure::start(&hub);
    let mut http2 = secure.http2();
    for method in ["POST", "PUT", "PATCH"] {
        assert_eq!(
            http2.send(request(method, "/sized", &[("content-length", "4")]), b"body").text(),
            "thanks"
        );
        assert_eq!(http2.send(request(method, "/streamed", &[]), b"body").text(), "thanks");
    }
    for method in ["DELETE", "OPTIONS"] {
        assert_eq!(http2.send(request(method, "/held", &[]), b"body").status, 200);
    }
    assert_eq!(http2.send(request("DELETE", "/large", &[]), &[0; 64 * 1024 + 1]).status, 413);
    for seen in hub.seen() {
        assert!(seen.complete && seen.body == b"body", "{seen:?}");
        let framing = (seen.headers.get("content-length"), seen.headers.get("transfer-encoding"));
        let expected = if seen.path() == "/streamed" { (None, Some("chunked")) } else { (Some("4"), None) };
        assert_eq!(framing, expected, "{} {}", seen.method, seen.target);
    }
    assert_eq!(hub.seen().len(), 8);
}

#[test]
fn answers_come_back_whole() {
    let hub = FakeHub::start();
    hub.reply("/204", "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n");
    hub.reply("/304", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n");
    hub.reply("/head", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
    hub.reply("/hop", "HTTP/1.1 200 OK\r\nConnection: keep-alive, x-hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nok");
    hub.reply("/trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 7\r\n\r\n");
    let secure = Secure::start(&hub);
    let mut http2 = secure.http2();
    assert_eq!(http2.ask(get("/204", &[])).status, 204);
    let unmodified = http2.ask(get("/304", &[]));
    assert_eq!((unmodified.status, &unmodified.headers["etag"]), (304, &"\"x\"".parse().unwrap()));
    let head = http2.ask(request("HEAD", "/head", &[]));
    assert_eq!((&head.headers["content-length"], head.body.len()), (&"1234".parse().unwrap(), 0));
    let hop = http2.ask(get("/hop", &[]));
    assert_eq!(hop.text(), "ok");
    for gone in ["connection", "keep-alive", "x-hop", "transfer-encoding"] {
        assert!(!hop.headers.contains_key(gone), "{gone}");
    }
    let trailers = http2.ask(get("/trailers", &[]));
    assert_eq!(trailers.text(), "body");
    assert_eq!(trailers.trailers.expect("trailers")["x-sum"], "7");
}

#[test]
fn interim_answers_of_the_hub_do_not_disturb_the_final_one_over_http2() {
    let hub = FakeHub::start();
    hub.reply(
        "/x",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal",
    );
    let secure = Secure::start(&hub);
    let mut http2 = secure.http2();
    for _ in 0..2 {
        let answer = http2.ask(get("/x", &[]));
        assert_eq!((answer.status, answer.text().as_str()), (200, "final"));
    }
}

#[test]
fn an_answer_to_an_unfinished_upload_comes_at_once_over_http2() {
    let hub = FakeHub::start();
    hub.on("/x", |exchange| {
        exchange.wire.take(64 * 1024);
        exchange.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\ntoo");
        Then::Close
    });
    let secure = Secure::start(&hub);
    let mut http2 = secure.http2();
    let status = http2.run(async |sender| {
        let mut sender = sender.ready().await.unwrap();
        let (response, mut stream) =
            sender.send_request(request("POST", "/x", &[("content-length", "100000")]), false).unwrap();
        stream.send_data(vec![b'x'; 64 * 1024].into(), false).unwrap();
        // The rest is never sent.
        let status = response.await.unwrap().status().as_u16();
        drop(stream);
        status
    });
    assert_eq!(status, 413);
    // The connection itself is as good as before.
    assert_eq!(http2.ask(get("/good", &[])).status, 200);
}

#[test]
fn an_identity_behind_the_body_does_not_arrive_over_http2() {
    let hub = FakeHub::start();
    hub.otherwise(|exchange| exchange.answer("200 OK", "ok"));
    let secure = Secure::start(&hub);
    let status = secure.http2().run(async |sender| {
        let (response, mut stream) = sender
            .ready()
            .await
            .unwrap()
            .send_request(request("POST", "/x", &[("te", "trailers")]), false)
            .unwrap();
        stream.send_data("body".into(), false).unwrap();
        let trailers = [("remote_user", "mallory")].map(|(name, value)| {
            (hyper::header::HeaderName::from_static(name), hyper::header::HeaderValue::from_static(value))
        });
        stream.send_trailers(trailers.into_iter().collect()).unwrap();
        response.await.unwrap().status().as_u16()
    });
    let seen = hub.only("/x");
    assert_eq!((status, seen.body.as_slice(), seen.trailers.len()), (200, &b"body"[..], 0));
    assert!(hub.received().iter().all(|bytes| !holds(bytes, "mallory")));
}

#[test]
fn an_answer_that_breaks_off_is_no_clean_end() {
    let hub = FakeHub::start();
    hub.on("/broken", |exchange| {
        exchange.read_body();
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort");
        Then::Close
    });
    let secure = Secure::start(&hub);
    let mut http2 = secure.http2();
    let error = http2.try_ask(get("/broken", &[])).expect_err("a broken answer");
    assert!(error.is_reset(), "{error}");
    // The connection itself is as good as before.
    assert_eq!(http2.ask(get("/good", &[])).status, 200);
}

#[test]
fn a_large_upload_over_http2_is_intact_and_so_is_a_large_download() {
    let hub = FakeHub::start();
    let (told, length) = mpsc::channel();
    let sent = noise(64 * 1024 * 1024);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &sent);
    hub.on("/upload", move |exchange| {
        let read = exchange.read_body();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, read);
        told.send(digest.as_ref().to_vec()).unwrap();
        exchange.answer("201 Created", "")
    });
    let back = sent.clone();
    hub.on("/download", move |exchange| exchange.answer("200 OK", &back));
    let secure = Secure::start(&hub);
    let mut http2 = secure.http2();
    let size = sent.len().to_string();
    // Unoptimised, and beside other tests, this many bytes take their time.
    let long = 12 * PATIENCE;
    let status = http2.run_within(long, async |sender| {
        let request = request("PUT", "/upload", &[("content-length", &size)]);
        let (response, mut stream) = sender.ready().await.unwrap().send_request(request, false).unwrap();
        upload(&mut stream, sent.clone().into()).await;
        read(response).await.unwrap().status
    });
    assert_eq!((status, length.recv().unwrap().as_slice()), (201, digest.as_ref()));
    let back = http2.run_within(long, async |sender| {
        let (response, _) = sender.ready().await.unwrap().send_request(get("/download", &[]), true).unwrap();
        read(response).await.unwrap().body
    });
    assert!(back == sent, "the same bytes");
}
