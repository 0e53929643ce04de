"""A hub that has no room, a service whose role lacks a scope, a hub that goes away: each has a clear outcome."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import launching
from browser import raw


@pytest.fixture(scope="module")
def full(start_hub, start_hublatch, tmp_path_factory):
    """One active server at most, and one named server for each user."""
    extra = "c.JupyterHub.active_server_limit = 1\nc.JupyterHub.named_server_limit_per_user = 1\n"
    changes = {"limits": {"launch_queue_timeout": "0s"}}
    folder = tmp_path_factory.mktemp("full")
    latch = launching.start(start_hub, start_hublatch, folder, extra=extra, changes=changes)
    yield latch
    latch.stop()
    latch.hub.kill()


@pytest.fixture(scope="module")
def narrow(start_hub, start_hublatch, tmp_path_factory):
    """The README's role without the right to create users."""
    folder = tmp_path_factory.mktemp("narrow")
    role = launching.role(folder / "hub.token").replace(', "admin:users"', "")
    latch = launching.start(start_hub, start_hublatch, folder, role_text=role)
    yield latch
    latch.stop()
    latch.hub.kill()


def launch(latch, username, **fields):
    return latch.manage("POST", "/api/v1/links", {"username": username, "launch": True, **fields})


def test_a_full_hub_is_429_and_says_what_was_done(full):
    assert launch(full, "first")[0] == 201
    browser = full.browser()
    link = full.issue("first", launch=True)
    assert browser.open_server(link["url"]).status == 200
    waiting = next(hop.path for hop in browser.hops if "/hub/hublatch/launch/" in hop.path)

    status, error = launch(full, "second")
    assert (status, error["code"]) == (429, "server_limit")
    assert "Active user limit exceeded" in error["message"]
    assert error["message"].endswith("no link was issued; created at the hub: second")
    assert full.hub.has_user("second")
    # The call again, when there is room.
    full.hub.api("DELETE", "/users/first/server")
    launching.wait_until_stopped(full.hub, "first", "")
    assert launch(full, "second")[0] == 201
    # The first user's page is still there, and says what is the matter.
    page = browser.open(waiting)
    assert (page.status, "server_stopped" in page.text) == (409, True)
    page = browser.press(page)
    assert (page.status, "server_limit" in page.text) == (429, True)
    assert "Active user limit exceeded" in page.text


def test_one_named_server_too_many_is_refused_in_the_hubs_words(full):
    full.hub.api("PUT", "/users/second/servers/one")
    status, error = launch(full, "second", server="two")
    assert (status, error["code"]) == (409, "server_refused")
    assert "named server" in error["message"] or "limit" in error["message"], error


def test_a_role_that_lacks_a_scope_is_named(narrow):
    status, error = launch(narrow, "nobody")
    assert (status, error["code"]) == (502, "hub_forbidden")
    assert "admin:users" in error["message"]
    assert not narrow.hub.has_user("nobody")
    # For users whom the hub knows it is enough.
    narrow.hub.api("POST", "/users/known")
    assert launch(narrow, "known")[0] == 201


def test_a_hub_that_is_gone_is_503_and_its_waiting_page_a_page_to_try_again_from(narrow):
    browser = narrow.browser()
    page = browser.open(narrow.issue("known", server="broken", launch=True)["url"])
    assert "/hub/hublatch/launch/" in page.path
    narrow.hub.stop()
    status, error = launch(narrow, "known")
    assert (status, error["code"]) == (503, "hub_unavailable")
    again = browser.open(page.path)
    assert (again.status, "Try again" in again.text) == (502, True)
    assert raw("GET", narrow.management + "/health").status == 200


PEOPLE = int(os.environ.get("HUBLATCH_STARTS", "8"))
AT_A_TIME = int(os.environ.get("HUBLATCH_STARTS_AT_A_TIME", "2"))


@pytest.fixture(scope="module")
def crowded(start_hub, start_hublatch, tmp_path_factory):
    """So many servers may start at a time, each takes two seconds, and the hub says "come again in 30 to 60 seconds"."""
    extra = f'c.JupyterHub.concurrent_spawn_limit = {AT_A_TIME}\nc.JupyterHub.spawner_class = "spawners.Light"\n'
    latch = launching.start(start_hub, start_hublatch, tmp_path_factory.mktemp("crowded"), extra=extra)
    yield latch
    latch.stop()
    latch.hub.kill()


def into_the_server(latch, link):
    """Clicks, and looks again as a page does by itself, until the server answers: every page on the way, and the time."""
    begun, browser = time.monotonic(), latch.browser()
    page = browser.open(link["url"])
    hops = list(browser.hops)
    while page.text != f"the server of {link['username']}":
        assert page.status == 200, (page, page.text[:2000])
        assert time.monotonic() < begun + 600, page
        time.sleep(1)
        page = browser.open(page.url)
        hops += browser.hops
    return hops, time.monotonic() - begun


def a_class_into_its_servers(latch, **fields):
    refused_before = latch.hub.log.count("throttling")
    prefix = "launched" if fields.get("launch") else "spawned"
    links = [latch.issue(f"{prefix}{n}", expires_in=300, **fields) for n in range(PEOPLE)]
    with ThreadPoolExecutor(PEOPLE) as pool:
        outcomes = list(pool.map(lambda link: into_the_server(latch, link), links))
    assert all(hop.status < 400 for hops, _ in outcomes for hop in hops)
    seconds = sorted(took for _, took in outcomes)
    refused = latch.hub.log.count("throttling") - refused_before
    waited = sum(1 for hops, _ in outcomes if any('id="queue"' in hop.text for hop in hops))
    print(
        f"{PEOPLE} servers, {AT_A_TIME} at a time, {prefix}: half within {seconds[PEOPLE // 2]:.1f} s, the last after "
        f"{seconds[-1]:.1f} s; {waited} saw their place; the hub said 429 {refused} times"
    )
    # Each is asked for once, and once more for each that was accepted; 200 browsers that try by themselves are a storm.
    assert refused <= 2 * PEOPLE, latch.hub.log[-5000:]
    return waited


def test_servers_that_were_launched_start_as_room_comes_and_nobody_sees_a_429(crowded):
    assert a_class_into_its_servers(crowded, launch=True) > 0


def test_servers_that_the_spawn_url_starts_do_so_too(crowded):
    assert a_class_into_its_servers(crowded, path="lab") > 0
