//! One person's browser: follows a login link through redirects, the queue and the start of a server.
//!
//! As much of a browser as the login needs: cookies by path, Fetch Metadata of a navigation, `Refresh`. It never leaves
//! the public origin.

use std::sync::Arc;
use std::time::Duration;

use cookie::Cookie;
use reqwest::header::{ACCEPT, COOKIE, HeaderMap, LOCATION, REFRESH, SET_COOKIE, USER_AGENT};
use reqwest::{Client, Response, StatusCode, redirect};
use tokio::time::Instant;
use url::Url;

use crate::cli::call::root_cause;
use crate::tls::{Connector, client_rules};

/// The most steps of one person: redirects, and looks at a page that waits.
const STEPS_MAX: usize = 2_000;
/// How often a page that names no time of its own is looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest pause that a page may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Where everybody goes.
pub(super) struct Site {
    pub(super) origin: String,
    pub(super) base_url: String,
    pub(super) tls: Option<Connector>,
}

/// What became of a click that led in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clicked {
    /// From the click to the login.
    pub(super) logged_in: Duration,
    /// From the click to the response of the server, if it was waited for.
    pub(super) in_server: Option<Duration>,
    /// Whether the queue page was shown.
    pub(super) queued: bool,
}

/// One person's browser.
pub(super) struct Browser {
    site: Arc<Site>,
    client: Client,
    agent: String,
    cookies: Vec<(String, String, String)>,
}

impl Browser {
    /// A browser without cookies and with connections of its own.
    pub(super) fn of(site: Arc<Site>, number: u32) -> Result<Self, String> {
        let rules = client_rules(site.tls.as_ref()).map_err(|error| error.to_string())?;
        let builder = Client::builder().redirect(redirect::Policy::none()).no_proxy();
        let client = builder.tls_backend_preconfigured(rules).build().map_err(|error| error.to_string())?;
        Ok(Self { site, client, agent: format!("hublatch-rehearsal/{number}"), cookies: Vec::new() })
    }

    /// Clicks `link`, which logs `user` in, and goes on until the hub's home page, or until the server answers.
    pub(super) async fn click(
        mut self,
        link: &str,
        user: &str,
        into_server: bool,
        patience: Duration,
    ) -> Result<Clicked, String> {
        let begun = Instant::now();
        let walk = self.walk(link, user, into_server, begun);
        match tokio::time::timeout(patience, walk).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(format!("not in after {} s", patience.as_secs())),
        }
    }

    async fn walk(
        &mut self,
        link: &str,
        user: &str,
        into_server: bool,
        begun: Instant,
    ) -> Result<Clicked, String> {
        let login = format!("{}hub/login", self.site.base_url);
        let server = format!("{}user/{user}/", self.site.base_url);
        let mut url = Url::parse(link).map_err(|error| format!("the link is no URL: {error}"))?;
        let (mut logged_in, mut queued) = (None, false);
        for _ in 0..STEPS_MAX {
            let response = self.get(&url).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            self.keep_cookies(&url, &headers);
            if status.is_redirection() {
                let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
                let next = location.and_then(|location| url.join(location).ok());
                let next = next.ok_or_else(|| format!("{status} without a readable Location"))?;
                if next.origin().ascii_serialization() != self.site.origin {
                    return Err("led away from the public address".to_owned());
                }
                if url.path() == login && next.path() != login && logged_in.is_none() {
                    logged_in = Some(begun.elapsed());
                }
                url = next;
                continue;
            }
            if let Some((pause, next)) = refresh(&headers, &url) {
                queued = queued || logged_in.is_none();
                tokio::time::sleep(pause).await;
                url = next;
                continue;
            }
            if !status.is_success() {
                return Err(refused(response).await);
            }
            // In line for the login: browsers without script are told in the page when to ask again.
            if logged_in.is_none() && url.path() == login {
                let page = response.text().await.unwrap_or_default();
                if page.contains("http-equiv=\"refresh\"") {
                    queued = true;
                    tokio::time::sleep(LOOK_EVERY).await;
                    continue;
                }
            }
            let logged_in = logged_in.ok_or_else(|| "a page in place of the login".to_owned())?;
            if !into_server {
                return Ok(Clicked { logged_in, in_server: None, queued });
            }
            if url.path().starts_with(&server) {
                return Ok(Clicked { logged_in, in_server: Some(begun.elapsed()), queued });
            }
            // The hub's page of a server that starts: it leads on when that is ready.
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(format!("not in after {STEPS_MAX} pages"))
    }

    async fn get(&self, url: &Url) -> Result<Response, String> {
        let mut request = self
            .client
            .get(url.clone())
            .header(USER_AGENT, &self.agent)
            .header(ACCEPT, "text/html,application/xhtml+xml")
            .header("Sec-Fetch-Site", "none")
            .header("Sec-Fetch-Mode", "navigate")
            .header("Sec-Fetch-Dest", "document");
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .filter(|(path, ..)| covers(path, url.path()))
            .map(|(_, name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        // The cause alone: the error itself names the link.
        request.send().await.map_err(|error| format!("no answer: {}", root_cause(&error)))
    }

    fn keep_cookies(&mut self, url: &Url, headers: &HeaderMap) {
        for line in headers.get_all(SET_COOKIE) {
            let Some(cookie) = line.to_str().ok().and_then(|line| Cookie::parse(line).ok()) else { continue };
            let folder = url.path().rsplit_once('/').map_or("/", |(folder, _)| folder);
            let path = cookie.path().unwrap_or(folder).to_owned();
            self.cookies.retain(|(other, name, _)| *other != path || name != cookie.name());
            // A quoted value keeps its quotes: the hub's cookies are.
            let over = cookie.max_age().is_some_and(|age| age.is_zero() || age.is_negative());
            if !over && !cookie.value().is_empty() {
                self.cookies.push((path, cookie.name().to_owned(), cookie.value().to_owned()));
            }
        }
    }
}

/// RFC 6265 § 5.1.4.
fn covers(path: &str, of: &str) -> bool {
    of.strip_prefix(path).is_some_and(|rest| path.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

/// Where a page leads by itself, and after what time.
fn refresh(headers: &HeaderMap, url: &Url) -> Option<(Duration, Url)> {
    let text = headers.get(REFRESH)?.to_str().ok()?;
    let (seconds, rest) = text.split_once(';').unwrap_or((text, ""));
    let pause = Duration::from_secs(seconds.trim().parse().ok()?).min(PAUSE_MAX);
    let target = rest.trim().strip_prefix("url=").map(|target| target.trim_matches('"'));
    let next = target.map_or(Some(url.clone()), |target| url.join(target).ok())?;
    (next.origin() == url.origin()).then_some((pause, next))
}

/// Why a click was refused: the status, and the title of the page.
async fn refused(response: Response) -> String {
    let status: StatusCode = response.status();
    let text = response.text().await.unwrap_or_default();
    let title = text.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    match title {
        Some((title, _)) => format!("{status}: {}", title.trim().chars().take(80).collect::<String>()),
        None => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_sent_to_its_path_and_below() {
        for (path, of) in [("/", "/hub/home"), ("/hub/", "/hub/home"), ("/hub", "/hub"), ("/hub", "/hub/x")] {
            assert!(covers(path, of), "{path} {of}");
        }
        for (path, of) in [("/hub/", "/hub"), ("/hub", "/hubble"), ("/user/bob/", "/user/alice/")] {
            assert!(!covers(path, of), "{path} {of}");
        }
    }

    #[test]
    fn a_page_that_waits_says_where_it_leads_and_never_elsewhere() {
        let url = Url::parse("http://127.0.0.1:8000/hub/login?x=1").unwrap();
        let verdict = |text: &str| {
            let headers = [(REFRESH, text.parse().unwrap())].into_iter().collect();
            refresh(&headers, &url).map(|(pause, next)| (pause.as_secs(), next.to_string()))
        };
        assert_eq!(verdict("2"), Some((2, url.to_string())));
        let there = "http://127.0.0.1:8000/hub/queue?c=1".to_owned();
        assert_eq!(verdict("1; url=/hub/queue?c=1"), Some((1, there)));
        assert_eq!(verdict("900").map(|(pause, _)| pause), Some(PAUSE_MAX.as_secs()));
        for text in ["soon", "1; url=http://evil.example/", "1; url=//evil.example/"] {
            assert_eq!(verdict(text), None, "{text}");
        }
    }
}
