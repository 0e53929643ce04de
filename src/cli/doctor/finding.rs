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

impl Finding {
    /// The line as a terminal shows it: the grade in its colour.
    pub(super) fn coloured(&self) -> String {
        let colour = match self.grade {
            Grade::Ok => "32",
            Grade::Warn => "33",
            Grade::Unsafe | Grade::Failed => "1;31",
            Grade::Skipped => "2",
        };
        let line = self.to_string();
        let (grade, rest) = line.split_once(' ').unwrap_or((&line, ""));
        format!("\x1b[{colour}m{grade}\x1b[0m {rest}")
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
        // Some findings repeat what a peer has sent: a line end in it must not begin a line.
        let line = |text: &str| text.replace(char::is_control, " ");
        write!(f, "{grade:<8} {} - {}", line(&self.tried), line(&self.happened))?;
        self.change.iter().try_for_each(|change| write!(f, " - {}", line(change)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coloured_line_says_the_same_and_a_peers_words_bring_no_colours_of_their_own() {
        let finding = Finding::failed("a\u{1b}[2Jb", "gone\nok       all is well", "mend it");
        let (plain, coloured) = (finding.to_string(), finding.coloured());
        assert!(plain.starts_with("failed   a [2Jb - gone ok"), "{plain}");
        assert_eq!(coloured, format!("\u{1b}[1;31mfailed\u{1b}[0m{}", &plain["failed".len()..]));
        assert!(Finding::ok("a", "b").coloured().starts_with("\u{1b}[32mok\u{1b}[0m       a - b"));
    }
}
