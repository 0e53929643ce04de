//! A hub that is down, slow, another program, or a page: an error of its own kind each, and never a wrong yes or no.

use std::io::Read as _;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use hublatch::hub::HubError;

use super::{OWN, answers, client, client_with, refuses};
use crate::support::{FakeHub, Gate, TestProxy, Then};

const PATH: &str = "/hub/api/user";

/// What the hub answers, the status for whoever asked, and a part of the message.
const BAD_ANSWERS: [(&str, u16, &str); 16] = [
    (
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>hi</html>",
        502,
        "a page (HTML)",
    ),
    (
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 15\r\n\r\n<html>no</html>",
        502,
        "status 403 with a page (HTML)",
    ),
    ("HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nNot Found", 502, "another text"),
    ("HTTP/1.1 403 Forbidden\r\nContent-Length: 13\r\n\r\n{\"status\":200}", 502, "status 403"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 502, "JSON of another kind"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{\"name\":\"\",\"kind\":\"service\"}", 502, "status 200"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{\"name\":\"x\",\"kind\":\"martian\"}", 502, "status 200"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 502, "no body"),
    ("HTTP/1.1 204 No Content\r\n\r\n", 502, "no body"),
    ("HTTP/1.1 302 Found\r\nLocation: /hub/login\r\nContent-Length: 0\r\n\r\n", 502, "status 302"),
    (
        "HTTP/1.1 500 Oops\r\nContent-Length: 34\r\n\r\n{\"status\":500,\"message\":\"no\\nhub\"}",
        502,
        "500: no hub",
    ),
    ("HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n", 502, "the hub answers 502"),
    (
        "HTTP/1.1 503 Later\r\nRetry-After: 7\r\nContent-Length: 12\r\n\r\n<b>later</b>",
        503,
        "the hub answers 503",
    ),
    ("HTTP/1.1 504 Slow\r\nContent-Length: 0\r\n\r\n", 504, "the hub answers 504"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"name\":\"x\"}", 503, "out of reach"),
    ("\x16\x03garbage\r\n\r\n", 503, "out of reach"),
];

#[tokio::test]
async fn what_is_not_the_hubs_answer_is_neither_a_yes_nor_a_no() {
    for (answer, status, part) in BAD_ANSWERS {
        let hub = FakeHub::start();
        hub.on(PATH, move |exchange| {
            exchange.read_body();
            exchange.send(answer);
            Then::Close
        });
        let error = client(&hub).whoami("deadbeef").await.expect_err(answer);
        assert_eq!(error.gateway_status().as_u16(), status, "{answer:?}: {error}");
        let told = error.to_string();
        assert!(told.contains(part) && !told.contains('\n') && !told.contains('<'), "{answer:?}: {told}");
        assert_eq!(hub.seen_at(PATH).len(), 1, "it is asked once: {answer:?}");
    }
}

#[tokio::test]
async fn no_error_names_a_token() {
    for (answer, ..) in BAD_ANSWERS {
        let hub = FakeHub::start();
        hub.otherwise(move |exchange| {
            exchange.read_body();
            exchange.send(answer);
            Then::Close
        });
        hub.on(PATH, move |exchange| {
            exchange.read_body();
            exchange.send(answer);
            Then::Close
        });
        for error in [
            client(&hub).whoami("deadbeef").await.unwrap_err(),
            client(&hub).create_user("zed").await.unwrap_err(),
        ] {
            let told = format!("{error} {error:?}");
            assert!(!told.contains("deadbeef") && !told.contains(OWN), "{told}");
        }
    }
    let hub = FakeHub::start();
    let told = format!("{:?} {:?}", client(&hub), super::configured(&hub).config().hub);
    assert!(!told.contains(OWN), "{told}");
}

#[tokio::test]
async fn a_hub_that_is_not_there_is_out_of_reach() {
    let (_kept, url) = crate::support::hub::absent();
    let config = TestProxy::before_url(&url).config();
    let metrics = Arc::new(hublatch::metrics::Metrics::new());
    let client = hublatch::hub::HubClient::new(&config, Arc::clone(&metrics)).unwrap();
    let error = client.whoami("deadbeef").await.unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(
        metrics.text().contains("hublatch_hub_api_calls_total{call=\"whoami\",result=\"unreachable\"} 1")
    );
}

#[tokio::test]
async fn a_hub_that_does_not_answer_in_time_is_told_apart() {
    let hub = FakeHub::start();
    let gate = Arc::new(Gate::default());
    let waits = Arc::clone(&gate);
    hub.on(PATH, move |_| {
        waits.pass();
        Then::Close
    });
    // Within the body as well as before the head.
    let waits = Arc::clone(&gate);
    hub.on("/hub/api/users/zed", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{");
        waits.pass();
        Then::Close
    });
    let (client, metrics) = client_with(&hub, |builder| builder.set("limits", "hub_api_timeout = \"50ms\""));
    for error in [client.whoami("deadbeef").await.unwrap_err(), client.user("zed").await.unwrap_err()] {
        assert!(matches!(error, HubError::TimedOut { .. }), "{error}");
        assert_eq!(error.gateway_status().as_u16(), 504);
    }
    gate.open();
    assert!(
        metrics.text().contains("hublatch_hub_api_calls_total{call=\"read_user\",result=\"timed_out\"} 1")
    );
}

#[tokio::test]
async fn calls_above_the_limit_wait_for_their_turn() {
    let hub = FakeHub::start();
    let gate = Arc::new(Gate::default());
    let waits = Arc::clone(&gate);
    hub.on("/hub/api/users/zed", move |exchange| {
        waits.pass();
        exchange.answer("404 No", "{\"status\":404,\"message\":\"\"}")
    });
    let (client, _) = client_with(&hub, |builder| builder.set("limits", "hub_api_calls = 1"));
    let both = async { tokio::join!(client.user("zed"), client.user("zed")) };
    let watching = tokio::task::spawn_blocking(move || {
        hub.wait_for_path("/hub/api/users/zed");
        let while_one_waits = hub.seen().len();
        gate.open();
        (while_one_waits, hub)
    });
    let ((one, two), watched) = tokio::join!(both, watching);
    assert!(one.unwrap().is_none() && two.unwrap().is_none());
    let (while_one_waits, hub) = watched.unwrap();
    assert_eq!((while_one_waits, hub.seen().len(), hub.connections()), (1, 2, 1), "over one connection, too");
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let hub = FakeHub::start();
    hub.on(PATH, |exchange| {
        exchange.read_body();
        exchange.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[");
        for _ in 0..64 {
            exchange.send([b' '; 64 * 1024]);
        }
        Then::Close
    });
    let error = client(&hub).whoami("deadbeef").await.unwrap_err();
    assert!(error.to_string().contains("more than 1 MiB"), "{error}");
}

#[tokio::test]
async fn connections_are_used_again_and_a_hub_that_restarts_is_found_again() {
    let hub = FakeHub::start();
    refuses(&hub, "/hub/api/users/zed", 404, "");
    answers(&hub, PATH, "200 OK", serde_json::json!({"name": "x", "kind": "service"}));
    let client = client(&hub);
    for _ in 0..3 {
        assert!(client.whoami("deadbeef").await.is_ok() && client.user("zed").await.is_ok());
    }
    assert_eq!(hub.connections(), 1);
    hub.drop_connections();
    // The client may see the end of the old connection only when it writes; nothing is sent twice.
    while client.whoami("deadbeef").await.is_err() {}
    assert_eq!(hub.connections(), 2);
}

#[tokio::test]
async fn the_hub_can_be_behind_a_base_url_a_url_of_its_own_or_a_socket() {
    let (public, internal) = (FakeHub::start(), FakeHub::start());
    let owner = serde_json::json!({"name": "x", "kind": "service"});
    for hub in [&public, &internal] {
        answers(hub, "/jupyter/hub/api/user", "200 OK", owner.clone());
    }
    let (client, _) = client_with(&public, |builder| builder.base_url("/jupyter/"));
    assert!(client.whoami("deadbeef").await.unwrap().is_some());
    let url = format!("base_url = \"/jupyter/\"\napi_url = \"{}/jupyter/hub/api/\"", internal.url());
    let (client, _) = client_with(&public, |builder| builder.set("hub", &url));
    assert!(client.whoami("deadbeef").await.unwrap().is_some());
    assert_eq!((public.seen().len(), internal.seen().len()), (1, 1));

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hub.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let serving = std::thread::spawn(move || {
        use std::io::Write as _;
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let body = "{\"name\":\"x\",\"kind\":\"service\"}";
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        String::from_utf8(head).unwrap()
    });
    let url = format!("base_url = \"/jupyter/\"\napi_url = \"unix:{}\"", path.display());
    let (client, _) = client_with(&public, |builder| builder.set("hub", &url));
    assert!(client.whoami("deadbeef").await.unwrap().is_some());
    let head = serving.join().unwrap();
    assert!(
        head.starts_with("GET /jupyter/hub/api/user HTTP/1.1\r\n") && head.contains("host: localhost\r\n"),
        "{head}"
    );
}
