//! The command line: what can be typed, and one file for each command.
//!
//! What is loaded from where, and with which exit code a command ends, is the same for all of them.

pub mod assertion;
mod call;
pub mod check;
pub mod chp;
pub mod doctor;
mod end;
mod generate;
pub mod health;
pub mod init;
pub mod keygen;
pub mod link;
mod reference;
pub mod rehearse;
pub mod serve;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Config, Faults, Reading, Source};
use crate::pages::Pages;

/// Where packages put the configuration.
const DEFAULT_FILE: &str = "/etc/hublatch/hublatch.toml";

/// A reverse proxy that performs forced login for `JupyterHub`.
#[derive(Debug, Parser)]
#[command(
    name = "hublatch",
    version = env!("HUBLATCH_VERSION"),
    about,
    propagate_version = true,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    config: ConfigArg,
}

/// Where the configuration is.
#[derive(Debug, Clone, Args)]
pub struct ConfigArg {
    /// The configuration [default: the text in `$HUBLATCH_CONFIG_TOML`, else the file `$HUBLATCH_CONFIG`, else
    /// /etc/hublatch/hublatch.toml]
    #[arg(long = "config", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl ConfigArg {
    fn source(self) -> Source {
        let file = self.file.map(Source::File).or_else(Source::of_environment);
        let named = || std::env::var_os("HUBLATCH_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        file.unwrap_or_else(|| Source::File(named().unwrap_or_else(|| DEFAULT_FILE.into())))
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run (the default)
    Serve(ConfigArg),
    /// Read and validate the configuration; exit 78 with every fault
    Check(check::CheckArgs),
    /// Write a working configuration and keys into a directory
    Init(init::InitArgs),
    /// Print what the hub's authenticator has to know: the public key of [assertion], its audience and header, as JSON
    Assertion(ConfigArg),
    /// Print a new app key, and its digest for the configuration
    Keygen,
    /// Ask a running hublatch for a login link and print its URL
    Link(link::LinkArgs),
    /// Ask a running hublatch to end all browser sessions of a user
    End(end::EndArgs),
    /// Let a class of test users log in at once, at a test hub, and tell how it went
    Rehearse(rehearse::RehearseArgs),
    /// Test a running deployment, from outside and from inside; exit 1 if anything is unsafe
    Doctor(doctor::DoctorArgs),
    /// Exit 0 if the running hublatch is ready (container probe)
    Health(health::HealthArgs),
    /// Print the manual page, or completions for a shell
    Generate(generate::GenerateArgs),
    /// Print the manual of the configuration, its JSON Schema, or files to start from
    Reference(reference::ReferenceArgs),
    /// Run as the hub's own proxy, by the command line of configurable-http-proxy
    Chp(Box<chp::ChpArgs>),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: it did what it was asked.
    Done,
    /// 1: it could not.
    Failed,
    /// 2: nobody understood what was typed.
    Misspelt,
    /// 78: the configuration is bad (`EX_CONFIG` of sysexits.h).
    BadConfig,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::Misspelt => Self::from(2),
            Exit::BadConfig => Self::from(78),
        }
    }
}

impl std::process::Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}

/// Does what was typed; `serve` runs the proxy with a configuration.
pub fn run(cli: Cli, serve: impl FnOnce(&Source) -> Exit) -> Exit {
    match cli.command.unwrap_or(Command::Serve(cli.config)) {
        Command::Serve(config) => serve(&config.source()),
        Command::Check(args) => check::run(args),
        Command::Init(args) => init::run(&args),
        Command::Assertion(config) => assertion::run(&config.source()),
        Command::Keygen => keygen::run(),
        Command::Link(args) => link::run(&args),
        Command::End(args) => end::run(&args),
        Command::Rehearse(args) => rehearse::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Reference(args) => reference::run(&args),
        Command::Health(args) => health::run(args),
        Command::Chp(args) => chp::run(*args),
    }
}

/// The words of a command line; called by the name of configurable-http-proxy, it is that.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    let name = words.first().and_then(|name| Path::new(name).file_name());
    if name.is_some_and(|name| name == "configurable-http-proxy") {
        words.insert(1, "chp".into());
    }
    Cli::try_parse_from(words)
}

/// Prints what is wrong with a command line, or the help that it asks for. The exit code is 2, as everywhere.
pub fn misspelt(error: &clap::Error) -> Exit {
    let _printed = error.print();
    if error.use_stderr() { Exit::Misspelt } else { Exit::Done }
}

/// The configuration in `source` under the environment. Faults are printed, one a line.
pub fn load(source: &Source) -> Result<Config, Exit> {
    judge(read(source, &[]).outcome)
}

/// The same with the names of all files that have a say in it, and with variables that are not set.
fn read(source: &Source, more: &[(String, String)]) -> Reading {
    // Lossy: a value that is not UTF-8 is no valid value of any key either, and its fault says so.
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
    let Reading { outcome, files } = config::load_with_files(source, environment.chain(more.iter().cloned()));
    // The operator's templates belong to it, and only `pages` can judge them.
    let outcome = outcome.and_then(|config| Pages::new(&config).map(|_| config));
    Reading { outcome, files }
}

fn judge(outcome: Result<Config, Faults>) -> Result<Config, Exit> {
    outcome.map_err(|faults| {
        for fault in &faults {
            complain(&fault.to_string());
        }
        Exit::BadConfig
    })
}

/// Writes `text` and a line end to stdout. A reader that has gone away makes a failure and no panic.
fn print(text: &str) -> Exit {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => Exit::Done,
        Err(_) => Exit::Failed,
    }
}

/// Writes one line to stderr.
fn complain(line: &str) {
    // Nobody is left to be told if stderr is gone.
    let _written = writeln!(std::io::stderr(), "{line}");
}

/// Says why a command failed.
fn fail(command: &str, reason: &str) -> Exit {
    complain(&format!("hublatch {command}: {reason}"));
    Exit::Failed
}

/// Runs one command's future to its end.
fn block_on<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(future))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_serves() {
        for words in [&["hublatch", "--config", "a.toml"][..], &["hublatch", "serve", "--config", "a.toml"]] {
            let cli = Cli::try_parse_from(words).unwrap();
            let mut served = None;
            let exit = run(cli, |source| {
                served = Some(source.clone());
                Exit::Done
            });
            assert_eq!((exit, served), (Exit::Done, Some(Source::File("a.toml".into()))), "{words:?}");
        }
    }

    #[test]
    fn a_link_order_that_makes_no_sense_is_refused() {
        for words in [
            &["link", "alice", "--path", "lab", "--next", "/hub/home"][..],
            &["link", "alice", "--server", "named", "--next", "/hub/home"],
            &["link"],
            &["link", "alice", "--expires-in", "soon"],
            &["link", "alice", "--expires-in", "0s"],
            &["link", "alice", "--expires-in", "1500ms"],
        ] {
            let words = std::iter::once(&"hublatch").chain(words);
            assert!(Cli::try_parse_from(words.clone()).is_err(), "{words:?}");
        }
    }
}
