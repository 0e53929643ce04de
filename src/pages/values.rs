//! Everything that a template can print: `config/reference.toml` tells operators of it.

use minijinja::context;
use minijinja::value::Value;

use super::page::{Page, QueuedFor, Start};
use super::page_content::PageContent;
use super::theme::{markup, plain};
use super::{Pages, QUEUE_SCRIPT, RETRY_SCRIPT, WAITING_SCRIPT};
use crate::config::{App, Language};
use crate::pages::catalog::Catalog;

/// How long a page of a wait rests without script before it asks again, in seconds.
const REFRESH_SECONDS: u64 = 3;
/// The same for a hub that does not answer.
const RETRY_SECONDS: u64 = 5;
/// Below this a wait is "a moment".
const SOON_SECONDS: u64 = 5;
/// Above this a wait is told in minutes.
const MINUTES_ABOVE_SECONDS: u64 = 90;

/// These stand for the request's id and its time until the response is on its way: who renders a page does not know
/// them. No text of ours has such a character (Unicode § 23.5, private use).
pub(super) const ID_MARK: char = '\u{f8f0}';
pub(super) const TIME_MARK: char = '\u{f8f1}';

/// The page that is rendered: what it is, for whom, and in which language.
pub(super) struct Rendered<'a> {
    pub(super) page: &'a Page<'a>,
    pub(super) content: &'a PageContent<'a>,
    pub(super) language: Language,
    /// The application that it is about, if that is known.
    pub(super) app: Option<&'a App>,
    /// What tells the page around a frame what is shown.
    pub(super) frame_script: Option<&'a str>,
}

/// Its sentences, and the names in them.
struct Sentences<'a> {
    heading: &'a str,
    what: &'a str,
    advice: &'a str,
    names: Vec<(&'static str, String)>,
}

impl Rendered<'_> {
    pub(super) fn values(&self, pages: &Pages, style: Value) -> Value {
        let words = self.language.words();
        let Sentences { heading, what, advice, names } = self.sentences(words);
        let names: Vec<(&str, &str)> = names.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (url, name) = self.app_face(pages);
        let back = match name {
            Some(name) => markup(&words.back_to, &[("app", name)]),
            None => markup(&words.back, &[]),
        };
        let (status, code) = (self.content.status.as_u16(), self.content.code);
        let error = plain(&words.error, &[("status", &status.to_string()), ("code", code)]);
        let (id, time) = (ID_MARK.to_string(), TIME_MARK.to_string());
        let request = markup(&words.request, &[("id", &id), ("time", &time)]);
        context! {
            lang => self.language.tag(),
            dir => self.language.direction(),
            style,
            sign => self.content.icon.as_str(),
            title => plain(heading, &names),
            heading => markup(heading, &names),
            what => markup(what, &names),
            detail => self.content.detail,
            advice => markup(advice, &names),
            form => self.form(words, &names),
            stay => self.stay(pages, words),
            notebooks => self.content.opens_notebooks.then(|| context! {
                url => &pages.notebooks,
                label => &words.open_notebooks,
                new_tab => matches!(self.page, Page::CookieLost),
            }),
            frame => matches!(self.page, Page::Frame { .. }).then(|| context! {
                go_on => &words.continue_here,
                new_tab => &words.open_tab,
            }),
            starting => self.starting(words),
            queue => self.queue(words),
            refresh => self.page.refresh(),
            script => self.page.script().map(|script| Value::from_safe_string(script.to_owned())),
            frame_script => self.frame_script.map(|script| Value::from_safe_string(script.to_owned())),
            retry => self.content.retry,
            app => context! { url, name, logo => pages.logo.as_deref() },
            words => context! { back, again => &words.again, error, request },
            is_error => self.content.is_error,
            status,
            code,
        }
    }

    /// Address and label of the link back: the app's own, else those of `[login]` and `[pages]`.
    fn app_face<'a>(&'a self, pages: &'a Pages) -> (Option<&'a str>, Option<&'a str>) {
        let own = self.app;
        let url = own.and_then(|app| app.url.as_deref()).or(pages.app_url.as_deref());
        (url, own.and_then(|app| app.title.as_deref()).or(pages.name.as_deref()))
    }

    fn sentences<'a>(&'a self, words: &'a Catalog) -> Sentences<'a> {
        let message = self.content.message;
        let plain = |names| Sentences {
            heading: &message.title,
            what: &message.what,
            advice: words.advice(message),
            names,
        };
        match self.page {
            Page::Confirm { username, current, .. } => {
                let names = [("user", username), ("current", current)];
                let names = names.into_iter().filter_map(|(name, value)| Some((name, (*value)?.to_owned())));
                let confirm = &words.confirm;
                let (what, advice) = match (username, current) {
                    (Some(_), Some(_)) => (&confirm.switch, &confirm.switch_advice),
                    (Some(_), None) => (&confirm.what, &confirm.advice),
                    (None, _) => (&confirm.what_unnamed, &confirm.advice),
                };
                let heading = if username.is_some() { &confirm.title } else { &confirm.title_unnamed };
                Sentences { heading, what, advice, names: names.collect() }
            }
            Page::Queue { queued_for, position, seconds, .. } => {
                let (wait, seconds, minutes) = spoken_wait(words, *seconds);
                let (what, advice) = match queued_for {
                    QueuedFor::Login => (wait, words.advice(message)),
                    QueuedFor::LoginHubDown => (words.queue_hub_down.as_str(), words.advice(message)),
                    QueuedFor::Start => (wait, words.queue_start.as_str()),
                };
                let numbers = [("position", *position), ("seconds", seconds), ("minutes", minutes)];
                let names = numbers.map(|(name, number)| (name, number.to_string())).to_vec();
                Sentences { what, advice, ..plain(names) }
            }
            Page::Server { .. }
            | Page::Refused(_)
            | Page::NoToken
            | Page::HubDown { .. }
            | Page::HubBusy
            | Page::HubUnexpected { .. }
            | Page::StoreDown
            | Page::ExchangeFailed
            | Page::LogoutFailed
            | Page::LoginFailed
            | Page::BadGateway
            | Page::GatewayTimeout
            | Page::TooManyTries
            | Page::NotWaiting
            | Page::SessionEnded
            | Page::CookieLost
            | Page::Frame { .. }
            | Page::TooManyCookies { .. }
            | Page::ConfirmationUnverified
            | Page::LoginRefused
            | Page::LoggedOut
            | Page::ServerNotRunning
            | Page::NotFound
            | Page::Unavailable
            | Page::Rejected { .. } => plain(Vec::new()),
        }
    }

    fn form(&self, words: &Catalog, names: &[(&str, &str)]) -> Option<Value> {
        if let Page::Confirm { username, action, fields, .. } = self.page {
            let fields = fields.iter().map(|(name, value)| context! { name => *name, value => *value });
            let fields = fields.collect::<Vec<_>>();
            let title = if username.is_some() { &words.confirm.title } else { &words.confirm.title_unnamed };
            return Some(context! { action => *action, fields, button => markup(title, names) });
        }
        if let Page::TooManyCookies { action, fields } = self.page {
            let fields = fields.iter().map(|(name, value)| context! { name => *name, value => *value });
            let fields = fields.collect::<Vec<_>>();
            return Some(context! { action => *action, fields, button => &words.delete_cookies });
        }
        if let Page::Server { start, action, .. } = self.page
            && !matches!(start, Start::Starting { .. })
        {
            let fields: [Value; 0] = [];
            return Some(context! { action => *action, fields, button => &words.start_again });
        }
        None
    }

    /// The link by which the user who is logged in stays logged in.
    fn stay(&self, pages: &Pages, words: &Catalog) -> Option<Value> {
        let Page::Confirm { current: Some(current), .. } = self.page else { return None };
        let label = markup(&words.stay, &[("current", current)]);
        Some(context! { url => &pages.notebooks, label })
    }

    fn starting(&self, words: &Catalog) -> Option<Value> {
        let Page::Server { start: Start::Starting { percent, message }, events, .. } = self.page else {
            return None;
        };
        Some(context! {
            percent => percent.min(&100),
            message => *message,
            events => *events,
            so_far => &words.so_far,
            elapsed => &words.elapsed,
        })
    }

    fn queue(&self, words: &Catalog) -> Option<Value> {
        let Page::Queue { position, address, events, .. } = self.page else { return None };
        Some(context! {
            position,
            address => *address,
            events => *events,
            number => &words.queue.title,
            seconds => &words.queue.what,
            minutes => &words.queue_minutes,
            soon => &words.queue_soon,
            down => &words.queue_hub_down,
        })
    }
}

impl Page<'_> {
    /// The script of this page, if it has one.
    pub(super) fn script(&self) -> Option<&'static str> {
        if matches!(self, Page::Server { start: Start::Starting { .. }, .. }) {
            Some(WAITING_SCRIPT)
        } else if matches!(self, Page::Queue { events: Some(_), .. }) {
            Some(QUEUE_SCRIPT)
        } else if matches!(self, Page::HubDown { retries: true }) {
            Some(RETRY_SCRIPT)
        } else {
            None
        }
    }

    /// When a browser asks again by itself, and for what: the content of `Refresh`.
    pub(super) fn refresh(&self) -> Option<String> {
        if let Page::Queue { address, .. } = self {
            return Some(format!("{REFRESH_SECONDS}; url={address}"));
        }
        if matches!(self, Page::HubDown { retries: true }) {
            return Some(RETRY_SECONDS.to_string());
        }
        let starting = matches!(self, Page::Server { start: Start::Starting { .. }, .. });
        starting.then(|| REFRESH_SECONDS.to_string())
    }
}

/// The sentence for a wait of so many seconds, and the numbers in it: seconds in steps of five, or minutes.
fn spoken_wait(words: &Catalog, seconds: u64) -> (&str, u64, u64) {
    let sentence: &str = match seconds {
        ..SOON_SECONDS => &words.queue_soon,
        SOON_SECONDS..=MINUTES_ABOVE_SECONDS => &words.queue.what,
        _ => &words.queue_minutes,
    };
    (sentence, seconds.next_multiple_of(5), seconds.div_ceil(60))
}
