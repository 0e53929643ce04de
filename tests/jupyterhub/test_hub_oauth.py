"""`[hub_oauth]`: a hub with a stock GenericOAuthenticator, nothing of hublatch installed on it."""

import base64
import hashlib
import json
import secrets
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from browser import raw
from processes import PATIENCE, ROOT, free_port, wait_until

SECRET = secrets.token_urlsafe(32)

AUTHENTICATOR = """
from oauthenticator.generic import GenericOAuthenticator
c.JupyterHub.authenticator_class = GenericOAuthenticator
c.GenericOAuthenticator.client_id = "hublatch"
c.GenericOAuthenticator.client_secret = "SECRET"
c.GenericOAuthenticator.oauth_callback_url = "http://127.0.0.1:PUBLIC/hub/oauth_callback"
c.GenericOAuthenticator.authorize_url = "http://127.0.0.1:MANAGEMENT/hub-oauth/authorize"
c.GenericOAuthenticator.token_url = "http://127.0.0.1:MANAGEMENT/hub-oauth/token"
c.GenericOAuthenticator.username_claim = "preferred_username"
c.GenericOAuthenticator.login_service = "hublatch"
c.GenericOAuthenticator.scope = ["openid"]
c.GenericOAuthenticator.allow_all = True
c.OAuthenticator.auto_login = True
"""

USERDATA_URL = 'c.GenericOAuthenticator.userdata_url = "http://127.0.0.1:MANAGEMENT/hub-oauth/userinfo"\n'

MORE = {
    "userinfo": USERDATA_URL,
    "id_token": "c.GenericOAuthenticator.userdata_from_id_token = True\n",
    "auth_state": USERDATA_URL + "c.Authenticator.enable_auth_state = True\nc.Authenticator.manage_groups = True\n"
    'c.GenericOAuthenticator.auth_state_groups_key = "oauth_user.groups"\n',
}


# The oldest hub and oauthenticators that are promised: `tests/install.sh hub41` puts the latter beside it.
OLDER = {"4.1": ("15.1.0", "16.3.1"), "5.4": ("16.3.1", "17.4.0")}


def start(start_hub, start_hublatch, more=USERDATA_URL, changes=None, **hub_options):
    public, management = free_port(), free_port()
    text = (AUTHENTICATOR + more).replace("SECRET", SECRET)
    text = text.replace("PUBLIC", str(public)).replace("MANAGEMENT", str(management))
    hub = start_hub(authenticator=text.replace("{", "{{").replace("}", "}}"), **hub_options)
    url = f"http://127.0.0.1:{public}"
    provider = {
        "client_id": "hublatch",
        "client_secret": SECRET,
        "redirect_uri": f"{url}/hub/oauth_callback",
        "issuer": f"http://127.0.0.1:{management}",
        "insecure": True,
        **(changes or {}),
    }
    latch = start_hublatch(
        hub,
        {
            "public": {"listen": f"127.0.0.1:{public}", "url": url},
            "management": {"listen": f"127.0.0.1:{management}"},
            "assertion": None,
            "hub_oauth": provider,
        },
    )
    latch.hub = hub
    return latch


@pytest.fixture(scope="module", params=MORE)
def latch(request, start_hub, start_hublatch):
    latch = start(start_hub, start_hublatch, MORE[request.param])
    latch.kind = request.param
    yield latch
    latch.stop()
    latch.hub.kill()


def token_request(latch, fields, basic=None):
    request = urllib.request.Request(
        f"{latch.management}/hub-oauth/token", data=urllib.parse.urlencode(fields).encode(), method="POST"
    )
    if basic:
        request.add_header("Authorization", "Basic " + base64.b64encode(basic.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_a_link_leads_to_jupyterlab(latch):
    browser = latch.browser()
    link = latch.issue("alice", path="lab")
    page = browser.open_server(link["url"])
    assert (page.status, page.path, browser.user()) == (200, "/user/alice/lab", "alice")
    assert latch.status(link) == "used"
    # The browser has seen one answer of the login path, and nothing of the way that the hub went.
    assert not any("oauth" in hop.path and "/user/" not in hop.path and "/api/oauth2/" not in hop.path for hop in browser.hops)
    assert browser.cookie("oauthenticator-state") is None


def test_next_comes_out_byte_for_byte(latch):
    browser = latch.browser()
    path = "/hub/user-redirect/lab/tree/a%20b.ipynb?x=1&reset"
    browser.open(latch.issue("alice", next=path)["url"], redirects=20)
    assert browser.hops[1].path == path


def test_another_user_is_switched_to_after_the_button_with_a_new_session(latch):
    browser = latch.browser()
    browser.open(latch.issue("alice", next="/hub/home")["url"])
    session = browser.cookie("jupyterhub-session-id")
    page = browser.press(browser.open(latch.issue("bob", next="/hub/home")["url"]))
    assert (page.status, browser.user()) == (200, "bob")
    assert browser.cookie("jupyterhub-session-id") not in (None, session)


def test_a_link_for_the_same_user_keeps_the_session(latch):
    browser = latch.browser()
    browser.open(latch.issue("alice", next="/hub/home")["url"])
    session = browser.cookie("jupyterhub-session-id")
    browser.open(latch.issue("alice", next="/hub/home")["url"])
    assert (browser.user(), browser.cookie("jupyterhub-session-id")) == ("alice", session)


def test_eight_clicks_at_once_are_one_login(latch):
    link = latch.issue("alice", next="/hub/home")

    def click(_):
        return raw("GET", link["url"], [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")])

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(click, range(8)))
    logged_in = [answer for answer in answers if any("hub-login" in line for line in answer.all("Set-Cookie"))]
    assert len(logged_in) == 1
    assert latch.audit(link).count("redeemed") == 1


def test_a_visitor_without_a_link_gets_our_page(latch):
    for path in ("/hub/login", "/hub/oauth_login?next=/hub/home", "/hub/home"):
        page = latch.browser().open(latch.url + path)
        assert page.status == 403 and "start" in page.text.lower(), path


def test_a_guessed_callback_logs_nobody_in(latch):
    browser = latch.browser()
    page = browser.open(latch.url + "/hub/oauth_callback?code=hl_" + "A" * 43 + "&state=x")
    assert page.status >= 400
    assert browser.user() is None


def test_a_token_request_that_is_not_the_hubs_gets_nothing(latch):
    fields = {
        "grant_type": "authorization_code",
        "code": "hl_" + "A" * 43,
        "redirect_uri": f"{latch.url}/hub/oauth_callback",
        "code_verifier": "v" * 43,
        "client_id": "hublatch",
        "client_secret": SECRET,
        "data": "None",
    }
    assert token_request(latch, fields)[1]["error"] == "invalid_grant"
    assert token_request(latch, {**fields, "client_secret": "wrong"})[0] == 401
    assert token_request(latch, {**fields, "grant_type": "password"})[1]["error"] == "unsupported_grant_type"
    bare = {key: value for key, value in fields.items() if key not in ("client_id", "client_secret")}
    assert token_request(latch, bare)[0] == 401
    assert token_request(latch, bare, f"hublatch:{SECRET}")[1]["error"] == "invalid_grant"


def test_a_hub_that_asks_for_something_else_burns_no_link(start_hub, start_hublatch):
    latch = start(start_hub, start_hublatch, changes={"redirect_uri": "http://127.0.0.1:1/hub/oauth_callback"})
    link = latch.issue("alice", next="/hub/home")
    page = latch.browser().open(link["url"])
    assert page.status == 503
    assert latch.status(link) == "pending"
    wait_until(lambda: "its redirect_uri" in latch.process.log, PATIENCE, "the log to tell what is wrong")
    latch.stop()
    latch.hub.kill()


@pytest.mark.parametrize("hub,oauthenticator", [(hub, each) for hub, several in OLDER.items() for each in several])
@pytest.mark.parametrize("kind", ["userinfo", "id_token"])
def test_older_hubs_and_oauthenticators_log_in_and_switch(hub, oauthenticator, kind, start_hub, start_hublatch):
    folder = ROOT / f"target/oauthenticator-{oauthenticator}"
    is_oldest = oauthenticator.startswith("15.")
    if is_oldest and kind == "id_token":
        pytest.skip("oauthenticator 15 reads no ID token")
    if not folder.exists() and oauthenticator != "17.4.0":
        pytest.skip(f"{folder} is missing: run tests/install.sh hub41")
    more = MORE[kind]
    if is_oldest:
        # Its name for username_claim; of two settings it takes the one it knows.
        more += 'c.GenericOAuthenticator.username_key = "preferred_username"\n'
    latch = start(
        start_hub,
        start_hublatch,
        more,
        {"pkce": "required" if oauthenticator.startswith("17.") else "optional"},
        version=hub,
        before_start=lambda hub: hub.env.update(PYTHONPATH=str(folder)),
    )
    browser = latch.browser()
    page = browser.open(latch.issue("alice", next="/hub/home?x=1")["url"])
    assert (page.status, page.path, browser.user()) == (200, "/hub/home?x=1", "alice")
    session = browser.cookie("jupyterhub-session-id")
    page = browser.press(browser.open(latch.issue("bob", next="/hub/home")["url"]))
    assert (page.status, browser.user()) == (200, "bob")
    assert browser.cookie("jupyterhub-session-id") not in (None, session)
    latch.stop()
    latch.hub.kill()
