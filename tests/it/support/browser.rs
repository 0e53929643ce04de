//! A browser as far as hublatch can see one: a cookie jar, Fetch Metadata, redirects and forms, in exact bytes.

use std::net::SocketAddr;

use super::form::Form;
use super::{Answer, Wire};

/// A browser with its cookies and one connection.
#[derive(Debug)]
pub struct Browser {
    address: SocketAddr,
    origin: String,
    cookies: Vec<Cookie>,
    wire: Option<Wire>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Cookie {
    name: String,
    value: String,
    path: String,
}

/// A request to be sent.
#[derive(Debug)]
pub struct Sending<'a> {
    browser: &'a mut Browser,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    cookies: bool,
}

impl Browser {
    /// A browser without cookies for the site `origin` (`https://hub.test`), which `address` serves.
    pub fn new(address: SocketAddr, origin: &str) -> Self {
        Self { address, origin: origin.to_owned(), cookies: Vec::new(), wire: None }
    }

    /// From now on another server of the site answers, as a balancer decides.
    pub fn sent_to(&mut self, address: SocketAddr) -> &mut Self {
        self.address = address;
        self.wire = None;
        self
    }

    /// The site.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Puts a cookie into the jar; the value byte for byte.
    pub fn set_cookie(&mut self, name: &str, value: &str, path: &str) {
        self.cookies.retain(|cookie| (cookie.name.as_str(), cookie.path.as_str()) != (name, path));
        self.cookies.push(Cookie { name: name.to_owned(), value: value.to_owned(), path: path.to_owned() });
    }

    /// The value of the cookie `name`, byte for byte.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.iter().find(|cookie| cookie.name == name).map(|cookie| cookie.value.as_str())
    }

    /// The names of the cookies that begin so, the oldest first.
    pub fn cookies_named(&self, begin: &str) -> Vec<String> {
        let begins = |cookie: &&Cookie| cookie.name.starts_with(begin);
        self.cookies.iter().filter(begins).map(|cookie| cookie.name.clone()).collect()
    }

    /// The Cookie header for `target`; empty if there is none.
    pub fn cookies_for(&self, target: &str) -> String {
        let path = target.split('?').next().unwrap_or_default();
        let within = |cookie: &&Cookie| {
            path == cookie.path
                || path
                    .strip_prefix(&cookie.path)
                    .is_some_and(|rest| cookie.path.ends_with('/') || rest.starts_with('/'))
        };
        let pairs: Vec<String> = self
            .cookies
            .iter()
            .filter(within)
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        pairs.join("; ")
    }

    /// A navigation to `target` (a path, or a URL of the site) that was typed or clicked elsewhere.
    pub fn navigate(&mut self, target: &str) -> Sending<'_> {
        self.request("GET", target)
            .header("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
            .header("Sec-Fetch-Site", "none")
            .header("Sec-Fetch-Mode", "navigate")
            .header("Sec-Fetch-User", "?1")
            .header("Sec-Fetch-Dest", "document")
    }

    /// The answer to a navigation to `target`.
    pub fn get(&mut self, target: &str) -> Answer {
        self.navigate(target).send()
    }

    /// The answer to a navigation to `target`, and then to wherever redirects lead.
    pub fn follow(&mut self, target: &str) -> Answer {
        let mut answer = self.get(target);
        for _ in 0..20 {
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return answer;
            }
            let location = answer.location().to_owned();
            answer = self.get(&location);
        }
        panic!("redirects without end: {answer:?}");
    }

    /// Presses the button of the form on `page`, as a page of this site has it.
    pub fn press(&mut self, page: &Answer) -> Answer {
        let form = Form::on(&page.text());
        self.post(&form).send()
    }

    /// The navigation that a form of this site makes.
    pub fn post(&mut self, form: &Form) -> Sending<'_> {
        let origin = self.origin.clone();
        self.request("POST", &form.action)
            .header("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Origin", &origin)
            .header("Sec-Fetch-Site", "same-origin")
            .header("Sec-Fetch-Mode", "navigate")
            .header("Sec-Fetch-User", "?1")
            .header("Sec-Fetch-Dest", "document")
            .body(form.encoded())
    }

    /// Any request, with Host, User-Agent and the cookies, and nothing else.
    pub fn request(&mut self, method: &str, target: &str) -> Sending<'_> {
        let target = target.strip_prefix(&self.origin).unwrap_or(target).to_owned();
        assert!(!target.contains("://"), "{target} is another site");
        let host = self.origin.split("//").last().unwrap_or_default().to_owned();
        let sending = Sending {
            browser: self,
            method: method.to_owned(),
            target,
            headers: Vec::new(),
            body: None,
            cookies: true,
        };
        sending.header("Host", &host).header("User-Agent", "Browser of a test")
    }

    fn take(&mut self, target: &str, answer: &Answer) {
        for line in answer.headers.all("set-cookie") {
            let mut parts = line.split(';').map(str::trim);
            let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            let attribute = |wanted: &str| {
                line.split(';')
                    .skip(1)
                    .filter_map(|part| part.trim().split_once('='))
                    .find(|(key, _)| key.eq_ignore_ascii_case(wanted))
                    .map(|(_, value)| value.to_owned())
            };
            let directory =
                target.split('?').next().and_then(|path| path.rsplit_once('/')).map_or("/", |(path, _)| path);
            let path = attribute("path")
                .unwrap_or_else(|| if directory.is_empty() { "/".to_owned() } else { directory.to_owned() });
            self.set_cookie(name, value, &path);
            if attribute("max-age").is_some_and(|age| age == "0") {
                self.cookies.retain(|cookie| (cookie.name.as_str(), &cookie.path) != (name, &path));
            }
        }
    }
}

impl Sending<'_> {
    /// With another header, or another value of one.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.also(name, value)
    }

    /// With another line, even if there is one of this name.
    pub fn also(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without a header.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self
    }

    /// Without any header of Fetch Metadata, as an older browser or a program.
    pub fn without_fetch_metadata(mut self) -> Self {
        self.headers.retain(|(key, _)| !key.to_ascii_lowercase().starts_with("sec-fetch-"));
        self
    }

    /// Without cookies, as a POST from another site.
    pub fn without_cookies(mut self) -> Self {
        self.cookies = false;
        self
    }

    /// With a body and its length.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The bytes of the request.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let cookies = self.browser.cookies_for(&self.target);
        if self.cookies && !cookies.is_empty() {
            head += &format!("Cookie: {cookies}\r\n");
        }
        if let Some(body) = &self.body {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        [head.as_bytes(), b"\r\n", self.body.as_deref().unwrap_or_default()].concat()
    }

    /// Sends it and leaves the answer to the caller, who gets the connection; for tunnels and streams.
    pub fn begin(self) -> Wire {
        let mut wire = Wire::connect(self.browser.address);
        wire.send(self.bytes());
        wire
    }

    /// Sends it, reads the answer and keeps its cookies.
    pub fn send(self) -> Answer {
        let bytes = self.bytes();
        let mut wire = self.browser.wire.take().unwrap_or_else(|| Wire::connect(self.browser.address));
        let sent = wire.try_send(&bytes);
        let answer = match sent.ok().and_then(|()| wire.answer_to(&self.method)) {
            Some(answer) => answer,
            None => panic!("no answer to {} {}", self.method, self.target),
        };
        self.browser.take(&self.target, &answer);
        let closes = answer.headers.all("connection").iter().any(|value| value.eq_ignore_ascii_case("close"));
        if !closes && answer.complete {
            self.browser.wire = Some(wire);
        }
        answer
    }
}
