//! The process: arguments in, exit code out.

use clap::Parser as _;
use hublatch::cli::{self, Cli, Exit};

// A request allocates and frees pieces of many sizes, some of them large: it does so at half of what glibc takes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Exit {
    cli::run(Cli::parse(), cli::serve::run)
}
