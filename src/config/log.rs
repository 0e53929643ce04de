//! `[log]`: what is logged, and how.

use std::path::PathBuf;

use tracing::Level;

use super::kind::{flag, text, words};
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
        /// "error", "warn", "info", "debug" or "trace". Needs a restart.
        level: Level, words(&LEVELS), default "info";
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

fn audit_sink(text: &str) -> Result<AuditSink, String> {
    match text {
        "stderr" => Ok(AuditSink::Stderr),
        path if path.starts_with('/') && !path.contains('\0') => Ok(AuditSink::File(PathBuf::from(path))),
        _ => Err("is neither \"stderr\" nor the absolute path of a file".to_owned()),
    }
}
