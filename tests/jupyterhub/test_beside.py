"""Links beside another login: whom a link names is logged in, and everybody else has the login they always had."""

import json
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assertion import good
from browser import Browser, raw
from hub import VENV
from processes import PATIENCE, ROOT, Process, free_port, wait_until

COMMON = """
from hublatch import beside
c.HublatchAuthenticator.public_key_file = {public_key!r}
c.Authenticator.admin_users = {{"root"}}
c.Authenticator.blocked_users = {{"blocked"}}
c.Authenticator.auth_refresh_age = 1
"""


@dataclass
class Login:
    """One other login: its configuration, and how a person named `own` logs in with it."""

    config: str
    version: str = "6.1"
    own: str = "carol"
    links: tuple = ("alice", "bob")
    path: str = "/hub/login"
    page: str = 'name="password"'  # what is on the hub's login page
    prepare: object = None
    checks_passwords: bool = True

    def log_in(self, browser, password="right"):
        browser.open(self.path)
        token = browser.cookie("_xsrf", "/hub/") or ""
        typed = self.own.rpartition(":")[2]
        form = urlencode({"_xsrf": token, "username": typed, "password": password}).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return browser.open(f"{self.path}?next=/hub/home", "POST", form, kind)


class OAuthLogin(Login):
    def log_in(self, browser, password="right"):
        return browser.open("/hub/oauth_login?next=/hub/home")


class NoLogin(Login):
    """One whose own login needs a whole platform; here it is enough that it is still there."""

    def log_in(self, browser, password="right"):
        pytest.skip("its own login is not tried")


def sign_up(hub):
    browser = Browser(hub.public_url)
    browser.open("/hub/signup")
    fields = {"_xsrf": browser.cookie("_xsrf", "/hub/") or "", "username": "carol"}
    fields |= {"signup_password": "right", "signup_password_confirmation": "right"}
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert browser.open("/hub/signup", "POST", urlencode(fields).encode(), kind).status == 200


def first_use(hub):
    LOGINS["FirstUse"].log_in(Browser(hub.public_url))


DUMMY = """
from jupyterhub.auth import DummyAuthenticator
c.JupyterHub.authenticator_class = beside(DummyAuthenticator)
c.DummyAuthenticator.password = "right"
c.DummyAuthenticator.allowed_users = {{"carol"}}
"""
BY_NAME = """
c.JupyterHub.authenticator_class = "hublatch.HublatchBesideAuthenticator"
c.HublatchBesideAuthenticator.other = {other!r}
c.DummyAuthenticator.password = "right"
c.DummyAuthenticator.allowed_users = {{"carol"}}
"""
OAUTH = """
from oauthenticator.generic import GenericOAuthenticator
c.JupyterHub.authenticator_class = beside(GenericOAuthenticator)
c.GenericOAuthenticator.client_id = "hub"
c.GenericOAuthenticator.client_secret = "secret"
c.GenericOAuthenticator.oauth_callback_url = "{public_url}/hub/oauth_callback"
c.GenericOAuthenticator.authorize_url = "{provider}/authorize"
c.GenericOAuthenticator.token_url = "{provider}/token"
c.GenericOAuthenticator.userdata_url = "{provider}/userinfo"
c.GenericOAuthenticator.username_claim = "username"
c.GenericOAuthenticator.allowed_users = {{"carol"}}
c.GenericOAuthenticator.enable_auth_state = True
"""
LOGINS = {
    "Dummy": Login(DUMMY),
    "Dummy by name": Login(BY_NAME.replace("{other!r}", '"dummy"')),
    "Dummy on 5.4": Login(DUMMY, version="5.4"),
    "Dummy on 4.1": Login(DUMMY, version="4.1"),
    "Dummy by path on 4.1": Login(BY_NAME.replace("{other!r}", '"jupyterhub.auth.DummyAuthenticator"'), version="4.1"),
    # Real accounts, a made-up check of passwords. LocalAuthenticator admits nobody without an account.
    "PAM": Login(
        """
import pamela
from jupyterhub.auth import PAMAuthenticator
def check(name, password, **_):
    if password != "right":
        raise pamela.PAMError("wrong")
pamela.authenticate, pamela.check_account = check, lambda name, **_: None
c.JupyterHub.authenticator_class = beside(PAMAuthenticator)
c.PAMAuthenticator.open_sessions = False
c.PAMAuthenticator.allowed_users = {{"news"}}
""",
        own="news",
        links=("games", "mail"),
    ),
    # 1.3.0 is made for hubs before 6: what handles its login form asks for `statsd`, which 6 has no more, and ends in a 500.
    "Native": Login(
        """
from nativeauthenticator import NativeAuthenticator
c.JupyterHub.authenticator_class = beside(NativeAuthenticator)
c.NativeAuthenticator.open_signup = True
c.NativeAuthenticator.allow_all = True
c.NativeAuthenticator.minimum_password_length = 1
""",
        version="5.4",
        prepare=sign_up,
    ),
    "FirstUse": Login(
        """
from firstuseauthenticator import FirstUseAuthenticator
c.JupyterHub.authenticator_class = beside(FirstUseAuthenticator)
c.FirstUseAuthenticator.allow_all = True
c.FirstUseAuthenticator.min_password_length = 1
c.FirstUseAuthenticator.dbm_path = "{folder}/passwords.dbm"
""",
        prepare=first_use,
    ),
    "LDAP": Login(
        """
from ldapauthenticator import LDAPAuthenticator
c.JupyterHub.authenticator_class = beside(LDAPAuthenticator)
c.LDAPAuthenticator.server_address = "127.0.0.1"
c.LDAPAuthenticator.server_port = {ldap_port}
c.LDAPAuthenticator.tls_strategy = "insecure"
c.LDAPAuthenticator.bind_dn_template = ["uid={{username}},dc=example,dc=org"]
c.LDAPAuthenticator.allow_all = True
""",
    ),
    "GenericOAuth": OAuthLogin(OAUTH, page="oauth_login", checks_passwords=False),
    "GenericOAuth on 5.4": OAuthLogin(OAUTH, version="5.4", page="oauth_login", checks_passwords=False),
    "LTI 1.3": NoLogin(
        """
from ltiauthenticator.lti13.auth import LTI13Authenticator
c.JupyterHub.authenticator_class = beside(LTI13Authenticator)
c.LTI13Authenticator.issuer = "https://lms.example.edu"
c.LTI13Authenticator.authorize_url = "https://lms.example.edu/authorize"
c.LTI13Authenticator.client_id = ["hub"]
c.LTI13Authenticator.jwks_endpoint = "https://lms.example.edu/jwks"
c.LTI13Authenticator.allow_all = True
""",
        page="",
        checks_passwords=False,
    ),
    "Multi": Login(
        """
from jupyterhub.auth import DummyAuthenticator
from multiauthenticator import MultiAuthenticator
c.JupyterHub.authenticator_class = beside(MultiAuthenticator)
c.MultiAuthenticator.authenticators = [
    (DummyAuthenticator, "/one", {{"password": "right", "allow_all": True, "service_name": "one", "prefix": ""}}),
]
""",
        own="one:carol",
        path="/hub/one/login",  # which puts its name before the user's
        page="",
    ),
}


class Provider(BaseHTTPRequestHandler):
    """The smallest OAuth provider: everybody is carol."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        asked = urlsplit(self.path)
        if asked.path == "/authorize":
            query = parse_qs(asked.query)
            answer = urlencode({"code": "the-code", "state": query["state"][0]})
            self.send_response(302)
            self.send_header("Location", f"{query['redirect_uri'][0]}?{answer}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._json({"username": "carol"})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self._json({"access_token": "the-access-token", "token_type": "Bearer"})

    def _json(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def provider():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def start_slapd(folder, port):
    """A real OpenLDAP server with one person."""
    slapd = shutil.which("slapd", path="/usr/sbin:/usr/bin")
    if slapd is None:
        pytest.skip("slapd is missing: tests/install.sh tests")
    (folder / "db").mkdir()
    config = folder / "slapd.conf"
    config.write_text(
        "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n"
        "include /etc/ldap/schema/inetorgperson.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n"
        f"database mdb\nsuffix dc=example,dc=org\nrootdn cn=admin,dc=example,dc=org\ndirectory {folder}/db\n"
    )
    (folder / "people.ldif").write_text(
        "dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n"
        "dn: uid=carol,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: carol\ncn: Carol\nsn: C\nuserPassword: right\n"
    )
    subprocess.run(
        [slapd, "-T", "add", "-f", config, "-l", folder / "people.ldif"], check=True, capture_output=True, timeout=PATIENCE
    )
    process = Process("slapd", folder, [slapd, "-f", config, "-h", f"ldap://127.0.0.1:{port}", "-d", "0"], {})
    import socket

    def listens():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, PATIENCE, "slapd to listen")
    return process


class Deployment:
    """A hub with one of the logins, and that login; links go straight to the hub, signed by its key."""

    def __init__(self, login, version, start_hub, provider, folder, path=""):
        if not (VENV[version] / "bin/python").exists():
            pytest.fail(f"JupyterHub {version} is missing: tests/install.sh hub{version.replace('.', '')[:1]}")
        names = {"provider": provider}
        self._slapd = None
        if "{ldap_port}" in login.config:
            names["ldap_port"] = free_port()
            self._slapd = start_slapd(folder, names["ldap_port"])
        config = login.config
        for name, value in names.items():
            config = config.replace("{" + name + "}", str(value))

        def more_path(hub):
            hub.env["PYTHONPATH"] = f"{path}:{hub.env['PYTHONPATH']}" if path else hub.env["PYTHONPATH"]

        self.hub, self.login = start_hub(authenticator=COMMON + config, version=version, before_start=more_path), login
        if login.prepare:
            login.prepare(self.hub)

    def end(self):
        self.hub.kill()
        if self._slapd:
            self._slapd.kill()


@pytest.fixture(scope="module", params=list(LOGINS))
def deployment(request, start_hub, provider, tmp_path_factory):
    login = LOGINS[request.param]
    deployment = Deployment(login, login.version, start_hub, provider, tmp_path_factory.mktemp("beside"))
    yield deployment.hub, login
    deployment.end()


def click(hub, browser, user, key=None, **claims):
    headers = {"X-Hublatch-Assertion": good(key or hub.key, user, **claims)}
    return browser.open("/hub/login?next=/hub/home", headers=headers)


def test_a_link_logs_in_whom_it_names_whatever_the_other_lists_allow(deployment):
    hub, login = deployment
    browser = Browser(hub.public_url)
    assert click(hub, browser, login.links[0]).status == 200
    assert browser.user() == login.links[0]


def test_the_login_page_is_the_other_ones(deployment):
    hub, login = deployment
    page = Browser(hub.public_url).open("/hub/login")
    assert page.status == 200 and login.page in page.text


def test_everybody_else_logs_in_as_always(deployment):
    hub, login = deployment
    browser = Browser(hub.public_url)
    assert login.log_in(browser).status == 200
    assert browser.user() == login.own


def test_a_wrong_password_logs_nobody_in(deployment):
    hub, login = deployment
    if not login.checks_passwords:
        pytest.skip("it asks for no password here")
    browser = Browser(hub.public_url)
    login.log_in(browser, password="wrong")
    assert browser.user() is None


def test_a_link_for_another_user_ends_the_others_session(deployment):
    hub, login = deployment
    browser = Browser(hub.public_url)
    login.log_in(browser)
    before = browser.cookie("jupyterhub-session-id")
    assert click(hub, browser, login.links[1]).status == 200
    assert browser.user() == login.links[1]
    assert browser.cookie("jupyterhub-session-id") != before


def test_who_came_by_a_link_is_still_in_when_the_hub_asks_again(deployment):
    hub, login = deployment
    browser = Browser(hub.public_url)
    click(hub, browser, login.links[0])
    time.sleep(1.1)  # auth_refresh_age
    assert browser.open("/hub/home").path == "/hub/home"
    assert browser.user() == login.links[0]


def test_nobody_comes_in_by_a_bare_header_or_a_forged_assertion(deployment):
    hub, login = deployment
    answer = raw("GET", hub.internal_url + "/hub/login", [("REMOTE_USER", "root")])
    assert not any("jupyterhub-hub-login" in line for line in answer.all("Set-Cookie"))
    browser = Browser(hub.public_url)
    assert click(hub, browser, "root", key=Ed25519PrivateKey.generate()).status == 403
    assert browser.user() is None


def test_an_assertion_opens_nothing_but_the_login_page(deployment):
    hub, login = deployment
    click(hub, Browser(hub.public_url), login.links[0])
    headers = [("X-Hublatch-Assertion", good(hub.key, login.links[0])), ("Content-Length", "0")]
    for path in (f"/hub/api/users/{login.links[0]}/tokens", "/hub/login"):
        answer = raw("POST", hub.internal_url + path, headers)
        assert answer.status == 403 or not any("jupyterhub-hub-login" in line for line in answer.all("Set-Cookie"))
        assert answer.status != 201


def test_a_blocked_user_is_blocked_for_links_too(deployment):
    hub, login = deployment
    browser = Browser(hub.public_url)
    assert click(hub, browser, "blocked").status == 403
    assert browser.user() is None


def test_a_link_for_a_name_without_an_account_is_refused_where_accounts_are_needed(deployment):
    hub, login = deployment
    if login.own != "news":
        pytest.skip("only local authenticators need accounts")
    assert click(hub, Browser(hub.public_url), "has-no-account").status == 403
    assert not hub.has_user("has-no-account")


def test_a_link_makes_nobody_an_admin(deployment):
    hub, login = deployment
    click(hub, Browser(hub.public_url), login.links[0], admin=True, claims={"admin": True})
    assert hub.api("GET", f"/users/{login.links[0]}")["admin"] is False


# The other hubs that are promised, of the logins above that run there: what matters most of each. oauthenticator 17 wants a
# hub of its own time.
ON_OTHER_HUBS = [
    ("PAM", "5.4", ""),
    ("PAM", "4.1", ""),
    ("FirstUse", "5.4", ""),
    ("LDAP", "5.4", ""),
    ("LTI 1.3", "5.4", ""),
    ("Multi", "5.4", ""),
    ("Native", "6.1", ""),
    ("Native", "4.1", ""),
    ("FirstUse", "4.1", ""),
    ("LDAP", "4.1", ""),
    ("LTI 1.3", "4.1", ""),
    ("Multi", "4.1", ""),
    ("GenericOAuth", "4.1", "16.3.1"),
]
# Whose own form works on that hub neither beside links nor alone.
NO_OWN_LOGIN = {("Native", "6.1")}


@pytest.mark.parametrize("name,version,oauthenticator", ON_OTHER_HUBS)
def test_links_and_the_other_login_on_the_other_hubs(name, version, oauthenticator, start_hub, provider, tmp_path):
    login = LOGINS[name]
    path = ROOT / f"target/oauthenticator-{oauthenticator}" if oauthenticator else ""
    deployment = Deployment(login, version, start_hub, provider, tmp_path, path)
    hub = deployment.hub
    linked, own, stranger = (Browser(hub.public_url) for _ in range(3))
    assert click(hub, linked, login.links[0]).status == 200
    assert linked.user() == login.links[0]
    assert click(hub, linked, login.links[1]).status == 200
    assert linked.user() == login.links[1], "another user is switched to"
    if not isinstance(login, NoLogin) and (name, version) not in NO_OWN_LOGIN:
        assert login.log_in(own).status == 200
        assert own.user() == login.own
    assert click(hub, stranger, "root", key=Ed25519PrivateKey.generate()).status == 403
    assert stranger.user() is None
    deployment.end()


def test_the_other_authenticator_itself_stays_as_it_is():
    import sys

    from processes import ROOT

    sys.path.insert(0, str(ROOT / "python"))
    from hublatch import beside
    from jupyterhub.auth import DummyAuthenticator

    before = dict(vars(DummyAuthenticator))
    both = beside(DummyAuthenticator)
    assert dict(vars(DummyAuthenticator)) == before
    assert both is beside(DummyAuthenticator)
    for useless in (both, object, None, "dummy"):
        with pytest.raises(TypeError):
            beside(useless)


@pytest.mark.parametrize("automatic", [True, False])
def test_whether_the_login_starts_by_itself_is_the_other_ones_choice(tmp_path, automatic):
    import sys

    from processes import ROOT

    sys.path.insert(0, str(ROOT / "python"))
    from assertion import public_pem
    from hublatch import HublatchAuthenticator, beside
    from jupyterhub.auth import DummyAuthenticator
    from traitlets.config import Config

    file = tmp_path / "key.pem"
    file.write_bytes(public_pem(Ed25519PrivateKey.generate()))
    config = Config()
    config.HublatchAuthenticator.public_key_file = str(file)
    assert HublatchAuthenticator(config=config).auto_login is True
    assert beside(DummyAuthenticator)(config=config).auto_login is False
    config.DummyAuthenticator.auto_login = automatic
    assert beside(DummyAuthenticator)(config=config).auto_login is automatic
