//! One login request while it is judged: finds out what `decide` asks for, and holds what the login will need.

use hyper::{Response, Uri};
use tokio::time::Instant;

use super::browser_checks::{self, is_foreign};
use super::decide::{
    ExchangeFact, Facts, LinkFact, LoginRules, Question, RequestFacts, TurnFact, VisitorFact,
};
use super::parse::LoginRequest;
use super::refuse::AuditGuard;
use super::single_flight::{DOUBLE_CLICK, Entered, FlightGuard};
use super::{destination, external_token};
use crate::login::next::form_decode;
use crate::login::{RedeemRequest, Refusal, RefusalReason, ValidatedToken};
use crate::proxy::context::Proxy;
use crate::proxy::hub_session;
use crate::proxy::upstream::{HubConnection, ResponseBody};

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
    /// Until when it waits for another login with the same token.
    wait_until: Instant,
}

/// What an attempt holds.
#[derive(Default)]
pub struct Held {
    /// The token, against other requests of this process.
    pub turn: Option<FlightGuard>,
    /// The response that an earlier request of the same browser has left.
    pub joined: Option<Response<ResponseBody>>,
    /// The token, looked up and judged.
    pub token: Option<ValidatedToken>,
    /// What the hub will be asked for.
    pub target: Option<Uri>,
    /// The connection that will carry the login.
    pub connection: Option<HubConnection>,
    /// A refusal that is not in the audit yet.
    pub unrecorded: Option<AuditGuard>,
}

impl Attempt {
    /// Nothing is known but what the request says.
    pub fn new(proxy: &Proxy, request: LoginRequest) -> Self {
        let own_next = request.next.as_deref().map(form_decode);
        let headers = &request.headers;
        let rules = proxy.shared.login.rules();
        let facts = Facts {
            request: RequestFacts {
                is_prefetch: browser_checks::is_prefetch(headers),
                is_navigation: browser_checks::is_navigation(proxy, headers),
                has_upgrade: request.has_upgrade,
                has_readable_next: !matches!(own_next, Some(None)),
                has_token: request.token.is_some(),
                is_confirmed: request.confirmed,
                is_unvouched: browser_checks::is_unvouched(proxy, headers),
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
            wait_until: Instant::now() + DOUBLE_CLICK,
        }
    }

    /// Finds out what `question` asks for. Boxed where it is rare: it must not make the state of every login larger.
    pub async fn find_out(&mut self, question: Question) {
        match question {
            Question::Turn => self.take_turn().await,
            Question::NeedsExchange => self.ask_store_for_exchange().await,
            Question::Exchange => Box::pin(self.exchange()).await,
            Question::Link => self.validate().await,
            Question::Visitor => self.identify().await,
        }
    }

    /// The token is not honoured, whoever found that out. There is nothing to hold any more, and what follows may wait.
    pub fn refuse(&mut self, refusal: Refusal) {
        let login = &self.proxy.shared.login;
        let unrecorded = AuditGuard::new(login, &refusal, self.request.client());
        let mut wait = None;
        let mut is_within_grace = false;
        match &refusal {
            Refusal::Link { reason: RefusalReason::Unknown, .. } => {
                login.redeemer.count_unknown(self.request.origin.client);
                wait = login.redeemer.must_wait(self.request.origin.client);
            }
            Refusal::Link { link: Some(link), .. } => is_within_grace = login.redeemer.is_within_grace(link),
            Refusal::Next { error, .. } => tracing::debug!(%error, "login: next refused"),
            Refusal::Link { link: None, .. } | Refusal::Store(_) => {}
        }
        self.held = Held { unrecorded: Some(unrecorded), ..Held::default() };
        self.facts.visitor = None;
        self.facts.link = Some(LinkFact::Refused { refusal, is_within_grace, wait });
    }

    async fn take_turn(&mut self) {
        let Some(token) = &self.request.token else { return };
        let flights = &self.proxy.shared.flights;
        let entered = flights.enter(token.digest(), || self.request.fingerprint(), self.wait_until).await;
        self.facts.turn = Some(match entered {
            Entered::First(turn) => {
                self.held.turn = Some(turn);
                TurnFact::First
            }
            Entered::Joined(response) => {
                self.held.joined = Some(response);
                TurnFact::Joined
            }
            Entered::TooLate => TurnFact::TooLate,
        });
    }

    async fn ask_store_for_exchange(&mut self) {
        let Some(token) = &self.request.token else { return };
        let login = &self.proxy.shared.login;
        match login.redeemer.must_exchange(token).await {
            Ok(true) => {
                let next_rule = &login.rules().next;
                let headers = &self.request.headers;
                self.facts.exchange = Some(ExchangeFact::Needed {
                    wait: login.redeemer.must_wait_to_exchange(token, self.request.origin.client),
                    has_allowed_next: self.own_next.as_ref().is_none_or(|next| next_rule.check(next).is_ok()),
                    is_foreign: login
                        .policy()
                        .applications
                        .exchanging_for(token.expose())
                        .is_none_or(|app| is_foreign(headers, &app.origins)),
                });
            }
            Ok(false) => self.facts.exchange = Some(ExchangeFact::NotNeeded),
            Err(error) => self.refuse(error.into()),
        }
    }

    async fn exchange(&mut self) {
        let (Some(token), Some(turn)) = (&self.request.token, self.held.turn.take()) else { return };
        // The connection would only be idle while an app is asked. Who the browser is, is asked again afterwards.
        if let Some(connection) = self.held.connection.take() {
            connection.release();
        }
        self.facts.visitor = None;
        match external_token::exchange(&self.proxy, &self.request, token, turn).await {
            Ok(turn) => {
                self.held.turn = Some(turn);
                self.facts.exchange = Some(ExchangeFact::Done);
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    async fn validate(&mut self) {
        let login = &self.proxy.shared.login;
        let asked =
            RedeemRequest { next: self.own_next.as_deref(), states: &self.request.states, by_app: false };
        let validated = match &self.request.token {
            Some(token) => login.redeemer.validate(token, asked).await,
            None => Err(Refusal::unknown()),
        };
        match validated {
            Ok(token) => {
                let app = login.policy().applications.by_name(token.app());
                let origins = app.as_ref().map_or(&[][..], |app| &app.origins);
                // Put together before anything is consumed: what cannot be sent must cost nobody a link.
                let target = destination::at_hub(&self.proxy, &self.request, &token);
                self.facts.link = Some(LinkFact::Valid {
                    username: token.username().as_str().to_owned(),
                    asks: token.needs_confirmation(),
                    is_foreign: is_foreign(&self.request.headers, origins),
                    rejection: target.as_ref().err().copied(),
                });
                self.held.target = target.ok();
                self.held.token = Some(token);
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    async fn identify(&mut self) {
        let identified =
            Box::pin(hub_session::identify(&self.proxy, self.request.origin.client, &self.request.headers))
                .await;
        self.facts.visitor = Some(match identified {
            None => VisitorFact::HubDown,
            Some((connection, name)) => {
                self.held.connection = Some(connection);
                name.map_or(VisitorFact::Nobody, VisitorFact::User)
            }
        });
    }
}
