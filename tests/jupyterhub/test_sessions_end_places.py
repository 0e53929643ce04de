"""The end of sessions wherever hublatch may stand: two browsers of alice and one of bob in Chromium, each with an open kernel.

Beside the hub's own login and below a base_url, where a session that the hub's own form has begun ends as well; where each
server has a subdomain; with two replicas that share one Redis, of which one is told and both are restarted; on a machine whose
clock is set back; and with ids that somebody has made up.
"""

import time
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import expect

from browser import raw
from chromium import PATIENCE, wait_for
from latch import Hublatch
from processes import free_port
from test_clicks import Pair, redis  # noqa: F401
from test_clocks import by_the_clock_of, step
from test_sessions_end import Person, chromium, profiles, seconds, session_has_ended  # noqa: F401

# An idle machine takes one. A socket's close is noted by its page, which goes on loading JupyterLab and may be busy with that;
# servers believe for five minutes what the hub has said.
SECONDS = 15

BESIDE = """
from hublatch import beside
from jupyterhub.auth import DummyAuthenticator
c.JupyterHub.authenticator_class = beside(DummyAuthenticator)
c.HublatchAuthenticator.public_key_file = {public_key!r}
c.DummyAuthenticator.password = "right"
c.DummyAuthenticator.allowed_users = {{"carol"}}
"""


def end(latch, user, count):
    """The moment when it is said to be done."""
    assert latch.manage("DELETE", f"/api/v1/users/{user}/sessions") == (200, {"ended": count})
    return time.time()


def assert_ended(people, at, shown=session_has_ended):
    for person in people:
        assert person.closed_at() - at <= SECONDS
    for person in people:
        person.assert_out(shown)


def asks_for_a_password(page):
    expect(page.locator("input[name=password]")).to_be_visible()


@pytest.fixture(scope="module")
def beside(start_hub, start_hublatch):
    hub = start_hub(authenticator=BESIDE, base_url="/jhub/")
    latch = start_hublatch(hub, {"login": {"without_token": "forward"}})
    yield latch
    latch.stop()
    hub.kill()


def own_login(latch, page, user):
    """By the hub's own form, and on to the server."""
    page.goto(f"{latch.url}/jhub/hub/login?{urlencode({'next': '/jhub/hub/spawn'})}")
    page.locator("input[name=username]").fill(user)
    page.locator("input[name=password]").fill("right")
    page.locator("input[name=password]").press("Enter")
    return Person(latch, page, user)


def test_a_session_that_the_hubs_own_form_has_begun_ends_as_well(beside, profiles):  # noqa: F811
    alice, elsewhere, bob = (Person.by_link(beside, profiles(), user) for user in ("alice", "alice", "bob"))
    carol = own_login(beside, profiles(), "carol")
    assert_ended([alice, elsewhere], end(beside, "alice", 2), asks_for_a_password)
    carol.assert_in()
    assert_ended([carol], end(beside, "carol", 1), asks_for_a_password)
    bob.assert_in()
    # Whoever has a password comes in again by it, and whoever gets a link by that.
    page = profiles()
    own_login(beside, page, "carol")
    page.goto(beside.issue("alice", next="/jhub/hub/home")["url"])
    page.get_by_role("button", name="Continue as alice").click()
    page.wait_for_url("**/jhub/hub/home", timeout=PATIENCE)


@pytest.fixture(scope="module")
def subdomains(start_hub, start_hublatch):
    port = free_port()
    origin = f"http://hub.localhost:{port}"
    hub = start_hub(extra=f"c.JupyterHub.subdomain_host = {origin!r}\n")
    latch = start_hublatch(hub, {"public": {"listen": f"127.0.0.1:{port}", "url": origin}})
    yield latch
    latch.stop()
    hub.kill()


def test_a_session_ends_at_the_subdomain_of_the_server_too(subdomains, profiles):  # noqa: F811
    alice, elsewhere, bob = (Person.by_link(subdomains, profiles(), user) for user in ("alice", "alice", "bob"))
    assert urlsplit(alice.page.url).hostname.endswith(".hub.localhost"), alice.page.url
    assert_ended([alice, elsewhere], end(subdomains, "alice", 2))
    bob.assert_in()


def test_what_one_replica_ends_is_over_at_the_other_and_after_a_restart(hub, start_hublatch, redis, profiles):  # noqa: F811
    pair = Pair(hub, start_hublatch, redis.url)
    alice, elsewhere, bob = (Person.by_link(pair, profiles(), user) for user in ("alice-pair", "alice-pair", "bob-pair"))
    stays = [person.page.context.cookies() for person in (alice, bob)]
    path = f"{alice.server}/api/status"
    jar = alice.page.context.cookies(f"{pair.url}{path}")
    cookies = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in jar)

    def statuses():
        """At each of the two: a browser keeps its connections, and may well ask the same one each time."""
        headers = [("Host", urlsplit(pair.url).netloc), ("Cookie", cookies)]
        return [raw("GET", f"http://{address}{path}", headers).status for address in pair.listen]

    assert statuses() == [200, 200]
    at = end(pair.latches[1], "alice-pair", 2)
    # The one that was not told hears of it within a second.
    wait_for(alice.page, lambda: set(statuses()) <= {302, 403}, "both to hear of it")
    assert time.time() - at <= 6
    assert_ended([alice, elsewhere], at)
    bob.assert_in()

    for latch in pair.latches:
        latch.restart()
    # As a browser that has forgotten nothing.
    for cookies, status in zip(stays, ((302, 403), (200,))):
        page = profiles()
        page.context.add_cookies(cookies)
        person = alice if status != (200,) else bob
        answers = [page.request.get(f"{pair.url}{person.server}/api/status", max_redirects=0).status for _ in range(4)]
        assert all(answer in status for answer in answers), (person.user, answers)
    for latch in pair.latches:
        latch.stop()
    pair.front.stop()


@pytest.fixture
def machine(start_hub, tmp_path):
    """A hublatch and its hub on a machine of their own: they go by one clock, that of a file. The hub runs for two hours
    already: it takes no proof that is older than itself."""
    wall = tmp_path / "wall"
    environment = by_the_clock_of(wall)
    wall.write_text("-2h")
    hub = start_hub(before_start=lambda hub: hub.env.update(environment))
    latch = Hublatch(tmp_path, hub)
    latch.wall, latch.env = wall, environment
    step(latch, "+0s")
    yield latch.start()
    latch.stop()
    hub.kill()


def test_a_clock_that_is_set_back_keeps_no_session_and_brings_none_back(machine, profiles):  # noqa: F811
    carol, bob = (Person.by_link(machine, profiles(), user) for user in ("carol", "bob"))
    # Last: her minute runs already while her server starts, and need not run while theirs do.
    alice = Person.by_link(machine, profiles(), "alice", session_expires_in=60)
    over = seconds(machine.manage("GET", f"/api/v1/links/{alice.link['id']}")[1]["session"]["until"])
    stays = [(person, person.page.context.cookies()) for person in (alice, carol, bob)]

    step(machine, "-1h")
    alice.assert_in()
    closed = alice.closed_at()  # by the browser's clock, which nobody has touched
    assert over - 1 <= closed <= over + SECONDS, (over, closed)
    alice.assert_out()
    assert_ended([carol], end(machine, "carol", 1))
    bob.assert_in()

    # Nor for browsers that have forgotten nothing, if it is set back once more, or right again.
    for offset in ("-90m", "+0s"):
        step(machine, offset)
        for person, cookies in stays:
            page = profiles()
            page.context.add_cookies(cookies)
            answer = page.request.get(f"{machine.url}{person.server}/api/status", max_redirects=0)
            assert (answer.status == 200) == (person is bob), (offset, person.user, answer.status)
    bob.assert_in()


def test_an_id_that_somebody_has_made_up_is_no_session(hub, start_hublatch, profiles):  # noqa: F811
    latch = start_hublatch(hub)
    alice = Person.by_link(latch, profiles(), "alice-forges", session_expires_in=3600)
    context, [session] = alice.page.context, [
        cookie for cookie in alice.page.context.cookies() if cookie["name"] == "jupyterhub-session-id"
    ]
    prefix, until, *rest = session["value"].split(".")
    assert prefix == "hl1" and float(until) <= time.time() + 3600
    for forged in (".".join([prefix, str(int(until) + 3600), *rest]), "hl1.4102444800.x.x.AAAA", session["value"][:-2]):
        context.add_cookies([{**session, "value": forged}])
        assert alice.server_status() in (302, 403) and alice.hub_status() == 302, forged
        # What the browser was told to forget does not come back by itself, so it logs in again.
        page = context.new_page()
        page.goto(f"{latch.url}/hub/home")
        session_has_ended(page)
        page.goto(latch.issue("alice-forges", path="lab", session_expires_in=3600)["url"])
        page.wait_for_url("**/user/alice-forges/lab*", timeout=PATIENCE)
        assert alice.server_status() == 200
    latch.stop()
