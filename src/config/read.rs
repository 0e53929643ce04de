//! Taking values as written, and noting that one is not what its key takes.

use super::fault::Noted;
use super::file::{ConfigFile, Value, is_within};
use super::section::Section;

/// The most characters of a bad value that a fault repeats.
const QUOTED_CHARS_MAX: usize = 80;

impl ConfigFile {
    /// The value at `key`, which is a known key from now on.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.known.insert(key.to_owned());
        self.values.remove(key)
    }

    /// Whether the optional section `key` is there. Not, if something else bears its name.
    pub(super) fn has_section(&mut self, key: &str) -> bool {
        self.known.insert(key.to_owned());
        match self.values.get(key) {
            Some(Value::Table) => true,
            Some(_) => false,
            None => self.values.keys().any(|other| is_within(other, key)),
        }
    }

    /// The section `[key]`, if it is there.
    pub(super) fn section<S: Section>(&mut self, key: &str) -> Option<S> {
        self.has_section(key).then(|| S::read(self, key))
    }

    /// The keys of the sections `[[key]]`: `apps[0]`, `apps[1]`.
    pub(super) fn sections(&mut self, key: &str) -> Vec<String> {
        let wanted = format!("a list of sections; write each as [[{key}]], with two brackets");
        let length = match self.take(key) {
            Some(Value::List(length)) => length,
            Some(other) => {
                _ = self.mismatch(key, &other, &wanted);
                0
            }
            None => 0,
        };
        let mut sections = Vec::with_capacity(length);
        for index in 0..length {
            let section = format!("{key}[{index}]");
            match self.take(&section) {
                Some(Value::Table) => sections.push(section),
                Some(other) => {
                    _ = self.mismatch(&section, &other, &wanted);
                    self.mark_invalid(key);
                }
                None => {}
            }
        }
        sections
    }

    /// What `parse` makes of a text.
    pub(super) fn parsed<T>(
        &mut self,
        key: &str,
        value: &Value,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, Noted> {
        let outcome = match value {
            Value::Text(text) | Value::Variable(text) => parse(text).map_err(|wrong| (quoted(text), wrong)),
            // What the key takes is more help than "not text": 30 is not a duration, "30s" is.
            Value::Number(text) | Value::Other(text) => Err((
                text.clone(),
                parse(text).err().unwrap_or_else(|| "is not text; write it in quotes".to_owned()),
            )),
            Value::Flag(_) | Value::List(_) | Value::Table => {
                return Err(self.mismatch(key, value, "text; write it in quotes"));
            }
        };
        outcome.map_err(|(quoted, wrong)| self.noted(key, format!("{quoted} {wrong}")))
    }

    /// Notes that `value` is not what was `expected` at `key`.
    pub(super) fn mismatch(&mut self, key: &str, value: &Value, expected: &str) -> Noted {
        let what = match value {
            Value::Text(text) | Value::Variable(text) => quoted(text),
            Value::Number(text) | Value::Other(text) => text.clone(),
            Value::Flag(flag) => flag.to_string(),
            Value::List(_) => "a list".to_owned(),
            Value::Table => "a section".to_owned(),
        };
        self.mark_invalid(key);
        self.noted(key, format!("{what} is not {expected}"))
    }
}

/// A value as a fault repeats it: in quotes, on one line, not too long, without the password of a URL.
pub(super) fn quoted(text: &str) -> String {
    let password = text.find("//").zip(text.rfind('@')).filter(|(begin, end)| begin < end);
    let text = match password {
        Some((begin, end)) => format!("{}…{}", &text[..begin + 2], &text[end..]),
        None => text.to_owned(),
    };
    let mut short: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}
