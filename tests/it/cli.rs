//! The commands, as processes: what they print, what they write, how they end.

// A helper that cannot set up its test may panic like the test itself.
#![allow(clippy::unwrap_used)]

mod core_files;
mod doctor;
mod init;
mod running;

use std::fs;

use assert_cmd::Command;
use hublatch::token::KeyDigest;
use tempfile::TempDir;

const CONFIG: &str = "
[public]
url = \"http://127.0.0.1:8000\"
[hub]
url = \"http://127.0.0.1:8400\"
[[apps]]
name = \"portal\"
keys = [\"sha256:1111111111111111111111111111111111111111111111111111111111111111\"]
";

/// hublatch with an environment that holds none of its variables.
fn hublatch(words: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("hublatch"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HUBLATCH") {
            command.env_remove(name);
        }
    }
    command.args(words).timeout(std::time::Duration::from_secs(30));
    command
}

struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(mut command: Command) -> Outcome {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn keygen_prints_a_new_key_and_its_digest() {
    let (one, two) = (run(hublatch(&["keygen"])), run(hublatch(&["keygen"])));
    let lines: Vec<&str> = one.stdout.lines().collect();
    let [key, digest] = lines[..] else { panic!("{}", one.stdout) };
    assert!(key.starts_with("hk_") && key.len() == 46, "{key}");
    assert_eq!(digest, KeyDigest::of(key.as_bytes()).to_string());
    assert_eq!(one.code, Some(0));
    assert_ne!(one.stdout, two.stdout);
}

#[test]
fn check_tells_a_good_configuration_and_what_is_unwise_in_it() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("hublatch.toml");
    fs::write(&file, CONFIG).unwrap();
    let outcome = run(hublatch(&["check", "--config", file.to_str().unwrap()]));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert!(lines.iter().any(|line| line.starts_with("warning: no [assertion]")), "{lines:?}");
    assert!(lines.last().unwrap().ends_with("the configuration is valid"), "{lines:?}");
    let has_no_way_out = |said: &str| said.lines().any(|line| line.starts_with("warning: no login.app_url"));
    assert!(has_no_way_out(&outcome.stdout), "{lines:?}");
    fs::write(&file, format!("{CONFIG}[login]\napp_url = \"https://portal.example/\"\n")).unwrap();
    let outcome = run(hublatch(&["check", "--config", file.to_str().unwrap()]));
    assert!(outcome.code == Some(0) && !has_no_way_out(&outcome.stdout), "{}", outcome.stdout);
}

#[test]
fn check_writes_every_page_in_every_language_or_in_the_one_that_there_is() {
    for (language, folders) in [("", 7), ("[pages]\nlanguage = \"de\"\nname = \"Physics\"\n", 1)] {
        let dir = TempDir::new().unwrap();
        let (file, pages) = (dir.path().join("hublatch.toml"), dir.path().join("pages"));
        fs::write(&file, format!("{CONFIG}{language}")).unwrap();
        let outcome =
            run(hublatch(&["check", "--config", file.to_str().unwrap(), "--pages", pages.to_str().unwrap()]));
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
        assert_eq!(fs::read_dir(&pages).unwrap().count(), folders);
        let german: Vec<_> = fs::read_dir(pages.join("de")).unwrap().map(|entry| entry.unwrap()).collect();
        let told = format!("{}: {} pages", pages.display(), german.len() * folders);
        assert_eq!(outcome.stdout.lines().last(), Some(&*told));
        assert!(german.len() >= 40, "{}", german.len());
        let used =
            german.iter().find(|entry| entry.file_name().to_string_lossy().ends_with("-link_used.html"));
        let text = fs::read_to_string(used.expect("a used link").path()).unwrap();
        assert!(text.contains("<html lang=\"de\">") && text.contains("0123456789abcdef"), "{text}");
        assert_eq!(text.contains("Physics"), folders == 1);
    }
}

#[test]
fn check_prints_every_fault_one_a_line_and_exits_78() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("hublatch.toml");
    fs::write(
        &file,
        CONFIG.replace("http://127.0.0.1:8000", "nowhere").replace("[hub]", "[hub]\ncolour = 1"),
    )
    .unwrap();
    let outcome = run(hublatch(&["check", "--config", file.to_str().unwrap()]));
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(78), ""));
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].contains("hublatch.toml:3: public.url") && lines[1].contains("hublatch.toml:5: hub.colour"),
        "{lines:?}"
    );
}

#[test]
fn check_finds_its_file_in_the_environment_and_obeys_the_environment() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("hublatch.toml");
    fs::write(&file, CONFIG).unwrap();
    let mut good = hublatch(&["check"]);
    good.env("HUBLATCH_CONFIG", &file);
    assert_eq!(run(good).code, Some(0));
    let mut bad = hublatch(&["check"]);
    bad.env("HUBLATCH_CONFIG", &file).env("HUBLATCH_LOGIN__LIFETIME", "soon");
    let bad = run(bad);
    assert_eq!(bad.code, Some(78));
    assert!(bad.stderr.starts_with("HUBLATCH_LOGIN__LIFETIME: login.lifetime"), "{}", bad.stderr);
    let none = run(hublatch(&["check", "--config", "/nowhere/hublatch.toml"]));
    assert_eq!((none.code, none.stderr.lines().count()), (Some(78), 1), "{}", none.stderr);
}

#[test]
fn a_whole_configuration_in_a_variable_stands_for_the_file() {
    let dir = TempDir::new().unwrap();
    let with = |words: &[&str], text: &str| {
        let mut command = hublatch(words);
        command.current_dir(dir.path()).env("HUBLATCH_CONFIG_TOML", text);
        command.env("HUBLATCH_CONFIG", "/nowhere/hublatch.toml");
        run(command)
    };
    let good = with(&["check"], CONFIG);
    assert_eq!((good.code, good.stderr.as_str()), (Some(0), ""));
    assert!(good.stdout.ends_with("HUBLATCH_CONFIG_TOML: the configuration is valid\n"), "{}", good.stdout);
    let text = CONFIG.replace("[hub]", "[hub]\ncolour = 1\nca_file = \"ca.pem\"");
    let bad = with(&["check"], &text.replace("http://127.0.0.1:8400", "https://hub"));
    let lines: Vec<&str> = bad.stderr.lines().collect();
    let [colour, authority] = lines[..] else { panic!("{lines:?}") };
    assert!(colour.starts_with("HUBLATCH_CONFIG_TOML:5: hub.colour: there is no such key"), "{colour}");
    assert!(
        authority.starts_with("HUBLATCH_CONFIG_TOML:6: hub.ca_file: cannot read ca.pem: "),
        "{authority}"
    );
    let torn = with(&["check"], &CONFIG.replace("[hub]", "[hub"));
    assert!(torn.stderr.starts_with("HUBLATCH_CONFIG_TOML:4: not valid TOML: "), "{}", torn.stderr);
    assert_eq!((bad.code, torn.code), (Some(78), Some(78)));
    // Empty, as a template that was not filled in leaves it, is not set.
    assert!(with(&["check"], "").stderr.starts_with("/nowhere/hublatch.toml: "));
    let file = dir.path().join("hublatch.toml");
    fs::write(&file, CONFIG).unwrap();
    let named = with(&["check", "--config", "hublatch.toml"], "broken");
    assert_eq!(named.code, Some(0), "--config wins: {}", named.stderr);
}

/// The commands that take `--config`, by their own help.
fn that_read_a_configuration() -> Vec<String> {
    let help = run(hublatch(&["--help"])).stdout;
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let names = commands.lines().take_while(|line| !line.is_empty());
    let names = names.map(|line| line.split_whitespace().next().unwrap().to_owned());
    names
        .filter(|name| name != "help" && run(hublatch(&[name, "--help"])).stdout.contains("--config"))
        .collect()
}

#[test]
fn every_command_tells_of_a_bad_configuration_with_its_place_and_what_to_do() {
    let dir = TempDir::new().unwrap();
    let place = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(place("folder")).unwrap();
    fs::write(place("latin1"), b"# one\n# caf\xe9\n").unwrap();
    fs::write(place("torn"), CONFIG.replace("[hub]", "[hub")).unwrap();
    fs::write(place("unknown"), CONFIG.replace("[hub]", "[hub]\ncolour = 1")).unwrap();
    fs::write(place("bad"), CONFIG.replace("http://127.0.0.1:8400", "nowhere")).unwrap();
    fs::write(place("short"), CONFIG.replace("url = \"http://127.0.0.1:8400\"", "")).unwrap();
    let cases = [
        ("absent", "", "cannot read the configuration: ", "name it by --config or HUBLATCH_CONFIG"),
        ("folder", "", "cannot read the configuration: ", "name the file in it"),
        ("latin1", ":2", "cannot read the configuration: ", "save the file as UTF-8"),
        ("torn", ":4", "not valid TOML: ", "expected `]`"),
        ("unknown", ":5", "hub.colour: ", "no such key"),
        ("bad", ":5", "hub.url: ", "write for example \"http://127.0.0.1:8400\""),
        ("short", ":4", "hub.url: ", "write for example url = \"http://127.0.0.1:8400\""),
    ];
    // `chp` needs no hub.url; tests/it/routes has what it says.
    let commands: Vec<_> = that_read_a_configuration().into_iter().filter(|name| name != "chp").collect();
    assert_eq!(commands, ["serve", "check", "assertion", "rehearse", "doctor", "health"]);
    let without_a_word = std::iter::once(Vec::new());
    for command in without_a_word.chain(commands.iter().map(|name| vec![name.as_str()])) {
        for (name, line, about, remedy) in cases {
            let file = place(name);
            if command == ["chp"] && name == "short" {
                continue; // it learns where the hub is
            }
            let users: &[&str] = if command == ["rehearse"] { &["--users", "1"] } else { &[] };
            let outcome = run(hublatch(&[&command[..], users, &["--config", &file]].concat()));
            assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(78), ""), "{command:?} {name}");
            let [told] = outcome.stderr.lines().collect::<Vec<_>>()[..] else { panic!("{}", outcome.stderr) };
            assert!(told.starts_with(&format!("{file}{line}: {about}")), "{command:?}: {told}");
            assert!(told.contains(remedy), "{command:?}: {told}");
        }
    }
}

#[test]
fn what_packages_need_is_generated() {
    let with = |words: &[&str]| {
        let outcome = run(hublatch(words));
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{words:?}");
        outcome.stdout
    };
    let man = with(&["generate", "man"]);
    assert!(man.contains(".TH hublatch 1") && man.contains(".SH hublatch doctor"), "{man}");
    for (shell, sign) in
        [("bash", "complete -F"), ("zsh", "#compdef hublatch"), ("fish", "complete -c hublatch")]
    {
        assert!(with(&["generate", shell]).contains(sign), "{shell}");
    }
    assert!(with(&["--version"]).starts_with(&format!("hublatch {}", env!("CARGO_PKG_VERSION"))));
    let schema: serde_json::Value = serde_json::from_str(&with(&["reference", "schema"])).unwrap();
    let timeout = &schema["properties"]["limits"]["properties"]["head_timeout"];
    assert_eq!((&timeout["default"], &timeout["type"]), (&"10s".into(), &"string".into()));
    assert!(timeout["description"].as_str().unwrap().contains("request's head"), "{timeout}");
    assert!(schema["properties"]["assertion"]["properties"]["key_file"].is_object());
    assert!(with(&["reference", "openapi"]).starts_with("openapi: 3.1.0\n"));
    assert!(with(&["reference", "nginx"]).contains("proxy_pass"));
    assert!(with(&["reference", "systemd"]).contains("[Service]"));
}

#[test]
fn what_is_no_command_is_a_usage_error() {
    for words in
        [&["frobnicate"][..], &["link"], &["init"], &["keygen", "--config", "x"], &["--no-such-option"]]
    {
        let outcome = run(hublatch(words));
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{words:?}");
        assert!(outcome.stderr.contains("Usage:"), "{words:?}");
    }
}
