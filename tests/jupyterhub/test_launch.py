"""The forum's case: one call creates the user and starts her named server, one click ends in its JupyterLab."""

import re
import time

import pytest
from playwright.sync_api import expect, sync_playwright

import launching
from chromium import PATIENCE, launch, launcher, show
from test_real_browser import app_page

WAITING = re.compile(r"/hub/hublatch/launch/")
STEPS = [f"Step {step} of 5 <b>&</b>" for step in range(1, 6)]
# In every document of a page, before its scripts: those of the waiting page begin to tell at once.
WATCH = """addEventListener('DOMContentLoaded', () => {
    const state = document.getElementById('state');
    if (!state) return;
    const steps = [];
    new MutationObserver(() => {
        steps.push([performance.now(), document.getElementById('bar').value, state.textContent]);
        localStorage.steps = JSON.stringify(steps);
    }).observe(state, {childList: true, characterData: true, subtree: true});
})"""


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        browser = launch(playwright)
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


def answers(page):
    """Kind, status and URL of everything that the page gets from now on."""
    seen = []
    page.on("response", lambda answer: seen.append((answer.request.resource_type, answer.status, answer.url)))
    return seen


def test_one_call_and_one_click_end_in_the_named_server(either, page):
    assert not either.hub.has_user("me")
    begun = time.monotonic()
    link = either.issue("me", server="named", path="lab", launch={"cpu": "2"})
    at_once = time.monotonic() - begun < 5
    assert at_once or link["server"]["ready"] is False, "the call must not wait for the server"
    assert link["next"] == "/user/me/named/lab"
    assert link["server"]["progress_url"] == f"/api/v1/links/{link['id']}/progress"
    server = either.hub.api("GET", "/users/me")["servers"]["named"]
    assert server["ready"] or server["pending"] == "spawn"
    assert server["user_options"] == {"cpu": "2"}

    seen = answers(page)
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
    page = browser.open_server(either.issue("nina", launch=True)["url"])
    assert (page.status, page.path, browser.user()) == (200, "/user/nina/lab", "nina")
    # The server runs now: the next link leads straight into it, and starts nothing.
    again = either.issue("nina", path="lab/tree", launch=True)
    assert again["server"]["ready"] is True
    page = browser.open(again["url"])
    assert (page.status, page.path) == (200, "/user/nina/lab/tree")
    # Reload and back at the login path: the used link leads on.
    assert browser.open(again["url"]).path == "/user/nina/lab/tree"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_server_of_five_seconds_tells_of_each_step(either, chromium, scheme):
    context = chromium.new_context(color_scheme=scheme)
    context.add_init_script(WATCH)
    page = context.new_page()
    user = f"sven-{scheme}"
    link = either.issue(user, server="slow", path="lab", launch=True)
    assert link["server"]["ready"] is False
    page.goto(link["url"])
    assert WAITING.search(page.url)
    expect(page.get_by_role("progressbar", name="Your server is starting")).to_be_visible()
    expect(page.locator("#log li").filter(has_text=STEPS[2])).to_be_visible(timeout=PATIENCE)
    show(page, f"waiting-{scheme}")
    expect(launcher(page)).to_be_visible(timeout=PATIENCE)
    assert page.url.startswith(f"{either.url}/user/{user}/slow/lab")

    steps = page.evaluate("JSON.parse(localStorage.steps)")
    told = {message: when for when, _, message in steps}
    assert [message for message in told if message in STEPS][-3:] == STEPS[-3:], steps
    bars = [value for _, value, _ in steps]
    assert bars == sorted(bars) and bars[-1] >= 90, steps
    assert told[STEPS[4]] - min(told.values()) > 500, "each step is shown when it happens"
    context.close()


def test_a_server_that_fails_shows_the_hubs_words_and_a_button(either, page):
    link = either.issue("fred", server="broken", launch=True)
    page.goto(link["url"])
    expect(page.locator("h1")).to_have_text("Your server did not start", timeout=PATIENCE)
    expect(page.locator(".detail")).to_contain_text("The image <b>does not</b> exist.")
    show(page, "launch-failed")
    page.get_by_role("button", name="Start it again").click()
    expect(page.get_by_role("progressbar")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("h1")).to_have_text("Your server did not start", timeout=PATIENCE)


def test_a_server_that_was_stopped_meanwhile_is_started_again_by_the_button(either, page):
    link = either.issue("nina", path="lab", expires_in=300, launch=True)
    launching.wait_until_ready(either.hub, "nina", "")
    either.hub.api("DELETE", "/users/nina/server")
    launching.wait_until_stopped(either.hub, "nina", "")
    page.goto(link["url"])
    expect(page.locator("h1")).to_have_text("Your server is not running")
    page.get_by_role("button", name="Start it again").click()
    expect(launcher(page)).to_be_visible(timeout=PATIENCE)
    assert page.url.startswith(f"{either.url}/user/nina/lab")


def test_the_app_follows_the_start_event_by_event(either):
    link = either.issue("erin", server="slow", launch=True)
    events = list(launching.follow(either, link))
    assert [event["message"] for _, event in events][-6:-1] == STEPS
    assert events[-1][1]["ready"] is True
    assert events[-1][0] - events[0][0] > 1, "the first event must not wait for the last"


def test_nobody_else_sees_or_presses_anything(either):
    browser = either.browser()
    path = browser.open(either.issue("mary", server="broken", launch=True)["url"]).path
    assert WAITING.search(path)
    stranger = either.browser()
    assert stranger.open(path).status == 403
    stranger.open(either.issue("eve", server="broken", launch=True)["url"])
    assert (stranger.user(), stranger.open(path).status) == ("eve", 403)
    assert stranger.fetch("GET", path + "/events").status == 403
