//! Everything our pages say: one file a language, which a translator can edit without knowing Rust.
//!
//! The files are part of the program. The tests read each of them and hold it to the same names and placeholders as the
//! English one, so what is read at run time is known to be whole.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::config::Language;

/// One page's texts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// The heading: what is the matter.
    pub title: Cow<'static, str>,
    /// What happened, in one sentence.
    pub what: Cow<'static, str>,
    /// What to do now.
    pub advice: Cow<'static, str>,
}

/// The texts of the confirm page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfirmTexts {
    /// The heading and the button, with `{user}`.
    pub title: String,
    /// The same before it is known who will be logged in.
    pub title_unnamed: String,
    /// What will happen, with `{user}`.
    pub what: String,
    /// The same before it is known who will be logged in.
    pub what_unnamed: String,
    /// What to do instead.
    pub advice: String,
    /// What will happen to `{current}`, and to `{user}`.
    pub switch: String,
    /// What to do first, and instead.
    pub switch_advice: String,
}

/// One language.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// Sentences that several pages say: `advice = "@name"`.
    phrases: BTreeMap<String, String>,
    pub link_unknown: Message,
    pub link_expired: Message,
    pub link_used: Message,
    pub link_revoked: Message,
    pub link_not_allowed: Message,
    pub link_bound: Message,
    pub link_needs_state: Message,
    pub link_required: Message,
    pub hub_unavailable: Message,
    pub hub_busy: Message,
    /// The status of the hub's response stands between `what` and `advice`.
    pub hub_unexpected: Message,
    pub store_unavailable: Message,
    pub exchange_failed: Message,
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
    /// With `{position}` and `{seconds}`.
    pub queue: Message,
    pub session_ended: Message,
    pub cookie_lost: Message,
    pub storage_blocked: Message,
    pub too_many_cookies: Message,
    pub confirmation_unverified: Message,
    /// A request that is itself at fault; why stands between `what` and `advice`.
    pub rejected: Message,
    /// Why, by its code; what has no entry is said as the caller says it.
    #[serde(default)]
    pub rejections: BTreeMap<String, String>,
    pub confirm: ConfirmTexts,
    /// The way back to the application.
    pub back: String,
    /// The same, if it has a name, with `{app}`.
    pub back_to: String,
    /// The link by which the user who is logged in stays logged in, with `{current}`.
    pub stay: String,
    /// The link to the address of the notebooks.
    pub open_notebooks: String,
    /// In a frame in which the browser keeps nothing: the button that asks it to.
    pub continue_here: String,
    /// The same: the link that opens a tab.
    pub open_tab: String,
    /// The button that starts a server again.
    pub start_again: String,
    /// The button that makes the browser forget cookies.
    pub delete_cookies: String,
    /// The name of the list of what has happened to a server that starts.
    pub so_far: String,
    /// Before the time that somebody has waited.
    pub elapsed: String,
    /// A few seconds in the queue.
    pub queue_soon: String,
    /// Minutes in the queue, with `{minutes}`.
    pub queue_minutes: String,
    /// In the queue of a hub that does not answer.
    pub queue_hub_down: String,
    /// What to do in the queue for a start.
    pub queue_start: String,
    /// The same address once more.
    pub again: String,
    /// For whoever is asked for help, with `{status}` and `{code}`.
    pub error: String,
    /// The same, with `{id}` and `{time}`.
    pub request: String,
}

static ENGLISH: LazyLock<Catalog> = LazyLock::new(|| read(include_str!("en.toml")));
static GERMAN: LazyLock<Catalog> = LazyLock::new(|| read(include_str!("de.toml")));
static FRENCH: LazyLock<Catalog> = LazyLock::new(|| read(include_str!("fr.toml")));
static SPANISH: LazyLock<Catalog> = LazyLock::new(|| read(include_str!("es.toml")));
static PORTUGUESE: LazyLock<Catalog> = LazyLock::new(|| read(include_str!("pt.toml")));
static CHINESE: LazyLock<Catalog> = LazyLock::new(|| read(include_str!("zh.toml")));
static ARABIC: LazyLock<Catalog> = LazyLock::new(|| read(include_str!("ar.toml")));

impl Language {
    pub(in crate::pages) fn words(self) -> &'static Catalog {
        match self {
            Self::English => &ENGLISH,
            Self::German => &GERMAN,
            Self::French => &FRENCH,
            Self::Spanish => &SPANISH,
            Self::Portuguese => &PORTUGUESE,
            Self::Chinese => &CHINESE,
            Self::Arabic => &ARABIC,
        }
    }
}

impl Catalog {
    /// Why a request is refused, if this language has a sentence of its own for it.
    pub fn rejection(&self, code: &str) -> Option<&str> {
        self.rejections.get(code).map(String::as_str)
    }

    /// What to do now: the sentence itself, or the one of the name that it gives.
    pub fn advice<'a>(&'a self, message: &'a Message) -> &'a str {
        let phrase = message.advice.strip_prefix('@').and_then(|name| self.phrases.get(name));
        phrase.map_or(&*message.advice, String::as_str)
    }
}

fn read(text: &str) -> Catalog {
    toml::from_str(text).expect("the tests read the same text")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::pages::language::LANGUAGES;

    fn text(language: Language) -> String {
        let path = format!("{}/src/pages/catalog/{}.toml", env!("CARGO_MANIFEST_DIR"), language.tag());
        std::fs::read_to_string(path).unwrap()
    }

    /// Every text by its dotted name.
    fn texts(language: Language) -> BTreeMap<String, String> {
        let table: toml::Table = text(language).parse().unwrap();
        let mut texts = BTreeMap::new();
        for (name, value) in table {
            if let Some(text) = value.as_str() {
                texts.insert(name, text.to_owned());
                continue;
            }
            for (inner, value) in value.as_table().unwrap() {
                texts.insert(format!("{name}.{inner}"), value.as_str().unwrap().to_owned());
            }
        }
        texts
    }

    fn placeholders(text: &str) -> BTreeSet<&str> {
        text.split('{').skip(1).map(|rest| rest.split_once('}').expect("closed").0).collect()
    }

    #[test]
    fn every_catalogue_is_read_and_has_the_texts_and_placeholders_of_the_english_one() {
        let english = texts(Language::English);
        for language in LANGUAGES {
            assert!(!language.words().phrases.is_empty());
            let theirs = texts(language);
            for (name, text) in theirs.iter().filter(|(name, _)| !name.starts_with("rejections.")) {
                let ours = english.get(name).unwrap_or_else(|| panic!("{}: {name}", language.tag()));
                assert_eq!(placeholders(text), placeholders(ours), "{}: {name}", language.tag());
                assert_eq!(text.trim(), text, "{}: {name}", language.tag());
                assert!(!text.is_empty(), "{}: {name}", language.tag());
            }
            let missing: Vec<_> = english.keys().filter(|name| !theirs.contains_key(*name)).collect();
            assert!(missing.is_empty(), "{}: {missing:?}", language.tag());
        }
    }

    #[test]
    fn every_sentence_that_is_named_is_there() {
        for language in LANGUAGES {
            for (name, text) in texts(language) {
                if let Some(phrase) = text.strip_prefix('@') {
                    assert!(name.ends_with(".advice"), "{}: {name}", language.tag());
                    assert!(language.words().phrases.contains_key(phrase), "{}: @{phrase}", language.tag());
                }
            }
        }
    }
}
