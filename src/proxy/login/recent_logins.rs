//! Browsers that have just been logged in: one that comes back at once, to where its link led, and is nobody at the hub has
//! not kept the hub's cookie. It is told so; otherwise it would be sent for another link, for ever.
//!
//! Kept in memory, for ten seconds, by client network and User-Agent. Many browsers of a class look alike, and the links of
//! all may lead to one address, so it must also come for a place that names the user of this very login. A miss costs the
//! explanation and nothing else.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{HeaderValue, USER_AGENT};
use tokio::time::Instant;

use crate::client_network::network_of;

/// How long a login is remembered.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// The most logins that are remembered; the oldest goes.
const LOGINS_MAX: usize = 2048;
/// The longest User-Agent that is compared.
const BYTES_MAX: usize = 512;

/// The logins of the last seconds.
#[derive(Debug, Clone, Default)]
pub struct RecentLogins(Arc<Mutex<VecDeque<RecentLogin>>>);

#[derive(Debug)]
struct RecentLogin {
    network: IpAddr,
    user_agent: Vec<u8>,
    username: String,
    at: Instant,
}

impl RecentLogins {
    /// Remembers that the browser with `user_agent` at `client` was logged in as `username`.
    pub fn add(&self, client: IpAddr, user_agent: Option<&HeaderValue>, username: &str) {
        let mut logins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while logins.len() >= LOGINS_MAX || logins.front().is_some_and(|login| login.at.elapsed() > KEPT_FOR)
        {
            logins.pop_front();
        }
        logins.push_back(RecentLogin {
            network: network_of(client),
            user_agent: shortened(user_agent),
            username: username.to_owned(),
            at: Instant::now(),
        });
    }

    /// Whether the browser with `headers` at `client`, which is nobody and wants to go to `place`, has been logged in a
    /// moment ago, as whomever. The login is forgotten by that: what the browser does next is no loop.
    pub fn take(&self, client: IpAddr, headers: &HeaderMap, place: &str) -> Option<String> {
        let (network, user_agent) = (network_of(client), shortened(headers.get(USER_AGENT)));
        let mut logins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = logins.iter().rposition(|login| {
            login.at.elapsed() <= KEPT_FOR
                && login.network == network
                && login.user_agent == user_agent
                && mentions(place, &login.username)
        })?;
        logins.remove(at).map(|login| login.username)
    }
}

fn shortened(user_agent: Option<&HeaderValue>) -> Vec<u8> {
    let bytes = user_agent.map(HeaderValue::as_bytes).unwrap_or_default();
    bytes.iter().take(BYTES_MAX).copied().collect()
}

/// Whether `place` is of the servers of `username`: their own address, or the hub's OAuth on their behalf.
fn mentions(place: &str, username: &str) -> bool {
    let escaped = percent_encoding::utf8_percent_encode(username, percent_encoding::NON_ALPHANUMERIC);
    [username.to_owned(), escaped.to_string()].iter().any(|name| {
        [format!("/user/{name}"), format!("jupyterhub-user-{name}")].iter().any(|mention| {
            place.match_indices(mention.as_str()).any(|(at, _)| {
                matches!(place.as_bytes().get(at + mention.len()), None | Some(b'/' | b'?' | b'&' | b'#'))
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &'static str) -> HeaderMap {
        [(USER_AGENT, HeaderValue::from_static(name))].into_iter().collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_browser_is_known_by_its_network_agent_and_place_once_and_for_ten_seconds() {
        let client: IpAddr = "192.0.2.7".parse().expect("an address");
        let other: IpAddr = "192.0.2.8".parse().expect("an address");
        let logins = RecentLogins::default();
        let add = || logins.add(client, agent("a").get(USER_AGENT), "alice");
        let take = |client, agent_name, place| logins.take(client, &agent(agent_name), place);
        for place in [
            "/user/alice",
            "/hub/user/alice/lab",
            "/hub/api/oauth2/authorize?client_id=jupyterhub-user-alice&x",
        ] {
            add();
            assert_eq!(take(other, "a", place), None);
            assert_eq!(take(client, "b", place), None);
            for elsewhere in ["/hub/spawn", "/hub/home", "/user/alicette/", "/user/bob/", ""] {
                assert_eq!(take(client, "a", elsewhere), None, "{elsewhere}");
            }
            assert_eq!(take(client, "a", place).as_deref(), Some("alice"), "{place}");
            assert_eq!(take(client, "a", place), None, "once");
        }
        add();
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(take(client, "a", "/user/alice"), None);
    }
}
