#!/usr/bin/env python3
"""A sample app for hublatch: a page with a button that opens a JupyterHub notebook.

What to copy is `issue_link`: one call from your server to hublatch for each click, and a redirect of the browser to the
link that comes back. The API key stays on your server. The link is a credential until it is used (30 seconds by
default): give it to nobody but the browser that asked, and write it into no log.

WHAT NOT TO COPY: this demo takes the user name from a form, so that you can try several. A real application takes it
from its own session. Whoever may choose the name may be anybody.

PORTAL_SEND=form shows the other way to hand the link over: by a form that the browser posts, so that the token stands in
no address, no history and no log of addresses. And with login.without_token = "redirect" of hublatch, whoever opens the
hub's own address comes here first, with a `state`: the link that is asked for with it works in that one browser only.

PORTAL_LAUNCH=1 adds a second button: hublatch starts the server, and the browser sees the progress of the start. hublatch
needs a token of the hub for that (docs/launch-and-api-only.md).

Settings, from the environment: HUBLATCH_API_URL, HUBLATCH_API_KEY (or HUBLATCH_API_KEY_FILE), PORTAL_LISTEN, PORTAL_NAME,
PORTAL_SEND ("link" or "form"), PORTAL_LAUNCH, PORTAL_USER (the name that stands in the form at first).
Python 3.9 or later, no other package.
"""
import base64
import hashlib
import json
import os
import sys
from html import escape
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

PAGE, SEND = (Template((Path(__file__).parent / name).read_text("utf-8")) for name in ("page.html", "send.html"))
FORM_BYTES_MAX = 16 * 1024
FIELDS = ("username", "server", "path")
LAUNCH = '<button name="launch" value="1" class="second">Start a server and watch it</button>'
CARRIED = ("state", "next")  # what hublatch sends a browser here with, given back with the link
# No script and nothing from elsewhere. No `form-action`: browsers apply it to the redirect as well, which leaves for the hub.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "strict-origin",  # hublatch may ask where a click came from (`origins` of an app)
    "X-Content-Type-Options": "nosniff",
}
# The one script there is presses the button of send.html; without script, a person does.
PRESS = "document.forms[0].submit()"
PRESS_HASH = base64.b64encode(hashlib.sha256(PRESS.encode()).digest()).decode()
SEND_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": HEADERS["Content-Security-Policy"] + f"; script-src 'sha256-{PRESS_HASH}'",
}


class LinkError(Exception):
    """No link was issued. `args` are: the sentence for the user, and hublatch's code for the reason."""


def issue_link(username, path="", server="", launch=False, **carried):
    """Asks hublatch for a link that logs `username` in and opens `path` in that user's server. Returns the URL.

    `launch`: hublatch starts the server itself. `carried` are the `state` and the `next` with which hublatch has sent the
    browser here: `next` then goes before `path`.
    """
    if carried.get("next"):
        wanted = {"username": username, **carried}
    else:
        wanted = {"username": username, "path": path, **({"server": server} if server else {}), **carried}
    answer = call_api("POST", "/api/v1/links", {**wanted, **({"launch": True} if launch else {})})
    try:
        return answer["url"]
    except (KeyError, TypeError) as error:
        raise LinkError("The login service does not answer. Try again in a minute.", "unreachable") from error


def call_api(method, path, body=None):
    """One call of hublatch's management API; its answer."""
    api = urlsplit(os.environ["HUBLATCH_API_URL"])
    # Not urllib.request: that would follow redirects, and obey http_proxy, with the key in hand.
    connection = (HTTPSConnection if api.scheme == "https" else HTTPConnection)(api.netloc, timeout=10)
    try:
        headers = {"Authorization": f"token {api_key()}", "Content-Type": "application/json"}
        connection.request(method, api.path.rstrip("/") + path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status in (200, 201):
            return answer
        message, code = answer["message"].rstrip("."), str(answer["code"])
    except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
        print(f"portal: {method} {path} at {api.netloc}: {type(error).__name__}: {error}", file=sys.stderr)
        raise LinkError("The login service does not answer. Try again in a minute.", "unreachable") from error
    print(f"portal: {method} {path} at {api.netloc}: {response.status} {code}: {message}", file=sys.stderr)
    if response.status == 401:
        raise LinkError("The login service does not accept this portal's key. Tell the people who run the portal.", code)
    raise LinkError(f"{message[:1].upper()}{message[1:]}.", code)


def api_key():
    """Reads the file on each call, so that a rotated key needs no restart."""
    file = os.environ.get("HUBLATCH_API_KEY_FILE")
    return (Path(file).read_text("ascii") if file else os.environ["HUBLATCH_API_KEY"]).strip()


class Portal(BaseHTTPRequestHandler):
    timeout = 30  # seconds a client may stay silent
    more = ""  # what stands below the form

    def do_GET(self):
        if urlsplit(self.path).path == "/":
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            self.page(200, {**first_form(), **{name: query[name] for name in CARRIED if name in query}})
        else:
            self.send_error(404)

    def do_POST(self):
        form = self.read_form()
        if form is None:
            return
        username = form.get("username", "").strip()  # DEMO ONLY: yours comes from your session
        server = form.get("server", "").strip() if form.get("kind") == "named" else ""
        # A path as one types it into an address bar: spaces and letters beyond ASCII are escaped, escapes are kept.
        path = quote(form.get("path", "").strip().lstrip("/"), safe="/%?&=:@;,+~!*'()$[]")
        try:
            if form.get("kind") == "named" and not server:
                raise LinkError("Type the name of the server, or choose the default one.", "invalid_server")
            # A real application would answer do_GET's redirect with this at once, if its user is logged in.
            carried = {name: form[name] for name in CARRIED if form.get(name)}
            self.send(issue_link(username, path or "lab", server, bool(form.get("launch")), **carried))
        except LinkError as error:
            self.page(400, form, *error.args)

    def read_form(self):
        """The fields of the form that our own page has sent; None if it has not, and that is answered then."""
        if not self.same_origin():
            return self.page(403, error="Another site sent this form. Press the button on this page instead.")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            return self.send_error(411)
        if int(length) > FORM_BYTES_MAX:
            return self.send_error(413)
        try:
            text = self.rfile.read(int(length)).decode("ascii")
            return {name: values[-1] for name, values in parse_qs(text, max_num_fields=10).items()}
        except ValueError:
            return self.send_error(400)

    def send(self, link):
        """Sends the browser to the link: by a redirect, or by a form with the link's parameters as fields."""
        if os.environ.get("PORTAL_SEND") != "form":
            return self.reply(303, {"Location": link})
        address, _, query = link.partition("?")
        field = '<input type="hidden" name="{}" value="{}">'.format
        fields = "".join(field(escape(name), escape(value)) for name, value in parse_qsl(query, keep_blank_values=True))
        page = SEND.substitute(name=name_of_portal(), action=escape(address), fields=fields, script=PRESS)
        self.reply(200, SEND_HEADERS, page.encode())

    def same_origin(self):
        """Whether our own page sent the form (no cross-site request forgery): by Fetch Metadata, else Origin, else no."""
        site, host = self.headers.get("Sec-Fetch-Site"), self.headers.get("Host")
        if site is not None:
            return site == "same-origin"
        return self.headers.get("Origin") in (f"http://{host}", f"https://{host}")

    def page(self, status, form=None, error="", code=""):
        """The form, with what was typed and what was wrong with it. Everything from outside is escaped here."""
        form = form or first_form()
        named = form.get("kind") == "named"
        blamed = next((name for name in FIELDS if name in code), "form")
        field = '<input type="hidden" name="{}" value="{}">'.format
        values = {
            "name": name_of_portal(),
            "carried": "".join(field(name, escape(form[name])) for name in CARRIED if form.get(name)),
            # Where the notebooks have sent somebody, they have chosen already where to go.
            "chosen": "hidden" if form.get("next") else "",
            "launch": LAUNCH if os.environ.get("PORTAL_LAUNCH") else "",
            "more": self.more,
            "title": "Error: " if error else "",
            "error": f'<p id="{blamed}-error" class="error" role="alert">{escape(error)}</p>' if error else "",
            "default": "" if named else "checked",
            "named": "checked" if named else "",
        }
        for name in FIELDS:
            values[name] = escape(form.get(name, ""))
            values[f"{name}_state"] = 'autofocus aria-invalid="true"' if name == blamed else ""
        if not error:
            values["username_state"] = "autofocus"
        self.reply(status, {"Content-Type": "text/html; charset=utf-8"}, PAGE.substitute(values).encode())

    def reply(self, status, headers, body=b""):
        self.send_response(status)
        for name, value in {**HEADERS, **headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET


def first_form():
    return {"path": "lab", "username": os.environ.get("PORTAL_USER", "")}


def name_of_portal():
    return escape(os.environ.get("PORTAL_NAME") or "Portal")


def main(handler=Portal):
    host, _, port = os.environ.get("PORTAL_LISTEN", "127.0.0.1:8002").rpartition(":")
    missing = [name for name in ("HUBLATCH_API_URL",) if not os.environ.get(name)]
    if not (os.environ.get("HUBLATCH_API_KEY") or os.environ.get("HUBLATCH_API_KEY_FILE")):
        missing.append("HUBLATCH_API_KEY or HUBLATCH_API_KEY_FILE")
    if missing:
        sys.exit(f"portal: not set in the environment: {', '.join(missing)}")
    with ThreadingHTTPServer((host, int(port)), handler) as server:
        print("portal: listening on http://{}:{}/".format(*server.server_address), file=sys.stderr, flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
