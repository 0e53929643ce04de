//! One login request while it is judged: finds out what `decide` asks for, and holds what the login will need.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::header::{COOKIE, HeaderValue, ORIGIN};
use hyper::{Response, Uri};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::admission::{LoginPermit, Outlook};
use super::browser_checks;
use super::click_ticket::{Click, OriginsDigest};
use super::decide::{
    ExchangeFact, Facts, FlightFact, LinkFact, LoginRules, PlaceFact, Question, RequestFacts, VisitorFact,
};
use super::parked::{self, Probe};
use super::parse::LoginRequest;
use super::refuse::AuditGuard;
use super::single_flight::{Entered, FlightGuard, RequestFingerprint};
use super::{destination, external_token};
use crate::login::login_token::LoginToken;
use crate::login::next::form_decode;
use crate::login::{ExchangeSubject, RedeemRequest, Refusal, RefusalReason, ValidatedToken};
use crate::proxy::context::Proxy;
use crate::proxy::cookies;
use crate::proxy::hub_session::{self, HubTrouble, Identified};
use crate::proxy::upstream::limit::Purpose;
use crate::proxy::upstream::{HubConnection, ResponseBody, UpstreamError};
use crate::proxy::validate::Rejection;
use crate::token::{BrowserSecret, State};
use crate::turns::line::Group;

/// How long a browser waits for its turn before it is shown the page of the line.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same for one that sees that page already.
const PATIENCE_IN_LINE: Duration = Duration::from_secs(1);

/// A login request, what is known of it, and what is held for it.
pub struct Attempt {
    /// The proxy of this thread.
    pub proxy: Proxy,
    /// What the browser sent.
    pub request: LoginRequest,
    /// Its own `next`, decoded.
    pub own_next: Option<String>,
    /// What is known.
    pub facts: Facts,
    /// What is held.
    pub held: Held,
    /// When the browser clicked, and how.
    pub click: Click,
    /// It has been in line before, as our own signature says.
    pub ticket: Option<Click>,
    /// The secret of the browser that proves it.
    pub line_state: Option<State>,
    /// What it is told if it has to wait.
    pub outlook: Outlook,
    states: Vec<State>,
    /// Until when it waits for another login with the same token.
    wait_until: Instant,
}

/// What an attempt holds.
#[derive(Default)]
pub struct Held {
    /// Keeps the token from other requests of this process.
    pub flight: Option<FlightGuard>,
    /// The response that an earlier request of the same browser has left.
    pub joined: Option<Response<ResponseBody>>,
    /// The token, looked up and judged.
    pub token: Option<ValidatedToken>,
    /// What the hub will be asked for.
    pub target: Option<Uri>,
    /// The connection that will carry the login.
    pub connection: Option<HubConnection>,
    /// The permit to log in at the hub.
    pub permit: Option<LoginPermit>,
    /// A question to the hub that an earlier request of this browser has put.
    pub probe: Option<Probe>,
    /// A refusal that is not in the audit yet.
    pub unrecorded: Option<AuditGuard>,
}

impl Attempt {
    /// Nothing is known but what the request says.
    pub fn new(proxy: &Proxy, request: LoginRequest) -> Self {
        let mut request = request;
        let own_next = request.next.as_deref().map(form_decode);
        let states: Vec<State> = request.secrets.iter().map(BrowserSecret::state).collect();
        let now = proxy.shared.login.clock().wall();
        let ticket =
            request.token.as_ref().zip(request.click_ticket.as_deref()).and_then(|(token, text)| {
                proxy.shared.click_tickets.read(text, token.digest(), &states, now)
            });
        let (ticket, line_state) = ticket.unzip();
        request.click_ticket = request.click_ticket.filter(|_| ticket.is_some());
        request.confirmed |= ticket.is_some_and(|click| click.is_confirmed);
        let is_framed_by_other = browser_checks::is_framed_by_other(proxy, &request.headers)
            || ticket.is_some_and(|click| click.is_framed_by_other);
        let click = match ticket {
            Some(ticket) => Click { is_confirmed: request.confirmed, is_framed_by_other, ..ticket },
            None => Click {
                at: now,
                is_confirmed: request.confirmed,
                is_from_app: false,
                is_framed_by_other,
                origins: None,
            },
        };
        let rules = proxy.shared.login.rules();
        let facts = Facts {
            request: RequestFacts {
                has_readable_next: !matches!(own_next, Some(None)),
                is_framed_by_other,
                is_in_line: ticket.is_some(),
                ..request_facts(proxy, &request)
            },
            rules: LoginRules { confirm: rules.confirm, require_state: rules.require_state },
            ..Facts::default()
        };
        Self {
            proxy: proxy.clone(),
            request,
            own_next: own_next.flatten(),
            facts,
            held: Held::default(),
            click,
            ticket,
            line_state,
            states,
            outlook: Outlook { number: 1, wait: None, is_hub_down: false },
            // As long as another login may take: its logout, and itself.
            wait_until: Instant::now() + 2 * proxy.shared.rules.login_hub_timeout,
        }
    }

    /// Finds out what `question` asks for. Boxed where it is rare: it must not make the state of every login larger.
    pub async fn find_out(&mut self, question: Question) {
        match question {
            Question::Flight => self.enter_flight().await,
            Question::NeedsExchange => self.ask_store_for_exchange().await,
            Question::Exchange => Box::pin(self.exchange()).await,
            Question::Link => self.validate().await,
            Question::Place => self.wait_for_turn().await,
            Question::Visitor => self.identify().await,
        }
    }

    /// Notes that the token is not honoured, and lets go of all that was held for a login: what follows may take its
    /// time.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.refuse_for(refusal, ExchangeSubject::default());
    }

    /// The same of a token without a link, of which as much is known as `subject` says.
    fn refuse_for(&mut self, refusal: Refusal, subject: ExchangeSubject) {
        let login = &self.proxy.shared.login;
        let unrecorded = AuditGuard::new(login, &refusal, subject, self.request.client());
        let mut wait = None;
        let mut is_within_grace = false;
        match &refusal {
            Refusal::Link { reason: RefusalReason::Unknown, .. } => {
                login.redeemer.count_unknown(self.request.origin.client);
                wait = login.redeemer.must_wait(self.request.origin.client);
            }
            Refusal::Link { link: Some(link), .. } => is_within_grace = login.redeemer.is_within_grace(link),
            Refusal::Next { error, .. } => tracing::debug!(%error, "login: next refused"),
            Refusal::Link { link: None, .. } | Refusal::Store(_) | Refusal::Exchange(_) => {}
        }
        self.held = Held { unrecorded: Some(unrecorded), ..Held::default() };
        self.facts.visitor = None;
        self.facts.link = Some(LinkFact::Refused { refusal, is_within_grace, wait });
    }

    async fn enter_flight(&mut self) {
        let Some(token) = &self.request.token else { return };
        let flights = &self.proxy.shared.flights;
        let entered = flights.enter(token.digest(), || self.request.fingerprint(), self.wait_until).await;
        self.facts.flight = Some(match entered {
            Entered::First(flight) => {
                self.held.flight = Some(flight);
                FlightFact::First
            }
            Entered::Joined(response) => {
                self.held.joined = Some(response);
                FlightFact::Joined
            }
            Entered::TooLate => FlightFact::TooLate,
        });
    }

    async fn ask_store_for_exchange(&mut self) {
        let Some(token) = &self.request.token else { return };
        let login = &self.proxy.shared.login;
        match login.redeemer.must_exchange(token).await {
            Ok(true) => {
                let next_rule = &login.rules().next;
                let policy = login.policy();
                let app = policy.applications.exchanging_for(token.expose());
                let is_foreign = match app {
                    Some(app) => {
                        self.click.judge_origin(&self.proxy.shared.token_rules, &self.request.headers, app)
                    }
                    None => !self.click.is_from_app,
                };
                self.facts.request.is_framed_by_other = self.click.is_framed_by_other;
                self.facts.exchange = Some(ExchangeFact::Needed {
                    wait: login.redeemer.must_wait_to_exchange(token, self.request.origin.client),
                    has_allowed_next: self.own_next.as_ref().is_none_or(|next| next_rule.check(next).is_ok()),
                    asks: is_foreign && app.is_some_and(|app| app.scanner_safe),
                    is_foreign,
                });
            }
            Ok(false) => self.facts.exchange = Some(ExchangeFact::NotNeeded),
            Err(error) => self.refuse(error.into()),
        }
    }

    async fn exchange(&mut self) {
        let (Some(token), Some(flight)) = (&self.request.token, self.held.flight.take()) else { return };
        // The connection would only be idle while an app is asked. Who the browser is, is asked again afterwards.
        if let Some(connection) = self.held.connection.take() {
            connection.release();
        }
        self.facts.visitor = None;
        match external_token::exchange(&self.proxy, &self.request, token, flight).await {
            Ok(flight) => {
                self.held.flight = Some(flight);
                self.facts.exchange = Some(ExchangeFact::Done);
            }
            Err(failed) => self.refuse_for(failed.refusal, failed.subject),
        }
    }

    async fn validate(&mut self) {
        let login = &self.proxy.shared.login;
        let asked = RedeemRequest {
            next: self.own_next.as_deref(),
            states: &self.states,
            clicked_at: self.ticket.map(|click| click.at),
            by_app: false,
        };
        let validated = match &self.request.token {
            Some(token) => login.redeemer.validate(token, asked).await,
            None => Err(Refusal::unknown()),
        };
        match validated {
            Ok(token) => {
                let app = login.policy().applications.by_name(token.app());
                let is_foreign = app.as_ref().is_some_and(|app| {
                    self.click.judge_origin(&self.proxy.shared.token_rules, &self.request.headers, app)
                });
                self.facts.request.is_framed_by_other = self.click.is_framed_by_other;
                let is_safe = app.is_some_and(|app| app.scanner_safe);
                // Put together before anything is consumed: what cannot be sent must cost nobody a link.
                let target = destination::at_hub(&self.proxy, &self.request, &token);
                let target = target.and_then(|target| self.fits_hub(&token, &target).map(|()| target));
                self.facts.link = Some(LinkFact::Valid {
                    username: token.username().as_str().to_owned(),
                    asks: token.needs_confirmation() || (is_foreign && is_safe),
                    is_foreign,
                    is_bound: token.is_bound(),
                    rejection: target.as_ref().err().copied(),
                });
                self.held.target = target.ok();
                self.held.token = Some(token);
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// Whether the hub takes the head that a login with `token` would have: judged by what it may have at most, because
    /// nobody knows yet whether somebody else is logged in.
    fn fits_hub(&self, token: &ValidatedToken, target: &Uri) -> Result<(), Rejection> {
        let (shared, clock) = (&self.proxy.shared, self.proxy.shared.login.clock());
        let headers = self.request.headers.iter().filter(|(name, _)| *name != ORIGIN);
        let head = destination::head_bytes(target, headers);
        let session = token.session_id(clock).map_or(0, |id| cookies::session_id_bytes(&id));
        let head = head + session + shared.identity.bytes(token.statement(), clock.now());
        if head <= shared.rules.hub_head_bytes {
            return Ok(());
        }
        tracing::warn!(
            bytes = head,
            "login: its head would be larger than hub.head_bytes; the link stays as it is"
        );
        Err(Rejection::TooManyCookies)
    }

    /// Waits for the browser's turn: a moment only, if it can be shown a page meanwhile.
    async fn wait_for_turn(&mut self) {
        // Something is kept only for a browser that was in line before.
        let token = self.request.token.as_ref().filter(|_| self.ticket.is_some()).map(LoginToken::digest);
        self.held.probe = token.and_then(|token| self.proxy.shared.parked.take(token, &self.browser()));
        self.facts.place = if self.held.probe.is_some() || self.take_permit().await {
            Some(PlaceFact::Admitted)
        } else {
            Some(PlaceFact::Waiting)
        };
    }

    /// Takes the browser's turn, if it comes within its patience.
    async fn take_permit(&mut self) -> bool {
        let (Some(group), Some(token)) = (self.group(), &self.request.token) else { return false };
        let clicked = self.click.at.as_millisecond();
        let mut waiter = self.proxy.shared.admission.join(group, clicked, token.digest());
        self.held.permit = match waiter.admitted_at_once() {
            Some(permit) => Some(permit),
            None => tokio::time::timeout(self.patience(), waiter.admitted()).await.ok(),
        };
        if self.held.permit.is_none() {
            self.outlook = waiter.outlook();
        }
        self.held.permit.is_some()
    }

    /// How long the browser waits before it is shown a page. A program sees none.
    fn patience(&self) -> Duration {
        match self.ticket {
            _ if self.request.accept.prefers_json() => self.proxy.shared.rules.login_hub_timeout,
            None => PATIENCE,
            Some(_) => PATIENCE_IN_LINE,
        }
    }

    /// With whom it takes turns; none: it has no valid token.
    pub fn group(&self) -> Option<Group> {
        let token = self.held.token.as_ref()?;
        Some(Group::new(self.request.origin.client, token.app()))
    }

    /// Tells this browser with this token from all others: nobody else may get what the hub has said of it.
    pub fn browser(&self) -> RequestFingerprint {
        let cookies = self.request.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
        RequestFingerprint::of(&(
            self.request.token.as_ref().map(|token| *token.digest().as_bytes()),
            cookies.collect::<Vec<_>>(),
            self.request.origin.client,
        ))
    }

    /// Asks the hub who the browser is. If that takes long, the browser is shown the page of the line meanwhile, and the
    /// question goes on: to ask again each time would never come to an end before a slow hub.
    async fn identify(&mut self) {
        let identified = match (self.held.permit.take(), self.held.probe.take()) {
            // There is no permit yet: the link was used before, or the token must be exchanged first.
            (None, None) => {
                let question = hub_session::question(&self.request.headers);
                let identified = hub_session::identify(&self.proxy, self.request.origin.client, question);
                Box::pin(identified).await
            }
            (Some(permit), probe) => {
                // Nobody holds a turn at the hub while their own client has no connection left: others would wait for it.
                let client = self.request.origin.client;
                let Some(share) = self.proxy.shared.hub_share_at_once(client, Purpose::Login) else {
                    drop(permit);
                    return self.wait_for_share().await;
                };
                if probe.is_none()
                    && let Some(mut connection) = self.connect_unasked(&permit).await
                {
                    connection.share = Some(share);
                    (self.held.connection, self.held.permit) = (Some(connection), Some(permit));
                    self.facts.visitor = Some(VisitorFact::Nobody);
                    return;
                }
                let (proxy, question) = (self.proxy.clone(), hub_session::question(&self.request.headers));
                let mut asking =
                    Box::pin(async move { hub_session::identify_with(&proxy, share, question).await });
                let Ok(identified) = tokio::time::timeout(self.patience(), &mut asking).await else {
                    let probe = self.go_on_asking(permit, asking);
                    return self.park(probe);
                };
                learn(&permit, &identified);
                self.held.permit = Some(permit);
                identified
            }
            (None, Some(mut probe)) => {
                match tokio::time::timeout(self.patience(), &mut probe.outcome).await {
                    // Its permit was given back when the hub had answered.
                    Ok(Ok(Ok(identified))) if !Box::pin(self.take_permit()).await => {
                        self.keep(Probe::answered(Ok(identified), probe.answered));
                        self.facts.place = Some(PlaceFact::Waiting);
                        return;
                    }
                    Ok(Ok(identified)) => on_new_connection(&self.proxy, identified).await,
                    Ok(Err(_)) => Err(HubTrouble::Down),
                    Err(_) => return self.park(probe),
                }
            }
        };
        if matches!(identified, Err(HubTrouble::NoRoom)) && self.held.permit.take().is_some() {
            return self.wait_for_room().await;
        }
        if identified.is_err() {
            self.outlook.is_hub_down = true;
        }
        self.facts.visitor = Some(match identified {
            Err(HubTrouble::Down) => VisitorFact::HubDown,
            Err(trouble) => VisitorFact::Unidentified(trouble),
            Ok((connection, name)) => {
                self.held.connection = Some(connection);
                name.map_or(VisitorFact::Nobody, VisitorFact::User)
            }
        });
    }

    /// A connection for the login of a browser that has no cookie of the hub and so is nobody there, if the hub has just shown
    /// that it answers. In a burst these are nearly all, and the hub's time is what everybody waits for.
    async fn connect_unasked(&mut self, permit: &LoginPermit) -> Option<HubConnection> {
        if !permit.is_hub_answering() || cookies::has_of_hub(&self.request.headers) {
            return None;
        }
        let connection = Box::pin(hub_session::connect(&self.proxy)).await?;
        // Connecting may have taken long.
        permit.is_hub_answering().then_some(connection)
    }

    fn go_on_asking(
        &self,
        permit: LoginPermit,
        asking: Pin<Box<dyn Future<Output = Identified> + Send>>,
    ) -> Probe {
        let (done, outcome) = oneshot::channel();
        let answered = Arc::<OnceLock<Instant>>::default();
        let probe = Probe { outcome, answered: Arc::clone(&answered) };
        let token = self.request.token.as_ref().map(LoginToken::digest);
        let proxy = self.proxy.clone();
        self.proxy.shared.shutdown.spawn(async move {
            let identified = asking.await;
            learn(&permit, &identified);
            let is_known = identified.is_ok();
            // Before the answer itself: whoever has that knows how old it is.
            let _first = answered.set(Instant::now());
            let _unread = done.send(identified);
            match token {
                Some(token) if is_known => permit.call(token),
                _ => drop(permit),
            }
            // The browser may never come back.
            let later = tokio::time::sleep(parked::KEPT_FOR + Duration::from_millis(1));
            tokio::select! {
                () = later => proxy.shared.parked.prune(),
                () = proxy.shared.shutdown.draining() => {}
            }
        });
        probe
    }

    /// Keeps the question for the next request of this browser.
    fn keep(&self, probe: Probe) {
        if let Some(token) = &self.request.token {
            self.proxy.shared.parked.put(token.digest(), self.browser(), probe);
        }
    }

    fn park(&mut self, probe: Probe) {
        self.keep(probe);
        self.outlook = Outlook { number: 1, wait: None, is_hub_down: true };
        self.facts.place = Some(PlaceFact::Waiting);
    }

    /// Whether a reload has replaced what this login, by a token of `app`, was judged by or is to be sent with, where nobody
    /// judges it again when the token is consumed.
    pub fn is_outdated(&self, app: &str) -> bool {
        let shared = &self.proxy.shared;
        let (before, now) = (&shared.token_rules, shared.login.rules());
        if Arc::ptr_eq(before, &now) {
            return false;
        }
        // If the app is gone, its token cannot be consumed anyway.
        let app = shared.login.policy().applications.by_name(app);
        before.confirm != now.confirm
            || before.proof != now.proof
            || app.is_some_and(|app| self.click.origins != Some(OriginsDigest::of(&now, &app)))
    }

    /// The browser asks again in a moment, and is judged by the configuration of then; its place and its link are kept.
    pub fn send_back_in_line(&mut self, token: ValidatedToken) {
        self.held.token = Some(token);
        self.wait_in_line();
    }

    /// Waits until its client has a connection left, and then for its turn again; if there is none in time, it is shown the page
    /// of the line.
    async fn wait_for_share(&mut self) {
        let waited = self.proxy.shared.hub_share(self.request.origin.client, Purpose::Login);
        if Box::pin(waited).await.is_ok() {
            self.facts.place = None;
        } else {
            self.wait_for_room().await;
        }
    }

    /// There is no connection for it. That may have been found at once, and the events of the page of the line would call the
    /// browser as fast, again and again.
    async fn wait_for_room(&mut self) {
        tokio::time::sleep(PATIENCE_IN_LINE).await;
        self.wait_in_line();
    }

    /// The browser is shown the page of the line, although it is the next one.
    fn wait_in_line(&mut self) {
        self.outlook = Outlook { number: 1, wait: None, is_hub_down: false };
        self.facts.place = Some(PlaceFact::Waiting);
    }

    /// Keeps the link for the browser that waits; false: it has ended meanwhile, and is to be judged again.
    pub async fn keep_link(&mut self) -> bool {
        let Some(token) = &self.held.token else { return false };
        match self.proxy.shared.login.redeemer.reserve(token).await {
            Ok(true) => return true,
            Ok(false) => {
                self.held = Held { flight: self.held.flight.take(), ..Held::default() };
                self.facts.link = None;
                self.facts.place = None;
                self.facts.visitor = None;
            }
            Err(error) => self.refuse(error.into()),
        }
        false
    }
}

/// What `request` says by itself.
fn request_facts(proxy: &Proxy, request: &LoginRequest) -> RequestFacts {
    let headers = &request.headers;
    RequestFacts {
        is_prefetch: browser_checks::is_prefetch(headers),
        is_navigation: browser_checks::is_navigation(proxy, headers),
        has_upgrade: request.has_upgrade,
        has_token: request.token.is_some(),
        is_confirmed: request.confirmed,
        is_unvouched: browser_checks::is_unvouched(proxy, headers),
        is_untested_frame: browser_checks::is_untested_frame(proxy, headers)
            && !request.accept.prefers_json(),
        ..RequestFacts::default()
    }
}

/// What the hub's answer, or that there is none, says of the hub.
fn learn(permit: &LoginPermit, identified: &Identified) {
    match identified {
        // The hub has nothing to do with it.
        Err(HubTrouble::NoRoom) => {}
        Err(trouble) if trouble.may_pass() => permit.failed(),
        Ok(_) | Err(_) => permit.answered(),
    }
}

/// The same over a new connection: the one over which the hub was asked may have been idle for so long that the hub's side
/// closes it just when the login is sent, and the link would be used up in vain.
async fn on_new_connection(proxy: &Proxy, identified: Identified) -> Identified {
    let (asked, name) = identified?;
    let connection = hub_session::reconnected(proxy, asked).await.map_err(|error| {
        if matches!(error, UpstreamError::Busy) { HubTrouble::NoRoom } else { HubTrouble::Down }
    })?;
    Ok((connection, name))
}
