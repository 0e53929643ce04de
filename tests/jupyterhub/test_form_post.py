"""The sample app on another site than the hub, in Chromium: a form instead of a link, also for a browser whose cookies
are old; and the way from the hub's own address to the app and back.

Chromium sends cookies without SameSite with a POST of another site for two minutes after they were set. What works only
then does not work."""

import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

from chromium import PATIENCE, addresses, launch, launcher, posts, show, wait_for
from processes import free_port
from sample_app import Portal
from test_real_browser import chromium, page  # noqa: F401

LAX_AND_POST_SECONDS = 120


@pytest.fixture(scope="module")
def portal(latch, tmp_path_factory):
    """The sample app at localhost, which is another site than hublatch's 127.0.0.1."""
    settings = {"HUBLATCH_API_URL": latch.management, "HUBLATCH_API_KEY": latch.key, "PORTAL_SEND": "form"}
    portal = Portal(tmp_path_factory.mktemp("portal"), **settings)
    portal.url = portal.url.replace("127.0.0.1", "localhost")
    yield portal
    portal.process.stop()


def open_notebook(page, username, **fields):  # noqa: F811
    page.locator("#username").fill(username)
    for name, value in fields.items():
        page.locator(f"#{name}").fill(value)
    page.get_by_role("button", name="Open notebook").click()


class OldBrowser:
    """A Chromium that logs in at once and is used again when its cookies are old. In a thread of its own, so that other
    tests have theirs meanwhile."""

    def __init__(self, latch):
        self._thread = ThreadPoolExecutor(1)
        self.do(self._start)
        self.do(lambda: self.page.goto(latch.issue("gerda", next="/hub/home")["url"]))
        self.logged_in = time.monotonic()

    def _start(self):
        self._playwright = sync_playwright().start()
        self._chromium = launch(self._playwright)
        self.page = self._chromium.new_context().new_page()

    def do(self, action):
        return self._thread.submit(action).result()

    def grow_old(self):
        time.sleep(max(0, self.logged_in + LAX_AND_POST_SECONDS + 5 - time.monotonic()))

    def stop(self):
        self.do(lambda: (self._chromium.close(), self._playwright.stop()))
        self._thread.shutdown()


@pytest.fixture(scope="session")
def old_browser(latch):
    browser = OldBrowser(latch)
    yield browser
    browser.stop()


@pytest.mark.begins_early
def test_a_browser_logs_in_and_is_left_alone_for_two_minutes(old_browser, latch):
    assert old_browser.do(lambda: old_browser.page.url) == f"{latch.url}/hub/home"


@pytest.mark.ends_late
def test_a_form_of_another_site_opens_the_notebook_when_the_cookies_are_old(old_browser, latch, portal):
    old_browser.grow_old()

    def same_user():
        page = old_browser.page  # noqa: F811
        sent, seen = posts(page), addresses(page)
        page.goto(portal.url)
        open_notebook(page, "gerda")
        expect(launcher(page)).to_be_visible(timeout=PATIENCE)
        wait_for(page, lambda: [url for url, _ in sent if url.startswith(latch.url)], "the post to be told of")
        return page.url, sent, seen

    address, sent, seen = old_browser.do(same_user)
    assert address.startswith(f"{latch.url}/user/gerda/lab")
    (to_hub,) = [cookies for url, cookies in sent if url.startswith(latch.url)]
    assert "jupyterhub-hub-login" not in to_hub, "the browser still sent its cookies: this showed nothing"
    assert seen and not [url for url in seen if "token" in url]


@pytest.mark.ends_late
def test_such_a_form_for_another_user_asks_first_because_the_hub_knew_the_browser(old_browser, latch, portal):
    old_browser.grow_old()

    def another_user():
        page = old_browser.page  # noqa: F811
        page.goto(portal.url)
        open_notebook(page, "hanno")
        expect(page.get_by_role("button", name="Continue as hanno")).to_be_visible()
        expect(page.locator("main")).to_contain_text("gerda")
        show(page, "form-post-confirm")
        page.get_by_role("button", name="Continue as hanno").click()
        expect(launcher(page)).to_be_visible(timeout=PATIENCE)
        return page.url

    assert old_browser.do(another_user).startswith(f"{latch.url}/user/hanno/lab")


def test_the_form_is_pressed_by_a_person_where_scripts_are_off(portal, latch, chromium):  # noqa: F811
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()  # noqa: F811
    seen = addresses(page)
    page.goto(portal.url)
    open_notebook(page, "ilse", path="api")
    expect(page.locator("h1")).to_contain_text("Opening your notebook")
    show(page, "portal-form")
    page.get_by_role("button", name="Open notebook").click()
    page.wait_for_url("**/hub/spawn-pending/ilse**")
    assert not [url for url in seen if "token" in url]
    context.close()


@pytest.fixture(scope="module", params=[False, True], ids=["any links", "bound links only"])
def by_way_of_the_app(request, hub, start_hublatch, tmp_path_factory):
    """A hublatch that sends whoever has no link to the sample app."""
    port = free_port()
    login = {
        "without_token": "redirect",
        "app_url": f"http://localhost:{port}/",
        "require_state": request.param,
    }
    latch = start_hublatch(hub, {"login": login})
    settings = {"HUBLATCH_API_URL": latch.management, "HUBLATCH_API_KEY": latch.key}
    portal = Portal(tmp_path_factory.mktemp("portal"), PORTAL_LISTEN=f"127.0.0.1:{port}", **settings)
    yield latch, request.param
    portal.process.stop()


def test_the_hubs_own_address_ends_in_the_notebook_after_the_apps_login(by_way_of_the_app, page):  # noqa: F811
    latch, _ = by_way_of_the_app
    page.goto(f"{latch.url}/hub/user-redirect/lab")
    expect(page.locator("h1")).to_contain_text("Open a notebook")
    assert page.url.startswith("http://localhost:")
    expect(page.locator("#path")).to_be_hidden()
    open_notebook(page, "jonas")
    expect(launcher(page)).to_be_visible(timeout=PATIENCE)
    assert page.url.startswith(f"{latch.url}/user/jonas/lab")


def test_a_link_for_another_browser_is_refused_with_a_page_and_stays_good_for_its_own(by_way_of_the_app, chromium, page):  # noqa: F811
    latch, _ = by_way_of_the_app
    page.goto(f"{latch.url}/hub/login?next=%2Fhub%2Fhome")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}
    link = latch.issue("klara", state=asked["state"], next=asked["next"])

    other = chromium.new_context()
    stolen = other.new_page()
    assert stolen.goto(link["url"]).status == 403
    expect(stolen.locator("h1")).to_have_text("This link belongs to another browser")
    show(stolen, "bound-link")
    # The page says what to do, and that works.
    stolen.goto(latch.url)
    expect(stolen.locator("h1")).to_contain_text("Open a notebook")
    other.close()

    page.goto(link["url"])
    assert page.url == f"{latch.url}/hub/home"
    expect(page.locator("body")).to_contain_text("klara")


def test_an_unbound_link_works_only_where_such_links_may(by_way_of_the_app, page):  # noqa: F811
    latch, bound_only = by_way_of_the_app
    status, link = latch.manage("POST", "/api/v1/links", {"username": "klara", "next": "/hub/home"})
    if status != 201:
        assert bound_only, link
        return
    answer = page.goto(link["url"])
    assert answer.status == (403 if bound_only else 200)
