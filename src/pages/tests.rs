//! What every page promises, whatever it says.

mod languages;
mod operators;
mod queue;
mod server;

use hyper::header::{self, HeaderName};

use super::reading::{between, hidden_fields, unescape, visible};
use super::*;

const HTML: Format = Format::Html(Language::English);
const APP_URL: &str = "https://portal.example.edu/courses?term=2&lang=en";
const TOKEN: &str = "hl_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const FIELDS: &[(&str, &str)] = &[("login_token", TOKEN), ("next", "/user/alice/lab")];

/// What needs no form: the page, its status and its code.
const NOTICES: [(Page<'static>, u16, &str); 29] = [
    (Page::Refused(LinkRefusal::Unknown), 403, "link_unknown"),
    (Page::Refused(LinkRefusal::Expired), 403, "link_expired"),
    (Page::Refused(LinkRefusal::Used), 403, "link_used"),
    (Page::Refused(LinkRefusal::Revoked), 403, "link_revoked"),
    (Page::Refused(LinkRefusal::NotAllowed), 403, "link_not_allowed"),
    (Page::Refused(LinkRefusal::Bound), 403, "link_bound"),
    (Page::Refused(LinkRefusal::NeedsState), 403, "link_needs_state"),
    (Page::NoToken, 403, "link_required"),
    (Page::HubDown { retries: false }, 503, "hub_unavailable"),
    (Page::StoreDown, 503, "store_unavailable"),
    (Page::ExchangeFailed, 503, "exchange_failed"),
    (Page::LogoutFailed, 503, "logout_failed"),
    (Page::LoginFailed, 503, "login_failed"),
    (Page::BadGateway, 502, "bad_gateway"),
    (Page::GatewayTimeout, 504, "gateway_timeout"),
    (Page::TooManyTries, 429, "too_many_tries"),
    (Page::SessionEnded, 403, "session_ended"),
    (Page::CookieLost, 403, "cookie_lost"),
    (Page::Frame { attributes: "; SameSite=None; Secure" }, 200, "storage_blocked"),
    (Page::HubBusy, 503, "hub_busy"),
    (Page::HubUnexpected { answer: "404 Not Found" }, 502, "hub_unexpected"),
    (Page::ConfirmationUnverified, 403, "confirmation_unverified"),
    (Page::NotWaiting, 403, "not_waiting"),
    (Page::LoginRefused, 403, "login_refused"),
    (Page::LoggedOut, 200, "logged_out"),
    (Page::ServerNotRunning, 404, "server_not_running"),
    (Page::NotFound, 404, "page_not_found"),
    (Page::Unavailable, 503, "unavailable"),
    (
        Page::Rejected {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            code: "form_too_large",
            message: "over 16 KiB",
        },
        413,
        "form_too_large",
    ),
];

fn public(origin: &str) -> PublicUrl {
    let (scheme, authority) = origin.split_once("://").unwrap();
    PublicUrl {
        origin: origin.to_owned(),
        secure: scheme == "https",
        authority: authority.to_owned(),
        port: 443,
    }
}

fn pages_as(wanted: &Wanted, app_url: Option<String>) -> Pages {
    Pages::of(wanted, app_url, (&public("https://hub.example.org"), "/base/"), Vec::new()).unwrap()
}

fn pages(app_url: Option<String>) -> Pages {
    pages_as(&Wanted::default(), app_url)
}

fn confirm<'a>(username: &'a str, current: Option<&'a str>) -> Page<'a> {
    Page::Confirm { username: Some(username), current, action: "/hub/login", fields: FIELDS }
}

fn every_page() -> Vec<(Page<'static>, u16, &'static str)> {
    let mut pages = Vec::from(NOTICES);
    pages.push((confirm("alice", None), 200, "confirmation_required"));
    let unnamed = Page::Confirm { username: None, current: None, action: "/hub/login", fields: FIELDS };
    pages.push((unnamed, 200, "confirmation_required"));
    pages.push((confirm("alice", Some("bob")), 200, "confirmation_required"));
    pages.push((Page::TooManyCookies { action: "/hub/login", fields: FIELDS }, 431, "too_many_cookies"));
    pages
}

fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

fn html(page: &Page<'_>) -> String {
    text(&pages(Some(APP_URL.to_owned())).response(page, HTML)).to_owned()
}

fn header<'a>(response: &'a Response<Bytes>, name: &HeaderName) -> &'a str {
    let values = response.headers().get_all(name).iter().collect::<Vec<_>>();
    assert_eq!(values.len(), 1, "{name} once");
    values[0].to_str().unwrap()
}

#[test]
fn every_page_has_its_status_and_code_as_html_and_as_json() {
    for app_url in [None, Some(String::new()), Some(APP_URL.to_owned())] {
        let pages = pages(app_url);
        for (page, status, code) in every_page() {
            let html = pages.response(&page, HTML);
            assert_eq!(html.status(), status, "{code}");
            let shown = visible(text(&html));
            let is_error = status != 200 && code != "session_ended";
            assert_eq!(shown.contains(&format!("Error {status}, {code}")), is_error, "{code}");

            let json = pages.response(&page, Format::Json);
            let told = serde_json::from_slice::<serde_json::Value>(json.body()).unwrap();
            assert_eq!(told["status"], json.status().as_u16(), "{code}");
            assert_eq!(told["code"], code);
            assert!(told["message"].as_str().unwrap().len() > 10, "{code}");
            assert_eq!(told.as_object().unwrap().len(), 3, "{code}");
        }
    }
}

#[test]
fn a_program_that_has_to_confirm_is_not_told_200() {
    let answer = pages(None).response(&confirm("alice", None), Format::Json);
    assert_eq!(answer.status(), 403);
    assert!(!text(&answer).contains(TOKEN));
}

#[test]
fn every_answer_is_private_and_is_neither_stored_framed_nor_guessed_at() {
    let pages = pages(Some(APP_URL.to_owned()));
    for (page, _, code) in every_page() {
        for (format, media_type) in [(HTML, "text/html; charset=utf-8"), (Format::Json, "application/json")] {
            let answer = pages.response(&page, format);
            let has_form = has_form(code) && format == HTML;
            let (referrer, form_action) = if has_form {
                ("strict-origin", "'self' https://*.hub.example.org")
            } else {
                ("no-referrer", "'none'")
            };
            assert_eq!(header(&answer, &header::CONTENT_TYPE), media_type, "{code}");
            assert_eq!(header(&answer, &header::CONTENT_LANGUAGE), "en", "{code}");
            assert_eq!(header(&answer, &header::CONTENT_LENGTH), answer.body().len().to_string(), "{code}");
            assert_eq!(header(&answer, &header::CACHE_CONTROL), "no-store", "{code}");
            assert_eq!(header(&answer, &header::REFERRER_POLICY), referrer, "{code}");
            assert_eq!(header(&answer, &header::X_CONTENT_TYPE_OPTIONS), "nosniff", "{code}");
            assert_eq!(header(&answer, &header::X_FRAME_OPTIONS), "DENY", "{code}");
            assert_eq!(header(&answer, &header::VARY), "Accept, Accept-Language, Sec-Fetch-Mode", "{code}");
            let policy = header(&answer, &header::CONTENT_SECURITY_POLICY);
            let rules = policy.split("; ").filter(|rule| !rule.starts_with("style-src ")).collect::<Vec<_>>();
            let form_action = format!("form-action {form_action}");
            let expected = ["default-src 'none'", &form_action, "base-uri 'none'", "frame-ancestors 'none'"];
            assert_eq!(rules, expected, "{code}");
        }
    }
}

#[test]
fn the_policy_admits_the_style_of_the_page_and_no_other() {
    for (page, _, code) in every_page() {
        let answer = pages(None).response(&page, HTML);
        let style = between(text(&answer), "<style>", "</style>");
        let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
        let policy = header(&answer, &header::CONTENT_SECURITY_POLICY);
        assert_eq!(between(policy, "style-src ", ";"), format!("'sha256-{hash}'"), "{code}");
        assert_eq!(text(&answer).matches("<style").count(), 1, "{code}");
        assert!(!text(&answer).contains(" style="), "an inline style would be refused: {code}");
    }
}

#[test]
fn no_page_has_a_script_or_loads_anything() {
    for (page, _, code) in every_page() {
        let page = html(&page).to_ascii_lowercase();
        for forbidden in
            ["<script", "<img", "<link", "<iframe", "<object", "<base", " src=", "url(", "@import"]
        {
            assert!(!page.contains(forbidden), "{code} has {forbidden}");
        }
        let tags = page.split('<').skip(1).map(|piece| piece.split_once('>').unwrap().0);
        assert_eq!(tags.filter(|tag| tag.contains(" on")).count(), 0, "{code} has an event handler");
    }
}

#[test]
fn the_pages_are_read_by_machines_for_people() {
    for (page, _, code) in every_page() {
        let page = html(&page);
        assert!(page.starts_with("<!doctype html>\n<html lang=\"en\">\n"), "{code}");
        for once in
            ["<main ", "<h1 id=\"title\">", "aria-labelledby=\"title\"", "<title>", "name=\"viewport\""]
        {
            assert_eq!(page.matches(once).count(), 1, "{code}: {once}");
        }
        assert!(page.contains("aria-hidden=\"true\""), "the sign is decoration: {code}");
        assert!(!between(&page, "<title>", "</title>").is_empty(), "{code}");
    }
}

#[test]
fn the_way_back_to_the_app_is_there_exactly_if_the_app_has_a_page() {
    for (page, _, code) in every_page() {
        let with = html(&page);
        let (before, _) =
            with.split_once("\">Back to the app</a>").unwrap_or_else(|| panic!("{code}: no way back"));
        let (_, href) = before.rsplit_once("href=\"").unwrap();
        assert_eq!(unescape(href), APP_URL, "{code}");
        for none in [None, Some(String::new())] {
            let without = pages(none).response(&page, HTML);
            assert!(!text(&without).contains("Back to the app"), "{code}");
        }
    }
}

#[test]
fn only_a_gateway_error_offers_to_try_again() {
    for (page, status, code) in every_page() {
        let offers = html(&page).contains("href=\"\">Try again</a>");
        assert_eq!(offers, (status == 502 || status == 504) && code != "hub_unexpected", "{code}");
    }
}

#[test]
fn people_never_read_the_word_token_nor_the_token() {
    for (page, _, code) in every_page() {
        let shown = visible(&html(&page)).to_ascii_lowercase();
        assert!(!shown.contains("token"), "{code}");
        assert!(!shown.contains("hublatch"), "{code}");
        let json = pages(None).response(&page, Format::Json);
        assert!(!text(&json).to_ascii_lowercase().contains("token"), "{code}");
    }
}

/// Whether the page of this code has a form that goes on with the login.
fn has_form(code: &str) -> bool {
    code == "confirmation_required" || code == "too_many_cookies"
}

#[test]
fn only_the_field_of_a_form_holds_the_token() {
    for (page, _, code) in every_page() {
        assert_eq!(html(&page).matches("login_token").count(), usize::from(has_form(code)), "{code}");
        assert_eq!(html(&page).matches(TOKEN).count(), usize::from(has_form(code)), "{code}");
        assert!(!format!("{page:?}").contains(TOKEN), "{code}");
    }
}

#[test]
fn the_confirm_page_names_both_users_and_posts_to_the_action() {
    let page = html(&confirm("alice", Some("bob")));
    assert!(visible(&page).contains("You are logged in as bob now."));
    assert!(page.contains("<button type=\"submit\">Continue as <bdi>alice</bdi></button>"));
    assert!(page.contains("<form class=\"actions\" method=\"post\" action=\"&#x2f;hub&#x2f;login\""));
    assert!(!visible(&html(&confirm("alice", None))).contains("bob"));
}

#[test]
fn no_button_has_the_focus_before_a_person_gives_it() {
    // A page that makes a visitor hold down Enter must not press "Continue" by it.
    assert!(!html(&confirm("alice", Some("bob"))).contains("autofocus"));
}

#[test]
fn hidden_fields_come_back_as_they_were_given() {
    let every_character =
        ('\u{1}'..='\u{2ff}').chain(['\u{2028}', '\u{202e}', '\u{fffe}', '\u{1f642}']).collect::<String>();
    let fields = [
        ("login_token", TOKEN),
        ("next", "/user/alice/lab/tree/a%20b%2Fc.ipynb?x=1&amp=2&y=%20z&reset"),
        ("quotes", "\"'><script>alert(1)</script><input value=\"x\">"),
        ("line ends", "\r\n\n\r\rend\n"),
        ("looks escaped", "&amp; &#13; &quot; &lt; {{ 7*7 }} {% if %}"),
        ("  spaces  ", "  kept  "),
        ("a&b=\"c'd\r\n<e>", "the name is escaped too"),
        ("", ""),
        ("twice", "1"),
        ("twice", "2"),
        ("every character", every_character.as_str()),
    ];
    let page =
        Page::Confirm { username: Some("alice"), current: None, action: "/hub/login", fields: &fields };
    let read = hidden_fields(&html(&page));
    let given = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(read, given);
}

proptest::proptest! {
    #[test]
    fn any_field_comes_back_as_it_was_given(name: String, value: String) {
        let fields = [("login_token", TOKEN), (name.as_str(), value.as_str())];
        let page = Page::Confirm { username: Some("alice"), current: None, action: "/hub/login", fields: &fields };
        let read = hidden_fields(&html(&page)).pop();
        proptest::prop_assert_eq!(read, Some((name, value)));
    }
}

#[test]
fn hostile_names_stay_text() {
    let hostile = "\"'></title></bdi><script>alert(1)</script>&amp;{{ 7*7 }}";
    let harmless = html(&Page::Confirm { username: Some("a"), current: Some("b"), action: "/", fields: &[] });
    let app_url = Some(hostile.to_owned());
    let page =
        Page::Confirm { username: Some(hostile), current: Some(hostile), action: hostile, fields: &[] };
    let rejected = Page::Rejected { status: StatusCode::BAD_REQUEST, code: "bad_request", message: hostile };

    let confirm = pages(app_url).response(&page, HTML);
    assert_eq!(text(&confirm).matches('<').count(), harmless.matches('<').count(), "no tag more");
    assert_eq!(text(&confirm).matches('"').count(), harmless.matches('"').count(), "no attribute more");
    assert!(visible(text(&confirm)).contains(hostile));
    assert!(visible(&html(&rejected)).contains(hostile));
    let json = pages(None).response(&rejected, Format::Json);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(json.body()).unwrap()["message"], hostile);
}

#[test]
fn a_rejected_request_gets_the_status_the_code_and_the_sentence_it_is_given() {
    let page = Page::Rejected {
        status: StatusCode::BAD_REQUEST,
        code: "bad_next",
        message: "next leaves this origin",
    };
    let answer = pages(None).response(&page, Format::Json);
    assert_eq!(text(&answer), r#"{"status":400,"message":"next leaves this origin","code":"bad_next"}"#);
    assert!(visible(&html(&page)).contains("next leaves this origin"));
}

#[test]
fn every_page_names_its_request_and_the_time() {
    let at: Timestamp = "2026-03-01T12:00:05.7Z".parse().unwrap();
    for (page, _, code) in every_page() {
        for language in LANGUAGES {
            let mut body = pages(None).response(&page, Format::Html(language)).into_body();
            let length = sign(&mut body, "0123abcd", || at);
            assert_eq!(length, Some(body.len()), "{code}");
            let shown = visible(std::str::from_utf8(&body).unwrap());
            assert!(
                shown.contains("0123abcd") && shown.contains("2026-03-01 12:00:05 UTC"),
                "{code}: {shown}"
            );
            assert!(!shown.contains([ID_MARK, TIME_MARK]), "{code}");
        }
        let mut json = pages(None).response(&page, Format::Json).into_body();
        assert_eq!(sign(&mut json, "0123abcd", || at), None, "{code}");
    }
}

#[test]
fn whoever_is_asked_to_change_users_can_stay_who_they_are() {
    let stay = "<a class=\"quiet\" href=\"https:&#x2f;&#x2f;hub.example.org&#x2f;base&#x2f;\">Stay <bdi>bob</bdi></a>";
    assert!(html(&confirm("alice", Some("bob"))).contains(stay));
    assert!(!html(&confirm("alice", None)).contains("Stay"));
}

#[test]
fn the_address_that_people_shall_open_is_a_link() {
    for (page, _, code) in every_page() {
        let links = html(&page)
            .contains("href=\"https:&#x2f;&#x2f;hub.example.org&#x2f;base&#x2f;\">Open the notebooks</a>");
        let expected = matches!(code, "link_bound" | "link_needs_state" | "confirmation_unverified");
        assert_eq!(links, expected, "{code}");
    }
}

#[test]
fn a_hub_that_does_not_answer_is_asked_again_only_if_the_link_is_in_the_address() {
    let page = |retries| html(&Page::HubDown { retries });
    // With script nothing is loaded again before there is something new.
    assert!(page(true).contains("<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>"));
    assert!(page(true).contains("fetch(\"api/\""));
    assert!(page(true).contains("href=\"\">Try again</a>"));
    assert!(!page(false).contains("http-equiv") && !page(false).contains("Try again"));
}

#[test]
fn the_way_back_is_the_apps_own_if_it_has_one() {
    let config = |app: &str| {
        let text = format!(
            "public.url = \"http://127.0.0.1:8000\"\nhub.url = \"http://127.0.0.1:8400\"\nlogin.app_url = \"https://all.example.org/\"\n\
             pages.name = \"All\"\n[[apps]]\nname = \"portal\"\n{app}\n\
             keys = [\"sha256:6f2c1a5e7b9d3f8046c2e1a9b8d7f6053142536475869708192a3b4c5d6e7f80\"]"
        );
        crate::config::load_str(&text, std::path::Path::new("hublatch.toml"), []).expect("valid")
    };
    for (app, expected) in [
        ("", "href=\"https:&#x2f;&#x2f;all.example.org&#x2f;\">Back to <bdi>All</bdi></a>"),
        (
            "title = \"Moodle\"\nurl = \"https://moodle.example.org/\"",
            "href=\"https:&#x2f;&#x2f;moodle.example.org&#x2f;\">Back to <bdi>Moodle</bdi></a>",
        ),
    ] {
        let config = config(app);
        let pages = Pages::new(&config).expect("ours");
        let answer = pages.response_for(&Page::Refused(LinkRefusal::Used), HTML, Some(&config.apps[0]));
        assert!(text(&answer).contains(expected), "{expected}: {}", text(&answer));
    }
}

#[test]
fn a_frame_is_tested_by_a_script_that_tells_the_listed_pages_alone_and_has_no_link_in_it() {
    let embedded = |ancestors: &[&str]| {
        let ancestors = ancestors.iter().map(ToString::to_string).collect();
        let public = public("https://hub.example.org");
        Pages::of(&Wanted::default(), None, (&public, "/"), ancestors).unwrap()
    };
    let page = Page::Frame { attributes: "; SameSite=None; Secure; Partitioned" };
    let answer = embedded(&["https://lms.example", "https://b.example"]).response(&page, HTML);
    let script = between(text(&answer), "<script>", "</script>");
    assert!(script.contains("const ATTRIBUTES = \"; SameSite=None; Secure; Partitioned\";"), "{script}");
    assert!(script.contains("of [\"https://lms.example\",\"https://b.example\"]"), "{script}");
    let message = r#"parent.postMessage({"hublatch":"storage_blocked","reason":"storage_blocked"}, origin)"#;
    assert!(script.contains(message), "{script}");
    let policy = header(&answer, &header::CONTENT_SECURITY_POLICY);
    assert!(policy.contains(&format!("; script-src '{}'; form-action", sha256(script))), "{policy}");
    // Both links lead to the page's own address, also without the script.
    assert_eq!(text(&answer).matches("href=").count(), 2);
    assert_eq!(text(&answer).matches("href=\"\"").count(), 2);
    assert!(text(&answer).contains("href=\"\" target=\"_blank\" rel=\"noopener\">Open in a new tab</a>"));
}
