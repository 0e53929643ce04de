//! A session that is over: what is known of it while its request goes on without it. `sessions.rs` does the rest.

/// A session that is over, whose request goes on without it.
#[derive(Debug)]
pub struct EndedSession {
    /// Its id.
    pub(super) id: String,
    /// The names of the hub's cookies that came with it.
    pub(super) cookies: Vec<String>,
    /// Its id has the name with `__Host-`.
    pub(super) is_host: bool,
    /// It is over by its id.
    pub(super) by_itself: bool,
}

impl EndedSession {
    /// Whether the browser learns now, on this path, that its session is over by its id.
    pub fn is_news(&self) -> bool {
        self.by_itself && !self.cookies.is_empty()
    }
}
