//! Schemas of the document, for what no type of ours stands for.

use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// A schema, with those that it refers to by name.
pub(super) struct BodySchema {
    pub(super) schema: RefOr<Schema>,
    pub(super) components: Vec<(String, RefOr<Schema>)>,
}

impl BodySchema {
    /// That of `T`, by its name.
    pub(super) fn of<T: ToSchema>() -> Self {
        let name = T::name().into_owned();
        let mut components = Vec::new();
        T::schemas(&mut components);
        components.push((name.clone(), T::schema()));
        Self { schema: Ref::from_schema_name(name).into(), components }
    }

    /// That of `T`, which has no name.
    pub(super) fn inline<T: ToSchema>() -> Self {
        let mut components = Vec::new();
        T::schemas(&mut components);
        Self { schema: <T as PartialSchema>::schema(), components }
    }

    /// `schema`, by a `name`.
    pub(super) fn named(name: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        let components = vec![(name.to_owned(), schema.into())];
        Self { schema: Ref::from_schema_name(name).into(), components }
    }
}

impl From<ObjectBuilder> for BodySchema {
    fn from(schema: ObjectBuilder) -> Self {
        Self { schema: schema.into(), components: Vec::new() }
    }
}

pub(super) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A text with this meaning.
pub(super) fn text_of(description: &str) -> ObjectBuilder {
    text().description(Some(description))
}

/// One of these texts.
pub(super) fn word<const N: usize>(words: [&str; N]) -> ObjectBuilder {
    text().enum_values(Some(words))
}

/// A point in time.
pub(super) fn time() -> ObjectBuilder {
    text().format(Some(SchemaFormat::Custom("date-time".to_owned())))
}

pub(super) fn flag(description: &str) -> ObjectBuilder {
    let flag = ObjectBuilder::new().schema_type(Type::Boolean);
    if description.is_empty() { flag } else { flag.description(Some(description)) }
}

pub(super) fn integer() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer)
}

/// A list of texts.
pub(super) fn texts() -> ArrayBuilder {
    ArrayBuilder::new().items(text())
}

/// An object with no other members than these.
pub(super) fn closed<const N: usize>(required: [&str; N]) -> ObjectBuilder {
    open(required).additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

/// An object with at least these members.
pub(super) fn open<const N: usize>(required: [&str; N]) -> ObjectBuilder {
    required.into_iter().fold(ObjectBuilder::new(), ObjectBuilder::required)
}

/// A value of one of these types.
pub(super) fn any_of<const N: usize>(types: [Type; N]) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::from_iter(types))
}

/// An object with a `token`, and nothing else.
pub(super) fn token() -> ObjectBuilder {
    closed(["token"]).property("token", text())
}
