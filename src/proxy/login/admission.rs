//! Admission: at most so many logins are under way at the hub at a time, and everybody else waits for their turn.
//!
//! Comes before a token is consumed, so that whoever waits has lost nothing. Each process has a line and a limit of its
//! own; a browser's place is the time of its click, which it carries along, so that a reload, another replica or a restart
//! costs it nothing. [`crate::turns::line`] says whose turn it is and [`limit`] how many there are; this holds them under one lock.

pub mod limit;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::quality::RandomState;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::config::LoginsAtOnce;
use crate::metrics::LoginQueue;
use crate::turns::line::{Group, LinePlace, WaitingLine};
use crate::turns::numbers::LineNumbers;
use crate::turns::rate::Rate;
use limit::Limit;

/// After a hub has not answered, one of those in line tries it this often.
const RETRY: Duration = Duration::from_secs(1);
/// So long a login that has succeeded proves that the hub answers. Short, for who logs in on such a proof loses a link if the hub
/// has gone meanwhile; and long enough for a burst, in which one login follows the other.
const PROOF: Duration = Duration::from_millis(500);
/// How often the metric of the rate is set at the most.
const RATE_TOLD_EVERY: Duration = Duration::from_millis(250);

/// Who may log in at the hub now.
#[derive(Debug, Clone)]
pub struct Admission {
    state: Arc<Mutex<AdmissionState>>,
    metrics: LoginQueue,
}

#[derive(Debug)]
struct AdmissionState {
    limit: Limit,
    in_flight: usize,
    line: WaitingLine,
    waiters: HashMap<LinePlace, oneshot::Sender<LoginPermit>, RandomState>,
    rate: Rate,
    /// When the metric was last set to it.
    rate_told: Option<Instant>,
    /// Since when the hub has not answered, and no login has succeeded.
    failing_since: Option<Instant>,
    /// When a login has succeeded last, unless the hub has failed since.
    succeeded: Option<Instant>,
    /// When the hub was tried last.
    tried: Option<Instant>,
    numbers: LineNumbers,
    /// Somebody was shown the page of the line, and the log says so.
    announced: bool,
}

/// Leave to log in at the hub. Given back when it is dropped.
#[derive(Debug)]
pub struct LoginPermit {
    admission: Admission,
}

/// Somebody in line. Gives the place back when it is dropped.
#[derive(Debug)]
pub struct LineWaiter {
    admission: Admission,
    group: Group,
    place: LinePlace,
    permit: oneshot::Receiver<LoginPermit>,
    since: Instant,
}

/// What somebody in line is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// How many have their turn before, and this one.
    pub number: usize,
    /// How long that will take, by what the hub did lately; none: it cannot be told.
    pub wait: Option<Duration>,
    /// The hub does not answer.
    pub is_hub_down: bool,
}

impl Admission {
    /// Nobody waits.
    pub fn new(setting: LoginsAtOnce, metrics: LoginQueue) -> Self {
        let state = AdmissionState {
            limit: Limit::new(setting),
            in_flight: 0,
            line: WaitingLine::default(),
            waiters: HashMap::default(),
            rate: Rate::default(),
            rate_told: None,
            failing_since: None,
            succeeded: None,
            tried: None,
            numbers: LineNumbers::default(),
            announced: false,
        };
        Self { state: Arc::new(Mutex::new(state)), metrics }
    }

    /// Another setting; what has been proved of the hub may have been of another one.
    pub fn set(&self, setting: LoginsAtOnce) {
        let mut state = self.lock();
        state.limit.set(setting);
        state.succeeded = None;
        drop(state);
        self.serve();
    }

    /// Takes a place in line; at once at its end if nobody is before it.
    pub fn join(&self, group: Group, clicked: i64) -> LineWaiter {
        let (sender, permit) = oneshot::channel();
        let place = {
            let mut state = self.lock();
            let place = state.line.join(&group, clicked);
            state.waiters.insert(place, sender);
            place
        };
        let waiter = LineWaiter { admission: self.clone(), group, place, permit, since: Instant::now() };
        self.serve();
        waiter
    }

    /// Somebody is shown the page of the line.
    pub fn announce(&self) {
        let mut state = self.lock();
        if !state.announced {
            state.announced = true;
            tracing::info!(
                waiting = state.line.waiting(),
                at_once = state.limit.at_once(),
                "login: people wait for their turn at the hub"
            );
        }
    }

    /// Gives leave to those whose turn it is. Whoever has gone in between gives it back, and the next one has it.
    fn serve(&self) {
        while let Some(granted) = self.lock().next(Instant::now()) {
            // Sent without the lock: one that nobody receives is dropped here, which takes the lock.
            let _gone = granted.send(LoginPermit { admission: self.clone() });
        }
        let state = self.lock();
        self.metrics.show(state.line.waiting(), state.in_flight, state.limit.at_once());
    }

    fn lock(&self) -> MutexGuard<'_, AdmissionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AdmissionState {
    /// The next one, if there is room at the hub.
    fn next(&mut self, now: Instant) -> Option<oneshot::Sender<LoginPermit>> {
        if self.announced && self.line.waiting() == 0 && self.in_flight == 0 {
            self.announced = false;
            tracing::info!("login: nobody waits for the hub any more");
        }
        let at_once = match self.failing_since {
            None => self.limit.at_once(),
            // One tries whether it is there again; not all at once, and not all the time.
            Some(_) if self.tried.is_none_or(|tried| now.duration_since(tried) >= RETRY) => 1,
            Some(_) => 0,
        };
        if self.in_flight >= at_once {
            return None;
        }
        loop {
            let place = self.line.next_turn()?;
            if let Some(sender) = self.waiters.remove(&place) {
                self.in_flight += 1;
                self.tried = Some(now);
                return Some(sender);
            }
        }
    }
}

impl LoginPermit {
    /// The hub has answered a login, which `took` so long, and has let the person in or not.
    pub fn logged_in(&self, took: Duration, is_let_in: bool) {
        let now = Instant::now();
        let mut state = self.admission.lock();
        let in_flight = state.in_flight;
        state.limit.answered(took, in_flight, now);
        state.rate.note(now);
        state.failing_since = None;
        // Whatever else is answered may come from its proxy, because the hub is gone.
        state.succeeded = is_let_in.then_some(now);
        self.admission.metrics.logged_in(took);
        // Nobody reads it more often, and it is worked out of all that is remembered.
        if state.rate_told.is_none_or(|told| now.duration_since(told) >= RATE_TOLD_EVERY) {
            state.rate_told = Some(now);
            if let Some(rate) = state.rate.per_second(now) {
                self.admission.metrics.rate(rate, state.line.waiting() > 0);
            }
        }
    }

    /// Whether the hub has just logged somebody in: it need not be asked whether it answers.
    pub fn is_hub_answering(&self) -> bool {
        self.admission.lock().succeeded.is_some_and(|at| at.elapsed() < PROOF)
    }

    /// The hub has answered a question.
    pub fn answered(&self) {
        self.admission.lock().failing_since = None;
    }

    /// The hub has not answered.
    pub fn failed(&self) {
        let mut state = self.admission.lock();
        state.limit.failed();
        state.succeeded = None;
        state.failing_since.get_or_insert_with(Instant::now);
    }
}

impl Drop for LoginPermit {
    fn drop(&mut self) {
        self.admission.lock().in_flight -= 1;
        self.admission.serve();
    }
}

impl LineWaiter {
    /// Waits for the turn.
    pub async fn admitted(&mut self) -> LoginPermit {
        loop {
            if let Ok(permit) = tokio::time::timeout(RETRY, self.turn()).await {
                return permit;
            }
        }
    }

    /// The same for whoever asks again at least each second: while the hub does not answer nobody gives leave back, so those
    /// in line look for themselves.
    pub async fn turn(&mut self) -> LoginPermit {
        self.admission.serve();
        // The other end goes with this one, and not before.
        let Ok(permit) = (&mut self.permit).await else { return std::future::pending().await };
        self.admission.metrics.waited(self.since.elapsed());
        permit
    }

    /// How it stands.
    pub fn outlook(&self) -> Outlook {
        let now = Instant::now();
        let state = &mut *self.admission.lock();
        // Its turn has come in this very moment, if it has no number.
        let number = state.numbers.of(self.place, &state.line, now).unwrap_or(1);
        let per_second = state.rate.per_second(now);
        #[allow(clippy::cast_precision_loss, reason = "people")]
        let wait = per_second.map(|rate| Duration::from_secs_f64((number as f64 / rate).min(3600.0)));
        Outlook { number, wait, is_hub_down: state.failing_since.is_some() }
    }
}

impl Drop for LineWaiter {
    fn drop(&mut self) {
        let mut state = self.admission.lock();
        state.line.leave(&self.group, self.place);
        state.waiters.remove(&self.place);
        drop(state);
        let state = self.admission.lock();
        self.admission.metrics.show(state.line.waiting(), state.in_flight, state.limit.at_once());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn admission(setting: LoginsAtOnce) -> Admission {
        Admission::new(setting, Metrics::new().login_queue.clone())
    }

    fn group() -> Group {
        Group::new(std::net::IpAddr::from([192, 0, 2, 1]), "portal")
    }

    async fn is_admitted(waiter: &mut LineWaiter) -> Option<LoginPermit> {
        tokio::time::timeout(Duration::from_millis(1), waiter.admitted()).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_under_way_than_there_may_be_and_the_earliest_click_is_next() {
        let admission = admission(LoginsAtOnce::Fixed(1));
        let mut first = admission.join(group(), 3);
        let permit = is_admitted(&mut first).await.expect("nobody is before");
        let (mut late, mut early) = (admission.join(group(), 2), admission.join(group(), 1));
        assert!(is_admitted(&mut late).await.is_none());
        assert_eq!((early.outlook().number, late.outlook().number), (1, 2));
        drop(permit);
        let permit = is_admitted(&mut early).await.expect("its turn");
        assert!(is_admitted(&mut late).await.is_none());
        drop(permit);
        assert!(is_admitted(&mut late).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_gives_the_place_back_also_when_the_turn_has_just_come() {
        let admission = admission(LoginsAtOnce::Fixed(1));
        let mut first = admission.join(group(), 1);
        let permit = is_admitted(&mut first).await.expect("nobody is before");
        let (gone, mut next) = (admission.join(group(), 2), admission.join(group(), 3));
        drop(permit);
        // The turn of `gone` has come, and nobody has taken it.
        drop(gone);
        assert!(is_admitted(&mut next).await.is_some());
        assert_eq!(admission.lock().in_flight, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_does_not_answer_is_tried_by_one_each_second_and_nobody_loses_a_place() {
        let admission = admission(LoginsAtOnce::Fixed(8));
        let mut first = admission.join(group(), 1);
        let permit = is_admitted(&mut first).await.expect("nobody is before");
        permit.failed();
        drop(permit);
        let mut line: Vec<LineWaiter> = (0..5).map(|click| admission.join(group(), 10 + click)).collect();
        let mut tries = 0;
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(1)).await;
            for waiter in &mut line {
                if let Some(permit) = is_admitted(waiter).await {
                    tries += 1;
                    permit.failed();
                    *waiter = admission.join(group(), 10);
                }
            }
        }
        assert!((2..=4).contains(&tries), "{tries}");
        assert!(line[0].outlook().is_hub_down);
        tokio::time::advance(Duration::from_secs(1)).await;
        let mut permits = Vec::new();
        for _ in 0..2 {
            let mut rest = Vec::new();
            for mut waiter in line {
                match is_admitted(&mut waiter).await {
                    Some(permit) => {
                        permit.answered();
                        permits.push(permit);
                    }
                    None => rest.push(waiter),
                }
            }
            line = rest;
        }
        assert_eq!(permits.len(), 5, "it is there again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_proves_for_a_moment_that_the_hub_answers_and_a_failure_ends_the_proof() {
        let admission = admission(LoginsAtOnce::Fixed(2));
        let permit = is_admitted(&mut admission.join(group(), 1)).await.expect("nobody is before");
        let other = is_admitted(&mut admission.join(group(), 2)).await.expect("there is room");
        assert!(!permit.is_hub_answering());
        permit.logged_in(Duration::from_millis(20), true);
        assert!(other.is_hub_answering());
        tokio::time::advance(PROOF).await;
        assert!(!other.is_hub_answering());
        permit.logged_in(Duration::from_millis(20), true);
        other.failed();
        assert!(!other.is_hub_answering());
        other.answered();
        assert!(!other.is_hub_answering(), "an answer to a question is no login");
        permit.logged_in(Duration::from_millis(20), true);
        other.logged_in(Duration::from_millis(20), false);
        assert!(!other.is_hub_answering(), "that may have been a proxy before a hub that is gone");
    }

    /// 5,000 at once: the hub does one after the other, and its pace is the same at the end as at the beginning.
    #[tokio::test(start_paused = true)]
    async fn a_line_of_five_thousand_goes_on_at_the_same_pace() {
        let admission = admission(LoginsAtOnce::Auto);
        let hub = Arc::new(tokio::sync::Semaphore::new(1));
        let begin = Instant::now();
        let mut logins = tokio::task::JoinSet::new();
        for click in 0..5000 {
            let mut waiter = admission.join(group(), click);
            let hub = Arc::clone(&hub);
            logins.spawn(async move {
                let permit = waiter.admitted().await;
                let sent = Instant::now();
                let _hub = hub.acquire().await.expect("open");
                tokio::time::sleep(Duration::from_millis(20)).await;
                permit.logged_in(sent.elapsed(), true);
                begin.elapsed()
            });
        }
        let mut done: Vec<Duration> = Vec::new();
        while let Some(at) = logins.join_next().await {
            done.push(at.expect("no login panics"));
        }
        assert_eq!(done.len(), 5000);
        let (half, all) = (done[2499].as_secs_f64(), done[4999].as_secs_f64());
        assert!((all - 100.0).abs() < 5.0, "20 ms each: {all}");
        assert!((half / all - 0.5).abs() < 0.05, "{half} of {all}");
        assert!(admission.lock().limit.at_once() <= 16);
    }
}
