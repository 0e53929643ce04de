//! When the configuration is read again: on SIGHUP, and when one of its files has changed.
//!
//! Files are looked at by name, again and again: that finds a file that another was renamed to, a symbolic link that
//! leads elsewhere (certbot, Kubernetes) and a file on a network disk alike, holds nothing open, and costs a few system
//! calls a second. Nothing is read while a file still changes.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Read, raise_descriptor_limit, supervisor};
use crate::app::{Reloader, Running};
use crate::config::Reading;
use crate::routes::Routes;

/// The time between two looks. A change is read when two looks in a row have seen the same.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Asks the thread that reloads.
#[derive(Debug)]
pub struct ReloadTrigger(Sender<()>);

impl ReloadTrigger {
    /// Reads the configuration again, whether it has changed or not.
    pub fn ask(&self) {
        // The thread ends only with the process.
        let _sent = self.0.send(());
    }
}

/// Starts the thread that reads the configuration again, when what is to `watch` has changed.
pub fn start(read: Read, watch: Watch, running: &Running) -> io::Result<ReloadTrigger> {
    let (ask, asked) = channel();
    let (routes, reloader) = (running.routes().cloned(), Arc::clone(running.reloader()));
    if let Some(routes) = &routes {
        let ask = Mutex::new(ask.clone());
        routes.when_hub_changes(move || {
            let ask = ask.lock().unwrap_or_else(PoisonError::into_inner);
            let _sent = ask.send(());
        });
    }
    std::thread::Builder::new()
        .name("hublatch-reload".to_owned())
        .spawn(move || run(&asked, watch, &read, routes.as_deref(), &reloader))?;
    Ok(ReloadTrigger(ask))
}

fn run(asked: &Receiver<()>, mut watch: Watch, read: &Read, routes: Option<&Routes>, reloader: &Reloader) {
    loop {
        match asked.recv_timeout(LOOK_EVERY) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) if watch.has_changed() => {}
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        }
        supervisor::reloading(|| reload(&mut watch, read, routes, reloader));
    }
}

fn reload(watch: &mut Watch, read: &Read, routes: Option<&Routes>, reloader: &Reloader) {
    // Looked at before they are read, so that a change during the reading is seen as another one.
    watch.remember();
    let learnt = routes.map(Routes::learnt).unwrap_or_default();
    let Reading { outcome, files } = read(&learnt);
    let limits = outcome.as_ref().ok().map(|config| config.limits.clone());
    if reloader.reload(outcome).is_ok() {
        watch.follow(files);
        limits.inspect(raise_descriptor_limit);
    } else {
        // The files of the configuration in force too: somebody may put it back.
        watch.follow_also(files);
    }
}

/// What is known of files without reading them; none of one that is not there.
type Prints = Vec<Option<[i64; 6]>>;

/// The files of the configuration.
pub struct Watch {
    files: Vec<PathBuf>,
    /// The state of the files when they were last read.
    read: Prints,
    /// Their state at the last look.
    seen: Prints,
}

impl Watch {
    /// Of `files`, which have just been read.
    pub fn new(files: Vec<PathBuf>) -> Self {
        let now = prints(&files);
        Self { files, read: now.clone(), seen: now }
    }

    /// Whether a file has changed since it was read, and was the same at the last two looks: nobody is still writing it.
    fn has_changed(&mut self) -> bool {
        let now = prints(&self.files);
        let settled = now == self.seen;
        self.seen = now;
        settled && self.seen != self.read
    }

    fn remember(&mut self) {
        self.read = prints(&self.files);
        self.seen.clone_from(&self.read);
    }

    /// Looks at `files` from now on; those that were there already may have changed meanwhile.
    fn follow(&mut self, files: Vec<PathBuf>) {
        let print = |file: &PathBuf| match self.files.iter().position(|known| known == file) {
            Some(at) => self.read[at],
            None => print(file),
        };
        self.read = files.iter().map(print).collect();
        self.seen.clone_from(&self.read);
        self.files = files;
    }

    fn follow_also(&mut self, files: Vec<PathBuf>) {
        let new: Vec<PathBuf> = files.into_iter().filter(|file| !self.files.contains(file)).collect();
        self.follow([self.files.clone(), new].concat());
    }
}

fn prints(files: &[PathBuf]) -> Prints {
    files.iter().map(|file| print(file)).collect()
}

/// Device, inode, size, permissions and the time of the last change of either content or permissions.
fn print(file: &Path) -> Option<[i64; 6]> {
    let meta = std::fs::metadata(file).ok()?;
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    Some([
        whole(meta.dev()),
        whole(meta.ino()),
        whole(meta.len()),
        i64::from(meta.mode()),
        meta.ctime(),
        meta.ctime_nsec(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_change_is_told_once_it_has_settled_and_only_until_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        fs::write(&one, "1").unwrap();
        let mut watch = Watch::new(vec![one.clone(), two.clone()]);
        assert!(!watch.has_changed() && !watch.has_changed());
        fs::write(&two, "it was not there").unwrap();
        assert!(!watch.has_changed(), "it may not have settled");
        assert!(watch.has_changed() && watch.has_changed());
        watch.remember();
        assert!(!watch.has_changed());
        fs::write(dir.path().join("three"), "another file of the same length").unwrap();
        fs::rename(dir.path().join("three"), &one).unwrap();
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
        watch.remember();
        fs::remove_file(&two).unwrap();
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for version in ["v1", "v2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("key"), "same").unwrap();
        }
        std::os::unix::fs::symlink("v1", at("current")).unwrap();
        let mut watch = Watch::new(vec![at("current").join("key")]);
        std::os::unix::fs::symlink("v2", at("next")).unwrap();
        fs::rename(at("next"), at("current")).unwrap();
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
    }

    #[test]
    fn files_that_are_followed_anew_keep_what_they_were_when_they_were_read() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        fs::write(&one, "1").unwrap();
        let mut watch = Watch::new(vec![one.clone()]);
        watch.remember();
        fs::write(&one, "changed while it was read").unwrap();
        watch.follow_also(vec![one.clone(), two]);
        assert_eq!(watch.files.len(), 2);
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
    }
}
