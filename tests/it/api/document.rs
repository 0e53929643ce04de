//! The document of the API as a judge: is this answer one that the document promises?

use std::sync::LazyLock;

use hublatch::api::OPENAPI;
use serde_json::Value;

use super::call::Reply;

/// The document.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_norway::from_str(&OPENAPI).unwrap());

/// Methods that a path of the document can have.
pub const METHODS: [&str; 5] = ["get", "post", "put", "delete", "patch"];

/// Fails unless the answer to `method target` is documented, in its status, its type and its shape.
pub fn check(method: &str, target: &str, reply: &Reply) {
    let target: hyper::Uri = target.parse().unwrap();
    let path = target.path();
    let Some((template, operation)) = operation(method, path) else {
        let is_refused_first = reply.code() == "browser_request";
        assert!(
            reply.status == 404 || is_refused_first,
            "{method} {path} is not documented: {}",
            reply.status
        );
        return;
    };
    let place = format!("{method} {template} → {}", reply.status);
    let response = &operation["responses"][reply.status.to_string()];
    assert!(!response.is_null(), "{place} is not documented: {}", reply.json);
    let response = resolve(response);
    let Some(content) = response["content"].as_object() else {
        assert!(reply.body.is_empty(), "{place} has a body that is not documented");
        return;
    };
    let media = &content.get(reply.header("content-type"));
    let media =
        media.unwrap_or_else(|| panic!("{place}: undocumented type {:?}", reply.header("content-type")));
    if reply.header("content-type") == "application/json" {
        let wrong = violations(&media["schema"], &reply.json, "answer");
        assert!(wrong.is_empty(), "{place}: {wrong:?}");
    }
}

/// The operation of a method and path, and the path's template.
pub fn operation(method: &str, path: &str) -> Option<(&'static str, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let literal = paths.get_key_value(path);
    let mut templated = paths.iter().filter(|(template, _)| fits(template, path));
    let (template, item) = literal.or_else(|| templated.next())?;
    let operation = item.get(method.to_lowercase())?;
    Some((template, operation))
}

fn fits(template: &str, path: &str) -> bool {
    let (mut template, mut path) = (template.split('/'), path.split('/'));
    loop {
        match (template.next(), path.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given)) if wanted == given || wanted.starts_with('{') => {}
            _ => return false,
        }
    }
}

/// What a `$ref` stands for.
pub fn resolve(value: &'static Value) -> &'static Value {
    let Some(reference) = value["$ref"].as_str() else { return value };
    let pointer = reference.strip_prefix('#').unwrap();
    DOCUMENT.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

/// Where `value` does not fit `schema`: of JSON Schema, the words that the document uses.
pub fn violations(schema: &'static Value, value: &Value, place: &str) -> Vec<String> {
    let schema = resolve(schema);
    let mut wrong = Vec::new();
    for word in schema.as_object().unwrap().keys() {
        let known = [
            "type",
            "additionalProperties",
            "required",
            "properties",
            "items",
            "enum",
            "minimum",
            "minItems",
            "maxItems",
            "minLength",
            "maxLength",
            "format",
            "description",
        ];
        assert!(known.contains(&word.as_str()), "the judge does not know {word:?}");
    }
    let types: Vec<&str> = match schema["type"].as_array() {
        Some(types) => types.iter().map(|name| name.as_str().unwrap()).collect(),
        None => vec![schema["type"].as_str().unwrap()],
    };
    if !types.contains(&type_of(value)) {
        return vec![format!("{place} is no {types:?}: {value}")];
    }
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        wrong.push(format!("{place} is none of {allowed:?}: {value}"));
    }
    if let (Some(minimum), Some(number)) = (schema["minimum"].as_i64(), value.as_i64())
        && number < minimum
    {
        wrong.push(format!("{place} is below {minimum}: {number}"));
    }
    if let (Some("date-time"), Some(text)) = (schema["format"].as_str(), value.as_str())
        && !(text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok())
    {
        wrong.push(format!("{place} is no time in UTC: {text}"));
    }
    if let Some(elements) = value.as_array() {
        let minimum = schema["minItems"].as_u64().unwrap_or(0);
        let maximum = schema["maxItems"].as_u64().unwrap_or(u64::MAX);
        if !(minimum..=maximum).contains(&(elements.len() as u64)) {
            wrong.push(format!("{place} has {} elements", elements.len()));
        }
        for (index, element) in elements.iter().enumerate() {
            wrong.extend(violations(&schema["items"], element, &format!("{place}[{index}]")));
        }
    }
    if let Some(members) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten() {
            if !members.contains_key(name.as_str().unwrap()) {
                wrong.push(format!("{place} lacks {name}"));
            }
        }
        for (name, member) in members {
            match schema["properties"].get(name) {
                Some(schema) => wrong.extend(violations(schema, member, &format!("{place}.{name}"))),
                None if schema["additionalProperties"] == false => {
                    wrong.push(format!("{place} has a {name:?}"));
                }
                None => {}
            }
        }
    }
    wrong
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
