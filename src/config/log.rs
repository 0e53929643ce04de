//! `[log]`: what is logged, and how.

use std::path::PathBuf;

use super::file::ConfigFile;
use super::parse::one_of;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person at a terminal.
    Text,
}

/// Where the audit lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditSink {
    /// Among the log lines.
    Stderr,
    /// Appended to a file of their own.
    File(PathBuf),
}

/// `[log]`.
#[derive(Debug, Clone)]
pub struct Log {
    /// JSON or text.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: tracing::Level,
    /// Whether each request is one line.
    pub access: bool,
    /// Where the audit lines go.
    pub audit: AuditSink,
    /// Whether nobody may log in while audit lines cannot be written.
    pub audit_required: bool,
}

/// `[log]`.
pub(super) fn log(file: &mut ConfigFile) -> Option<Log> {
    use tracing::Level;
    let formats = [("json", LogFormat::Json), ("text", LogFormat::Text)];
    let format = file.value("log.format", LogFormat::Json, one_of(&formats));
    let levels = [
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ];
    let level = file.value("log.level", Level::INFO, one_of(&levels));
    let access = file.flag("log.access", true);
    let audit = file.value("log.audit", AuditSink::Stderr, |text| match text {
        "stderr" => Ok(AuditSink::Stderr),
        path if path.starts_with('/') && !path.contains('\0') => Ok(AuditSink::File(PathBuf::from(path))),
        _ => Err("is neither \"stderr\" nor the absolute path of a file".to_owned()),
    });
    let audit_required = file.flag("log.audit_required", false);
    Some(Log {
        format: format?,
        level: level?,
        access: access?,
        audit: audit?,
        audit_required: audit_required?,
    })
}
