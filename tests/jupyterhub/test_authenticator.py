"""The authenticator on real hubs, with assertions sent to the hub's own port and through its public proxy."""

import os

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assertion import good, public_pem
from browser import Browser, raw
from forgeries import FORGED

EXTRA = """
c.HublatchAuthenticator.max_lifetime = 30
c.Authenticator.allow_all = False
c.Authenticator.allowed_users = {{"alice", "bob", "carol", "admin", "mallory", "student-7@uni.example"}}
c.Authenticator.blocked_users = {{"mallory"}}
c.Authenticator.admin_users = {{"admin"}}
c.Authenticator.manage_groups = True
c.Authenticator.enable_auth_state = True
"""


@pytest.fixture(scope="module", params=["6.1", "4.1"])
def hub(request, start_hub):
    return start_hub(version=request.param, extra=EXTRA)


@pytest.fixture(params=["hub port", "public proxy"])
def origin(request, hub):
    """Where the assertion is sent: what is refused must be refused on both ways."""
    return hub.internal_url if request.param == "hub port" else hub.public_url


def login(origin, assertion, *more, method="GET", path="/hub/login?next=/hub/home"):
    headers = [("X-Hublatch-Assertion", assertion)] if assertion is not None else []
    return raw(method, origin + path, [*headers, *more])


def is_login(answer):
    return any(line.startswith("jupyterhub-hub-login=") for line in answer.all("Set-Cookie"))


def assert_refused(answer, sentence="Your login could not be confirmed"):
    assert answer.status == 403
    assert not is_login(answer)
    assert sentence in answer.text


def reason_in_log(hub):
    lines = [line for line in hub.log.splitlines() if "hublatch: refused" in line]
    return lines[-1] if lines else ""


def test_a_good_assertion_logs_its_user_in(hub, origin):
    answer = login(origin, good(hub.key, "alice"), ("REMOTE_USER", "alice"))
    assert (answer.status, answer.header("Location")) == (302, "/hub/home")
    assert is_login(answer)
    assert logged_in(origin, hub.key, "alice").user() == "alice"


def test_the_identity_header_may_be_left_out(hub, origin):
    assert is_login(login(origin, good(hub.key, "student-7@uni.example")))


def test_an_assertion_admits_once(hub, origin):
    assertion = good(hub.key, "alice")
    assert is_login(login(origin, assertion))
    assert_refused(login(origin, assertion))
    assert "used already" in reason_in_log(hub)


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_assertion_is_refused(hub, origin, name):
    make, reason = FORGED[name]
    assertion = make(hub)
    assert_refused(login(origin, assertion))
    assert reason in reason_in_log(hub)
    assert not assertion or assertion not in hub.log


def test_two_assertions_admit_nobody(hub, origin):
    one, two = good(hub.key, "alice"), good(hub.key, "bob")
    assert_refused(login(origin, one, ("X-Hublatch-Assertion", two)))
    assert is_login(login(origin, one)), "the refused request must not have used the assertion up"


def test_an_empty_second_assertion_is_not_overlooked(hub, origin):
    assert_refused(login(origin, good(hub.key, "alice"), ("x-hublatch-assertion", "")))


@pytest.mark.parametrize("spelling", ["X_Hublatch_Assertion", "X-Hublatch_Assertion", "HTTP_X_HUBLATCH_ASSERTION"])
def test_another_spelling_of_the_header_does_not_count(hub, origin, spelling):
    assert_refused(login(origin, None, (spelling, good(hub.key, "alice"))), "entered by a link")


@pytest.mark.parametrize("identity", ["bob", "Alice", "alice, admin", "", "alice,"])
def test_an_identity_header_that_is_not_the_sub_is_refused(hub, origin, identity):
    assert_refused(login(origin, good(hub.key, "alice"), ("REMOTE_USER", identity)))
    assert "REMOTE_USER is not" in reason_in_log(hub)


def test_two_identity_headers_are_refused(hub, origin):
    assert_refused(login(origin, good(hub.key, "alice"), ("REMOTE_USER", "alice"), ("remote_user", "alice")))


@pytest.mark.parametrize("user", ["mallory", "eve"])
def test_a_user_who_is_blocked_or_not_allowed_is_refused(hub, origin, user):
    assert_refused(login(origin, good(hub.key, user)), "not allowed to use this JupyterHub")
    assert not hub.has_user("eve")


@pytest.mark.parametrize("name", ["REMOTE_USER", "remote_user", "Remote-User", "X-Remote-User"])
def test_a_bare_identity_header_admits_nobody(hub, origin, name):
    assert_refused(login(origin, None, (name, "admin")), "entered by a link")
    assert "0 assertion headers" in reason_in_log(hub)


@pytest.mark.parametrize("body", [b"", b'{"auth": {"username": "admin"}}'])
def test_an_assertion_gets_no_api_token(hub, origin, body):
    assertion = good(hub.key, "admin")
    path = "/hub/api/users/admin/tokens"
    answer = raw("POST", origin + path, [("X-Hublatch-Assertion", assertion), ("REMOTE_USER", "admin")], body)
    assert answer.status == 403
    assert "token" not in answer.text
    assert is_login(login(origin, assertion)), "the refused request must not have used the assertion up"


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "PUT"])
def test_only_get_logs_in(hub, origin, method):
    answer = login(origin, good(hub.key, "alice"), method=method)
    assert answer.status in (403, 405)
    assert not is_login(answer)


def test_a_post_with_a_valid_xsrf_token_does_not_log_in_either(hub, origin):
    browser = Browser(origin)
    browser.open("/hub/logout")
    token = browser.cookie("_xsrf", "/hub/")
    headers = {"X-Hublatch-Assertion": good(hub.key, "alice"), "Content-Type": "application/x-www-form-urlencoded"}
    answer = browser.fetch("POST", "/hub/login", f"_xsrf={token}&username=alice&password=x".encode(), headers=headers)
    assert not is_login(answer)


def test_groups_come_from_the_grant_and_are_a_list_always(hub):
    login(hub.public_url, good(hub.key, "carol", groups=["maths", "staff"]))
    assert sorted(hub.api("GET", "/users/carol")["groups"]) == ["maths", "staff"]
    login(hub.public_url, good(hub.key, "carol"))
    assert hub.api("GET", "/users/carol")["groups"] == []


def test_claims_of_the_grant_are_in_auth_state(hub):
    login(hub.public_url, good(hub.key, "carol", claims={"course": "Ö-101"}, groups=["maths"], jti="jti-of-carol-0001"))
    state = hub.api("GET", "/users/carol")["auth_state"]
    assert (state["claims"], state["groups"], state["jti"]) == ({"course": "Ö-101"}, ["maths"], "jti-of-carol-0001")
    assert state["exp"] - state["iat"] == 10


def test_an_assertion_makes_nobody_an_admin(hub):
    login(hub.public_url, good(hub.key, "bob", admin=True, claims={"admin": True}))
    assert hub.api("GET", "/users/bob")["admin"] is False
    login(hub.public_url, good(hub.key, "admin"))
    assert hub.api("GET", "/users/admin")["admin"] is True, "the hub's own admin_users still count"


def logged_in(origin, key, user):
    browser = Browser(origin)
    answer = browser.open("/hub/login?next=/hub/home", headers={"X-Hublatch-Assertion": good(key, user)})
    assert (answer.status, answer.path) == (200, "/hub/home")
    return browser


def test_an_assertion_for_another_user_starts_a_new_session(hub):
    browser = logged_in(hub.public_url, hub.key, "alice")
    earlier = {name: browser.cookie(name, "/hub/") for name in ("jupyterhub-session-id", "_xsrf")}
    answer = browser.open("/hub/login?next=/hub/home", headers={"X-Hublatch-Assertion": good(hub.key, "bob")})
    assert (answer.status, browser.user()) == (200, "bob")
    for name, value in earlier.items():
        assert browser.cookie(name, "/hub/") not in (None, value), name
    assert browser.fetch("POST", "/hub/api/users/bob/tokens", {"expires_in": 5}).status == 201, "the new _xsrf works"


def test_an_assertion_for_the_same_user_keeps_the_session(hub):
    browser = logged_in(hub.public_url, hub.key, "alice")
    session = browser.cookie("jupyterhub-session-id")
    answer = browser.open("/hub/login?next=/hub/token", headers={"X-Hublatch-Assertion": good(hub.key, "alice")})
    assert (answer.path, browser.user()) == ("/hub/token", "alice")
    assert browser.cookie("jupyterhub-session-id") == session


def test_a_session_id_that_somebody_planted_is_not_kept(hub, origin):
    answer = login(origin, good(hub.key, "alice"), ("Cookie", "jupyterhub-session-id=planted"))
    given = [line for line in answer.all("Set-Cookie") if line.startswith("jupyterhub-session-id=")]
    assert is_login(answer)
    assert len(given) == 1 and not given[0].startswith("jupyterhub-session-id=planted")


def test_a_refused_assertion_leaves_who_is_logged_in_as_it_was(hub):
    browser = logged_in(hub.public_url, hub.key, "alice")
    for bad in (good(Ed25519PrivateKey.generate(), "bob"), good(hub.key, "mallory")):
        assert browser.open("/hub/login", headers={"X-Hublatch-Assertion": bad}).status == 403
    assert browser.user() == "alice"


def test_without_an_assertion_a_logged_in_browser_goes_on(hub):
    browser = logged_in(hub.public_url, hub.key, "alice")
    answer = browser.open("/hub/login?next=/hub/home", headers={"REMOTE_USER": "bob"})
    assert (answer.path, browser.user()) == ("/hub/home", "alice")


def test_next_is_judged_by_the_hub(hub, origin):
    answer = login(origin, good(hub.key, "alice"), path="/hub/login?next=https://elsewhere.example/")
    assert is_login(answer)
    assert "elsewhere" not in answer.header("Location")


def test_keys_rotate_without_a_restart(hub):
    new = Ed25519PrivateKey.generate()
    replace_keys(hub, public_pem(hub.key) + public_pem(new))
    assert is_login(login(hub.public_url, good(new, "alice")))
    assert is_login(login(hub.public_url, good(hub.key, "alice")))
    replace_keys(hub, public_pem(new))
    assert_refused(login(hub.public_url, good(hub.key, "alice")))
    replace_keys(hub, b"half a fi")
    assert is_login(login(hub.public_url, good(new, "alice"))), "a bad file changes nothing"
    replace_keys(hub, public_pem(hub.key))
    assert is_login(login(hub.public_url, good(hub.key, "alice")))


def replace_keys(hub, text):
    new = hub.public_key_file.with_suffix(".new")
    new.write_bytes(text)
    os.replace(new, hub.public_key_file)
