//! What the page of a server that starts promises in each of its states.

use super::*;

const STATES: [(Start<'static>, u16, u16, &str); 5] = [
    (Start::Starting { percent: 42, message: "Pulling the image" }, 200, 202, "server_starting"),
    (Start::Failed { message: "Spawn failed: no node" }, 502, 502, "server_failed"),
    (Start::Stopped, 409, 409, "server_stopped"),
    (Start::Full { message: "Active user limit exceeded." }, 429, 429, "server_limit"),
    (Start::Refused { message: "a:b is pending stop" }, 403, 403, "server_refused"),
];

fn server(start: Start<'_>) -> Page<'_> {
    Page::Server { start, action: "/hub/hublatch/launch/x.y", events: "/hub/hublatch/launch/x.y/events" }
}

fn answer(start: Start<'_>, format: Format) -> Response<Bytes> {
    pages(Some(APP_URL.to_owned())).response(&server(start), format)
}

fn value<'a>(answer: &'a Response<Bytes>, name: &str) -> &'a str {
    answer.headers()[name].to_str().unwrap()
}

#[test]
fn every_state_has_its_status_and_code_as_html_and_as_json() {
    for (start, status, json_status, code) in STATES {
        let html = answer(start, HTML);
        assert_eq!(html.status(), status, "{code}");
        let (page, _) = text(&html).split_once("<script>").unwrap_or((text(&html), ""));
        assert_eq!(visible(page).contains(&format!("Error {status}, {code}")), status != 200, "{code}");
        let json = answer(start, Format::Json);
        assert_eq!(json.status(), json_status, "{code}");
        let told = serde_json::from_slice::<serde_json::Value>(json.body()).unwrap();
        assert_eq!((&told["status"], &told["code"]), (&json_status.into(), &code.into()));
    }
}

#[test]
fn a_server_on_its_way_has_a_progress_bar_that_works_with_script_and_without() {
    let page = answer(STATES[0].0, HTML);
    let page = text(&page);
    assert!(page.contains("<noscript><meta http-equiv=\"refresh\" content=\"3\"></noscript>"));
    assert!(page.contains("<progress id=\"bar\" max=\"100\" value=\"42\" aria-labelledby=\"title\""));
    assert!(page.contains("role=\"status\" dir=\"auto\">Pulling the image</p>"), "news are read aloud");
    let events = unescape(between(page, "data-events=\"", "\""));
    assert_eq!(events, "/hub/hublatch/launch/x.y/events");
    assert!(!page.contains("<form"));
}

#[test]
fn the_policy_admits_the_pages_own_script_and_its_events_and_nothing_else() {
    let page = answer(STATES[0].0, HTML);
    let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
    let script = hash(between(text(&page), "<script>", "</script>"));
    let style = hash(between(text(&page), "<style>", "</style>"));
    let expected = format!(
        "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; connect-src 'self'; \
         form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    );
    assert_eq!(value(&page, "content-security-policy"), expected);
    assert_eq!(text(&page).matches("<script").count(), 1);
    assert!(!text(&page).contains(" style=") && !text(&page).contains(" src="));
}

#[test]
fn what_does_not_go_on_by_itself_has_a_button_and_no_script() {
    for (start, _, _, code) in STATES.into_iter().skip(1) {
        let answer = answer(start, HTML);
        let page = text(&answer);
        let action = unescape(between(page, "<form class=\"actions\" method=\"post\" action=\"", "\""));
        assert_eq!(action, "/hub/hublatch/launch/x.y", "{code}");
        assert!(page.contains("<button type=\"submit\">Start it again</button>"), "{code}");
        assert!(page.contains("Back to the app</a>"), "{code}");
        assert!(!page.contains("<script") && !page.contains("http-equiv"), "{code}");
        assert!(
            value(&answer, "content-security-policy")
                .contains("form-action 'self' https://*.hub.example.org;"),
            "{code}"
        );
        assert_eq!(value(&answer, "referrer-policy"), "strict-origin", "{code}");
    }
}

#[test]
fn a_hub_without_words_leaves_no_empty_box() {
    assert!(!text(&answer(Start::Full { message: "" }, HTML)).contains("class=\"detail\""));
}

#[test]
fn the_hubs_words_stay_text() {
    let hostile = "</p></script><script>alert(1)</script>\"'&amp;{{ 7*7 }}";
    let starts = |message| {
        [
            Start::Starting { percent: 255, message },
            Start::Failed { message },
            Start::Full { message },
            Start::Refused { message },
        ]
    };
    for (harmless, hostile) in starts("x").into_iter().zip(starts(hostile)) {
        let (harmless, answer) = (answer(harmless, HTML), answer(hostile, HTML));
        assert_eq!(text(&answer).matches('<').count(), text(&harmless).matches('<').count(), "{hostile:?}");
        assert!(!text(&answer).contains("value=\"255\""), "no bar goes beyond its end");
    }
}

#[test]
fn people_read_of_servers_and_not_of_hublatch() {
    for (start, _, _, code) in STATES {
        let page = answer(start, HTML);
        let (page, _) = text(&page).split_once("<script>").unwrap_or((text(&page), ""));
        let shown = visible(page).to_ascii_lowercase();
        assert!(!shown.contains("hublatch") && !shown.contains("token"), "{code}");
    }
}

#[test]
fn every_state_is_told_in_every_language() {
    for (start, _, _, code) in STATES {
        let mut seen: Vec<String> = Vec::new();
        for language in LANGUAGES {
            let answer = answer(start, Format::Html(language));
            let title = between(text(&answer), "<h1 id=\"title\">", "</h1>").to_owned();
            assert!(!seen.contains(&title), "{code}");
            seen.push(title);
        }
    }
}

#[test]
fn an_operators_page_without_the_script_is_asked_for_again() {
    let own = crate::config::Template {
        name: "page.html".to_owned(),
        path: "page.html".into(),
        text: "<!doctype html><title>{{ title }}</title><style>{{ style }}</style>{{ what }}".to_owned(),
    };
    let pages = pages_as(&Wanted { templates: vec![own], ..Wanted::default() }, None);
    assert_eq!(value(&pages.response(&server(STATES[0].0), HTML), "refresh"), "3");
    assert!(!pages.response(&server(STATES[2].0), HTML).headers().contains_key("refresh"));
    assert!(!answer(STATES[0].0, HTML).headers().contains_key("refresh"));
}

#[test]
fn a_wait_shows_its_time_and_its_news_in_steady_places() {
    let page = answer(STATES[0].0, HTML);
    let page = text(&page);
    assert!(page.contains("<p id=\"elapsed\" class=\"elapsed\" hidden>Waiting for <span></span></p>"));
    assert!(page.contains("<ol id=\"log\" class=\"log\" tabindex=\"0\""), "keyboards scroll it, too");
    let style = between(page, "<style>", "</style>");
    for steady in ["#state { min-height: 3.1em; }", ".log {\n  height: 9rem;"] {
        assert!(style.contains(steady), "{steady}");
    }
    assert!(style.contains("prefers-reduced-motion: no-preference"));
    assert!(style.contains("forced-colors: active"), "the bar is seen in the colours of the system, too");
}
