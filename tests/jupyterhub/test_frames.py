"""Chromium shows JupyterLab in a frame of another site's page, kernel and all, if hublatch is told to allow it."""

import http.server
import json
import threading
import time
from datetime import datetime
from html import escape

import pytest
from playwright.sync_api import expect, sync_playwright

from chromium import CHROMIUM, PATIENCE, QUIET, compute, show, wait_for
from processes import ROOT

# Third-party cookies and storage, as the user allows them or blocks them.
ALLOWED = {"block_third_party_cookies": False, "cookie_controls_mode": 0}
BLOCKED = {"block_third_party_cookies": True, "cookie_controls_mode": 1}


# The client that application developers copy, as docs/applications.md shows it.
EMBED = ROOT / "examples/clients/hublatch-embed.js"
STAYS = """
import { showNotebook } from "./hublatch-embed.js";
window.messages = [];
showNotebook(document.querySelector("#lab"), HUB, async (reason) => (await fetch(`/link?${reason}`)).json(),
             (message) => window.messages.push(message));
"""


# Each that shows a page of another site in its own; of `frame` the page consists.
ELEMENTS = {
    "iframe": "<iframe id='lab' src='ADDRESS' width='1200' height='600'></iframe>",
    "object": "<object id='lab' data='ADDRESS' type='text/html' width='1200' height='600'></object>",
    "embed": "<embed id='lab' src='ADDRESS' type='text/html' width='1200' height='600'>",
    "frame": "<frameset cols='*'><frame id='lab' src='ADDRESS'></frameset>",
}


class CoursePage:
    """A page with a frame, at localhost: another site than hublatch's 127.0.0.1, so that cookies in the frame are
    third-party ones. A real server, because Chromium lets no page of nowhere frame one of this machine."""

    def __init__(self):
        self.framed, self.element = "about:blank", "iframe"
        self.new_link, self.links = None, []  # what its back end answers to the client in the browser
        course = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                kind = "text/html"
                text = ELEMENTS[course.element].replace("ADDRESS", escape(course.framed))
                if course.element != "frame":
                    text = f"<!doctype html><title>course</title><h1>Week 3</h1>{text}"
                if self.path == "/hublatch-embed.js":
                    kind, text = "text/javascript", EMBED.read_text()
                elif self.path.startswith("/link?"):
                    course.links.append(self.path.removeprefix("/link?"))
                    kind, text = "application/json", json.dumps(course.new_link())
                elif self.path.startswith("/stays?"):
                    hub = json.dumps(self.path.removeprefix("/stays?"))
                    text += f"<script type='module'>{STAYS.replace('HUB', hub)}</script>"
                data = text.encode()
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://localhost:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def open(self, page, url):
        """The frame on the page, when it has loaded `url` or Chromium's own page in its place."""
        self.framed = url
        page.goto(f"{self.origin}/")
        return page.frame_locator("#lab")

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def start_chromium(tmp_path_factory):
    """With a profile of its own that allows them, or does not."""
    with sync_playwright() as playwright:
        browsers = []

        def start(profile):
            folder = tmp_path_factory.mktemp("profile")
            (folder / "Default").mkdir()
            (folder / "Default/Preferences").write_text(json.dumps({"profile": profile}))
            browsers.append(playwright.chromium.launch_persistent_context(
                folder, executable_path=CHROMIUM, headless=True, args=QUIET, timeout=PATIENCE
            ))  # fmt: skip
            return browsers[-1]

        yield start
        for browser in browsers:
            browser.close()


@pytest.fixture(scope="module")
def chromium(start_chromium):
    return start_chromium(ALLOWED)


@pytest.fixture(scope="module")
def blocking(start_chromium):
    return start_chromium(BLOCKED)


def fresh_page(chromium):
    chromium.clear_cookies()
    page = chromium.new_page()
    yield page
    page.close()


@pytest.fixture
def page(chromium):
    yield from fresh_page(chromium)


@pytest.fixture
def blocked_page(blocking):
    yield from fresh_page(blocking)
    blocking.clear_permissions()


@pytest.fixture
def clock(page):
    """A fake one that goes on as a real one does. It is the whole browser's: for the next test it is not left standing."""
    page.clock.install()
    yield page.clock
    page.clock.resume()


@pytest.fixture(scope="module")
def course():
    course = CoursePage()
    yield course
    course.stop()


@pytest.fixture(scope="module")
def stranger():
    stranger = CoursePage()
    yield stranger
    stranger.stop()


@pytest.fixture(scope="module", params=["none", "partitioned"])
def embedding(request, course, hub, start_hublatch):
    changes = {"embed": {"frame_ancestors": [course.origin], "cookies": request.param}}
    return request.param, start_hublatch(hub, changes)


def test_a_notebook_computes_in_a_frame_of_another_site(embedding, course, page):
    cookies, latch = embedding
    frame = course.open(page, latch.issue(f"frida-{cookies}", path="lab")["url"])
    expect(frame.locator(".jp-Launcher").first).to_be_visible(timeout=PATIENCE)
    frame.locator(".jp-LauncherCard[data-category=Notebook]").first.click()
    compute(page, frame, "6*7", "42")
    show(page, f"frame-{cookies}")


def test_only_a_listed_page_gets_the_frame(embedding, course, stranger, page):
    _, latch = embedding
    ours = course.open(page, f"{latch.url}/hub/login").locator("main.card")
    expect(ours).to_be_visible()
    refused = stranger.open(page, f"{latch.url}/hub/login")
    # Chromium's own page says that the frame cannot be shown.
    expect(refused.locator("#main-frame-error, .interstitial-wrapper").first).to_be_attached()
    expect(refused.locator("main.card")).to_have_count(0)


@pytest.fixture(params=["frame", "object", "embed"])
def other_element(request, course):
    course.element = request.param
    yield request.param
    course.element = "iframe"


def test_the_older_elements_show_the_notebooks_to_a_listed_page_as_well(embedding, course, other_element, page):
    cookies, latch = embedding
    link = latch.issue(f"frida-{cookies}", path="lab/tree")
    course.framed = link["url"]
    page.goto(f"{course.origin}/")
    shown = wait_for(page, lambda: [f for f in page.frames if f.url.startswith(f"{latch.url}/user/")], "the notebooks")
    expect(shown[0].locator("#jupyter-config-data")).to_be_attached(timeout=PATIENCE)
    assert latch.status(link) == "used"


def test_without_the_section_the_older_elements_show_nothing_and_use_nothing_up(latch, course, other_element, page):
    link = latch.issue("frida", path="lab")
    course.framed = link["url"]
    page.goto(f"{course.origin}/")
    page.wait_for_load_state("load")
    assert not [frame.url for frame in page.frames if frame.url.startswith(f"{latch.url}/user/")]
    assert latch.status(link) == "pending"


def test_without_the_section_a_frame_shows_nothing_and_uses_nothing_up(latch, course, page):
    link = latch.issue("frida", path="lab")
    refused = course.open(page, link["url"])
    expect(refused.locator("#main-frame-error, .interstitial-wrapper").first).to_be_attached()
    assert latch.status(link) == "pending"


def test_a_frame_whose_session_has_ended_gets_a_new_link_from_the_application(embedding, course, page):
    cookies, latch = embedding
    user = f"gina-{cookies}"
    course.framed, course.links = "about:blank", []
    course.new_link = lambda: {"url": latch.issue(user, path="lab")["url"]}
    page.goto(f"{course.origin}/stays?{latch.url}")
    notebooks = page.frame_locator("#lab").locator("#jupyter-config-data")
    expect(notebooks).to_be_attached(timeout=PATIENCE)
    assert latch.manage("DELETE", f"/api/v1/users/{user}/sessions")[0] == 200
    # Neither a message of another page nor one of another kind counts.
    page.evaluate("window.postMessage({ hublatch: 'needs_link', reason: 'forged' }, '*')")
    # The client leaves a frame alone that comes back within ten seconds.
    page.evaluate("performance.now = ((now) => () => now() + 20_000)(performance.now.bind(performance))")
    frame = next(frame for frame in page.frames if frame.url.startswith(latch.url))
    frame.evaluate("setTimeout(() => location.reload(), 0)")
    wait_for(page, lambda: len(course.links) > 1, "a new link to be asked for")
    expect(notebooks).to_be_attached(timeout=PATIENCE)
    assert course.links == ["first", "session_ended"]
    assert page.evaluate("window.messages") == [{"hublatch": "needs_link", "reason": "session_ended"}]


def test_a_session_that_ends_by_its_time_is_begun_again_and_the_next_is_renewed_before_its_end(
    embedding, course, page, clock
):
    cookies, latch = embedding
    user, made = f"henry-{cookies}", []

    def new_link():
        made.append(latch.issue(user, path="lab", session_expires_in=60))
        # The first time the client is not told when to come again, so that the end itself is seen.
        return {"url": made[-1]["url"], **({"session_expires_in": 60} if len(made) > 1 else {})}

    course.framed, course.links, course.new_link = "about:blank", [], new_link
    page.goto(f"{course.origin}/stays?{latch.url}")
    notebooks = page.frame_locator("#lab").locator("#jupyter-config-data")
    expect(notebooks).to_be_attached(timeout=PATIENCE)
    until = latch.manage("GET", f"/api/v1/links/{made[0]['id']}")[1]["session"]["until"]
    left = datetime.fromisoformat(until).timestamp() - time.time()
    assert left <= 60
    # No fake clock: hublatch's and the hub's are real.
    page.wait_for_timeout(max(left, 0) * 1000 + 100)
    # From here on the page's clock stands: how long the notebooks take to come is no time that passes for the client.
    clock.pause_at(time.time() + 60)
    frame = next(frame for frame in page.frames if frame.url.startswith(latch.url))
    frame.evaluate("setTimeout(() => location.reload(), 0)")
    clock.run_for(1)
    wait_for(page, lambda: len(course.links) == 2, "a new link to be asked for")
    expect(notebooks).to_be_attached(timeout=PATIENCE)
    wait_for(page, lambda: latch.status(made[1]) == "used", "the second link to be opened")
    # Now it knows when: shortly before the end of the second one it asks for a third.
    clock.fast_forward(50_000)
    assert len(course.links) == 2
    clock.fast_forward(6_000)
    wait_for(page, lambda: len(made) == 3 and latch.status(made[2]) == "used", "a third link to be opened")
    expect(notebooks).to_be_attached(timeout=PATIENCE)
    assert course.links == ["first", "session_ended", "session_over"]


def test_a_page_that_is_not_listed_is_told_nothing(embedding, stranger, page):
    _, latch = embedding
    stranger.links, stranger.new_link = [], lambda: {"url": f"{latch.url}/hub/login"}
    page.goto(f"{stranger.origin}/stays?{latch.url}")
    refused = page.frame_locator("#lab").locator("#main-frame-error, .interstitial-wrapper").first
    expect(refused).to_be_attached()
    assert (stranger.links, page.evaluate("window.messages")) == (["first"], [])


def open_blocked(page, course, latch, link):
    """The frame of a page with the client, and every page that the frame has asked for."""
    course.framed, course.links, course.new_link = "about:blank", [], lambda: {"url": link["url"]}
    loads = []
    page.on("request", lambda request: loads.append(request.url) if request.is_navigation_request() and request.url.startswith(latch.url) else None)
    page.goto(f"{course.origin}/stays?{latch.url}")
    return page.frame_locator("#lab"), loads


def assert_says_so(page, frame, latch, link, loads, buttons):
    expect(frame.locator("h1")).to_have_text("Your browser does not let the notebooks keep a login here")
    assert [button.inner_text() for button in frame.locator(".actions a:visible").all()] == buttons
    # That nothing more comes, only time can show: JupyterLab would load once a second.
    page.wait_for_timeout(5_000)
    assert 1 <= len(loads) <= 3, loads
    assert page.evaluate("window.messages") == [{"hublatch": "storage_blocked", "reason": "storage_blocked"}]
    assert latch.status(link) == "pending"
    html = frame.locator("html").inner_html()
    assert link["login_token"] not in html and "login_token" not in html


def test_a_frame_in_which_nothing_is_kept_says_so_and_a_tab_goes_on_with_its_link(embedding, course, blocked_page):
    page, (cookies, latch) = blocked_page, embedding
    link = latch.issue(f"iris-{cookies}", path="lab")
    frame, loads = open_blocked(page, course, latch, link)
    assert_says_so(page, frame, latch, link, loads, ["Continue here", "Open in a new tab"])
    show(page, f"frame-blocked-{cookies}")
    with page.context.expect_page() as opened:
        frame.get_by_role("link", name="Open in a new tab").click()
    tab = opened.value
    expect(tab.locator("#jupyter-config-data")).to_be_attached(timeout=PATIENCE)
    assert latch.status(link) == "used"
    tab.close()


# What Safari and Firefox give to such a frame: storage of its own, and no cookies before they are asked for. Chromium has no
# such mode that can be switched on from outside.
STORAGE = "Object.defineProperty(window, 'localStorage', { value: { setItem() {}, removeItem() {} } })"


@pytest.fixture(scope="module")
def unpartitioned(course, hub, start_hublatch):
    return start_hublatch(hub, {"embed": {"frame_ancestors": [course.origin], "cookies": "none"}})


def grant_cookies(page, course, latch):
    wanted = {"permission": {"name": "storage-access"}, "setting": "granted"}
    session = page.context.new_cdp_session(page)
    session.send("Browser.setPermission", {**wanted, "origin": course.origin, "embeddedOrigin": latch.url})


def test_the_button_asks_the_browser_and_goes_on_if_it_allows(unpartitioned, course, blocked_page):
    page, latch = blocked_page, unpartitioned
    link = latch.issue("jack", next="/hub/home")
    page.add_init_script(STORAGE)
    grant_cookies(page, course, latch)
    frame, loads = open_blocked(page, course, latch, link)
    frame.get_by_role("link", name="Continue here").click()
    expect(frame.locator("#logout")).to_be_attached(timeout=PATIENCE)
    expect(frame.locator("body")).to_contain_text("jack")
    assert latch.status(link) == "used"
    # The page, the login, and where it leads.
    assert len(loads) == 3, loads


@pytest.mark.parametrize("is_granted", [True, False], ids=["cookies alone", "nothing"])
def test_where_the_browser_allows_too_little_a_tab_is_left(unpartitioned, course, blocked_page, is_granted):
    page, latch = blocked_page, unpartitioned
    link = latch.issue("jill", path="lab")
    if is_granted:
        grant_cookies(page, course, latch)
    frame, loads = open_blocked(page, course, latch, link)
    frame.get_by_role("link", name="Continue here").click()
    expect(frame.get_by_role("link", name="Continue here")).to_be_hidden()
    expect(frame.get_by_role("link", name="Open in a new tab")).to_be_focused()
    assert (len(loads), latch.status(link)) == (1, "pending")


def test_a_frame_of_another_site_with_cookies_for_the_same_site_offers_a_tab_alone(hub, start_hublatch, course, page):
    latch = start_hublatch(hub, {"embed": {"frame_ancestors": [course.origin], "cookies": "lax"}})
    link = latch.issue("kim", path="lab")
    frame, loads = open_blocked(page, course, latch, link)
    assert_says_so(page, frame, latch, link, loads, ["Open in a new tab"])
    lines = [line for line in latch.process.records() if "embed.cookies" in line.get("message", "")]
    assert len(lines) == 1, lines
