//! `[pages]`: the language, name, logo and templates of our own pages, as browsers and operators see them.

use std::fs;

use assert_cmd::Command;
use tempfile::TempDir;

use crate::support::{FakeHub, TestProxy, Then};

const SVG: &str =
    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 4 4\"><rect width=\"4\" height=\"4\"/></svg>";

#[test]
fn a_person_reads_a_page_in_her_own_language() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    for (accepted, language, title) in [
        ("de-AT,de;q=0.9,en;q=0.8", "de", "Dieser Link ist nicht bekannt"),
        ("fr", "fr", "Ce lien est inconnu"),
        ("en-US,en;q=0.9", "en", "This link is not known"),
        ("ja", "en", "This link is not known"),
    ] {
        let mut browser = proxy.browser();
        let answer =
            browser.navigate("/hub/login?login_token=nothing").header("Accept-Language", accepted).send();
        assert_eq!((answer.status, answer.headers.get("content-language")), (403, Some(language)));
        assert!(answer.text().contains(&format!("<html lang=\"{language}\">")), "{}", answer.text());
        assert!(answer.text().contains(title), "{accepted}: {}", answer.text());
        assert!(answer.headers.get("vary").is_some_and(|vary| vary.contains("Accept-Language")));
    }
}

#[test]
fn a_request_that_never_came_to_the_hub_is_answered_in_the_readers_language_too() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let answer = proxy.browser().navigate("/hub/home%2F..%2f/..").header("Accept-Language", "de").send();
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("Der Pfad enthält ein Punkt-Segment"), "{}", answer.text());
    hub.on("/hub/home", |_| Then::Close);
    let answer = proxy.browser().navigate("/hub/home").header("Accept-Language", "fr").send();
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("Les notebooks sont injoignables"), "{}", answer.text());
}

#[test]
fn the_confirm_page_speaks_the_readers_language_and_its_button_works() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("login", "confirm = \"always\"").start();
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    let page = browser.navigate(&link.target()).header("Accept-Language", "de").send();
    assert!(page.text().contains("Weiter als <bdi>alice</bdi></button>"), "{}", page.text());
    let answer = browser.press(&page);
    assert_eq!(answer.status, 302, "{}", answer.text());
}

#[test]
fn the_hub_gets_accept_language_as_it_was_sent() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    _ = proxy.browser().navigate("/hub/home").header("Accept-Language", "de-AT, *;q=0").send();
    assert_eq!(hub.only("/hub/home").headers.get("accept-language"), Some("de-AT, *;q=0"));
}

#[test]
fn name_and_logo_stand_on_the_page() {
    let (hub, directory) = (FakeHub::start(), TempDir::new().unwrap());
    let logo = directory.path().join("logo");
    fs::write(&logo, SVG).unwrap();
    let section = format!("name = \"Physics Portal\"\nlogo = {logo:?}");
    let proxy = TestProxy::before(&hub)
        .set("login", "app_url = \"https://portal.example/\"")
        .set("pages", &section)
        .start();
    let answer = proxy.browser().get("/hub/login");
    assert!(answer.text().contains("<span>Physics Portal</span>"), "{}", answer.text());
    assert!(answer.text().contains("Back to <bdi>Physics Portal</bdi>"), "{}", answer.text());
    assert!(answer.text().contains("<img src=\"data:image&#x2f;svg+xml;base64,"), "{}", answer.text());
    assert!(answer.headers.get("content-security-policy").unwrap().contains("img-src data:"));
}

/// `hublatch check` with `template` as the operator's `page.html`: its exit code and what it complained about.
fn check(template: &str) -> (Option<i32>, String) {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("pages")).unwrap();
    fs::write(directory.path().join("pages/page.html"), template).unwrap();
    let config = "public.url = \"http://127.0.0.1:8000\"\nhub.url = \"http://127.0.0.1:8400\"\npages.dir = \"pages\"\n\
                  [[apps]]\nname = \"portal\"\n\
                  keys = [\"sha256:1111111111111111111111111111111111111111111111111111111111111111\"]\n";
    let file = directory.path().join("hublatch.toml");
    fs::write(&file, config).unwrap();
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("hublatch"));
    let output = command.arg("check").arg("--config").arg(&file).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn check_refuses_a_bad_template_with_its_file_and_line() {
    let (code, told) = check("<html>\n<h1>{{ heading }}</h1>\n{{ no_such_word }}\n");
    assert_eq!(code, Some(78), "{told}");
    assert!(told.contains("pages/page.html:3: pages.dir: cannot be rendered"), "{told}");
    assert_eq!(check("<html lang={{ lang }}>{{ heading }}"), (Some(0), String::new()));
}

#[test]
fn other_files_in_the_directory_of_templates_are_a_fault_if_they_look_like_one() {
    let (hub, directory) = (FakeHub::start(), TempDir::new().unwrap());
    fs::write(directory.path().join("README.md"), "ours").unwrap();
    fs::write(directory.path().join(".page.html.swp.html"), "{{").unwrap();
    let section = format!("dir = {:?}", directory.path());
    let told = |proxy: Result<_, hublatch::config::Faults>| proxy.err().map(|faults| faults.to_string());
    let load = || {
        let text = format!(
            "public.url = \"http://127.0.0.1:8000\"\nhub.url = {:?}\n[pages]\n{section}\n[[apps]]\nname = \"portal\"\n\
             keys = [\"sha256:1111111111111111111111111111111111111111111111111111111111111111\"]\n",
            hub.url()
        );
        hublatch::config::load_str(&text, std::path::Path::new("hublatch.toml"), [])
    };
    assert!(told(load()).unwrap().contains("holds no template"));
    fs::write(directory.path().join("style.css"), "h1 {}").unwrap();
    assert_eq!(told(load()), None);
    fs::write(directory.path().join("pages.html"), "").unwrap();
    assert!(
        told(load())
            .unwrap()
            .contains("holds pages.html, which is none of the templates: page.html, style.css")
    );
}

#[test]
fn a_page_about_a_link_leads_back_to_the_app_that_has_made_it() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub)
        .portal("title = \"Physics\"\nurl = \"https://physics.example/course\"")
        .set("login", "app_url = \"https://university.example/\"")
        .set("pages", "name = \"University\"")
        .start();
    let link = proxy.link("alice");
    assert_eq!(proxy.browser().get(&link.target()).status, 302);
    let used = proxy.browser().get(&link.target());
    let asked = proxy.links().issue(&serde_json::json!({ "username": "alice", "confirm": true }));
    let confirm = proxy.browser().get(&asked.target());
    hub.on("/hub/api/user", |exchange| exchange.answer("500 Internal Server Error", ""));
    // Whoever has none is not asked about in a burst.
    let mut known = proxy.browser();
    known.set_cookie("jupyterhub-session-id", "0f", "/");
    let down = known.get(&proxy.link("alice").target());
    for answer in [used, confirm, down] {
        let page = answer.text().replace("&#x2f;", "/");
        assert!(page.contains("href=\"https://physics.example/course\""), "{answer:?}");
        assert!(page.contains("Back to <bdi>Physics</bdi>"), "{page}");
        assert!(!page.contains("University"), "{page}");
    }
    // Of a link that nobody knows nothing is known.
    let unknown = proxy.browser().get(&format!("/hub/login?login_token=hl_{}", "0".repeat(43))).text();
    let unknown = unknown.replace("&#x2f;", "/");
    assert!(unknown.contains("https://university.example/") && !unknown.contains("Physics"), "{unknown}");
}
