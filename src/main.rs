//! The process: arguments in, exit code out.

use hublatch::cli::{self, Exit};

// A request allocates and frees pieces of many sizes, some of them large: it does so at half of what glibc takes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Exit {
    match cli::parse(std::env::args_os()) {
        Ok(cli) => cli::run(cli, cli::serve::run),
        Err(error) => cli::misspelt(&error),
    }
}
