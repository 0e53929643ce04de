//! Forms with a token: our own button, another site's form, and what is neither.

use super::*;

fn form_of(link: &Issued) -> Form {
    Form::of("/hub/login", &[("login_token", &link.token), ("next", "/hub/home")])
}

fn token_cookie(origin: &str) -> &'static str {
    if origin.starts_with("https") { "__Host-hublatch-token" } else { "hublatch-token" }
}

/// Another site's page posts a form: the browser withholds its SameSite cookies.
fn post_from_another_site(browser: &mut Browser, form: &Form) -> Answer {
    browser
        .post(form)
        .header("Origin", "https://portal.example")
        .header("Sec-Fetch-Site", "cross-site")
        .header("Referer", "https://portal.example/")
        .without_cookies()
        .send()
}

#[test]
fn a_form_of_another_site_hands_its_token_over_in_a_cookie_and_the_redirect_logs_in() {
    let hub = FakeHub::start();
    for origin in ["http://hub.test", "https://hub.test"] {
        hub.forget();
        let proxy = TestProxy::before(&hub).public_url(origin).start();
        let link = proxy.link("alice");
        let mut browser = proxy.browser();
        let mut form = form_of(&link);
        form.action = "/hub/login?a=1".to_owned();
        form.fields.push(("b".to_owned(), "ä &".to_owned()));
        let answer = post_from_another_site(&mut browser, &form);
        assert_eq!(answer.status, 303);
        assert_eq!(answer.location(), "/hub/login?next=%2Fhub%2Fhome&a=1&b=%C3%A4+%26");
        let cookie = answer.headers.get("set-cookie").expect("a cookie").to_owned();
        assert!(cookie.starts_with(&format!("{}-", token_cookie(origin))), "{cookie}");
        assert!(cookie.contains(&format!("={};", link.token)), "{cookie}");
        for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=30"] {
            assert!(cookie.split("; ").any(|part| part == attribute), "{attribute}: {cookie}");
        }
        assert_eq!(cookie.contains("; Secure"), origin.starts_with("https"), "{cookie}");
        assert_eq!(answer.headers.all("cache-control"), ["no-store"]);
        assert_eq!(answer.headers.all("referrer-policy"), ["strict-origin"]);
        assert!(!answer.text().contains(&link.token) && !answer.location().contains(&link.token));
        assert!(hub.seen().is_empty(), "{:?}", hub.seen());
        assert_eq!(proxy.links().status(&link.id), "pending");

        browser.set_cookie("theme", "dark", "/");
        let location = answer.location().to_owned();
        let answer = browser.navigate(&location).header("Sec-Fetch-Site", "cross-site").send();
        assert_eq!((answer.status, answer.location()), (302, "/hub/home"));
        assert!(browser.cookies_named(token_cookie(browser.origin())).is_empty(), "it has served");
        for seen in hub.seen() {
            assert_eq!(seen.headers.get("cookie"), Some("theme=dark"), "{}", seen.target);
        }
        assert_eq!(hub.only("/hub/login").query(), "next=%2Fhub%2Fhome&a=1&b=%C3%A4+%26");
        assert_eq!(logins(&hub).len(), 1);
    }
}

#[test]
fn a_token_that_is_handed_over_is_asked_about_like_any_other() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    let mut browser = proxy.browser();
    browser.set_cookie("jupyterhub-hub-login", "bob", "/hub/");
    let handed = post_from_another_site(&mut browser, &form_of(&link));
    let page = browser.get(handed.location());
    assert!(asks(&page), "{page:?}");
    assert_eq!(proxy.links().status(&link.id), "pending");
    // The page can be loaded again.
    assert!(asks(&browser.get(handed.location())));
    assert_eq!(browser.press(&page).status, 302);
    assert!(browser.cookies_named(token_cookie(browser.origin())).is_empty(), "it has served");
    assert_eq!(logins(&hub).len(), 1);
}

#[test]
fn a_cookie_whose_token_is_refused_is_taken_back() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    assert_eq!(click(&proxy, &link).status, 302);
    let mut browser = proxy.browser();
    let handed = post_from_another_site(&mut browser, &form_of(&link));
    assert_eq!(browser.get(handed.location()).status, 403);
    assert!(browser.cookies_named("hublatch-token").is_empty());
    // What comes next is not about the old link any more.
    assert!(browser.get("/hub/login").text().contains("link_required"));
}

#[test]
fn the_hand_over_cookie_never_reaches_the_hub_on_any_path() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("login", "without_token = \"forward\"").start();
    let link = proxy.link("alice");
    for (method, target) in
        [("GET", "/user/alice/lab"), ("GET", "/hub/login/"), ("POST", "/hub/login"), ("PUT", "/hub/login")]
    {
        hub.forget();
        let mut browser = proxy.browser();
        browser.set_cookie("a", "\"1|2\"", "/");
        browser.set_cookie("hublatch-token", &link.token, "/");
        browser.set_cookie("b", "3", "/");
        browser.request(method, target).body("x=1").header("Content-Type", "text/plain").send();
        let seen = hub.seen();
        assert_eq!(seen.len(), 1, "{method} {target}");
        assert_eq!(seen[0].headers.get("cookie"), Some("a=\"1|2\"; b=3"), "{method} {target}");
    }
    let mut wire = proxy.connect();
    hub.forget();
    let cookies =
        format!("Cookie: hublatch-token={}; a=1\r\nCookie: hublatch-token=x\r\nCookie: b=2", link.token);
    wire.ask(format!(
        "GET /ws HTTP/1.1\r\nHost: hub.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{cookies}\r\n\r\n"
    ));
    assert!(!hub.received().concat().windows(14).any(|bytes| bytes == b"hublatch-token"));
    assert_still_good(&proxy, &hub, &link, "requests with the cookie");
}

#[test]
fn only_a_page_of_this_origin_presses_the_button() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).public_url("https://hub.test").start();
    for (origin, site, ours) in [
        (Some("https://hub.test"), Some("same-origin"), true),
        (Some("https://hub.test"), None, true),
        (Some("null"), Some("same-origin"), true),
        (Some("null"), None, false),
        (Some("null"), Some("cross-site"), false),
        (Some("null"), Some("same-site"), false),
        (Some("null"), Some("none"), false),
        (Some("https://hub.test"), Some("cross-site"), false),
        (Some("https://hub.test"), Some("same-site"), false),
        (Some("http://hub.test"), None, false),
        (Some("https://hub.test:8443"), None, false),
        (Some("https://hub.test.evil.example"), None, false),
        (Some("https://evil.example"), Some("cross-site"), false),
        (Some("https://evil.example"), Some("same-origin"), false),
        (Some("https://notebook.hub.test"), Some("same-site"), false),
        (None, Some("cross-site"), false),
        (None, Some("none"), false),
        (None, None, false),
    ] {
        let link = proxy.link("alice");
        let mut browser = proxy.browser();
        // Somebody else is logged in: a form that is not ours must not spare the question.
        browser.set_cookie("jupyterhub-hub-login", "bob", "/hub/");
        let form = form_of(&link);
        let mut sending = browser.post(&form).without("Origin").without("Sec-Fetch-Site");
        if let Some(origin) = origin {
            sending = sending.header("Origin", origin);
        }
        if let Some(site) = site {
            sending = sending.header("Sec-Fetch-Site", site);
        }
        let answer = sending.send();
        let (status, left) = if ours { (302, "used") } else { (303, "pending") };
        assert_eq!(answer.status, status, "Origin {origin:?}, site {site:?}: {}", answer.text());
        assert_eq!(proxy.links().status(&link.id), left, "Origin {origin:?}, site {site:?}");
    }
}

#[test]
fn a_form_that_a_script_or_a_frame_posts_logs_nobody_in() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    for (name, value) in [
        ("Sec-Fetch-Mode", "cors"),
        ("Sec-Fetch-Dest", "iframe"),
        ("Sec-Purpose", "prefetch"),
        ("Upgrade", "x"),
    ] {
        let mut browser = proxy.browser();
        let status = browser.post(&form_of(&link)).header(name, value).send().status;
        let wanted = match name {
            "Sec-Purpose" => 503,
            "Upgrade" => 400,
            _ => 403,
        };
        assert_eq!(status, wanted, "{name}: {value}");
    }
    assert!(hub.seen().is_empty(), "{:?}", hub.seen());
    assert_still_good(&proxy, &hub, &link, "scripted forms");
}

#[test]
fn a_form_of_more_than_16_kib_is_413_and_one_of_16_kib_is_not() {
    let hub = FakeHub::start();
    // Its other parameters go to the hub in the address, and most hubs would take no more than 15 KiB of that.
    let proxy = TestProxy::before(&hub).set("hub", "head_bytes = \"32KiB\"").start();
    let link = proxy.link("alice");
    let fill = |bytes: usize| {
        let start = format!("login_token={}&a=", link.token);
        format!("{start}{}", "x".repeat(bytes - start.len()))
    };
    let mut browser = proxy.browser();
    let form = form_of(&link);
    let large = browser.post(&form).body(fill(16 * 1024 + 1)).send();
    assert_eq!(large.status, 413);
    // Without a length to be told by.
    let text = fill(16 * 1024 + 1);
    let chunked = format!(
        "POST /hub/login HTTP/1.1\r\nHost: hub.test\r\nOrigin: http://hub.test\r\nTransfer-Encoding: chunked\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n",
        text.len()
    );
    assert_eq!(proxy.connect().ask(chunked).status, 413);
    assert!(hub.seen().is_empty(), "{:?}", hub.seen());
    assert_eq!(proxy.links().status(&link.id), "pending");
    assert_eq!(browser.post(&form).body(fill(16 * 1024)).send().status, 302);
}

#[test]
fn a_form_that_does_not_say_one_thing_is_400_and_uses_nothing_up() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let (link, other) = (proxy.link("alice"), proxy.link("alice"));
    let token = &link.token;
    for (query, body) in [
        ("", format!("login_token={token}&login_token={}", other.token)),
        ("", format!("login_token={token}&login_token={token}")),
        ("", format!("login_token={token}&LOGIN-TOKEN=x")),
        ("", format!("login%5Ftoken={token}")),
        ("", format!("login_token={token}&next=/a&next=/b")),
        ("?next=/a", format!("login_token={token}&next=/b")),
        ("?login_token=x", format!("login_token={token}")),
        ("?login%5Ftoken=x", format!("login_token={token}")),
        ("", format!("login_token={token}&next=//evil.example")),
        ("", format!("login_token={token}&next=%FF")),
        // What could not stand in the query that the form becomes.
        ("", format!("login_token={token}&a=b c")),
        ("", format!("login_token={token}&a=b\r\nX: y")),
        ("", format!("login_token={token}&a=b#c")),
        ("", format!("login_token={token}&a=<b>")),
        ("", format!("login_token={token}&a=é")),
        ("", format!("login_token={token}&a=\0")),
        ("", format!("login_token={token}\r\n")),
    ] {
        for origin in ["http://hub.test", "https://portal.example"] {
            let mut browser = proxy.browser();
            let form = Form::of(&format!("/hub/login{query}"), &[]);
            let answer = browser
                .post(&form)
                .header("Origin", origin)
                .without("Sec-Fetch-Site")
                .body(body.clone())
                .send();
            // From another site `next` is judged by the GET that follows.
            let later = origin.starts_with("https") && body.contains("evil")
                || origin.starts_with("https") && body.contains("%FF");
            assert_eq!(answer.status, if later { 303 } else { 400 }, "{query} {body:?} from {origin}");
        }
    }
    let mut browser = proxy.browser();
    let latin1 = [format!("login_token={token}&a=").as_bytes(), b"\xe9"].concat();
    assert_eq!(browser.post(&form_of(&link)).body(latin1).send().status, 400);
    assert!(hub.seen().is_empty(), "{:?}", hub.seen());
    assert_still_good(&proxy, &hub, &link, "odd forms");
    assert_still_good(&proxy, &hub, &other, "odd forms");
}

#[test]
fn a_form_without_a_token_is_the_hubs_own_and_passes_byte_for_byte() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let kind = "application/x-www-form-urlencoded";
    for (content_type, body) in [
        (kind, b"_xsrf=2%7Cab&username=alice&password=a%26b+c%C3%A9".to_vec()),
        (kind, b"username=alice&password=\xe9\xff\x00 #<>&a;b\r\n".to_vec()),
        (kind, b"q=login_token&my_login_token=1".to_vec()),
        ("application/x-www-form-urlencoded; charset=utf-8", b"a=b".to_vec()),
        (kind, Vec::new()),
        ("text/plain", b"login=x".to_vec()),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--x--\r\n".to_vec(),
        ),
        ("application/json", b"{\"username\":\"alice\"}".to_vec()),
    ] {
        hub.forget();
        let mut browser = proxy.browser();
        browser.set_cookie("_xsrf", "\"2|ab\"", "/hub/");
        let form = Form::of("/hub/login?next=%2Fhub%2F&a", &[]);
        let answer = browser.post(&form).header("Content-Type", content_type).body(body.clone()).send();
        assert_eq!(answer.status, 403, "the hub's answer: {}", answer.text());
        let seen = hub.only("/hub/login");
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/hub/login?next=%2Fhub%2F&a"));
        assert_eq!(seen.body, body, "{content_type}");
        assert_eq!(seen.headers.get("content-type"), Some(content_type));
        assert_eq!(seen.headers.get("cookie"), Some("_xsrf=\"2|ab\""));
        assert_eq!(seen.headers.get("origin"), Some("http://hub.test"));
        assert_eq!(seen.headers.count_folded("remote_user"), 0);
    }
}

#[test]
fn a_token_in_the_address_of_a_post_does_not_log_in_and_does_not_go_on() {
    let hub = FakeHub::start();
    let proxy = TestProxy::start(&hub);
    let link = proxy.link("alice");
    for content_type in ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"]
    {
        hub.forget();
        let mut browser = proxy.browser();
        let form = Form::of(&format!("{}&a=1", link.target()), &[]);
        browser.post(&form).header("Content-Type", content_type).body("b=2").send();
        let seen = hub.only("/hub/login");
        assert_eq!(
            (seen.method.as_str(), seen.target.as_str()),
            ("POST", "/hub/login?a=1"),
            "{content_type}"
        );
        assert_eq!(seen.headers.count_folded("remote_user"), 0, "{content_type}");
    }
    assert_still_good(&proxy, &hub, &link, "a POST");
}

#[test]
fn a_token_that_a_sibling_domain_has_planted_logs_nobody_in() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).public_url("https://hub.test").start();
    let mallorys = proxy.link("mallory");
    for path in ["/", "/hub/login"] {
        // What a sibling domain cannot set is a name with this prefix.
        let mut victim = proxy.browser();
        let ours = post_from_another_site(&mut proxy.browser(), &form_of(&proxy.link("alice")));
        let name = ours.headers.all("set-cookie")[0].split('=').next().expect("a name").to_owned();
        assert!(name.starts_with("__Host-"), "{name}");
        for name in [name.trim_start_matches("__Host-"), "hublatch-token"] {
            victim.set_cookie(name, &mallorys.token, path);
            let answer = victim.get("/hub/login");
            assert!(answer.text().contains("link_required"), "{}", answer.text());
            assert!(victim.cookies_named("hublatch").is_empty(), "{name} is cleared");
        }
    }
    assert_still_good(&proxy, &hub, &mallorys, "a planted cookie");
}

#[test]
fn two_values_of_the_cookie_are_none_and_the_next_form_works() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).public_url("http://notes.hub.test").start();
    let mut browser = proxy.browser();
    let mallorys = proxy.link("mallory");
    post_from_another_site(&mut browser, &form_of(&proxy.link("alice")));
    let name = browser.cookies_named("hublatch-token-").remove(0);
    browser.set_cookie(&name, &mallorys.token, "/hub/login");
    let answer = browser.get("/hub/login");
    assert!(answer.text().contains("link_required"), "{}", answer.text());
    let lines = answer.headers.all("set-cookie");
    for domain in ["notes.hub.test", "hub.test"] {
        assert!(lines.iter().any(|line| line.ends_with(&format!("; Domain={domain}"))), "{lines:?}");
    }
    assert!(browser.cookies_named("hublatch").is_empty(), "both are cleared");
    let handed = post_from_another_site(&mut browser, &form_of(&proxy.link("alice")));
    assert_eq!(browser.get(handed.location()).status, 302);
    assert_eq!(proxy.links().status(&mallorys.id), "pending");
}

#[test]
fn a_button_that_cannot_be_recognised_says_so_at_once_and_uses_nothing_up() {
    let hub = FakeHub::start();
    for (url, origin) in [
        ("https://hub.test", Some("null")),
        ("https://hub.test", Some("https://127.0.0.1:8443")),
        ("http://hub.test", Some("null")),
        ("http://hub.test", None),
    ] {
        let proxy = TestProxy::before(&hub).public_url(url).set("login", "confirm = \"always\"").start();
        let link = proxy.link("alice");
        let mut browser = proxy.browser();
        let form = Form::on(&browser.get(&link.target()).text());
        let press = |browser: &mut Browser, origin: Option<&str>| {
            let sending = browser.post(&form).without_fetch_metadata().without("Origin");
            match origin {
                Some(origin) => sending.header("Origin", origin).send(),
                None => sending.send(),
            }
        };
        let answer = press(&mut browser, origin);
        assert_eq!(answer.status, 403, "{url} {origin:?}");
        assert!(answer.text().contains("Error 403, confirmation_unverified"), "{}", answer.text());
        assert!(!answer.headers.has("set-cookie") && !answer.text().contains(&link.token));
        assert_eq!(proxy.links().status(&link.id), "pending");
        let audited = || proxy.audit().iter().any(|line| line["reason"] == "confirmation_unverified");
        crate::support::proxy::wait_until("the refusal is in the audit", audited);
        // In a browser that says it, the same button logs in, and the field of it goes no further.
        hub.forget();
        assert_eq!(press(&mut browser, Some(url)).status, 302, "{url}");
        assert!(!hub.only("/hub/login").target.contains("hublatch_form"));
    }
}
