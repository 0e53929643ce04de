//! `GET /api/v1/openapi.yaml`: this API, field by field, as the endpoints say it of themselves.

use std::future::ready;
use std::sync::LazyLock;

use hyper::{Method, StatusCode};
use jiff::Timestamp;
use utoipa::openapi::info::{InfoBuilder, LicenseBuilder};
use utoipa::openapi::path::{HttpMethod, PathItem, PathsBuilder};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::server::ServerBuilder;
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ComponentsBuilder, OpenApi, OpenApiBuilder};

use crate::api::auth::KnownHost;
use crate::api::document::{Documentation, ResponseDoc, SharedParts};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::response::response;
use crate::api::shared_responses::NOT_ALLOWED;

const DESCRIPTION: &str = "\
Apps ask here for links that log a user in to JupyterHub. Call it from a server, never from a browser: a request
with `Origin`, or with a `Sec-Fetch-Site` other than `none`, is 403. The key stays on the server; the link is a
credential until it is used.

Every error is `{\"status\", \"message\", \"code\", \"doc_url\"}`, with `field` where the fault lies in one. Programs rely on
`status`, `code` and `field`; `message` is for people, and `doc_url` leads to what to do.
Times are RFC 3339 in UTC. Bodies are JSON (`Content-Type: application/json`), at most 64 KiB, a batch at most 1 MiB.
An unknown field is 422, not ignored; a field that is `null` is as good as absent.
`HEAD` is answered wherever `GET` is. An unknown path is 404; another method is 405 with `Allow`.
";

const TAGS: [(&str, &str); 5] = [
    ("links", "For apps with a key."),
    ("hub tokens", "For programs that are handed a hub API token."),
    ("hub oauth", "For the hub's own OAuth login, with `[hub_oauth]`."),
    ("exchange", "For a hub that redeems tokens itself."),
    ("operations", "Without a key. Called by a host name that a web page could have, they are 403."),
];

/// The API, field by field, as YAML.
pub static OPENAPI: LazyLock<String> = LazyLock::new(|| {
    // Nothing of a request is in it, and the tests write it.
    let yaml = document().to_yaml().expect("the document of the API can be written");
    yaml.lines().map(quote_time).collect()
});

/// A line of YAML whose value stays a text for readers of YAML 1.1, too: they make dates of times without quotes.
fn quote_time(line: &str) -> String {
    match line.split_once(": ") {
        Some((name, value)) if value.parse::<Timestamp>().is_ok() => format!("{name}: '{value}'\n"),
        _ => format!("{line}\n"),
    }
}

pub(super) fn endpoint() -> Endpoint {
    // RFC 9512.
    let handler = |_: KnownHost| ready(response(StatusCode::OK, "application/yaml", OPENAPI.as_str()));
    Endpoint::get("/api/v1/openapi.yaml", CallKind::Open, handler, documentation)
}

fn documentation() -> Documentation {
    Documentation::new("operations", "readOpenapi", "This document")
        .security([])
        .answers(StatusCode::OK, ResponseDoc::new("OpenAPI 3.1.").text("application/yaml"))
        .fails([&NOT_ALLOWED])
}

fn document() -> OpenApi {
    let mut shared = SharedParts::default();
    let mut paths = PathsBuilder::new();
    for endpoint in super::all() {
        let (operation, more) = (endpoint.documentation)().build();
        shared.add(more);
        let method = match endpoint.route.method {
            Method::DELETE => HttpMethod::Delete,
            Method::POST => HttpMethod::Post,
            _ => HttpMethod::Get,
        };
        paths = paths.path(endpoint.route.path, PathItem::new(method, operation));
    }
    let mut components = ComponentsBuilder::new();
    for (name, schema) in shared.schemas {
        components = components.schema(name, schema);
    }
    for (name, response) in shared.responses {
        components = components.response(name, response);
    }
    for (name, scheme) in security_schemes() {
        components = components.security_scheme(name, scheme);
    }
    let license = LicenseBuilder::new().name("BSD-3-Clause").identifier(Some("BSD-3-Clause")).build();
    let info = InfoBuilder::new()
        .title("hublatch management API")
        .version("1")
        .description(Some(DESCRIPTION))
        .license(Some(license));
    let server = ServerBuilder::new().url("http://127.0.0.1:8010").description(Some("`management.listen`"));
    let tags =
        TAGS.map(|(name, description)| TagBuilder::new().name(name).description(Some(description)).build());
    OpenApiBuilder::new()
        .info(info.build())
        .servers(Some([server.build()]))
        .tags(Some(tags))
        .security(Some(["key", "hubStyleKey"].map(|scheme| SecurityRequirement::new(scheme, [""; 0]))))
        .paths(paths.build())
        .components(Some(components.build()))
        .build()
}

fn security_schemes() -> [(&'static str, SecurityScheme); 4] {
    let http = |scheme, description| {
        SecurityScheme::Http(HttpBuilder::new().scheme(scheme).description(Some(description)).build())
    };
    let header = |name, description| {
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, description)))
    };
    let key = "`Authorization: Bearer KEY`, an app's key or a hub API token that `[hub_tokens]` lists.";
    let basic = "The app's name and its key, each form-encoded (RFC 6749 § 2.3.1).";
    [
        ("key", http(HttpAuthScheme::Bearer, key)),
        ("hubStyleKey", header("Authorization", "`Authorization: token KEY`, as at the Hub API.")),
        ("basic", http(HttpAuthScheme::Basic, basic)),
        ("tokenHeader", header("X-Hublatch-Token", "A hub API token.")),
    ]
}
