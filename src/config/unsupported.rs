//! Keys and values that a hublatch configuration may have but that this version cannot honour.
//!
//! They are refused rather than ignored: each of them changes who gets in, or how well a secret is kept.

use super::file::{ConfigFile, Value, is_within};

/// A key (`[]` stands for any index), the beginning of the values that are refused (empty: all), and what to do.
const UNSUPPORTED: &[(&str, &str, &str)] = &[
    ("store.url", "redis+sentinel:", "write the redis:// address of the primary"),
    ("store.url", "redis+cluster:", "write the redis:// address of one primary"),
];

/// Notes a fault for each value that this version cannot honour, and withdraws it.
pub(super) fn refuse(file: &mut ConfigFile) {
    for (key, value) in file.values.clone() {
        if !file.values.contains_key(&key) {
            continue; // it lay within one that was withdrawn
        }
        let general = without_indices(&key);
        let entry = UNSUPPORTED.iter().find(|(name, beginning, _)| {
            is_within(&general, name)
                && (beginning.is_empty() || text(&value).is_some_and(|text| text.starts_with(beginning)))
        });
        let Some((_, beginning, instead)) = entry else { continue };
        let what = if beginning.is_empty() { String::new() } else { format!("{beginning:?} ") };
        file.fault(&key, format!("{what}is not supported by this version of hublatch; {instead}"));
        file.withdraw(&key);
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) | Value::Variable(text) => Some(text),
        Value::Number(_) | Value::Flag(_) | Value::Other(_) | Value::List(_) | Value::Table => None,
    }
}

/// `apps[12].jwt` as `apps[].jwt`.
fn without_indices(key: &str) -> String {
    let mut within = false;
    let outside = |character: &char| {
        within = match character {
            '[' => true,
            ']' => false,
            _ => within,
        };
        !within || *character == '['
    };
    key.chars().filter(outside).collect()
}
