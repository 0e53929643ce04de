"""Hubs that stand elsewhere: under a base_url, and on a unix socket."""

import pytest

from browser import Browser, raw
from notebook import Kernel
from processes import PATIENCE, free_port, wait_until


@pytest.fixture(scope="module")
def under_jupyter(start_hub, start_hublatch):
    hub = start_hub(base_url="/jupyter/")
    latch = start_hublatch(hub)
    yield latch
    latch.stop()
    hub.kill()


def test_a_link_works_under_a_base_url(under_jupyter):
    browser = under_jupyter.browser()
    link = under_jupyter.issue("alice", path="lab/tree")
    assert "/jupyter/hub/login?" in link["url"]
    page = browser.open_server(link["url"])
    assert (page.status, page.path) == (200, "/jupyter/user/alice/lab/tree")
    assert browser.user("/jupyter/") == "alice"
    assert Kernel(browser, "/jupyter/user/alice/").execute("1+1") == "2"


def test_the_switch_works_under_a_base_url(under_jupyter):
    browser = under_jupyter.browser()
    browser.open(under_jupyter.issue("alice", next="/jupyter/hub/home")["url"])
    browser.press(browser.open(under_jupyter.issue("bob", next="/jupyter/hub/home")["url"]))
    assert browser.user("/jupyter/") == "bob"


def test_next_must_be_under_the_base_url(under_jupyter):
    for path in ("/hub/home", "/", "/jupyterx/hub/home"):
        assert under_jupyter.manage("POST", "/api/v1/links", {"username": "alice", "next": path})[0] in (400, 403)


@pytest.fixture(scope="module")
def on_a_socket(start_hub, start_hublatch):
    # Notebooks reach the Hub API through hublatch, so the hub must know its address first.
    url = f"http://127.0.0.1:{free_port()}"
    hub = start_hub(unix_socket=True, extra=f'c.Spawner.hub_connect_url = "{url}"\n')
    latch = start_hublatch(hub, {"public": {"listen": url.removeprefix("http://"), "url": url}})
    latch.hub = hub
    yield latch
    latch.stop()
    hub.kill()


def test_a_link_works_before_a_hub_on_a_unix_socket(on_a_socket):
    assert on_a_socket.hub.socket.is_socket()
    browser = on_a_socket.browser()
    page = browser.open_server(on_a_socket.issue("alice", path="lab")["url"])
    assert (page.status, page.path, browser.user()) == (200, "/user/alice/lab", "alice")
    assert Kernel(browser, "/user/alice/").execute("1+1") == "2"


def test_a_hub_on_a_unix_socket_has_no_port_to_send_a_header_to(on_a_socket):
    with pytest.raises(ConnectionRefusedError):
        raw("GET", on_a_socket.hub.internal_url + "/hub/login", [("REMOTE_USER", "admin")])
    assert Browser(on_a_socket.url).open("/hub/login", headers={"REMOTE_USER": "admin"}).status == 403


def test_a_front_that_passes_another_host_on_is_told_of_once(hub, start_hublatch):
    latch = start_hublatch(hub)
    for host in ("127.0.0.1:1", "hub.internal"):
        link = latch.issue("lotte", next="/hub/home")
        assert latch.browser().open(link["url"], headers={"Host": host}).status == 421
        assert latch.status(link) == "pending"
    # A request's own line comes after what it has been warned of.
    wait_until(lambda: [r.get("status") for r in latch.process.records()].count(421) == 2, PATIENCE, "both to be logged")
    warned = [r for r in latch.process.records() if r.get("level") == "WARN" and "pass Host" in r["message"]]
    assert [record["host"] for record in warned] == ["127.0.0.1:1"]
    latch.stop()
