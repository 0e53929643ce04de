//! What an operator puts in: a name, a logo, templates.

use std::path::PathBuf;

use super::*;
use crate::config::{Image, Template};

fn template(name: &str, text: &str) -> Template {
    Template { name: name.to_owned(), path: PathBuf::from(format!("pages/{name}")), text: text.to_owned() }
}

fn with(templates: Vec<Template>) -> Result<Pages, Faults> {
    let wanted = Wanted { templates, ..Wanted::default() };
    Pages::of(&wanted, Some(APP_URL.to_owned()), (&public("https://hub.example.org"), "/"), Vec::new())
}

fn refused(templates: Vec<Template>) -> String {
    with(templates).expect_err("templates that must be refused").to_string()
}

#[test]
fn the_name_stands_on_every_page_and_on_the_way_back() {
    let wanted = Wanted { name: Some("Physics <Lab>".to_owned()), ..Wanted::default() };
    for (page, _, code) in every_page() {
        for (language, back) in [
            (Language::English, "Back to Physics <Lab>"),
            (Language::German, "Zurück zu Physics <Lab>"),
            (Language::French, "Retour à Physics <Lab>"),
        ] {
            let answer = pages_as(&wanted, Some(APP_URL.to_owned())).response(&page, Format::Html(language));
            let shown = visible(text(&answer));
            assert!(shown.contains(back), "{code}: {shown}");
            assert!(text(&answer).contains("<span>Physics &lt;Lab&gt;</span>"), "{code}");
            assert!(
                between(text(&answer), "<title>", "</title>").ends_with(" · Physics &lt;Lab&gt;"),
                "{code}"
            );
        }
    }
}

#[test]
fn the_logo_is_in_the_page_and_the_policy_admits_it_and_nothing_else() {
    let logo = Image { media_type: "image/png", bytes: b"\x89PNG\r\n\x1a\n".to_vec() };
    let wanted = Wanted { logo: Some(logo), ..Wanted::default() };
    for (page, _, code) in every_page() {
        let answer = pages_as(&wanted, None).response(&page, HTML);
        let source = unescape(between(text(&answer), "<img src=\"", "\""));
        assert_eq!(
            source,
            format!("data:image/png;base64,{}", STANDARD.encode(b"\x89PNG\r\n\x1a\n")),
            "{code}"
        );
        let policy = header(&answer, &header::CONTENT_SECURITY_POLICY);
        assert!(policy.contains("; img-src data:; form-action "), "{code}: {policy}");
    }
    let none = pages(None).response(&Page::NoToken, HTML);
    assert!(!header(&none, &header::CONTENT_SECURITY_POLICY).contains("img-src"));
}

#[test]
fn a_form_may_lead_to_subdomains_of_the_hub_but_not_of_an_address() {
    for (origin, expected) in [
        ("https://hub.example.org", "'self' https://*.hub.example.org"),
        ("https://hub.example.org:8443", "'self' https://*.hub.example.org:8443"),
        ("http://localhost:8000", "'self' http://*.localhost:8000"),
        ("http://127.0.0.1:8000", "'self'"),
        ("http://[fd00::a]:8000", "'self'"),
    ] {
        assert_eq!(form_action(&public(origin)), expected, "{origin}");
    }
}

#[test]
fn a_template_takes_the_place_of_ours() {
    let own =
        template("page.html", "<html lang=\"{{ lang }}\"><title>{{ title }}</title><h1>{{ heading }}</h1>");
    let pages = with(vec![own]).expect("good templates");
    let answer = pages.response(&confirm("alice", None), HTML);
    assert_eq!(
        text(&answer),
        "<html lang=\"en\"><title>Continue as alice</title><h1>Continue as <bdi>alice</bdi></h1>"
    );
}

#[test]
fn a_template_can_extend_ours() {
    let own = template(
        "page.html",
        "{% extends \"default/page.html\" %}{% block footer %}<p>Call 1234, {{ code }}</p>{% endblock %}",
    );
    let pages = with(vec![own]).expect("good templates");
    for (page, _, code) in every_page() {
        let answer = pages.response(&page, Format::Html(Language::German));
        assert!(text(&answer).contains(&format!("<p>Call 1234, {code}</p>")), "{code}");
        assert!(text(&answer).contains("<h1 id=\"title\">"), "{code}");
    }
}

#[test]
fn a_style_takes_the_place_of_ours_and_the_policy_knows_it() {
    let style = "h1 { color: #123456; font-family: \"A & B\"; }\n";
    let answer =
        with(vec![template("style.css", style)]).expect("a good style").response(&Page::NoToken, HTML);
    assert_eq!(between(text(&answer), "<style>", "</style>"), style);
    let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
    assert!(
        header(&answer, &header::CONTENT_SECURITY_POLICY).contains(&format!("style-src 'sha256-{hash}' "))
    );
}

#[test]
fn what_a_template_prints_is_escaped_whatever_it_says() {
    let hostile = "<script>alert(1)</script>";
    let page = Page::Rejected { status: StatusCode::BAD_REQUEST, code: "x", message: hostile };
    for own in [
        "{{ detail }}",
        "{% if detail %}{{ detail ~ '' }}{% endif %}",
        "{% set said %}{{ detail }}{% endset %}{{ said }}",
        "{% for part in [detail] %}{{ part }}{% endfor %}",
        "{% filter upper %}{{ detail }}{% endfilter %}",
    ] {
        let pages = with(vec![template("page.html", own)]).unwrap_or_else(|faults| panic!("{own}: {faults}"));
        let answer = pages.response(&page, HTML);
        assert!(!text(&answer).to_lowercase().contains("<script"), "{own}: {}", text(&answer));
    }
}

#[test]
fn a_bad_template_is_a_fault_with_its_file_and_line() {
    for (name, bad, expected) in [
        ("page.html", "<html>\n{% if %}", "pages/page.html:2: pages.dir: cannot be read as a template: "),
        (
            "page.html",
            "a\nb\n{{ titel }}\n",
            "pages/page.html:3: pages.dir: cannot be rendered: undefined value",
        ),
        (
            "page.html",
            "\n{{ app.logos }}",
            "pages/page.html:2: pages.dir: cannot be rendered: undefined value",
        ),
        ("page.html", "{{ title|safe }}", "pages/page.html:1: pages.dir: cannot be rendered: unknown filter"),
        (
            "page.html",
            "x\n{%-\n autoescape false %}{{ title }}",
            "pages/page.html:2: pages.dir: holds the tag autoescape",
        ),
        ("page.html", "{% include \"other.html\" %}", "pages/page.html:1: pages.dir: cannot be rendered: "),
        (
            "page.html",
            "{% if status == 502 %}\n{{ what.what }}{% endif %}",
            "pages/page.html:2: pages.dir: cannot be rendered",
        ),
        (
            "page.html",
            "\n<style>h1 {}</style>",
            "pages/page.html:2: pages.dir: has a style that browsers will refuse",
        ),
        ("style.css", "h1 {}\n</style>", "pages/style.css:2: pages.dir: holds \"</\""),
    ] {
        let told = refused(vec![template(name, bad)]);
        assert!(told.starts_with(expected), "{bad}: {told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

#[test]
fn faults_of_several_templates_are_told_at_once() {
    let told = refused(vec![template("page.html", "{% endif %}"), template("style.css", "</")]);
    assert_eq!(told.lines().count(), 2, "{told}");
}

#[test]
fn ours_stands_in_for_a_template_that_fails_after_all() {
    let own = "{% if status == 418 %}{{ nothing.at.all }}{% endif %}{{ title }}";
    let pages = with(vec![template("page.html", own), template("style.css", "h1 {}")]).expect("good so far");
    let page =
        Page::Rejected { status: StatusCode::IM_A_TEAPOT, code: "teapot", message: "Short and stout." };
    let answer = pages.response(&page, HTML);
    assert_eq!(answer.status(), 418);
    assert!(visible(text(&answer)).contains("Short and stout."));
    // And looks as it should: the policy knows our style too.
    let hash = STANDARD.encode(digest(&SHA256, between(text(&answer), "<style>", "</style>").as_bytes()));
    assert!(header(&answer, &header::CONTENT_SECURITY_POLICY).contains(&hash));
}
