//! What a rehearsal has shown: how many got in, how long it took, why others did not, and what to change.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::browser::Clicked;

/// Above this a person thinks that it is broken.
const LONG: Duration = Duration::from_secs(30);

/// What came of all clicks.
pub(super) struct Report {
    logged_in: Vec<Duration>,
    in_server: Vec<Duration>,
    queued: usize,
    failures: BTreeMap<String, usize>,
    elapsed: Duration,
    with_servers: bool,
}

impl Report {
    /// The report of `clicks`, which took `elapsed` in all.
    pub(super) fn of(clicks: Vec<Result<Clicked, String>>, elapsed: Duration, with_servers: bool) -> Self {
        let mut report = Self {
            logged_in: Vec::new(),
            in_server: Vec::new(),
            queued: 0,
            failures: BTreeMap::new(),
            elapsed,
            with_servers,
        };
        for click in clicks {
            match click {
                Ok(click) => {
                    report.logged_in.push(click.logged_in);
                    report.in_server.extend(click.in_server);
                    report.queued += usize::from(click.queued);
                }
                Err(why) => *report.failures.entry(why).or_default() += 1,
            }
        }
        report.logged_in.sort_unstable();
        report.in_server.sort_unstable();
        report
    }

    /// How many people did not get in.
    pub(super) fn failed(&self) -> usize {
        self.failures.values().sum()
    }

    /// What an operator could change.
    fn advice(&self) -> Vec<&'static str> {
        let mut advice = Vec::new();
        let slow = |times: &[Duration]| times.last().is_some_and(|longest| *longest > LONG);
        if slow(&self.logged_in) {
            advice.push(
                "the last one waited longer than half a minute for the login: let the application spread its links, \
                 or give the hub's process a faster core; it serves one login at a time",
            );
        }
        if self.with_servers && slow(&self.in_server) && !slow(&self.logged_in) {
            advice.push(
                "logins are quick and servers are slow: raise concurrent_spawn_limit if the spawner can do more at a \
                 time, start servers ahead with \"launch\", or prepull images",
            );
        }
        if self.failures.keys().any(|why| why.starts_with("429")) {
            advice.push("the hub refused starts (429): see concurrent_spawn_limit and active_server_limit");
        }
        if self.failures.keys().any(|why| why.starts_with("not in after")) {
            advice.push("somebody gave up waiting: --patience is how long a person waits here");
        }
        if self.failures.keys().any(|why| why.starts_with("no answer")) {
            advice.push("connections failed: see limits.connections, limits.connections_per_peer and the open files (nofile)");
        }
        advice
    }
}

/// The time that `percent` of all did not exceed, in seconds; `sorted` is.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1).min(last);
    sorted.get(at).map_or(0.0, Duration::as_secs_f64)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clicks = self.logged_in.len() + self.failed();
        writeln!(
            f,
            "{} of {clicks} logged in, in {:.1} s",
            self.logged_in.len(),
            self.elapsed.as_secs_f64()
        )?;
        let mut line = |what: &str, times: &[Duration]| {
            let at = |percent| percentile(times, percent);
            writeln!(
                f,
                "{what}: half within {:.1} s, 95 of 100 within {:.1} s, the last after {:.1} s",
                at(50),
                at(95),
                at(100)
            )
        };
        if !self.logged_in.is_empty() {
            line("login", &self.logged_in)?;
        }
        if self.with_servers {
            line("server", &self.in_server)?;
        }
        if self.queued > 0 {
            writeln!(f, "{} saw the queue page", self.queued)?;
        }
        for (why, count) in &self.failures {
            writeln!(f, "failed: {count} × {why}")?;
        }
        for advice in self.advice() {
            writeln!(f, "advice: {advice}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clicked(seconds: u64) -> Clicked {
        Clicked { logged_in: Duration::from_secs(seconds), in_server: None, queued: seconds > 2 }
    }

    #[test]
    fn a_report_counts_who_is_in_and_why_others_are_not() {
        let mut clicks: Vec<_> = (1..=10).map(clicked).map(Ok).collect();
        clicks.push(Err("503 Service Unavailable".to_owned()));
        let report = Report::of(clicks, Duration::from_secs(12), false);
        assert_eq!(report.failed(), 1);
        let text = report.to_string();
        assert!(text.starts_with("10 of 11 logged in, in 12.0 s\n"), "{text}");
        assert!(text.contains("half within 5.0 s, 95 of 100 within 10.0 s, the last after 10.0 s"), "{text}");
        assert!(text.contains("8 saw the queue page") && text.contains("1 × 503"), "{text}");
    }

    #[test]
    fn advice_is_given_for_what_was_seen_and_for_nothing_else() {
        assert!(Report::of(vec![Ok(clicked(1))], Duration::from_secs(1), false).advice().is_empty());
        let slow = Report::of(vec![Ok(clicked(40))], Duration::from_secs(40), false).advice();
        assert!(slow.len() == 1 && slow[0].contains("the login"), "{slow:?}");
        let refused = Report::of(vec![Err("429: Too many".to_owned())], Duration::ZERO, true).advice();
        assert!(refused.len() == 1 && refused[0].contains("429"), "{refused:?}");
    }
}
