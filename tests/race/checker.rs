//! Judges a history, token by token: at most one login, none beside an acknowledged revocation, no link lost.

use std::collections::BTreeMap;

use super::history::{Answer, Event, Taken, Time, Token};

/// Counts of a history that nothing is wrong with.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub tokens: usize,
    pub tries: usize,
    pub logins: usize,
    pub revoked: usize,
    /// Tokens that were consumed, or may have been, when something was killed: nobody logged in by them.
    pub burnt: usize,
    /// Tokens that a store which forgets, or a restarted Redis, did not honour.
    pub voided: usize,
    pub unanswered: usize,
    pub kills_that_void: usize,
}

/// Everything about one token.
#[derive(Debug, Default)]
struct Story {
    issued: Option<Time>,
    tries: Vec<(Time, Time, Answer)>,
    revoked: Vec<(Time, Taken)>,
    logins: Vec<(Time, bool)>,
}

/// Reads `events`. The error lists what is wrong, each with the whole story of its token.
pub fn check(events: &[Event]) -> Result<Figures, Vec<String>> {
    let mut stories: BTreeMap<Token, Story> = BTreeMap::new();
    let mut voided = Vec::new();
    let mut wrong = Vec::new();
    for event in events {
        match *event {
            Event::Issued { token, asked } => stories.entry(token).or_default().issued = Some(asked),
            Event::Tried { token, began, ended, answer } => {
                stories.entry(token).or_default().tries.push((began, ended, answer));
            }
            Event::Revoked { token, ended, answer } => {
                stories.entry(token).or_default().revoked.push((ended, answer))
            }
            Event::Login { token, at, name_is_right } => {
                stories.entry(token).or_default().logins.push((at, name_is_right));
            }
            Event::StrangeLogin { at } => wrong.push(format!("a login by no link of ours at {at}")),
            Event::Voided { at } => voided.push(at),
        }
    }
    let mut figures = Figures { tokens: stories.len(), kills_that_void: voided.len(), ..Figures::default() };
    for (token, story) in &stories {
        for fault in judge(story, &voided, &mut figures) {
            wrong.push(format!("token {token}: {fault}: {story:?}"));
        }
    }
    if wrong.is_empty() { Ok(figures) } else { Err(wrong) }
}

fn judge(story: &Story, voided: &[Time], figures: &mut Figures) -> Vec<&'static str> {
    let mut faults = Vec::new();
    let mut fault = |is: bool, text| {
        if is {
            faults.push(text);
        }
    };
    let Some(issued) = story.issued else { return vec!["a login or a try without an issue"] };
    let count = |wanted: Answer| story.tries.iter().filter(|(_, _, answer)| *answer == wanted).count();
    let unclear = count(Answer::Unclear);
    let logins = story.logins.len();
    let dead = story.revoked.iter().find(|(_, answer)| *answer == Taken::Dead);
    let said_used = story.revoked.iter().any(|(_, answer)| *answer == Taken::Used);

    fault(logins > 1, "more than one login");
    fault(story.logins.iter().any(|(_, right)| !right), "a login of somebody else");
    fault(story.logins.iter().any(|(at, _)| *at < issued), "a login before the issue");
    // 204 says "dead", and a link by which somebody has logged in answers 409.
    fault(dead.is_some() && logins > 0, "a login beside an acknowledged revocation");
    fault(count(Answer::LoggedIn) > 1, "two browsers were logged in");
    fault(count(Answer::LoggedIn) > logins, "a browser was logged in without the hub");
    fault(
        story.tries.iter().any(|(_, _, answer)| matches!(answer, Answer::Odd(_))),
        "an answer that no rule knows",
    );

    // From then on the store need not know the link.
    let void_at = voided.iter().copied().find(|at| *at >= issued);
    let is_void = |at: Time| void_at.is_some_and(|void| void <= at);
    let forgotten = |(_, ended, answer): &(Time, Time, Answer)| {
        matches!(answer, Answer::Unknown | Answer::Expired) && !is_void(*ended)
    };
    fault(story.tries.iter().any(forgotten), "an acknowledged link was forgotten");
    let not_found = |(at, answer): &(Time, Taken)| *answer == Taken::NotFound && !is_void(*at);
    fault(story.revoked.iter().any(not_found), "an acknowledged link was not found");
    fault(count(Answer::Revoked) > 0 && story.revoked.is_empty(), "said to be revoked by nobody");

    // Only a try that was cut off may have consumed the token without a login.
    let lost = logins == 0 && unclear == 0 && void_at.is_none();
    fault(lost && story.revoked.is_empty(), "an acknowledged link logged nobody in");
    fault(lost && (count(Answer::Used) > 0 || said_used), "used up by nobody");

    figures.tries += story.tries.len();
    figures.logins += logins;
    figures.unanswered += unclear;
    figures.revoked += usize::from(dead.is_some() && logins == 0);
    figures.voided += usize::from(logins == 0 && dead.is_none() && void_at.is_some());
    figures.burnt += usize::from(logins == 0 && dead.is_none() && void_at.is_none());
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUED: Event = Event::Issued { token: 1, asked: 10 };
    const LOGIN: Event = Event::Login { token: 1, at: 25, name_is_right: true };

    fn tried(began: Time, answer: Answer) -> Event {
        Event::Tried { token: 1, began, ended: began + 10, answer }
    }

    fn revoked(ended: Time, answer: Taken) -> Event {
        Event::Revoked { token: 1, ended, answer }
    }

    #[test]
    fn good_histories_pass() {
        let logged_in = [ISSUED, tried(20, Answer::LoggedIn), LOGIN, tried(40, Answer::Used)];
        let figures = check(&logged_in).unwrap();
        assert_eq!((figures.tokens, figures.tries, figures.logins), (1, 2, 1));
        for good in [
            // A crash after the take; after the login; before either.
            vec![ISSUED, tried(20, Answer::Unclear), tried(40, Answer::Used)],
            vec![ISSUED, tried(20, Answer::Unclear), LOGIN, tried(40, Answer::Used)],
            vec![ISSUED, tried(10, Answer::Unclear), tried(20, Answer::LoggedIn), LOGIN],
            vec![ISSUED, revoked(15, Taken::Dead), tried(20, Answer::Revoked)],
            vec![ISSUED, tried(20, Answer::LoggedIn), LOGIN, revoked(50, Taken::Used)],
            // What a store forgets when it is killed is forgotten, and only that.
            vec![ISSUED, Event::Voided { at: 15 }, tried(20, Answer::Unknown), revoked(50, Taken::NotFound)],
            vec![Event::Voided { at: 5 }, ISSUED, tried(20, Answer::LoggedIn), LOGIN],
        ] {
            assert!(check(&good).is_ok(), "{good:?}: {:?}", check(&good));
        }
    }

    #[test]
    fn bad_histories_are_found_out() {
        let others = Event::Login { token: 1, at: 25, name_is_right: false };
        let late = Event::Login { token: 1, at: 90, name_is_right: true };
        let early = Event::Login { token: 1, at: 5, name_is_right: true };
        for (bad, fault) in [
            (vec![ISSUED, tried(20, Answer::LoggedIn), LOGIN, LOGIN], "more than one login"),
            (
                vec![ISSUED, tried(20, Answer::Unclear), LOGIN, tried(80, Answer::Unclear), late],
                "more than one login",
            ),
            (vec![ISSUED, tried(20, Answer::LoggedIn), others], "somebody else"),
            (vec![ISSUED, early, tried(20, Answer::Used)], "before the issue"),
            (vec![ISSUED, revoked(15, Taken::Dead), tried(20, Answer::LoggedIn), LOGIN], "revocation"),
            (vec![ISSUED, tried(20, Answer::LoggedIn), LOGIN, revoked(50, Taken::Dead)], "revocation"),
            (vec![ISSUED, tried(20, Answer::LoggedIn), tried(20, Answer::LoggedIn), LOGIN], "two browsers"),
            (vec![ISSUED, tried(20, Answer::LoggedIn)], "without the hub"),
            (vec![ISSUED, tried(20, Answer::Odd(200))], "no rule"),
            (vec![ISSUED, tried(20, Answer::Unknown)], "forgotten"),
            (vec![ISSUED, tried(20, Answer::Expired)], "forgotten"),
            (vec![ISSUED, tried(20, Answer::Unclear), tried(40, Answer::Unknown)], "forgotten"),
            (vec![Event::Voided { at: 5 }, ISSUED, tried(20, Answer::Unknown)], "forgotten"),
            (vec![ISSUED, tried(20, Answer::Unknown), Event::Voided { at: 90 }], "forgotten"),
            (vec![ISSUED, revoked(15, Taken::NotFound)], "not found"),
            (vec![ISSUED, tried(20, Answer::Revoked)], "by nobody"),
            (vec![ISSUED], "logged nobody in"),
            (vec![ISSUED, tried(20, Answer::NotSent)], "logged nobody in"),
            (vec![ISSUED, tried(20, Answer::Used)], "used up by nobody"),
            (vec![ISSUED, revoked(50, Taken::Used)], "used up by nobody"),
            (vec![LOGIN], "without an issue"),
            (
                vec![ISSUED, tried(20, Answer::LoggedIn), LOGIN, Event::StrangeLogin { at: 30 }],
                "no link of ours",
            ),
        ] {
            let wrong = check(&bad).expect_err(fault);
            assert!(wrong.iter().any(|wrong| wrong.contains(fault)), "{bad:?}: {wrong:?}");
        }
    }
}
