//! Secrets: a key `x` holds the text itself, its twin `x_file` the path of a file that holds it.
//!
//! A file with a secret that somebody else can read is refused, by the rule of `PostgreSQL`'s `ssl_key_file`: nobody but its
//! owner may, or, if root owns it, a group of this process as well. So Kubernetes and Docker hand out secrets, and
//! certbot its keys. No fault repeats a secret.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::fault::Noted;
use super::file::ConfigFile;
use super::kind::Kind;
use super::section::Shape;

/// No secret is longer; a larger file is another file.
const SECRET_BYTES_MAX: u64 = 64 * 1024;
/// Permissions of group and others.
const GROUP_AND_OTHERS: u32 = 0o077;
/// The same without reading by the group.
const BEYOND_GROUP_READ: u32 = 0o037;

/// A secret, and the key that it came from.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// The text, without the line end that editors add.
    pub text: Zeroizing<String>,
    /// `x` or `x_file`, for faults.
    pub(super) key: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret of {}", self.key)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self { text: Zeroizing::new(text), key: String::new() }
    }
}

/// The secret of a key or of its twin, if one of them is written. `check` says what is wrong with one.
pub(super) fn secret(check: fn(&str) -> Result<(), &'static str>) -> Kind<Secret> {
    Kind::new(Shape::Secret, take).and_then(move |file, _, found: Secret| {
        if file.is_example {
            return Ok(found);
        }
        refuse_exposed(file, &found);
        // The value is not repeated.
        check(&found.text).map_err(|wrong| file.noted(&found.key, wrong)).map(|()| found)
    })
}

/// Whether `text` can be a token in a header; else what is `wrong`.
pub(super) fn visible(text: &str, wrong: &'static str) -> Result<(), &'static str> {
    let is_visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_visible { Ok(()) } else { Err(wrong) }
}

/// A name that is told to the hub: it may stand in a file that others can read.
pub(super) fn name<T: 'static>(parse: fn(&str) -> Result<T, String>) -> Kind<T> {
    Kind::new(Shape::Secret, take).and_then(move |file, _, found: Secret| {
        parse(&found.text).map_err(|wrong| file.noted(&found.key, format!("the name {wrong}")))
    })
}

fn take(file: &mut ConfigFile, key: &str) -> Result<Option<Secret>, Noted> {
    let twin = format!("{key}_file");
    let written = |file: &mut ConfigFile, key: &str| {
        let value = file.take(key);
        value.map(|value| file.parsed(key, &value, |text| Ok(Zeroizing::new(text.to_owned())))).transpose()
    };
    let (inline, path) = (written(file, key), written(file, &twin));
    match (inline?, path?) {
        (Some(_), Some(_)) => {
            Err(file.noted(&twin, format!("is written as well as {key}; keep one of the two")))
        }
        (Some(text), None) => Ok(Some(Secret { text, key: key.to_owned() })),
        (None, Some(path)) if path.contains(['\n', '\r']) || path.starts_with("-----BEGIN") => {
            // Not repeated: it is the secret.
            Err(file.noted(&twin, format!("is not the path of a file; write the text itself as {key}")))
        }
        (None, Some(path)) => match read(&file.file_at(&path)) {
            Ok(text) => Ok(Some(Secret { text, key: twin })),
            Err(wrong) => Err(file.noted(&twin, wrong)),
        },
        (None, None) => Ok(None),
    }
}

/// Whether a secret that stands in the configuration file itself can be read by others; a fault if so.
fn refuse_exposed(file: &mut ConfigFile, secret: &Secret) {
    if file.exposed && !secret.key.ends_with("_file") && file.variable(&secret.key).is_none() {
        let key = &secret.key;
        let message =
            format!("is a secret in a file that others can read; run chmod 600 on it, or write {key}_file");
        file.fault(key, message);
    }
}

/// Whether somebody may do anything with `file` who is neither its owner nor, if that is root and we are not,
/// of a group of ours.
pub(super) fn is_exposed(file: &File) -> std::io::Result<bool> {
    let metadata = file.metadata()?;
    let is_ours = || {
        let groups = rustix::process::getgroups().unwrap_or_default();
        groups.iter().chain([&rustix::process::getegid()]).any(|group| group.as_raw() == metadata.gid())
    };
    let of_root = metadata.uid() == 0 && !rustix::process::geteuid().is_root();
    let forbidden = if of_root && is_ours() { BEYOND_GROUP_READ } else { GROUP_AND_OTHERS };
    Ok(metadata.mode() & forbidden != 0)
}

/// Who but its owner can write the file or directory at `path`; none, if nobody can.
///
/// Nobody takes another's file out of a sticky directory, writes on a file system that is mounted read-only (a `ConfigMap`
/// of Kubernetes), or is in a group that has the number of the owner: that is a group of one.
pub(super) fn writers(path: &Path) -> Option<&'static str> {
    let metadata = std::fs::metadata(path).ok()?;
    let mode = metadata.mode();
    let by = if mode & 0o002 != 0 {
        "everybody"
    } else if mode & 0o020 != 0 && metadata.gid() != metadata.uid() {
        "its group"
    } else {
        return None;
    };
    let read_only = rustix::fs::statvfs(path)
        .is_ok_and(|system| system.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    let is_sticky = metadata.is_dir() && mode & 0o1000 != 0;
    (!read_only && !is_sticky).then_some(by)
}

/// The text in the file at `path`, which is no secret.
pub(super) fn public_text(path: &Path) -> Result<String, String> {
    read_if(path, false).map(|text| text.to_string())
}

/// The text in the file at `path`, which only its owner may read.
pub(super) fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    read_if(path, true)
}

/// What a file holds that everybody may read, if it is that: an operator who has named the wrong file is not helped by
/// being told to hide it.
fn public_content(file: &File) -> Option<&'static str> {
    let mut text = Zeroizing::new(String::new());
    file.take(SECRET_BYTES_MAX).read_to_string(&mut text).ok()?;
    if text.contains("PRIVATE KEY-----") {
        None
    } else if text.contains("-----BEGIN CERTIFICATE-----") {
        Some("a certificate")
    } else if text.contains("PUBLIC KEY-----") {
        Some("a public key")
    } else {
        None
    }
}

fn read_if(path: &Path, private: bool) -> Result<Zeroizing<String>, String> {
    let shown = path.display();
    let cannot = |error: std::io::Error| format!("cannot read {shown}: {error}");
    let file = open_file(path).map_err(cannot)?;
    if private && is_exposed(&file).map_err(cannot)? {
        if let Some(what) = public_content(&file) {
            return Err(format!(
                "{shown} holds {what}, which is no secret; name the file with the private key"
            ));
        }
        return Err(format!(
            "{shown} can be read by others than its owner; run chmod 600 {shown} (or chmod 640, if root owns it and its \
             group is one of hublatch's user)"
        ));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text).map_err(cannot)?;
    if text.len() as u64 > SECRET_BYTES_MAX {
        return Err(format!("{shown} is longer than 64 KiB: it is not a secret or a key"));
    }
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(text)
}

/// At most `max` bytes of the file at `path`, which is no secret.
pub(super) fn public_bytes(path: &Path, max: u64, what: &str) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let cannot = |error: std::io::Error| format!("cannot read {shown}: {error}");
    let mut bytes = Vec::new();
    open_file(path).map_err(cannot)?.take(max + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > max {
        return Err(format!("{shown} is longer than {} KiB: {what}", max / 1024));
    }
    Ok(bytes)
}

fn open_file(path: &Path) -> std::io::Result<File> {
    // Before it is opened: a pipe without a writer would block for ever.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    File::open(path)
}
