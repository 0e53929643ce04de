//! JSON as it is taken here: an object without two members of one name, each member asked for by name and type.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::{Map, Number, Value};

use super::error::ApiError;
use super::member_error::{MemberError, MemberFault};

/// The members of an object that have not been asked for yet.
#[derive(Debug)]
pub(super) struct Members(Map<String, Value>);

/// What some editors and libraries write before UTF-8; RFC 8259 § 8.1 lets a reader ignore it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The object that `bytes` spell.
pub(super) fn object(bytes: &[u8]) -> Result<Members, ApiError> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let Unambiguous(value) = serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        // Only our own complaint is about data: any JSON will do for the parser.
        Category::Data => ApiError::TwiceNamed(error),
        Category::Io | Category::Syntax | Category::Eof => ApiError::UnreadableJson(error),
    })?;
    Members::of(value).ok_or(ApiError::NotAnObject)
}

impl Members {
    /// The members of `value`, if it is an object.
    pub(super) fn of(value: Value) -> Option<Self> {
        if let Value::Object(members) = value { Some(Self(members)) } else { None }
    }

    /// The member `name`; `null` is as good as none.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// The text `name`.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, MemberError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(MemberError::new(name, MemberFault::Invalid("a text"))),
        }
    }

    /// The flag `name`.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, MemberError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(MemberError::new(name, MemberFault::Invalid("true or false"))),
        }
    }

    /// The list of texts `name`.
    pub(super) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, MemberError> {
        let wrong = || MemberError::new(name, MemberFault::Invalid("a list of texts"));
        let Some(value) = self.take(name) else { return Ok(None) };
        let Value::Array(elements) = value else { return Err(wrong()) };
        let text = |element| if let Value::String(text) = element { Ok(text) } else { Err(wrong()) };
        elements.into_iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    /// Refuses what is left: a misspelt field must not be taken for a missing one.
    pub(super) fn end(self) -> Result<(), MemberError> {
        let name = self.0.into_iter().next().map(|(name, _)| name);
        name.map_or(Ok(()), |name| Err(MemberError::new(&name, MemberFault::Unknown)))
    }
}

/// A value in which no object names a member twice. Which of the two counts differs between parsers, and RFC 7493
/// § 2.3 forbids it; two different user names in one order must not be a matter of taste.
struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Strict.deserialize(deserializer).map(Self)
    }
}

#[derive(Clone, Copy)]
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(self)? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the field {name:?} is there twice")));
            }
            let value = members.next_value_seed(self)?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}
