//! What the document of the API says of an endpoint.
//!
//! Beside each handler stands a [`Documentation`]. Examples of errors are made of the errors themselves, so that no status, code
//! or sentence is written twice.

use std::collections::BTreeMap;

use hyper::StatusCode;
use serde_json::Value;
use utoipa::openapi::content::{Content, ContentBuilder};
use utoipa::openapi::example::{Example, ExampleBuilder};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Ref, RefOr, Required};

use super::error::{ApiError, ErrorJson};
use super::oauth::{OAuthError, OAuthErrorJson};
use super::schema::{self, BodySchema};

/// Schemas and responses that endpoints share, by their names.
#[derive(Default)]
pub(super) struct SharedParts {
    pub(super) schemas: BTreeMap<String, RefOr<Schema>>,
    pub(super) responses: BTreeMap<String, Response>,
}

impl SharedParts {
    pub(super) fn add(&mut self, more: Self) {
        self.schemas.extend(more.schemas);
        self.responses.extend(more.responses);
    }

    fn body(&mut self, body: BodySchema) -> RefOr<Schema> {
        self.schemas.extend(body.components);
        body.schema
    }
}

/// What the document says of one endpoint.
pub(super) struct Documentation {
    operation: OperationBuilder,
    shared: SharedParts,
}

impl Documentation {
    /// Of the operation `id`, as clients that are made of the document call it.
    pub(super) fn new(tag: &str, id: &str, summary: &str) -> Self {
        let operation = OperationBuilder::new().tag(tag).operation_id(Some(id)).summary(Some(summary));
        Self { operation, shared: SharedParts::default() }
    }

    pub(super) fn description(mut self, text: &str) -> Self {
        self.operation = self.operation.description(Some(text));
        self
    }

    /// That it takes any of these security schemes, and none if there are none. Without this: an app's key.
    pub(super) fn security<const N: usize>(mut self, schemes: [&str; N]) -> Self {
        let requirements = schemes.map(|scheme| SecurityRequirement::new(scheme, [""; 0]));
        self.operation = self.operation.securities(Some(requirements));
        self
    }

    /// That what the security schemes say may be in the body instead.
    pub(super) fn or_in_the_body(mut self) -> Self {
        self.operation = self.operation.security(SecurityRequirement::default());
        self
    }

    /// What a segment in braces is.
    pub(super) fn path_parameter(self, name: &str, description: &str) -> Self {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path);
        self.parameter(
            parameter
                .required(Required::True)
                .description(Some(description))
                .schema(Some(schema::text()))
                .build(),
        )
    }

    /// A parameter of the query that may be there more than once.
    pub(super) fn query_list(self, name: &str, description: &str) -> Self {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query);
        self.parameter(
            parameter
                .required(Required::False)
                .description(Some(description))
                .schema(Some(schema::texts()))
                .build(),
        )
    }

    /// A header that may be there.
    pub(super) fn header(self, name: &str, description: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header);
        self.parameter(
            parameter.required(Required::False).description(Some(description)).schema(Some(schema)).build(),
        )
    }

    fn parameter(mut self, parameter: Parameter) -> Self {
        self.operation = self.operation.parameter(parameter);
        self
    }

    /// The JSON that it takes.
    pub(super) fn takes_json<const N: usize>(
        self,
        body: impl Into<BodySchema>,
        examples: [(&str, Value); N],
    ) -> Self {
        self.takes("application/json", body.into(), examples)
    }

    /// The form that it takes.
    pub(super) fn takes_form(self, body: impl Into<BodySchema>) -> Self {
        self.takes("application/x-www-form-urlencoded", body.into(), [])
    }

    fn takes<const N: usize>(
        mut self,
        media_type: &str,
        body: BodySchema,
        examples: [(&str, Value); N],
    ) -> Self {
        let schema = self.shared.body(body);
        let content = content(schema, examples.map(|(name, value)| (name.to_owned(), example(value))));
        let body = RequestBodyBuilder::new().required(Some(Required::True)).content(media_type, content);
        self.operation = self.operation.request_body(Some(body.build()));
        self
    }

    /// A response of its own.
    pub(super) fn answers(mut self, status: StatusCode, response: ResponseDoc) -> Self {
        let (response, shared) = response.build();
        self.shared.add(shared);
        self.operation = self.operation.response(status.as_str(), response);
        self
    }

    /// Responses that it shares with others.
    pub(super) fn fails<'a>(mut self, failures: impl IntoIterator<Item = &'a SharedResponse>) -> Self {
        for failure in failures {
            let (response, shared) = (failure.response)().build();
            self.shared.add(shared);
            self.shared.responses.insert(failure.name.to_owned(), response);
            let reference = RefOr::Ref(Ref::from_response_name(failure.name));
            self.operation = self.operation.response(failure.status.as_str(), reference);
        }
        self
    }

    /// The operation, and what it refers to.
    pub(super) fn build(self) -> (Operation, SharedParts) {
        (self.operation.build(), self.shared)
    }
}

/// A response that several endpoints give.
pub(super) struct SharedResponse {
    pub(super) name: &'static str,
    pub(super) status: StatusCode,
    pub(super) response: fn() -> ResponseDoc,
}

/// What the document says of one response.
pub(super) struct ResponseDoc {
    builder: ResponseBuilder,
    media_type: &'static str,
    schema: Option<RefOr<Schema>>,
    examples: Vec<(String, Example)>,
    shared: SharedParts,
}

impl ResponseDoc {
    /// One without a body.
    pub(super) fn new(description: &str) -> Self {
        Self {
            builder: ResponseBuilder::new().description(description),
            media_type: "application/json",
            schema: None,
            examples: Vec::new(),
            shared: SharedParts::default(),
        }
    }

    /// An error of this API.
    pub(super) fn error(description: &str) -> Self {
        Self::new(description).json(BodySchema::of::<ErrorJson>())
    }

    /// An error of RFC 6749.
    pub(super) fn oauth_error(description: &str) -> Self {
        Self::new(description).json(BodySchema::of::<OAuthErrorJson>())
    }

    /// With such JSON.
    pub(super) fn json(mut self, body: impl Into<BodySchema>) -> Self {
        self.schema = Some(self.shared.body(body.into()));
        self
    }

    /// With a text of this type.
    pub(super) fn text(mut self, media_type: &'static str) -> Self {
        self.media_type = media_type;
        self.schema = Some(schema::text().into());
        self
    }

    pub(super) fn header(mut self, name: &str, description: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        let mut header = HeaderBuilder::new().schema(schema.into());
        if !description.is_empty() {
            header = header.description(Some(description));
        }
        self.builder = self.builder.header(name, header.build());
        self
    }

    pub(super) fn example(mut self, name: &str, value: Value) -> Self {
        self.examples.push((name.to_owned(), example(value)));
        self
    }

    /// With an error as it is answered.
    pub(super) fn when(self, name: &str, error: impl Into<Option<ApiError>>) -> Self {
        match error.into().and_then(|error| serde_json::to_value(error.json()).ok()) {
            Some(value) => self.example(name, value),
            None => self,
        }
    }

    /// With an error of RFC 6749 as it is answered.
    pub(super) fn when_oauth(self, name: &str, error: &OAuthError) -> Self {
        match serde_json::to_value(error.json()) {
            Ok(value) => self.example(name, value),
            Err(_) => self,
        }
    }

    fn build(self) -> (Response, SharedParts) {
        let Self { mut builder, media_type, schema, examples, shared } = self;
        if let Some(schema) = schema {
            builder = builder.content(media_type, content(schema, examples));
        }
        (builder.build(), shared)
    }
}

fn content(schema: RefOr<Schema>, examples: impl IntoIterator<Item = (String, Example)>) -> Content {
    ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples).build()
}

fn example(value: Value) -> Example {
    ExampleBuilder::new().value(Some(value)).build()
}
