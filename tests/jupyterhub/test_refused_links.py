"""A link admits once, in time, and until it is revoked."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from browser import Browser
from processes import wait_until

TOKENS, CLIENTS = 200, 8


def assert_refused(browser, link):
    page = browser.open(link["url"])
    assert (page.status, len(browser.hops)) == (403, 1)
    assert page.header("Content-Type").startswith("text/html")
    assert link["login_token"] not in page.text
    assert browser.user() is None


def test_a_used_link_admits_nobody_else(latch, browser):
    link = latch.issue("rita", next="/hub/home")
    assert browser.open(link["url"]).status == 200
    assert_refused(latch.browser(), link)
    assert browser.user() == "rita"


def test_a_refresh_of_a_used_link_goes_on_to_its_page(latch, browser):
    link = latch.issue("rita", next="/hub/token")
    browser.open(link["url"])
    session = browser.cookie("jupyterhub-session-id")
    page = browser.open(link["url"])
    assert (page.status, page.path, browser.hops[0].status) == (200, "/hub/token", 303)
    assert browser.cookie("jupyterhub-session-id") == session


def test_an_expired_link_admits_nobody(latch, browser):
    link = latch.issue("rita", expires_in=1)
    wait_until(lambda: latch.status(link) == "expired", 60, "the link to expire")
    assert_refused(browser, link)


def test_a_revoked_link_admits_nobody(latch, browser):
    link = latch.issue("rita")
    assert latch.manage("DELETE", f"/api/v1/links/{link['id']}")[0] == 204
    assert_refused(browser, link)
    assert latch.status(link) == "revoked"


def test_all_links_of_a_user_can_be_revoked_at_once(latch, browser):
    links = [latch.issue("ruth") for _ in range(3)]
    assert latch.manage("DELETE", "/api/v1/users/ruth/links") == (200, {"revoked": 3})
    for link in links:
        assert_refused(browser, link)


def test_a_token_that_nobody_issued_admits_nobody(latch, browser):
    assert browser.open("/hub/login?login_token=hl_" + "A" * 43).status == 403
    assert browser.user() is None


def test_a_program_gets_the_refusal_as_json(latch, browser):
    link = latch.issue("rita")
    latch.manage("DELETE", f"/api/v1/links/{link['id']}")
    answer = browser.request("GET", link["url"], headers={"Accept": "application/json"})
    assert (answer.status, answer.json["status"]) == (403, 403)
    assert answer.json["message"] and answer.json["code"]


@pytest.mark.parametrize("headers", [{"Sec-Purpose": "prefetch;prerender"}, {"Purpose": "prefetch"}])
def test_a_prefetch_does_not_use_the_link_up(latch, browser, headers):
    link = latch.issue("rita", next="/hub/home")
    assert browser.open(link["url"], headers=headers).status == 503
    assert browser.open(link["url"], method="HEAD").status == 200
    assert latch.status(link) == "pending"
    assert browser.open(link["url"]).status == 200
    assert browser.user() == "rita"


def test_of_racing_browsers_one_logs_in(latch):
    """The full 1,000 x 8 runs in process; here each win is a real session at a real hub."""
    def race(link):
        answer = Browser(latch.url).request("GET", link["url"], headers={"Sec-Fetch-Mode": "navigate"})
        assert answer.status in (302, 403), answer
        return any(line.startswith("jupyterhub-hub-login=") for line in answer.all("Set-Cookie"))

    with ThreadPoolExecutor(CLIENTS) as clients:
        for number in range(TOKENS):
            link = latch.issue(f"racer{number % 10}", next="/hub/home")
            wins = list(clients.map(race, [link] * CLIENTS))
            assert wins.count(True) == 1, (link["id"], wins)
