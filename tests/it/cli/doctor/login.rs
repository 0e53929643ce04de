//! The doctor's login by a link where it fails: whose log to read, and what to change.

use super::deployment::Deployment;

const LOGIN: &str = "a login by a link for doctor";

#[test]
fn a_login_that_fails_names_the_log_of_whoever_refused() {
    let deployment = Deployment::new();
    let user = &["--user", "doctor"];
    let bare = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    // Asked before the token is consumed: hublatch itself says 503.
    deployment.hub.reply("/hub/api/user", bare("500 Internal Server Error"));
    deployment.doctor(user).assert(LOGIN, "failed", "read hublatch's log");
    deployment.hub.on("/hub/api/user", crate::redeem::nobody);
    deployment.hub.reply("/hub/login", bare("403 Forbidden"));
    deployment.doctor(user).assert(LOGIN, "failed", "read the hub's log: its authenticator");
    deployment.hub.on("/hub/login", |_| crate::support::Then::Close);
    deployment.doctor(user).assert(LOGIN, "failed", "read hublatch's log");
}
