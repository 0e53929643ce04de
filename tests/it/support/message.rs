//! Heads and bodies of HTTP/1.1, read without any mending. Bytes become text as Latin-1, which loses none.

/// Text of `bytes`, one character a byte.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Header lines, in order, names and values as they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The value of the only line of `name`; panics if there are several.
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "several {name}: {all:?}");
        all.first().copied()
    }

    /// The values of all lines of `name`, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.0.iter().filter(same).map(|(_, value)| value.as_str()).collect()
    }

    /// Whether there is a line of `name`.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// How many lines have a name that is `name` if case, `-` and `_` are not looked at.
    pub fn count_folded(&self, name: &str) -> usize {
        self.0.iter().filter(|(key, _)| folded(key) == folded(name)).count()
    }
}

/// Lower case, `-` as `_`.
pub fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// That many bytes; none is 0.
    Sized(u64),
    /// Chunked.
    Chunked,
    /// Until the connection ends.
    UntilEnd,
}

/// A start line and headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The first line.
    pub line: String,
    /// The lines after it.
    pub headers: Headers,
    /// All of it, byte for byte, with the empty line.
    pub bytes: Vec<u8>,
}

impl Head {
    /// Takes `bytes`, which end in an empty line, apart.
    pub fn parse(bytes: Vec<u8>) -> Self {
        let text = latin1(&bytes);
        let mut lines = text.strip_suffix("\r\n\r\n").unwrap_or(&text).split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header line: {line:?}"));
            (name.to_owned(), value.trim_matches([' ', '\t']).to_owned())
        };
        Self { line, headers: Headers(lines.map(header).collect()), bytes }
    }

    /// How long the body of a request is.
    pub fn request_length(&self) -> Length {
        self.length().unwrap_or(Length::Sized(0))
    }

    /// How long the body of an answer to `method` is (RFC 9112 § 6.3).
    pub fn answer_length(&self, method: &str, status: u16) -> Length {
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return Length::Sized(0);
        }
        self.length().unwrap_or(Length::UntilEnd)
    }

    fn length(&self) -> Option<Length> {
        match (self.headers.get("transfer-encoding"), self.headers.get("content-length")) {
            (Some(coding), None) => {
                assert!(coding.eq_ignore_ascii_case("chunked"), "an odd Transfer-Encoding: {coding:?}");
                Some(Length::Chunked)
            }
            (None, Some(size)) => Some(Length::Sized(size.parse().expect("a Content-Length"))),
            (None, None) => None,
            (Some(_), Some(_)) => panic!("both Transfer-Encoding and Content-Length: {:?}", self.headers),
        }
    }
}

/// A body.
#[derive(Debug, Clone, Default)]
pub struct Body {
    /// Its bytes, without framing.
    pub bytes: Vec<u8>,
    /// Whether it came to its proper end.
    pub complete: bool,
    /// The lines of its trailers.
    pub trailers: Vec<String>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `HTTP/1.1`.
    pub version: String,
    /// The headers.
    pub headers: Headers,
    /// The head, byte for byte.
    pub head: Vec<u8>,
    /// The body without framing.
    pub body: Vec<u8>,
    /// Whether the body came to its proper end.
    pub complete: bool,
    /// The lines of the trailers.
    pub trailers: Vec<String>,
    /// The status codes of the 1xx answers before it.
    pub interim: Vec<u16>,
}

impl Answer {
    /// The answer with this head, its body not read.
    pub fn of(head: &Head) -> Self {
        let mut words = head.line.splitn(3, ' ');
        let version = words.next().unwrap_or_default().to_owned();
        let status = words.next().and_then(|code| code.parse().ok());
        Self {
            status: status.unwrap_or_else(|| panic!("no status line: {:?}", head.line)),
            version,
            headers: head.headers.clone(),
            head: head.bytes.clone(),
            body: Vec::new(),
            complete: true,
            trailers: Vec::new(),
            interim: Vec::new(),
        }
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Where it sends the browser.
    pub fn location(&self) -> &str {
        self.headers.get("location").unwrap_or_else(|| panic!("no Location: {self:?}"))
    }
}
