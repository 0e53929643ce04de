//! `hublatch check`: reads and validates the configuration as `serve` would, and binds nothing.

use super::{Exit, load, print};
use crate::config::Source;

/// Prints what is unwise, then that all is well; or every fault.
pub fn run(source: &Source) -> Exit {
    match load(source) {
        Err(exit) => exit,
        Ok(config) => {
            let warnings = config.warnings.iter().map(|warning| format!("warning: {warning}\n"));
            print(&format!("{}{source}: the configuration is valid", warnings.collect::<String>()))
        }
    }
}
