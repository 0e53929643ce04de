"""Chromium shows JupyterLab in a frame of another site's page, kernel and all, if hublatch is told to allow it."""

import http.server
import json
import threading
from html import escape

import pytest
from playwright.sync_api import expect, sync_playwright

from chromium import CHROMIUM, PATIENCE, QUIET, compute, show, wait_for
from processes import ROOT

# Third-party cookies and storage, as the user allows them.
ALLOWED = {"block_third_party_cookies": False, "cookie_controls_mode": 0}


# The client that application developers copy, as docs/applications.md shows it.
EMBED = ROOT / "examples/clients/hublatch-embed.js"
STAYS = """
import { showNotebook } from "./hublatch-embed.js";
window.messages = [];
showNotebook(document.querySelector("#lab"), HUB, async (reason) => (await fetch(`/link?${reason}`)).json(),
             (message) => window.messages.push(message));
"""


class CoursePage:
    """A page with a frame, at localhost: another site than hublatch's 127.0.0.1, so that cookies in the frame are
    third-party ones. A real server, because Chromium lets no page of nowhere frame one of this machine."""

    def __init__(self):
        self.framed = "about:blank"
        self.new_link, self.links = None, []  # what its back end answers to the client in the browser
        course = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                kind = "text/html"
                frame = f"<iframe id='lab' src='{escape(course.framed)}' width='1200' height='600'></iframe>"
                text = f"<!doctype html><title>course</title><h1>Week 3</h1>{frame}"
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
def chromium(tmp_path_factory):
    """With a profile of its own that allows them: JupyterLab does not run where a frame has no storage."""
    with sync_playwright() as playwright:
        folder = tmp_path_factory.mktemp("profile")
        (folder / "Default").mkdir()
        (folder / "Default/Preferences").write_text(json.dumps({"profile": ALLOWED}))
        browser = playwright.chromium.launch_persistent_context(
            folder, executable_path=CHROMIUM, headless=True, args=QUIET, timeout=PATIENCE
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    chromium.clear_cookies()
    page = chromium.new_page()
    yield page
    page.close()


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


def test_a_page_that_is_not_listed_is_told_nothing(embedding, stranger, page):
    _, latch = embedding
    stranger.links, stranger.new_link = [], lambda: {"url": f"{latch.url}/hub/login"}
    page.goto(f"{stranger.origin}/stays?{latch.url}")
    refused = page.frame_locator("#lab").locator("#main-frame-error, .interstitial-wrapper").first
    expect(refused).to_be_attached()
    assert (stranger.links, page.evaluate("window.messages")) == (["first"], [])
