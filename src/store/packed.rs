//! One link of the memory store, packed: what is seldom there costs nothing, and times take 56 bytes instead of 88.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{IdempotencyKey, Link, LinkStatus, as_of};
use crate::clock::Moment;
use crate::token::{KeyId, LinkId, LoginGrant, ServerName, State, TokenDigest, Username};

/// A link id's text (`LinkId::parse`).
const ID_BYTES: usize = 22;

/// A link without the padding.
#[derive(Debug)]
pub(super) struct Packed {
    id: [u8; ID_BYTES],
    digest: TokenDigest,
    username: Username,
    app: Arc<str>,
    key: Option<KeyId>,
    next: Option<Box<str>>,
    rare: Option<Box<Rare>>,
    /// Issued, expires, used: seconds and nanoseconds of the wall clock.
    wall_seconds: [i64; 3],
    wall_nanos: [i32; 3],
    /// Issued, expires: nanoseconds of the monotonic clock.
    monotonic: [u64; 2],
    status: LinkStatus,
    confirm: bool,
}

/// What most links do not have.
#[derive(Debug)]
struct Rare {
    judged_by: Option<String>,
    groups: Option<Vec<String>>,
    claims: Option<Map<String, Value>>,
    state: Option<State>,
    launch: Option<ServerName>,
    note: Option<String>,
    repeat: Option<String>,
}

impl Packed {
    pub(super) fn pack(link: Link, key: Option<&IdempotencyKey>) -> Self {
        let Link { id, digest, grant, status, issued, expires, used_at, note } = link;
        let LoginGrant { username, app, key: by, next, judged_by, groups, claims, confirm, state, launch } =
            grant;
        let rare =
            Rare { judged_by, groups, claims, state, launch, note, repeat: key.map(|key| key.key.clone()) };
        let is_plain = rare.judged_by.is_none()
            && rare.groups.is_none()
            && rare.claims.is_none()
            && rare.state.is_none()
            && rare.launch.is_none()
            && rare.note.is_none()
            && rare.repeat.is_none();
        let mut id_bytes = [0; ID_BYTES];
        id_bytes.copy_from_slice(id.as_str().as_bytes());
        let walls = [issued.wall, expires.wall, used_at.unwrap_or(Timestamp::UNIX_EPOCH)];
        Self {
            id: id_bytes,
            digest,
            username,
            app,
            key: by,
            next: next.map(String::into_boxed_str),
            rare: (!is_plain).then(|| Box::new(rare)),
            wall_seconds: walls.map(Timestamp::as_second),
            wall_nanos: walls.map(Timestamp::subsec_nanosecond),
            monotonic: [issued, expires].map(|at| u64::try_from(at.monotonic.as_nanos()).unwrap_or(u64::MAX)),
            status,
            confirm,
        }
    }

    /// The link with its status as of `now`.
    pub(super) fn unpack(&self, now: Moment) -> Option<Link> {
        let rare = self.rare.as_deref();
        Some(Link {
            id: self.id()?,
            digest: self.digest,
            grant: LoginGrant {
                username: self.username.clone(),
                app: self.app.clone(),
                key: self.key,
                next: self.next.as_deref().map(str::to_owned),
                judged_by: rare.and_then(|rare| rare.judged_by.clone()),
                groups: rare.and_then(|rare| rare.groups.clone()),
                claims: rare.and_then(|rare| rare.claims.clone()),
                confirm: self.confirm,
                state: rare.and_then(|rare| rare.state),
                launch: rare.and_then(|rare| rare.launch.clone()),
            },
            status: self.status(now),
            issued: self.issued(),
            expires: self.expires(),
            used_at: (self.status == LinkStatus::Used).then(|| self.wall(2)),
            note: rare.and_then(|rare| rare.note.clone()),
        })
    }

    pub(super) fn id(&self) -> Option<LinkId> {
        std::str::from_utf8(&self.id).ok().and_then(LinkId::parse)
    }

    pub(super) fn id_bytes(&self) -> &[u8] {
        &self.id
    }

    pub(super) fn digest(&self) -> &TokenDigest {
        &self.digest
    }

    pub(super) fn username(&self) -> &Username {
        &self.username
    }

    pub(super) fn app(&self) -> &str {
        &self.app
    }

    pub(super) fn repeat_key(&self) -> Option<(Arc<str>, String)> {
        let key = self.rare.as_ref().and_then(|rare| rare.repeat.clone());
        key.map(|key| (self.app.clone(), key))
    }

    pub(super) fn expires(&self) -> Moment {
        self.moment(1)
    }

    pub(super) fn status(&self, now: Moment) -> LinkStatus {
        as_of(self.status, self.issued(), self.expires(), now)
    }

    pub(super) fn counts_as_live(&self) -> bool {
        self.status == LinkStatus::Pending
    }

    pub(super) fn end(&mut self, status: LinkStatus, used_at: Option<Timestamp>) {
        self.status = status;
        if let Some(used_at) = used_at {
            self.wall_seconds[2] = used_at.as_second();
            self.wall_nanos[2] = used_at.subsec_nanosecond();
        }
    }

    fn issued(&self) -> Moment {
        self.moment(0)
    }

    fn moment(&self, which: usize) -> Moment {
        Moment { wall: self.wall(which), monotonic: Duration::from_nanos(self.monotonic[which]) }
    }

    fn wall(&self, which: usize) -> Timestamp {
        // They were taken from a timestamp, so they make one.
        Timestamp::new(self.wall_seconds[which], self.wall_nanos[which]).unwrap_or(Timestamp::MIN)
    }
}
