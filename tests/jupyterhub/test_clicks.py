"""What people do with a link in Chromium: refresh, click twice, go back; with a slow hub, and with two hublatch that
share one Redis behind one address."""

import re
import shutil

import pytest
from playwright.sync_api import expect

from chromium import PATIENCE
from hops import Hop
from processes import PATIENCE as SECONDS
from processes import Process, free_port, wait_until
from test_real_browser import chromium, page  # noqa: F401

SLOW = 2.0  # seconds that the login takes


@pytest.fixture(scope="module")
def slow_hub(hub):
    """The address of a hub that takes its time for each login."""
    hop = Hop(hub.public_url, slow_start=b"GET /hub/login", delay=SLOW)
    yield hop.url
    hop.stop()


@pytest.fixture(scope="module")
def slow_latch(slow_hub, hub, start_hublatch):
    return start_hublatch(hub, {"hub": {"url": slow_hub}})


class Redis:
    def __init__(self, folder):
        port = free_port()
        command = [shutil.which("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        self.process = Process("redis", folder, command, {})
        self.url = f"redis://127.0.0.1:{port}/0"
        wait_until(lambda: "Ready to accept connections" in self.process.log, SECONDS, "Redis to answer")


class Pair:
    """Two hublatch of one configuration behind one address that gives each connection to the other one than the last."""

    def __init__(self, hub, start_hublatch, store, changes={}):
        self.listen = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        self.front = Hop(*(f"http://{address}" for address in self.listen))
        self.url = self.front.url
        shared = {"store": {"url": store, "timeout": "30s"}, **changes}
        self.latches = []
        for address in self.listen:
            public = {"listen": address, "url": self.url}
            self.latches.append(start_hublatch(hub, {"public": public, **shared}))
            shared["apps"] = self.latches[0].apps
            self.latches[-1].key = self.latches[0].key

    def issue(self, *arguments, **fields):
        return self.latches[0].issue(*arguments, **fields)

    def audit(self, link):
        return [event for latch in self.latches for event in latch.audit(link)]


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    if shutil.which("redis-server") is None:
        pytest.fail("redis-server is missing: tests/install.sh redis")
    redis = Redis(tmp_path_factory.mktemp("redis"))
    yield redis
    redis.process.stop()


@pytest.fixture(scope="module")
def pair(hub, start_hublatch, redis):
    pair = Pair(hub, start_hublatch, redis.url)
    yield pair
    pair.front.stop()


@pytest.fixture(scope="module")
def slow_pair(slow_hub, hub, start_hublatch, redis):
    pair = Pair(hub, start_hublatch, redis.url, {"hub": {"url": slow_hub}})
    yield pair
    pair.front.stop()


@pytest.fixture(params=["slow_latch", "pair"])
def latch_of_a_kind(request):
    return request.getfixturevalue(request.param)


def app_page(page, link, attributes=""):  # noqa: F811
    body = f"<title>app</title><a href='{link['url']}' {attributes}>Open my notebook</a>"
    page.route("http://app.localhost/", lambda route: route.fulfill(content_type="text/html", body=body))
    page.goto("http://app.localhost/")
    return page.get_by_text("Open my notebook")


def expect_home(page, latch, username):  # noqa: F811
    page.wait_for_url(f"{latch.url}/hub/home", timeout=PATIENCE)
    expect(page.locator("body")).to_contain_text(username)


def test_a_refresh_and_the_way_back_do_no_harm(latch_of_a_kind, page):  # noqa: F811
    latch, name = latch_of_a_kind, "lena"
    link = latch.issue(name, next="/hub/home")
    app_page(page, link).click()
    expect_home(page, latch, name)
    page.reload()
    expect_home(page, latch, name)
    page.goto("about:blank")
    page.go_back()
    expect_home(page, latch, name)
    page.goto(link["url"])
    expect_home(page, latch, name)
    assert latch.audit(link).count("redeemed") == 1


def test_a_double_click_logs_in_once_although_the_hub_is_slow(slow_latch, page):  # noqa: F811
    link = slow_latch.issue("mara", next="/hub/home")
    app_page(page, link).dblclick()
    expect_home(page, slow_latch, "mara")
    assert slow_latch.audit(link).count("redeemed") == 1


def test_whoever_clicks_until_it_opens_is_logged_in_once(slow_latch, page):  # noqa: F811
    link = slow_latch.issue("nils", next="/hub/home")
    # Each click makes the browser give its last request up, when the token is consumed already.
    app_page(page, link, 'onclick="setTimeout(() => this.click(), 800)"').click(no_wait_after=True)
    expect_home(page, slow_latch, "nils")
    assert slow_latch.audit(link).count("redeemed") == 1


def test_of_two_tabs_opened_at_once_one_logs_in_and_the_other_follows(slow_latch, chromium):  # noqa: F811
    latch, name = slow_latch, "oskar"
    context = chromium.new_context()
    link = latch.issue(name, next="/hub/home")
    first, second = context.new_page(), context.new_page()
    app_page(first, link).click(no_wait_after=True)
    wait_until(lambda: "redeemed" in latch.audit(link), SECONDS, "the first login to begin")
    # The second tab's request has no cookies yet, and comes before the first one's answer.
    app_page(second, link).click(no_wait_after=True)
    for tab in (first, second):
        expect_home(tab, latch, name)
    assert latch.audit(link).count("redeemed") == 1
    context.close()


def test_a_double_click_through_two_replicas_logs_in_once_or_says_to_open_it_again(slow_pair, page):  # noqa: F811
    link = slow_pair.issue("paula", next="/hub/home")
    app_page(page, link).dblclick()
    # The first request is given up when its login is under way. Where the second reaches the same replica it joins that
    # login; at the other one the link is used.
    expect(page.locator("body")).to_contain_text(re.compile("open the notebook again|paula"), timeout=PATIENCE)
    assert slow_pair.audit(link).count("redeemed") == 1
    again = slow_pair.issue("paula", next="/hub/home")
    app_page(page, again).click()
    expect_home(page, slow_pair, "paula")
