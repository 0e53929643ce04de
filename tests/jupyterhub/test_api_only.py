"""API-only mode, set up by the README's blocks: nobody ever sees a page of the hub."""

import pytest

import launching


@pytest.fixture(scope="module")
def latch(start_hub, start_hublatch, tmp_path_factory):
    extra = 'c.Authenticator.blocked_users = {"blocked"}\n'
    latch = launching.start(start_hub, start_hublatch, tmp_path_factory.mktemp("api-only"), api_only=True, extra=extra)
    yield latch
    latch.stop()
    latch.hub.kill()


@pytest.fixture(scope="module")
def anna(latch):
    """A browser in whose server she is."""
    browser = latch.browser()
    page = browser.open_server(latch.issue("anna", path="lab", launch=True)["url"])
    assert (page.status, page.path) == (200, "/user/anna/lab")
    return browser


def code(page):
    """The code on a page of hublatch's; none on the hub's and on a server's own."""
    return page.text.split("<p>Error ")[1].split("<")[0] if "<p>Error " in page.text else None


def test_the_hub_has_no_pages_here(latch):
    for path in ("/hub/home", "/hub/spawn/anna", "/hub/static/css/style.min.css"):
        assert latch.browser().fetch("GET", latch.hub.public_url + path).status == 404, path


def test_a_link_without_launch_leads_straight_into_a_server_that_runs(latch, anna):
    link = latch.issue("anna", path="lab/tree/a%20b")
    assert link["next"] == "/user/anna/lab/tree/a%20b"
    browser = latch.browser()
    page = browser.open(link["url"])
    assert page.path == "/user/anna/lab/tree/a%20b"
    assert not any("/hub/spawn" in hop.path for hop in browser.hops)
    assert browser.open(latch.issue("anna")["url"]).path == "/user/anna/lab", "home"
    assert browser.open("/hub/login").path == "/user/anna/lab", "and so does the login page"


def test_paths_of_the_hub_that_are_not_there_get_our_page(anna):
    for path in ("/hub/spawn/anna", "/hub/user/anna/", "/hub/admin", "/nowhere"):
        page = anna.open(path)
        assert (page.status, code(page)) == (404, "404, page_not_found"), path
        assert "http:&#x2f;&#x2f;app.localhost&#x2f;" in page.text, "the way back to the app"


def test_the_address_of_the_notebooks_alone_leads_into_the_server_that_runs(anna):
    for path in ("/", "/hub", "/hub/", "/hub/home"):
        page = anna.open(path)
        assert (page.status, page.path) == (200, "/user/anna/lab"), path


def test_a_server_that_does_not_run_gets_our_page_and_scripts_get_the_hubs_answer(latch, anna):
    link = latch.issue("bert", path="lab")
    browser = latch.browser()
    page = browser.open(link["url"])
    assert (page.status, code(page)) == (404, "404, server_not_running")
    assert (browser.user(), latch.status(link)) == ("bert", "used")
    answer = browser.fetch("GET", "/user/bert/api/contents", headers={"Accept": "application/json"})
    assert answer.status == 404 and "server_not_running" not in answer.text
    assert (anna.open("/user/anna/no-such-page").status, code(anna.open("/user/anna/no-such-page"))) == (404, None)


def test_a_user_whom_the_hub_refuses_gets_our_page(latch):
    page = latch.browser().open(latch.issue("blocked", path="lab")["url"])
    assert (page.status, code(page)) == (403, "403, login_refused")


def test_somebody_elses_server_is_refused_on_our_page(latch, anna):
    browser = latch.browser()
    browser.open(latch.issue("carl", path="lab")["url"])
    page = browser.open("/user/anna/lab")
    assert (page.status, code(page)) == (403, "403, login_refused"), browser.hops


def test_a_logout_ends_on_our_page_and_the_next_visit_asks_for_a_link(latch):
    browser = latch.browser()
    browser.open(latch.issue("dora", path="lab")["url"])
    page = browser.open("/hub/logout")
    assert page.status == 200 and "You are logged out" in page.text
    assert browser.user() is None
    page = browser.open("/user/anna/lab")
    assert (page.status, code(page)) == (403, "403, link_required")


def test_a_server_that_died_gets_our_page(latch):
    """Its process is gone, and the hub's proxy still leads to it: the hub has not noticed yet."""
    browser = latch.browser()
    page = browser.open_server(latch.issue("emil", path="lab", launch=True)["url"])
    assert page.status == 200
    launching.kill_server(latch.hub, "emil")
    page = browser.open("/user/emil/lab")
    assert page.status in (404, 502, 503) and code(page) is not None, page.text[:300]
