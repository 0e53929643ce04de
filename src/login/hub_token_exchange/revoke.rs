//! The end of a hub token that an app got (RFC 7009).

use std::net::IpAddr;

use super::NOTE;
use crate::audit::{Client, Event, Record};
use crate::config::App;
use crate::hub::{HubError, Kind as OwnerKind, is_hub_token};
use crate::login::LoginService;

/// What became of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokedToken {
    /// The token is worth nothing: by this call, or since before.
    Dead,
    /// It is not a token that this app got.
    NotOfApp,
    /// The hub does not tell which of its owner's tokens it is (`JupyterHub` before 5).
    NotTold,
}

impl LoginService {
    /// Makes a hub token worthless that `app` got.
    pub async fn revoke_hub_token(
        &self,
        app: &App,
        token: &str,
        client: Option<IpAddr>,
    ) -> Result<RevokedToken, HubError> {
        if !is_hub_token(token) {
            return Ok(RevokedToken::Dead);
        }
        // Not from memory: the id of a token is told anew for another one once it is deleted.
        let Some(owner) = self.hub.whoami(token).await? else { return Ok(RevokedToken::Dead) };
        if owner.kind != OwnerKind::User {
            return Ok(RevokedToken::NotOfApp);
        }
        let Some(id) = &owner.token_id else { return Ok(RevokedToken::NotTold) };
        let Some(found) = self.hub.token(&owner.name, id).await? else { return Ok(RevokedToken::Dead) };
        let Some(link) = found.note.as_deref().and_then(|note| link_of(note, app)) else {
            return Ok(RevokedToken::NotOfApp);
        };
        self.hub.delete_token(&owner.name, id).await?;
        if let Some(checks) = &self.checks {
            checks.forget(token);
        }
        self.metrics.hub.tokens_revoked.inc();
        self.audit.write(&Record {
            timestamp: self.clock.now().wall,
            event: Event::TokenRevoked,
            id: Some(link),
            app: Some(&app.name),
            username: Some(&owner.name),
            client: Client::at(client),
            reason: None,
        });
        Ok(RevokedToken::Dead)
    }
}

/// The link for which `app` got the token with this note, if it is one of the app's.
fn link_of<'a>(note: &'a str, app: &App) -> Option<&'a str> {
    let (name, link) = note.strip_prefix(NOTE)?.split_once(" link=")?;
    (name == &*app.name).then_some(link)
}
