//! Bad files are refused for just what is wrong with them, at its line, with what to write instead.

use super::*;

/// What the head of a bad file foretells: `#! LINE: KEY: A PART OF THE MESSAGE`, `-` for no line.
fn foretold(text: &str) -> Vec<(Option<usize>, String, String)> {
    let heads = text.lines().map_while(|line| line.strip_prefix("#! "));
    let parts = |head: &str| {
        let (line, rest) = head.split_once(": ")?;
        let (key, part) = rest.split_once(": ")?;
        Some((line.parse().ok(), key.to_owned(), part.to_owned()))
    };
    heads.map(|head| parts(head).unwrap_or_else(|| panic!("unreadable expectation: {head}"))).collect()
}

#[test]
fn each_is_refused_for_just_what_its_head_says() {
    let entries = fs::read_dir(in_repository("tests/data/config/bad")).expect("the bad files");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(paths.len() >= 40, "only {} bad files", paths.len());
    let mut wrong = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("a bad file");
        let foretold = foretold(&text);
        assert!(!foretold.is_empty(), "{}: no expectation", path.display());
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        match load_str(&text, &path, []) {
            Ok(_) => wrong.push(format!("{name}: was accepted")),
            Err(faults) => {
                let found: Vec<_> = faults.iter().collect();
                let same = found.len() == foretold.len()
                    && found.iter().zip(&foretold).all(|(fault, (line, key, part))| {
                        fault.line == *line && fault.key == *key && fault.message.contains(part.as_str())
                    });
                if !same {
                    wrong.push(format!("{name}: foretold {foretold:#?}\nfound\n{faults}\n"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_fault_is_one_line_with_file_line_key_and_remedy() {
    let wrong = complaint(loaded(&format!("{MINIMAL}\n[login]\nlifetime = \"30\"\n")));
    assert_eq!(
        wrong,
        "hublatch.toml:11: login.lifetime: \"30\" is not a duration; write a number and a unit (ms, s, m, h), for \
         example \"30s\" or \"5m\""
    );
}

#[test]
fn no_fault_repeats_what_might_be_a_key() {
    let key = "hk_ThisWouldBeAKeyAndMustNotBeShown0123456789abc";
    let own = digests_in(MINIMAL).remove(0);
    let as_text = MINIMAL.replace(&format!("[{own:?}]"), &format!("{key:?}"));
    assert!(as_text.contains(key) && !complaint(loaded(&as_text)).contains("ThisWouldBeAKey"));
    for written in [format!("{key:?}"), format!("\"sha256:{key}\""), format!("{key:?}, {key:?}, {key:?}")] {
        let wrong = complaint(loaded(&MINIMAL.replace(&format!("{own:?}"), &written)));
        assert!(!wrong.contains("ThisWouldBeAKey"), "{wrong}");
    }
}
