//! The names in `src/` mean one thing each, are the field's, and its files do not import in circles.
//!
//! `docs/architecture.md` has the glossary. The lists below only shrink.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::floors::modules;

/// From how many type names on that are defined in two modules this test fails.
const NAMES_USED_TWICE_MAX: usize = 3;

/// Words of the first version that a newcomer had to learn; each has a name of the field now.
const OLD_WORDS: [&str; 33] = [
    "Wishes",
    "Likeness",
    "Redeeming",
    "Loser",
    "Unrecorded",
    "Bell",
    "Hush",
    "Dormant",
    "Resting",
    "Patient",
    "Patience",
    "Attended",
    "Presented",
    "Foreign",
    "Signatory",
    "Slab",
    "Packed",
    "Surroundings",
    "Lasting",
    "InForce",
    "Lease",
    "Passing",
    "uninvited",
    "conclude",
    "take_back",
    "in_place_of",
    "succeeded_by",
    "go_on_from",
    "learn_from",
    "greeting",
    "subscriber",
    "draw_up",
    "offer_presented",
];

/// Each source file under `src/` by its path there.
fn sources() -> BTreeMap<String, String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |path: &Path| {
        let name = path.strip_prefix(&src).expect("it was found there").to_string_lossy().into_owned();
        (name, fs::read_to_string(path).expect("src can be read"))
    };
    modules().into_keys().map(|path| read(&path)).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The type that a line defines, if it defines one at the level of its module.
fn defined(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub").map_or(line, |rest| match rest.strip_prefix('(') {
        Some(scope) => scope.split_once(')').map_or("", |(_, rest)| rest),
        None => rest,
    });
    let mut parts = words(rest);
    matches!(parts.next(), Some("struct" | "enum" | "trait")).then(|| parts.next()).flatten()
}

#[test]
fn a_type_name_means_one_thing() {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources() {
        for name in text.lines().filter_map(defined) {
            found.entry(name.to_owned()).or_default().insert(path.clone());
        }
    }
    assert!(found.len() > 200, "only {} types were found: this test reads them wrongly", found.len());
    let twice: Vec<_> = found.into_iter().filter(|(_, paths)| paths.len() > 1).collect();
    assert!(twice.len() < NAMES_USED_TWICE_MAX, "{} names: {twice:#?}", twice.len());
}

#[test]
fn no_word_of_the_old_dialect_is_left() {
    let mut left = Vec::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            // In prose some of them are ordinary English, and one is a module of the crate tracing.
            let code = line.split("//").next().unwrap_or_default().replace("tracing::subscriber", "");
            for word in words(&code).filter(|word| OLD_WORDS.contains(word)) {
                left.push(format!("src/{path}:{}: {word}", number + 1));
            }
        }
    }
    assert!(left.is_empty(), "{}", left.join("\n"));
}

/// The module path of a file: `proxy/login/mod.rs` is `proxy::login`.
fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.split('/').map(str::to_owned).collect()
}

/// The paths that a `use` tree names: `super::{a, b::{c, d}}` is three.
fn expand(tree: &str, before: &[String], found: &mut Vec<Vec<String>>) {
    let (head, list) = tree.split_once('{').map_or((tree, None), |(head, rest)| {
        (head, Some(rest.rsplit_once('}').map_or(rest, |(list, _)| list)))
    });
    let mut path = before.to_vec();
    path.extend(head.split("::").map(|part| words(part).next().unwrap_or_default().to_owned()));
    path.retain(|part| !part.is_empty());
    let Some(list) = list else { return found.push(path) };
    let (mut depth, mut start) = (0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&list[start..at], &path, found);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !list[start..].trim().is_empty() {
        expand(&list[start..], &path, found);
    }
}

/// The modules that `text`, a file of `module`, imports by `use`, from the root of the crate; tests left out.
fn imported(module: &[String], text: &str) -> Vec<Vec<String>> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = Vec::new();
    for statement in code.split("\nuse ").chain(code.split("\npub use ").skip(1)).skip(1) {
        let tree = statement.split(';').next().unwrap_or_default();
        let mut paths = Vec::new();
        expand(tree, &[], &mut paths);
        for path in paths {
            let ups = path.iter().take_while(|part| *part == "super").count();
            match path.first().map(String::as_str) {
                Some("crate") => found.push(path[1..].to_vec()),
                Some("super") if ups <= module.len() => {
                    found.push([&module[..module.len() - ups], &path[ups..]].concat());
                }
                _ => {}
            }
        }
    }
    found
}

/// What can be reached from `start`.
fn reached<'a>(edges: &'a BTreeMap<String, BTreeSet<String>>, start: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&str> = edges.get(start).into_iter().flatten().map(String::as_str).collect();
    while let Some(file) = next.pop() {
        if found.insert(file) {
            next.extend(edges.get(file).into_iter().flatten().map(String::as_str));
        }
    }
    found
}

#[test]
fn files_of_a_folder_do_not_import_in_a_circle() {
    let sources = sources();
    let by_module: BTreeMap<Vec<String>, &String> =
        sources.keys().map(|path| (module_of(path), path)).collect();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in &sources {
        let module = module_of(path);
        for import in imported(&module, text) {
            // The longest prefix that is a module of ours is the file.
            let file = (1..=import.len()).rev().find_map(|length| by_module.get(&import[..length]));
            let folder = |path: &str| path.rsplit_once('/').map(|(folder, _)| folder.to_owned());
            // A folder's mod.rs names its files, and a file asks its mod.rs for what they share: no circle of two files.
            let heads = |path: &str| path.ends_with("/mod.rs");
            if let Some(file) = file
                && **file != *path
                && folder(file) == folder(path)
                && !heads(file)
                && !heads(path)
            {
                edges.entry(path.clone()).or_default().insert((*file).clone());
            }
        }
    }
    let count: usize = edges.values().map(BTreeSet::len).sum();
    assert!(count > 100, "only {count} imports were found: this test reads them wrongly");
    let circles: Vec<_> = edges.keys().filter(|path| reached(&edges, path).contains(path.as_str())).collect();
    assert!(circles.is_empty(), "{} files import each other in circles: {circles:#?}", circles.len());
}

#[test]
fn imports_are_expanded() {
    let mut found = Vec::new();
    expand("super::{a, b::{c, self}}", &[], &mut found);
    let found: Vec<String> = found.into_iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["super::a", "super::b::c", "super::b::self"]);
}

#[test]
fn a_definition_is_told_from_a_use() {
    assert_eq!(defined("pub(in crate::proxy) struct Route<'a> {"), Some("Route"));
    assert_eq!(defined("enum Decision {"), Some("Decision"));
    assert_eq!(defined("    struct Inner;"), Some("Inner"));
    assert_eq!(defined("pub fn route() {}"), None);
}
