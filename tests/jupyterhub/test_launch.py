"""The forum's case: one call creates the user and starts her named server, one click ends in its JupyterLab."""

import re
import time

import pytest
from playwright.sync_api import expect, sync_playwright

import launching
from processes import ROOT, wait_until
from test_real_browser import CHROMIUM, PATIENCE, QUIET, app_page, launcher, show

WAITING = re.compile(r"/hub/hublatch/launch/")


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    context = chromium.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module", params=["with pages", "api only"])
def either(request, start_hub, start_hublatch, tmp_path_factory):
    latch = launching.start(start_hub, start_hublatch, tmp_path_factory.mktemp("launch"), request.param == "api only")
    latch.api_only = request.param == "api only"
    yield latch
    latch.stop()
    latch.hub.kill()


def documents(page):
    """Path and status of every document and script call that the page asks for from now on."""
    seen = []
    page.on("response", lambda answer: seen.append((answer.request.resource_type, answer.status, answer.url)))
    return seen


def test_one_call_and_one_click_end_in_the_named_server(either, page):
    assert not either.hub.has_user("me")
    begun = time.monotonic()
    link = either.issue("me", server="named", path="lab", launch={"cpu": "2"})
    answered = time.monotonic() - begun
    assert answered < 5, "the call must not wait for the server"
    assert link["next"] == "/user/me/named/lab"
    assert link["server"]["progress_url"] == f"/api/v1/links/{link['id']}/progress"
    server = either.hub.api("GET", "/users/me")["servers"]["named"]
    assert server["ready"] or server["pending"] == "spawn"
    assert server["user_options"] == {"cpu": "2"}

    seen = documents(page)
    app_page(page, either, link)
    page.get_by_text("Open my notebook").click()
    expect(launcher(page)).to_be_visible(timeout=PATIENCE)
    assert page.url.startswith(f"{either.url}/user/me/named/lab")
    assert [entry for entry in seen if entry[1] == 403] == []
    shown = [url for kind, status, url in seen if kind == "document" and status == 200 and "/hub/" in url]
    assert all(WAITING.search(url) for url in shown), f"pages of the hub: {shown}"
    assert either.status(link) == "used"
    show(page, "launch-api-only" if either.api_only else "launch")


def test_a_launched_link_works_without_script(either):
    browser = either.browser()
    link = either.issue("nina", launch=True)
    page = browser.open_server(link["url"])
    assert (page.status, page.path, browser.user()) == (200, "/user/nina/lab", "nina")
    # The server runs now: the next link leads straight into it, and starts nothing.
    again = either.issue("nina", path="lab/tree", launch=True)
    assert again["server"]["ready"] is True
    page = browser.open(again["url"])
    assert (page.status, page.path) == (200, "/user/nina/lab/tree")
    # Reload and back at the login path: the used link leads on.
    assert browser.open(again["url"]).path == "/user/nina/lab/tree"


def test_a_server_of_five_seconds_tells_of_each_step(either, chromium):
    link = either.issue("sven", server="slow", path="lab", launch=True)
    assert link["server"]["ready"] is False
    for scheme in ("light", "dark"):
        context = chromium.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(link["url"] if scheme == "light" else waiting_url)
        if scheme == "light":
            waiting_url = page.url
            assert WAITING.search(waiting_url)
            bar = page.get_by_role("progressbar", name="Your server is starting")
            expect(bar).to_be_visible()
            page.evaluate("""() => {
                window.steps = [];
                const state = document.getElementById('state');
                new MutationObserver(() => {
                    window.steps.push([performance.now(), document.getElementById('bar').value, state.textContent]);
                    localStorage.steps = JSON.stringify(window.steps);
                }).observe(state, {childList: true, characterData: true, subtree: true});
            }""")
            expect(page.locator("#state")).to_have_text("Step 3 of 5 <b>&</b>", timeout=PATIENCE)
            show(page, f"waiting-{'api-only' if either.api_only else 'pages'}")
            expect(launcher(page)).to_be_visible(timeout=PATIENCE)
            assert page.url.startswith(f"{either.url}/user/sven/slow/lab")
            steps = page.evaluate("JSON.parse(localStorage.steps)")
            names = [name for _, _, name in steps]
            expected = [f"Step {step} of 5 <b>&</b>" for step in range(1, 6)]
            assert [name for name in names if name in expected][-3:] == expected[-3:], names
            bars = [value for _, value, _ in steps]
            assert bars == sorted(bars) and bars[-1] >= 90, bars
            times = {name: when for when, _, name in steps}
            assert times[expected[4]] - times[expected[3]] > 500, "each step is shown when it happens"
        context.close()
