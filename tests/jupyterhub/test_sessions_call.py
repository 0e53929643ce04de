"""The signed call by which hublatch ends a user's sessions at the hub, straight at the hub's own port."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assertion import good
from browser import Browser, raw

PATH = "/hub/hublatch/sessions"
OURS = "jupyterhub:sessions"


@pytest.fixture(scope="module")
def hub(start_hub):
    return start_hub()


def end(hub, assertion):
    return raw("POST", hub.internal_url + PATH, [("X-Hublatch-Assertion", assertion), ("Content-Length", "0")])


def end_sessions_of(hub, user):
    answer = end(hub, good(hub.key, user, aud=OURS))
    assert answer.status == 200, answer.text
    return answer.json


def logged_in(hub, user):
    browser = Browser(hub.public_url)
    page = browser.open("/hub/login?next=/hub/home", headers={"X-Hublatch-Assertion": good(hub.key, user)})
    assert (page.status, page.path) == (200, "/hub/home")
    return browser


def with_server(hub, user):
    browser = logged_in(hub, user)
    assert browser.open_server(f"/hub/spawn/{user}?next=/user/{user}/lab").status == 200
    return browser


def test_every_browser_session_of_the_user_ends_and_nobody_elses(hub):
    one, two, other = with_server(hub, "esther"), logged_in(hub, "esther"), logged_in(hub, "frank")
    answer = end_sessions_of(hub, "esther")
    assert answer == {"sessions": [one.cookie("jupyterhub-session-id")], "ended": 1}
    assert one.user() is None and two.user() is None
    assert other.user() == "frank"


def test_a_session_id_that_she_has_brought_from_somebody_else_is_not_told(hub):
    alice = with_server(hub, "agnes")
    bob = logged_in(hub, "bruno")
    bob.jar["jupyterhub-session-id", "/"].value = alice.cookie("jupyterhub-session-id")
    assert bob.open_server("/hub/spawn/bruno?next=/user/bruno/lab").status == 200
    assert end_sessions_of(hub, "bruno") == {"sessions": [], "ended": 0}
    assert bob.user() is None
    assert alice.user() == "agnes"
    # His token is gone: it is hers alone by now.
    assert end_sessions_of(hub, "agnes") == {"sessions": [alice.cookie("jupyterhub-session-id")], "ended": 1}


def test_who_repeats_the_call_because_the_answer_was_lost_is_told_the_same(hub):
    one, other = with_server(hub, "olga"), with_server(hub, "pavel")
    first = end_sessions_of(hub, "olga")
    assert first == {"sessions": [one.cookie("jupyterhub-session-id")], "ended": 1}
    assert end_sessions_of(hub, "olga") == first
    assert end_sessions_of(hub, "pavel") == {"sessions": [other.cookie("jupyterhub-session-id")], "ended": 1}
    # What has begun since is told beside it.
    again = with_server(hub, "olga").cookie("jupyterhub-session-id")
    assert end_sessions_of(hub, "olga") == {"sessions": sorted([*first["sessions"], again]), "ended": 2}


def test_her_own_tokens_and_her_server_live_on(hub):
    with_server(hub, "gerda")
    token = hub.api("POST", "/users/gerda/tokens", {"note": "her own"})["token"]
    end_sessions_of(hub, "gerda")
    assert raw("GET", hub.internal_url + "/hub/api/user", [("Authorization", f"token {token}")]).json["name"] == "gerda"
    assert hub.api("GET", "/users/gerda")["servers"][""]["ready"]


def test_a_new_link_works_at_once_with_a_new_session(hub):
    browser = logged_in(hub, "henry")
    before = browser.cookie("jupyterhub-session-id")
    end_sessions_of(hub, "henry")
    page = browser.open("/hub/login?next=/hub/home", headers={"X-Hublatch-Assertion": good(hub.key, "henry")})
    assert (page.path, browser.user()) == ("/hub/home", "henry")
    assert browser.cookie("jupyterhub-session-id") != before


def test_nothing_to_end_is_no_error_and_an_unknown_user_is_404(hub):
    logged_in(hub, "irene")
    end_sessions_of(hub, "irene")
    assert end_sessions_of(hub, "irene") == {"sessions": [], "ended": 0}
    assert end(hub, good(hub.key, "nobody-at-all", aud=OURS)).status == 404


def test_only_a_fresh_assertion_for_this_very_call_ends_anything(hub):
    browser = logged_in(hub, "john")
    once = good(hub.key, "john", aud=OURS)
    assert end(hub, once).status == 200
    assert end(hub, once).status == 403, "used already"
    browser = logged_in(hub, "john")
    for bad in (good(hub.key, "john"), good(Ed25519PrivateKey.generate(), "john", aud=OURS), "", "x.y.z"):
        assert end(hub, bad).status == 403
    assert raw("POST", hub.internal_url + PATH, [("REMOTE_USER", "john"), ("Content-Length", "0")]).status == 403
    assert browser.user() == "john"


def test_such_an_assertion_is_no_login(hub):
    answer = raw("GET", hub.internal_url + "/hub/login", [("X-Hublatch-Assertion", good(hub.key, "kim", aud=OURS))])
    assert answer.status == 403
    assert not hub.has_user("kim")


def test_a_get_ends_nothing(hub):
    browser = logged_in(hub, "lea")
    headers = [("X-Hublatch-Assertion", good(hub.key, "lea", aud=OURS))]
    assert raw("GET", hub.internal_url + PATH, headers).status == 405
    assert browser.user() == "lea"


def test_answers_are_json_and_are_not_kept(hub):
    answer = end(hub, "x.y.z")
    assert (answer.header("Content-Type"), answer.header("Cache-Control")) == ("application/json", "no-store")
    assert json.loads(answer.body)["message"]


def test_a_session_id_that_hublatch_has_made_is_kept_and_set(hub):
    own = "hl1.1900000000.abcdefgh.ijklmnop"
    headers = [("X-Hublatch-Assertion", good(hub.key, "maria")), ("Cookie", f"jupyterhub-session-id={own}")]
    answer = raw("GET", hub.internal_url + "/hub/login?next=/hub/home", headers)
    given = [line for line in answer.all("Set-Cookie") if line.startswith("jupyterhub-session-id=")]
    assert answer.status == 302
    assert len(given) == 1 and given[0].startswith(f"jupyterhub-session-id={own};") and "Path=/" in given[0]
