//! `hublatch check`: reads and validates the configuration as `serve` would, and binds nothing.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{ConfigArg, Exit, fail, load, print};
use crate::config::Config;
use crate::pages::Pages;

/// What to check, and what to make of it.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Write one page of each kind, in each language, into this directory: what people would see
    #[arg(long, value_name = "DIR")]
    pages: Option<PathBuf>,
}

/// Prints what is unwise, then that all is well; or every fault.
pub fn run(args: CheckArgs) -> Exit {
    let source = args.config.source();
    let config = match load(&source) {
        Err(exit) => return exit,
        Ok(config) => config,
    };
    let warnings = config.warnings.iter().map(String::as_str).chain(missing_way_out(&config));
    let warnings = warnings.map(|warning| format!("warning: {warning}\n"));
    let exit = print(&format!("{}{source}: the configuration is valid", warnings.collect::<String>()));
    match args.pages {
        Some(directory) if exit == Exit::Done => write_pages(&config, &directory),
        Some(_) | None => exit,
    }
}

/// Not told at each start, as nothing is unsafe: it is for whoever writes the configuration.
fn missing_way_out(config: &Config) -> Option<&'static str> {
    let has_none = config.login.app_url.is_none() && config.apps.iter().any(|app| app.url.is_none());
    has_none.then_some(
        "no login.app_url: whoever comes by a link that is over gets a page without a way back; write where the app asks \
         its users in, there or as apps.url",
    )
}

fn write_pages(config: &Config, directory: &Path) -> Exit {
    let written = match Pages::new(config) {
        Err(faults) => return fail("check", &faults.to_string()),
        Ok(pages) => pages.write_samples(directory),
    };
    match written {
        Ok(count) => print(&format!("{}: {count} pages", directory.display())),
        Err(error) => fail("check", &format!("write pages into {}: {error}", directory.display())),
    }
}
