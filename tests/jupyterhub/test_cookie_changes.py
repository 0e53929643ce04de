"""`[embed] cookies` changes while browsers have cookies of the sort before: whoever has logged out is nobody.

The partition is part of what a cookie is, so that a browser can have two of one name: one of each sort, of two users."""

import http.server
import threading

import pytest
from playwright.sync_api import expect

from chromium import PATIENCE, wait_for
from hub_services import call
from latch import AS_PROXY
from processes import wait_until
from test_frames import ALLOWED, CoursePage, chromium, course, page, start_chromium  # noqa: F401

# Those that change the partition; `lax` and `none` are one cookie to a browser.
CHANGES = [("lax", "partitioned"), ("none", "partitioned"), ("partitioned", "lax"), ("partitioned", "none")]
LOGIN = ("jupyterhub-hub-login", "jupyterhub-session-id")
# A page of a server that is not there is the lightest.
NOWHERE = "/user/amelie/files/nowhere"


@pytest.fixture(scope="module")
def latch(hub, start_hublatch, course):  # noqa: F811
    return start_hublatch(hub, {"embed": {"frame_ancestors": [course.origin], "cookies": "lax"}})


@pytest.fixture(scope="module")
def amelies_server(hub, latch):
    hub.api("POST", "/users", {"usernames": ["amelie"]})
    hub.api("POST", "/users/amelie/server", {})
    wait_until(lambda: hub.api("GET", "/users/amelie")["servers"].get("", {}).get("ready"), 180, "the server of amelie")


def open_link(page, latch, user, next="/hub/home"):  # noqa: F811
    """Where it ends: the status of the page."""
    return page.goto(latch.issue(user, next=next)["url"]).status


def name_on(shown):
    """Whom the hub's own page of `shown`, a page or a frame, is for."""
    expect(shown.locator("#logout").first).to_be_attached(timeout=PATIENCE)
    return shown.locator("#login_widget").inner_text()


def login_cookies(page):  # noqa: F811
    return [cookie for cookie in page.context.cookies() if cookie["name"].startswith(LOGIN)]


def assert_is_nobody_after_a_logout(shown, latch):
    """The hub sends `shown`, a page or a frame, to the login; and nothing of a login is left."""
    shown.goto(f"{latch.url}/hub/logout")
    for path in ("/hub/home", NOWHERE):
        answer = shown.goto(latch.url + path)
        assert (answer.status, answer.url.split("?")[0]) == (403, f"{latch.url}/hub/login"), path
    assert login_cookies(getattr(shown, "page", shown)) == []


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_who_logs_out_after_a_change_is_not_whoever_was_there_before(latch, amelies_server, page, before, after):  # noqa: F811
    latch.reload({"embed": {"cookies": before}})
    # So that she has a cookie of her server, too.
    assert open_link(page, latch, "amelie", next=NOWHERE) == 404

    latch.reload({"embed": {"cookies": after}})
    open_link(page, latch, "bruno")
    page.locator("form button").first.click()
    assert "bruno" in name_on(page)
    assert page.goto(latch.url + NOWHERE).status == 403
    assert_is_nobody_after_a_logout(page, latch)


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_a_logout_after_a_change_ends_the_login_of_before(latch, page, before, after):  # noqa: F811
    latch.reload({"embed": {"cookies": before}})
    open_link(page, latch, "bruno")
    assert "bruno" in name_on(page)
    latch.reload({"embed": {"cookies": after}})
    assert_is_nobody_after_a_logout(page, latch)


@pytest.mark.parametrize(("before", "after"), [("none", "partitioned"), ("partitioned", "none")])
def test_who_logs_out_in_a_frame_after_a_change_is_nobody(latch, course, page, before, after):  # noqa: F811
    latch.reload({"embed": {"cookies": before}})
    assert "amelie" in name_on(course.open(page, latch.issue("amelie", next="/hub/home")["url"]))

    latch.reload({"embed": {"cookies": after}})
    shown = course.open(page, latch.issue("bruno", next="/hub/home")["url"])
    shown.locator("form button").first.click()
    assert "bruno" in name_on(shown)
    assert_is_nobody_after_a_logout(frame_of(page, latch), latch)


def frame_of(page, latch):  # noqa: F811
    return next(frame for frame in page.frames if frame.url.startswith(latch.url))


class Widget(http.server.BaseHTTPRequestHandler):
    """An application behind the hub's proxy that keeps a cookie of its own in frames."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Set-Cookie", "widget=1; Path=/widget/; Secure; SameSite=None; Partitioned")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def widget(hub):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Widget)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    target = {"target": f"http://127.0.0.1:{server.server_address[1]}"}
    added = call(f"{hub.proxy_api_url}/api/routes/widget", "POST", hub.env["CONFIGPROXY_AUTH_TOKEN"], target)
    assert added.status == 201, added
    yield "/widget/"
    call(f"{hub.proxy_api_url}/api/routes/widget", "DELETE", hub.env["CONFIGPROXY_AUTH_TOKEN"])
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.skipif(AS_PROXY, reason="its route is in the hub's other proxy")
def test_a_partitioned_cookie_of_another_application_stays_what_it_is(latch, widget, course, page):  # noqa: F811
    latch.reload({"embed": {"cookies": "none"}})
    devtools = page.context.new_cdp_session(page)

    def kept():
        cookies = devtools.send("Storage.getCookies")["cookies"]
        return [cookie.get("partitionKey", {}).get("topLevelSite") for cookie in cookies if cookie["name"] == "widget"]

    course.open(page, latch.url + widget)
    wait_for(page, kept, "the cookie of the application")
    assert kept() == ["http://localhost"]
    assert "bruno" in name_on(course.open(page, latch.issue("bruno", next="/hub/home")["url"]))
    frame_of(page, latch).goto(f"{latch.url}/hub/logout")
    assert login_cookies(page) == []
    assert kept() == ["http://localhost"]
