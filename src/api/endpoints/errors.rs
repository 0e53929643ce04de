//! `GET /api/v1/errors.md`: the codes of errors, and what to do.

use std::future::ready;

use hyper::StatusCode;

use crate::api::auth::KnownHost;
use crate::api::document::{Documentation, ResponseDoc};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::ERRORS_PATH;
use crate::api::response::response;
use crate::api::shared_responses::NOT_ALLOWED;

const ERRORS: &str = include_str!("../../../docs/errors.md");

pub(super) fn endpoint() -> Endpoint {
    // RFC 7763.
    let handler = |_: KnownHost| ready(response(StatusCode::OK, "text/markdown; charset=utf-8", ERRORS));
    Endpoint::get(ERRORS_PATH, CallKind::Open, handler, documentation)
}

fn documentation() -> Documentation {
    Documentation::new("operations", "readErrors", "The codes of errors, and what to do")
        .security([])
        .answers(
            StatusCode::OK,
            ResponseDoc::new("Markdown. `doc_url` of an error leads to its line.")
                .text("text/markdown; charset=utf-8"),
        )
        .fails([&NOT_ALLOWED])
}
