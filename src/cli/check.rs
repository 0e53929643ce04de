//! `hublatch check`: reads and validates the configuration as `serve` would, and binds nothing.

use std::path::Path;

use super::{Exit, load, print};

/// Prints what is unwise, then that all is well; or every fault.
pub fn run(file: &Path) -> Exit {
    match load(file) {
        Err(exit) => exit,
        Ok(config) => {
            let warnings = config.warnings.iter().map(|warning| format!("warning: {warning}\n"));
            print(&format!("{}{}: the configuration is valid", warnings.collect::<String>(), file.display()))
        }
    }
}
