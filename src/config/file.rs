//! The configuration as written: the TOML file and the environment, flattened to one value a key.
//!
//! Knows the place of each value, and no key by name: which keys there are is told by who reads them. What was read by
//! nobody is an unknown key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Faults, Noted};
use super::parse::written;

/// What the variables begin with that override keys.
const VARIABLE_PREFIX: &str = "HUBLATCH_";
/// What stands between section and key in a variable.
const VARIABLE_SEPARATOR: &str = "__";

/// Every value as written, and what has been found wrong so far.
pub(super) struct ConfigFile {
    name: String,
    /// Where relative paths begin.
    directory: PathBuf,
    /// Every file that was looked into, or for.
    files: Vec<PathBuf>,
    /// Whether group or others can read the file, so that no secret may stand in it.
    pub(super) exposed: bool,
    /// Whether this is an example of a table: it holds no real secret.
    pub(super) is_example: bool,
    /// Values that were not read yet, by key: `login.lifetime`, `apps[0].keys[1]`.
    pub(super) values: BTreeMap<String, Value>,
    origins: BTreeMap<String, ValueOrigin>,
    /// Keys that somebody asked for.
    pub(super) known: BTreeSet<String>,
    faults: Vec<Fault>,
    /// Variables that begin as ours do and override nothing.
    pub(super) other_variables: Vec<String>,
}

/// A value as written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// A string in the file.
    Text(String),
    /// An environment variable: text, number, flag or list, as its key has it.
    Variable(String),
    /// An integer in decimal.
    Number(String),
    /// `true` or `false`.
    Flag(bool),
    /// A float or a date: no key takes one.
    Other(String),
    /// A list of that many values, each with a key of its own.
    List(usize),
    /// A section or an inline table.
    Table,
}

#[derive(Debug, Clone)]
enum ValueOrigin {
    Line(usize),
    Variable(String),
}

impl ConfigFile {
    /// Reads `text`, which stands in the file at `path`, and lays the environment over it.
    pub(super) fn parse(
        path: &Path,
        text: &str,
        exposed: bool,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Faults> {
        let name = path.display().to_string();
        let lines = LineStarts::of(text);
        let (document, errors) = DeTable::parse_recoverable(text);
        let syntax = errors.iter().map(|error| Fault {
            place: name.clone(),
            line: error.span().map(|span| lines.number(span.start)),
            key: String::new(),
            message: format!("not valid TOML: {}", error.message().replace('\n', " ")),
        });
        let mut syntax: Vec<Fault> = syntax.collect();
        // A broken value makes the parser stumble again on the same line: the first complaint says it best.
        syntax.sort_by_key(|fault| fault.line);
        syntax.dedup_by_key(|fault| fault.line);
        if let Some(faults) = Faults::new(syntax) {
            return Err(faults);
        }
        let mut file = Self::empty(path);
        file.exposed = exposed;
        file.add_table("", document.get_ref(), &lines);
        file.add_environment(environment);
        Ok(file)
    }

    /// What a file at `path` without a line says.
    pub(super) fn empty(path: &Path) -> Self {
        Self {
            name: path.display().to_string(),
            directory: path.parent().unwrap_or(Path::new("")).to_owned(),
            files: Vec::new(),
            exposed: false,
            is_example: false,
            values: BTreeMap::new(),
            origins: BTreeMap::new(),
            known: BTreeSet::new(),
            faults: Vec::new(),
            other_variables: Vec::new(),
        }
    }

    /// Notes a fault of `key`, at its line or, if it is nowhere, at its section's.
    pub(super) fn fault(&mut self, key: &str, message: impl Into<String>) {
        let (place, line) = match self.origin(key) {
            Some(ValueOrigin::Variable(name)) => (name.clone(), None),
            Some(ValueOrigin::Line(line)) => (self.name.clone(), Some(*line)),
            None => (self.name.clone(), None),
        };
        self.faults.push(Fault { place, line, key: key.to_owned(), message: message.into() });
    }

    /// The line on which `key` is written, if it is in the file.
    pub(super) fn line(&self, key: &str) -> Option<usize> {
        match self.origins.get(key) {
            Some(ValueOrigin::Line(line)) => Some(*line),
            Some(ValueOrigin::Variable(_)) | None => None,
        }
    }

    pub(super) fn at_line(&self, key: &str) -> String {
        self.line(key).map(|line| format!(" (line {line})")).unwrap_or_default()
    }

    /// Whether `key` is set at all, in the file or by a variable.
    pub(super) fn is_written(&self, key: &str) -> bool {
        self.origins.contains_key(key)
    }

    /// The variable that sets `key`, if one does.
    pub(super) fn variable(&self, key: &str) -> Option<&str> {
        match self.origins.get(key) {
            Some(ValueOrigin::Variable(name)) => Some(name),
            Some(ValueOrigin::Line(_)) | None => None,
        }
    }

    /// The same, as the error of a reader.
    pub(super) fn noted(&mut self, key: &str, message: impl Into<String>) -> Noted {
        self.fault(key, message);
        Noted
    }

    /// Notes a fault of `key` that comes of the values of `others` as well, unless one of them all has a fault of its
    /// own: then something else stands in its place, and nothing can be said about it.
    pub(super) fn conflict(&mut self, key: &str, others: &[&str], message: impl Into<String>) {
        if !self.is_faulty(key) && !others.iter().any(|other| self.is_faulty(other)) {
            self.fault(key, message);
        }
    }

    /// Notes a fault if the duration `value` of `key` is longer than `longest`, which `other` says.
    pub(super) fn refuse_longer(&mut self, key: &str, value: Duration, other: &str, longest: Duration) {
        if value > longest {
            let (value, longest) = (written(value), written(longest));
            let message = format!("\"{value}\" is longer than {other}; write at most \"{longest}\"");
            self.conflict(key, &[other], message);
        }
    }

    /// Whether a fault of `key`, of its twin `x_file` or of what lies within it has been noted.
    pub(super) fn is_faulty(&self, key: &str) -> bool {
        self.faults.iter().any(|fault| {
            is_within(&fault.key, key) || fault.key.strip_suffix("_file").is_some_and(|twin| twin == key)
        })
    }

    /// Drops what lies within `key` after a fault of it: it is not unknown, whatever it is.
    pub(super) fn mark_invalid(&mut self, key: &str) {
        self.values.retain(|other, _| !is_within(other, key));
    }

    /// The file that `written` names. A change of it is a change of the configuration.
    pub(super) fn file_at(&mut self, written: &str) -> PathBuf {
        let path = self.directory.join(written);
        self.files.push(path.clone());
        path
    }

    /// The file that `written` names and that hublatch itself writes: its change is no change of the configuration.
    pub(super) fn file_beside(&self, written: &str) -> PathBuf {
        self.directory.join(written)
    }

    /// Every file that was looked into beside this one.
    pub(super) fn take_files(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.files)
    }

    /// Everything that was found wrong; to be called when every key was asked for.
    pub(super) fn into_faults(self) -> Option<Faults> {
        Faults::new(self.faults)
    }

    fn origin(&self, key: &str) -> Option<&ValueOrigin> {
        if let Some(origin) = self.origins.get(key) {
            return Some(origin);
        }
        let section = &key[..key.rfind('.')?];
        self.origins.get(section).filter(|origin| matches!(origin, ValueOrigin::Line(_)))
    }

    fn add_table(&mut self, path: &str, table: &DeTable<'_>, lines: &LineStarts) {
        for (key, value) in table {
            let name = key_name(key.get_ref());
            let path = if path.is_empty() { name } else { format!("{path}.{name}") };
            self.add_value(path, value, lines.number(key.span().start), lines);
        }
    }

    fn add_value(&mut self, path: String, value: &Spanned<DeValue<'_>>, line: usize, lines: &LineStarts) {
        let written = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
                Ok(decimal) => Value::Number(decimal.to_string()),
                Err(_) => Value::Number(number.to_string()),
            },
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Float(float) => Value::Other(float.to_string()),
            DeValue::Datetime(date) => Value::Other(date.to_string()),
            DeValue::Array(array) => {
                for (index, element) in array.iter().enumerate() {
                    self.add_value(
                        format!("{path}[{index}]"),
                        element,
                        lines.number(element.span().start),
                        lines,
                    );
                }
                Value::List(array.len())
            }
            DeValue::Table(table) => {
                self.add_table(&path, table, lines);
                Value::Table
            }
        };
        self.origins.insert(path.clone(), ValueOrigin::Line(line));
        self.values.insert(path, written);
    }

    fn add_environment(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        for (variable, text) in environment {
            let Some(rest) = variable.strip_prefix(VARIABLE_PREFIX) else { continue };
            // HUBLATCH_CONFIG, HUBLATCH_API_URL and what Kubernetes adds for a service "hublatch" are not ours to judge.
            if !rest.contains(VARIABLE_SEPARATOR) {
                self.other_variables.push(variable);
                continue;
            }
            let spelled = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
            let path = if rest.bytes().all(spelled) {
                rest.replace(VARIABLE_SEPARATOR, ".").to_ascii_lowercase()
            } else {
                // Never a key, so it will be reported.
                format!("{rest:?}")
            };
            // The variable replaces a whole list of the file.
            self.values.retain(|other, _| !is_within(other, &path));
            self.origins.insert(path.clone(), ValueOrigin::Variable(variable));
            self.values.insert(path, Value::Variable(text));
        }
    }
}

/// The name of the variable that would set `key`.
pub(super) fn variable_name(key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", key.to_ascii_uppercase().replace('.', VARIABLE_SEPARATOR))
}

/// Whether `key` is `outer` or lies within it.
pub(super) fn is_within(key: &str, outer: &str) -> bool {
    key.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// A key as a part of a path: quoted where it could be taken for more than one part (`"login.lifetime" = …`).
fn key_name(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !key.is_empty() && key.bytes().all(bare) { key.to_owned() } else { format!("{key:?}") }
}

/// Where each line begins.
struct LineStarts(Vec<usize>);

impl LineStarts {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at + 1).collect())
    }

    /// The number, from 1, of the line that holds the byte at `offset`.
    fn number(&self, offset: usize) -> usize {
        1 + self.0.partition_point(|begin| *begin <= offset)
    }
}
