//! What is wrong with a configuration: every fault at once, each with its place and what to write instead.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it was written: the file, or the environment variable.
    pub place: String,
    /// The line in the file; none for a variable, and for a key that is nowhere.
    pub line: Option<usize>,
    /// The key (`login.lifetime`, `apps[0].name`); empty if the fault is the file's as a whole.
    pub key: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// A fault has been noted in place of the value.
pub(super) struct Noted;

/// All that is wrong; never empty. Displayed one a line, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// `faults` in the order of the file, then by key what has no line; `None` if there are none.
    pub fn new(mut faults: Vec<Fault>) -> Option<Self> {
        faults.sort_by_cached_key(|fault| match fault.line {
            Some(line) => (false, line, String::new()),
            None => (true, 0, fault.key.clone()),
        });
        (!faults.is_empty()).then_some(Self(faults))
    }

    /// The one fault of something as a whole, such as a file that cannot even be read.
    pub fn of_file(place: String, line: Option<usize>, message: String) -> Self {
        Self(vec![Fault { place, line, key: String::new(), message }])
    }

    /// Each fault.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
