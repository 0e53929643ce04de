//! What the document of the API is held against.

use super::*;
use crate::api::{document, hub_tokens};

/// A case of `openapi.rs`.
type Case = (&'static str, &'static str, Call);

/// Calls that between them bring about every status of a good hub.
pub async fn cases(api: &TestApi) -> Vec<Case> {
    let (token, revoke) = ("/oauth2/token", "/oauth2/revoke");
    let mut cases: Vec<Case> = Vec::new();
    for path in [token, revoke] {
        cases.push(("post", path, raw(path, "").key(PORTAL)));
        cases.push(("post", path, raw(path, "")));
        cases.push(("post", path, raw(path, "").header("origin", "null")));
        cases.push(("post", path, raw(path, &"a".repeat(70_000))));
        cases.push(("post", path, raw(path, "").header("content-encoding", "gzip")));
    }
    cases.push(("post", token, Form::exchange(&login_token(api).await).token()));
    cases.push(("post", revoke, raw(revoke, "token=deadbeef").key(PORTAL)));
    cases
}

/// The same calls for an app whose hub is of no use.
pub async fn bad_hub_cases(api: &TestApi) -> Vec<Case> {
    let form = Form::exchange(&login_token(api).await);
    let (token, revoke) = ("/oauth2/token", "/oauth2/revoke");
    vec![("post", token, form.token()), ("post", revoke, raw(revoke, "token=deadbeef").key(PORTAL))]
}

/// An API before the hub at `url`, and one whose app may ask for very little.
pub fn for_documents(url: &str) -> [TestApi; 2] {
    let slow = Variant { config: config_before(url, "rate = \"1/s\""), ..Variant::default() };
    [api_before(url), TestApi::with(slow)]
}

/// An API before a hub that is of no use.
pub fn before_bad(bad: &hub_tokens::BadHub) -> TestApi {
    TestApi::with(Variant { config: bad.suited(config_before(bad.url(), "")), ..Variant::default() })
}

/// As many calls as exceed any rate.
pub fn too_many() -> Vec<Case> {
    (0..20).map(|_| ("post", "/oauth2/token", Form::exchange("hl_x").token())).collect()
}

#[test]
fn the_document_names_the_types_that_are_taken() {
    let (_, operation) = document::operation("POST", "/oauth2/token").unwrap();
    let properties =
        &operation["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]["properties"];
    assert_eq!(properties["grant_type"]["enum"], json!([GRANT]));
    assert_eq!(properties["subject_token_type"]["enum"], json!([JWT, LOGIN_TOKEN]));
}
