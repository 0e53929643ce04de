"""Logins for which hublatch is not asked first: tokens that an app signs, tokens that it exchanges, and the way by way
of the app with a state."""

import base64
import http.server
import json
import secrets
import threading
import time
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from playwright.sync_api import expect

from assertion import public_pem
from chromium import PATIENCE, launcher
from processes import wait_until
from test_real_browser import chromium, page  # noqa: F401

ISSUER = "https://portal.example.org"


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class App:
    """Turns each of its tokens into a name once, as JupyterHub's forced-login example does; and sends whoever comes to
    its page back with the link that `issue` gives for the parameters."""

    def __init__(self):
        self.names = names = {}
        app = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                name = names.pop(body["token"], None)
                data = json.dumps({"name": name} if name else {"message": "invalid token"}).encode()
                self.send_response(200 if name else 404)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                self.send_response(303)
                self.send_header("Location", app.issue(query))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        port = self._server.server_address[1]
        self.exchange_url, self.page = f"http://127.0.0.1:{port}/login", f"http://localhost:{port}/in"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def token_for(self, name):
        token = secrets.token_urlsafe(32)
        self.names[token] = name
        return token

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Makers:
    """A hublatch that takes signed and exchanged tokens, and sends whoever has none to the app."""

    def __init__(self, folder, hub, start_hublatch):
        self.key, self.app = Ed25519PrivateKey.generate(), App()
        pem = folder / "portal.pub.pem"
        pem.write_bytes(public_pem(self.key))
        signer = {
            "name": "signer",
            "groups": [".*"],
            "jwt.issuer": ISSUER,
            "jwt.audience": "jupyterhub",
            "jwt.public_key_file": str(pem),
        }
        exchanger = {"name": "exchanger", "exchange_url": self.app.exchange_url}
        redirect = {"without_token": "redirect", "app_url": self.app.page}
        plain = start_hublatch(hub)
        apps = [*plain._config["apps"], signer, exchanger]
        self.latch = start_hublatch(hub, {"apps": apps, "login": redirect})
        self.latch.key = plain.key

    def signed(self, **claims):
        now = int(time.time())
        claims = {
            "iss": ISSUER, "aud": "jupyterhub", "iat": now, "exp": now + 60, "jti": secrets.token_hex(8), **claims
        }  # fmt: skip
        header = {"alg": "EdDSA", "typ": "JWT"}
        text = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        return f"{text}.{base64url(self.key.sign(text.encode()))}"

    def target(self, token):
        return f"{self.latch.url}/hub/login?login_token={token}&next={quote('/hub/home', safe='')}"


def settled():
    """A token that may be older than the process is refused, by clocks that may differ by five seconds."""
    time.sleep(7)


@pytest.fixture(scope="module")
def makers(tmp_path_factory, hub, start_hublatch):
    makers = Makers(tmp_path_factory.mktemp("makers"), hub, start_hublatch)
    settled()
    yield makers
    makers.app.stop()


def user_after(makers, target):
    browser = makers.latch.browser()
    answer = browser.open(target)
    return (browser.user(), answer) if answer.status == 200 else (None, answer)


def test_a_token_that_the_app_has_signed_logs_its_user_in_once(makers):
    target = makers.target(makers.signed(sub="sigrid", groups=["course-7"]))
    assert user_after(makers, target)[0] == "sigrid"
    assert user_after(makers, target)[1].status == 403


def test_a_token_of_the_forced_login_example_logs_its_user_in_once(makers):
    target = makers.target(makers.app.token_for("xenia"))
    assert user_after(makers, target)[0] == "xenia"
    assert user_after(makers, target)[1].status == 403
    assert user_after(makers, makers.target(secrets.token_urlsafe(32)))[1].status == 403


def test_a_refused_exchange_names_app_and_reason_in_audit_and_log(makers):
    def record(**wanted):
        """The first line with this in it; lines are written by a thread of their own."""
        fits = lambda line: {"app": "exchanger", **wanted}.items() <= line.items()  # noqa: E731
        return wait_until(lambda: next(filter(fits, makers.latch.process.records()), None), 180, f"a line with {wanted}")

    assert user_after(makers, makers.target(secrets.token_urlsafe(32)))[1].status == 403
    record(audit=True, event="refused", reason="unknown")
    record(message="login: the app does not know a token that was to be exchanged", status="404 Not Found")
    token = makers.app.token_for("Xenia/..")
    assert user_after(makers, makers.target(token))[1].status == 403
    record(audit=True, event="refused", reason="not_allowed", username="Xenia/..")
    assert "character" in record(level="WARN", name="Xenia/..")["why"]
    assert token not in makers.latch.process.log


def test_who_opens_the_hubs_own_address_ends_in_the_notebook_by_way_of_the_app(makers, page):  # noqa: F811
    def link_for(query):
        fields = {name: query[name] for name in ("state", "next") if name in query}
        return makers.latch.issue("bella", **fields)["url"]

    makers.app.issue = link_for
    page.goto(f"{makers.latch.url}/hub/user-redirect/lab")
    expect(launcher(page)).to_be_visible(timeout=PATIENCE)
    assert page.url.startswith(f"{makers.latch.url}/user/bella/lab")


def test_a_link_that_is_bound_to_a_browser_works_in_no_other(makers):
    browser = makers.latch.browser()
    sent = browser.request("GET", f"{makers.latch.url}/hub/login")
    assert sent.status == 303
    state = parse_qs(urlsplit(sent.location).query)["state"][0]
    link = makers.latch.issue("boris", state=state, next="/hub/home")
    thief = makers.latch.browser()
    assert thief.open(link["url"]).status == 403
    assert browser.open(link["url"]).status == 200
    assert browser.user() == "boris"
