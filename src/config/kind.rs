//! What a key takes: how a value is read, and how the manual and the schema describe it.
//!
//! A reader answers `Err(Noted)` only after it has noted a fault that says what to write.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::fault::Noted;
use super::file::{ConfigFile, Value};
use super::parse;
use super::section::{Section, Shape};

/// A value, none if nothing is written, or a fault.
pub(super) type Found<T> = Result<Option<T>, Noted>;

type Reader<T> = Box<dyn Fn(&mut ConfigFile, &str) -> Found<T>>;

/// What a key takes.
pub(super) struct Kind<T> {
    /// For the manual and the schema.
    pub(super) shape: Shape,
    take: Reader<T>,
}

impl<T: 'static> Kind<T> {
    pub(super) fn new(shape: Shape, take: impl Fn(&mut ConfigFile, &str) -> Found<T> + 'static) -> Self {
        Self { shape, take: Box::new(take) }
    }

    pub(super) fn take(&self, file: &mut ConfigFile, key: &str) -> Found<T> {
        (self.take)(file, key)
    }

    /// What `make` makes of such a value.
    pub(super) fn and_then<U: 'static>(
        self,
        make: impl Fn(&mut ConfigFile, &str, T) -> Result<U, Noted> + 'static,
    ) -> Kind<U> {
        let take = self.take;
        Kind::new(self.shape, move |file, key| {
            take(file, key)?.map(|value| make(file, key, value)).transpose()
        })
    }
}

impl<T: 'static> Kind<Vec<T>> {
    /// The same, but an empty list is a fault.
    pub(super) fn not_empty(self, message: &'static str) -> Self {
        self.and_then(
            move |file, key, list| if list.is_empty() { Err(file.noted(key, message)) } else { Ok(list) },
        )
    }
}

/// A text as `parse` understands it, which says what is wrong as the rest of a sentence that begins with the value.
pub(super) fn text<T: 'static>(parse: impl Fn(&str) -> Result<T, String> + 'static) -> Kind<T> {
    Kind::new(Shape::Text, move |file, key| {
        file.take(key).map(|value| file.parsed(key, &value, &parse)).transpose()
    })
}

/// One of a few words.
pub(super) fn words<T: Copy + 'static>(words: &'static [(&'static str, T)]) -> Kind<T> {
    let kind = text(parse::one_of(words));
    Kind { shape: Shape::Words(words.iter().map(|(word, _)| *word).collect()), ..kind }
}

/// A duration within `range`.
pub(super) fn duration(range: RangeInclusive<Duration>) -> Kind<Duration> {
    Kind { shape: Shape::Duration, ..text(parse::duration_within(range)) }
}

/// A size within `range`.
pub(super) fn size(range: RangeInclusive<usize>) -> Kind<usize> {
    Kind { shape: Shape::Size, ..text(parse::size_within(range)) }
}

/// A whole number within `range`.
pub(super) fn number<N>(range: RangeInclusive<N>) -> Kind<N>
where
    N: Copy + Display + FromStr + PartialOrd + 'static,
{
    let shape = Shape::Number(range.start().to_string(), range.end().to_string());
    let expected = format!("a whole number from {} to {}", range.start(), range.end());
    Kind::new(shape, move |file, key| match file.take(key) {
        Some(Value::Number(text) | Value::Variable(text)) => {
            let number = text.parse().ok().filter(|number| range.contains(number));
            number.map(Some).ok_or_else(|| file.noted(key, format!("{text} is not {expected}")))
        }
        Some(other) => Err(file.mismatch(key, &other, &format!("{expected}, without quotes"))),
        None => Ok(None),
    })
}

/// `true` or `false`.
pub(super) fn flag() -> Kind<bool> {
    Kind::new(Shape::Flag, |file, key| match file.take(key) {
        Some(Value::Flag(flag)) => Ok(Some(flag)),
        Some(Value::Variable(text)) if text == "true" || text == "false" => Ok(Some(text == "true")),
        Some(other) => Err(file.mismatch(key, &other, "true or false, without quotes")),
        None => Ok(None),
    })
}

/// A list of texts; in a variable, with commas between them.
pub(super) fn list<T: 'static>(parse: impl Fn(&str) -> Result<T, String> + 'static) -> Kind<Vec<T>> {
    Kind::new(Shape::List(Box::new(Shape::Text)), move |file, key| {
        let elements: Vec<Result<T, Noted>> = match file.take(key) {
            Some(Value::List(length)) => (0..length)
                .filter_map(|index| {
                    let element = format!("{key}[{index}]");
                    file.take(&element).map(|value| file.parsed(&element, &value, &parse))
                })
                .collect(),
            Some(Value::Variable(text)) => text
                .split(',')
                .map(str::trim)
                .filter(|element| !element.is_empty())
                .map(|element| file.parsed(key, &Value::Variable(element.to_owned()), &parse))
                .collect(),
            // Not repeated: it might be an app's key.
            Some(Value::Text(_)) => {
                return Err(file.noted(key, "one text is not a list; write brackets around it: [\"…\"]"));
            }
            Some(other) => {
                return Err(file.mismatch(key, &other, "a list of texts; write for example [\"…\"]"));
            }
            None => return Ok(None),
        };
        elements.into_iter().collect::<Result<_, _>>().map(Some)
    })
}

/// A list of a few words.
pub(super) fn list_of_words<T: Copy + 'static>(words: &'static [(&'static str, T)]) -> Kind<Vec<T>> {
    let shape = Shape::Words(words.iter().map(|(word, _)| *word).collect());
    Kind { shape: Shape::List(Box::new(shape)), ..list(parse::one_of(words)) }
}

/// A list of texts, where one text stands for a list of one.
pub(super) fn one_or_more<T: 'static>(
    parse: impl Fn(&str) -> Result<T, String> + Copy + 'static,
) -> Kind<Vec<T>> {
    let (one, more) = (text(parse), list(parse));
    Kind::new(Shape::OneOrMore(Box::new(Shape::Text)), move |file, key| match file.values.get(key) {
        Some(Value::Text(_)) => Ok(one.take(file, key)?.map(|only| vec![only])),
        _ => more.take(file, key),
    })
}

/// A section within a section, or one that may be left out.
pub(super) fn section<S: Section + 'static>() -> Kind<S> {
    Kind::new(Shape::Section(S::entries()), |file, key| Ok(file.section(key)))
}
