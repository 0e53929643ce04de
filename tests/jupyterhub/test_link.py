"""A link, from the app that asks for it to the notebook that works."""

import pytest

from notebook import Kernel


@pytest.fixture(scope="module")
def lena(latch):
    """A browser that followed lena's link to her JupyterLab."""
    browser = latch.browser()
    browser.link = latch.issue("lena", path="lab")
    browser.page = browser.open_server(browser.link["url"])
    browser.first_hops = browser.hops
    return browser


def test_a_link_leads_to_jupyterlab_as_its_user(lena):
    assert (lena.page.status, lena.page.path) == (200, "/user/lena/lab")
    assert "<title>JupyterLab</title>" in lena.page.text
    assert lena.user() == "lena"


def test_the_way_there_is_the_hubs_own(lena):
    paths = [hop.path.partition("?")[0] for hop in lena.first_hops]
    for step in ("/hub/login", "/hub/spawn/lena", "/hub/api/oauth2/authorize", "/user/lena/oauth_callback"):
        assert step in paths
    assert all(hop.url.startswith(lena.origin) for hop in lena.first_hops)


def test_the_token_stands_in_no_address_after_the_first(lena):
    first, *others = lena.first_hops
    assert lena.link["login_token"] in first.url
    for hop in others:
        assert lena.link["login_token"] not in hop.url
        assert "login_token" not in hop.url


def test_the_answer_to_a_link_is_kept_nowhere_and_named_nowhere(lena):
    answer = lena.first_hops[0]
    assert answer.all("Cache-Control") == ["no-store"]
    assert answer.all("Referrer-Policy") == ["no-referrer"]


def test_the_app_sees_that_its_link_was_used(latch, lena):
    assert latch.status(lena.link) == "used"


def test_a_kernel_computes_over_the_websocket(lena):
    kernel = Kernel(lena, "/user/lena/")
    assert kernel.execute("1+1") == "2"
    assert kernel.execute("'x' * 100_000") == repr("x" * 100_000)
    kernel.close()


def test_a_link_without_a_path_leads_to_the_users_own_server(latch, lena):
    browser = latch.browser()
    page = browser.open_server(latch.issue("lena")["url"])
    assert (page.status, page.path) == (200, "/user/lena/lab")


def test_a_link_to_a_page_of_the_hub_leads_there(latch, browser):
    page = browser.open(latch.issue("hanna", next="/hub/token?from=app%2Fone&x=")["url"])
    assert (page.status, page.path) == (200, "/hub/token?from=app%2Fone&x=")


def test_groups_of_a_link_reach_the_hub(latch, hub, browser):
    browser.open(latch.issue("gerda", next="/hub/home", groups=["maths"])["url"])
    assert hub.api("GET", "/users/gerda")["groups"] == ["maths"]


@pytest.mark.parametrize(
    ("server", "path"), [("lab-2", "lab/tree/deep%20dir/a%2Fb.ipynb"), ("lab-3", "lab/tree/deep dir/ä;x=1.ipynb")]
)
def test_a_link_to_a_named_server_that_is_not_running_starts_it_and_keeps_the_path(latch, browser, server, path):
    browser.open(latch.issue("nora", next="/hub/home")["url"])
    link = latch.issue("nora", server=server, path=path)
    page = browser.open_server(link["url"])
    arrived = next(hop for hop in browser.hops if hop.path.startswith(f"/user/nora/{server}/"))
    assert arrived.path == f"/user/nora/{server}/" + path.replace(" ", "%20").replace("ä", "%C3%A4")
    assert (page.status, browser.user()) == (200, "nora")
    assert "<title>JupyterLab</title>" in page.text


def test_spawn_progress_arrives_event_by_event(latch, browser):
    browser.open(latch.issue("petra", next="/hub/home")["url"])
    page = browser.open("/hub/spawn/petra")
    assert "/hub/spawn-pending/petra" in page.path
    token = browser.cookie("_xsrf", "/hub/")
    lines = browser.stream(f"/hub/api/users/petra/server/progress?_xsrf={token}")
    events = [(when, line) for when, line in lines if line.startswith("data:")]
    assert len(events) >= 3
    assert '"ready": true' in events[-1][1]
    assert events[-1][0] - events[0][0] > 0.5, "the first event must not wait for the last"
