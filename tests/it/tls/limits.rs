//! Limits of HTTP/2 connections: idleness, silence, peers that take nothing, and the drain.

use std::time::{Duration, Instant};

use super::http2::{Http2, get, read, request};
use super::{H2, Secure};
use crate::support::gate::Gate;
use crate::support::requests::chunk;
use crate::support::{FakeHub, PATIENCE, Then};

#[test]
fn a_connection_with_a_silent_answer_is_not_idle() {
    let hub = FakeHub::start();
    let gate = Gate::new();
    let held = gate.clone();
    hub.on("/events", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        exchange.send(chunk("one"));
        held.pass();
        exchange.send(chunk("two"));
        exchange.send("0\r\n\r\n");
        Then::Next
    });
    let secure = Secure::with(&hub, |builder| {
        builder.set("limits", "idle_timeout = \"1s\"\nwrite_stall_timeout = \"1s\"")
    });
    let mut http2 = secure.http2();
    let body = http2.run(async |sender| {
        let (response, _) = sender.ready().await.unwrap().send_request(get("/events", &[]), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "one", "comes at once");
        tokio::time::sleep(Duration::from_millis(2500)).await;
        gate.open();
        body.data().await.unwrap().unwrap()
    });
    assert_eq!(body, "two");
}

#[test]
fn a_drain_sends_goaway_and_finishes_what_is_under_way() {
    let hub = FakeHub::start();
    let gate = Gate::new();
    let held = gate.clone();
    hub.on("/slow", move |exchange| {
        held.pass();
        exchange.answer("200 OK", "late but whole")
    });
    let secure = Secure::with(&hub, |builder| builder.set("limits", "drain_timeout = \"10m\""));
    let mut http2 = secure.http2();
    let answer = http2.run(async |sender| {
        let mut sender = sender.ready().await.unwrap();
        let (response, _) = sender.send_request(get("/slow", &[]), true).unwrap();
        tokio::task::yield_now().await;
        hub_has_seen(&hub, "/slow").await;
        secure.proxy.drain();
        // No new request is taken once the GOAWAY is there.
        let refused = loop {
            match sender.ready().await {
                Err(error) => break error,
                Ok(ready) => sender = ready,
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        assert!(refused.is_go_away() || refused.is_io() || refused.is_remote(), "{refused}");
        gate.open();
        read(response).await.unwrap()
    });
    assert_eq!(answer.text(), "late but whole");
    http2.ended(PATIENCE);
    secure.proxy.join_within(PATIENCE);
}

async fn hub_has_seen(hub: &FakeHub, path: &str) {
    while hub.seen_at(path).is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn an_answer_that_nobody_takes_is_given_up_and_the_others_go_on() {
    let hub = FakeHub::start();
    hub.on("/large", |exchange| exchange.answer("200 OK", vec![b'x'; 4 * 1024 * 1024]));
    let secure = Secure::with(&hub, |builder| {
        builder.set("limits", "write_stall_timeout = \"300ms\"\nidle_timeout = \"30s\"")
    });
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(64 * 1024).initial_connection_window_size(16 * 1024 * 1024);
    let mut http2 = Http2::with(secure.proxy.address(), &secure.client(H2), &builder);
    let begun = Instant::now();
    http2.run(async |sender| {
        let (stalled, _) = sender.clone().send_request(get("/large", &[]), true).unwrap();
        // Its window is never opened again; meanwhile others are answered.
        let mut body = stalled.await.unwrap().into_body();
        let mut taken = 0;
        let error = loop {
            let (other, _) =
                sender.clone().ready().await.unwrap().send_request(get("/x", &[]), true).unwrap();
            assert_eq!(read(other).await.unwrap().status, 200);
            match futures_util::poll!(std::pin::pin!(body.data())) {
                std::task::Poll::Ready(Some(Ok(data))) => taken += data.len(),
                std::task::Poll::Ready(Some(Err(error))) => break error,
                std::task::Poll::Ready(None) => panic!("a clean end after {taken} bytes"),
                std::task::Poll::Pending => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        assert!(error.is_reset(), "{error}");
        assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
        assert_eq!(taken, 64 * 1024);
        // The connection to the hub was given up with it.
        assert_eq!(
            read(sender.ready().await.unwrap().send_request(get("/y", &[]), true).unwrap().0)
                .await
                .unwrap()
                .status,
            200
        );
    });
    assert_eq!(secure.proxy.metric("hublatch_connections"), 1);
}

#[test]
fn a_slow_reader_who_takes_something_is_served_to_the_end() {
    let hub = FakeHub::start();
    let size = 512 * 1024;
    hub.on("/large", move |exchange| exchange.answer("200 OK", vec![b'x'; size]));
    let secure = Secure::with(&hub, |builder| builder.set("limits", "write_stall_timeout = \"5s\""));
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(64 * 1024);
    let mut http2 = Http2::with(secure.proxy.address(), &secure.client(H2), &builder);
    let begun = Instant::now();
    let taken = http2.run(async |sender| {
        let (response, _) = sender.ready().await.unwrap().send_request(get("/large", &[]), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let mut taken = 0;
        while let Some(data) = body.data().await {
            let data = data.expect("the answer goes on");
            taken += data.len();
            tokio::time::sleep(Duration::from_millis(170)).await;
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        taken
    });
    assert_eq!(taken, size);
    // All of it took longer than any part of it may.
    assert!(begun.elapsed() > Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn more_requests_than_allowed_wait_for_their_turn() {
    let hub = FakeHub::start();
    let secure = Secure::with(&hub, |builder| builder.set("limits", "streams = 3"));
    let mut http2 = secure.http2();
    // A client knows the limit once it has our settings.
    assert_eq!(http2.ask(get("/first", &[])).status, 200);
    let statuses = http2.run(async |sender| {
        let mut answers = Vec::new();
        for n in 0..20 {
            let sender = sender.clone();
            answers.push(async move {
                let (response, _) =
                    sender.ready().await.unwrap().send_request(get(&format!("/{n}"), &[]), true).unwrap();
                read(response).await.unwrap().status
            });
        }
        futures_util::future::join_all(answers).await
    });
    assert_eq!(statuses, [200; 20]);
    assert_eq!(hub.seen().len(), 21);
}

#[test]
fn a_head_that_is_too_large_is_refused_and_the_connection_kept() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    let mut http2 = secure.http2();
    let large = "x".repeat(40 * 1024);
    match http2.try_ask(request("GET", "/x", &[("x-large", &large)])) {
        Ok(answer) => assert_eq!(answer.status, 431),
        Err(error) => assert!(error.is_reset() || error.is_library(), "{error}"),
    }
    assert_eq!(hub.seen().len(), 0);
    assert_eq!(http2.ask(get("/y", &[])).status, 200);
}

#[test]
fn a_body_that_stalls_is_given_up_and_the_others_go_on() {
    let hub = FakeHub::start();
    let secure = Secure::with(&hub, |builder| builder.set("limits", "body_stall_timeout = \"300ms\""));
    let mut http2 = secure.http2();
    let form = ("content-type", "application/x-www-form-urlencoded");
    for (method, path) in [("PUT", "/x"), ("DELETE", "/y"), ("OPTIONS", "/y"), ("POST", "/hub/login")] {
        http2.run(async |sender| {
            let stalled = request(method, path, &[form]);
            let (stalled, mut stream) =
                sender.clone().ready().await.unwrap().send_request(stalled, false).unwrap();
            let begun = Instant::now();
            stream.send_data("login_token=".into(), false).unwrap();
            let mut stalled = std::pin::pin!(read(stalled));
            let answer = loop {
                let (other, _) =
                    sender.clone().ready().await.unwrap().send_request(get("/z", &[]), true).unwrap();
                assert_eq!(read(other).await.unwrap().status, 200);
                match futures_util::poll!(stalled.as_mut()) {
                    std::task::Poll::Ready(answer) => break answer.unwrap(),
                    std::task::Poll::Pending => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            };
            assert_eq!(answer.status, 408, "{method}: {}", answer.text());
            assert!(begun.elapsed() >= Duration::from_millis(250), "{method}: {:?}", begun.elapsed());
        });
    }
    assert!(hub.seen().iter().all(|seen| seen.path() == "/z"), "the hub is asked for none of them");
    assert_eq!(secure.proxy.metric("hublatch_upstream_errors_total"), 0);
}
