"""The two authenticators that hubs use today work behind hublatch as they are, without an assertion."""

import pytest

from browser import raw

CLASS = "c.JupyterHub.authenticator_class = "
AUTHENTICATORS = {
    "jhub_remote_user_authenticator 0.1.0": (
        CLASS + '"jhub_remote_user_authenticator.remote_user_auth.RemoteUserAuthenticator"\n',
        "REMOTE_USER",
    ),
    "jhub-authenticators 0.6.1": (
        CLASS + '"jhubauthenticators.HeaderAuthenticator"\nc.Authenticator.allow_all = True\n',
        "Remote-User",
    ),
}


@pytest.fixture(scope="module", params=AUTHENTICATORS)
def latch(request, start_hub, start_hublatch):
    authenticator, header = AUTHENTICATORS[request.param]
    extra = 'c.Authenticator.admin_users = {{"admin"}}\n'
    hub = start_hub(authenticator=authenticator, extra=extra)
    latch = start_hublatch(hub, {"assertion": None, "login": {"user_header": header}})
    latch.header = header
    yield latch
    latch.stop()
    hub.kill()


def test_a_link_leads_to_jupyterlab(latch):
    browser = latch.browser()
    page = browser.open_server(latch.issue("alice", path="lab")["url"])
    assert (page.status, page.path, browser.user()) == (200, "/user/alice/lab", "alice")


def test_a_link_for_another_user_switches_after_the_button(latch):
    browser = latch.browser()
    browser.open(latch.issue("alice", next="/hub/home")["url"])
    browser.press(browser.open(latch.issue("bob", next="/hub/home")["url"]))
    assert browser.user() == "bob"


@pytest.mark.parametrize("path", ["/hub/login", "/hub/login?next=/hub/home", "/hub/home"])
def test_the_header_from_outside_logs_nobody_in(latch, path):
    for name in (latch.header, latch.header.lower(), latch.header.upper(), latch.header.replace("_", "-")):
        answer = raw("GET", latch.url + path, [(name, "admin")])
        assert not any("hub-login" in line for line in answer.all("Set-Cookie"))


def test_the_header_from_outside_gets_no_api_token(latch):
    for name in (latch.header, latch.header.lower(), latch.header.upper()):
        answer = raw("POST", latch.url + "/hub/api/users/admin/tokens", [(name, "admin")], b"{}")
        assert answer.status == 403
        assert '"token"' not in answer.text


def test_a_name_that_these_authenticators_would_admit_gets_no_link(latch):
    for name in ("Alice", "a/b", "../x", "bob, admin", ""):
        assert latch.manage("POST", "/api/v1/links", {"username": name})[0] == 400
