//! `[hub_oauth]`: whether the hub's own OAuth login leads to this hublatch, as both are set up.

use url::Url;

use super::{Deployment, Finding};
use crate::config::Pkce;

/// The one finding; none without `[hub_oauth]`.
pub(super) async fn examine(deployment: &Deployment) -> Option<Finding> {
    let provider = deployment.config.hub_oauth.as_ref()?;
    let path = deployment.path("hub/oauth_login");
    let tried = format!("the hub's own OAuth login, GET {path}");
    let response = match deployment.hub.get(&path).await {
        Ok(response) => response,
        Err(error) => return Some(Finding::failed(tried, error, "look into the hub's log")),
    };
    let location = response.lines("location").first().and_then(|location| Url::parse(location).ok());
    let Some(location) = location.filter(|_| response.status.is_redirection()) else {
        let happened = format!(
            "{}: it leads to no provider, so no OAuthenticator is in use at the hub",
            response.status
        );
        let change =
            "set c.JupyterHub.authenticator_class and c.GenericOAuthenticator as docs/install.md has them";
        return Some(Finding::failed(tried, happened, change));
    };
    let has =
        |name: &str, value: &str| location.query_pairs().any(|(key, found)| key == name && found == value);
    let has_challenge = location.query_pairs().any(|(key, _)| key == "code_challenge");
    let settings = [
        ("authorize_url", location.as_str().starts_with(&format!("{}/", provider.issuer))),
        ("client_id", has("client_id", &provider.client_id)),
        ("oauth_callback_url", has("redirect_uri", &provider.redirect_uri)),
        ("enable_pkce", has_challenge || provider.pkce == Pkce::Optional),
    ];
    let wrong: Vec<&str> = settings.iter().filter(|(_, fits)| !fits).map(|(name, _)| *name).collect();
    Some(if wrong.is_empty() {
        Finding::ok(tried, "leads to hublatch, as [hub_oauth] says")
    } else {
        let happened = format!("these settings do not fit [hub_oauth]: {}", wrong.join(", "));
        Finding::failed(tried, happened, "set them of c.GenericOAuthenticator as docs/install.md has them")
    })
}
