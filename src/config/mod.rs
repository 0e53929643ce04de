//! The configuration: validated values that the rest of the crate takes without checking again.
//!
//! Each section is a table in the file of its name: `section! { … }` (`table.rs`) makes of it the struct, the reader, the
//! manual (`config/reference.toml`) and the JSON Schema. **To add a key**, write one line and its manual text into the table:
//!
//! ```text
//! /// What it means, for the operator: this is the comment in the manual, line by line, and the field's documentation.
//! head_timeout: Duration, duration(SOME_DURATION), default "10s";
//! name          type      kind (`kind.rs`)         presence and value
//! ```
//!
//! Then `cargo run -- reference config > config/reference.toml` (a test compares). Kinds: `text(parse)`, `words(&TABLE)`,
//! `number(a..=b)`, `flag()`, `duration(range)`, `size(range)`, `list(parse)`, `one_or_more(parse)`, `secret(check)` (has a
//! twin `x_file`), `section::<S>()`; `.and_then(…)` and `.not_empty("…")` go on from there. Presence: `default V` (the value
//! as TOML; the only place where a default is written), `required EXAMPLE`, `optional EXAMPLE` (the field is an `Option`).
//! `field "key": …` where the field has another name than the key. A new section also goes into `Config`, `validate.rs`
//! (`S::read`, or `section::<S>()` if it can be left out) and `parts()` of `reference.rs`.
//!
//! What concerns several keys is a row in `rules.rs`, or a function beside the table where it takes more than a look at
//! values; such a fault is noted by `ConfigFile::conflict`. Fields behind `made` are no keys: they are set after reading. A
//! reader never stops at a fault: it notes it and goes on with the default, so that all faults are told at once; with any
//! fault there is no configuration. Nothing here opens a socket or knows what a request is.

mod address;
mod app_hub_tokens;
mod apps;
mod embed;
mod fault;
mod file;
mod hub;
mod hub_api;
mod hub_oauth;
mod hub_tokens;
mod jwt;
mod kind;
mod limits;
mod listeners;
mod log;
mod login;
mod origin;
mod pages;
mod parse;
mod read;
mod redis;
mod reference;
mod restart;
mod routes;
mod rules;
mod secret;
mod section;
mod store;
mod table;
mod tls;
mod unknown;
mod validate;

use std::sync::Arc;

pub use app_hub_tokens::AppHubTokens;
pub use apps::{App, SESSION_MIN, Scope};
pub use embed::{Embed, EmbedCookies};
pub use fault::{Fault, Faults};
pub use hub::{Hub, UpstreamAddress};
pub use hub_api::HubApiConfig;
pub use hub_oauth::{HubOAuth, Pkce};
pub use hub_tokens::HubTokens;
pub use jwt::{Jwt, JwtAlgorithm, JwtKeys};
pub use limits::{Limits, LoginsAtOnce};
pub use listeners::{Listen, Management, Public, PublicUrl, StatusListener};
pub use log::{AuditSink, Log, LogFormat};
pub use login::{Assertion, Confirm, Login, WithoutToken};
pub use pages::{Image, Language, Pages, Template};
pub use redis::{RedisAddress, RedisServers};
pub use reference::{reference, schema};
pub use restart::Unchangeable;
pub use routes::{Activity, Chp, RouteState, RoutesConfig, custom_header};
pub use secret::Secret;
pub use store::{Redis, Store, StoreUrl};
pub use validate::{Reading, Source, load, load_str, load_with_files};

/// Everything that hublatch is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// What browsers talk to.
    pub public: Public,
    /// Where the API, health and metrics answer.
    pub management: Management,
    /// Where probes and scrapers are answered, and nobody else.
    pub status: Option<StatusListener>,
    /// The hub behind us.
    pub hub: Hub,
    /// The routing table, where hublatch is the hub's own proxy; none: it stands in front of that.
    pub routes: Option<RoutesConfig>,
    /// Rules of redeeming.
    pub login: Login,
    /// How the login is proved to the hub; none: by the identity header alone.
    pub assertion: Option<Assertion>,
    /// How the hub learns of a login by its own OAuth, in place of headers; none: by headers.
    pub hub_oauth: Option<HubOAuth>,
    /// Where live tokens are kept.
    pub store: Store,
    /// Who may issue links.
    pub apps: Vec<Arc<App>>,
    /// Whose hub API tokens are keys as well; none: nobody's.
    pub hub_tokens: Option<HubTokens>,
    /// Who may show the notebooks in frames; none: what the hub says.
    pub embed: Option<Embed>,
    /// How our own pages look.
    pub pages: Pages,
    /// Every limit on time, size and count.
    pub limits: Limits,
    /// What is logged, and how.
    pub log: Log,
    /// What is allowed but unwise: told once at start, by `/api/v1/info` and by `doctor`.
    pub warnings: Vec<String>,
}

impl Config {
    /// Whether links log people in: as the hub's own proxy hublatch may be that and nothing else.
    pub fn logs_in(&self) -> bool {
        self.routes.is_none() || !self.apps.is_empty() || self.hub_tokens.is_some()
    }
}
