"""The endpoints of `[hub_oauth]` by clients that nobody here wrote: Authlib, openid-client and mod_auth_openidc.

hublatch alone is the user agent of the hub's own OAuth, so each client stands where the hub's stands: behind hublatch, with
/hub/oauth_login and /hub/oauth_callback. Each discovers the provider, sends a PKCE challenge and a nonce, redeems the code,
verifies the ID token by the keys of the provider, and asks userinfo. What a client does wrong is what `fault` in `next`
says.
"""

import json
import secrets
import shutil
import sys
import tempfile
import threading
import time
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from browser import NAVIGATION
from hub import NODE
from processes import PATIENCE, ROOT, Process, free_port, wait_until

AUTHLIB = ROOT / "target/authlib"
OPENID_CLIENT = ROOT / "target/openid-client/node_modules/openid-client/build/index.js"
MOD_AUTH_OPENIDC = Path("/usr/lib/apache2/modules/mod_auth_openidc.so")

CODE_LIFETIME = 10  # seconds
FAULTS = {
    "secret": "invalid_client",
    "verifier": "invalid_grant",
    "no verifier": "invalid_grant",
    "redirect_uri": "invalid_grant",
    "reuse": "invalid_grant",
}


class Provider:
    """What a client is told of hublatch, and a port for the client itself; to hublatch it is the hub."""

    base_url = "/"

    def __init__(self):
        public, self.management, self.port = free_port(), free_port(), free_port()
        self.key = Ed25519PrivateKey.generate()
        self.url, self.public_url = f"http://127.0.0.1:{public}", f"http://127.0.0.1:{self.port}"
        self.internal_url = self.public_url
        self.issuer, self.redirect_uri = f"http://127.0.0.1:{self.management}", f"{self.url}/hub/oauth_callback"
        self.client_id, self.secret = "hublatch", secrets.token_urlsafe(32)

    def hublatch(self, start_hublatch):
        names = ("client_id", "redirect_uri", "issuer")
        settings = {name: getattr(self, name) for name in names} | {"client_secret": self.secret, "insecure": True}
        changes = {
            "public": {"listen": self.url.removeprefix("http://"), "url": self.url},
            "management": {"listen": f"127.0.0.1:{self.management}"},
            "assertion": None,
            "hub_oauth": settings,
        }
        latch = start_hublatch(self, changes)
        latch.provider = self
        return latch


class AuthlibHub(ThreadingHTTPServer):
    """Authlib does the hub's half, by the very parts of which its Flask and Django clients are made."""

    def __init__(self, provider):
        if not AUTHLIB.exists():
            pytest.fail(f"{AUTHLIB} is missing: tests/install.sh tests")
        sys.path.append(str(AUTHLIB))
        from authlib.integrations.base_client import BaseApp, FrameworkIntegration, OAuth2Mixin, OpenIDMixin
        from authlib.integrations.requests_client import OAuth2Session

        class App(OAuth2Mixin, OpenIDMixin, BaseApp):
            client_cls = OAuth2Session

        self._make = lambda **more: App(FrameworkIntegration("hub"), "hub", client_id=provider.client_id, **more)
        self._provider, self._begun, self.late = provider, {}, []
        super().__init__(("127.0.0.1", provider.port), AuthlibHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def _app(self, fault):
        provider = self._provider
        method = "client_secret_basic" if fault == "basic" else "client_secret_post"
        return self._make(
            client_secret=provider.secret + "x" * (fault == "secret"),
            server_metadata_url=f"{provider.issuer}/.well-known/openid-configuration",
            client_kwargs={"scope": "openid", "code_challenge_method": "S256", "token_endpoint_auth_method": method},
        )

    def begin(self, query):
        next_url = query["next"][0]
        fault = parse_qs(urlsplit(next_url).query).get("fault", [""])[0]
        app = self._app(fault)
        begun = app.create_authorization_url(self._provider.redirect_uri)
        key = secrets.token_hex(16)
        self._begun[key] = (app, begun, next_url, fault)
        return begun["url"], f"oauth-state={key}; Path=/hub/; HttpOnly"

    def end(self, query, cookies):
        app, begun, next_url, fault = self._begun.pop(cookies["oauth-state"].value)
        assert query["state"] == [begun["state"]]
        asked = {"code": query["code"][0], "redirect_uri": self._provider.redirect_uri, "code_verifier": begun["code_verifier"]}
        if fault == "redirect_uri":
            asked["redirect_uri"] = self._provider.redirect_uri.replace("oauth_callback", "other_callback")
        elif fault == "verifier":
            asked["code_verifier"] = secrets.token_urlsafe(48)
        elif fault == "no verifier":
            del asked["code_verifier"]
        elif fault == "late":
            self.late.append((time.monotonic(), lambda: app.fetch_access_token(**asked)))
            return next_url, {}
        token = app.fetch_access_token(**asked)
        claims = app.parse_id_token(token, nonce=begun["nonce"])
        info = app.userinfo(token=token)
        if fault == "reuse":
            app.fetch_access_token(**asked)
        return next_url, {"id_token": claims, "userinfo": info}


class AuthlibHandler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        asked = urlsplit(self.path)
        query = parse_qs(asked.query)
        try:
            if asked.path == "/hub/oauth_login":
                location, cookie = self.server.begin(query)
                return self._answer(302, {}, {"Location": location, "Set-Cookie": cookie})
            if asked.path == "/hub/oauth_callback":
                location, told = self.server.end(query, SimpleCookie(self.headers["Cookie"]))
                cookie = f"jupyterhub-hub-login={told.get('userinfo', {}).get('preferred_username', '')}; Path=/hub/"
                return self._answer(302, told, {"Location": location, "Set-Cookie": cookie})
        except Exception as error:
            return self._answer(400, {"error": getattr(error, "error", None), "cause": repr(error)})
        self._answer(403, {"status": 403, "message": "Forbidden"})

    def _answer(self, status, value, headers={}):
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def authlib(start_hublatch):
    provider = Provider()
    latch = provider.hublatch(start_hublatch)
    latch.hub = AuthlibHub(provider)
    yield latch
    latch.hub.shutdown()


@pytest.fixture(scope="module")
def openid_client(start_hublatch, tmp_path_factory):
    if not OPENID_CLIENT.exists():
        pytest.fail(f"{OPENID_CLIENT} is missing: tests/install.sh tests")
    provider = Provider()
    latch = provider.hublatch(start_hublatch)
    program = [NODE / "node", ROOT / "tests/jupyterhub/openid_client/hub.mjs", OPENID_CLIENT.as_uri(), provider.port]
    program += [provider.issuer, provider.client_id, provider.secret, provider.redirect_uri]
    node = Process("openid-client", tmp_path_factory.mktemp("openid-client"), program, {})
    wait_until(lambda: "listening" in node.log, PATIENCE, "openid-client to listen")
    yield latch
    node.kill()


@pytest.fixture(params=["authlib", "openid_client"])
def latch(request):
    return request.getfixturevalue(request.param)


def click(latch, fault="", user="alice", **order):
    """The hub's answer to the login that a link leads to; no redirect is followed."""
    query = f"?{urlencode({'fault': fault})}" if fault else ""
    link = latch.issue(user, next=f"/hub/home{query}", **order)
    answer = latch.browser().request("GET", link["url"], headers={**NAVIGATION, "Sec-Fetch-Site": "none"})
    return link, answer


@pytest.fixture(scope="module", autouse=True)
def late_code(authlib):
    """Begun before all tests, so that the one that redeems it waits for nothing but what is left of ten seconds."""
    link, answer = click(authlib, "late")
    assert (answer.status, authlib.status(link)) == (302, "used"), answer.text
    return authlib.hub.late.pop()


@pytest.mark.parametrize("method", ["", "basic"])
def test_a_login_tells_the_client_who_it_is_and_all_that_it_verifies_is_good(latch, method):
    link, answer = click(latch, method, groups=["course-7"])
    assert answer.status == 302, answer.text
    assert answer.location == "/hub/home" + (f"?fault={method}" if method else "")
    token, info = answer.json["id_token"], answer.json["userinfo"]
    assert (token["iss"], token["aud"]) == (latch.provider.issuer, latch.provider.client_id)
    for told in (token, info):
        assert (told["sub"], told["preferred_username"], told["groups"]) == ("alice", "alice", ["course-7"])
    assert token["nonce"] and token["exp"] > time.time()
    assert latch.status(link) == "used"


@pytest.mark.parametrize("fault,error", FAULTS.items())
def test_a_client_that_is_not_the_hub_or_does_not_hold_the_code_gets_nothing(latch, fault, error):
    link, answer = click(latch, fault)
    assert answer.status == 400, answer.text
    told = answer.json
    # openid-client tells of a 401 by its challenge, and not by its body.
    is_challenge = told.get("error") == "OAUTH_WWW_AUTHENTICATE_CHALLENGE" and told.get("status") == 401
    assert told["error"] == error or (error == "invalid_client" and is_challenge), told
    assert not any("hub-login" in line for line in answer.all("Set-Cookie"))
    assert latch.status(link) == "used"


@pytest.fixture(scope="module")
def apache(start_hublatch, tmp_path_factory):
    """mod_auth_openidc of Debian's Apache, whose pages are for those alone who are logged in."""
    program = shutil.which("apache2", path="/usr/sbin:/usr/bin")
    if program is None or not MOD_AUTH_OPENIDC.exists():
        pytest.fail("libapache2-mod-auth-openidc is missing: tests/install.sh tests")
    provider = Provider()
    latch = provider.hublatch(start_hublatch)
    folder = tmp_path_factory.mktemp("apache")
    # Apache gives up its rights, and must still read the page.
    pages = Path(tempfile.mkdtemp(prefix="hublatch-pages-"))
    pages.chmod(0o755)
    (pages / "hub").mkdir()
    (pages / "hub/home").write_text("home")
    modules = ["mpm_event", "authn_core", "authz_core", "authz_user", "headers", "mime", "auth_openidc"]
    load = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in modules)
    (folder / "httpd.conf").write_text(f"""{load}
ServerRoot {folder}
ServerName 127.0.0.1
Listen 127.0.0.1:{provider.port}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
LogLevel info
Mutex sysvsem default
User www-data
Group www-data
DocumentRoot {pages}
TypesConfig /etc/mime.types
OIDCProviderMetadataURL {provider.issuer}/.well-known/openid-configuration
OIDCClientID {provider.client_id}
OIDCClientSecret {provider.secret}
OIDCRedirectURI {provider.redirect_uri}
OIDCCryptoPassphrase {secrets.token_hex(16)}
OIDCPKCEMethod S256
OIDCScope openid
OIDCRemoteUserClaim preferred_username
<Directory {pages}>
  AuthType openid-connect
  Require valid-user
</Directory>
<Location /hub/>
  AuthType openid-connect
  Require valid-user
  Header always set X-User "expr=%{{REMOTE_USER}}"
  Header always set X-Groups "%{{OIDC_CLAIM_groups}}e"
</Location>
<Location /hub/api/user>
  AuthType None
  Require all denied
  ErrorDocument 403 "{{\\"status\\": 403, \\"message\\": \\"Forbidden\\"}}"
</Location>
""")
    server = Process("apache", folder, [program, "-D", "FOREGROUND", "-f", folder / "httpd.conf"], {})
    latch.error_log = folder / "error.log"

    def answers():
        assert server.exit_code() is None, server.log + (folder / "error.log").read_text()
        return latch.error_log.exists() and "resuming normal operations" in latch.error_log.read_text()

    wait_until(answers, PATIENCE, "Apache to answer")
    yield latch
    server.stop()
    shutil.rmtree(pages)


def test_mod_auth_openidc_lets_in_whom_a_link_names_and_nobody_else(apache):
    stranger = apache.browser().request("GET", "/hub/home", headers=NAVIGATION)
    assert stranger.status == 302 and "/hub-oauth/authorize?" in stranger.location
    for user in ("alice", "bob"):
        browser = apache.browser()
        link = apache.issue(user, next="/hub/home", groups=["course-7"])
        answer = browser.request("GET", link["url"], headers={**NAVIGATION, "Sec-Fetch-Site": "none"})
        assert answer.status == 302, (answer.text, apache.error_log.read_text())
        assert browser.cookie("mod_auth_openidc_session"), answer.headers
        page = browser.request("GET", "/hub/home", headers=NAVIGATION)
        assert (page.status, page.text, page.header("X-User"), page.header("X-Groups")) == (200, "home", user, "course-7")


def test_a_code_that_comes_late_is_worth_nothing(late_code):
    from authlib.integrations.base_client import OAuthError

    begun, redeem = late_code
    time.sleep(max(0, begun + CODE_LIFETIME + 0.5 - time.monotonic()))
    with pytest.raises(OAuthError) as refused:
        redeem()
    assert refused.value.error == "invalid_grant"
