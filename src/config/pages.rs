//! `[pages]`: the language, the name and the looks of the few pages that hublatch itself shows.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::file::ConfigFile;
use super::parse::one_of;
use super::read::shown;

const LANGUAGES: [(&str, Option<Language>); 4] = [
    ("auto", None),
    ("en", Some(Language::English)),
    ("de", Some(Language::German)),
    ("fr", Some(Language::French)),
];

/// The templates that an operator can replace.
pub(crate) const TEMPLATES: [&str; 2] = ["page.html", "style.css"];
/// The largest template.
const TEMPLATE_BYTES_MAX: u64 = 256 * 1024;
/// The largest logo: it is written into each page.
const LOGO_BYTES_MAX: u64 = 64 * 1024;
const NAME_CHARS_MAX: usize = 64;

/// A language of our own pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// `en`.
    English,
    /// `de`.
    German,
    /// `fr`.
    French,
}

/// `[pages]`.
#[derive(Debug, Clone, Default)]
pub struct Pages {
    /// The one language; none: the browser's choice.
    pub language: Option<Language>,
    /// The name of the application or of its operator.
    pub name: Option<String>,
    /// Its logo.
    pub logo: Option<Image>,
    /// The operator's own templates.
    pub templates: Vec<Template>,
}

/// A picture.
#[derive(Debug, Clone)]
pub struct Image {
    /// `image/svg+xml`.
    pub media_type: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
}

/// A template of the operator's, not judged yet.
#[derive(Debug, Clone)]
pub struct Template {
    /// `page.html`.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// What is in it, with line feeds alone.
    pub text: String,
}

/// `[pages]`. Whether the templates can be rendered is for `pages` to see, which knows what they are given.
pub(super) fn pages(file: &mut ConfigFile) -> Option<Pages> {
    let language = file.value("pages.language", None, one_of(&LANGUAGES));
    let name = file.value("pages.name", None, |text| name(text).map(Some));
    let logo = read(file, "pages.logo", |file, written| logo(&file.file_at(written)).map(Some));
    let templates = read(file, "pages.dir", |file, written| {
        for name in TEMPLATES {
            file.file_at(&format!("{written}/{name}")); // also those that are not there yet
        }
        templates(&file.file_at(written))
    });
    Some(Pages {
        language: language?,
        name: name?.filter(|name| !name.is_empty()),
        logo: logo?,
        templates: templates?,
    })
}

/// What is made of the file or directory that is named at `key`; the default if none is.
fn read<T: Default>(
    file: &mut ConfigFile,
    key: &str,
    made: impl FnOnce(&mut ConfigFile, &str) -> Result<T, String>,
) -> Option<T> {
    let written = file.value(key, String::new(), |path| Ok(path.to_owned()))?;
    if written.is_empty() {
        return Some(T::default());
    }
    made(file, &written).map_err(|wrong| file.fault(key, format!("{} {wrong}", shown(&written)))).ok()
}

fn name(text: &str) -> Result<String, String> {
    if text.chars().count() > NAME_CHARS_MAX || text.chars().any(char::is_control) {
        return Err(format!("is not a name; write at most {NAME_CHARS_MAX} characters on one line"));
    }
    Ok(text.to_owned())
}

fn logo(path: &Path) -> Result<Image, String> {
    let bytes = bytes_of(path, LOGO_BYTES_MAX)?;
    let media_type = media_type(&bytes).ok_or_else(|| {
        format!("is no picture: {} is neither SVG, PNG, JPEG, WebP nor GIF", path.display())
    })?;
    Ok(Image { media_type, bytes })
}

/// What the bytes are, whatever the name of their file says.
fn media_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => std::str::from_utf8(bytes).ok().filter(|text| text.contains("<svg")).map(|_| "image/svg+xml"),
    }
}

/// The templates in the directory at `path`. Only files whose names end like a template's are looked at.
fn templates(path: &Path) -> Result<Vec<Template>, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(cannot)? {
        let name = entry.map_err(cannot)?.file_name().to_string_lossy().into_owned();
        let kind = Path::new(&name).extension().and_then(std::ffi::OsStr::to_str);
        // Editors leave hidden copies.
        if name.starts_with('.') || !matches!(kind, Some("html" | "css")) {
            continue;
        }
        if !TEMPLATES.contains(&name.as_str()) {
            return Err(format!("holds {name}, which is none of the templates: {}", TEMPLATES.join(", ")));
        }
        found.push(template(path.join(&name), name)?);
    }
    if found.is_empty() {
        return Err(format!("holds no template: {}", TEMPLATES.join(", ")));
    }
    Ok(found)
}

fn template(path: PathBuf, name: String) -> Result<Template, String> {
    let text = String::from_utf8(bytes_of(&path, TEMPLATE_BYTES_MAX)?)
        .map_err(|_| format!("holds {name}, which is not UTF-8"))?;
    // What a browser hashes for the policy has no CR (HTML, "preprocessing the input stream").
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    Ok(Template { name, path, text })
}

fn bytes_of(path: &Path, max: u64) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let cannot = |error: std::io::Error| format!("cannot be used: read {shown}: {error}");
    // Before it is opened: a pipe without a writer would block for ever.
    if !std::fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(format!("cannot be used: {shown} is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(cannot)?.take(max + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > max {
        return Err(format!("cannot be used: {shown} is longer than {} KiB", max / 1024));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_known_by_its_bytes() {
        for (bytes, expected) in [
            (&b"\x89PNG\r\n\x1a\n..."[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"GIF89a..", Some("image/gif")),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"/>", Some("image/svg+xml")),
            (b"<html></html>", None),
            (b"\x89PNG", None),
            (b"<svg \xff", None),
            (b"", None),
        ] {
            assert_eq!(media_type(bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
