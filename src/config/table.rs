//! Sections as tables: each key is declared once, with its type, its bounds, its default and its text in the manual.
//!
//! `section!` makes of such a table the struct, its reader, and the entries of which `reference.rs` makes the manual and
//! the schema. How to add a key stands at the head of `config/mod.rs`.

use std::path::Path;

use super::file::ConfigFile;
use super::kind::Kind;
use super::section::Shape;

/// Declares a section: `field: Type, kind, presence text;` for each key; `field "key": …` where the two names differ. Fields
/// behind `made` are no keys: they begin with the default of their type, and whoever reads the section sets them.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $(#[derive($($derive:ident),+)])?
        $visibility:vis struct $Name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident $($key:literal)?: $Type:ty, $kind:expr, $presence:ident $text:tt;
            )+
        }
        $(made { $($(#[doc = $made_doc:literal])+ $made:ident: $Made:ty;)+ })?
    ) => {
        $(#[doc = $about])+
        $(#[derive($($derive),+)])?
        // The text is the manual's, where keys stand as operators write them.
        #[allow(clippy::doc_markdown, clippy::doc_link_with_quotes, rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags, rustdoc::bare_urls)]
        $visibility struct $Name {
            $($(#[doc = $doc])+ pub $field: $Type,)+
            $($($(#[doc = $made_doc])+ pub $made: $Made,)+)?
        }

        impl $crate::config::section::Section for $Name {
            const ABOUT: &'static [&'static str] = &[$($about),+];

            fn read(file: &mut $crate::config::file::ConfigFile, section: &str) -> Self {
                Self {
                    $($field: file.$presence(
                        &format!("{section}.{}", $crate::config::table::key_name!($field $($key)?)),
                        &$kind,
                        stringify!($text),
                    ),)+
                    $($($made: Default::default(),)+)?
                }
            }

            fn entries() -> Vec<$crate::config::section::KeyEntry> {
                vec![$($crate::config::section::KeyEntry {
                    name: $crate::config::table::key_name!($field $($key)?),
                    doc: &[$($doc),+],
                    presence: stringify!($presence),
                    text: stringify!($text),
                    shape: $kind.shape,
                }),+]
            }
        }
    };
}

/// The name of a key: the literal if there is one, else that of its field.
macro_rules! key_name {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

pub(super) use {key_name, section};

/// The readers: what a key's absence means. Each notes what is wrong and goes on with a value that will do until the
/// end, where any fault refuses the whole configuration: so all faults are found in one run.
impl ConfigFile {
    /// The value at `key`, or its default.
    pub(super) fn default<T: 'static>(&mut self, key: &str, kind: &Kind<T>, default: &str) -> T {
        kind.take(self, key).ok().flatten().unwrap_or_else(|| of_literal(kind, default))
    }

    /// The value at `key`, or none.
    pub(super) fn optional<T: 'static>(&mut self, key: &str, kind: &Kind<T>, _example: &str) -> Option<T> {
        kind.take(self, key).ok().flatten()
    }

    /// The same, where the manual shows the example as a line of its own.
    pub(super) fn shown<T: 'static>(&mut self, key: &str, kind: &Kind<T>, example: &str) -> Option<T> {
        self.optional(key, kind, example)
    }

    /// The value at `key`, whose absence is a fault.
    pub(super) fn required<T: 'static>(&mut self, key: &str, kind: &Kind<T>, example: &str) -> T {
        kind.take(self, key).ok().flatten().unwrap_or_else(|| {
            if !self.is_faulty(key) {
                let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
                let file = if matches!(kind.shape, Shape::Secret) { "_file" } else { "" };
                // Of a section that may be left out, it is said where the key is missed.
                let place = if self.known.contains(section) && !section.contains('[') {
                    format!(" in [{section}]")
                } else {
                    String::new()
                };
                let message = format!("is required{place}; write for example {name}{file} = {example}");
                self.fault(&format!("{key}{file}"), message);
            }
            of_literal(kind, example)
        })
    }
}

/// The value that `literal` stands for. Every literal is ours, and every one is read by a test.
fn of_literal<T: 'static>(kind: &Kind<T>, literal: &str) -> T {
    let file = ConfigFile::parse(Path::new("default"), &format!("value = {literal}"), false, []);
    let value = file.map(|mut file| {
        file.is_example = true;
        kind.take(&mut file, "value")
    });
    match value {
        Ok(Ok(Some(value))) => value,
        Ok(Ok(None) | Err(_)) | Err(_) => {
            unreachable!("the literal {literal} of a table is no value of its key")
        }
    }
}
