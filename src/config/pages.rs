//! `[pages]`: the language, the name and the looks of the few pages that hublatch itself shows.

use std::path::{Path, PathBuf};

use super::file::ConfigFile;
use super::kind::{Kind, text, words};
use super::parse::any;
use super::read::quoted;
use super::secret::public_bytes;
use super::table::section;

const LANGUAGES: [(&str, Option<Language>); 8] = [
    ("auto", None),
    ("en", Some(Language::English)),
    ("de", Some(Language::German)),
    ("fr", Some(Language::French)),
    ("es", Some(Language::Spanish)),
    ("pt", Some(Language::Portuguese)),
    ("zh", Some(Language::Chinese)),
    ("ar", Some(Language::Arabic)),
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
    /// `es`.
    Spanish,
    /// `pt`.
    Portuguese,
    /// `zh`, in simplified characters.
    Chinese,
    /// `ar`.
    Arabic,
}

section! {
    /// The few pages that hublatch itself shows: a link that does not work, "Continue as alice", a hub that does not answer.
    #[derive(Debug, Clone, Default)]
    pub struct Pages {
        /// "auto" (what the browser asks for: English, German, French, Spanish, Portuguese, Chinese or Arabic), or one for all:
        /// "en", "de", "fr", "es", "pt", "zh", "ar".
        language: Option<Language>, words(&LANGUAGES), default "auto";
        /// The name of the application, or of you who run it: at the head of each page, and on the button "Back to …".
        name: Option<String>, text(name), default "";
        /// A picture for the head of each page: a file, SVG, PNG, JPEG, WebP or GIF, of at most 64 KiB. It is written into the
        /// page.
        logo: Option<Image>, path(logo), default "";
        /// A directory with templates of your own, in the place of ours: page.html and style.css, either or both. page.html is a
        /// Jinja template (minijinja). What it prints is escaped. It can stand alone, or change a part of ours:
        ///   {% extends "default/page.html" %}{% block footer %}<footer>Call 1234. {{ words.error }}</footer>{% endblock %}
        /// Blocks: head, header, main, footer. What can be printed:
        ///   lang, dir                     "en", "ar" …; "ltr" or "rtl"
        ///   title, heading, what, advice  what is the matter (heading: with the names set off), what happened, what to do
        ///   detail                        what is wrong with a request, for developers; or none
        ///   sign                          "person", "link", "clock", "start", "failed", "stopped" or "out": which picture of
        ///                                 ours goes with it
        ///   status, code, is_error        503, "hub_unavailable": the codes are listed at the head of src/pages/page.rs
        ///   stay, notebooks               url, label; or none: remain who one is, open the address of the notebooks
        ///   queue, starting               or none: what the page of a wait shows; refresh, script: how it goes on by itself
        ///   frame                         or none: go_on, new_tab: labels of two links to this very address (href=""), with the ids
        ///                                 "continue" and "tab"; frame_script tests whether the browser keeps anything
        ///   frame_script                  or none: what tells the page around a frame what is shown in it
        ///   retry                         whether asking for the same address again is the thing to do
        ///   form                          or none: action, fields (name, value). A page with a form must post these fields
        ///                                 there, each as
        ///                                 <input type="hidden" name="{{ f.name|exact }}" value="{{ f.value|exact }}">
        ///   app                           url, name (of the app, or login.app_url and pages.name), logo (a data: URL); each may
        ///                                 be none
        ///   words                         back, again (labels of buttons), error ("Error 503, hub_unavailable"), request (which
        ///                                 request, and when)
        ///   style                         style.css: <style>{{ style }}</style> is the only style that browsers will take
        /// Scripts, and whatever has to be loaded, are refused by the page's own policy. A template that cannot be rendered is a
        /// fault at start, with its line. Empty: ours.
        templates "dir": Vec<Template>, path(templates), default "";
    }
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

/// What `made` makes of the file or directory that is named; the default if none is. Whether templates can be rendered
/// is for `pages` to see, which knows what they are given.
fn path<T: Default + 'static>(made: fn(&mut ConfigFile, &str) -> Result<T, String>) -> Kind<T> {
    text(any).and_then(move |file, key, written: String| {
        if written.is_empty() {
            return Ok(T::default());
        }
        made(file, &written).map_err(|wrong| file.noted(key, format!("{} {wrong}", quoted(&written))))
    })
}

pub(super) fn name(text: &str) -> Result<Option<String>, String> {
    if text.chars().count() > NAME_CHARS_MAX || text.chars().any(char::is_control) {
        return Err(format!("is not a name; write at most {NAME_CHARS_MAX} characters on one line"));
    }
    Ok(Some(text.to_owned()).filter(|name| !name.is_empty()))
}

fn logo(file: &mut ConfigFile, written: &str) -> Result<Option<Image>, String> {
    let path = &file.file_at(written);
    let bytes = bytes_of(path, LOGO_BYTES_MAX)?;
    let media_type = media_type(&bytes).ok_or_else(|| {
        format!("is no picture: {} is neither SVG, PNG, JPEG, WebP nor GIF", path.display())
    })?;
    Ok(Some(Image { media_type, bytes }))
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
fn templates(file: &mut ConfigFile, written: &str) -> Result<Vec<Template>, String> {
    for name in TEMPLATES {
        file.file_at(&format!("{written}/{name}")); // also those that are not there yet
    }
    let path = &file.file_at(written);
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
    public_bytes(path, max, "too much for a page")
        .map_err(|wrong| format!("cannot be used: {}", wrong.trim_start_matches("cannot ")))
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
