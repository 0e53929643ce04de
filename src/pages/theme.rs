//! Renders the templates: ours, and the operator's in their place.
//!
//! Everything that a template prints is escaped, and it cannot say otherwise: the filter `safe` and the tag `autoescape`
//! are not there. What may hold tags comes as such from [`markup`]. An operator's template that fails is told once in
//! the log, and ours stands in: an error page that fails would leave nothing at all.

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, HtmlEscape, UndefinedBehavior};

use crate::config::{Fault, Template};

/// The page's template, and ours under a name that the operator's can extend.
const PAGE: &str = "page.html";
const OUR_PAGE: &str = "default/page.html";
const STYLE: &str = "style.css";

/// What our style looks like.
pub(super) const OUR_STYLE: &str = include_str!("style.css");

/// Every template in force.
#[derive(Debug)]
pub(super) struct Theme {
    environment: Environment<'static>,
    /// The operator's style, if there is one.
    style: Option<String>,
    has_own: bool,
}

impl Theme {
    /// Ours alone.
    pub(super) fn ours() -> Self {
        let mut environment = Environment::new();
        environment.remove_filter("safe");
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.add_filter("exact", exact);
        for name in [PAGE, OUR_PAGE] {
            let added = environment.add_template(name, include_str!("page.html"));
            added.expect("the tests parse the same text");
        }
        Self { environment, style: None, has_own: false }
    }

    /// The operator's where there are any. What is wrong with one is a fault with its file and line.
    pub(super) fn with(templates: &[Template]) -> (Self, Vec<Fault>) {
        let (mut look, mut faults) = (Self::ours(), Vec::new());
        for template in templates {
            let refused = if template.name == STYLE {
                look.style = Some(template.text.clone());
                // It stands between two tags, where nothing is escaped (HTML § 13.1.2.1).
                let end = template.text.find("</").map(|at| line_at(&template.text, at));
                end.map(|line| (Some(line), "holds \"</\", which would end the style".to_owned()))
            } else if let Some(line) = turns_escaping_off(&template.text) {
                Some((Some(line), "holds the tag autoescape: what is printed is escaped always".to_owned()))
            } else {
                look.has_own = true;
                let added = look.environment.add_template_owned(template.name.clone(), template.text.clone());
                added.err().map(|error| told(&error))
            };
            faults.extend(refused.map(|(line, message)| fault(template, line, message)));
        }
        (look, faults)
    }

    /// The styles that a page may come with.
    pub(super) fn styles(&self) -> impl Iterator<Item = &str> {
        self.style.as_deref().into_iter().chain([OUR_STYLE])
    }

    /// The page with these words; `words` is given the style.
    pub(super) fn render(&self, words: impl Fn(Value) -> Value) -> String {
        match self.try_render(&words) {
            Ok(page) => page,
            Err(error) => {
                let (line, message) = told(&error);
                tracing::error!(
                    template = error.name(),
                    line,
                    message,
                    "pages: an operator's template failed, ours stands in"
                );
                let ours = self.environment.get_template(OUR_PAGE).expect("`ours` has added it");
                ours.render(words(Value::from_safe_string(OUR_STYLE.to_owned())))
                    .expect("it only prints, tests and walks strings; the tests render every page")
            }
        }
    }

    /// What is wrong with the operator's templates when they are given these words.
    pub(super) fn judge(&self, templates: &[Template], words: impl Fn(Value) -> Value) -> Option<Fault> {
        if !self.has_own {
            return None;
        }
        let error = match self.try_render(&words) {
            Err(error) => error,
            Ok(page) if foreign_style(&page, self.style.as_deref().unwrap_or(OUR_STYLE)) => {
                let template = templates.iter().find(|template| template.name == PAGE)?;
                let line = template.text.find("<style").map(|at| line_at(&template.text, at));
                let message = "has a style that browsers will refuse: write <style>{{ style }}</style> and nothing \
                               else, and the rules into style.css";
                return Some(fault(template, line, message.to_owned()));
            }
            Ok(_) => return None,
        };
        let template =
            templates.iter().find(|template| error.name() == Some(&template.name)).or(templates.first())?;
        let (line, message) = told(&error);
        Some(fault(template, line, message))
    }

    fn try_render(&self, words: &impl Fn(Value) -> Value) -> Result<String, Error> {
        let style = self.style.as_deref().unwrap_or(OUR_STYLE).to_owned();
        self.environment.get_template(PAGE)?.render(words(Value::from_safe_string(style)))
    }
}

fn fault(template: &Template, line: Option<usize>, message: String) -> Fault {
    Fault { place: template.path.display().to_string(), line, key: "pages.dir".to_owned(), message }
}

/// Where and what: the innermost error, which knows the line that was written.
fn told(error: &Error) -> (Option<usize>, String) {
    let mut innermost = error;
    while let Some(cause) =
        std::error::Error::source(innermost).and_then(|cause| cause.downcast_ref::<Error>())
    {
        innermost = cause;
    }
    let kind = if innermost.kind() == ErrorKind::SyntaxError {
        "cannot be read as a template".to_owned()
    } else {
        format!("cannot be rendered: {}", innermost.kind())
    };
    let detail = innermost.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    (innermost.line().or(error.line()), format!("{kind}{detail}"))
}

/// The number, from 1, of the line at `offset`.
fn line_at(text: &str, offset: usize) -> usize {
    1 + memchr::memchr_iter(b'\n', &text.as_bytes()[..offset]).count()
}

/// The line of the first `{% autoescape …`, also with the signs that trim white space.
fn turns_escaping_off(text: &str) -> Option<usize> {
    let is_tag =
        |at: usize| text[at + 2..].trim_start_matches(['-', '+']).trim_start().starts_with("autoescape");
    text.match_indices("{%").map(|(at, _)| at).find(|at| is_tag(*at)).map(|at| line_at(text, at))
}

/// Whether `page` has a style that the policy would not admit.
fn foreign_style(page: &str, style: &str) -> bool {
    page.split("<style").skip(1).any(|rest| {
        let content =
            rest.split_once('>').and_then(|(_, rest)| rest.split_once("</style")).map(|(content, _)| content);
        content != Some(style)
    })
}

/// Escapes the value of a hidden field. Bare CR and CR LF in a page are read as LF (HTML, "preprocessing the input stream"), so a CR that is
/// meant has to be a character reference.
fn exact(text: &str) -> Value {
    Value::from_safe_string(HtmlEscape(text).to_string().replace('\r', "&#13;"))
}

/// `text` with `names` in the place of `{name}`: as text, for where no tag can stand.
pub(super) fn plain(text: &str, names: &[(&str, &str)]) -> String {
    filled(text, names, str::to_owned, str::to_owned)
}

/// The same with each name isolated, so that one from another script does not turn the sentence around (HTML, "the bdi
/// element").
pub(super) fn markup(text: &str, names: &[(&str, &str)]) -> Value {
    let escaped = |text: &str| HtmlEscape(text).to_string();
    Value::from_safe_string(filled(text, names, escaped, |name| format!("<bdi>{}</bdi>", HtmlEscape(name))))
}

/// What a name brings is not searched for further names.
fn filled(
    text: &str,
    names: &[(&str, &str)],
    own: impl Fn(&str) -> String,
    put_in: impl Fn(&str) -> String,
) -> String {
    let mut pieces = text.split('{');
    let mut whole = own(pieces.next().unwrap_or_default());
    for piece in pieces {
        let meant = piece.split_once('}').and_then(|(name, rest)| {
            names.iter().find(|(known, _)| *known == name).map(|(_, value)| (value, rest))
        });
        match meant {
            Some((value, rest)) => whole.push_str(&(put_in(value) + &own(rest))),
            None => whole.push_str(&own(&format!("{{{piece}"))),
        }
    }
    whole
}
