"""Settings of a hub that change what a login or its end does: links work all the same, or say why not."""

from pathlib import Path

import pytest

import launching
from processes import PATIENCE, wait_until

# The ways of the releases differ. The older ones are here without a notebook server, so all have a light one.
VERSIONS = ["6.1", "5.4", "4.1"]
LIGHT = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
c.JupyterHub.spawner_class = "spawners.Light"
"""


@pytest.fixture(scope="module", params=VERSIONS)
def named_by_default(request, start_hub, start_hublatch):
    hub = start_hub(version=request.param, extra=LIGHT + 'c.JupyterHub.default_server_name = "lab-1"\n')
    latch = start_hublatch(hub, {"hub": {"default_server_name": "lab-1"}})
    latch.hub = hub
    yield latch
    latch.stop()
    hub.kill()


def place(page):
    """The hub's `?redirects=1` is for a notebook server to take away."""
    return page.path.removesuffix("?redirects=1")


def test_where_a_server_has_a_name_by_default_a_link_leads_into_that_one(named_by_default):
    latch = named_by_default
    page = latch.browser().open_server(latch.issue("lena", path="lab/tree")["url"])
    assert (page.status, place(page)) == (200, "/user/lena/lab-1/lab/tree")
    servers = latch.hub.api("GET", "/users/lena?include_stopped_servers")["servers"]
    assert [name for name, server in servers.items() if server["ready"]] == ["lab-1"]
    # As the hub itself reads a plain link.
    page = latch.browser().open_server(latch.issue("lena", next="/hub/user-redirect/lab/tree")["url"])
    assert (page.status, place(page)) == (200, "/user/lena/lab-1/lab/tree")


def test_the_server_without_a_name_can_be_asked_for_all_the_same(named_by_default):
    latch = named_by_default
    page = latch.browser().open_server(latch.issue("lars", path="lab/tree", server="")["url"])
    assert (page.status, place(page)) == (200, "/user/lars/lab/tree")


@pytest.fixture(scope="module")
def stopping(start_hub, start_hublatch):
    hub = start_hub(extra="c.JupyterHub.shutdown_on_logout = True\n")
    latch = start_hublatch(hub)
    latch.hub = hub
    yield latch
    latch.stop()
    hub.kill()


def test_where_a_logout_stops_servers_a_switch_does_and_nobody_elses_stop(stopping):
    latch, browser = stopping, stopping.browser()
    assert browser.open_server(latch.issue("mona", path="lab/tree")["url"]).status == 200
    assert latch.browser().open_server(latch.issue("nick", path="lab/tree")["url"]).status == 200
    page = browser.press(browser.open(latch.issue("olaf", next="/hub/home")["url"]))
    assert (page.status, page.path, browser.user()) == (200, "/hub/home", "olaf")
    launching.wait_until_stopped(latch.hub, "mona", "")
    assert latch.hub.api("GET", "/users/nick")["servers"][""]["ready"]
    # A link for the same user is no logout.
    other = latch.browser()
    assert other.open_server(latch.issue("nick", path="lab/tree")["url"]).status == 200
    other.open(latch.issue("nick", next="/hub/home")["url"])
    assert latch.hub.api("GET", "/users/nick")["servers"][""]["ready"]
    # And what has been stopped is started by the next link.
    assert latch.browser().open_server(latch.issue("mona", path="lab/tree")["url"]).path == "/user/mona/lab/tree"


@pytest.fixture(scope="module")
def mapping(start_hub, start_hublatch):
    hub = start_hub(extra='c.Authenticator.username_map = {{"paula": "root"}}\n')
    latch = start_hublatch(hub)
    latch.hub = hub
    yield latch
    latch.stop()
    hub.kill()


def test_a_link_for_a_name_that_the_hub_maps_to_another_is_told_of_where_it_can_be_mended(mapping):
    hub, latch, browser = mapping.hub, mapping, mapping.browser()
    assert "username_map" in hub.log
    page = browser.open(latch.issue("paula", next="/hub/home")["url"])
    assert (page.status, browser.user()) == (403, None)
    assert not hub.has_user("root") and not hub.has_user("paula")
    wait_until(lambda: hub.log.count("username_map maps the name to another one") == 1, PATIENCE, "the hub to say why")
    # Names that it does not map are the hub's own, and one that others are mapped to is, too.
    for name in ("petra", "root"):
        browser = latch.browser()
        browser.open(latch.issue(name, next="/hub/home")["url"])
        assert browser.user() == name


@pytest.fixture(scope="module")
def choosy(start_hub, start_hublatch, tmp_path_factory):
    extra = "c.Authenticator.allow_all = False\nc.Authenticator.allowed_users = {'quinn'}\nc.Authenticator.allow_existing_users = False\n"
    latch = launching.start(start_hub, start_hublatch, tmp_path_factory.mktemp("choosy"), extra=extra)
    yield latch
    latch.stop()
    latch.hub.kill()


def test_a_launch_for_somebody_whom_the_hub_does_not_let_in_ends_in_the_hubs_own_words(choosy):
    latch, browser = choosy, choosy.browser()
    link = latch.issue("rita", server="named", launch=True)
    page = browser.open(link["url"])
    assert (page.status, browser.user()) == (403, None), page.text
    assert "not allowed to use this JupyterHub" in page.text
    # It is told, once, and a reload does not try it again.
    wait_until(lambda: "login_failed" in latch.audit(link), PATIENCE, "the audit")
    assert latch.audit(link) == ["issued", "redeemed", "login_failed"]
    assert browser.open(link["url"]).status == 403
    # Nobody who is let in notices.
    assert latch.browser().open_server(latch.issue("quinn", path="lab/tree", launch=True)["url"]).status == 200
