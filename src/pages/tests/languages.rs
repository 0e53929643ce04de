//! The same pages in every language.

use super::*;

fn html_in(page: &Page<'_>, language: Language) -> String {
    text(&pages(Some(APP_URL.to_owned())).response(page, Format::Html(language))).to_owned()
}

#[test]
fn a_page_says_which_language_it_is_in() {
    for (page, _, code) in every_page() {
        for language in LANGUAGES {
            let answer = pages(None).response(&page, Format::Html(language));
            let dir = if language == Language::Arabic { " dir=\"rtl\"" } else { "" };
            assert!(text(&answer).contains(&format!("<html lang=\"{}\"{dir}>", language.tag())), "{code}");
            assert_eq!(header(&answer, &header::CONTENT_LANGUAGE), language.tag(), "{code}");
        }
    }
}

#[test]
fn no_two_languages_say_the_same() {
    for (page, _, code) in every_page() {
        for (start, end) in [
            ("<h1 id=\"title\">", "</h1>"),
            ("<p id=\"what\">", "</p>"),
            ("<p class=\"advice\">", "</p>"),
            ("<title>", "</title>"),
            ("<footer>", "</footer>"),
        ] {
            let mut told = std::collections::BTreeSet::new();
            for language in LANGUAGES {
                let page = html_in(&page, language);
                assert!(told.insert(between(&page, start, end).to_owned()), "{code}: {start}");
            }
        }
    }
}

#[test]
fn every_place_for_a_name_is_filled() {
    for (page, _, code) in every_page() {
        for language in LANGUAGES {
            let page = visible(&html_in(&page, language));
            assert!(!page.contains(['{', '}']), "{code} in {}: {page}", language.tag());
        }
    }
}

#[test]
fn both_users_are_named_and_isolated_in_every_language() {
    for language in LANGUAGES {
        let switch = html_in(&confirm("alice", Some("bob")), language);
        assert!(switch.matches("<bdi>bob</bdi>").count() >= 2, "{switch}");
        // The heading, the button and the sentence.
        assert!(switch.matches("<bdi>alice</bdi>").count() >= 3, "{switch}");
        assert!(between(&switch, "<title>", "</title>").contains("alice"), "{switch}");
        let alone = html_in(&confirm("alice", None), language);
        assert!(alone.matches("<bdi>alice</bdi>").count() >= 3 && !alone.contains("bob"), "{alone}");
    }
}

#[test]
fn people_are_addressed_formally() {
    for (page, _, code) in every_page() {
        for (language, informal) in [
            (
                Language::German,
                &["du", "dich", "dir", "dein", "deine", "deinen", "deiner", "euch", "ihr"][..],
            ),
            (Language::French, &["tu", "te", "toi", "ton", "ta", "tes"]),
            (Language::Spanish, &["tú", "ti", "tu", "tus", "te"]),
            (Language::Portuguese, &["tu", "ti", "teu", "tua"]),
        ] {
            let shown = visible(&html_in(&page, language));
            let words: Vec<&str> = shown.split(|character: char| !character.is_alphanumeric()).collect();
            for word in informal {
                assert!(!words.contains(word), "{code} says {word:?}: {shown}");
            }
        }
    }
}

#[test]
fn french_signs_are_spaced_and_do_not_stand_alone_on_a_line() {
    for (page, _, code) in every_page() {
        let shown = visible(&html_in(&page, Language::French));
        for (at, sign) in shown.match_indices([':', ';', '?', '!']) {
            let before = shown[..at].chars().next_back();
            assert!(
                matches!(before, Some('\u{a0}' | '\u{202f}')),
                "{code}: {sign} after {before:?} in {shown}"
            );
        }
        assert!(!shown.contains('\''), "{code}: a typewriter's apostrophe in {shown}");
    }
}

#[test]
fn what_is_wrong_with_a_request_is_said_in_every_language() {
    let codes = |language: Language| language.words().rejections.keys().cloned().collect::<Vec<_>>();
    for language in LANGUAGES.into_iter().skip(1) {
        assert_eq!(codes(language), codes(Language::German), "{}", language.tag());
    }
    let page = Page::Rejected {
        status: StatusCode::BAD_REQUEST,
        code: "bad_next",
        message: "The destination of this link is not allowed.",
    };
    assert!(visible(&html_in(&page, Language::German)).contains("Das Ziel dieses Links ist nicht erlaubt."));
    let json = pages(None).response(&page, Format::Json);
    assert!(text(&json).contains("The destination of this link is not allowed."));
}

#[test]
fn programs_are_told_in_english() {
    for (page, _, code) in every_page() {
        let answer = pages_as(&in_german(), None).response(&page, Format::Json);
        assert_eq!(header(&answer, &header::CONTENT_LANGUAGE), "en", "{code}");
        assert_eq!(text(&answer), text(&pages(None).response(&page, Format::Json)), "{code}");
    }
}

#[test]
fn the_operator_can_choose_one_language_for_all() {
    for (page, _, code) in every_page() {
        let answer = pages_as(&in_german(), None).response(&page, Format::Html(Language::French));
        assert!(text(&answer).contains("<html lang=\"de\">"), "{code}");
        assert_eq!(header(&answer, &header::VARY), "Accept, Sec-Fetch-Mode", "{code}");
    }
}

fn in_german() -> Wanted {
    Wanted { language: Some(Language::German), ..Wanted::default() }
}
