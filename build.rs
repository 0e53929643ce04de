//! Tells the commit that is built, for `hublatch --version`. Asks git and nothing else; without it there is none.

use std::process::Command;

fn main() {
    // A package that is built from an archive names its commit by the variable.
    let named = std::env::var("HUBLATCH_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = named.or_else(|| {
        let asked = Command::new("git").args(["rev-parse", "--short=9", "HEAD"]).output().ok()?;
        let commit = String::from_utf8(asked.stdout).ok()?.trim().to_owned();
        (asked.status.success() && !commit.is_empty()).then_some(commit)
    });
    let version = env!("CARGO_PKG_VERSION");
    let full = commit.map_or_else(|| version.to_owned(), |commit| format!("{version}+{commit}"));
    println!("cargo::rustc-env=HUBLATCH_VERSION={full}");
    // Not at every commit: that would build everything anew. A release is built in a clean tree.
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=HUBLATCH_COMMIT");
}
