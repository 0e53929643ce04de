"""The sample app as a process, the management API that it calls, and what its page holds."""

import http.server
import json
import re
import sys
import threading
from html.parser import HTMLParser
from urllib.parse import urlencode

from browser import raw
from processes import PATIENCE, ROOT, Process, wait_until

PORTAL = ROOT / "examples/portal/portal.py"
KEY = "hk_" + "k" * 43
LINK = "http://127.0.0.1:8000/hub/login?login_token=hl_" + "t" * 43
FORM = "application/x-www-form-urlencoded"


class FakeApi:
    """hublatch's management API as far as the portal sees it: keeps each request, gives the answer it was told to give."""

    def __init__(self):
        self.requests, self.answer = [], (201, {"url": LINK})
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                api.requests.append((self.path, dict(self.headers), json.loads(body)))
                status, answer = api.answer
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Location", api.url + "/elsewhere")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def refuse(self, status, code, message):
        self.answer = status, {"status": status, "message": message, "code": code}

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Portal:
    def __init__(self, folder, **settings):
        env = {"PORTAL_LISTEN": "127.0.0.1:0", "HUBLATCH_API_KEY": KEY, **settings}
        self.process = Process("portal", folder, [sys.executable, PORTAL], env)
        self.url = wait_until(self._address, PATIENCE, "the portal to listen").rstrip("/")

    def _address(self):
        assert self.process.exit_code() is None, self.process.log
        found = re.search(r"listening on (\S+)", self.process.log)
        return found and found[1]

    def get(self, path="/"):
        return raw("GET", self.url + path)

    def post(self, form, headers=None):
        """Presses the button; `headers` are those by which a browser says where the form came from."""
        sent = {"Origin": self.url, "Sec-Fetch-Site": "same-origin"} if headers is None else headers
        return raw("POST", self.url + "/", [("Content-Type", FORM), *sent.items()], urlencode(form).encode())


class Fields(HTMLParser):
    """The inputs of a page, and what labels them."""

    def __init__(self, text):
        super().__init__()
        self.inputs, self.radios, self.labels_for, self.radios_in_label, self.legends = {}, {}, set(), set(), 0
        self._in_label = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "label":
            self._in_label = True
            if "for" in attributes:
                self.labels_for.add(attributes["for"])
        elif tag == "legend":
            self.legends += 1
        elif tag == "input" and attributes.get("type") == "radio":
            self.radios[attributes["value"]] = attributes
            if self._in_label:
                self.radios_in_label.add(attributes["value"])
        elif tag == "input":
            self.inputs[attributes["name"]] = attributes

    def handle_endtag(self, tag):
        if tag == "label":
            self._in_label = False
