//! The Hub API over TLS: the hub must prove itself by `hub.ca_file`, wherever its API is.

use std::sync::Arc;

use hublatch::hub::{HubClient, HubError};
use serde_json::json;

use super::{OWN, answers};
use crate::support::{FakeHub, TestProxy};
use crate::tls::certificates::Authority;
use crate::tls::pump;

fn client(url: &str, authority: &Authority, lines: &str) -> HubClient {
    let section = format!("ca_file = {:?}\napi_token = {OWN:?}\n{lines}", authority.ca_file());
    let config = TestProxy::before_url(url).set("hub", &section).config();
    HubClient::new(&config, Arc::default()).expect("a client")
}

#[tokio::test]
async fn a_hub_that_proves_its_name_is_asked_and_no_other() {
    let hub = FakeHub::start();
    answers(&hub, "/hub/api/user", "200 OK", json!({"name": "x", "kind": "service"}));
    let (right, wrong) = (Authority::new("hub"), Authority::new("hub"));
    let front =
        |authority: &Authority, name: &str| pump::front(hub.address(), authority.issue(&[name]).server());
    let good = front(&right, "127.0.0.1");
    assert!(client(&format!("https://{good}"), &right, "").whoami("deadbeef").await.unwrap().is_some());
    // The public proxy in the clear, the hub itself over TLS, and the other way round.
    let own = format!("api_url = \"https://{good}/hub/api\"");
    assert!(client("http://127.0.0.1:9", &right, &own).whoami("deadbeef").await.unwrap().is_some());
    let plain = format!("api_url = \"{}/hub/api\"", hub.url());
    assert!(client(&format!("https://{good}"), &right, &plain).whoami("deadbeef").await.unwrap().is_some());
    assert_eq!(hub.seen().len(), 3);
    for (what, address) in [
        ("another authority", front(&wrong, "127.0.0.1")),
        ("another name", front(&right, "hub.test")),
        ("no TLS", hub.address()),
    ] {
        let error =
            client(&format!("https://{address}"), &right, "").whoami("deadbeef").await.expect_err(what);
        // Whoever does not speak TLS waits for a request, and is given up at upstream_connect_timeout.
        assert!(matches!(error, HubError::Unreachable { .. } | HubError::TimedOut { .. }), "{what}: {error}");
    }
    assert_eq!(hub.seen().len(), 3, "and no token was shown to them");
}
