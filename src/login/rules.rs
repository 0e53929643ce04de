//! What redeeming and issuing obey, whoever the app is: from the configuration.

use std::time::Duration;

use super::next::{Next, NextRule};
use super::parameter::Parameter;
use crate::config::{Config, Confirm};
use crate::token::{ServerName, TokenDigest, Username, UsernameRule};

/// How long a browser may wait for its turn at the hub, from its click on.
pub const WAIT_MAX: Duration = Duration::from_mins(10);

/// The rules for all apps.
#[derive(Debug)]
pub struct Rules {
    /// `https://hub.example.org`.
    pub origin: String,
    /// `{base}hub/login`.
    pub login_path: String,
    /// The parameter of the token.
    pub parameter: Parameter,
    /// What a user name is.
    pub usernames: UsernameRule,
    /// Where a link may lead.
    pub next: NextRule,
    /// The default life of a token.
    pub lifetime: Duration,
    /// When to ask before a login.
    pub confirm: Confirm,
    /// How long a used link leads its user on.
    pub replay_grace: Duration,
    /// Whether only links that are bound to a browser work.
    pub require_state: bool,
    /// `{base}hub/hublatch/launch/`: where the waiting pages are. Below the hub's path, so that the hub's own cookie, which
    /// says who somebody is, comes with each request; and with our name, which no page of the hub has.
    pub waiting_path: String,
    /// Whether the hub shows no pages (`hub.api_only`).
    pub api_only: bool,
    /// The server that is meant where none is named (`hub.default_server_name`).
    pub default_server: ServerName,
    /// The pages that may have notebooks in frames (`embed.frame_ancestors`).
    pub frame_ancestors: Vec<String>,
    /// For how long a login may be under way at the hub at most, from the moment when its token is consumed.
    pub login_under_way: Duration,
    /// A digest of what proves a login to the hub: whether that is still the same.
    pub proof: TokenDigest,
}

impl Rules {
    /// The rules of `config`; none if its public URL is no URL, which validation has ruled out.
    pub(super) fn new(config: &Config) -> Option<Self> {
        let parameter = Parameter::new(&config.login.parameter);
        Some(Self {
            origin: config.public.url.origin.clone(),
            login_path: config.hub.login_path(),
            usernames: config.login.username_rule(),
            next: NextRule::new(&config.public.url.origin, &config.hub.base_url, parameter.clone())?
                .within(config.hub.head_bytes),
            parameter,
            lifetime: config.login.lifetime,
            confirm: config.login.confirm,
            replay_grace: config.login.replay_grace,
            require_state: config.login.require_state,
            waiting_path: format!("{}hub/hublatch/launch/", config.hub.base_url),
            api_only: config.hub.api_only,
            default_server: config.hub.default_server.clone(),
            frame_ancestors: config
                .embed
                .as_ref()
                .map(|embed| embed.frame_ancestors.clone())
                .unwrap_or_default(),
            // A logout, the login, and once more with a fresh assertion; each may have to connect before.
            login_under_way: 3 * (config.limits.login_hub_timeout + config.limits.upstream_connect_timeout),
            proof: proof(config),
        })
    }

    /// The first page of the server that a user has where none is named.
    pub fn home_of(&self, username: &Username) -> Option<Next> {
        self.next.inside(username, &self.default_server, "").ok()
    }
}

fn proof(config: &Config) -> TokenDigest {
    let lifetime = config.assertion.as_ref().map(|assertion| assertion.lifetime.as_millis().to_string());
    let mut parts = vec!["proof of a login", config.login.user_header.as_str()];
    if let Some(assertion) = &config.assertion {
        parts.extend([
            assertion.header.as_str(),
            assertion.key.text.as_str(),
            assertion.audience.as_str(),
            lifetime.as_deref().unwrap_or_default(),
        ]);
    }
    TokenDigest::of_parts(&parts)
}
