//! One table for several hublatch, in the Redis of the store (`routes.state = "store"`).
//!
//! Whoever is written to by the hub writes there, and answers when every replica goes by it: a browser that the hub sends
//! on at once may reach any of them. Each keeps the whole table in memory, so requests never ask Redis; without Redis the
//! table stays as it is and cannot be written.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::state::Saved;
use super::{RouteChange, Routes};
use crate::last_activity::now_millis;
use crate::store::{RouteWritten, SharedTable, StoreError, Synced, TableVersion};

/// How often a replica looks by itself, and tells that it is there.
const BEAT: Duration = Duration::from_secs(1);
/// How often times of use are exchanged.
const ACTIVITY_EVERY: Duration = Duration::from_secs(10);
/// How long a change waits for other replicas; one that takes longer is told and not waited for again.
const PATIENCE: Duration = Duration::from_secs(2);
/// Requests ask for a look no more often.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a request waits for a look into Redis.
const LOOK_PATIENCE: Duration = Duration::from_millis(500);
/// The pause before messages are listened for again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// Between two questions whether all go by a change: the first, and the longest.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// The table that is shared, and the thread that follows it.
#[derive(Debug)]
pub(super) struct Replicas {
    table: SharedTable,
    follower: Arc<Follower>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// When a request last asked for a look.
    looked: Mutex<Option<Instant>>,
}

/// What the thread and those who ask tell each other.
#[derive(Debug)]
struct Follower {
    wake: Notify,
    ended: AtomicBool,
    /// The looks that were begun, and the number of the last one that is over.
    begun: AtomicU64,
    over: watch::Sender<u64>,
    /// The whole table is wanted, although all its changes are known.
    reads_again: AtomicBool,
    /// The table that is in force here.
    applied: watch::Sender<TableVersion>,
}

impl Replicas {
    pub(super) fn new(table: SharedTable) -> Self {
        let follower = Follower {
            wake: Notify::new(),
            ended: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            over: watch::Sender::new(0),
            reads_again: AtomicBool::new(false),
            applied: watch::Sender::default(),
        };
        Self { table, follower: Arc::new(follower), thread: Mutex::default(), looked: Mutex::default() }
    }

    /// Reads the table into `routes`, and follows it until [`Replicas::leave`] or the end of `routes`.
    pub(super) fn follow(&self, routes: &Arc<Routes>) -> std::io::Result<Result<(), StoreError>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (first, read) = mpsc::sync_channel(1);
        let task = Task {
            routes: Arc::downgrade(routes),
            table: self.table.clone(),
            follower: Arc::clone(&self.follower),
            known: None,
            told: HashMap::new(),
            heard: 0,
        };
        let thread = std::thread::Builder::new()
            .name("hublatch-routes".to_owned())
            .spawn(move || runtime.block_on(task.run(first)))?;
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        read.recv().map_err(|_| std::io::Error::other("the thread of the routing table ended"))
    }

    /// Writes a route, or with none deletes it, and waits until all replicas go by it; whether there was one to delete.
    pub(super) async fn write(&self, key: &str, route: Option<&Saved>) -> Result<bool, StoreError> {
        let text = route.map(serde_json::to_string).transpose().map_err(StoreError::unavailable)?;
        let used = route.map_or(0, |route| route.last_activity);
        let until = Instant::now() + PATIENCE;
        let version = loop {
            let known = self.follower.applied.borrow().clone();
            match self.table.write(&known, key, text.as_deref(), used).await? {
                RouteWritten::Done(version) => break version,
                RouteWritten::Unknown => return Ok(false),
                // The next look tells it.
                RouteWritten::Behind if Instant::now() < until => self.look().await,
                RouteWritten::Behind => return Err(StoreError::unavailable("Redis has forgotten the table")),
            }
        };
        self.follower.wake.notify_one();
        let mut applied = self.follower.applied.subscribe();
        let here = applied.wait_for(|applied| *applied >= version);
        if tokio::time::timeout(PATIENCE, here).await.is_err() {
            tracing::warn!(key, "a change of a route is in Redis, and not in force here yet");
        }
        let mut pause = ASK_AGAIN.0;
        loop {
            let is_over = Instant::now() >= until;
            let late = self.table.late(&version, is_over).await?;
            if late.is_empty() {
                return Ok(true);
            }
            if is_over {
                tracing::warn!(
                    key,
                    late = late.join(" "),
                    "a change of a route is not in force at a replica yet"
                );
                return Ok(true);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(ASK_AGAIN.1);
        }
    }

    /// Waits until what was written before this call is in force here, but not for long.
    pub(super) async fn look(&self) {
        let mut over = self.follower.over.subscribe();
        // One that has begun may have read before.
        let wanted = self.follower.begun.load(Ordering::SeqCst) + 1;
        self.follower.wake.notify_one();
        _ = tokio::time::timeout(LOOK_PATIENCE, over.wait_for(|over| *over >= wanted)).await;
    }

    /// The same for a request that has found nobody: strangers can send as many as they like.
    pub(super) async fn look_for_request(&self) {
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
                return;
            }
            *looked = Some(Instant::now());
        }
        self.look().await;
    }

    /// Reads the whole table: what is taken in is judged by other rules than before.
    pub(super) fn read_again(&self) {
        self.follower.reads_again.store(true, Ordering::SeqCst);
        self.follower.wake.notify_one();
    }

    /// Ends the following; nobody waits for this replica any more.
    pub(super) fn leave(&self) {
        self.follower.ended.store(true, Ordering::SeqCst);
        self.follower.wake.notify_one();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // One that panicked has told so itself.
            _ = thread.join();
        }
    }
}

/// What runs on the thread.
struct Task {
    routes: Weak<Routes>,
    table: SharedTable,
    follower: Arc<Follower>,
    /// The table that is in force here.
    known: Option<TableVersion>,
    /// When each route was last used, as far as Redis knows.
    told: HashMap<String, u64>,
    /// Later uses are asked for.
    heard: u64,
}

impl Task {
    async fn run(mut self, first: mpsc::SyncSender<Result<(), StoreError>>) {
        let read = self.look().await;
        let is_read = read.is_ok();
        if first.send(read).is_err() || !is_read {
            return;
        }
        let (table, follower) = (self.table.clone(), Arc::clone(&self.follower));
        let listening = async {
            loop {
                if let Err(error) = table.listen(|| follower.wake.notify_one()).await {
                    tracing::debug!(%error, "listen for changes of the routing table");
                }
                tokio::time::sleep(LISTEN_AGAIN).await;
            }
        };
        tokio::select! {
            () = listening => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&mut self) {
        let mut exchanged = Instant::now();
        let mut is_lost = false;
        loop {
            _ = tokio::time::timeout(BEAT, self.follower.wake.notified()).await;
            if self.follower.ended.load(Ordering::SeqCst) || self.routes.strong_count() == 0 {
                _ = self.table.leave().await;
                return;
            }
            let looked = self.look().await;
            if looked.is_err() != is_lost {
                is_lost = !is_lost;
                if let Err(error) = &looked {
                    tracing::error!(%error, "the shared routing table is lost; the routes stay as they are");
                } else {
                    tracing::info!("the shared routing table is back");
                }
            }
            if looked.is_ok() && exchanged.elapsed() >= ACTIVITY_EVERY {
                exchanged = Instant::now();
                self.exchange_activity().await;
            }
        }
    }

    /// One look, until all that is there is in force here.
    async fn look(&mut self) -> Result<(), StoreError> {
        let number = self.follower.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let looked = self.catch_up().await;
        self.follower.over.send_replace(number);
        looked
    }

    async fn catch_up(&mut self) -> Result<(), StoreError> {
        loop {
            let Some(routes) = self.routes.upgrade() else { return Ok(()) };
            match self.table.sync(self.known.as_ref()).await? {
                Synced::Changes(version, _) if self.known.as_ref() == Some(&version) => {
                    // Only now: a server that has forgotten the table has answered so.
                    if !self.follower.reads_again.swap(false, Ordering::SeqCst) {
                        return Ok(());
                    }
                    if let Err(error) = self.read_all(&routes).await {
                        self.follower.reads_again.store(true, Ordering::SeqCst);
                        return Err(error);
                    }
                }
                Synced::Changes(version, rows) => {
                    routes.take_over(changes(rows), false);
                    self.applied(version);
                }
                Synced::All(version, rows) => self.take_all(&routes, version, rows),
                Synced::Behind => {
                    tracing::warn!("Redis has forgotten the routing table, and is told it");
                    let known = self.known.clone().unwrap_or_default();
                    self.table.seed(&known, &routes.rows()).await?;
                    self.forget_activity();
                }
            }
        }
    }

    async fn read_all(&mut self, routes: &Routes) -> Result<(), StoreError> {
        if let Synced::All(version, rows) = self.table.sync(None).await? {
            self.take_all(routes, version, rows);
        }
        Ok(())
    }

    /// What Redis holds may be of another history than what was known here.
    fn take_all(&mut self, routes: &Routes, version: TableVersion, rows: Vec<(String, Option<String>)>) {
        routes.take_over(changes(rows), true);
        self.forget_activity();
        self.applied(version);
    }

    /// All times of use are told and asked for once more: Redis may have lost them, and new routes have old ones.
    fn forget_activity(&mut self) {
        self.told.clear();
        self.heard = 0;
    }

    fn applied(&mut self, version: TableVersion) {
        self.known = Some(version.clone());
        self.follower.applied.send_replace(version);
    }

    async fn exchange_activity(&mut self) {
        let Some(routes) = self.routes.upgrade() else { return };
        let table = routes.snapshot();
        self.told.retain(|key, _| table.get(key).is_some());
        let is_news = |key: &str, millis| self.told.get(key).is_none_or(|told| *told < millis);
        let used = table.iter().map(|route| (route.key.to_string(), route.last_activity.millis()));
        let used: Vec<(String, u64)> = used.filter(|(key, millis)| is_news(key, *millis)).collect();
        // A lost answer is asked for again, ten seconds later.
        let Ok(of_all) = self.table.activity(self.heard, &used).await else { return };
        // One whose clock runs ahead must not make the others' times look old.
        let now = now_millis();
        for (key, millis) in used.into_iter().chain(of_all) {
            if let Some(route) = table.get(&key) {
                route.last_activity.advance(millis);
            }
            // Somebody else may tell of a moment that lies before this one.
            self.heard = self.heard.max(millis.min(now).saturating_sub(60_000));
            let told = self.told.entry(key).or_default();
            *told = millis.max(*told);
        }
    }
}

/// A row that cannot be read is left out: an older hublatch must not fall over what a newer one has written.
fn changes(rows: Vec<(String, Option<String>)>) -> impl Iterator<Item = RouteChange> {
    rows.into_iter().filter_map(|(key, route)| match route {
        None => Some(RouteChange::Removed(key)),
        Some(text) => match serde_json::from_str::<Saved>(&text) {
            Ok(saved) => Some(RouteChange::Put(saved)),
            Err(error) => {
                tracing::error!(key, %error, "a route of the shared table cannot be read");
                None
            }
        },
    })
}
