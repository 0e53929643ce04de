//! Which failures of requests are logged: a server that is not there is told at once, then once a minute with how many
//! requests it has failed since, and not once a request. The access log and the metrics have each of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the same failure is logged.
const LOG_EVERY: Duration = Duration::from_mins(1);
/// The most failures that are told apart; all further ones are one.
const KINDS_MAX: usize = 1024;

/// What has been logged lately, of all threads together.
#[derive(Debug, Clone, Default)]
pub struct FailureLog(Arc<Mutex<HashMap<FailureKind, LastLine>>>);

/// Failures that are the same to whoever reads the log: why, and of which server, where that is known.
type FailureKind = (&'static str, String);

#[derive(Debug)]
struct LastLine {
    at: Instant,
    unlogged: u64,
}

impl FailureLog {
    /// Whether a failure at `now` is logged: then how many of its kind were not since the last line.
    pub fn admit(&self, reason: &'static str, address: &str, now: Instant) -> Option<u64> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kind = (reason, address.to_owned());
        if lines.len() >= KINDS_MAX && !lines.contains_key(&kind) {
            lines.retain(|_, line| now.duration_since(line.at) < LOG_EVERY);
            if lines.len() >= KINDS_MAX {
                kind.1.clear();
            }
        }
        let Some(last) = lines.get_mut(&kind) else {
            lines.insert(kind, LastLine { at: now, unlogged: 0 });
            return Some(0);
        };
        if now.duration_since(last.at) < LOG_EVERY {
            last.unlogged += 1;
            return None;
        }
        last.at = now;
        Some(std::mem::take(&mut last.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_logged_at_once_and_then_once_a_minute_with_a_count() {
        let (log, begun) = (FailureLog::default(), Instant::now());
        let mut lines = Vec::new();
        for second in 0..150 {
            for _ in 0..10 {
                let at = begun + Duration::from_secs(second);
                lines.extend(log.admit("connect", "127.0.0.1:1", at).map(|unlogged| (second, unlogged)));
            }
        }
        assert_eq!(lines, [(0, 0), (60, 599), (120, 599)]);
    }

    #[test]
    fn another_server_and_another_reason_are_logged_by_themselves() {
        let (log, now) = (FailureLog::default(), Instant::now());
        for (reason, address) in [("connect", "a:1"), ("connect", "b:1"), ("timeout", "")] {
            assert_eq!(log.admit(reason, address, now), Some(0), "{reason} {address}");
            assert_eq!(log.admit(reason, address, now), None, "{reason} {address}");
        }
    }

    #[test]
    fn however_many_servers_fail_the_log_holds_so_many_and_forgets_old_ones() {
        let (log, now) = (FailureLog::default(), Instant::now());
        let fail =
            |now| (0..3000).filter(|port| log.admit("connect", &format!("a:{port}"), now).is_some()).count();
        // One more: those that are not told apart.
        assert_eq!(fail(now), KINDS_MAX + 1);
        assert!(log.0.lock().unwrap().len() <= KINDS_MAX + 1);
        assert_eq!(log.admit("connect", "b:1", now + LOG_EVERY), Some(0));
        assert_eq!(log.0.lock().unwrap().len(), 1);
    }
}
