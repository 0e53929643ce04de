//! `[log]`: what is logged, and how.

use std::path::PathBuf;

use tracing::Level;
use tracing_subscriber::filter::Targets;

use super::kind::{flag, text, words};
use super::parse::one_of;
use super::table::section;

const FORMATS: [(&str, LogFormat); 3] =
    [("json", LogFormat::Json), ("text", LogFormat::Text), ("auto", LogFormat::Auto)];
const LEVELS: [(&str, Level); 5] = [
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person at a terminal.
    Text,
    /// Text if stderr is a terminal.
    Auto,
}

/// Where the audit lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditSink {
    /// Among the log lines.
    Stderr,
    /// Appended to a file of their own.
    File(PathBuf),
}

section! {
    /// What is logged. Log lines go to stderr; no line holds a token, a key or a query.
    #[derive(Debug, Clone)]
    pub struct Log {
        /// "json" (one object a line), "text" (for a person), or "auto": text at a terminal, JSON elsewhere. Needs a restart.
        format: LogFormat, words(&FORMATS), default "auto";
        /// "error", "warn", "info", "debug" or "trace"; and other levels of single modules behind it, as in
        /// "info,hublatch::hub=debug". Needs a restart.
        level: Targets, text(log_filter), default "info";
        /// One line for each request.
        access: bool, flag(), default true;
        /// Where the audit goes, one line for each link issued, redeemed, refused or revoked: "stderr", or the absolute path of a
        /// file that is appended to.
        audit: AuditSink, text(audit_sink), default "stderr";
        /// Whether nobody may log in while the audit cannot be written (a full disk). Otherwise its lines go to stderr meanwhile,
        /// and /ready answers 503.
        audit_required: bool, flag(), default false;
    }
}

/// The level of all events, and of single modules after it.
fn log_filter(text: &str) -> Result<Targets, String> {
    let level = one_of(&LEVELS);
    let mut parts = text.split(',').map(str::trim);
    let filter = Targets::new().with_default(level(parts.next().unwrap_or_default())?);
    let is_path = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    parts.try_fold(filter, |filter, part| match part.split_once('=') {
        Some((module, word)) if !module.is_empty() && module.bytes().all(is_path) => {
            Ok(filter.with_target(module, level(word)?))
        }
        Some(_) | None => {
            let example = "write for example \"info,hublatch::hub=debug\"";
            Err(format!("has {part:?} where a module and its level should be; {example}"))
        }
    })
}

fn audit_sink(text: &str) -> Result<AuditSink, String> {
    match text {
        "stderr" => Ok(AuditSink::Stderr),
        path if path.starts_with('/') && !path.contains('\0') => Ok(AuditSink::File(PathBuf::from(path))),
        _ => Err("is neither \"stderr\" nor the absolute path of a file".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_for_all_events_and_others_for_single_modules_behind_it() {
        let filter = log_filter("warn, hublatch::hub=debug,h2=error").unwrap();
        for (module, level, is_logged) in [
            ("hublatch::proxy", Level::WARN, true),
            ("hublatch::proxy", Level::INFO, false),
            ("hublatch::hub::events", Level::DEBUG, true),
            ("hublatch::hub", Level::TRACE, false),
            ("h2::codec", Level::WARN, false),
        ] {
            assert_eq!(filter.would_enable(module, &level), is_logged, "{module} {level}");
        }
    }

    #[test]
    fn what_is_no_level_and_no_module_with_its_level_is_refused() {
        for text in
            ["", "hublatch::hub=debug", "debgu", "INFO", "info,info=debgu", "info,=debug", "info,a b=debug"]
        {
            assert!(log_filter(text).is_err(), "{text}");
        }
        let wrong = log_filter("info,hub").unwrap_err();
        assert!(wrong.contains("\"hub\"") && wrong.contains("info,hublatch::hub=debug"), "{wrong}");
    }
}
