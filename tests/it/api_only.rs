//! API-only mode: links lead straight into servers, and people see pages of ours where the hub's would have no style.

use serde_json::{Value, json};

use super::launch::{launching, logged_in};
use super::support::proxy::Builder;
use super::support::{Answer, Browser, FakeHub, HubServer, Is, TestProxy};

fn api_only(hub: &FakeHub) -> Builder {
    launching(hub).set("hub", "api_only = true").set("login", "app_url = \"https://portal.example/\"")
}

/// Everything but the hub's own API and login is the bare error of the hub's proxy.
fn bare(hub: &FakeHub, status: &'static str) {
    hub.otherwise(move |exchange| {
        exchange
            .answer(&format!("{status}\r\nContent-Type: text/html\r\nSet-Cookie: kept=1"), "<h1>bare</h1>")
    });
}

fn is_bare(answer: &Answer) -> bool {
    answer.text().contains("bare")
}

/// The code that a page of ours shows.
fn shown(browser: &mut Browser, target: &str) -> String {
    let answer = browser.get(target);
    let text = answer.text();
    let Some((_, rest)) = text.split_once("<footer>\n<p>") else {
        return format!("{} {text}", answer.status);
    };
    assert_eq!(answer.headers.all("set-cookie"), ["kept=1"], "the hub's cookies are kept");
    rest.split_once("</p>").unwrap().0.to_owned()
}

#[test]
fn links_lead_straight_to_where_they_lead() {
    let hub = FakeHub::start();
    let proxy = api_only(&hub).start();
    let next = |order: &Value| proxy.links().issue(order).json["next"].clone();
    assert_eq!(next(&json!({"username": "me", "path": "lab?x=1"})), "/user/me/lab?x=1");
    assert_eq!(next(&json!({"username": "me", "server": "named"})), "/user/me/named/");
    assert_eq!(next(&json!({"username": "me", "next": "/user/me/tree"})), "/user/me/tree");
    assert_eq!(next(&json!({"username": "me"})), Value::Null);
}

#[test]
fn a_link_that_leads_nowhere_leads_home_and_not_to_the_hubs_spawn_page() {
    let hub = FakeHub::start();
    let proxy = api_only(&hub).start();
    let link = proxy.link("me");
    let mut browser = proxy.browser();
    assert_eq!(browser.get(&link.target()).location(), "/user/me/");
    assert_eq!(browser.get(&link.target()).location(), "/user/me/", "and so does the used link");
    assert_eq!(
        browser.get("/hub/login").location(),
        "/user/me/",
        "and the login page for whom the hub knows"
    );
    let own = proxy.link("me").target() + "&next=%2Fuser%2Fme%2Fview";
    assert_eq!(proxy.browser().get(&own).location(), "/user/me/view");
}

#[test]
fn people_see_our_pages_in_the_place_of_bare_errors() {
    let hub = FakeHub::start();
    let server = HubServer::of(&hub, "me", "").known();
    HubServer::of(&hub, "nobody", "");
    let proxy = api_only(&hub).start();
    let mut browser = logged_in(&proxy, "me");
    bare(&hub, "404 Not Found");
    for path in ["/user/me/lab", "/user/me/named/lab", "/user/nobody/"] {
        assert_eq!(shown(&mut browser, path), "Error 404, server_not_running", "{path}");
    }
    for path in ["/hub/spawn/me", "/hub/user/me/", "/elsewhere", "/userme", "/hub/homes"] {
        assert_eq!(shown(&mut browser, path), "Error 404, page_not_found", "{path}");
    }
    assert!(
        browser
            .get("/user/me/lab")
            .text()
            .contains("href=\"https:&#x2f;&#x2f;portal.example&#x2f;\">Back to the app")
    );
    bare(&hub, "503 Service Unavailable");
    assert_eq!(shown(&mut browser, "/user/me/lab"), "Error 404, server_not_running");
    assert_eq!(shown(&mut browser, "/hub/home"), "Error 502, bad_gateway");
    assert_eq!(shown(&mut browser, "/"), "Error 502, bad_gateway");
    bare(&hub, "403 Forbidden");
    assert_eq!(shown(&mut browser, "/hub/api/oauth2/authorize"), "Error 403, login_refused");
    server.set(Is::Starting(Vec::new()));
    bare(&hub, "404 Not Found");
    assert_eq!(shown(&mut browser, "/user/me/lab"), "Error 404, server_not_running");
}

#[test]
fn the_address_of_the_notebooks_leads_to_the_users_server_or_to_the_app() {
    let hub = FakeHub::start();
    let proxy = api_only(&hub).start();
    let mut browser = logged_in(&proxy, "me");
    bare(&hub, "404 Not Found");
    for path in ["/", "/hub", "/hub/", "/hub/home"] {
        let led = browser.get(path);
        assert_eq!((led.status, led.location()), (303, "/hub/login"), "{path}");
        assert_eq!(led.headers.all("set-cookie"), ["kept=1"], "{path}");
    }
    assert_eq!(browser.get("/hub/login").location(), "/user/me/");
    let page = proxy.browser().get("/hub/login");
    assert!(page.text().contains("Error 403, link_required"), "{}", page.text());
    let app = "without_token = \"redirect\"\napp_url = \"https://portal.example/\"";
    let led = api_only(&hub).set("login", app).start().browser().get("/hub/login");
    assert!(led.location().starts_with("https://portal.example/?state="), "{}", led.location());
}

#[test]
fn what_is_not_the_hubs_bare_error_stays_as_it_is() {
    let hub = FakeHub::start();
    let server = HubServer::of(&hub, "me", "named");
    server.set(Is::Ready);
    let proxy = api_only(&hub).start();
    let mut browser = logged_in(&proxy, "me");
    bare(&hub, "404 Not Found");
    assert!(is_bare(&browser.get("/user/me/named/no-such-file")), "the 404 of a server that runs");
    assert!(is_bare(&browser.get("/services/x/")), "a service's own");
    assert!(is_bare(&browser.navigate("/user/me/lab").header("Sec-Fetch-Mode", "cors").send()), "a script's");
    assert!(is_bare(&browser.navigate("/user/me/lab").header("Accept", "application/json").send()));
    assert!(is_bare(&browser.request("POST", "/user/me/lab").header("Content-Length", "0").send()));
    bare(&hub, "503 Service Unavailable");
    assert_eq!(
        shown(&mut browser, "/user/me/named/lab"),
        "Error 502, bad_gateway",
        "it runs, and is out of reach"
    );
    bare(&hub, "200 OK");
    assert!(is_bare(&browser.get("/user/me/lab")));
    bare(&hub, "403 Forbidden");
    assert!(is_bare(&browser.get("/user/me/lab")), "what a server says to a stranger");
    // A hub that does not say whether the server runs.
    bare(&hub, "404 Not Found");
    hub.reply("/hub/api/users/me", "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    assert!(is_bare(&browser.get("/user/me/lab")));
    // With pages of its own the hub answers for itself.
    let with_pages = launching(&hub).start();
    assert!(is_bare(&logged_in(&with_pages, "me").get("/user/me/lab")));
}

#[test]
fn a_login_that_the_hub_refuses_and_a_logout_end_on_pages_of_ours() {
    let hub = FakeHub::start();
    let proxy = api_only(&hub).start();
    hub.reply(
        "/hub/login",
        "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nbare",
    );
    let link = proxy.link("me");
    let answer = proxy.browser().get(&link.target());
    assert!(answer.status == 403 && answer.text().contains("login_refused"), "{}", answer.text());
    assert_eq!(proxy.links().status(&link.id), "used");
    let mut browser = logged_in(&proxy, "me");
    let out = browser.get("/hub/logout");
    assert_eq!(out.status, 200);
    assert!(out.text().contains("You are logged out") && out.text().contains("Back to the app"));
    let mut script = logged_in(&proxy, "me");
    let answer = script.navigate("/hub/logout").header("Sec-Fetch-Mode", "cors").send();
    assert!(answer.text().contains("Successfully logged out."), "a script gets the hub's own");
}

#[test]
fn it_needs_a_hub_token_and_cannot_send_people_to_the_hubs_login() {
    let hub = FakeHub::start();
    let faults = |builder: Builder| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.config()))
            .err()
            .and_then(|panic| panic.downcast::<String>().ok())
            .map_or(String::new(), |text| *text)
    };
    let text = faults(TestProxy::before(&hub).set("hub", "api_only = true"));
    assert!(text.contains("hub.api_only") && text.contains("needs hub.api_token_file"), "{text}");
    let text = faults(api_only(&hub).set("login", "without_token = \"forward\""));
    assert!(text.contains("login.without_token") && text.contains("no login page"), "{text}");
}
