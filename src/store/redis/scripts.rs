//! The scripts that Redis runs: one for each call.

use redis::Script;

/// All of them; the server keeps them by their SHA-1 and is sent one only when it does not know it.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) insert: Script,
    pub(super) find: Script,
    pub(super) consume: Script,
    pub(super) reserve: Script,
    pub(super) get: Script,
    pub(super) revoke: Script,
    pub(super) revoke_user: Script,
    pub(super) end_sessions: Script,
    pub(super) ended_sessions: Script,
    pub(super) ping: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let script = |own: &str| Script::new(&format!("{}\n{own}", include_str!("scripts/common.lua")));
        Self {
            insert: script(include_str!("scripts/insert.lua")),
            find: script(include_str!("scripts/find.lua")),
            consume: script(include_str!("scripts/consume.lua")),
            reserve: script(include_str!("scripts/reserve.lua")),
            get: script(include_str!("scripts/get.lua")),
            revoke: script(include_str!("scripts/revoke.lua")),
            revoke_user: script(include_str!("scripts/revoke_user.lua")),
            end_sessions: script(include_str!("scripts/end_sessions.lua")),
            ended_sessions: script(include_str!("scripts/ended_sessions.lua")),
            ping: script(include_str!("scripts/ping.lua")),
        }
    }
}
