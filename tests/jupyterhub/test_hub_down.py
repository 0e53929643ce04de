"""A hub that is down costs nobody a link."""

import os
import signal

import pytest


@pytest.fixture
def pair(start_hub, start_hublatch):
    hub = start_hub()
    latch = start_hublatch(hub)
    yield hub, latch
    latch.stop()
    hub.kill()


def test_a_link_outlives_a_hub_that_is_down(pair):
    hub, latch = pair
    browser = latch.browser()
    link = latch.issue("dora", next="/hub/home", expires_in=300)

    # The hub is gone and its public proxy answers 503 for it.
    os.kill(hub.process.pid, signal.SIGKILL)
    hub.process.wait(60)
    assert_unavailable(browser, link)
    assert latch.status(link) == "pending"

    # Nothing listens at all.
    hub.stop()
    assert_unavailable(browser, link)
    assert latch.status(link) == "pending"

    hub.start()
    page = browser.open(link["url"])
    assert (page.status, page.path, browser.user()) == (200, "/hub/home", "dora")


def assert_unavailable(browser, link):
    page = browser.open(link["url"])
    assert (page.status, len(browser.hops)) == (503, 1)
    assert page.header("Content-Type").startswith("text/html")
    assert page.header("Cache-Control") == "no-store"
    assert link["login_token"] not in page.text
