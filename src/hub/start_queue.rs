//! Starts that wait until the hub has room: one line and one task for the whole hub, however many browsers wait.
//!
//! A hub refuses a start with 429 when too many are under way, or too many servers run. What was refused once waits here, in
//! order and in turn between apps and networks, and is tried again when there is reason to: a start that was accepted before
//! is over, the one before it was accepted, or the hub's own `Retry-After` has passed. So an impatient class is one caller to
//! the hub, and the hub is never idle while somebody waits. How a start is asked for is the business of a [`Starter`].

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{HubClient, HubError};
use crate::shutdown::Shutdown;
use crate::turns::line::{Group, LinePlace, WaitingLine};
use crate::turns::numbers::LineNumbers;
use crate::turns::rate::Rate;

/// The most starts that wait; what comes on top is refused as the hub has refused it.
const WAITING_MAX: usize = 10_000;
/// The most of one group: whoever asks for one start by thousands of addresses leaves room for everybody else.
const GROUP_WAITING_MAX: usize = WAITING_MAX / 2;
/// The most that the hub is asked for at a time, when several have ended at once.
const AT_ONCE: usize = 8;
/// When a hub is tried again that does not say when: one that is full, or not there.
const PAUSE: Duration = Duration::from_secs(5);
/// The longest that is waited for the hub's `Retry-After`.
const PAUSE_MAX: Duration = Duration::from_mins(2);
/// The longest that a start waits at all: a waiting page is good for as long.
const WAIT_MAX: Duration = Duration::from_hours(1);
/// How long the others wait for the hub's answer to one start. A hub takes a second or two; a start that hangs must not
/// stop the line.
const ANSWER_AWAITED: Duration = Duration::from_secs(5);
/// Starts that may have been over before anybody waited are found out within moments of each other: such a find is worth a
/// try so long after it, together with what is found meanwhile.
const OLD_ENDS_TOGETHER: Duration = Duration::from_secs(1);
/// How long an accepted start is watched for its end. The hub gives up on its own much earlier.
const WATCHED_MAX: Duration = Duration::from_mins(15);
/// How long it is remembered why a start has failed.
const FAILURE_KEPT: Duration = Duration::from_mins(10);
/// The most failures, and the most accepted starts, which are remembered.
const REMEMBERED_MAX: usize = 1000;

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
    /// Ends with the start, whatever became of it.
    pub over: Starting<'static, StartEnd>,
}

/// What whoever has watched an accepted start has seen of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartEnd {
    /// All of it.
    Seen,
    /// The start was over before it was watched, maybe for long.
    Before,
    /// Nothing, so nothing is known of room.
    Unknown,
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
    /// In which order they came, or were last sent to the end of the line.
    serial: u64,
    since: Instant,
    starter: Arc<dyn Starter>,
}

struct StartQueueState {
    timeout: Duration,
    /// The client of the configuration in force; none: there was no other since the start.
    hub: Weak<HubClient>,
    /// The most starts that are watched at a time: each takes a connection to the hub.
    watched_max: usize,
    line: WaitingLine,
    orders: HashMap<LinePlace, WaitingStart>,
    /// Tried before, in the order in which they came; none: the hub is asked just now.
    tried: BTreeMap<u64, Option<WaitingStart>>,
    /// Those for which the hub is asked just now, and since when.
    asked: HashMap<u64, (Instant, WaitingStart)>,
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
    /// That one is being asked for, and for [`ANSWER_AWAITED`] nobody else: whoever comes after it must not find the room
    /// that it has not found.
    exploring: Option<u64>,
    /// Since when somebody waits.
    begun: Instant,
    /// Since when it is known that a start is over which may have been so before `begun`, if the hub was not asked since.
    old_end: Option<Instant>,
    /// How many starts were seen to end.
    ends: usize,
    /// When the hub may be tried again without any other reason.
    next_try: Instant,
    /// When the hub last accepted one.
    moved: Instant,
    is_running: bool,
    numbers: LineNumbers,
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
    /// An empty queue. `timeout` is `limits.launch_queue_timeout`, and `waiting` the metric of its length. No more starts
    /// than `watched_max` are watched at a time.
    pub fn new(timeout: Duration, watched_max: usize, waiting: Gauge, shutdown: Shutdown) -> Self {
        let now = Instant::now();
        let state = StartQueueState {
            timeout,
            hub: Weak::new(),
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
            begun: now,
            old_end: None,
            ends: 0,
            next_try: now,
            moved: now,
            is_running: false,
            numbers: LineNumbers::default(),
        };
        let inner = SharedStartQueue { state: Mutex::new(state), changed: Notify::new(), shutdown, waiting };
        Self { inner: Arc::new(inner) }
    }

    /// The same queue, which ends with `shutdown`. To be called before anything waits.
    #[must_use]
    pub(super) fn until(self, shutdown: Shutdown) -> Self {
        let (timeout, watched_max) = self.limits();
        Self::new(timeout, watched_max, self.inner.waiting.clone(), shutdown)
    }

    /// The queue of a new configuration: it continues `old`, with everybody who waits there.
    #[must_use]
    pub(super) fn carry_over(self, old: &Self) -> Self {
        let (timeout, watched_max) = self.limits();
        let mut state = old.lock();
        (state.timeout, state.watched_max) = (timeout, watched_max);
        drop(state);
        old.clone()
    }

    /// From now on starts through the Hub API are sent by `hub`, those that wait already included.
    pub(super) fn put_in_force(&self, hub: &Arc<HubClient>) {
        self.lock().hub = Arc::downgrade(hub);
    }

    /// The client of the configuration in force, if there was another one before.
    pub(super) fn hub_in_force(&self) -> Option<Arc<HubClient>> {
        self.lock().hub.upgrade()
    }

    fn limits(&self) -> (Duration, usize) {
        let state = self.lock();
        (state.timeout, state.watched_max)
    }

    /// Whether a start may go straight to the hub, because nobody waits.
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
        if state.places.len() >= WAITING_MAX || state.line.waiting_of(&group) >= GROUP_WAITING_MAX {
            return false;
        }
        state.failed.remove(key);
        if state.places.is_empty() {
            tracing::info!("launch: starts of servers wait until the hub has room");
            (state.begun, state.moved) = (now, now);
            state.old_end = None;
            state.room = 0;
            state.may_explore = refused.is_none();
            state.next_try = now + refused.map_or(Duration::ZERO, pause);
        }
        state.line_up(WaitingStart { key: key.to_owned(), group, serial: 0, since: now, starter });
        let begins = !std::mem::replace(&mut state.is_running, true);
        self.show(&state);
        drop(state);
        if begins {
            self.inner.shutdown.spawn(Box::pin(self.clone().run()));
        }
        self.inner.changed.notify_one();
        true
    }

    /// The state of the start with this key; none if it neither waits nor has failed here.
    pub fn standing(&self, key: &str) -> Option<StartStanding> {
        let now = Instant::now();
        let state = &mut *self.lock();
        let Some(at) = state.places.get(key).copied() else {
            let (at, error) = state.failed.get(key)?;
            return (now.duration_since(*at) <= FAILURE_KEPT).then(|| StartStanding::Failed(error.clone()));
        };
        let number = match at {
            StartPlace::Tried(serial) => state.tried.range(..=serial).count(),
            // Without a number it is being sent right now.
            StartPlace::Line(place) => {
                state.tried.len() + state.numbers.of(place, &state.line, now).unwrap_or(1)
            }
        };
        #[allow(clippy::cast_precision_loss, reason = "people")]
        let wait = state
            .rate
            .per_second(now)
            .map(|rate| Duration::from_secs_f64((number as f64 / rate).min(WAIT_MAX.as_secs_f64())));
        Some(StartStanding::Waiting { number, wait })
    }

    /// Forgets the failure of a start, so that it can be asked for again.
    pub fn forget_failure(&self, key: &str) {
        self.lock().failed.remove(key);
    }

    /// Tries what waits, until nothing does and nothing is watched: whoever is refused while starts that waited are still
    /// under way learns of their ends.
    async fn run(self) {
        let mut deciding = FuturesUnordered::new();
        let mut watching = FuturesUnordered::new();
        let watch = |accepted: Instant, AcceptedStart { server, over }| async move {
            let end = tokio::time::timeout(WATCHED_MAX, over).await;
            (server, accepted, end.unwrap_or(StartEnd::Seen))
        };
        loop {
            for (accepted, start) in self.take_accepted() {
                watching.push(watch(accepted, start));
            }
            while let Some((serial, starter, ends)) = self.next() {
                deciding.push(async move { (serial, ends, starter.start().await) });
            }
            if watching.is_empty() && self.is_over() {
                return;
            }
            let wake = self.wake();
            tokio::select! {
                Some((serial, ends, outcome)) = deciding.next() => {
                    self.decided(serial, ends, outcome);
                }
                Some((server, accepted, end)) = watching.next() => self.has_ended(&server, accepted, end),
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    self.may_try();
                }
                () = self.inner.changed.notified() => {}
                () = self.inner.shutdown.draining() => {
                    let mut state = self.lock();
                    state.abandon();
                    return self.show(&state);
                }
            }
        }
    }

    /// The starts that are watched from now on, and when they were accepted: none, as long as nobody waits for their ends.
    fn take_accepted(&self) -> Vec<(Instant, AcceptedStart)> {
        let now = Instant::now();
        let mut state = self.lock();
        let mut taken = Vec::new();
        while !state.places.is_empty()
            && state.watched.len() < state.watched_max
            && let Some((at, start)) = state.accepted.pop_front()
        {
            if now.duration_since(at) <= WATCHED_MAX {
                state.watched.insert(start.server.clone());
                taken.push((at, start));
            }
        }
        taken
    }

    /// Whose start is asked for next, if one may be: with how many ends that was known.
    fn next(&self) -> Option<(u64, Arc<dyn Starter>, usize)> {
        let now = Instant::now();
        let mut state = self.lock();
        let explores = state.room == 0;
        let may = if explores {
            state.may_explore && !state.asked.values().any(|(at, _)| is_awaited(*at, now))
        } else {
            let first = state.exploring.and_then(|serial| state.asked.get(&serial));
            !first.is_some_and(|(at, _)| is_awaited(*at, now))
        };
        if !may || state.asked.len() >= AT_ONCE {
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
        state.old_end = None;
        // Its place in the order of those tried; the order itself is needed again when the hub has answered.
        state.tried.insert(serial, None);
        state.asked.insert(serial, (now, order));
        Some((serial, starter, state.ends))
    }

    /// Whether nobody waits: then the task ends.
    fn is_over(&self) -> bool {
        let mut state = self.lock();
        state.is_running = !state.places.is_empty();
        !state.is_running
    }

    /// When the line goes on without another reason: when the hub may be tried again, or its answer has been awaited for long
    /// enough. None: nobody waits.
    fn wake(&self) -> Option<Instant> {
        let now = Instant::now();
        let state = self.lock();
        let awaited = state.asked.values().map(|(at, _)| *at).filter(|at| is_awaited(*at, now)).min();
        let next_try = state.old_end_try().map_or(state.next_try, |at| at.min(state.next_try));
        (!state.places.is_empty()).then(|| awaited.map_or(next_try, |at| at + ANSWER_AWAITED))
    }

    /// The start of `server`, `accepted` then, is over.
    fn has_ended(&self, server: &str, accepted: Instant, end: StartEnd) {
        let mut state = self.lock();
        state.watched.remove(server);
        match end {
            StartEnd::Unknown => {}
            // The hub may have known of it when it refused.
            StartEnd::Before if accepted < state.begun => {
                state.old_end.get_or_insert_with(Instant::now);
            }
            StartEnd::Before | StartEnd::Seen => {
                state.ends += 1;
                state.room += 1;
            }
        }
    }

    /// [`StartQueueState::next_try`] has come, or that of an old end, or the hub has not answered to the one that was to find out.
    fn may_try(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        if now >= state.next_try {
            state.may_explore = true;
            state.next_try = now + PAUSE;
        } else if state.old_end_try().is_some_and(|at| now >= at) {
            state.may_explore = true;
            // Until the hub has been asked.
            state.old_end = Some(now);
        } else if state.exploring.take().is_some() {
            state.may_explore = true;
        }
    }

    /// What the hub has answered.
    fn decided(&self, serial: u64, ends: usize, outcome: Result<Option<AcceptedStart>, HubError>) {
        let now = Instant::now();
        let mut state = self.lock();
        let Some((asked, order)) = state.asked.remove(&serial) else { return };
        state.exploring.take_if(|exploring| *exploring == serial);
        match outcome {
            Ok(started) => {
                state.leave(serial, &order.key);
                state.rate.note(now);
                state.moved = now;
                // The hub may have room for more.
                state.may_explore = true;
                if let Some(started) = started {
                    state.remember(started, now);
                }
            }
            Err(error) if is_passing(&error) => {
                // The queue went on while this call hung; its late response is no reason to stop now.
                let has_hung = !is_awaited(asked, now) && error.retry_after().is_none();
                if error.is_want_of_room() || !has_hung {
                    // A start that has ended since we asked has made room that the hub's response may not reflect.
                    state.room = state.room.min(state.ends - ends);
                    state.may_explore = false;
                    state.next_try = now + pause(&error);
                }
                if state.has_waited_too_long(&order, now) {
                    state.fail_all_late(order, &error, now);
                } else if error.is_want_of_room() {
                    state.tried.insert(serial, Some(order));
                } else {
                    // The fault may lie with this start alone, for example if it hangs: the others must not wait for it again.
                    state.tried.remove(&serial);
                    state.line_up(order);
                }
            }
            Err(error) => {
                // It has failed and takes no room, so the next one may be tried.
                state.may_explore = true;
                state.fail(order, error, now);
            }
        }
        if state.places.is_empty() {
            tracing::info!("launch: no start waits for room at the hub any more");
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
    /// When it is worth a try that a start was found over before.
    fn old_end_try(&self) -> Option<Instant> {
        self.old_end.map(|found| found + OLD_ENDS_TOGETHER)
    }

    /// Adds `order` behind the others of its group.
    fn line_up(&mut self, mut order: WaitingStart) {
        self.serials += 1;
        order.serial = self.serials;
        let place = self.line.join(&order.group, i64::try_from(order.serial).unwrap_or(i64::MAX));
        self.places.insert(order.key.clone(), StartPlace::Line(place));
        self.orders.insert(place, order);
    }

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

/// Whether the hub, `asked` then, may well be about to answer.
fn is_awaited(asked: Instant, now: Instant) -> bool {
    now.duration_since(asked) < ANSWER_AWAITED
}

/// Whether the same start may be accepted later: the hub has no room, or is not there.
fn is_passing(error: &HubError) -> bool {
    match error {
        HubError::Refused { .. } => error.is_want_of_room(),
        // A message of the hub's own means that the spawner failed.
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

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use reqwest::StatusCode;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::hub::Call;

    /// What the hub says to a start.
    #[derive(Clone, Copy)]
    enum Says {
        Yes,
        /// 429, with this `Retry-After`.
        NoRoom(u64),
        /// 503 without words.
        Unavailable,
        /// Nothing, until the call is given up.
        Nothing,
    }

    /// A hub with one queue before it.
    struct TestHub {
        queue: StartQueue,
        shutdown: Shutdown,
        /// For whom it was asked.
        asked: Arc<Mutex<Vec<&'static str>>>,
    }

    #[derive(Clone)]
    struct TestStart {
        name: &'static str,
        says: Arc<Mutex<Says>>,
        over: CancellationToken,
        asked: Arc<Mutex<Vec<&'static str>>>,
    }

    const GIVEN_UP: Duration = Duration::from_secs(20);

    fn no_room(seconds: u64) -> HubError {
        HubError::Refused {
            call: Call::StartServer,
            status: StatusCode::TOO_MANY_REQUESTS,
            message: String::new(),
            retry_after: Some(Duration::from_secs(seconds)),
        }
    }

    impl Starter for TestStart {
        fn start(&self) -> Starting<'_, Result<Option<AcceptedStart>, HubError>> {
            Box::pin(async {
                let call = Call::StartServer;
                self.asked.lock().unwrap().push(self.name);
                let says = *self.says.lock().unwrap();
                match says {
                    Says::Yes => Ok(Some(self.accepted())),
                    Says::NoRoom(seconds) => Err(no_room(seconds)),
                    Says::Unavailable => Err(HubError::Failed {
                        call,
                        status: StatusCode::SERVICE_UNAVAILABLE,
                        message: None,
                        retry_after: None,
                    }),
                    Says::Nothing => {
                        tokio::time::sleep(GIVEN_UP).await;
                        Err(HubError::TimedOut { call })
                    }
                }
            })
        }
    }

    impl TestStart {
        fn accepted(&self) -> AcceptedStart {
            let over = self.over.clone();
            let over = async move {
                if over.is_cancelled() {
                    return StartEnd::Before;
                }
                over.cancelled().await;
                StartEnd::Seen
            };
            AcceptedStart { server: self.name.to_owned(), over: Box::pin(over) }
        }
    }

    impl TestHub {
        fn new() -> Self {
            let shutdown = Shutdown::new();
            let queue = StartQueue::new(Duration::from_mins(5), 50, Gauge::default(), shutdown.clone());
            Self { queue, shutdown, asked: Arc::default() }
        }

        fn start(&self, name: &'static str, says: Says) -> TestStart {
            let says = Arc::new(Mutex::new(says));
            TestStart { name, says, over: CancellationToken::new(), asked: Arc::clone(&self.asked) }
        }

        /// A start that waits since the hub has refused it, for so many seconds.
        fn refused(&self, seconds: u64, name: &'static str, says: Says) -> TestStart {
            let start = self.start(name, says);
            let group = Group::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), "app");
            let starter: Arc<dyn Starter> = Arc::new(start.clone());
            assert!(self.queue.join(name, group, starter, Some(&no_room(seconds))));
            start
        }

        fn asked(&self) -> Vec<&'static str> {
            self.asked.lock().unwrap().clone()
        }

        fn number(&self, name: &str) -> Option<usize> {
            match self.queue.standing(name)? {
                StartStanding::Waiting { number, .. } => Some(number),
                StartStanding::Failed(error) => panic!("{name}: {error}"),
            }
        }
    }

    async fn after(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_hangs_does_not_stop_the_line() {
        let hub = TestHub::new();
        let hanging = hub.refused(1, "hangs", Says::Nothing);
        for name in ["second", "third"] {
            hub.refused(1, name, Says::Yes);
        }
        after(10).await;
        assert_eq!(hub.asked(), ["hangs", "second", "third"], "before it was given up");
        after(GIVEN_UP.as_secs()).await;
        assert_eq!(hub.number("hangs"), Some(1), "it still waits");
        *hanging.says.lock().unwrap() = Says::Yes;
        after(2 * GIVEN_UP.as_secs()).await;
        assert_eq!(hub.number("hangs"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn room_that_comes_while_one_start_hangs_is_for_the_next() {
        let hub = TestHub::new();
        let earlier = hub.start("earlier", Says::Yes);
        hub.queue.accepted(earlier.accepted());
        hub.refused(1, "hangs", Says::Nothing);
        hub.refused(1, "second", Says::Yes);
        after(2).await;
        earlier.over.cancel();
        after(1).await;
        assert_eq!(hub.asked(), ["hangs"], "the room may be the first one's");
        after(5).await;
        assert_eq!(hub.asked(), ["hangs", "second"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_at_which_the_hub_fails_goes_behind_the_rest() {
        let hub = TestHub::new();
        hub.refused(1, "fails", Says::Unavailable);
        hub.refused(1, "second", Says::NoRoom(60));
        after(3).await;
        assert_eq!((hub.number("second"), hub.number("fails")), (Some(1), Some(2)));
        after(5).await;
        assert_eq!(hub.asked(), ["fails", "second"]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_group_leaves_room_for_the_others() {
        let hub = TestHub::new();
        let start: Arc<dyn Starter> = Arc::new(hub.start("any", Says::NoRoom(60)));
        let join = |number: usize, last: u8| {
            let group = Group::new(IpAddr::from([192, 0, 2, last]), "");
            hub.queue.join(&number.to_string(), group, Arc::clone(&start), Some(&no_room(60)))
        };
        assert!((0..GROUP_WAITING_MAX).all(|number| join(number, 1)));
        assert!(!join(WAITING_MAX, 1) && join(0, 1), "no more of it; what waits already, waits");
        assert!((GROUP_WAITING_MAX..WAITING_MAX).all(|number| join(number, 2)));
        assert!(!join(WAITING_MAX, 3), "no more of all");
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_for_which_there_is_no_room_keeps_its_place() {
        let hub = TestHub::new();
        let first = hub.refused(1, "first", Says::NoRoom(1));
        hub.refused(1, "second", Says::Yes);
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(hub.asked(), ["first", "first"]);
        assert_eq!((hub.number("first"), hub.number("second")), (Some(1), Some(2)));
        *first.says.lock().unwrap() = Says::Yes;
        after(1).await;
        assert_eq!(hub.asked(), ["first", "first", "first", "second"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_start_is_seen_also_when_nobody_waited_in_between() {
        let hub = TestHub::new();
        // One that is watched while somebody waits, and one that waited itself.
        let watched = hub.start("watched", Says::Yes);
        hub.queue.accepted(watched.accepted());
        let waited = hub.refused(1, "waited", Says::Yes);
        after(2).await;
        assert!(hub.queue.is_idle());
        let mut started = Vec::new();
        for (name, ends) in [("first", &watched), ("second", &waited)] {
            let start = hub.refused(60, name, Says::Yes);
            after(2).await;
            assert_eq!(hub.number(name), Some(1));
            ends.over.cancel();
            after(1).await;
            assert_eq!(hub.number(name), None, "{name}: long before Retry-After has passed");
            started.push(start);
        }
        assert_eq!(hub.asked(), ["waited", "first", "second"]);
        for start in started {
            start.over.cancel();
        }
        after(1).await;
        assert_eq!(hub.shutdown.tasks(), 0, "nobody waits, and nothing is watched");
    }

    #[tokio::test(start_paused = true)]
    async fn starts_that_were_over_before_are_no_room_and_worth_one_question_together() {
        let hub = TestHub::new();
        for name in ["a", "b", "c", "d", "e"] {
            let start = hub.start(name, Says::Yes);
            start.over.cancel();
            hub.queue.accepted(start.accepted());
        }
        after(120).await;
        for name in ["first", "second", "third"] {
            hub.refused(60, name, Says::NoRoom(60));
        }
        after(30).await;
        assert_eq!(hub.asked(), ["first"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_found_over_after_the_hub_was_asked_is_worth_another_question() {
        let hub = TestHub::new();
        for (name, seconds) in [("a", 0), ("b", 5)] {
            // Each was over when its watch began, and that is found out so late.
            let over = async move {
                after(seconds).await;
                StartEnd::Before
            };
            hub.queue.accepted(AcceptedStart { server: name.to_owned(), over: Box::pin(over) });
        }
        after(1).await;
        hub.refused(60, "first", Says::NoRoom(60));
        after(4).await;
        assert_eq!(hub.asked(), ["first"]);
        after(4).await;
        assert_eq!(hub.asked(), ["first", "first"]);
        after(40).await;
        assert_eq!(hub.asked(), ["first", "first"], "no more than there were reasons");
    }
}
