//! The endpoints of the management API, each in a file of its own: its handler, and what it takes and answers.
//!
//! A new one is a file here, and its name in [`all`].

mod backchannel_logout;
mod end_sessions_of_user;
mod errors;
mod exchange;
mod follow_launch;
mod forward_auth;
mod hub_oauth_discovery;
mod hub_oauth_jwks;
mod hub_oauth_token;
mod hub_oauth_userinfo;
mod info;
mod issue_link;
mod issue_links;
mod oauth_revoke;
mod oauth_token;
mod openapi;
mod read_link;
mod revoke_link;
mod revoke_links_of_user;
mod status;
mod verify;

use super::endpoint::Endpoint;

pub(super) use forward_auth::FORWARD_AUTH;
pub(super) use info::Info;
pub use openapi::OPENAPI;

/// All endpoints, in the order of the document.
pub(super) fn all() -> Vec<Endpoint> {
    vec![
        issue_link::endpoint(),
        issue_links::endpoint(),
        read_link::endpoint(),
        revoke_link::endpoint(),
        follow_launch::endpoint(),
        revoke_links_of_user::endpoint(),
        end_sessions_of_user::endpoint(),
        backchannel_logout::endpoint(),
        verify::endpoint(),
        forward_auth::endpoint(),
        oauth_token::endpoint(),
        oauth_revoke::endpoint(),
        hub_oauth_token::endpoint(),
        hub_oauth_userinfo::endpoint(),
        hub_oauth_jwks::endpoint(),
        hub_oauth_discovery::endpoint(),
        exchange::endpoint(),
        info::endpoint(),
        openapi::endpoint(),
        errors::endpoint(),
        status::health(),
        status::live(),
        status::ready(),
        status::metrics(),
    ]
}
