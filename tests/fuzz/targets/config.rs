//! The configuration: no text makes loading panic; what is accepted is read the same a second time, however its lines
//! end; what is refused is refused in lines that can be printed.

#![no_main]

use std::path::Path;

use hublatch::config::load_str;
use libfuzzer_sys::fuzz_target;

/// Where no file is: relative paths of the text lead to nothing.
const PLACE: &str = "/nonexistent/hublatch.toml";

fuzz_target!(|text: &str| {
    // No text may make us read this machine's own files.
    if text.contains("_file")
        || text.contains("certificate")
        || text.contains("private_key")
        || text.contains("_ca")
    {
        return;
    }
    let path = Path::new(PLACE);
    match load_str(text, path, []) {
        Ok(config) => {
            let written = format!("{config:?}");
            for again in [text.to_owned(), text.replace("\r\n", "\n"), format!("# A comment.\n{text}\n")] {
                let config = load_str(&again, path, []).expect("it was good before");
                assert_eq!(format!("{config:?}"), written);
            }
        }
        Err(faults) => {
            let mut count = 0;
            for fault in faults.iter() {
                let line = fault.to_string();
                assert!(!line.chars().any(char::is_control), "{line:?}");
                assert!(line.starts_with(PLACE), "{line:?}");
                count += 1;
            }
            assert!(count > 0);
        }
    }
});
