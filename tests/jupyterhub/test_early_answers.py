"""A page of Chromium sends a large body to what answers before it has read it: it gets the status each time, and never
"Failed to fetch" (RFC 9112 § 9.6). Whoever has made the answer: hublatch, or the hub behind it; over HTTP/1.1, in the clear
and over TLS."""

import http.server
import subprocess
import threading
from collections import Counter

import pytest
from playwright.sync_api import sync_playwright

from chromium import CHROMIUM, PATIENCE, QUIET
from processes import free_port

TIMES = 10
BODY_BYTES = 16 * 1024 * 1024
TORNADO_TAKES = 100 * 1024 * 1024

# One after the other, each over whatever connection the browser has.
SEND = """async ({ path, times, bytes, type }) => {
  const body = new Blob([new Uint8Array(bytes)], { type });
  const seen = [];
  for (let sent = 0; sent < times; sent += 1) {
    try {
      const answer = await fetch(path, { method: "POST", body, cache: "no-store" });
      seen.push(`${answer.status} ${(await answer.text()).length > 0}`);
    } catch (error) {
      seen.push(String(error));
    }
  }
  return seen;
}"""


class Behind(http.server.BaseHTTPRequestHandler):
    """A hub that has heard enough after the first bytes of a body, and one that then says nothing at all."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200, b"<!doctype html><title>a page</title>")

    def do_POST(self):
        self.close_connection = True
        self.rfile.read(64 * 1024)
        if self.path == "/hub/dead":
            return
        self.answer(int(self.path.rpartition("/")[2]), b"no")
        # It goes on to read, as servers do that take care of this; Python's would close at once.
        while self.rfile.read1(1024 * 1024):
            pass

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "text/html")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def behind():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Behind)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module", params=["http", "https"])
def latch(request, hub, behind, start_hublatch, tmp_path_factory):
    changes = {"hub": {"url": behind}}
    if request.param == "https":
        folder = tmp_path_factory.mktemp("tls")
        certificate, key = folder / "tls.pem", folder / "tls.key"
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1"
        subprocess.run([*command.split(), "-out", certificate, "-keyout", key], check=True, capture_output=True)
        listen = f"127.0.0.1:{free_port()}"
        changes["public"] = {"listen": listen, "url": f"https://{listen}"}
        changes["public.tls"] = {"certificate": str(certificate), "private_key": str(key)}
    return start_hublatch(hub, changes)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=[*QUIET, "--disable-http2"], timeout=PATIENCE
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(browser, latch):
    page = browser.new_context(ignore_https_errors=True).new_page()
    page.goto(f"{latch.url}/hub/page")
    assert page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "http/1.1"
    yield page
    page.context.close()


@pytest.mark.parametrize(
    ("path", "status"),
    [("/hub/login", 413), ("/hub/dead", 502), ("/hub/413", 413), ("/hub/403", 403), ("/hub/502", 502)],
    ids=["our 413", "our 502", "the hub's 413", "the hub's 403", "the hub's 502"],
)
def test_a_page_that_sends_much_gets_the_status_each_time(page, path, status):
    order = {"path": path, "times": TIMES, "bytes": BODY_BYTES, "type": "application/x-www-form-urlencoded"}
    assert Counter(page.evaluate(SEND, order)) == {f"{status} true": TIMES}


def test_a_page_that_sends_more_than_the_real_hub_takes_gets_its_status_each_time(hub, start_hublatch, browser):
    """Tornado answers in a word and closes, without a look at the rest."""
    latch = start_hublatch(hub, {"hub": {"url": hub.internal_url}})
    page = browser.new_page()
    page.goto(latch.issue("nora", next="/hub/home")["url"])
    order = {"path": "/hub/api/users", "times": TIMES, "bytes": TORNADO_TAKES + 1, "type": "application/json"}
    assert Counter(page.evaluate(SEND, order)) == {"400 false": TIMES}
    page.close()
