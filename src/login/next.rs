//! Where a login may lead: the rules of `next`, judged as a browser would read it (WHATWG URL), before any token is
//! consumed.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::parameter::Parameter;
use crate::token::{ServerName, Username};

/// The longest `next`, in bytes. Percent-encoding does not count: letters outside ASCII take nine times as many.
const NEXT_BYTES_MAX: usize = 8192;
/// Which part of the head of a login is for all but its `next`: cookies and the browser's other headers.
const REST_OF_HEAD: usize = 4;

/// What JavaScript's `encodeURIComponent` leaves alone besides letters and digits, less the quotes.
const COMPONENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'!').remove(b'*');

/// What may not stand raw in a path or query and is encoded in the `path` of an order; `%` stays as it is.
const PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`').add(b'#');

/// How the hub writes a user name in a path (`jupyterhub.utils.url_escape_path`: `@`, `~`, `-`, `_`, `.` stay).
const PATH_SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'@');

/// Why a `next` is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NextError {
    /// Longer than the limit.
    #[error("next is longer than {NEXT_BYTES_MAX} bytes")]
    TooLong,
    /// As it is escaped on its way, it takes more room than the head of a login has at the hub.
    #[error("next is too long for hub.head_bytes once it is percent-encoded, as it is on its way to the hub")]
    TooLongForHub,
    /// It does not start with exactly one slash.
    #[error("next must be a path that starts with one \"/\"")]
    NotAPath,
    /// It holds a control character.
    #[error("next holds a control character")]
    ControlCharacter,
    /// A browser would leave the origin.
    #[error("next leads to another origin")]
    OtherOrigin,
    /// It leaves the hub's base URL.
    #[error("next lies outside the hub's base URL")]
    OutsideBase,
    /// It holds a login token's parameter.
    #[error("next holds a login token")]
    HoldsToken,
    /// The app's `next` rule does not allow it.
    #[error("the app's rules do not allow this next")]
    NotAllowed,
    /// A path inside a server was written as a whole address.
    #[error("path is a whole address; send what follows \"/user/NAME/\" in it, such as \"lab/tree/x.ipynb\"")]
    WholeAddress,
    /// A path inside a server begins with the server's own.
    #[error(
        "path begins inside the user's server: leave \"/user/NAME/\" out and send for example \"lab/tree/x.ipynb\""
    )]
    NamesServer,
    /// No hub has a server of this name.
    #[error(
        "a server name has at most 255 characters, no \"/\", \"\\\" or control character, and is not \".\" or \"..\""
    )]
    ServerName,
    /// The hub takes only slugs as names.
    #[error(
        "this hub (JupyterHub 6 or later) takes server names of 1 to 30 of a-z, 0-9 and -, that start with a letter, do \
         not end in -, and have no --"
    )]
    ServerSlug,
}

/// A checked `next`: a path, and perhaps a query and fragment, on the public origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    text: String,
    /// The path as a browser resolves it: without dot segments.
    path: String,
}

impl Next {
    /// As it was given, byte for byte.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether one of `prefixes` covers it, by whole path segments.
    pub fn is_within(&self, prefixes: &[String]) -> bool {
        prefixes.iter().any(|prefix| {
            let stem = prefix.strip_suffix('/').unwrap_or(prefix);
            self.path.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

/// The rule that every `next` must pass.
#[derive(Debug, Clone)]
pub struct NextRule {
    origin: Url,
    base_url: String,
    parameter: Parameter,
    /// The largest head that the hub takes; none: whatever comes.
    head_bytes: Option<usize>,
}

impl NextRule {
    /// Paths below `base_url` on `origin`; `None` if `origin` is no URL.
    pub fn new(origin: &str, base_url: &str, parameter: Parameter) -> Option<Self> {
        let origin = Url::parse(origin).ok()?;
        Some(Self { origin, base_url: base_url.to_owned(), parameter, head_bytes: None })
    }

    /// The same for a hub that takes heads of so many bytes.
    #[must_use]
    pub fn within(self, head_bytes: usize) -> Self {
        Self { head_bytes: Some(head_bytes), ..self }
    }

    /// Judges `text`.
    pub fn check(&self, text: &str) -> Result<Next, NextError> {
        if percent_decode_str(text).count() > NEXT_BYTES_MAX {
            return Err(NextError::TooLong);
        }
        let next = self.judge(text)?;
        self.refuse_too_long_for_hub(text)?;
        Ok(next)
    }

    /// The hub is asked for a login with `text` as one parameter. A link that could never be opened is none.
    fn refuse_too_long_for_hub(&self, text: &str) -> Result<(), NextError> {
        let room = self.head_bytes.map(|head| head - head / REST_OF_HEAD);
        let fits =
            room.is_none_or(|room| utf8_percent_encode(text, COMPONENT).map(str::len).sum::<usize>() <= room);
        if fits { Ok(()) } else { Err(NextError::TooLongForHub) }
    }

    /// What goes to the hub of a query, or of a form, that logs nobody in: without each `next` that leads elsewhere. The
    /// hub reads a `next` on many of its pages, and lets some leave the origin. `None`: it can stay as it is.
    ///
    /// As long as it may be: where the hub sends somebody who is not logged in, it writes whole addresses of notebooks into
    /// it. And an address of this origin is written out by some.
    pub fn without_bad(&self, form: &[u8]) -> Option<Vec<u8>> {
        let leads_elsewhere = |pair: &&[u8]| {
            let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let name = std::str::from_utf8(&pair[..end]).ok().and_then(form_decode);
            let value = pair.get(end + 1..).unwrap_or_default();
            name.as_deref() == Some("next")
                && !value.is_empty()
                && !std::str::from_utf8(value).ok().and_then(form_decode).is_some_and(|next| {
                    let origin = self.origin.origin().ascii_serialization();
                    let path = next.strip_prefix(&origin).filter(|path| path.starts_with('/'));
                    self.judge(path.unwrap_or(&next)).is_ok()
                })
        };
        let pairs = || form.split(|byte| *byte == b'&');
        if !pairs().any(|pair| leads_elsewhere(&pair)) {
            return None;
        }
        Some(pairs().filter(|pair| !leads_elsewhere(pair)).collect::<Vec<_>>().join(&b'&'))
    }

    fn judge(&self, text: &str) -> Result<Next, NextError> {
        // C0, DEL and C1: parsers drop some of them, and then see another URL than we do.
        if text.chars().any(char::is_control) {
            return Err(NextError::ControlCharacter);
        }
        let mut bytes = text.bytes();
        if bytes.next() != Some(b'/') || matches!(bytes.next(), Some(b'/' | b'\\')) {
            return Err(NextError::NotAPath);
        }
        let url = self.origin.join(text).map_err(|_| NextError::NotAPath)?;
        if url.origin() != self.origin.origin() || !url.username().is_empty() || url.password().is_some() {
            return Err(NextError::OtherOrigin);
        }
        let path = url.path();
        // "/hub/..%2f.." stays one segment for a browser; "/.//evil" resolves to "//evil", which the hub would send
        // on as it stands.
        if path.starts_with("//") {
            return Err(NextError::OtherOrigin);
        }
        let stem = self.base_url.trim_end_matches('/');
        if !path.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Err(NextError::OutsideBase);
        }
        if self.parameter.mentions(text) {
            return Err(NextError::HoldsToken);
        }
        Ok(Next { text: text.to_owned(), path: path.to_owned() })
    }

    /// The two paths of an order with `path` (and `server`): what the browser is sent to, through the hub's spawn
    /// page, so that the server is started if need be, and the path inside by which the order is judged.
    ///
    /// `{base}hub/spawn/USER[/SERVER]?next=<{base}user/USER[/SERVER]/PATH>`.
    pub fn spawn(&self, user: &Username, server: &ServerName, path: &str) -> Result<(Next, Next), NextError> {
        let inner = self.inside(user, server, path)?;
        let encoded = utf8_percent_encode(inner.as_str(), COMPONENT);
        let place = place_of(user, server);
        // The inner one is within the limit, and this one holds it.
        let outer = self.judge(&format!("{}hub/spawn/{place}?next={encoded}", self.base_url))?;
        self.refuse_too_long_for_hub(outer.as_str())?;
        Ok((outer, inner))
    }

    /// A path inside a server itself: `{base}user/USER[/SERVER]/PATH`. Nothing starts the server on this way.
    pub fn inside(&self, user: &Username, server: &ServerName, path: &str) -> Result<Next, NextError> {
        if path.chars().any(char::is_control) {
            return Err(NextError::ControlCharacter);
        }
        self.refuse_whole(path)?;
        let path = path.strip_prefix('/').unwrap_or(path);
        let home = format!("{}user/{}/", self.base_url, place_of(user, server));
        let inner = self.check(&format!("{home}{}", utf8_percent_encode(path, PATH)))?;
        // "../bob/lab" must not name another user's server.
        if inner.path.starts_with(&home) { Ok(inner) } else { Err(NextError::NotAPath) }
    }

    /// Refuses a path that says where the server is, too: inside the server it would lead to a page that is not there.
    fn refuse_whole(&self, path: &str) -> Result<(), NextError> {
        let scheme = path.split_once("://").map(|(scheme, _)| scheme);
        if scheme.is_some_and(|name| name.eq_ignore_ascii_case("http") || name.eq_ignore_ascii_case("https"))
        {
            return Err(NextError::WholeAddress);
        }
        let path = path.trim_start_matches('/');
        let below_base = path.strip_prefix(self.base_url.trim_start_matches('/')).unwrap_or(path);
        let names_user = |path: &str| path.strip_prefix("user/").is_some_and(|rest| !rest.is_empty());
        if names_user(path) || names_user(below_base) { Err(NextError::NamesServer) } else { Ok(()) }
    }
}

/// `USER` or `USER/SERVER`, as the hub writes them in a path.
fn place_of(user: &Username, server: &ServerName) -> String {
    let user = utf8_percent_encode(user.as_str(), PATH_SEGMENT);
    if server.is_default() {
        return user.to_string();
    }
    format!("{user}/{}", utf8_percent_encode(server.as_str(), PATH_SEGMENT))
}

/// Decodes one form value: `+` is a space, and invalid UTF-8 or escapes are an error
/// (WHATWG URL, application/x-www-form-urlencoded).
pub fn form_decode(value: &str) -> Option<String> {
    let spaced = value.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// Encodes one form value.
pub fn form_encode(value: &str) -> String {
    utf8_percent_encode(value, COMPONENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{NamePattern, UsernameCase, UsernameRule};

    fn rule(base: &str) -> NextRule {
        NextRule::new("http://hub.example:8000", base, Parameter::new("login_token")).unwrap()
    }

    fn user(name: &str) -> Username {
        UsernameRule::new(NamePattern::new(".*").unwrap(), UsernameCase::Refuse).parse(name).unwrap()
    }

    #[test]
    fn a_path_is_kept_byte_for_byte() {
        for text in
            ["/", "/hub/home", "/user/alice/lab/tree/a%20b%2Fc.ipynb?x=1&y=%20z&reset", "/user/é/lab#top"]
        {
            assert_eq!(rule("/").check(text).map(|next| next.as_str().to_owned()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn whatever_leaves_the_origin_or_the_base_is_refused() {
        for text in [
            "",
            "lab",
            "//evil",
            "/\\evil",
            "http://evil/",
            "javascript:x",
            "/.//evil",
            "/x/..//evil",
            "/\tx",
            "/a\u{85}",
            "/%2e//evil",
        ] {
            assert!(rule("/").check(text).is_err(), "{text:?}");
        }
        for text in ["/hub/home", "/jupyterx", "/jupyter/../hub", "/jupyter/%2e%2e/hub"] {
            assert_eq!(rule("/jupyter/").check(text), Err(NextError::OutsideBase), "{text}");
        }
    }

    #[test]
    fn a_next_with_a_token_is_refused_at_any_depth() {
        for text in
            ["/x?login_token=a", "/x?a=1&LOGIN-TOKEN=a", "/x?next=%2Fhub%2Flogin%3Flogin%255Ftoken%3Da"]
        {
            assert_eq!(rule("/").check(text), Err(NextError::HoldsToken), "{text}");
        }
    }

    #[test]
    fn a_form_for_the_hub_loses_each_next_that_leads_elsewhere_and_nothing_else() {
        let without_bad = |form: &str| {
            let rest = rule("/").without_bad(form.as_bytes());
            rest.map(|rest| String::from_utf8(rest).expect("what it was made of"))
        };
        let long = format!("next=/hub/api/oauth2/authorize%3Fstate%3D{}", "a".repeat(4000));
        for form in [
            "",
            "a&&b",
            "next=",
            "next",
            "next=/hub/home&next=%2Fuser%2Falice",
            "xnext=//evil",
            "next=http://hub.example:8000/hub/home",
            &long,
        ] {
            assert_eq!(without_bad(form), None, "{form}");
        }
        for (form, rest) in [
            ("next=//%09/evil", ""),
            ("a=%20+&next=//%09/evil&b=", "a=%20+&b="),
            ("n%65xt=/%5Cevil&next=/hub/home", "next=/hub/home"),
            ("next=/hub/home&next=%2F%2Fevil", "next=/hub/home"),
            ("next=http://hub.example:8000//evil", ""),
            ("next=http://hub.example:8000.evil/", ""),
            ("next=http://hub.example:8000", ""),
            ("next=/a%ff", ""),
            ("next=/a=//b&next=+/x", "next=/a=//b"),
        ] {
            assert_eq!(without_bad(form).as_deref(), Some(rest), "{form}");
        }
        assert_eq!(rule("/").without_bad(b"a=\xff&next=/\xff").as_deref(), Some(&b"a=\xff"[..]));
    }

    #[test]
    fn the_limit_is_on_what_is_meant_and_not_on_how_it_is_escaped() {
        let inside = |path: &str| rule("/").spawn(&user("alice"), &ServerName::default(), path).map(|_| ());
        let letters = |count: usize| "\u{6f22}".repeat(count);
        assert_eq!(inside(&letters(2700)), Ok(()));
        assert_eq!(inside(&letters(2731)), Err(NextError::TooLong));
        for (length, expected) in [(8192, Ok(())), (8193, Err(NextError::TooLong))] {
            let text = format!("/{}", "x".repeat(length - 1));
            assert_eq!(rule("/").check(&text).map(|_| ()), expected, "{length}");
            let escaped = format!("/{}", "%78".repeat(length - 1));
            assert_eq!(rule("/").check(&escaped).map(|_| ()), expected, "{length}, escaped");
        }
        // Escaped three times, a letter of three bytes takes 21.
        let hub = rule("/").within(15 * 1024);
        let path = |count| hub.spawn(&user("alice"), &ServerName::default(), &letters(count)).map(|_| ());
        assert_eq!(path(500), Ok(()));
        assert_eq!(path(600), Err(NextError::TooLongForHub));
        assert_eq!(hub.check(&format!("/{}", "x".repeat(8191))).map(|_| ()), Ok(()));
    }

    #[test]
    fn a_prefix_covers_whole_segments_only() {
        let next = rule("/").check("/user/alice/lab").unwrap();
        assert!(next.is_within(&["/user/alice".into()]) && next.is_within(&["/".into()]));
        assert!(next.is_within(&["/user/alice/".into()]) && next.is_within(&["/user/alice/lab".into()]));
        assert!(!next.is_within(&["/user/al".into()]) && !next.is_within(&[]));
    }

    #[test]
    fn a_path_and_a_server_become_the_spawn_url() {
        let (outer, inner) = rule("/")
            .spawn(&user("olga"), &ServerName::parse("named1").unwrap(), "lab/tree/a b%2Fc.ipynb?x=1")
            .unwrap();
        assert_eq!(inner.as_str(), "/user/olga/named1/lab/tree/a%20b%2Fc.ipynb?x=1");
        assert_eq!(
            outer.as_str(),
            "/hub/spawn/olga/named1?next=%2Fuser%2Folga%2Fnamed1%2Flab%2Ftree%2Fa%2520b%252Fc.ipynb%3Fx%3D1"
        );
        let (outer, _) = rule("/jupyter/").spawn(&user("a+b"), &ServerName::default(), "/lab").unwrap();
        assert_eq!(outer.as_str(), "/jupyter/hub/spawn/a%2Bb?next=%2Fjupyter%2Fuser%2Fa%252Bb%2Flab");
    }

    #[test]
    fn a_path_that_says_where_the_server_is_is_refused() {
        for (base, path, wanted) in [
            ("/", "http://hub.example:8000/user/alice/lab", NextError::WholeAddress),
            ("/", "HTTPS://elsewhere.example/", NextError::WholeAddress),
            ("/", "/user/alice/lab", NextError::NamesServer),
            ("/", "user/alice/lab", NextError::NamesServer),
            ("/", "/user/bob/", NextError::NamesServer),
            ("/jupyter/", "/jupyter/user/alice/lab", NextError::NamesServer),
            ("/jupyter/", "/user/alice/lab", NextError::NamesServer),
        ] {
            let refused = rule(base).inside(&user("alice"), &ServerName::default(), path);
            assert_eq!(refused, Err(wanted), "{base} {path}");
        }
        for path in ["lab/tree/user/alice", "users/x", "user", "proxy/https://x/", "lab?u=http://x/"] {
            assert!(rule("/").inside(&user("alice"), &ServerName::default(), path).is_ok(), "{path}");
        }
    }

    #[test]
    fn a_server_is_written_as_the_hub_writes_it() {
        for (name, written) in [("GPU_1", "GPU_1"), ("my server", "my%20server"), ("é#?", "%C3%A9%23%3F")] {
            let server = ServerName::parse(name).unwrap();
            let inner = rule("/").inside(&user("alice"), &server, "lab").unwrap();
            assert_eq!(inner.as_str(), format!("/user/alice/{written}/lab"));
        }
    }

    #[test]
    fn a_path_cannot_leave_the_users_server() {
        for path in ["../bob/lab", "%2e%2e/bob", "/../../hub/admin", "..", "a/../../bob"] {
            assert_eq!(
                rule("/").spawn(&user("alice"), &ServerName::default(), path).map(|_| ()),
                Err(NextError::NotAPath),
                "{path}"
            );
        }
    }
}
