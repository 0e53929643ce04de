//! The files in `config/` tell the truth, and none of them runs with a key that everybody knows.

use super::*;

#[test]
fn every_value_of_the_reference_is_the_default() {
    let directory = directory();
    let reference = loaded(&finished("config/reference.toml", &directory)).expect("the reference loads");
    let app_key = sha256_line("key 0 of this test");
    let key_file = signing_key_file(&directory, 0o600);
    let required_only = format!(
        "public.url = \"https://hub.example.org\"\nhub.url = \"http://127.0.0.1:8400\"\n\
         assertion.key_file = {key_file:?}\n[[apps]]\nname = \"portal\"\nkeys = [{app_key:?}]\n"
    );
    let defaults = loaded(&required_only).expect("the required keys suffice");
    // What is written in the reference is written, and nothing is learnt from a route.
    let defaults =
        format!("{defaults:#?}").replace("base_url_is_default: true", "base_url_is_default: false");
    assert_eq!(format!("{reference:#?}"), defaults);
}

#[test]
fn the_reference_is_what_the_tables_say() {
    let how = "run: cargo run -- reference config > config/reference.toml";
    assert!(text_of("config/reference.toml") == hublatch::config::reference(), "{how}");
}

#[test]
fn every_key_of_the_reference_has_a_comment_above() {
    let text = text_of("config/reference.toml");
    let mut above = "";
    let mut keys = 0;
    for line in text.lines() {
        if line.starts_with(|first: char| first.is_ascii_lowercase()) {
            keys += 1;
            assert!(above.starts_with('#'), "no comment above: {line}");
        }
        above = line;
    }
    assert!(keys > 40, "{keys} keys");
}

#[test]
fn the_minimal_file_wants_one_line_and_says_which() {
    let text = text_of("config/minimal.toml");
    let wrong = complaint(loaded(&text));
    assert_eq!(wrong.lines().count(), 1, "{wrong}");
    assert!(wrong.contains("apps[0].keys[0]") && wrong.contains("run hublatch keygen"), "{wrong}");

    let random = aws_lc_rs::rand::SystemRandom::new();
    let key = AppKey::generate(&random).expect("a key");
    let placeholder = text.lines().find(|line| line.starts_with("keys")).expect("the line to replace");
    let config =
        loaded(&text.replace(placeholder, &format!("keys = [\"{}\"]", key.digest()))).expect("it runs");
    assert!(config.apps[0].keys[0].0.matches(&KeyDigest::of(key.expose().as_bytes())));
}

#[test]
fn the_production_file_is_refused_until_every_digest_is_replaced() {
    let directory = directory();
    let text = finished("config/production.toml", &directory);
    let config = loaded(&text).expect("it loads when it is finished");
    assert_eq!(config.apps.len(), 3);
    assert!(config.assertion.is_some());
    assert_eq!(config.hub.login_path(), "/jupyter/hub/login");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);

    let documented = digests_in(&text_of("config/production.toml"));
    assert_eq!(documented.len(), 4);
    for (index, digest) in documented.iter().enumerate() {
        let one_left = text.replace(&sha256_line(&format!("key {index} of this test")), digest);
        let wrong = complaint(loaded(&one_left));
        assert!(wrong.contains("everybody knows from the documentation"), "{wrong}");
        assert_eq!(wrong.lines().count(), 1, "{wrong}");
    }
}

#[test]
fn no_digest_that_we_publish_is_accepted() {
    let mut published = Vec::new();
    for path in files_below(&["config", "docker", "docs", "examples", "README.md", "SECURITY.md"]) {
        published.extend(digests_in(&String::from_utf8_lossy(&fs::read(path).expect("a file"))));
    }
    assert!(published.len() >= 5, "{published:?}");
    for digest in published {
        let mut text = MINIMAL.to_owned();
        let own = digests_in(&text).remove(0);
        text = text.replace(&own, &digest);
        assert!(complaint(loaded(&text)).contains("everybody knows"), "{digest}");
    }
}

fn files_below(names: &[&str]) -> Vec<PathBuf> {
    let mut todo: Vec<PathBuf> =
        names.iter().map(|name| in_repository(name)).filter(|path| path.exists()).collect();
    let mut files = Vec::new();
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            todo.extend(
                fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry").path()),
            );
        } else {
            files.push(path);
        }
    }
    files
}
