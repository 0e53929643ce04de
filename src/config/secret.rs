//! Secrets: a key `x` holds the text itself, its twin `x_file` the path of a file that holds it.
//!
//! A file with a secret that group or others can read is refused. No fault repeats a secret.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::file::ConfigFile;

/// No secret is longer; a larger file is another file.
const SECRET_BYTES_MAX: u64 = 64 * 1024;
/// Permissions of group and others.
const OTHERS: u32 = 0o077;

/// A secret, and the key that it came from.
pub(super) struct Secret {
    /// The text, without the line end that editors add.
    pub(super) text: Zeroizing<String>,
    /// `x` or `x_file`, for faults.
    pub(super) key: String,
}

/// A fault has been noted in place of the value.
pub(super) struct Noted;

/// The secret of `key` or of its twin, if one of them is written.
pub(super) fn secret(file: &mut ConfigFile, key: &str) -> Result<Option<Secret>, Noted> {
    let twin = format!("{key}_file");
    let inline = file.value(key, None, |text| Ok(Some(Zeroizing::new(text.to_owned()))));
    let path = file.value(&twin, None, |path| Ok(Some(path.to_owned())));
    match (inline.ok_or(Noted)?, path.ok_or(Noted)?) {
        (Some(_), Some(_)) => {
            file.fault(&twin, format!("is written as well as {key}; keep one of the two"));
            Err(Noted)
        }
        (Some(text), None) => Ok(Some(Secret { text, key: key.to_owned() })),
        (None, Some(path)) if path.contains(['\n', '\r']) || path.starts_with("-----BEGIN") => {
            // Not repeated: it is the secret.
            file.fault(&twin, format!("is not the path of a file; write the text itself as {key}"));
            Err(Noted)
        }
        (None, Some(path)) => match read(&file.file_at(&path)) {
            Ok(text) => Ok(Some(Secret { text, key: twin })),
            Err(wrong) => {
                file.fault(&twin, wrong);
                Err(Noted)
            }
        },
        (None, None) => Ok(None),
    }
}

/// Whether a secret that stands in the configuration file itself can be read by others; a fault if so.
pub(super) fn refuse_exposed(file: &mut ConfigFile, secret: &Secret) {
    if file.exposed && !secret.key.ends_with("_file") && file.variable(&secret.key).is_none() {
        file.fault(
            &secret.key,
            format!(
                "is a secret in a file that others can read; run chmod 600 on it, or write {}_file",
                secret.key
            ),
        );
    }
}

/// Whether group or others may do anything with `file`.
pub(super) fn is_exposed(file: &File) -> std::io::Result<bool> {
    file.metadata().map(|metadata| metadata.mode() & OTHERS != 0)
}

/// The text in the file at `path`, which is no secret.
pub(super) fn public_text(path: &Path) -> Result<String, String> {
    read_if(path, false).map(|text| text.to_string())
}

/// The text in the file at `path`, which only its owner may read.
pub(super) fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    read_if(path, true)
}

fn read_if(path: &Path, private: bool) -> Result<Zeroizing<String>, String> {
    let shown = path.display();
    let cannot = |error: std::io::Error| format!("cannot read {shown}: {error}");
    // Before it is opened: a pipe without a writer would block for ever.
    if !std::fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(format!("cannot read {shown}: it is not a file"));
    }
    let file = File::open(path).map_err(cannot)?;
    if private && is_exposed(&file).map_err(cannot)? {
        return Err(format!("{shown} can be read by others than its owner; run chmod 600 {shown}"));
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
