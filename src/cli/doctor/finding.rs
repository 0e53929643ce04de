//! One finding: what was tried, what happened, what to change.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grade {
    /// As it should be.
    Ok,
    /// It works; it would be better otherwise.
    Warn,
    /// Somebody could be logged in who should not be.
    Unsafe,
    /// It does not work.
    Failed,
    /// It was not tried.
    Skipped,
}

#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) grade: Grade,
    tried: String,
    happened: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<String>,
}

impl Finding {
    pub(super) fn ok(tried: impl Into<String>, happened: impl Into<String>) -> Self {
        Self { grade: Grade::Ok, tried: tried.into(), happened: happened.into(), change: None }
    }

    pub(super) fn skipped(tried: impl Into<String>, why: impl fmt::Display) -> Self {
        let happened = format!("not tested, because {why}");
        Self { grade: Grade::Skipped, tried: tried.into(), happened, change: None }
    }

    pub(super) fn warn(
        tried: impl Into<String>,
        happened: impl Into<String>,
        change: impl Into<String>,
    ) -> Self {
        Self::bad(Grade::Warn, tried, happened, change)
    }

    pub(super) fn not_safe(
        tried: impl Into<String>,
        happened: impl Into<String>,
        change: impl Into<String>,
    ) -> Self {
        Self::bad(Grade::Unsafe, tried, happened, change)
    }

    pub(super) fn failed(
        tried: impl Into<String>,
        happened: impl Into<String>,
        change: impl Into<String>,
    ) -> Self {
        Self::bad(Grade::Failed, tried, happened, change)
    }

    fn bad(
        grade: Grade,
        tried: impl Into<String>,
        happened: impl Into<String>,
        change: impl Into<String>,
    ) -> Self {
        Self { grade, tried: tried.into(), happened: happened.into(), change: Some(change.into()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grade = match self.grade {
            Grade::Ok => "ok",
            Grade::Warn => "warn",
            Grade::Unsafe => "unsafe",
            Grade::Failed => "failed",
            Grade::Skipped => "skipped",
        };
        // A peer's words are repeated in some findings: they get no lines of their own.
        let line = |text: &str| text.replace(char::is_control, " ");
        write!(f, "{grade:<8} {} - {}", line(&self.tried), line(&self.happened))?;
        self.change.iter().try_for_each(|change| write!(f, " - {}", line(change)))
    }
}
