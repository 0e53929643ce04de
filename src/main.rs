//! The process: arguments in, exit code out.

use clap::Parser as _;
use hublatch::cli::{self, Cli, Exit};

fn main() -> Exit {
    cli::run(Cli::parse(), cli::serve::run)
}
