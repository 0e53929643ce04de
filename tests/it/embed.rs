//! Notebooks in frames of other sites: what the hub, its servers and our own pages say about it, and who may log in
//! there.

use serde_json::json;

use crate::redeem::logins;
use crate::support::{Answer, Browser, FakeHub, Sending, TestProxy};

const LMS: &str = "https://lms.example";

fn embedded(hub: &FakeHub, cookies: &str) -> TestProxy {
    let section = format!("frame_ancestors = [{LMS:?}]\ncookies = {cookies:?}");
    TestProxy::before(hub).public_url("https://hub.test").set("embed", &section).start()
}

/// A hub that answers as JupyterHub and Jupyter Server do.
fn hub() -> FakeHub {
    let hub = FakeHub::start();
    hub.on("/user/alice/lab", |exchange| {
        let head = "200 OK\r\nContent-Type: text/html\r\nX-Frame-Options: SAMEORIGIN\r\n\
                    Content-Security-Policy: frame-ancestors 'self'; report-uri /api/security/csp-report\r\n\
                    Set-Cookie: jupyterhub-user-alice=\"2|1:0|x=|s\"; HttpOnly; Path=/user/alice/\r\n\
                    Set-Cookie: _xsrf=2; Path=/user/alice/; SameSite=Strict\r\nX-Other: a, b";
        exchange.answer(head, "<p>Lab</p>")
    });
    hub
}

fn in_frame<'a>(browser: &'a mut Browser, target: &str, element: &str) -> Sending<'a> {
    browser.navigate(target).header("Sec-Fetch-Dest", element).header("Sec-Fetch-Site", "cross-site")
}

/// A navigation in a frame of the LMS.
fn framed(browser: &mut Browser, target: &str) -> Answer {
    in_frame(browser, target, "iframe").header("Referer", &format!("{LMS}/")).send()
}

/// The same where a login is wanted: by way of the page that tests the frame, whose script asks again.
fn framed_login(browser: &mut Browser, target: &str) -> Answer {
    let page = framed(browser, target);
    if is_test(&page) { tested(browser, target, "iframe") } else { page }
}

/// Whether it is the page that tests the frame.
fn is_test(page: &Answer) -> bool {
    page.status == 200 && page.text().contains("id=\"continue\"")
}

/// What the script of that page asks for.
fn tested(browser: &mut Browser, target: &str, element: &str) -> Answer {
    in_frame(browser, target, element).header("Sec-Fetch-Site", "same-origin").send()
}

#[test]
fn without_the_section_every_answer_is_the_hubs_and_our_pages_forbid_frames() {
    let hub = hub();
    let proxy = TestProxy::start(&hub);
    let answer = proxy.browser().get("/user/alice/lab");
    assert_eq!(answer.headers.get("x-frame-options"), Some("SAMEORIGIN"));
    let policy = "frame-ancestors 'self'; report-uri /api/security/csp-report";
    assert_eq!(answer.headers.get("content-security-policy"), Some(policy));
    let cookies = [
        "jupyterhub-user-alice=\"2|1:0|x=|s\"; HttpOnly; Path=/user/alice/",
        "_xsrf=2; Path=/user/alice/; SameSite=Strict",
    ];
    assert_eq!(answer.headers.all("set-cookie"), cookies);
    let page = proxy.browser().get("/hub/login");
    assert_eq!(page.headers.get("x-frame-options"), Some("DENY"));
    let link = proxy.link("alice");
    assert_eq!(framed(&mut proxy.browser(), &link.target()).status, 403);
    assert_eq!(proxy.links().status(&link.id), "pending");
}

#[test]
fn the_answers_of_servers_may_be_framed_by_the_listed_pages_and_their_cookies_work_there() {
    for (cookies, attributes) in
        [("none", "; SameSite=None; Secure"), ("partitioned", "; SameSite=None; Secure; Partitioned")]
    {
        let hub = hub();
        let proxy = embedded(&hub, cookies);
        let answer = framed(&mut proxy.browser(), "/user/alice/lab");
        assert_eq!((answer.status, answer.text().as_str()), (200, "<p>Lab</p>"));
        assert!(!answer.headers.has("x-frame-options"));
        let policy = "frame-ancestors 'self' https://lms.example; report-uri /api/security/csp-report";
        assert_eq!(answer.headers.get("content-security-policy"), Some(policy));
        assert_eq!(answer.headers.get("x-other"), Some("a, b"));
        let wanted = [
            format!("jupyterhub-user-alice=\"2|1:0|x=|s\"; HttpOnly; Path=/user/alice/{attributes}"),
            format!("_xsrf=2; Path=/user/alice/{attributes}"),
        ];
        let sent = answer.headers.all("set-cookie");
        let set: Vec<_> = sent.iter().filter(|line| !line.contains("Max-Age=0")).collect();
        assert_eq!(set, wanted.iter().collect::<Vec<_>>());
        let others = sent.len() - set.len();
        assert_eq!(others, 2, "the other sort of each is deleted: {sent:?}");
    }
}

#[test]
fn with_lax_cookies_stay_as_they_are() {
    let hub = hub();
    let proxy = embedded(&hub, "lax");
    let answer = framed(&mut proxy.browser(), "/user/alice/lab");
    assert!(!answer.headers.has("x-frame-options"));
    assert_eq!(answer.headers.all("set-cookie")[3], "_xsrf=2; Path=/user/alice/; SameSite=Strict");
}

#[test]
fn a_link_logs_in_in_a_frame() {
    let hub = hub();
    let proxy = embedded(&hub, "partitioned");
    let link = proxy.links().issue(&json!({ "username": "alice", "next": "/user/alice/lab" }));
    let mut browser = proxy.browser();
    let answer = framed_login(&mut browser, &link.target());
    assert_eq!((answer.status, answer.location()), (302, "/user/alice/lab"), "{}", answer.text());
    let cookies = answer.headers.all("set-cookie");
    let cookies: Vec<&str> = cookies.iter().copied().filter(|line| !line.contains("hublatch-")).collect();
    let (deleted, set): (Vec<&str>, Vec<&str>) =
        cookies.iter().copied().partition(|cookie| cookie.contains("Max-Age=0"));
    assert_eq!((deleted.len(), set.len()), (3, 3), "{cookies:?}");
    assert!(deleted.iter().all(|cookie| cookie.ends_with("; SameSite=None; Secure")), "{cookies:?}");
    assert!(set.iter().all(|cookie| cookie.ends_with("; SameSite=None; Secure; Partitioned")), "{cookies:?}");
    assert_eq!(logins(&hub).len(), 1);
}

#[test]
fn only_a_frame_or_a_document_logs_in() {
    let hub = hub();
    let proxy = embedded(&hub, "none");
    let link = proxy.link("alice");
    for (mode, dest) in
        [("no-cors", "iframe"), ("navigate", "image"), ("no-cors", "object"), ("cors", "empty")]
    {
        let answer = proxy
            .browser()
            .navigate(&link.target())
            .header("Sec-Fetch-Mode", mode)
            .header("Sec-Fetch-Dest", dest)
            .send();
        assert_eq!(answer.status, 403, "{mode} {dest}");
    }
    assert_eq!(proxy.links().status(&link.id), "pending");
    assert_eq!(proxy.browser().get(&link.target()).status, 302);
}

#[test]
fn each_of_our_pages_tells_the_listed_pages_around_it_what_it_is_and_nobody_else() {
    let hub = hub();
    let proxy = embedded(&hub, "partitioned");
    let used = proxy.link("alice");
    assert_eq!(framed_login(&mut proxy.browser(), &used.target()).status, 302);
    let confirm = proxy.links().issue(&json!({ "username": "alice", "confirm": true }));
    for (target, expected) in [
        ("/hub/login".to_owned(), json!({ "hublatch": "needs_link", "reason": "link_required" })),
        (used.target(), json!({ "hublatch": "needs_link", "reason": "link_used" })),
        (confirm.target(), json!({ "hublatch": "page", "reason": "confirmation_required" })),
    ] {
        let page = framed_login(&mut proxy.browser(), &target);
        let text = page.text();
        let (_, script) = text.split_once("<script>").expect("a script");
        let (script, _) = script.split_once("</script>").expect("its end");
        assert!(script.contains(&format!("parent.postMessage({expected}, origin)")), "{script}");
        assert!(script.contains(&format!("of [\"{LMS}\"]")), "{script}");
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, script.as_bytes());
        let hash = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, hash);
        let policy = page.headers.get("content-security-policy").expect("a policy");
        assert!(policy.contains(&format!("; script-src 'sha256-{hash}'; form-action")), "{policy}");
    }
    let alone = TestProxy::start(&hub);
    assert!(!alone.browser().get("/hub/login").text().contains("<script"));
}

#[test]
fn our_own_pages_and_cookies_work_in_a_frame_of_the_listed_pages_and_no_others() {
    let hub = hub();
    let proxy = embedded(&hub, "partitioned");
    let mut browser = proxy.browser();
    let link = proxy.links().issue(&json!({ "username": "alice", "confirm": true }));
    let page = framed_login(&mut browser, &link.target());
    assert_eq!((page.status, page.headers.has("x-frame-options")), (200, false));
    let policy = page.headers.get("content-security-policy").expect("a policy");
    assert!(policy.ends_with("; frame-ancestors https://lms.example"), "{policy}");
    let form = crate::support::form::Form::on(&page.text());
    let pressed = browser.post(&form).header("Sec-Fetch-Dest", "iframe").send();
    assert_eq!(pressed.status, 302, "{}", pressed.text());
    let posted = proxy
        .browser()
        .request("POST", "/hub/login")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Origin", LMS)
        .header("Sec-Fetch-Site", "cross-site")
        .body(format!("login_token={}", proxy.link("alice").token))
        .send();
    let cookie = *posted.headers.all("set-cookie").last().expect("the token");
    assert!(cookie.starts_with("__Host-hublatch-token-") && cookie.contains("=hl_"), "{cookie}");
    assert!(
        cookie.ends_with("; SameSite=None; Secure; Partitioned") && cookie.contains("HttpOnly"),
        "{cookie}"
    );
    assert_eq!(cookie.matches("SameSite").count(), 1, "{cookie}");
}

#[test]
fn a_state_is_given_to_a_frame_too() {
    let hub = hub();
    let section = format!("frame_ancestors = [{LMS:?}]\ncookies = \"none\"");
    let proxy = TestProxy::before(&hub)
        .public_url("https://hub.test")
        .set("embed", &section)
        .set("login", "without_token = \"redirect\"\napp_url = \"https://lms.example/in\"")
        .start();
    let mut browser = proxy.browser();
    let sent = framed(&mut browser, "/hub/login");
    let state =
        sent.location().split("state=").nth(1).and_then(|rest| rest.split('&').next()).expect("a state");
    let cookie = *sent.headers.all("set-cookie").last().expect("the secret");
    assert!(
        cookie.starts_with("__Host-hublatch-state-") && cookie.ends_with("; SameSite=None; Secure"),
        "{cookie}"
    );
    let link = proxy.links().issue(&json!({ "username": "alice", "state": state }));
    assert_eq!(framed_login(&mut browser, &link.target()).status, 302);
}

/// Every element that makes a frame, as browsers name it (Fetch § 2.2.5, "destination").
const FRAMES: [&str; 4] = ["iframe", "frame", "object", "embed"];

#[test]
fn every_element_that_makes_a_frame_logs_in_where_frames_are_allowed_and_none_elsewhere() {
    let hubs = [hub(), hub()];
    let refused = TestProxy::before(&hubs[1]).public_url("https://hub.test").start();
    let allowed = embedded(&hubs[0], "none");
    for element in FRAMES {
        for (proxy, status, left) in [(&allowed, 302, "used"), (&refused, 403, "pending")] {
            let link = proxy.link("alice");
            let mut browser = proxy.browser();
            let sending = in_frame(&mut browser, &link.target(), element);
            let page = sending.header("Referer", &format!("{LMS}/week/3")).send();
            assert_eq!(is_test(&page), status == 302, "{element}");
            assert_eq!(proxy.links().status(&link.id), "pending", "{element}");
            let answer = tested(&mut browser, &link.target(), element);
            assert_eq!(answer.status, status, "{element}");
            assert_eq!(proxy.links().status(&link.id), left, "{element}");
        }
    }
}

#[test]
fn a_frame_that_no_listed_page_has_asked_for_is_asked_first_even_where_nobody_is() {
    let hub = hub();
    let section = format!("frame_ancestors = [{LMS:?}]\ncookies = \"none\"");
    let proxy = TestProxy::before(&hub)
        .public_url("https://hub.test")
        .set("embed", &section)
        .set("login", "confirm = \"never\"")
        .start();
    for element in FRAMES {
        for (referer, origin, site, is_asked) in [
            (None, None, "cross-site", true),
            (Some("https://evil.example/"), None, "cross-site", true),
            (Some("https://lms.example.evil.example/"), None, "cross-site", true),
            (Some("https://sub.lms.example/"), None, "cross-site", true),
            (Some("http://lms.example/"), None, "cross-site", true),
            (None, Some("null"), "cross-site", true),
            (None, None, "same-site", true),
            (None, None, "none", true),
            (Some("https://lms.example/"), None, "cross-site", false),
            (Some("https://lms.example/course?id=3"), None, "cross-site", false),
            (None, Some(LMS), "cross-site", false),
            (None, None, "same-origin", false),
        ] {
            let link = proxy.link("alice");
            let mut browser = proxy.browser();
            let mut sending = in_frame(&mut browser, &link.target(), element).header("Sec-Fetch-Site", site);
            if let Some(referer) = referer {
                sending = sending.header("Referer", referer);
            }
            if let Some(origin) = origin {
                sending = sending.header("Origin", origin);
            }
            let mut answer = sending.send();
            let told = format!("{element} {referer:?} {origin:?} {site}");
            if site == "cross-site" && !is_asked {
                assert!(is_test(&answer), "{told}");
                assert_eq!(proxy.links().status(&link.id), "pending", "{told}");
                answer = tested(&mut browser, &link.target(), element);
            }
            assert_eq!(answer.status, if is_asked { 200 } else { 302 }, "{told}");
            assert_eq!(proxy.links().status(&link.id), if is_asked { "pending" } else { "used" }, "{told}");
            if is_asked {
                let policy = answer.headers.get("content-security-policy").expect("a policy");
                assert!(policy.ends_with("; frame-ancestors https://lms.example"), "{policy}");
                let form = crate::support::form::Form::on(&answer.text());
                let pressed = browser.post(&form).header("Sec-Fetch-Dest", element).send();
                assert_eq!(pressed.status, 302, "{told}: {}", pressed.text());
            }
        }
    }
    // Nobody is asked in a tab.
    assert_eq!(proxy.browser().get(&proxy.link("alice").target()).status, 302);
}

#[test]
fn a_form_that_the_listed_page_posts_into_its_frame_is_asked_nothing() {
    let hub = hub();
    let proxy = embedded(&hub, "none");
    for (origin, is_asked) in [(LMS, false), ("https://evil.example", true)] {
        let mut browser = proxy.browser();
        let handed = browser
            .request("POST", "/hub/login")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Origin", origin)
            .header("Sec-Fetch-Site", "cross-site")
            .header("Sec-Fetch-Dest", "iframe")
            .body(format!("login_token={}", proxy.link("alice").token))
            .send();
        assert_eq!((handed.status, handed.headers.get("referrer-policy")), (303, Some("strict-origin")));
        // So the browser tells the origin again.
        let mut sending = in_frame(&mut browser, "/hub/login", "iframe");
        sending = sending.header("Referer", &format!("{origin}/"));
        let page = sending.send();
        assert_eq!((page.status, is_test(&page)), (200, !is_asked), "{origin}");
        if !is_asked {
            assert_eq!(tested(&mut browser, "/hub/login", "iframe").status, 302);
        }
    }
}

#[test]
fn a_frame_is_tested_before_its_link_is_used_up_and_a_tab_is_not() {
    let hub = hub();
    for cookies in ["lax", "none", "partitioned"] {
        let proxy = embedded(&hub, cookies);
        let link = proxy.links().issue(&json!({ "username": "alice", "next": "/user/alice/lab" }));
        let mut browser = proxy.browser();
        let page = framed(&mut browser, &link.target());
        assert!(is_test(&page), "{cookies}: {}", page.text());
        assert!(!page.text().contains(&link.token) && !page.text().contains("login_token"), "{cookies}");
        assert_eq!(proxy.links().status(&link.id), "pending", "{cookies}");
        // A program has no frame to test, and a frame of the same site keeps cookies as any page does.
        let mut other = proxy.browser();
        let program = in_frame(&mut other, &proxy.link("alice").target(), "iframe");
        let program = program.header("Referer", &format!("{LMS}/")).header("Accept", "application/json");
        assert_eq!(program.header("Sec-Fetch-Mode", "navigate").send().status, 302, "{cookies}");
        let mut other = proxy.browser();
        let same_site = in_frame(&mut other, &proxy.link("alice").target(), "iframe");
        let same_site = same_site.header("Referer", &format!("{LMS}/")).header("Sec-Fetch-Site", "same-site");
        assert_eq!(same_site.send().status, 302, "{cookies}");
        // What the page offers where nothing is kept.
        assert_eq!(proxy.browser().get(&link.target()).status, 302, "{cookies}: a tab");
    }
}

#[test]
fn a_click_of_the_apps_own_page_is_still_one_after_the_test_of_the_frame() {
    let hub = hub();
    for element in FRAMES {
        let proxy = TestProxy::before(&hub)
            .public_url("https://hub.test")
            .set("embed", &format!("frame_ancestors = [{LMS:?}]\ncookies = \"none\""))
            .portal(&format!("origins = [{LMS:?}]"))
            .start();
        let link = proxy.link("alice");
        let mut browser = proxy.browser();
        let sending = in_frame(&mut browser, &link.target(), element);
        assert!(is_test(&sending.header("Referer", &format!("{LMS}/")).send()), "{element}");
        let mut forged = proxy.browser();
        let asked = tested(&mut forged, &link.target(), element);
        assert!(asked.status == 200 && asked.text().contains("Continue as"), "{element}: {}", asked.text());
        assert_eq!(tested(&mut browser, &link.target(), element).status, 302, "{element}");
    }
}
