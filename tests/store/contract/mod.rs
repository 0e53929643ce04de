//! What every token store promises, as one suite: `contract!(name, Rig)` runs all of it against one store.
//!
//! A `Rig` is a store and the time that it obeys. Included by both test binaries, `it` and `store`.

#[allow(dead_code, reason = "no test can set the clocks of a store that is another process")]
pub mod clocks;
#[allow(dead_code, reason = "what one of the two binaries reads is no file of bytes")]
pub mod earlier;
pub mod ends;
pub mod links;
pub mod once;
#[allow(dead_code, reason = "only a store that replicas share has it")]
pub mod repeats;
pub mod reserved;
pub mod room;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use hublatch::clock::{ManualClock, Moment};
use hublatch::store::{Consumed, IdempotencyKey, Inserted, Link, LinkStatus, Revoked, TokenStore};
use hublatch::token::{
    LinkId, LoginGrant, NamePattern, OpaqueToken, TokenDigest, Username, UsernameCase, UsernameRule,
};

/// How long a store may take for one call. Far longer than any store of ours waits for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// A store under test, and the time that it obeys.
pub trait Rig: Sync {
    /// A new, empty store for `max_tokens` live links.
    fn new(max_tokens: usize) -> Self;
    /// The store.
    fn store(&self) -> &dyn TokenStore;
    /// The present.
    fn now(&self) -> Moment;
    /// Lets `span` pass.
    fn pass(&self, span: Duration);
    /// A life that a test can wait for.
    fn short_life(&self) -> Duration;
}

/// A rig whose clocks are the test's.
#[allow(dead_code, reason = "as above")]
pub trait Clocked: Rig {
    /// The clocks.
    fn clock(&self) -> &ManualClock;
}

/// A life that no test outlasts.
pub const LIFE: Duration = Duration::from_secs(30);

/// Runs the whole contract against one kind of store.
macro_rules! contract {
    ($name:ident, $rig:ty $(, #[$attribute:meta])?) => {
        mod $name {
            use super::*;
            contract::tests!($rig, [$(#[$attribute])?], reserved: [
                a_reserved_link_outlives_its_expiry_and_admits_once,
                a_reserved_link_says_by_when_one_must_have_clicked,
                a_reserved_link_can_be_revoked_when_its_own_life_is_over,
                only_a_pending_link_can_be_reserved,
                a_reserved_link_takes_room_and_keeps_its_idempotency_key,
            ]);
            contract::tests!($rig, [$(#[$attribute])?], once: [
                a_token_admits_one_login,
                of_racing_consumers_one_is_granted,
                a_token_that_is_unknown_admits_nobody,
                a_revoked_link_admits_nobody,
                a_revocation_that_races_a_login_either_comes_first_or_says_used,
            ]);
            contract::tests!($rig, [$(#[$attribute])?], links: [
                a_link_comes_back_with_everything_that_was_granted,
                looking_at_a_link_consumes_nothing,
                another_app_neither_reads_nor_revokes_a_link,
                revoking_a_user_ends_all_pending_links_of_that_app_and_no_other,
                revoking_twice_is_the_same_as_once,
                revoking_a_used_link_says_used,
                an_unknown_id_is_not_found,
                a_store_that_works_answers_a_ping,
            ]);
            contract::tests!($rig, [$(#[$attribute])?], ends: [
                an_expired_link_admits_nobody_and_says_so,
                an_expired_link_counts_as_dead,
                a_link_lives_to_its_end,
                used_and_revoked_links_stay_what_they_are_after_their_life,
                links_of_one_batch_expire_each_at_its_own_time,
            ]);
            contract::tests!($rig, [$(#[$attribute])?], room: [
                a_batch_is_stored_whole_or_not_at_all,
                a_full_store_refuses_and_evicts_nothing,
                a_link_that_ends_makes_room,
                racing_insertions_never_exceed_the_capacity,
                live_counts_what_can_still_be_redeemed,
            ]);
            contract::tests!($rig, [$(#[$attribute])?], repeats: [
                a_repeat_gives_a_new_token_under_the_first_id_and_kills_the_old_one,
                a_repeat_with_another_body_stores_nothing,
                a_repeat_of_a_used_or_revoked_link_stores_nothing,
                a_repeat_of_an_expired_link_is_answered_under_its_id,
                a_repeat_with_the_same_token_is_read_with_the_time_of_the_last,
                keys_of_two_apps_are_two_keys,
                a_repeat_fits_into_a_full_store,
                racing_repeats_leave_one_live_token,
                of_racing_burnings_one_is_new,
                a_repeat_that_races_a_login_leaves_one_success,
            ]);
        }
    };
}
pub(crate) use contract;

/// Runs what a store with settable clocks promises besides.
#[allow(unused_macros, reason = "as above")]
macro_rules! contract_of_clocks {
    ($name:ident, $rig:ty $(, #[$attribute:meta])?) => {
        mod $name {
            use super::*;
            contract::tests!($rig, [$(#[$attribute])?], clocks: [
                the_wall_clock_alone_ends_a_link,
                the_monotonic_clock_alone_ends_a_link,
                a_wall_clock_before_the_issue_refuses_but_two_seconds_are_forgiven,
                used_and_revoked_links_can_be_read_for_ten_minutes,
                records_are_forgotten_some_time,
                ended_links_are_bounded_too,
                a_revocation_that_found_a_link_expired_is_not_overtaken_by_a_take_with_an_earlier_clock,
            ]);
        }
    };
}
#[allow(unused_imports, reason = "as above")]
pub(crate) use contract_of_clocks;

/// One `#[test]` for each function of a topic.
macro_rules! tests {
    ($rig:ty, $attributes:tt, $topic:ident: [$($test:ident),* $(,)?]) => {
        $(contract::tests!(@one $rig, $attributes, $topic, $test);)*
    };
    (@one $rig:ty, [$($attribute:tt)*], $topic:ident, $test:ident) => {
        #[test]
        $($attribute)*
        fn $test() {
            contract::$topic::$test::<$rig>();
        }
    };
}
pub(crate) use tests;

/// Drives one call to its end on a runtime of its own, as any thread of hublatch may.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await }).expect("an answer in time")
}

/// The calls of a store, waited for.
pub trait Calls: Rig {
    fn insert(&self, links: &[&Link]) -> Inserted {
        let links = links.iter().map(|link| (*link).clone()).collect();
        wait(self.store().insert(links, None, self.now())).expect("the store answers")
    }

    fn insert_with_key(&self, link: &Link, key: &IdempotencyKey) -> Inserted {
        wait(self.store().insert(vec![link.clone()], Some(key.clone()), self.now()))
            .expect("the store answers")
    }

    fn find(&self, link: &Link) -> Option<Link> {
        wait(self.store().find(link.digest, self.now())).expect("the store answers")
    }

    fn status(&self, link: &Link) -> Option<LinkStatus> {
        self.find(link).map(|found| found.status)
    }

    fn consume(&self, digest: TokenDigest) -> Consumed {
        wait(self.store().consume(digest, self.now())).expect("the store answers")
    }

    /// Keeps the link for ten minutes.
    fn reserve(&self, link: &Link) -> bool {
        let until = self.now().plus(Duration::from_mins(10));
        wait(self.store().reserve(link.digest, until, self.now())).expect("the store answers")
    }

    fn get(&self, id: &LinkId, app: &str) -> Option<Link> {
        wait(self.store().get(id, app, self.now())).expect("the store answers")
    }

    fn revoke(&self, link: &Link) -> Revoked {
        self.revoke_as(&link.id, &link.grant.app)
    }

    fn revoke_as(&self, id: &LinkId, app: &str) -> Revoked {
        wait(self.store().revoke(id, app, self.now())).expect("the store answers")
    }

    fn revoke_user(&self, username: &str, app: &str) -> usize {
        wait(self.store().revoke_user(&user(username), app, self.now())).expect("the store answers")
    }

    fn link(&self) -> Link {
        link(self.now(), LIFE)
    }

    /// Whether `digest` logs its user in now.
    fn admits(&self, link: &Link) -> bool {
        matches!(self.consume(link.digest), Consumed::Granted(_))
    }
}

impl<R: Rig> Calls for R {}

/// A link of app `portal` for `alice`, issued `now`.
pub fn link(now: Moment, life: Duration) -> Link {
    // One text for all links, as in hublatch.
    static APP: LazyLock<Arc<str>> = LazyLock::new(|| "portal".into());
    Link {
        id: LinkId::generate(&SystemRandom::new()).expect("randomness"),
        digest: digest(),
        grant: LoginGrant {
            next: Some("/user/alice/lab".to_owned()),
            ..LoginGrant::new(user("alice"), APP.clone())
        },
        status: LinkStatus::Pending,
        issued: now,
        expires: now.plus(life),
        used_at: None,
        note: None,
    }
}

/// The same for another user and app.
pub fn link_of(now: Moment, username: &str, app: &str) -> Link {
    let mut link = link(now, LIFE);
    link.grant.username = user(username);
    link.grant.app = app.into();
    link
}

pub fn digest() -> TokenDigest {
    OpaqueToken::generate(&SystemRandom::new()).expect("randomness").digest()
}

pub fn user(name: &str) -> Username {
    static RULE: LazyLock<UsernameRule> =
        LazyLock::new(|| UsernameRule::new(NamePattern::new(".*").expect("a pattern"), UsernameCase::Refuse));
    RULE.parse(name).expect("a user name")
}

pub fn key(app: &str, key: &str, body: u8) -> IdempotencyKey {
    IdempotencyKey { app: Arc::from(app), key: key.to_owned(), body: [body; 32] }
}

/// What `threads` threads get when they do the same at once.
pub fn race<T: Send>(threads: usize, act: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = std::sync::Barrier::new(threads);
    std::thread::scope(|scope| {
        let racers: Vec<_> = (0..threads)
            .map(|number| {
                let (start, act) = (&start, &act);
                scope.spawn(move || {
                    start.wait();
                    act(number)
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().expect("no racer panics")).collect()
    })
}
