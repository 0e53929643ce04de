"""An identity that hublatch did not prove is nobody's, wherever it is sent."""

import pytest
from websockets.exceptions import InvalidStatus

from assertion import good
from browser import Browser, raw
from notebook import Kernel, open_socket

SPELLINGS = [
    "REMOTE_USER",
    "remote_user",
    "Remote_User",
    "Remote-User",
    "REMOTE-USER",
    "X-Remote-User",
    "HTTP_REMOTE_USER",
]
PATHS = [
    "/hub/login",
    "/hub/login?next=/hub/home",
    "/hub/home",
    "/hub/api/user",
    "//hub/login",
    "/hub/login/",
    "/hub/%6Cogin",
]


@pytest.fixture(params=["the hub's port", "the hub's public proxy", "hublatch"])
def origin(request, hub, latch):
    return {"the hub's port": hub.internal_url, "the hub's public proxy": hub.public_url, "hublatch": latch.url}[
        request.param
    ]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", SPELLINGS)
def test_a_bare_identity_header_logs_nobody_in(origin, name, path):
    answer = raw("GET", origin + path, [(name, "admin")])
    assert not any("hub-login" in line for line in answer.all("Set-Cookie"))
    assert answer.status >= 300
    assert Browser(origin).user() is None


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_bare_identity_header_gets_no_api_token(hub, origin, name):
    before = hub.api("GET", "/users/admin/tokens")
    for body in (b"", b'{"auth": {"username": "admin", "token": "x"}}'):
        answer = raw("POST", origin + "/hub/api/users/admin/tokens", [(name, "admin")], body)
        assert answer.status == 403
        assert '"token"' not in answer.text
    assert hub.api("GET", "/users/admin/tokens") == before


def test_a_websocket_handshake_on_the_login_page_logs_nobody_in(origin):
    handshake = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    answer = raw("GET", origin + "/hub/login", {**handshake, **key, "REMOTE_USER": "admin"}.items())
    assert answer.status in (400, 403)
    assert not answer.all("Set-Cookie") or "hub-login" not in " ".join(answer.all("Set-Cookie"))


@pytest.mark.parametrize("name", ["X-Hublatch-Assertion", "x_hublatch_assertion"])
def test_an_assertion_from_outside_does_not_pass(latch, hub, name):
    """Even a good one: only hublatch's own reaches the hub."""
    answer = raw("GET", latch.url + "/hub/login", [(name, good(hub.key, "admin")), ("REMOTE_USER", "admin")])
    assert answer.status == 403
    assert not any("hub-login" in line for line in answer.all("Set-Cookie"))


@pytest.mark.parametrize("name", SPELLINGS)
def test_an_identity_header_beside_a_link_changes_nothing(latch, browser, name):
    link = latch.issue("spike", next="/hub/home")
    browser.open(link["url"], headers={name: "admin", "X-Hublatch-Assertion": "x", "Connection": f"close, {name}"})
    assert browser.user() == "spike"


def test_code_in_a_notebook_cannot_become_an_admin(latch, browser):
    """From where the hub's port is in reach: a kernel of a user, with all that the user's server knows."""
    assert browser.open_server(latch.issue("nick", path="lab")["url"]).status == 200
    kernel = Kernel(browser, "/user/nick/")
    kernel.execute(SPOOF + "1")
    assert kernel.execute("spoof('GET', '/login')") == "(403, None)"
    assert kernel.execute("spoof('POST', '/api/users/admin/tokens')") == "(403, None)"
    kernel.close()


# The status, and the hub's session cookie if it gave one.
SPOOF = """
import http.client, os, urllib.parse
def spoof(method, path):
    api = urllib.parse.urlsplit(os.environ['JUPYTERHUB_API_URL'])
    connection = http.client.HTTPConnection(api.netloc)
    connection.request(method, api.path.removesuffix('/api') + path, headers={'REMOTE_USER': 'admin'})
    answer = connection.getresponse()
    cookies = [v for k, v in answer.getheaders() if k.lower() == 'set-cookie' and 'hub-login' in v]
    return answer.status, (cookies or [None])[0]
"""


def test_a_socket_without_a_session_is_refused(latch):
    with pytest.raises(InvalidStatus) as refusal:
        open_socket(latch.browser(), "/user/nick/api/events/subscribe")
    assert refusal.value.response.status_code in (302, 403)
