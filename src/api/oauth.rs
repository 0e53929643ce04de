//! What the endpoints that speak OAuth share: forms, the app that a form is from, and errors.
//!
//! An app proves itself by its key (RFC 6749 § 2.3.1): as the password of HTTP Basic with its name, as `client_secret` in
//! the form, or as a Bearer token as everywhere in this API; one way at a time. Errors are those of RFC 6749 § 5.2, with
//! the members of this API's other errors beside them.

mod error;
mod form;

pub(super) use error::{OAuthError, OAuthErrorJson};
pub(super) use form::{AppForm, Form, basic_credentials, expires_in, scopes};

/// How a client that has not proved itself is asked to (RFC 7617).
pub(super) const BASIC_CHALLENGE: &str = "Basic realm=\"hublatch\"";
