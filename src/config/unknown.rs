//! Values that nobody asked for: unknown keys, with the one that was probably meant.

use super::file::{ConfigFile, Value, is_within, variable_name};

impl ConfigFile {
    /// Notes a fault for every value that nobody asked for. To be called last.
    pub(super) fn refuse_unknown(&mut self) {
        let mut reported: Vec<String> = Vec::new();
        for (key, value) in std::mem::take(&mut self.values) {
            if reported.iter().any(|outer| is_within(&key, outer)) {
                continue;
            }
            let is_section = self.known.iter().any(|known| known.starts_with(&format!("{key}.")));
            let message = match (&value, self.variable(&key)) {
                (Value::Table, _) if is_section || self.known.contains(&key) => continue,
                (_, Some(_)) if key.starts_with("apps.") => {
                    "apps cannot be set by variables; write them in the file".to_owned()
                }
                (_, Some(_)) => {
                    let meant = self.nearest(&key).map(|known| variable_name(&known));
                    format!("the variable names no key{}", suggestion(meant))
                }
                _ if is_section || self.known.contains(&key) => {
                    format!("is a section; write [{key}] and its keys below")
                }
                (Value::Table, None) => {
                    format!("there is no such section{}", suggestion(self.nearest_section(&key)))
                }
                _ => format!("there is no such key{}", suggestion(self.nearest(&key))),
            };
            self.fault(&key, message);
            reported.push(key);
        }
    }

    /// What is to be told of variables that set nothing for want of an underscore. To be called when all keys are known.
    pub(super) fn misspelt_variables(&self) -> Vec<String> {
        let keys = self.known.iter().filter(|key| !key.contains('[') && key.contains('.'));
        let names: Vec<String> = keys.map(|key| variable_name(key)).collect();
        let meant = |variable: &String| names.iter().find(|name| name.replace("__", "_") == *variable);
        let told = self.other_variables.iter().filter_map(|variable| Some((variable, meant(variable)?)));
        told.map(|(variable, meant)| format!("the variable {variable} sets nothing; write {meant}")).collect()
    }

    /// The known key that was probably meant by `key`.
    fn nearest(&self, key: &str) -> Option<String> {
        let close = nearest_of(key, self.known.iter().map(String::as_str));
        // Or the right word in the wrong section, if only one section has it.
        close.or_else(|| {
            let word = last_part(key);
            let mut homes =
                self.known.iter().filter(|known| !known.contains('[') && last_part(known) == word);
            homes.next().filter(|_| homes.next().is_none()).cloned()
        })
    }

    fn nearest_section(&self, key: &str) -> Option<String> {
        let sections = self.known.iter().map(|known| known.split(['.', '[']).next().unwrap_or(known));
        nearest_of(key, sections)
    }
}

/// The candidate that differs from `key` by the fewest slips, if they are few for a word of its length.
fn nearest_of<'a>(key: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    candidates
        .filter(|candidate| *candidate != key)
        .map(|candidate| (strsim::levenshtein(candidate, key), candidate))
        .filter(|(distance, candidate)| *distance <= (last_part(candidate).len() / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

fn last_part(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

fn suggestion(meant: Option<String>) -> String {
    meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default()
}
