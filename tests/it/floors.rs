//! Imports between the modules of `src/` go down only.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules from the ground up. A module may import modules of lower floors, and itself.
const FLOORS: [&[&str]; 8] = [
    &[
        "audit",
        "clock",
        "deadline",
        "last_activity",
        "poll_on_wake",
        "logging",
        "metrics",
        "reloads",
        "request_id",
        "shutdown",
        "client_network",
        "tls",
        "token",
    ],
    &["body", "config", "turns"],
    &["hub", "pages", "store"],
    &["login", "routes", "server"],
    &["api", "proxy", "status"],
    &["app"],
    &["cli"],
    &["lib", "main"],
];

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src can be read") {
        let path = entry.expect("src can be read").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Each source file of `src/` with the name of its module.
pub(crate) fn modules() -> BTreeMap<PathBuf, String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&src, &mut found);
    let module = |path: &PathBuf| {
        let inside = path.strip_prefix(&src).expect("it was found there");
        let first = inside.components().next().expect("it has a name").as_os_str().to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    };
    found.into_iter().map(|path| (path.clone(), module(&path))).collect()
}

/// The modules that a text imports: what follows `crate::`, also in `crate::{a, b::c}`.
fn imports(text: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()
    };
    let code =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for after in code.split("crate::").skip(1) {
        if let Some(list) = after.strip_prefix('{') {
            let mut depth = 0;
            let mut start = true;
            for (at, c) in list.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    c if start && !c.is_whitespace() => {
                        found.push(name(&list[at..]));
                        start = false;
                    }
                    _ => {}
                }
            }
        } else {
            found.push(name(after));
        }
    }
    found.retain(|module| !module.is_empty());
    found
}

#[test]
fn every_module_has_a_floor() {
    for (path, module) in modules() {
        assert!(floor_of(&module).is_some(), "{} is on no floor of tests/it/floors.rs", path.display());
    }
}

#[test]
fn imports_go_down_only() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (path, module) in modules() {
        let text = fs::read_to_string(&path).expect("src can be read");
        for import in imports(&text) {
            seen += 1;
            if import != module && floor_of(&import) >= floor_of(&module) {
                wrong.push(format!("{}: {module} imports {import}", path.display()));
            }
        }
    }
    assert!(seen > 50, "only {seen} imports were found: this test reads them wrongly");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn imports_are_found_however_they_are_written() {
    let text =
        "use crate::{config::{Config, Limits}, token};\n// crate::proxy\nlet x = crate::store::open();";
    assert_eq!(imports(text), ["config", "token", "store"]);
}

#[test]
fn every_file_opens_by_saying_what_it_is_for() {
    for path in modules().into_keys() {
        let text = fs::read_to_string(&path).expect("src can be read");
        assert!(text.starts_with("//! "), "{} does not open with a //! sentence", path.display());
    }
}
