//! Carries a decision out: the one place that consumes a token, sends its login, and answers a login request.

use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION, REFERRER_POLICY, USER_AGENT};
use hyper::{HeaderMap, Request, Response, StatusCode, Uri};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::admission::{LoginAnswer, LoginPermit};
use super::attempt::{Attempt, Held};
use super::confirm::{self, Names};
use super::decide::{Decision, Plan};
use super::hub_oauth::BeginError;
use super::parse::{ForeignForm, LoginRequest};
use super::{destination, hub_oauth, refuse};
use crate::audit::{AuditReason, Client};
use crate::body::RequestBody;
use crate::login::hub_oauth::HubOAuthError;
use crate::login::login_token::LoginToken;
use crate::login::next::Next;
use crate::login::{LoginWatch, Redeemer, Refusal, SessionEnder, Subject, ValidatedToken, VerifiedUser};
use crate::pages::Page;
use crate::proxy::context::Proxy;
use crate::proxy::error::{ProxyError, ProxyResponse, Side};
use crate::proxy::hub_session::{
    Checkout, HubSession, HubTrouble, hub_connection, login_headers, reconnected,
};
use crate::proxy::identity::SentIdentity;
use crate::proxy::respond::{self, Continuation};
use crate::proxy::upstream::{HubConnection, ResponseBody, SendError, UpstreamError};
use crate::proxy::validate::Rejection;
use crate::proxy::{api_only, cookies, sessions};
use crate::token::{LinkId, State};

/// How long the second request of a double click may be on its way when the login of the first has ended.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

/// Redirects another site's form to the login path, where its token waits in a cookie.
pub fn continue_by_get(proxy: &Proxy, form: &ForeignForm) -> ProxyResponse {
    let mut response = respond::see_other(&form.target)?;
    // The GET names the origin of the form's page and no more: a click from an app's own origin needs no question.
    response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("strict-origin"));
    respond::set_continuation(proxy, &mut response, Continuation::AtOnce, form.token.expose())?;
    Ok(response)
}

/// Makes the browser forget cookies, so that it can go on with its link.
pub fn forget_cookies(
    proxy: &Proxy,
    names: &[String],
    token: Option<&LoginToken>,
    target: &str,
) -> ProxyResponse {
    let mut response = respond::see_other(target)?;
    respond::forget_any(proxy, &mut response, names);
    if let Some(token) = token {
        respond::set_continuation(proxy, &mut response, Continuation::AtOnce, token.expose())?;
    }
    Ok(response)
}

/// Carries out any decision but a login.
pub fn respond(
    proxy: &Proxy,
    request: &LoginRequest,
    own_next: Option<&str>,
    decision: &Decision<'_>,
    held: Held,
) -> ProxyResponse {
    let format = request.accept.format();
    let Held { joined, token, connection, unrecorded, .. } = held;
    if let Some(connection) = connection {
        connection.release();
    }
    let link = token.as_ref().map(ValidatedToken::link);
    let response = match decision {
        Decision::Prefetch => Ok(respond::bare(StatusCode::SERVICE_UNAVAILABLE)),
        // As if the hub itself had said it: with the button that deletes them.
        Decision::Reject(Rejection::TooManyCookies) => {
            Ok(refuse::unidentified(proxy, request, HubTrouble::TooManyCookies, link, own_next))
        }
        Decision::Reject(rejection) => Err((*rejection).into()),
        Decision::Refuse(refusal) => {
            if unrecorded.is_none() {
                proxy.shared.login.recorder.refused(refusal, request.client());
            }
            Ok(refuse::page(proxy, request, refusal))
        }
        Decision::TooManyTries(wait) => {
            // `too_many_tries` records it.
            if let Some(unrecorded) = unrecorded {
                unrecorded.forget();
            }
            Ok(refuse::too_many_tries(proxy, request, *wait))
        }
        Decision::AlreadyDone(link) => {
            if let Some(unrecorded) = unrecorded {
                unrecorded.forget();
            }
            let target = destination::of_used(proxy, link, own_next);
            target.map_err(ProxyError::from).and_then(|target| respond::see_other(&target))
        }
        // There is one whenever this is decided.
        Decision::Join => joined.ok_or_else(|| UpstreamError::Timeout.into()),
        Decision::Confirm { username, current } => match &request.token {
            Some(shown) => {
                let next = match &token {
                    Some(token) => token.next().map(Next::as_str),
                    None => own_next,
                };
                let names = Names { username: *username, current: *current };
                Ok(confirm::page(proxy, request, shown, names, next, link.map(|link| &*link.grant.app)))
            }
            None => Ok(respond::page(proxy, &Page::NoToken, format)),
        },
        Decision::Unidentified(trouble) => {
            let next = token.as_ref().map_or(own_next, |token| token.next().map(Next::as_str));
            Ok(refuse::unidentified(proxy, request, *trouble, link, next))
        }
        // `log_in` (mod.rs) carries out the last three itself.
        Decision::HubDown | Decision::Queue | Decision::TestFrame | Decision::Login(_) => {
            Ok(refuse::hub_down(proxy, request, link))
        }
    };
    let served = Served { link: decision.is_final(), states: [None; 2] };
    finish(proxy, request, response, served)
}

/// Which cookies of ours are not needed any more.
#[derive(Debug, Clone, Copy)]
struct Served {
    /// Those of the one link: its continuation, and the time of its click.
    link: bool,
    /// The secrets of this login: the one to which its link is bound, and the one of its time in line.
    states: [Option<State>; 2],
}

/// The response to a login request, with the cookies cleared that are not needed any more: the one place that does so.
fn finish(proxy: &Proxy, request: &LoginRequest, response: ProxyResponse, served: Served) -> ProxyResponse {
    let clears_continuation = served.link && request.has_continuation_cookie;
    let click = request.token.as_ref().filter(|_| served.link && request.click_ticket.is_some());
    if !clears_continuation && click.is_none() && served.states == [None; 2] {
        return response;
    }
    let mut response = response.unwrap_or_else(|error| {
        proxy.error_response(&error, &proxy.shared.rules.login_path, request.accept.format())
    });
    for state in served.states.into_iter().flatten() {
        respond::clear_secret(proxy, &mut response, state)?;
    }
    if let Some(token) = click {
        respond::set_click(proxy, &mut response, token.digest(), None)?;
    }
    if clears_continuation {
        respond::clear_continuation(proxy, &mut response);
    }
    Ok(response)
}

/// Consumes the token and logs the browser in; the attempt comes back if the token could not be consumed, or if a reload
/// came in between that concerns it.
///
/// Runs as a task of its own: a browser that goes away in the middle must not leave a login half done.
pub async fn log_in(mut attempt: Box<Attempt>, plan: Plan) -> Result<ProxyResponse, Box<Attempt>> {
    let login = match Login::of(&mut attempt, plan).await {
        Ok(login) => login,
        Err(decision) => {
            let Attempt { proxy, request, own_next, held, .. } = *attempt;
            return Ok(respond(&proxy, &request, own_next.as_deref(), &decision, held));
        }
    };
    if attempt.is_outdated(login.token.app()) {
        login.connection.release();
        attempt.send_back_in_line(login.token);
        return Err(attempt);
    }
    let (done, ended) = oneshot::channel();
    let shutdown = attempt.proxy.shared.shutdown.clone();
    // Boxed: a task is moved several times before it runs, and this one is large.
    shutdown.spawn(Box::pin(consume(attempt, Box::new(login), done)));
    ended.await.unwrap_or_else(|_| Ok(Err(UpstreamError::Timeout.into())))
}

/// What a login needs, once nothing stands against it any more.
struct Login {
    plan: Plan,
    token: ValidatedToken,
    target: Uri,
    connection: HubConnection,
    permit: Option<LoginPermit>,
    /// The hub's own OAuth login, where the hub learns of its user by that.
    oauth: Option<hub_oauth::Begun>,
}

impl Login {
    /// Takes it out of `attempt`. A connection that takes the login is the last thing that can fail before the token is
    /// consumed; what becomes of the request then.
    async fn of(attempt: &mut Attempt, plan: Plan) -> Result<Self, Decision<'static>> {
        let connection = attempt.held.connection.take().ok_or(Decision::HubDown)?;
        let mut connection = ready_or_new(&attempt.proxy, connection).await.ok_or(Decision::HubDown)?;
        let target = attempt.held.target.take().ok_or(Decision::HubDown)?;
        let (proxy, headers) = (&attempt.proxy, &attempt.request.headers);
        let oauth = hub_oauth::begin(proxy, headers, plan, &target, &mut connection).await;
        let oauth = oauth.map_err(|error| match error {
            BeginError::TooLarge(_) => {
                tracing::warn!(%error, "login: the hub's OAuth login would not take the browser's cookies");
                Decision::Reject(Rejection::TooManyCookies)
            }
            BeginError::Upstream(_)
            | BeginError::Status(_)
            | BeginError::Authorize(_)
            | BeginError::Body(_)
            | BeginError::Assembly(_) => {
                tracing::error!(%error, "login: the hub does not begin its OAuth login");
                Decision::HubDown
            }
        })?;
        if oauth.is_some() {
            // The response to the first leg may have ended it, and the link is not used up yet.
            connection = ready_or_new(&attempt.proxy, connection).await.ok_or(Decision::HubDown)?;
        }
        let permit = attempt.held.permit.take();
        let token = attempt.held.token.take().ok_or(Decision::HubDown)?;
        Ok(Self { plan, token, target, connection, permit, oauth })
    }
}

/// The connection if it takes another request, or else a new one; none: the hub cannot be reached.
async fn ready_or_new(proxy: &Proxy, mut connection: HubConnection) -> Option<HubConnection> {
    if connection.ready().await.is_ok() {
        return Some(connection);
    }
    // In a box of its own, since it is seldom needed: it would make the future of each login large to move.
    let connection = Box::pin(reconnected(proxy, connection)).await;
    connection.inspect_err(|error| tracing::warn!(%error, "login: no connection to the hub")).ok()
}

/// The task of [`log_in`], to whose request `done` tells what that returns. What the browser gets for a token that somebody
/// else has consumed is for the request to decide; if there is none any more, the refusal is recorded all the same.
async fn consume(
    mut attempt: Box<Attempt>,
    login: Box<Login>,
    done: oneshot::Sender<Result<ProxyResponse, Box<Attempt>>>,
) {
    let Login { plan, token, target, connection, oauth, permit } = *login;
    let service = attempt.proxy.shared.login.clone();
    let bound_to = token.link().grant.state;
    let consumed = consumed(&service.redeemer, token, attempt.request.client()).await;
    let (user, watch) = match consumed {
        Ok(consumed) => consumed,
        Err(refusal) => {
            connection.release();
            attempt.refuse(refusal);
            let _unread = done.send(Err(attempt));
            return;
        }
    };
    let Attempt { proxy, request, line_state, .. } = &mut *attempt;
    // The login takes the headers; few need a fingerprint, and it costs as much as a page. An operator who wants no replay
    // wants none of this response either.
    let in_common = (!service.rules().replay_grace.is_zero()).then(|| request.keep_in_common());
    let user_agent = request.headers.get(USER_AGENT).cloned();
    let named = NamedLogin::of(&user);
    let sent = Instant::now();
    let order = LoginOrder { user, username: &named.username, watch: watch.as_ref(), target, oauth };
    let outcome = send(proxy, request, order, plan, connection).await.unwrap_or_else(LoginOutcome::Error);
    let took = outcome.is_of_hub().then(|| sent.elapsed());
    let outcome = unless_ended(&service.session_ender, watch.as_ref(), outcome).await;
    if let Some(reason) = outcome.failure() {
        service.recorder.login_failed(named.subject(), request.client(), reason);
    }
    if outcome.leads_on() {
        proxy.shared.recent_logins.add(request.origin.client, user_agent.as_ref(), &named.username);
    }
    // Whoever is next may have the hub now; the browser may take its time with the response.
    if let Some(permit) = permit {
        match took {
            Some(took) => permit.logged_in(took, outcome.answer(plan)),
            None if outcome.is_hubs_failure() => permit.failed(),
            None => drop(permit),
        }
    }
    // A login that failed may be tried again with another link for the same state.
    let in_line = line_state.filter(|state| Some(*state) != bound_to);
    let states = if outcome.is_of_hub() { [bound_to, in_line] } else { [None; 2] };
    let served = Served { link: Decision::Login(plan).is_final(), states };
    let response = finish(proxy, request, outcome.into_response(proxy, request, &named.app), served);
    // It comes back if the browser has gone away meanwhile.
    if let Err(Ok(Ok(response))) = done.send(Ok(response))
        && let Some(in_common) = in_common
    {
        attempt.request.headers = in_common.into_iter().collect();
        leave_for_second_click(attempt, response).await;
    }
}

/// Keeps a response that nobody has taken for the second request of a double click.
async fn leave_for_second_click(attempt: Box<Attempt>, response: Response<ResponseBody>) {
    let Some(flight) = &attempt.held.flight else { return };
    flight.stash(attempt.request.fingerprint(), response);
    // The first request was given up when the second was sent, so that one is here or on its way.
    tokio::select! {
        () = flight.stash_taken() => {}
        () = tokio::time::sleep(ON_ITS_WAY) => {}
        // No new request comes here.
        () = attempt.proxy.shared.shutdown.draining() => {}
    }
}

/// A login by the names in its records, once its user is spent.
struct NamedLogin {
    id: LinkId,
    app: String,
    username: String,
}

impl NamedLogin {
    fn of(user: &VerifiedUser) -> Self {
        let (app, username) = (user.app().to_owned(), user.username().as_str().to_owned());
        Self { id: user.link().clone(), app, username }
    }

    fn subject(&self) -> Subject<'_> {
        Subject { id: Some(self.id.as_str()), app: Some(&self.app), username: Some(&self.username) }
    }
}

/// Consumes `token`; and what is compared when the hub has answered its login, as it was before.
async fn consumed(
    redeemer: &Redeemer,
    token: ValidatedToken,
    client: Client<'_>,
) -> Result<(VerifiedUser, Option<LoginWatch>), Refusal> {
    let watch = redeemer.watch(&token).await?;
    let user = redeemer.consume(token, client).await?;
    let watch = watch.map(|watch| watch.of_session(user.session_id()));
    Ok((user, watch))
}

/// What came of a login at the hub. The link is used up.
enum LoginOutcome {
    /// Its response; a redirect has let the user in.
    Hub { response: Response<ResponseBody>, is_redirect: bool },
    /// A page in place of the hub's response, and why.
    Page(Page<'static>, AuditReason),
    /// An error in place of the hub's response.
    Error(ProxyError),
}

impl LoginOutcome {
    /// Whether the browser gets what the hub has said.
    fn is_of_hub(&self) -> bool {
        matches!(self, Self::Hub { .. })
    }

    /// Whether the hub leads the browser on, as after a login.
    fn leads_on(&self) -> bool {
        matches!(self, Self::Hub { response, .. } if response.headers().contains_key(LOCATION))
    }

    /// What it says of the hub. A redirect alone may be that of a front which stands in for it; but whoever keeps their session
    /// gets no new cookie, and the hub has just said who they are.
    fn answer(&self, plan: Plan) -> LoginAnswer {
        match self {
            Self::Hub { response, is_redirect: true } if cookies::sets_hub_login(response.headers()) => {
                LoginAnswer::LetIn
            }
            Self::Hub { is_redirect: true, .. } if plan == Plan::KeepSession => LoginAnswer::LedOn,
            Self::Hub { .. } | Self::Page(..) | Self::Error(_) => LoginAnswer::Other,
        }
    }

    /// Whether the hub did not answer: what fails here, or in the store, says nothing of it.
    fn is_hubs_failure(&self) -> bool {
        match self {
            Self::Hub { .. } => false,
            Self::Page(_, reason) => *reason == AuditReason::HubUnavailable,
            Self::Error(error) => error.side() == Side::Upstream,
        }
    }

    /// Why nobody was let in.
    fn failure(&self) -> Option<AuditReason> {
        match self {
            Self::Hub { is_redirect: true, .. } => None,
            Self::Hub { .. } | Self::Error(ProxyError::UnaskedUpgrade { .. }) => {
                Some(AuditReason::HubRefused)
            }
            Self::Error(ProxyError::HubOAuth(HubOAuthError::Store(_))) => Some(AuditReason::StoreUnavailable),
            Self::Page(_, reason) => Some(*reason),
            Self::Error(_) => Some(AuditReason::HubUnavailable),
        }
    }

    /// What the browser gets for a link of `app`.
    fn into_response(self, proxy: &Proxy, request: &LoginRequest, app: &str) -> ProxyResponse {
        match self {
            Self::Hub { response, .. } => Ok(response),
            Self::Page(page, _) => Ok(respond::page_of(proxy, &page, request.accept.format(), Some(app))),
            Self::Error(error) => Err(error),
        }
    }
}

/// The outcome, unless the sessions of the user were ended while the login was under way: then nobody gets the cookies by
/// which the hub may have begun another, and they are worth nothing to anybody else. Whether they were must be known.
async fn unless_ended(
    ender: &SessionEnder,
    watch: Option<&LoginWatch>,
    outcome: LoginOutcome,
) -> LoginOutcome {
    match outcome {
        LoginOutcome::Hub { .. } => ended(ender, watch).await.unwrap_or(outcome),
        LoginOutcome::Page(..) | LoginOutcome::Error(_) => outcome,
    }
}

/// What becomes of a login whose user's sessions were ended while it was under way, or of which nobody knows; none: they were
/// not. Asked before a login is sent afresh and when the hub has answered: each of both may be the moment after the end.
async fn ended(ender: &SessionEnder, watch: Option<&LoginWatch>) -> Option<LoginOutcome> {
    match ender.has_ended_since(watch?).await {
        Ok(false) => None,
        Ok(true) => Some(LoginOutcome::Page(Page::SessionEnded, AuditReason::Revoked)),
        Err(error) => {
            tracing::error!(%error, "login: whether the user's sessions were ended meanwhile");
            Some(LoginOutcome::Page(Page::LoginFailed, AuditReason::StoreUnavailable))
        }
    }
}

/// A login that is sent.
struct LoginOrder<'a> {
    user: VerifiedUser,
    username: &'a str,
    watch: Option<&'a LoginWatch>,
    target: Uri,
    oauth: Option<hub_oauth::Begun>,
}

/// Ends another user's session if need be, and sends the login.
async fn send(
    proxy: &Proxy,
    request: &mut LoginRequest,
    LoginOrder { user, username, watch, target, oauth }: LoginOrder<'_>,
    plan: Plan,
    mut connection: HubConnection,
) -> Result<LoginOutcome, ProxyError> {
    let shared = &proxy.shared;
    if plan == Plan::EndOtherSession {
        connection = match Box::pin(end_other_session(proxy, request, &user, connection)).await {
            Ok(connection) => connection,
            Err(page) => return Ok(LoginOutcome::Page(page, AuditReason::HubUnavailable)),
        };
    }
    // What a fresh assertion would be sent with.
    let mut again = None;
    let login = match oauth {
        None => {
            let (login, identity) = hub_request(proxy, request, user, plan, target)?;
            if shared.identity.is_asserted() {
                again = Some((login.headers().clone(), login.uri().clone(), identity));
            }
            login
        }
        Some(begun) => hub_oauth::callback(begun, std::mem::take(&mut request.headers), user, plan).await?,
    };
    let mut sent = within(proxy, send_login(proxy, &mut connection, Box::new(login))).await;
    if let Ok(response) = &sent
        && response.status() == StatusCode::FORBIDDEN
        && let Some((mut headers, target, identity)) = again
        && ended(&shared.login.session_ender, watch).await.is_none()
        && shared.identity.renew(&mut headers, identity, shared.login.clock().now())?
    {
        tracing::warn!("login: the assertion expired in the hub's own queue, and is sent afresh, once");
        connection = Box::pin(reconnected(proxy, connection)).await?;
        sent = within(proxy, connection.send_once(get(target, headers))).await;
    }
    match sent {
        Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            Err(ProxyError::UnaskedUpgrade { server: Box::default() })
        }
        Ok(response) => Ok(of_hub(proxy, request, connection.release_with(response), username)),
        Err(error) => {
            tracing::error!(%error, "login: the hub did not answer, the link is used up");
            Ok(LoginOutcome::Page(Page::LoginFailed, AuditReason::HubUnavailable))
        }
    }
}

/// The hub's `response` to the login of `username`, as the browser gets it.
fn of_hub(
    proxy: &Proxy,
    request: &LoginRequest,
    mut response: Response<ResponseBody>,
    username: &str,
) -> LoginOutcome {
    let status = response.status();
    let is_redirect = status.is_redirection();
    if !is_redirect {
        tracing::warn!(
            status = status.as_u16(),
            %username,
            "login: the hub's response is no redirect, nobody is logged in: is its authenticator HublatchAuthenticator, \
             and does it allow the user? (hublatch doctor)"
        );
    }
    proxy.shared.finish(response.headers_mut());
    respond::forbid_caching(response.headers_mut());
    let response = api_only::of_login(proxy, response, &request.accept);
    LoginOutcome::Hub { response, is_redirect }
}

/// Sends the login, once. If the connection gives it back, not a byte of it was written: it was closed while the token
/// was consumed, so that the hub can know of no login, and the same one goes over a new connection. The new connection is
/// tried once.
async fn send_login(
    proxy: &Proxy,
    connection: &mut HubConnection,
    login: Box<Request<RequestBody>>,
) -> Result<Response<Incoming>, UpstreamError> {
    match connection.attempt(login).await {
        Ok(response) => Ok(response),
        Err(SendError::Failed(error)) => Err(error),
        // Boxed, because it is rare (as in `ready_or_new`).
        Err(SendError::Unsent(login)) => Box::pin(send_anew(proxy, connection, login)).await,
    }
}

async fn send_anew(
    proxy: &Proxy,
    connection: &mut HubConnection,
    login: Box<Request<RequestBody>>,
) -> Result<Response<Incoming>, UpstreamError> {
    let share = connection.share.take();
    *connection = hub_connection(proxy, Checkout::New).await?;
    connection.share = share;
    connection.send_once(*login).await
}

/// `sent`, for as long as the hub may take for a login. No async function, which would keep `sent` twice.
fn within<T>(
    proxy: &Proxy,
    sent: impl Future<Output = Result<T, UpstreamError>>,
) -> impl Future<Output = Result<T, UpstreamError>> {
    let timeout = tokio::time::timeout(proxy.shared.rules.login_hub_timeout, sent);
    timeout.map(|sent| sent.unwrap_or(Err(UpstreamError::Timeout)))
}

fn get(target: Uri, headers: HeaderMap) -> Request<RequestBody> {
    let mut request = Request::new(RequestBody::Empty);
    *request.uri_mut() = target;
    *request.headers_mut() = headers;
    request
}

/// Ends the session of whoever is logged in, at the hub and in every open tunnel.
async fn end_other_session(
    proxy: &Proxy,
    request: &LoginRequest,
    user: &VerifiedUser,
    connection: HubConnection,
) -> Result<HubConnection, Page<'static>> {
    let Some(mut connection) = ready_or_new(proxy, connection).await else { return Err(Page::LogoutFailed) };
    let shared = &proxy.shared;
    let session = HubSession::new(&shared.rules, &request.headers);
    if let Err(error) = session.log_out(&mut connection).await {
        tracing::error!(%error, "login: end the earlier user's session");
        return Err(Page::LogoutFailed);
    }
    for session in cookies::session_ids(&request.headers) {
        shared.tunnels.close_session(&session);
    }
    shared.login.recorder.switched(user, request.client());
    ready_or_new(proxy, connection).await.ok_or(Page::LoginFailed)
}

/// The login as the hub sees it.
fn hub_request(
    proxy: &Proxy,
    request: &mut LoginRequest,
    user: VerifiedUser,
    plan: Plan,
    target: Uri,
) -> Result<(Request<RequestBody>, SentIdentity), ProxyError> {
    let shared = &proxy.shared;
    let renews = || user.session_id().is_some_and(|id| sessions::is_renewed_by(shared, &request.headers, id));
    let keeps_session = plan == Plan::KeepSession && !renews();
    let mut headers = login_headers(std::mem::take(&mut request.headers), keeps_session);
    if let Some(id) = user.session_id().filter(|_| !keeps_session) {
        cookies::set_session_id(&mut headers, id);
    }
    let identity = shared.identity.set(&mut headers, user, shared.login.clock().now())?;
    Ok((get(target, headers), identity))
}
