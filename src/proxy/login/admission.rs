//! Admission: at most so many logins are under way at the hub at a time, and everybody else waits for their turn.
//!
//! Comes before a token is consumed, so that whoever waits has lost nothing. Each process has a line and a limit of its
//! own; a browser's place is the time of its click, which it carries along, so that a reload, another replica or a restart
//! costs it nothing. [`crate::turns::line`] says whose turn it is and [`limit`] how many there are; this holds them under one lock.
//!
//! A permit is given to a request that is there to use it, and never waits for a browser. Whoever listens to the events of its
//! page is called ([`calls`]) and gets a permit when it is back: one that takes no events, or does not come, keeps nobody waiting.

pub mod limit;

mod calls;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::quality::RandomState;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::config::LoginsAtOnce;
use crate::metrics::LoginQueue;
use crate::token::TokenDigest;
use crate::turns::line::{Group, LinePlace, WaitingLine};
use crate::turns::numbers::LineNumbers;
use crate::turns::rate::Rate;
use calls::PageCalls;
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
    waiters: HashMap<LinePlace, Waiting, RandomState>,
    calls: PageCalls,
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

/// What becomes of whose turn it is, and with which token they wait.
#[derive(Debug)]
enum Waiting {
    /// A request, which gets a permit.
    Request(TokenDigest, oneshot::Sender<LoginPermit>),
    /// A page, which is called.
    Page(TokenDigest, oneshot::Sender<PageCall>),
}

/// A login may be sent to the hub. Given back when it is dropped.
#[derive(Debug)]
pub struct LoginPermit {
    admission: Admission,
}

/// A page's turn has come. If it is dropped before the page was told, room is kept no more.
#[derive(Debug)]
pub struct PageCall {
    admission: Admission,
    token: TokenDigest,
    is_told: bool,
}

/// Somebody in line for a `T`. Gives the place back when it is dropped.
#[derive(Debug)]
pub struct LineWaiter<T> {
    admission: Admission,
    group: Group,
    place: LinePlace,
    turn: oneshot::Receiver<T>,
    /// None: it has been called, and its wait was over then.
    since: Option<Instant>,
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
            calls: PageCalls::default(),
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

    /// Takes a place in line with the link of `token`; at once at its end if nobody is before it.
    pub fn join(&self, group: Group, clicked: i64, token: TokenDigest) -> LineWaiter<LoginPermit> {
        self.wait(group, clicked, token, Waiting::Request)
    }

    /// The same for a page that listens, and asks again when it is called.
    pub fn listen(&self, group: Group, clicked: i64, token: TokenDigest) -> LineWaiter<PageCall> {
        self.wait(group, clicked, token, Waiting::Page)
    }

    fn wait<T>(
        &self,
        group: Group,
        clicked: i64,
        token: TokenDigest,
        waiting: impl FnOnce(TokenDigest, oneshot::Sender<T>) -> Waiting,
    ) -> LineWaiter<T> {
        let (sender, turn) = oneshot::channel();
        let (place, is_due) = {
            let mut state = self.lock();
            let (is_due, waiting) = (state.calls.is_due(token), waiting(token, sender));
            if matches!(waiting, Waiting::Request(..)) {
                state.calls.release(token);
            }
            let place =
                if is_due { state.line.join_first(clicked) } else { state.line.join(&group, clicked) };
            state.waiters.insert(place, waiting);
            (place, is_due)
        };
        let since = (!is_due).then(Instant::now);
        let waiter = LineWaiter { admission: self.clone(), group, place, turn, since };
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

    /// Gives permits to those whose turn it is, and calls the pages whose turn it is.
    fn serve(&self) {
        while let Some(next) = self.lock().next(Instant::now()) {
            // Under the lock, without which nobody leaves the line: whoever is next is there to receive it.
            match next {
                Waiting::Request(_, turn) => drop(turn.send(LoginPermit { admission: self.clone() })),
                Waiting::Page(token, turn) => {
                    drop(turn.send(PageCall { admission: self.clone(), token, is_told: false }));
                }
            }
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
    fn next(&mut self, now: Instant) -> Option<Waiting> {
        let occupied = self.occupied(now);
        if self.announced && self.line.waiting() == 0 && occupied == 0 {
            self.announced = false;
            tracing::info!("login: nobody waits for the hub any more");
        }
        let at_once = match self.failing_since {
            None => self.limit.at_once(),
            // One tries whether it is there again; not all at once, and not all the time.
            Some(_)
                if self.is_back() || self.tried.is_none_or(|tried| now.duration_since(tried) >= RETRY) =>
            {
                1
            }
            Some(_) => 0,
        };
        if occupied >= at_once {
            return None;
        }
        loop {
            let place = self.line.next_turn()?;
            let Some(next) = self.waiters.remove(&place) else { continue };
            match &next {
                Waiting::Request(token, _) => {
                    self.in_flight += 1;
                    self.calls.taken(*token);
                }
                Waiting::Page(token, _) => self.calls.call(*token, now),
            }
            self.tried = Some(now);
            return Some(next);
        }
    }

    /// Whether whoever is next was called, and has come.
    fn is_back(&self) -> bool {
        let first = self.line.first().and_then(|place| self.waiters.get(&place));
        matches!(first, Some(Waiting::Request(..)))
    }

    /// How much of the room at the hub is occupied: by logins under way, and by those who were called.
    fn occupied(&mut self, now: Instant) -> usize {
        self.in_flight + self.calls.expected(now)
    }
}

/// What came back for a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginAnswer {
    /// The hub has let the person in, and has said so as only the hub can.
    LetIn,
    /// The person goes on in the session that they have, without another word of the hub.
    LedOn,
    /// It is no login. Whatever it is may come from the hub's proxy, because the hub is gone.
    Other,
}

impl LoginPermit {
    /// There was an `answer` to a login, which `took` so long.
    pub fn logged_in(&self, took: Duration, answer: LoginAnswer) {
        let now = Instant::now();
        let mut state = self.admission.lock();
        // What is no login tells nothing of how long one takes.
        if answer != LoginAnswer::Other {
            let (at_hub, occupied) = (state.in_flight, state.occupied(now));
            state.limit.answered(took, at_hub, occupied, now);
            state.failing_since = None;
        }
        state.rate.note(now);
        state.succeeded = (answer == LoginAnswer::LetIn).then_some(now);
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

    /// Gives it back, and calls the browser with `token`: something is there for it now.
    pub fn call(self, token: TokenDigest) {
        self.admission.lock().calls.call(token, Instant::now());
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

impl PageCall {
    /// The page is told: its browser is on its way.
    pub fn told(mut self) {
        self.is_told = true;
    }
}

impl Drop for PageCall {
    fn drop(&mut self) {
        if !self.is_told {
            self.admission.lock().calls.release(self.token);
            self.admission.serve();
        }
    }
}

impl<T> LineWaiter<T> {
    /// The turn, if it has come: as a rule there is nobody before.
    pub fn admitted_at_once(&mut self) -> Option<T> {
        let turn = self.turn.try_recv().ok()?;
        if let Some(since) = self.since {
            self.admission.metrics.waited(since.elapsed());
        }
        Some(turn)
    }

    /// Waits for the turn.
    pub async fn admitted(&mut self) -> T {
        loop {
            if let Ok(turn) = tokio::time::timeout(RETRY, self.turn()).await {
                return turn;
            }
        }
    }

    /// The same for whoever asks again at least each second: while the hub does not answer nobody gives a permit back, and nobody
    /// tells that somebody who was called does not come, so those in line look for themselves.
    pub async fn turn(&mut self) -> T {
        if let Some(turn) = self.admitted_at_once() {
            return turn;
        }
        self.admission.serve();
        // The other end goes with this one, and not before.
        let Ok(turn) = (&mut self.turn).await else { return std::future::pending().await };
        if let Some(since) = self.since {
            self.admission.metrics.waited(since.elapsed());
        }
        turn
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

impl<T> Drop for LineWaiter<T> {
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::metrics::Metrics;

    fn admission(setting: LoginsAtOnce) -> Admission {
        Admission::new(setting, Metrics::new().login_queue.clone())
    }

    fn group() -> Group {
        Group::new(std::net::IpAddr::from([192, 0, 2, 1]), "portal")
    }

    fn token(name: &str) -> TokenDigest {
        TokenDigest::of_parts(&[name])
    }

    fn join(admission: &Admission, clicked: i64) -> LineWaiter<LoginPermit> {
        admission.join(group(), clicked, token(&clicked.to_string()))
    }

    async fn is_admitted<T>(waiter: &mut LineWaiter<T>) -> Option<T> {
        tokio::time::timeout(Duration::from_millis(1), waiter.admitted()).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_under_way_than_there_may_be_and_the_earliest_click_is_next() {
        let admission = admission(LoginsAtOnce::Fixed(1));
        let mut first = join(&admission, 3);
        let permit = is_admitted(&mut first).await.expect("nobody is before");
        let (mut late, mut early) = (join(&admission, 2), join(&admission, 1));
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
        let mut first = join(&admission, 1);
        let permit = is_admitted(&mut first).await.expect("nobody is before");
        let (gone, mut next) = (join(&admission, 2), join(&admission, 3));
        drop(permit);
        // The turn of `gone` has come, and nobody has taken it.
        drop(gone);
        assert!(is_admitted(&mut next).await.is_some());
        assert_eq!(admission.lock().in_flight, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_kept_for_who_was_called_and_not_for_who_does_not_come() {
        let admission = admission(LoginsAtOnce::Fixed(1));
        let mut page = admission.listen(group(), 1, token("page"));
        is_admitted(&mut page).await.expect("nobody is before").told();
        let mut next = join(&admission, 2);
        assert!(is_admitted(&mut next).await.is_none(), "it is on its way");
        let permit = is_admitted(&mut admission.join(group(), 1, token("page"))).await.expect("its room");
        assert!(is_admitted(&mut next).await.is_none());
        drop(permit);
        let permit = is_admitted(&mut next).await.expect("its turn");
        let mut never_read = admission.listen(group(), 3, token("unread"));
        let mut last = join(&admission, 4);
        drop(permit);
        assert!(is_admitted(&mut last).await.is_none(), "a page was called");
        let permit =
            tokio::time::timeout(Duration::from_secs(3), last.admitted()).await.expect("in a moment");
        // Late, and before all others.
        let (mut other, mut late) = (join(&admission, 0), admission.join(group(), 3, token("unread")));
        drop(permit);
        assert!(is_admitted(&mut other).await.is_none());
        assert!(is_admitted(&mut late).await.is_some());
        assert!(is_admitted(&mut never_read).await.is_some(), "it can still be told");
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_goes_away_before_it_is_told_gives_its_room_back_at_once_and_keeps_its_turn() {
        let admission = admission(LoginsAtOnce::Fixed(1));
        let permit = is_admitted(&mut join(&admission, 0)).await.expect("nobody is before");
        let (page, mut next) = (admission.listen(group(), 1, token("page")), join(&admission, 2));
        drop(permit);
        assert!(is_admitted(&mut next).await.is_none());
        drop(page);
        let permit = is_admitted(&mut next).await.expect("its turn");
        let (mut before, mut page) = (join(&admission, 0), admission.join(group(), 1, token("page")));
        drop(permit);
        assert!(is_admitted(&mut page).await.is_some() && is_admitted(&mut before).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_pages_of_one_link_do_not_listen_one_has_room_once() {
        let admission = admission(LoginsAtOnce::Fixed(2));
        let permits = [join(&admission, 0), join(&admission, 1)];
        let _deaf: Vec<_> = (0..100).map(|_| admission.listen(group(), 2, token("deaf"))).collect();
        let mut line = [3, 4].map(|clicked| join(&admission, clicked));
        drop(permits);
        let _first = is_admitted(&mut line[0]).await.expect("at once");
        let begun = Instant::now();
        let _second = line[1].admitted().await;
        assert!(begun.elapsed() < Duration::from_secs(3));
    }

    /// One login has found that the hub does not answer.
    async fn before_a_silent_hub() -> Admission {
        let admission = admission(LoginsAtOnce::Fixed(8));
        is_admitted(&mut join(&admission, 1)).await.expect("nobody is before").failed();
        admission
    }

    #[tokio::test(start_paused = true)]
    async fn before_a_hub_that_does_not_answer_one_page_is_called_each_second_and_tries_at_once() {
        let admission = before_a_silent_hub().await;
        let mut pages: Vec<_> =
            (1..6).map(|page| admission.listen(group(), page, token(&page.to_string()))).collect();
        for second in 0..10 {
            tokio::time::advance(RETRY).await;
            let mut called = Vec::new();
            for (page, number) in pages.iter_mut().zip(1..) {
                if let Some(call) = is_admitted(page).await {
                    call.told();
                    called.push(number);
                }
            }
            assert_eq!(called, [1], "second {second}: the earliest");
            let permit = is_admitted(&mut join(&admission, 1)).await.expect("it was called");
            permit.failed();
            drop(permit);
            pages[0] = admission.listen(group(), 1, token("1"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_does_not_answer_is_tried_by_one_each_second_and_nobody_loses_a_place() {
        let admission = before_a_silent_hub().await;
        let mut line: Vec<LineWaiter<LoginPermit>> =
            (0..5).map(|click| join(&admission, 10 + click)).collect();
        let mut tries = 0;
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(1)).await;
            for waiter in &mut line {
                if let Some(permit) = is_admitted(waiter).await {
                    tries += 1;
                    permit.failed();
                    *waiter = join(&admission, 10);
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
        let permit = is_admitted(&mut join(&admission, 1)).await.expect("nobody is before");
        let other = is_admitted(&mut join(&admission, 2)).await.expect("there is room");
        assert!(!permit.is_hub_answering());
        permit.logged_in(Duration::from_millis(20), LoginAnswer::LetIn);
        assert!(other.is_hub_answering());
        tokio::time::advance(PROOF).await;
        assert!(!other.is_hub_answering());
        permit.logged_in(Duration::from_millis(20), LoginAnswer::LetIn);
        other.failed();
        assert!(!other.is_hub_answering());
        other.answered();
        assert!(!other.is_hub_answering(), "an answer to a question is no login");
        permit.logged_in(Duration::from_millis(20), LoginAnswer::LetIn);
        other.logged_in(Duration::from_millis(20), LoginAnswer::Other);
        assert!(!other.is_hub_answering(), "that may have been a proxy before a hub that is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_no_login_does_not_tell_that_the_hub_is_there_again() {
        let admission = admission(LoginsAtOnce::Auto);
        let permit = is_admitted(&mut join(&admission, 1)).await.expect("nobody is before");
        permit.failed();
        permit.logged_in(Duration::from_millis(1), LoginAnswer::Other);
        assert!(join(&admission, 2).outlook().is_hub_down);
        for answer in [LoginAnswer::LetIn, LoginAnswer::LedOn] {
            permit.failed();
            permit.logged_in(Duration::from_millis(20), answer);
            assert!(!join(&admission, 3).outlook().is_hub_down);
        }
    }

    /// 5,000 at once: the hub does one after the other, and its pace is the same at the end as at the beginning.
    #[tokio::test(start_paused = true)]
    async fn a_line_of_five_thousand_goes_on_at_the_same_pace() {
        let admission = admission(LoginsAtOnce::Auto);
        let hub = Arc::new(tokio::sync::Semaphore::new(1));
        let begin = Instant::now();
        let mut logins = tokio::task::JoinSet::new();
        for click in 0..5000 {
            let mut waiter = join(&admission, click);
            let hub = Arc::clone(&hub);
            logins.spawn(async move {
                let permit = waiter.admitted().await;
                let sent = Instant::now();
                let _hub = hub.acquire().await.expect("open");
                tokio::time::sleep(Duration::from_millis(20)).await;
                permit.logged_in(sent.elapsed(), LoginAnswer::LetIn);
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

    /// Browsers that were called need a moment to come: so many are called that the hub is not idle meanwhile, although some of
    /// its logins take longer than others.
    #[tokio::test(start_paused = true)]
    async fn browsers_that_come_a_moment_after_their_call_do_not_leave_the_hub_idle() {
        const ON_AVERAGE: Duration = Duration::from_millis(20);
        for way in [10, 100, 400].map(Duration::from_millis) {
            let admission = admission(LoginsAtOnce::Auto);
            let (hub, begin) = (Arc::new(tokio::sync::Semaphore::new(1)), Instant::now());
            let most_at_hub = Arc::new(AtomicUsize::new(0));
            let mut logins = tokio::task::JoinSet::new();
            for click in 0..1000 {
                let (admission, hub, most_at_hub) = (admission.clone(), hub.clone(), most_at_hub.clone());
                logins.spawn(async move {
                    let token = token(&click.to_string());
                    admission.listen(group(), click, token).admitted().await.told();
                    tokio::time::sleep(way).await;
                    let permit = admission.join(group(), click, token).admitted().await;
                    most_at_hub.fetch_max(admission.lock().in_flight, Ordering::Relaxed);
                    let sent = Instant::now();
                    let _hub = hub.acquire().await.expect("open");
                    tokio::time::sleep(if click % 2 == 0 { ON_AVERAGE / 2 } else { ON_AVERAGE * 3 / 2 })
                        .await;
                    permit.logged_in(sent.elapsed(), LoginAnswer::LetIn);
                });
            }
            logins.join_all().await;
            let (took, most) = (begin.elapsed(), most_at_hub.load(Ordering::Relaxed));
            assert!(took < 1000 * ON_AVERAGE * 4 / 3, "{took:?} where each comes {way:?} after the call");
            assert!(most <= 16, "{most} at the hub where each comes {way:?} after the call");
        }
    }
}
