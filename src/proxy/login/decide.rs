//! What becomes of a login request: from what is known of it to the next thing to find out, or to the decision.
//!
//! A pure function. It knows nothing of connections, and the order of its lines is the order in which a login is
//! judged: what costs nothing comes first, the hub is asked last, and nothing is consumed before the hub is known to be
//! alive and nobody has to be asked.

use std::time::Duration;

use crate::config::Confirm;
use crate::login::{Refusal, RefusalReason};
use crate::proxy::hub_session::HubTrouble;
use crate::proxy::validate::Rejection;
use crate::store::Link;

/// What is known of a login request. What is `None` has not been found out.
#[derive(Debug, Default)]
pub struct Facts {
    /// What its headers and parameters say.
    pub request: RequestFacts,
    /// The rules of the configuration.
    pub rules: LoginRules,
    /// Whether another login with the token is under way.
    pub flight: Option<FlightFact>,
    /// Whether an app has to say whose token it is.
    pub exchange: Option<ExchangeFact>,
    /// What its token is worth.
    pub link: Option<LinkFact>,
    /// Whether it is this browser's turn at the hub.
    pub place: Option<PlaceFact>,
    /// Whom the hub knows the browser as.
    pub visitor: Option<VisitorFact>,
}

/// What the request itself says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts, not states")]
pub struct RequestFacts {
    /// A browser or a scanner fetches ahead of a click that may never come.
    pub is_prefetch: bool,
    /// It navigates to a document.
    pub is_navigation: bool,
    /// It asks for another protocol.
    pub has_upgrade: bool,
    /// Its `next` can be decoded.
    pub has_readable_next: bool,
    /// Its token has a shape that a token here can have.
    pub has_token: bool,
    /// A person pressed the button of our confirm page.
    pub is_confirmed: bool,
    /// No browser vouches for a person's click.
    pub is_unvouched: bool,
    /// It is for a frame, and no page that may have one has asked for it.
    pub is_framed_by_other: bool,
    /// It is for a frame of another site, and nobody has tested whether the browser keeps anything there.
    pub is_untested_frame: bool,
    /// The browser has been in line before.
    pub is_in_line: bool,
}

impl Default for RequestFacts {
    /// A person's click on a link.
    fn default() -> Self {
        Self {
            is_prefetch: false,
            is_navigation: true,
            has_upgrade: false,
            has_readable_next: true,
            has_token: true,
            is_confirmed: false,
            is_unvouched: false,
            is_framed_by_other: false,
            is_untested_frame: false,
            is_in_line: false,
        }
    }
}

/// What the configuration says of all logins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginRules {
    /// When to ask before a login.
    pub confirm: Confirm,
    /// Whether only links that are bound to a browser work.
    pub require_state: bool,
}

impl Default for LoginRules {
    fn default() -> Self {
        Self { confirm: Confirm::Auto, require_state: false }
    }
}

/// Whether another login with the token is under way, as `single_flight` knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlightFact {
    /// None is: this request has the token to itself.
    First,
    /// An earlier request of the same browser has left its response.
    Joined,
    /// Another login with the token has not ended in time.
    TooLate,
}

/// Whether an app has to say whose token it is, before it can be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExchangeFact {
    /// It need not.
    NotNeeded,
    /// It must be asked.
    Needed {
        /// How long the address has to wait that has brought too many unknown tokens.
        wait: Option<Duration>,
        /// Whether the request's own `next` could be allowed.
        has_allowed_next: bool,
        /// The app wants this click asked, whatever the rules say.
        asks: bool,
        /// Whether the click came from none of the origins of any app that could be asked.
        is_foreign: bool,
    },
    /// It has been asked for this request.
    Done,
}

/// What a token is worth.
#[derive(Debug)]
pub enum LinkFact {
    /// A login, which nothing but its confirmation can stand against.
    Valid {
        /// Whom it logs in.
        username: String,
        /// The link itself, or its app, asks for the confirm page.
        asks: bool,
        /// The app has origins, and the click came from none of them.
        is_foreign: bool,
        /// It is bound to a browser, and this one has proved to be it: it has asked for the link itself.
        is_bound: bool,
        /// Whether the request that the hub would get cannot be put together.
        rejection: Option<Rejection>,
    },
    /// No login.
    Refused {
        /// Why.
        refusal: Refusal,
        /// It was used a short time ago, so that it still leads its own user on.
        is_within_grace: bool,
        /// How long the address has to wait that has brought too many unknown tokens.
        wait: Option<Duration>,
    },
}

/// Whether it is a browser's turn at the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceFact {
    /// It may log in.
    Admitted,
    /// It is in line.
    Waiting,
}

/// What the hub says of the browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VisitorFact {
    /// The hub does not answer.
    HubDown,
    /// It answers, and does not say.
    Unidentified(HubTrouble),
    /// Nobody is logged in.
    Nobody,
    /// Somebody is.
    User(String),
}

/// What comes next.
#[derive(Debug)]
pub enum Step<'a> {
    /// This is not known yet.
    Ask(Question),
    /// All that matters is known.
    Do(Decision<'a>),
}

/// What can be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Whether another login with the token is under way: waits for its end.
    Flight,
    /// Whether an app has to say whose token it is.
    NeedsExchange,
    /// Whose it is: the token is consumed, and an app is asked.
    Exchange,
    /// What the token is worth: a look into the store, or at a signature.
    Link,
    /// Whether it is this browser's turn at the hub.
    Place,
    /// Who the browser is at the hub; tells also whether the hub is alive.
    Visitor,
}

/// What becomes of a login request.
#[derive(Debug)]
pub enum Decision<'a> {
    /// A fetch ahead of a click: not now.
    Prefetch,
    /// The request itself is at fault.
    Reject(Rejection),
    /// The token is not honoured.
    Refuse(&'a Refusal),
    /// The address has brought too many unknown tokens, and waits.
    TooManyTries(Duration),
    /// The hub does not answer; the link stays as it is.
    HubDown,
    /// The hub answers, and does not say who the browser is; the link stays as it is.
    Unidentified(HubTrouble),
    /// The link has served this very user, or another browser of theirs: they go where it leads, without a login.
    AlreadyDone(&'a Link),
    /// The browser waits for its turn at the hub; nothing is consumed.
    Queue,
    /// The response of the same browser's earlier request.
    Join,
    /// The page that tests the frame; nothing is consumed.
    TestFrame,
    /// The person is asked first.
    Confirm {
        /// Whom the link logs in, if that is known yet.
        username: Option<&'a str>,
        /// Who is logged in now, if that is somebody else.
        current: Option<&'a str>,
    },
    /// Consume, and log in.
    Login(Plan),
}

/// How a login goes on when its token is consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Nobody is logged in.
    Fresh,
    /// The same user is, and keeps the session.
    KeepSession,
    /// Another user is: that session ends first.
    EndOtherSession,
}

impl Decision<'_> {
    /// Whether asking again with the same token cannot end otherwise: then the login-continuation cookie is not needed
    /// any more.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Refuse(Refusal::Link { .. } | Refusal::Next { .. } | Refusal::Exchange(_))
            | Self::Reject(Rejection::Next | Rejection::LoginQuery)
            | Self::TooManyTries(_)
            | Self::AlreadyDone(_)
            | Self::Login(_) => true,
            Self::Refuse(Refusal::Store(_))
            | Self::Reject(
                Rejection::Method
                | Rejection::Host
                | Rejection::Authority
                | Rejection::Form
                | Rejection::Path
                | Rejection::TokenInPath
                | Rejection::EscapedLink
                | Rejection::NotANavigation
                | Rejection::LoginUpgrade
                | Rejection::LoginForm
                | Rejection::Misdirected
                | Rejection::TooManyCookies
                | Rejection::Framing,
            )
            | Self::Prefetch
            | Self::HubDown
            | Self::Unidentified(_)
            | Self::Queue
            // The response that is joined clears for itself.
            | Self::Join
            | Self::TestFrame
            | Self::Confirm { .. } => false,
        }
    }
}

/// The next step.
pub fn decide(facts: &Facts) -> Step<'_> {
    let request = &facts.request;
    if request.is_prefetch {
        return Step::Do(Decision::Prefetch);
    }
    if !request.is_navigation {
        return Step::Do(Decision::Reject(Rejection::NotANavigation));
    }
    if request.has_upgrade {
        return Step::Do(Decision::Reject(Rejection::LoginUpgrade));
    }
    if !request.has_readable_next {
        return Step::Do(Decision::Reject(Rejection::Next));
    }
    if request.has_token {
        match facts.flight {
            None => return Step::Ask(Question::Flight),
            Some(FlightFact::Joined) => return Step::Do(Decision::Join),
            Some(FlightFact::First) if facts.link.is_none() => {
                if let Some(step) = exchange(facts) {
                    return step;
                }
            }
            Some(FlightFact::First | FlightFact::TooLate) => {}
        }
    }
    match &facts.link {
        None => Step::Ask(Question::Link),
        Some(LinkFact::Refused { refusal, is_within_grace, wait }) => {
            refused(facts, refusal, *is_within_grace, *wait)
        }
        // The other login has not ended, and has not consumed the token either: the hub must be very slow.
        Some(LinkFact::Valid { .. }) if facts.flight == Some(FlightFact::TooLate) => {
            Step::Do(Decision::HubDown)
        }
        Some(LinkFact::Valid { rejection: Some(rejection), .. }) => Step::Do(Decision::Reject(*rejection)),
        Some(LinkFact::Valid { username, asks, is_foreign, is_bound, rejection: None }) => {
            let is_asked = *asks || asks_by_rules(facts, *is_foreign && !is_bound, *is_bound);
            valid(facts, username, is_asked)
        }
    }
}

/// Before a token that only an app can read is judged: what can be checked without its meaning. Nothing is consumed
/// before a person wants it and the hub is known to be alive.
fn exchange(facts: &Facts) -> Option<Step<'_>> {
    let (wait, has_allowed_next, asks, is_foreign) = match facts.exchange {
        None => return Some(Step::Ask(Question::NeedsExchange)),
        Some(ExchangeFact::NotNeeded | ExchangeFact::Done) => return None,
        Some(ExchangeFact::Needed { wait, has_allowed_next, asks, is_foreign }) => {
            (wait, has_allowed_next, asks, is_foreign)
        }
    };
    Some(match &facts.visitor {
        // Each exchange costs an app a question.
        _ if wait.is_some() => Step::Do(Decision::TooManyTries(wait.unwrap_or_default())),
        _ if facts.rules.require_state => Step::Do(Decision::Refuse(&NEEDS_STATE)),
        _ if !has_allowed_next => Step::Do(Decision::Reject(Rejection::Next)),
        _ if facts.request.is_untested_frame => Step::Do(Decision::TestFrame),
        None => Step::Ask(Question::Visitor),
        Some(VisitorFact::HubDown) => Step::Do(Decision::HubDown),
        Some(VisitorFact::Unidentified(trouble)) => Step::Do(Decision::Unidentified(*trouble)),
        Some(VisitorFact::Nobody | VisitorFact::User(_))
            if !facts.request.is_confirmed && (asks || asks_by_rules(facts, is_foreign, false)) =>
        {
            Step::Do(Decision::Confirm { username: None, current: None })
        }
        Some(VisitorFact::Nobody | VisitorFact::User(_)) => Step::Ask(Question::Exchange),
    })
}

/// A token that only an app could read, where only bound links work.
static NEEDS_STATE: Refusal = Refusal::Link { reason: RefusalReason::NeedsState, link: None };

/// Whether the person is asked, whoever is logged in. Always in a frame of another site, which nobody may have seen. A
/// click that no browser vouches for is asked about unless `is_bound`, because a scanner of mail does not have the
/// browser's secret.
fn asks_by_rules(facts: &Facts, is_foreign: bool, is_bound: bool) -> bool {
    facts.request.is_framed_by_other
        || match facts.rules.confirm {
            Confirm::Always => true,
            Confirm::Never => false,
            Confirm::Auto => is_foreign || (facts.request.is_unvouched && !is_bound),
        }
}

fn refused<'a>(
    facts: &'a Facts,
    refusal: &'a Refusal,
    is_within_grace: bool,
    wait: Option<Duration>,
) -> Step<'a> {
    if let Some(wait) = wait {
        return Step::Do(Decision::TooManyTries(wait));
    }
    if let Refusal::Link { reason, link: Some(link) } = refusal
        && ((*reason == RefusalReason::Used && is_within_grace) || *reason == RefusalReason::Bound)
    {
        match &facts.visitor {
            None => return Step::Ask(Question::Visitor),
            Some(VisitorFact::User(name)) if *name == link.grant.username.as_str() => {
                return Step::Do(Decision::AlreadyDone(link));
            }
            Some(
                VisitorFact::User(_)
                | VisitorFact::Nobody
                | VisitorFact::HubDown
                | VisitorFact::Unidentified(_),
            ) => {}
        }
    }
    if matches!(refusal, Refusal::Next { .. }) {
        return Step::Do(Decision::Reject(Rejection::Next));
    }
    Step::Do(Decision::Refuse(refusal))
}

fn valid<'a>(facts: &'a Facts, username: &'a str, asks: bool) -> Step<'a> {
    if facts.request.is_untested_frame {
        return Step::Do(Decision::TestFrame);
    }
    match facts.place {
        None => return Step::Ask(Question::Place),
        Some(PlaceFact::Waiting) => return Step::Do(Decision::Queue),
        Some(PlaceFact::Admitted) => {}
    }
    let (current, plan) = match &facts.visitor {
        None => return Step::Ask(Question::Visitor),
        // The place of whoever is in line is kept until the hub is there again.
        Some(VisitorFact::HubDown) if facts.request.is_in_line => return Step::Do(Decision::Queue),
        Some(VisitorFact::Unidentified(trouble)) if facts.request.is_in_line && trouble.may_pass() => {
            return Step::Do(Decision::Queue);
        }
        Some(VisitorFact::HubDown) => return Step::Do(Decision::HubDown),
        Some(VisitorFact::Unidentified(trouble)) => return Step::Do(Decision::Unidentified(*trouble)),
        Some(VisitorFact::Nobody) => (None, Plan::Fresh),
        Some(VisitorFact::User(name)) if name == username => (None, Plan::KeepSession),
        Some(VisitorFact::User(name)) => (Some(name.as_str()), Plan::EndOtherSession),
    };
    let is_asked = if facts.request.is_confirmed {
        // Whoever pressed a button before a token was exchanged did not see a name on it.
        let was_unnamed = facts.exchange == Some(ExchangeFact::Done);
        was_unnamed && current.is_some() && facts.rules.confirm != Confirm::Never
    } else {
        asks || (facts.rules.confirm == Confirm::Auto && current.is_some())
    };
    if is_asked {
        return Step::Do(Decision::Confirm { username: Some(username), current });
    }
    Step::Do(Decision::Login(plan))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::*;
    use crate::clock::Moment;
    use crate::store::{LinkStatus, StoreError};
    use crate::token::{LinkId, LoginGrant, TokenDigest, Username};

    fn link() -> Box<Link> {
        let alice = Username::from_store("alice").expect("a name");
        let now = Moment { wall: Timestamp::UNIX_EPOCH, monotonic: Duration::ZERO };
        Box::new(Link {
            id: LinkId::generate(&aws_lc_rs::rand::SystemRandom::new()).expect("random bytes"),
            digest: TokenDigest::of(b"token"),
            grant: LoginGrant::new(alice, Arc::from("portal")),
            status: LinkStatus::Used,
            issued: now,
            expires: now,
            used_at: None,
            note: None,
        })
    }

    /// A step in a few words.
    fn spelled(step: &Step<'_>) -> String {
        match step {
            Step::Ask(question) => format!("ask {question:?}"),
            Step::Do(Decision::Refuse(refusal)) => format!("refuse {}", refusal.reason().as_str()),
            Step::Do(Decision::AlreadyDone(_)) => "already done".to_owned(),
            Step::Do(Decision::Confirm { username, current }) => format!(
                "confirm {} {}",
                username.unwrap_or("unnamed"),
                current.map(|current| format!("(now {current})")).unwrap_or_default()
            )
            .trim()
            .to_owned(),
            Step::Do(decision) => format!("{decision:?}"),
        }
    }

    const NAVIGATION: RequestFacts = RequestFacts {
        is_prefetch: false,
        is_navigation: true,
        has_upgrade: false,
        has_readable_next: true,
        has_token: true,
        is_confirmed: false,
        is_unvouched: false,
        is_framed_by_other: false,
        is_untested_frame: false,
        is_in_line: false,
    };
    const AUTO: LoginRules = LoginRules { confirm: Confirm::Auto, require_state: false };

    fn valid() -> LinkFact {
        LinkFact::Valid {
            username: "alice".to_owned(),
            asks: false,
            is_foreign: false,
            is_bound: false,
            rejection: None,
        }
    }

    fn refused(reason: RefusalReason, is_within_grace: bool) -> LinkFact {
        let refusal = Refusal::Link { reason, link: Some(link()) };
        LinkFact::Refused { refusal, is_within_grace, wait: None }
    }

    /// All of a login by one of our own tokens, known from the start.
    fn known(link: LinkFact, visitor: VisitorFact) -> Facts {
        Facts {
            flight: Some(FlightFact::First),
            exchange: Some(ExchangeFact::NotNeeded),
            link: Some(link),
            place: Some(PlaceFact::Admitted),
            visitor: Some(visitor),
            ..Facts::default()
        }
    }

    fn check(cases: Vec<(&str, Facts, &str)>) {
        for (name, facts, expected) in cases {
            assert_eq!(spelled(&decide(&facts)), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_click_is_refused_before_anything_is_asked() {
        let request = |request| Facts { request, ..Facts::default() };
        check(vec![
            (
                "a fetch ahead goes before all else",
                request(RequestFacts { is_prefetch: true, is_navigation: false, ..NAVIGATION }),
                "Prefetch",
            ),
            (
                "an image",
                request(RequestFacts { is_navigation: false, has_upgrade: true, ..NAVIGATION }),
                "Reject(NotANavigation)",
            ),
            (
                "an upgrade",
                request(RequestFacts { has_upgrade: true, has_readable_next: false, ..NAVIGATION }),
                "Reject(LoginUpgrade)",
            ),
            (
                "an unreadable next",
                request(RequestFacts { has_readable_next: false, ..NAVIGATION }),
                "Reject(Next)",
            ),
        ]);
    }

    #[test]
    fn what_costs_nothing_is_asked_first_and_the_hub_last() {
        let mut facts = Facts::default();
        assert_eq!(spelled(&decide(&facts)), "ask Flight");
        facts.flight = Some(FlightFact::First);
        assert_eq!(spelled(&decide(&facts)), "ask NeedsExchange");
        facts.exchange = Some(ExchangeFact::NotNeeded);
        assert_eq!(spelled(&decide(&facts)), "ask Link");
        facts.link = Some(valid());
        assert_eq!(spelled(&decide(&facts)), "ask Place");
        facts.place = Some(PlaceFact::Admitted);
        assert_eq!(spelled(&decide(&facts)), "ask Visitor");
        facts.visitor = Some(VisitorFact::Nobody);
        assert_eq!(spelled(&decide(&facts)), "Login(Fresh)");
    }

    #[test]
    fn a_bogus_token_costs_the_hub_nothing() {
        let unknown = || LinkFact::Refused {
            refusal: Refusal::Link { reason: RefusalReason::Unknown, link: None },
            is_within_grace: false,
            wait: None,
        };
        let flight = Some(FlightFact::First);
        let shapeless = RequestFacts { has_token: false, ..NAVIGATION };
        let minute = Duration::from_mins(1);
        let limited = LinkFact::Refused {
            refusal: Refusal::Link { reason: RefusalReason::Unknown, link: None },
            is_within_grace: false,
            wait: Some(minute),
        };
        check(vec![
            ("no shape", Facts { request: shapeless, ..Facts::default() }, "ask Link"),
            ("unknown", Facts { flight, link: Some(unknown()), ..Facts::default() }, "refuse unknown"),
            ("too many", Facts { flight, link: Some(limited), ..Facts::default() }, "TooManyTries(60s)"),
            (
                "expired",
                Facts { flight, link: Some(refused(RefusalReason::Expired, false)), ..Facts::default() },
                "refuse expired",
            ),
            (
                "the store fails",
                Facts {
                    flight,
                    link: Some(LinkFact::Refused {
                        refusal: StoreError::unavailable("gone").into(),
                        is_within_grace: false,
                        wait: None,
                    }),
                    ..Facts::default()
                },
                "refuse store_unavailable",
            ),
        ]);
    }

    #[test]
    fn a_used_link_leads_its_own_user_on_and_nobody_else() {
        let user = |name: &str| VisitorFact::User(name.to_owned());
        let unasked = Facts { visitor: None, ..known(refused(RefusalReason::Used, true), user("alice")) };
        check(vec![
            ("not known", unasked, "ask Visitor"),
            ("alice", known(refused(RefusalReason::Used, true), user("alice")), "already done"),
            ("bob", known(refused(RefusalReason::Used, true), user("bob")), "refuse used"),
            ("nobody", known(refused(RefusalReason::Used, true), VisitorFact::Nobody), "refuse used"),
            ("hub down", known(refused(RefusalReason::Used, true), VisitorFact::HubDown), "refuse used"),
            ("too late", known(refused(RefusalReason::Used, false), user("alice")), "refuse used"),
            ("another browser's", known(refused(RefusalReason::Bound, false), user("alice")), "already done"),
            ("revoked", known(refused(RefusalReason::Revoked, true), user("alice")), "refuse revoked"),
        ]);
    }

    #[test]
    fn a_login_waits_for_the_other_one_and_needs_a_hub() {
        let user = |name: &str| VisitorFact::User(name.to_owned());
        let late = Facts { flight: Some(FlightFact::TooLate), ..known(valid(), VisitorFact::Nobody) };
        let used_meanwhile = Facts {
            flight: Some(FlightFact::TooLate),
            ..known(refused(RefusalReason::Used, false), VisitorFact::Nobody)
        };
        let joined = Facts { flight: Some(FlightFact::Joined), ..Facts::default() };
        let odd = LinkFact::Valid {
            username: "alice".to_owned(),
            asks: false,
            is_foreign: false,
            is_bound: false,
            rejection: Some(Rejection::LoginQuery),
        };
        check(vec![
            ("joined", joined, "Join"),
            ("the other hangs", late, "HubDown"),
            ("the other has used it", used_meanwhile, "refuse used"),
            ("hub down", known(valid(), VisitorFact::HubDown), "HubDown"),
            (
                "cookies",
                known(valid(), VisitorFact::Unidentified(HubTrouble::TooManyCookies)),
                "Unidentified(TooManyCookies)",
            ),
            ("cannot be sent", known(odd, VisitorFact::Nobody), "Reject(LoginQuery)"),
            ("nobody", known(valid(), VisitorFact::Nobody), "Login(Fresh)"),
            ("the same user", known(valid(), user("alice")), "Login(KeepSession)"),
        ]);
    }

    #[test]
    fn whoever_waits_for_a_turn_is_not_looked_at_and_a_dead_hub_costs_nobody_a_place() {
        let at = |place, is_in_line, visitor| Facts {
            request: RequestFacts { is_in_line, ..NAVIGATION },
            place: Some(place),
            ..known(valid(), visitor)
        };
        let down = || VisitorFact::HubDown;
        let busy = || VisitorFact::Unidentified(HubTrouble::Busy { retry_after: None });
        let wrong_address =
            || VisitorFact::Unidentified(HubTrouble::Unexpected(hyper::StatusCode::NOT_FOUND));
        let unasked = Facts { visitor: None, ..at(PlaceFact::Waiting, false, VisitorFact::Nobody) };
        let refused = Facts {
            place: Some(PlaceFact::Waiting),
            ..known(refused(RefusalReason::Revoked, false), VisitorFact::Nobody)
        };
        check(vec![
            ("waits", unasked, "Queue"),
            ("a fresh click, no hub", at(PlaceFact::Admitted, false, down()), "HubDown"),
            ("in line, no hub", at(PlaceFact::Admitted, true, down()), "Queue"),
            ("in line, a hub that is busy", at(PlaceFact::Admitted, true, busy()), "Queue"),
            (
                "in line, a wrong address",
                at(PlaceFact::Admitted, true, wrong_address()),
                "Unidentified(Unexpected(404))",
            ),
            ("revoked meanwhile", refused, "refuse revoked"),
            ("in line, admitted", at(PlaceFact::Admitted, true, VisitorFact::Nobody), "Login(Fresh)"),
        ]);
    }

    #[test]
    fn a_person_is_asked_first_where_the_rules_say_so() {
        let of = |asks, is_foreign| LinkFact::Valid {
            username: "alice".to_owned(),
            asks,
            is_foreign,
            is_bound: false,
            rejection: None,
        };
        let bound = LinkFact::Valid {
            username: "alice".to_owned(),
            asks: false,
            is_foreign: true,
            is_bound: true,
            rejection: None,
        };
        let framed = |confirm, is_confirmed| Facts {
            request: RequestFacts { is_confirmed, is_framed_by_other: true, ..NAVIGATION },
            rules: LoginRules { confirm, ..AUTO },
            ..known(valid(), VisitorFact::Nobody)
        };
        let with = |confirm, is_confirmed, is_unvouched, link, visitor| Facts {
            request: RequestFacts { is_confirmed, is_unvouched, ..NAVIGATION },
            rules: LoginRules { confirm, ..AUTO },
            ..known(link, visitor)
        };
        let bob = || VisitorFact::User("bob".to_owned());
        let nobody = || VisitorFact::Nobody;
        check(vec![
            (
                "another user",
                with(Confirm::Auto, false, false, of(false, false), bob()),
                "confirm alice (now bob)",
            ),
            (
                "… said yes",
                with(Confirm::Auto, true, false, of(false, false), bob()),
                "Login(EndOtherSession)",
            ),
            (
                "… never",
                with(Confirm::Never, false, false, of(false, false), bob()),
                "Login(EndOtherSession)",
            ),
            ("the link asks", with(Confirm::Never, false, false, of(true, false), nobody()), "confirm alice"),
            ("always", with(Confirm::Always, false, false, of(false, false), nobody()), "confirm alice"),
            ("another origin", with(Confirm::Auto, false, false, of(false, true), nobody()), "confirm alice"),
            ("unvouched", with(Confirm::Auto, false, true, of(false, false), nobody()), "confirm alice"),
            ("this browser's own", with(Confirm::Auto, false, true, bound, nobody()), "Login(Fresh)"),
            ("a stranger's frame", framed(Confirm::Never, false), "confirm alice"),
            ("… said yes", framed(Confirm::Auto, true), "Login(Fresh)"),
            ("… never", with(Confirm::Never, false, true, of(false, true), nobody()), "Login(Fresh)"),
            ("… said yes", with(Confirm::Always, true, true, of(true, true), nobody()), "Login(Fresh)"),
        ]);
    }

    #[test]
    fn a_frame_is_tested_before_anything_is_asked_or_burnt_and_no_link_that_is_none_is() {
        let untested = |link: Option<LinkFact>, exchange| Facts {
            request: RequestFacts { is_untested_frame: true, ..NAVIGATION },
            flight: Some(FlightFact::First),
            exchange: Some(exchange),
            link,
            ..Facts::default()
        };
        let needed =
            ExchangeFact::Needed { wait: None, has_allowed_next: true, asks: true, is_foreign: true };
        check(vec![
            ("valid", untested(Some(valid()), ExchangeFact::NotNeeded), "TestFrame"),
            ("an app's own", untested(None, needed), "TestFrame"),
            (
                "used",
                untested(Some(refused(RefusalReason::Used, false)), ExchangeFact::NotNeeded),
                "refuse used",
            ),
        ]);
    }

    #[test]
    fn a_foreign_token_is_exchanged_only_when_a_person_wants_it_and_the_hub_is_alive() {
        let needed = |wait, has_allowed_next, is_foreign| {
            Some(ExchangeFact::Needed { wait, has_allowed_next, asks: false, is_foreign })
        };
        let asking =
            Some(ExchangeFact::Needed { wait: None, has_allowed_next: true, asks: true, is_foreign: true });
        let never = LoginRules { confirm: Confirm::Never, ..AUTO };
        let facts = |exchange, visitor| Facts {
            flight: Some(FlightFact::First),
            exchange,
            visitor,
            ..Facts::default()
        };
        let minute = Some(Duration::from_mins(1));
        let nobody = || Some(VisitorFact::Nobody);
        let bound = LoginRules { require_state: true, ..AUTO };
        let unnamed = |current: &str| Facts {
            request: RequestFacts { is_confirmed: true, ..NAVIGATION },
            exchange: Some(ExchangeFact::Done),
            ..known(valid(), VisitorFact::User(current.to_owned()))
        };
        check(vec![
            ("too many", facts(needed(minute, true, false), nobody()), "TooManyTries(60s)"),
            (
                "bound",
                Facts { rules: bound, ..facts(needed(None, true, false), nobody()) },
                "refuse needs_state",
            ),
            ("next", facts(needed(None, false, false), nobody()), "Reject(Next)"),
            ("the hub first", facts(needed(None, true, false), None), "ask Visitor"),
            ("hub down", facts(needed(None, true, false), Some(VisitorFact::HubDown)), "HubDown"),
            ("another origin", facts(needed(None, true, true), nobody()), "confirm unnamed"),
            (
                "another origin, never",
                Facts { rules: never, ..facts(needed(None, true, true), nobody()) },
                "ask Exchange",
            ),
            ("… but the app asks", Facts { rules: never, ..facts(asking, nobody()) }, "confirm unnamed"),
            ("wanted", facts(needed(None, true, false), nobody()), "ask Exchange"),
            ("exchanged", facts(Some(ExchangeFact::Done), None), "ask Link"),
            ("another user, unseen on the button", unnamed("bob"), "confirm alice (now bob)"),
            ("the same user", unnamed("alice"), "Login(KeepSession)"),
        ]);
    }

    #[test]
    fn the_continuation_cookie_serves_until_asking_again_cannot_end_otherwise() {
        let expired = Refusal::Link { reason: RefusalReason::Expired, link: None };
        let store = Refusal::Store(StoreError::unavailable("gone"));
        let link = link();
        for decision in [
            Decision::Refuse(&expired),
            Decision::Reject(Rejection::Next),
            Decision::TooManyTries(Duration::ZERO),
            Decision::AlreadyDone(&link),
            Decision::Login(Plan::Fresh),
        ] {
            assert!(decision.is_final(), "{decision:?}");
        }
        for decision in [
            Decision::Refuse(&store),
            Decision::Reject(Rejection::NotANavigation),
            Decision::Prefetch,
            Decision::HubDown,
            Decision::Queue,
            Decision::Join,
            Decision::TestFrame,
            Decision::Confirm { username: None, current: None },
        ] {
            assert!(!decision.is_final(), "{decision:?}");
        }
    }
}
