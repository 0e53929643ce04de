//! What the page of the queue promises.

use super::*;

fn queue(position: u64, seconds: u64, events: Option<&'static str>) -> Page<'static> {
    Page::Queue {
        queued_for: QueuedFor::Login,
        position,
        seconds,
        address: "/hub/login?place=a&b=\"",
        events,
    }
}

#[test]
fn the_place_and_the_wait_are_told_in_words() {
    for (seconds, expected) in [
        (0, "It will be your turn in a moment."),
        (4, "It will be your turn in a moment."),
        (5, "in about 5 seconds."),
        (17, "in about 20 seconds."),
        (90, "in about 90 seconds."),
        (91, "in about 2 minutes."),
        (600, "in about 10 minutes."),
    ] {
        let page = html(&queue(37, seconds, None));
        assert!(visible(&page).contains("You are number 37"));
        assert!(visible(&page).contains(expected), "{seconds}: {}", visible(&page));
    }
}

#[test]
fn a_page_of_the_queue_goes_on_by_itself_with_script_and_without() {
    let without = pages(None).response(&queue(2, 9, None), HTML);
    assert_eq!(without.status(), 200);
    let refresh = unescape(between(text(&without), "<meta http-equiv=\"refresh\" content=\"", "\">"));
    assert_eq!(refresh, "3; url=/hub/login?place=a&b=\"");
    assert!(!text(&without).contains("<script") && !text(&without).contains("<noscript"));

    let with = pages(None).response(&queue(2, 9, Some("/hub/hublatch/queue/events")), HTML);
    assert!(text(&with).contains("<noscript><meta http-equiv=\"refresh\""));
    let address = unescape(between(text(&with), "data-address=\"", "\""));
    let events = unescape(between(text(&with), "data-events=\"", "\""));
    assert_eq!(
        (address.as_str(), events.as_str()),
        ("/hub/login?place=a&b=\"", "/hub/hublatch/queue/events")
    );
    let script = STANDARD.encode(digest(&SHA256, between(text(&with), "<script>", "</script>").as_bytes()));
    let policy = header(&with, &header::CONTENT_SECURITY_POLICY);
    assert!(policy.contains(&format!("script-src 'sha256-{script}'; connect-src 'self';")), "{policy}");
}

#[test]
fn a_program_in_the_queue_is_told_202_and_its_place() {
    let answer = pages(None).response(&queue(37, 20, None), Format::Json);
    assert_eq!(answer.status(), 202);
    let told = serde_json::from_slice::<serde_json::Value>(answer.body()).unwrap();
    assert_eq!(told["code"], "queue");
    assert_eq!(told["message"], "You are number 37. It will be your turn in about 20 seconds.");
    assert!(!answer.headers().contains_key("refresh"));
}

#[test]
fn the_queue_is_told_in_every_language() {
    for language in LANGUAGES {
        for seconds in [1, 20, 200] {
            let answer = pages(None).response(&queue(37, seconds, None), Format::Html(language));
            let shown = visible(text(&answer));
            assert!(shown.contains("37") && !shown.contains(['{', '}']), "{}: {shown}", language.tag());
        }
    }
}

#[test]
fn a_hub_that_does_not_answer_and_a_start_are_told_in_words_of_their_own() {
    let shown = |queued_for| {
        let page = Page::Queue { queued_for, position: 3, seconds: 20, address: "", events: Some("#") };
        let page = html(&page);
        visible(page.split_once("<script>").map_or(&*page, |(page, _)| page))
    };
    let down = shown(QueuedFor::LoginHubDown);
    assert!(
        down.contains("do not answer at the moment. Your place is kept.") && down.contains("link stays good")
    );
    assert!(!down.contains("seconds"), "nobody knows when: {down}");
    let start = shown(QueuedFor::Start);
    assert!(start.contains("in about 20 seconds.") && start.contains("starting their servers"), "{start}");
    assert!(!start.contains("link"), "there is none any more: {start}");
}
