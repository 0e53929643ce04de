//! What an app may ask about its links, and how it takes them back.

use std::net::IpAddr;

use super::{LoginService, live_link_quota};
use crate::audit::{Client, Event, Record};
use crate::config::App;
use crate::store::{Link, LinkStatus, Revoked, StoreError};
use crate::token::{LinkId, Username};

impl LoginService {
    /// The link of this id, if it is `app`'s.
    pub async fn status(&self, id: &LinkId, app: &App) -> Result<Option<Link>, StoreError> {
        let found = self.store.get(id, &app.name, self.clock.now()).await?;
        Ok(found.map(|link| match link.status {
            LinkStatus::Pending if self.lost_its_key(&link) => Link { status: LinkStatus::Revoked, ..link },
            LinkStatus::Pending | LinkStatus::Used | LinkStatus::Expired | LinkStatus::Revoked => link,
        }))
    }

    /// Takes `app`'s link of this id back.
    pub async fn revoke(
        &self,
        id: &LinkId,
        app: &App,
        client: Option<IpAddr>,
    ) -> Result<Revoked, StoreError> {
        let before = self.store.get(id, &app.name, self.clock.now()).await?;
        let revoked = self.store.revoke(id, &app.name, self.clock.now()).await?;
        // A link that was dead already is not revoked a second time.
        let pending = before.filter(|link| link.status == LinkStatus::Pending);
        if revoked == Revoked::Dead
            && let Some(link) = pending
        {
            self.apps.discount(&link.grant.app, live_link_quota::second_of(&link));
            self.audit.write(&Record {
                timestamp: self.clock.now().wall,
                event: Event::Revoked,
                id: Some(id.as_str()),
                app: Some(&app.name),
                username: None,
                client: Client::at(client),
                reason: None,
            });
        }
        Ok(revoked)
    }

    /// Takes all pending links of `app` for `username` back; answers how many there were.
    pub async fn revoke_user(
        &self,
        username: &Username,
        app: &App,
        client: Option<IpAddr>,
    ) -> Result<usize, StoreError> {
        let revoked = self.store.revoke_user(username, &app.name, self.clock.now()).await?;
        self.audit.write(&Record {
            timestamp: self.clock.now().wall,
            event: Event::Revoked,
            id: None,
            app: Some(&app.name),
            username: Some(username.as_str()),
            client: Client::at(client),
            reason: Some("all_of_user"),
        });
        Ok(revoked)
    }
}
