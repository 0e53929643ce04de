//! Everything our pages say, in every language: a language that leaves a text out does not compile.
//!
//! `{user}`, `{current}`, `{app}`, `{status}` and `{code}` stand for what the page puts in, wherever a language needs it.

mod english;
mod french;
mod german;

use crate::config::Language;

/// One page's texts.
pub struct Message {
    /// The heading: what is the matter.
    pub title: &'static str,
    /// What happened, in one sentence.
    pub what: &'static str,
    /// What to do now.
    pub advice: &'static str,
}

/// The texts of the confirm page.
pub struct Confirm {
    /// The heading and the button, with `{user}`.
    pub title: &'static str,
    /// The same before it is known who will be logged in.
    pub title_unnamed: &'static str,
    /// What will happen, with `{user}`.
    pub what: &'static str,
    /// The same before it is known who will be logged in.
    pub what_unnamed: &'static str,
    /// What to do instead.
    pub advice: &'static str,
    /// What will happen to `{current}`, and to `{user}`.
    pub switch: &'static str,
    /// What to do first, and instead.
    pub switch_advice: &'static str,
}

/// One language.
pub struct Catalog {
    pub link_unknown: Message,
    pub link_expired: Message,
    pub link_used: Message,
    pub link_revoked: Message,
    pub link_not_allowed: Message,
    pub link_bound: Message,
    pub link_needs_state: Message,
    pub link_required: Message,
    pub hub_unavailable: Message,
    pub store_unavailable: Message,
    pub logout_failed: Message,
    pub login_failed: Message,
    pub bad_gateway: Message,
    pub gateway_timeout: Message,
    pub too_many_tries: Message,
    pub server_starting: Message,
    pub server_failed: Message,
    pub server_stopped: Message,
    pub server_limit: Message,
    pub server_refused: Message,
    pub not_waiting: Message,
    pub login_refused: Message,
    pub logged_out: Message,
    pub server_not_running: Message,
    pub page_not_found: Message,
    pub unavailable: Message,
    /// A request that is itself at fault; why stands between `what` and `advice`.
    pub rejected: Message,
    /// Why, by its code; what has no entry is said as the caller says it.
    pub rejections: &'static [(&'static str, &'static str)],
    pub confirm: Confirm,
    /// The way back to the application.
    pub back: &'static str,
    /// The same, if it has a name, with `{app}`.
    pub back_to: &'static str,
    /// The button that starts a server again.
    pub start_again: &'static str,
    /// The name of the list of what has happened to a server that starts.
    pub so_far: &'static str,
    /// The same address once more.
    pub again: &'static str,
    /// For whoever is asked for help, with `{status}` and `{code}`.
    pub error: &'static str,
}

impl Language {
    pub(in crate::pages) fn words(self) -> &'static Catalog {
        match self {
            Self::English => &english::WORDS,
            Self::German => &german::WORDS,
            Self::French => &french::WORDS,
        }
    }
}

impl Catalog {
    /// Why a request is refused, if this language has a sentence of its own for it.
    pub fn rejection(&self, code: &str) -> Option<&'static str> {
        self.rejections.iter().find(|(known, _)| *known == code).map(|(_, sentence)| *sentence)
    }
}
