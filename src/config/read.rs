//! Reading keys by type: a value, its default, or a fault that says what to write.
//!
//! Every reader answers `None` only after it has noted a fault (or one was noted before), so that a caller goes on to
//! the next key and all faults are found in one run.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::file::{ConfigFile, Value, is_within};

/// The most characters of a bad value that a fault repeats.
const SHOWN_CHARS_MAX: usize = 80;

impl ConfigFile {
    /// The text at `key` as `parse` understands it, or `default`. `parse` says what is wrong as the rest of a sentence.
    pub(super) fn value<T>(
        &mut self,
        key: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match self.take(key) {
            Some(value) => self.parsed(key, &value, parse),
            None => (!self.is_withdrawn(key)).then_some(default),
        }
    }

    /// The text at `key` as written, which whoever reads that key still will.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.values.get(key)? {
            Value::Text(text) | Value::Variable(text) => Some(text),
            Value::Number(_) | Value::Flag(_) | Value::Other(_) | Value::List(_) | Value::Table => None,
        }
    }

    /// The text at `key`, which has no default.
    pub(super) fn required<T>(
        &mut self,
        key: &str,
        example: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if let Some(value) = self.take(key) {
            return self.parsed(key, &value, parse);
        }
        if !self.is_withdrawn(key) {
            let name = key.rsplit('.').next().unwrap_or(key);
            self.fault(key, format!("is required; write for example {name} = {example:?}"));
        }
        None
    }

    /// The list of texts at `key`, or `default`.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        default: Vec<T>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        match self.take(key) {
            Some(Value::List(length)) => {
                let elements: Vec<Option<T>> = (0..length)
                    .map(|index| {
                        let element = format!("{key}[{index}]");
                        let value = self.take(&element)?;
                        self.parsed(&element, &value, &parse)
                    })
                    .collect();
                elements.into_iter().collect()
            }
            Some(Value::Variable(text)) => {
                let elements: Vec<Option<T>> = text
                    .split(',')
                    .map(str::trim)
                    .filter(|element| !element.is_empty())
                    .map(|element| self.parsed(key, &Value::Variable(element.to_owned()), &parse))
                    .collect();
                elements.into_iter().collect()
            }
            Some(Value::Text(_)) => {
                // Not repeated: it might be an app's key.
                self.fault(key, "one text is not a list; write brackets around it: [\"…\"]");
                None
            }
            Some(other) => self.mismatch(key, &other, "a list of texts; write for example [\"…\"]"),
            None => (!self.is_withdrawn(key)).then_some(default),
        }
    }

    /// The list of texts at `key`, where one text stands for a list of one; or `default`.
    pub(super) fn one_or_more<T>(
        &mut self,
        key: &str,
        default: Vec<T>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        if matches!(self.values.get(key), Some(Value::Text(_))) {
            return self.required(key, "", parse).map(|only| vec![only]);
        }
        self.list(key, default, parse)
    }

    /// The number at `key`, or `default`.
    pub(super) fn number<N: Copy + Display + FromStr + PartialOrd>(
        &mut self,
        key: &str,
        default: N,
        range: RangeInclusive<N>,
    ) -> Option<N> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        match self.take(key) {
            Some(Value::Number(text) | Value::Variable(text)) => {
                let number = text.parse().ok().filter(|number| range.contains(number));
                if number.is_none() {
                    self.fault(key, format!("{text} is not {expected}"));
                }
                number
            }
            Some(other) => self.mismatch(key, &other, &format!("{expected}, without quotes")),
            None => (!self.is_withdrawn(key)).then_some(default),
        }
    }

    /// The flag at `key`, or `default`.
    pub(super) fn flag(&mut self, key: &str, default: bool) -> Option<bool> {
        let expected = "true or false, without quotes";
        match self.take(key) {
            Some(Value::Flag(flag)) => Some(flag),
            Some(Value::Variable(text)) if text == "true" || text == "false" => Some(text == "true"),
            Some(other) => self.mismatch(key, &other, expected),
            None => (!self.is_withdrawn(key)).then_some(default),
        }
    }

    /// Whether the optional section `key` is there. Nothing, if something else bears its name.
    pub(super) fn has_section(&mut self, key: &str) -> bool {
        self.known.insert(key.to_owned());
        match self.values.get(key) {
            Some(Value::Table) => true,
            Some(_) => false,
            None => self.values.keys().any(|other| is_within(other, key)),
        }
    }

    /// The keys of the sections `[[key]]`: `apps[0]`, `apps[1]`.
    pub(super) fn sections(&mut self, key: &str) -> Vec<String> {
        let wanted = format!("a list of sections; write each as [[{key}]], with two brackets");
        match self.take(key) {
            Some(Value::List(length)) => {
                let mut sections = Vec::with_capacity(length);
                for index in 0..length {
                    let section = format!("{key}[{index}]");
                    match self.take(&section) {
                        Some(Value::Table) => sections.push(section),
                        Some(other) => {
                            _ = self.mismatch::<()>(&section, &other, &wanted);
                            self.withdraw(key);
                        }
                        None => {}
                    }
                }
                sections
            }
            Some(other) => {
                _ = self.mismatch::<()>(key, &other, &wanted);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.known.insert(key.to_owned());
        self.values.remove(key)
    }

    fn parsed<T>(
        &mut self,
        key: &str,
        value: &Value,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let outcome = match value {
            Value::Text(text) | Value::Variable(text) => parse(text).map_err(|wrong| (shown(text), wrong)),
            // What the key takes is more help than "not text": 30 is not a duration, "30s" is.
            Value::Number(text) | Value::Other(text) => Err((
                text.clone(),
                parse(text).err().unwrap_or_else(|| "is not text; write it in quotes".to_owned()),
            )),
            Value::Flag(_) | Value::List(_) | Value::Table => {
                return self.mismatch(key, value, "text; write it in quotes");
            }
        };
        outcome.map_err(|(shown, wrong)| self.fault(key, format!("{shown} {wrong}"))).ok()
    }

    fn mismatch<T>(&mut self, key: &str, value: &Value, expected: &str) -> Option<T> {
        let what = match value {
            Value::Text(text) | Value::Variable(text) => shown(text),
            Value::Number(text) | Value::Other(text) => text.clone(),
            Value::Flag(flag) => flag.to_string(),
            Value::List(_) => "a list".to_owned(),
            Value::Table => "a section".to_owned(),
        };
        self.fault(key, format!("{what} is not {expected}"));
        self.withdraw(key);
        None
    }
}

/// A value as a fault repeats it: in quotes, on one line, not too long, without the password of a URL.
pub(super) fn shown(text: &str) -> String {
    let password = text.find("//").zip(text.rfind('@')).filter(|(begin, end)| begin < end);
    let text = match password {
        Some((begin, end)) => format!("{}…{}", &text[..begin + 2], &text[end..]),
        None => text.to_owned(),
    };
    let mut short: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}
