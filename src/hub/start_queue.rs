//! Starts that wait until the hub has room: one line and one task for the whole hub, however many browsers wait.
//!
//! A hub refuses a start with 429 when too many are under way, or too many servers run. What was refused once waits here, in
//! order and in turn between apps and networks, and is tried again when there is reason to: a start that was accepted before
//! is over, the one before it was accepted, or the hub's own `Retry-After` has passed. So an impatient class is one caller to
//! the hub, and the hub is never idle while somebody waits. How a start is asked for is the business of a [`Starter`].

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::HubError;
use crate::shutdown::Shutdown;
use crate::turns::line::{Group, LinePlace, WaitingLine};
use crate::turns::rate::Rate;

/// The most starts that wait; what comes on top is refused as the hub has refused it.
const WAITING_MAX: usize = 10_000;
/// The most that the hub is asked for at a time, when several have ended at once.
const AT_ONCE: usize = 8;
/// When a hub is tried again that does not say when: one that is full, or not there.
const PAUSE: Duration = Duration::from_secs(5);
/// The longest that is waited for the hub's `Retry-After`.
const PAUSE_MAX: Duration = Duration::from_mins(2);
/// The longest that a start waits at all: a waiting page is good for as long.
const WAIT_MAX: Duration = Duration::from_hours(1);
/// How long an accepted start is watched for its end. The hub gives up on its own much earlier.
const WATCHED_MAX: Duration = Duration::from_mins(15);
/// How long it is remembered why a start has failed.
const FAILURE_KEPT: Duration = Duration::from_mins(10);
/// The most failures, and the most accepted starts, which are remembered.
const REMEMBERED_MAX: usize = 1000;
/// How old the numbers may be that people are told.
const NUMBERS_AGE: Duration = Duration::from_millis(500);

/// What a [`Starter`] does.
pub type Starting<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Asks for one start: through the Hub API, or as a browser does.
pub trait Starter: Send + Sync {
    /// Asks the hub; returns when the hub has accepted or refused it. None: it has its answer, and it was no start.
    fn start(&self) -> Starting<'_, Result<Option<AcceptedStart>, HubError>>;
}

/// A start that the hub has accepted.
pub struct AcceptedStart {
    /// Of which server, by [`start_key`]: however often it was asked for, it is one start.
    pub server: String,
    /// Ends with the start, whatever became of it, and says whether that was seen: if not, nothing is known of room.
    pub over: Starting<'static, bool>,
}

/// Names a server. No name has a line end in it.
pub fn start_key(user: &str, server: &str) -> String {
    format!("{user}\n{server}")
}

/// The starts that wait for room at one hub.
#[derive(Clone)]
pub struct StartQueue {
    inner: Arc<SharedStartQueue>,
}

struct SharedStartQueue {
    state: Mutex<StartQueueState>,
    changed: Notify,
    shutdown: Shutdown,
    waiting: Gauge,
}

/// How a start stands that the hub has refused before.
#[derive(Debug, Clone)]
pub enum StartStanding {
    /// It waits.
    Waiting {
        /// How many have their turn before, and this one.
        number: usize,
        /// How long that will take, by what the hub did lately; none: it cannot be told.
        wait: Option<Duration>,
    },
    /// It has waited for too long, or the hub does not want it.
    Failed(HubError),
}

struct WaitingStart {
    key: String,
    group: Group,
    /// In which order they came.
    serial: u64,
    since: Instant,
    starter: Arc<dyn Starter>,
}

struct StartQueueState {
    timeout: Duration,
    /// The most starts that are watched at a time: each takes a connection to the hub.
    watched_max: usize,
    line: WaitingLine,
    orders: HashMap<LinePlace, WaitingStart>,
    /// Tried before, in the order in which they came; none: the hub is asked just now.
    tried: BTreeMap<u64, Option<WaitingStart>>,
    /// Those for which the hub is asked just now.
    asked: HashMap<u64, WaitingStart>,
    /// Where each key is: in line, or among those that were tried.
    places: HashMap<String, StartPlace>,
    serials: u64,
    failed: HashMap<String, (Instant, HubError)>,
    /// Accepted, not known to be over, and not watched: nobody waits, or as many are watched as may be. One for a server.
    accepted: VecDeque<(Instant, AcceptedStart)>,
    /// The servers whose starts are watched.
    watched: HashSet<String>,
    rate: Rate,
    /// How many may be tried because as many starts are over.
    room: usize,
    /// One may be tried to find out whether there is room for more.
    may_explore: bool,
    /// That one is being asked for, and nobody else: whoever comes after it must not find the room that it has not found.
    exploring: Option<u64>,
    /// How many starts were seen to end.
    ends: usize,
    /// When the hub may be tried again without any other reason.
    next_try: Instant,
    /// When the hub last accepted one.
    moved: Instant,
    is_running: bool,
    numbers: Option<(Instant, HashMap<LinePlace, usize>)>,
}

#[derive(Clone, Copy)]
enum StartPlace {
    Line(LinePlace),
    Tried(u64),
}

impl std::fmt::Debug for StartQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StartQueue").finish_non_exhaustive()
    }
}

impl StartQueue {
    /// Nothing waits. `timeout` is `limits.launch_queue_timeout`, and `waiting` the metric of its length. No more starts
    /// than `watched_max` are watched at a time.
    pub fn new(timeout: Duration, watched_max: usize, waiting: Gauge, shutdown: Shutdown) -> Self {
        let now = Instant::now();
        let state = StartQueueState {
            timeout,
            watched_max,
            line: WaitingLine::default(),
            orders: HashMap::new(),
            tried: BTreeMap::new(),
            asked: HashMap::new(),
            places: HashMap::new(),
            serials: 0,
            failed: HashMap::new(),
            accepted: VecDeque::new(),
            watched: HashSet::new(),
            rate: Rate::default(),
            room: 0,
            may_explore: false,
            exploring: None,
            ends: 0,
            next_try: now,
            moved: now,
            is_running: false,
            numbers: None,
        };
        let inner = SharedStartQueue { state: Mutex::new(state), changed: Notify::new(), shutdown, waiting };
        Self { inner: Arc::new(inner) }
    }

    /// The same, before anything waits, which ends with `shutdown`.
    #[must_use]
    pub(super) fn until(self, shutdown: Shutdown) -> Self {
        let (timeout, watched_max) = self.limits();
        Self::new(timeout, watched_max, self.inner.waiting.clone(), shutdown)
    }

    /// By another configuration: `old`, with everybody who waits in it.
    #[must_use]
    pub(super) fn carry_over(self, old: &Self) -> Self {
        let (timeout, watched_max) = self.limits();
        let mut state = old.lock();
        (state.timeout, state.watched_max) = (timeout, watched_max);
        drop(state);
        old.clone()
    }

    fn limits(&self) -> (Duration, usize) {
        let state = self.lock();
        (state.timeout, state.watched_max)
    }

    /// Whether starts may be asked for without regard to others: nobody waits.
    pub fn is_idle(&self) -> bool {
        self.lock().places.is_empty()
    }

    /// A start was accepted without a wait: its end tells that there is room, if others wait then.
    pub fn accepted(&self, start: AcceptedStart) {
        self.lock().remember(start, Instant::now());
        self.inner.changed.notify_one();
    }

    /// Lets a start wait that the hub has `refused`, or which nobody has asked it for because others wait. False: it cannot
    /// wait.
    pub fn join(
        &self,
        key: &str,
        group: Group,
        starter: Arc<dyn Starter>,
        refused: Option<&HubError>,
    ) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        if state.timeout.is_zero() || self.inner.shutdown.is_draining() {
            return false;
        }
        if state.places.contains_key(key) {
            return true;
        }
        if state.places.len() >= WAITING_MAX {
            return false;
        }
        state.failed.remove(key);
        if state.places.is_empty() {
            state.moved = now;
            state.room = 0;
            state.may_explore = refused.is_none();
            state.next_try = now + refused.map_or(Duration::ZERO, pause);
        }
        state.serials += 1;
        let serial = state.serials;
        let place = state.line.join(&group, i64::try_from(serial).unwrap_or(i64::MAX));
        let key = key.to_owned();
        state.places.insert(key.clone(), StartPlace::Line(place));
        state.orders.insert(place, WaitingStart { key, group, serial, since: now, starter });
        let begins = !std::mem::replace(&mut state.is_running, true);
        self.show(&state);
        drop(state);
        if begins {
            tracing::info!("launch: starts of servers wait until the hub has room");
            self.inner.shutdown.spawn(Box::pin(self.clone().run()));
        }
        self.inner.changed.notify_one();
        true
    }

    /// How the start of this key stands; none: it does not wait, and has not failed here.
    pub fn standing(&self, key: &str) -> Option<StartStanding> {
        let now = Instant::now();
        let mut state = self.lock();
        let Some(at) = state.places.get(key).copied() else {
            let (at, error) = state.failed.get(key)?;
            return (now.duration_since(*at) <= FAILURE_KEPT).then(|| StartStanding::Failed(error.clone()));
        };
        let number = match at {
            StartPlace::Tried(serial) => state.tried.range(..=serial).count(),
            StartPlace::Line(place) => state.tried.len() + state.number_in_line(place, now),
        };
        #[allow(clippy::cast_precision_loss, reason = "people")]
        let wait = state
            .rate
            .per_second(now)
            .map(|rate| Duration::from_secs_f64((number as f64 / rate).min(WAIT_MAX.as_secs_f64())));
        Some(StartStanding::Waiting { number, wait })
    }

    /// Whoever was told why a start has failed may ask for it again.
    pub fn forget_failure(&self, key: &str) {
        self.lock().failed.remove(key);
    }

    /// Tries what waits, until nothing does.
    async fn run(self) {
        let mut deciding = FuturesUnordered::new();
        let mut watching = FuturesUnordered::new();
        let watch = |AcceptedStart { server, over }| async move {
            let is_seen = tokio::time::timeout(WATCHED_MAX, over).await;
            (server, is_seen.unwrap_or(true))
        };
        loop {
            for start in self.take_accepted() {
                watching.push(watch(start));
            }
            while let Some((serial, starter, ends)) = self.next(deciding.len()) {
                deciding.push(async move { (serial, ends, starter.start().await) });
            }
            let Some(next_try) = self.goes_on() else { return };
            tokio::select! {
                Some((serial, ends, outcome)) = deciding.next() => {
                    self.decided(serial, ends, outcome);
                }
                Some((server, is_seen)) = watching.next() => self.has_ended(&server, is_seen),
                () = tokio::time::sleep_until(next_try), if deciding.is_empty() => self.may_try(),
                () = self.inner.changed.notified() => {}
                () = self.inner.shutdown.draining() => {
                    let mut state = self.lock();
                    state.abandon();
                    return self.show(&state);
                }
            }
        }
    }

    /// The starts that are watched from now on.
    fn take_accepted(&self) -> Vec<AcceptedStart> {
        let now = Instant::now();
        let mut state = self.lock();
        let mut taken = Vec::new();
        while state.watched.len() < state.watched_max
            && let Some((at, start)) = state.accepted.pop_front()
        {
            if now.duration_since(at) <= WATCHED_MAX {
                state.watched.insert(start.server.clone());
                taken.push(start);
            }
        }
        taken
    }

    /// Whose start is asked for next, if one may be: with how many ends that was known.
    fn next(&self, deciding: usize) -> Option<(u64, Arc<dyn Starter>, usize)> {
        let mut state = self.lock();
        let explores = state.room == 0;
        let may = if explores { state.may_explore && deciding == 0 } else { deciding < AT_ONCE };
        if !may || state.exploring.is_some() {
            return None;
        }
        let again = state.tried.values_mut().find_map(Option::take);
        let order = if let Some(order) = again {
            order
        } else {
            let place = state.line.next_turn()?;
            let order = state.orders.remove(&place)?;
            state.places.insert(order.key.clone(), StartPlace::Tried(order.serial));
            order
        };
        let (serial, starter) = (order.serial, Arc::clone(&order.starter));
        if explores {
            state.may_explore = false;
            state.exploring = Some(serial);
        } else {
            state.room -= 1;
        }
        // Its place in the order of those tried; the order itself is needed again when the hub has answered.
        state.tried.insert(serial, None);
        state.asked.insert(serial, order);
        Some((serial, starter, state.ends))
    }

    /// When the hub may be tried without another reason; none: nobody waits.
    fn goes_on(&self) -> Option<Instant> {
        let mut state = self.lock();
        if state.places.is_empty() {
            state.is_running = false;
            state.watched.clear();
            tracing::info!("launch: no start waits for room at the hub any more");
            return None;
        }
        Some(state.next_try)
    }

    fn has_ended(&self, server: &str, is_seen: bool) {
        let mut state = self.lock();
        state.watched.remove(server);
        if is_seen {
            state.ends += 1;
            state.room += 1;
        }
    }

    fn may_try(&self) {
        let mut state = self.lock();
        state.may_explore = true;
        state.next_try = Instant::now() + PAUSE;
    }

    /// What the hub has answered.
    fn decided(&self, serial: u64, ends: usize, outcome: Result<Option<AcceptedStart>, HubError>) {
        let now = Instant::now();
        let mut state = self.lock();
        let Some(order) = state.asked.remove(&serial) else { return };
        state.exploring.take_if(|exploring| *exploring == serial);
        match outcome {
            Ok(started) => {
                state.leave(serial, &order.key);
                state.rate.note(now);
                state.moved = now;
                // There may be room for more.
                state.may_explore = true;
                if let Some(started) = started {
                    state.remember(started, now);
                }
            }
            Err(error) if is_passing(&error) => {
                // What has ended since it was asked is room that it may not have seen.
                state.room = state.room.min(state.ends - ends);
                state.may_explore = false;
                state.next_try = now + pause(&error);
                if state.has_waited_too_long(&order, now) {
                    state.fail_all_late(order, &error, now);
                } else {
                    state.tried.insert(serial, Some(order));
                }
            }
            Err(error) => {
                // It takes no room: the next one may.
                state.may_explore = true;
                state.fail(order, error, now);
            }
        }
        self.show(&state);
    }

    fn show(&self, state: &StartQueueState) {
        self.inner.waiting.set(i64::try_from(state.places.len()).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, StartQueueState> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StartQueueState {
    /// Remembers a start that is to be watched, unless it is watched already. Of two for one server the later one stays.
    fn remember(&mut self, start: AcceptedStart, now: Instant) {
        if self.watched.contains(&start.server) {
            return;
        }
        self.accepted
            .retain(|(at, other)| now.duration_since(*at) <= WATCHED_MAX && other.server != start.server);
        if self.accepted.len() >= REMEMBERED_MAX {
            self.accepted.pop_front();
        }
        self.accepted.push_back((now, start));
    }

    fn number_in_line(&mut self, place: LinePlace, now: Instant) -> usize {
        let is_known = |(at, numbers): &(Instant, HashMap<LinePlace, usize>)| {
            now.duration_since(*at) <= NUMBERS_AGE && numbers.contains_key(&place)
        };
        if !self.numbers.as_ref().is_some_and(is_known) {
            self.numbers = Some((now, self.line.numbers()));
        }
        let numbers = self.numbers.as_ref().map(|(_, numbers)| numbers);
        numbers.and_then(|numbers| numbers.get(&place)).copied().unwrap_or(1)
    }

    fn has_waited_too_long(&self, order: &WaitingStart, now: Instant) -> bool {
        now.duration_since(order.since.max(self.moved)) >= self.timeout
            || now.duration_since(order.since) >= WAIT_MAX
    }

    fn leave(&mut self, serial: u64, key: &str) {
        self.tried.remove(&serial);
        self.places.remove(key);
    }

    fn fail(&mut self, order: WaitingStart, error: HubError, now: Instant) {
        tracing::warn!(%error, "launch: a start that waited has failed");
        self.leave(order.serial, &order.key);
        self.failed.retain(|_, (at, _)| now.duration_since(*at) <= FAILURE_KEPT);
        if self.failed.len() < REMEMBERED_MAX {
            self.failed.insert(order.key, (now, error));
        }
    }

    /// `order`, and whoever else has waited as long: they would be refused one by one.
    fn fail_all_late(&mut self, order: WaitingStart, error: &HubError, now: Instant) {
        let late: Vec<LinePlace> = self
            .orders
            .iter()
            .filter(|(_, order)| self.has_waited_too_long(order, now))
            .map(|(place, _)| *place)
            .collect();
        for place in late {
            if let Some(order) = self.orders.remove(&place) {
                self.line.leave(&order.group, place);
                self.fail(order, error.clone(), now);
            }
        }
        self.fail(order, error.clone(), now);
    }

    /// The process ends.
    fn abandon(&mut self) {
        self.line = WaitingLine::default();
        self.orders.clear();
        self.tried.clear();
        self.asked.clear();
        self.accepted.clear();
        self.watched.clear();
        self.places.clear();
        self.is_running = false;
    }
}

/// Whether the same start may be accepted later: the hub has no room, or is not there.
fn is_passing(error: &HubError) -> bool {
    match error {
        HubError::Refused { .. } => error.is_want_of_room(),
        // With words of its own it is the spawner's failure.
        HubError::Failed { status, message, .. } => {
            message.is_none() || *status == reqwest::StatusCode::SERVICE_UNAVAILABLE
        }
        HubError::Unreachable { .. } | HubError::TimedOut { .. } => true,
        HubError::NoToken { .. } | HubError::Unreadable { .. } => false,
    }
}

fn pause(error: &HubError) -> Duration {
    error.retry_after().unwrap_or(PAUSE).clamp(Duration::from_secs(1), PAUSE_MAX)
}
