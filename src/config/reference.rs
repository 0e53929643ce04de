//! What is made of the tables of all sections: the manual (`config/reference.toml`) and a JSON Schema for editors.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::apps::{AppKeys, Rules};
use super::file::variable_name;
use super::hub::HubKeys;
use super::hub_tokens::HubTokenKeys;
use super::section::{KeyEntry, Section, Shape};
use super::store::StoreKeys;
use super::{
    Assertion, Embed, HubOAuth, Limits, Log, Login, Management, Pages, Public, RoutesConfig, StatusListener,
};

/// The head of the manual.
const HEAD: &str = include_str!("reference.head.toml");
const RULE: &str = "# ---------------------------------------------------------------------------------------------------------------------";

/// How the manual shows a section.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Its keys apply whether it is written or not.
    Always,
    /// It can be left out, which is not advised.
    Advised,
    /// It can be left out: it is shown behind "#".
    Apart,
    /// There is one for each app.
    Repeated,
}

struct Part {
    name: &'static str,
    style: Style,
    about: &'static [&'static str],
    entries: Vec<KeyEntry>,
}

fn part<S: Section>(name: &'static str, style: Style) -> Part {
    Part { name, style, about: S::ABOUT, entries: S::entries() }
}

/// Every section, in the order of the manual.
fn parts() -> Vec<Part> {
    let mut apps = part::<AppKeys>("apps", Style::Repeated);
    apps.entries.extend(Rules::entries());
    let mut hub_tokens = part::<HubTokenKeys>("hub_tokens", Style::Apart);
    let short = |entry| KeyEntry {
        doc: &[" The rules of an app (see [[apps]]); each owner has a rate and live links of its own."],
        ..entry
    };
    hub_tokens.entries.extend(Rules::entries().into_iter().map(short));
    vec![
        part::<Public>("public", Style::Always),
        part::<Management>("management", Style::Always),
        part::<StatusListener>("status", Style::Apart),
        part::<HubKeys>("hub", Style::Always),
        part::<RoutesConfig>("routes", Style::Apart),
        part::<Login>("login", Style::Always),
        part::<Assertion>("assertion", Style::Advised),
        part::<HubOAuth>("hub_oauth", Style::Apart),
        part::<StoreKeys>("store", Style::Always),
        apps,
        hub_tokens,
        part::<Embed>("embed", Style::Apart),
        part::<Pages>("pages", Style::Always),
        part::<Limits>("limits", Style::Always),
        part::<Log>("log", Style::Always),
    ]
}

/// The manual: every key with its default and a comment.
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    for part in parts() {
        let brackets = if part.style == Style::Repeated { ("[[", "]]") } else { ("[", "]") };
        let mark = if part.style == Style::Apart { "# " } else { "" };
        _ = write!(text, "\n{RULE}\n{}", comment(part.about, ""));
        _ = writeln!(text, "{mark}{}{}{}", brackets.0, part.name, brackets.1);
        let mut above: &[&str] = &[];
        for entry in &part.entries {
            // What holds for several keys is said above the first of them.
            let doc = if entry.doc == above { &[] } else { entry.doc };
            above = entry.doc;
            if !doc.is_empty() {
                text.push('\n');
            }
            text.push_str(&manual(&part, entry, doc, mark));
        }
    }
    text
}

fn manual(part: &Part, entry: &KeyEntry, doc: &[&str], mark: &str) -> String {
    let KeyEntry { name, presence, shape, .. } = entry;
    // The compiler breaks long lines of tokens.
    let text = entry.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let prefix = match (*presence, part.style) {
        ("required", Style::Always | Style::Repeated) => "REQUIRED. ",
        ("required", Style::Advised | Style::Apart) => "REQUIRED in this section. ",
        _ => "",
    };
    let mark = if *presence == "optional" { "# " } else { mark };
    let comment = comment(doc, prefix);
    if !matches!(shape, Shape::Secret) {
        return format!("{comment}{mark}{name} = {text}\n");
    }
    if *presence == "default" {
        let file = format!(
            "# The same from a file that holds only this.\n# {name}_file = \"/etc/hublatch/{name}\"\n"
        );
        return format!("{comment}{mark}{name} = {text}\n{file}");
    }
    let variable = variable_name(&format!("{}.{name}", part.name));
    format!(
        "{comment}{mark}{name}_file = {text}\n# The same as text, for a secret that comes as a variable ({variable}).\n\
         # {name} = \"…\"\n"
    )
}

fn comment(lines: &[&str], prefix: &str) -> String {
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        let prefix = if index == 0 { prefix } else { "" };
        _ = writeln!(text, "# {prefix}{}", line.strip_prefix(' ').unwrap_or(line));
    }
    text
}

/// A JSON Schema (draft 7) of the configuration, for editors.
pub fn schema() -> Value {
    let mut properties = Map::new();
    for part in parts() {
        let mut section = object(&part.entries);
        if part.style == Style::Repeated {
            section = json!({ "type": "array", "items": section });
        }
        section["description"] = words(part.about).into();
        properties.insert(part.name.to_owned(), section);
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "hublatch.toml",
        "type": "object",
        "properties": properties,
        "required": ["public"],
        "additionalProperties": false,
    })
}

fn object(entries: &[KeyEntry]) -> Value {
    let mut properties = Map::new();
    for entry in entries {
        let mut property = of_shape(&entry.shape);
        property["description"] = words(entry.doc).into();
        if entry.presence == "default" {
            // What the tables hold as TOML is JSON as well: text, numbers, flags and lists of texts.
            property["default"] = serde_json::from_str(entry.text).unwrap_or_default();
        }
        if matches!(entry.shape, Shape::Secret) {
            let file =
                json!({ "type": "string", "description": format!("A file that holds {}.", entry.name) });
            properties.insert(format!("{}_file", entry.name), file);
        }
        properties.insert(entry.name.to_owned(), property);
    }
    let is_required =
        |entry: &&KeyEntry| entry.presence == "required" && !matches!(entry.shape, Shape::Secret);
    let required: Vec<&str> = entries.iter().filter(is_required).map(|entry| entry.name).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn of_shape(shape: &Shape) -> Value {
    let whole = |number: &String| number.parse::<u64>().unwrap_or_default();
    match shape {
        Shape::Text | Shape::Secret => json!({ "type": "string" }),
        Shape::Words(words) => json!({ "enum": words }),
        Shape::Number(least, most) => {
            json!({ "type": "integer", "minimum": whole(least), "maximum": whole(most) })
        }
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Duration => json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h)$" }),
        Shape::Size => json!({ "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)$" }),
        Shape::List(element) => json!({ "type": "array", "items": of_shape(element) }),
        Shape::OneOrMore(element) => {
            json!({ "anyOf": [of_shape(element), { "type": "array", "items": of_shape(element) }] })
        }
        Shape::Section(entries) => object(entries),
    }
}

/// The lines of a comment as one text.
fn words(lines: &[&str]) -> String {
    lines.concat().trim().to_owned()
}
