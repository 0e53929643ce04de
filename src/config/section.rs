//! What a section of the configuration is to the manual and the schema: its keys, and what can be written at each.

use super::file::ConfigFile;

/// A section of the configuration that is declared as a table.
pub(super) trait Section: Sized {
    /// What it is for: the comment above it in the manual, line by line.
    const ABOUT: &'static [&'static str];

    /// Reads every key of `section`, which is written `login`, `apps[0]` or `public.tls`.
    fn read(file: &mut ConfigFile, section: &str) -> Self;

    /// Every key, for the manual and the schema.
    fn entries() -> Vec<KeyEntry>;
}

/// One key, for the manual and the schema.
pub(super) struct KeyEntry {
    /// Its name within the section.
    pub(super) name: &'static str,
    /// Its text in the manual, line by line.
    pub(super) doc: &'static [&'static str],
    /// `default`, `required`, `optional` or `shown`: what its absence means, and which reader of `ConfigFile` is called.
    pub(super) presence: &'static str,
    /// The default, or an example, as it is written in TOML.
    pub(super) text: &'static str,
    /// What can be written.
    pub(super) shape: Shape,
}

/// What can be written, for the schema.
pub(super) enum Shape {
    Text,
    Words(Vec<&'static str>),
    /// A whole number from … to ….
    Number(String, String),
    Flag,
    Duration,
    Size,
    List(Box<Shape>),
    /// One value or a list.
    OneOrMore(Box<Shape>),
    /// Text, or by the key's twin `x_file` the path of a file that holds it.
    Secret,
    Section(Vec<KeyEntry>),
}
