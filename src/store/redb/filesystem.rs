//! What the store and its marker ask of the file system: names beside the store, permissions, a durable directory.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::error::FileError;

/// Permissions of group and others.
const OTHERS: u32 = 0o077;

/// The path beside `path` whose name ends in `suffix`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Refuses what is no file, and a file that others than its owner can use.
pub(super) fn refuse_exposed(file: &File) -> Result<(), FileError> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(FileError::NotAFile);
    }
    if metadata.mode() & OTHERS != 0 {
        return Err(FileError::Exposed);
    }
    Ok(())
}

/// Makes durable what was created or removed in the directory of `path`.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
