"""Our own pages in Chromium: each of them, in every language, light and dark, on a desk and on a phone. The pictures are
in target/screenshots/pages. Before a stand-in for the hub, which fails as it is told to."""

import http.server
import json
import socket
import threading
import uuid

import pytest
from playwright.sync_api import expect, sync_playwright

from chromium import SCREENSHOTS, launch
from processes import PATIENCE, free_port, wait_until
from sample_app import FakeApi

LOGO = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40" width="40" height="40">
<style>circle { fill: #0f766e }</style><circle cx="20" cy="20" r="18"/></svg>"""

LOOKS = {
    "en-light-desktop": {"locale": "en-US", "color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "en-dark-phone": {"locale": "en-US", "color_scheme": "dark", "viewport": {"width": 360, "height": 740}},
    "de-light-phone": {"locale": "de-DE", "color_scheme": "light", "viewport": {"width": 360, "height": 740}},
    "fr-dark-desktop": {"locale": "fr-FR", "color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
}


class StandIn:
    """A hub as far as our pages go: knows the user of the cookie `who`, and does what its path says."""

    def __init__(self):
        self.held, self._release = held, released = threading.Event(), threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                path = self.path.partition("?")[0]
                cookies = self.headers.get("Cookie", "")
                if path == "/hub/api/user" and "who=" in cookies:
                    self.answer(200, json.dumps({"name": cookies.partition("who=")[2].partition(";")[0]}))
                elif path == "/hub/api/user" and "odd=" in cookies:
                    self.answer(int(cookies.partition("odd=")[2][:3]), "{}")
                elif path == "/hub/api/user":
                    self.answer(403, "{}")
                elif path == "/hub/logout" and "stays=" in cookies:
                    self.answer(500, "")
                elif path in ("/slow", "/held"):
                    if path == "/held":
                        held.set()
                    released.wait(600)
                    self.answer(200, "{}")
                elif path == "/hub/login" and "falls=" in cookies or path == "/falls":
                    self.close_connection = True
                else:
                    self.answer(200, "<title>hub</title>")

            def answer(self, status, body):
                self.send_response(status)
                self.send_header("Content-Type", "text/html" if body.startswith("<") else "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.public_url = "http://127.0.0.1:{}".format(self._server.server_address[1])
        self.base_url = "/"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self):
        self._release.set()
        self._server.shutdown()
        self._server.server_close()


class Places:
    """The addresses at which the pages stand."""

    def __init__(self, folder, start_hublatch, stand_in, key, app_url, denying_url):
        logo = folder / "logo.svg"
        logo.write_text(LOGO)
        self._pages = {"pages": {"name": "Physics Portal", "logo": str(logo)}, "login": {"app_url": app_url}}
        stand_in.key = key
        self.latch = self._start(start_hublatch, stand_in)
        self.hasty = self._start(start_hublatch, stand_in, limits={"upstream_head_timeout": "1s"})
        apps = [*self.latch._config["apps"], {"name": "exchanger", "exchange_url": f"{app_url}/login"}]
        self.strict = self._start(
            start_hublatch,
            stand_in,
            login={"without_token": "redirect", "require_state": True, "confirm": "always"},
            limits={"unknown_tokens_per_minute": 1},
            apps=apps,
        )
        self.asking = self._start(start_hublatch, stand_in, login={"confirm": "always"})
        self.exchanging = self._start(start_hublatch, stand_in, login={"confirm": "always"}, apps=apps)
        denied = {"name": "exchanger", "exchange_url": f"{denying_url}/login"}
        self.denying = self._start(start_hublatch, stand_in, apps=[*self.latch._config["apps"], denied])
        away = {"name": "exchanger", "exchange_url": f"http://127.0.0.1:{free_port()}/login"}
        self.unsure = self._start(start_hublatch, stand_in, apps=[*self.latch._config["apps"], away])
        self.busy = self._start(start_hublatch, stand_in, limits={"upstream_connections": 1, "upstream_queue": 0})
        self._stand_in, self._held = stand_in, None
        self.nowhere = self._start(start_hublatch, stand_in, hub={"url": f"http://127.0.0.1:{free_port()}"})

    def _start(self, start_hublatch, stand_in, login=None, **sections):
        changes = {**self._pages, **sections, "login": {**self._pages["login"], **(login or {})}}
        return start_hublatch(stand_in, changes)

    def _link(self, latch=None, username="alice", **fields):
        return (latch or self.latch).issue(username, next="/hub/home", **fields)["url"]

    def unknown(self, context):
        return f"{self.latch.url}/hub/login?login_token=hl_{'0' * 43}"

    def expired(self, context):
        link = self.latch.issue("alice", expires_in=1)
        wait_until(lambda: self.latch.status(link) == "expired", 60, "the link to expire")
        return link["url"]

    def used(self, context):
        link = self._link()
        context.request.get(link)
        return link

    def revoked(self, context):
        link = self.latch.issue("alice", next="/hub/home")
        self.latch.manage("DELETE", f"/api/v1/links/{link['id']}")
        return link["url"]

    def not_allowed(self, context):
        return f"{self.denying.url}/hub/login?login_token=a-token-{uuid.uuid4()}"

    def bound(self, context):
        return self._link(state="A" * 43)

    def needs_state(self, context):
        return f"{self.strict.url}/hub/login?login_token=a-token-of-the-apps-own"

    def required(self, context):
        return f"{self.latch.url}/hub/login"

    def hub_unavailable(self, context):
        return self._link(self.nowhere)

    def _odd(self, context, status):
        context.add_cookies([{"name": "odd", "value": str(status), "url": self.latch.url}])
        return self._link()

    def hub_busy(self, context):
        return self._odd(context, 429)

    def hub_unexpected(self, context):
        return self._odd(context, 404)

    def too_many_cookies(self, context):
        return self._odd(context, 431)

    def confirmation_unverified(self, context):
        form = (
            f"<form method=post action='{self.asking.url}/hub/login'><input type=hidden name=hublatch_form value=confirm>"
            f"<input type=hidden name=login_token value='hl_{'0' * 43}'><button>Continue</button></form>"
        )
        context.route("http://app.localhost/", lambda route: route.fulfill(content_type="text/html", body=form))
        return "http://app.localhost/"

    def exchange_failed(self, context):
        return f"{self.unsure.url}/hub/login?login_token=a-token-{uuid.uuid4()}"

    def unavailable(self, context):
        if self._held is None:
            # The one connection to the hub is taken from now on.
            host = self.busy.url.removeprefix("http://")
            name, _, port = host.partition(":")
            self._held = socket.create_connection((name, int(port)), PATIENCE)
            self._held.sendall(f"GET /held HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert self._stand_in.held.wait(PATIENCE)
        return f"{self.busy.url}/hub/home"

    def bad_gateway(self, context):
        return f"{self.latch.url}/falls"

    def gateway_timeout(self, context):
        return f"{self.hasty.url}/slow"

    def login_failed(self, context):
        context.add_cookies([{"name": "falls", "value": "1", "url": self.latch.url}])
        return self._link()

    def logout_failed(self, context):
        context.add_cookies([{"name": name, "value": "bob", "url": self.latch.url} for name in ("who", "stays")])
        return self._link()

    def too_many_tries(self, context):
        for _ in range(2):
            context.request.get(f"{self.strict.url}/hub/login?login_token=hl_{'0' * 43}")
        return f"{self.strict.url}/hub/login?login_token=hl_{'0' * 43}"

    def rejected(self, context):
        return f"{self.latch.url}/hub/login?login_token=a&login_token=b"

    def confirm(self, context):
        return self._link(self.asking)

    def unnamed(self, context):
        return f"{self.exchanging.url}/hub/login?login_token=a-token-of-the-apps-own"

    def switch(self, context):
        context.add_cookies([{"name": "who", "value": "bob", "url": self.latch.url}])
        return self._link()


# The status and the code of each, as at the head of src/pages/page.rs.
PAGES = {
    "unknown": (403, "link_unknown"),
    "expired": (403, "link_expired"),
    "used": (403, "link_used"),
    "revoked": (403, "link_revoked"),
    "not_allowed": (403, "link_not_allowed"),
    "bound": (403, "link_bound"),
    "needs_state": (403, "link_needs_state"),
    "required": (403, "link_required"),
    "hub_unavailable": (503, "hub_unavailable"),
    "hub_busy": (503, "hub_busy"),
    "hub_unexpected": (502, "hub_unexpected"),
    "too_many_cookies": (431, "too_many_cookies"),
    "confirmation_unverified": (403, "confirmation_unverified"),
    "exchange_failed": (503, "exchange_failed"),
    "unavailable": (503, "unavailable"),
    "bad_gateway": (502, "bad_gateway"),
    "gateway_timeout": (504, "gateway_timeout"),
    "login_failed": (503, "login_failed"),
    "logout_failed": (503, "logout_failed"),
    "too_many_tries": (429, "too_many_tries"),
    "rejected": (400, "bad_login_query"),
    "confirm": (200, None),
    "unnamed": (200, None),
    "switch": (200, None),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory, start_hublatch, hub):
    stand_in, app, denying = StandIn(), FakeApi(), FakeApi()
    denying.answer = 200, {"name": "admin"}
    yield Places(tmp_path_factory.mktemp("pages"), start_hublatch, stand_in, hub.key, app.url, denying.url)
    app.stop()
    denying.stop()
    stand_in.stop()


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_looks_as_it_should(name, places, chromium):
    status, code = PAGES[name]
    titles = set()
    for look, options in LOOKS.items():
        context = chromium.new_context(**options)
        page = context.new_page()
        refused = []
        page.on("console", lambda message: refused.append(message.text) if "Content Security Policy" in message.text else None)
        url = getattr(places, name)(context)
        if name in ("logout_failed", "confirmation_unverified"):
            page.goto(url)
            with page.expect_navigation() as navigation:
                page.locator("form button").click()
            answer = navigation.value
        else:
            answer = page.goto(url)
        assert answer.status == status, page.inner_text("body")
        assert page.locator("html").get_attribute("lang") == look[:2]
        titles.add(page.inner_text("h1"))
        expect(page.locator("footer")).to_have_count(1)
        if code:
            expect(page.locator("footer")).to_contain_text(f"{status}, {code}")
        # Nothing is refused, the logo and the style are there, and nothing has to be scrolled sideways.
        assert not refused
        assert page.evaluate("document.images[0].naturalWidth") > 0
        assert page.evaluate("getComputedStyle(document.querySelector('main')).borderRadius") == "16px"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        picture = SCREENSHOTS / "pages" / f"{name}-{look}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=picture, animations="disabled", full_page=True)
        context.close()
    assert len(titles) == 3, titles
