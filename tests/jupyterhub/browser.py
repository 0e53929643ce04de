"""A small browser: a cookie jar per path, redirects with every hop kept, and the Fetch Metadata of a navigation."""

import http.client
import json
import re
import ssl
import time
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from urllib.parse import quote, urlencode, urljoin, urlsplit

from processes import PATIENCE

USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) hublatch-tests"
WAITING = ("/hub/spawn-pending/", "/hub/hublatch/launch/")
NAVIGATION = {
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-User": "?1",
    "Upgrade-Insecure-Requests": "1",
}


class Response:
    def __init__(self, method, url, status, headers, body):
        self.method, self.url, self.status, self.headers, self.body = method, url, status, headers, body

    @property
    def path(self):
        """Path and query, as they stand in the address line."""
        return re.sub(r"^https?://[^/]+", "", self.url)

    @property
    def text(self):
        return self.body.decode(errors="replace")

    @property
    def json(self):
        return json.loads(self.body)

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def location(self):
        """Browsers take its bytes for UTF-8, where Python's reader takes them for Latin-1."""
        value = self.header("Location")
        return None if value is None else value.encode("latin-1").decode("utf-8", "replace")

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def __repr__(self):
        return f"<{self.method} {self.path} {self.status}>"


class Cookie:
    def __init__(self, line, default_path):
        pair, *attributes = line.split(";")
        self.name, _, self.value = pair.strip().partition("=")
        given = {key.strip().lower(): value.strip() for key, _, value in (a.partition("=") for a in attributes)}
        self.path = given["path"] if given.get("path", "").startswith("/") else default_path
        self.expired = is_over(given)

    def matches(self, path):
        # RFC 6265 § 5.1.4
        return path == self.path or path.startswith(self.path if self.path.endswith("/") else self.path + "/")


def is_over(attributes):
    # RFC 6265 § 5.3: Max-Age before Expires.
    if "max-age" in attributes:
        return int(attributes["max-age"]) <= 0
    expires = attributes.get("expires")
    return expires is not None and parsedate_to_datetime(expires).timestamp() < time.time()


class Browser:
    def __init__(self, origin):
        self.origin, self.jar, self.hops = origin, {}, []

    def open(self, url, method="GET", body=None, headers=(), redirects=20):
        """Goes to `url` as a click or a typed address does; the last page. Every hop is in `hops`."""
        self.hops = []
        headers = {"Sec-Fetch-Site": "none", **NAVIGATION, **dict(headers)}
        for _ in range(redirects):
            answer = self.request(method, url, body, headers)
            self.hops.append(answer)
            location = answer.location
            if answer.status not in (301, 302, 303, 307, 308) or location is None:
                return answer
            url = address(urljoin(answer.url, location))
            if answer.status in (301, 302, 303) and method != "HEAD":
                method, body = "GET", None
                headers = {key: value for key, value in headers.items() if key not in ("Content-Type", "Origin")}
        raise AssertionError(f"more than {redirects} redirects: {self.hops}")

    def open_server(self, url, seconds=PATIENCE, **options):
        """Like `open`, and waits on the page of a server that starts, the hub's or hublatch's, as without script."""
        page = self.open(url, **options)
        hops = self.hops
        deadline = time.monotonic() + seconds
        while page.status == 200 and any(kind in page.path for kind in WAITING):
            assert time.monotonic() < deadline, f"the server did not start in {seconds} s"
            time.sleep(0.3)
            page = self.open(page.url)
            hops = hops + self.hops
        self.hops = hops
        return page

    def press(self, page, headers=()):
        """Presses the button of the page's form, as a person does."""
        form = Form(page.text)
        assert form.action is not None, f"no form on {page!r}: {page.text[:500]}"
        return self.open(
            urljoin(page.url, form.action),
            method="POST",
            body=urlencode(form.fields).encode(),
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Origin": self.origin,
                "Sec-Fetch-Site": "same-origin",
                **dict(headers),
            },
        )

    def fetch(self, method, url, body=None, xsrf=True, headers=()):
        """What a script of the page sends; JSON if `body` is not bytes."""
        url = urljoin(self.origin, url)
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        sent = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Accept": "*/*"}
        token = self.cookie("_xsrf", urlsplit(url).path)
        if xsrf and token:
            sent["X-XSRFToken"] = token
        if method != "GET":
            sent["Origin"] = self.origin
        return self.request(method, url, body, {**sent, **dict(headers)})

    def request(self, method, url, body=None, headers=()):
        """One request with this browser's cookies; what the answer sets is kept. No redirect is followed."""
        url = address(urljoin(self.origin, url))
        connection = connect(url)
        try:
            send(connection, method, url, body, [*self._own(url), *dict(headers).items()])
            answer = connection.getresponse()
            response = Response(method, url, answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()
        self._keep(response)
        return response

    def user(self, base_url="/"):
        """Whom the hub takes this browser for; None if nobody."""
        answer = self.fetch("GET", f"{base_url}hub/api/user")
        return answer.json["name"] if answer.status == 200 else None

    def stream(self, url, headers=()):
        """The lines of a server-sent answer, each with the time at which it came."""
        url = urljoin(self.origin, url)
        connection = connect(url)
        try:
            sent = {"Accept": "text/event-stream", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
            send(connection, "GET", url, None, [*self._own(url), *sent.items(), *dict(headers).items()])
            answer = connection.getresponse()
            assert answer.status == 200, (answer.status, answer.read())
            for line in answer:
                yield time.monotonic(), line.decode().rstrip("\r\n")
        finally:
            connection.close()

    def _own(self, url):
        cookies = self.cookie_header(urlsplit(url).path)
        return [("User-Agent", USER_AGENT), *([("Cookie", cookies)] if cookies else [])]

    def _keep(self, response):
        default_path = urlsplit(response.url).path.rpartition("/")[0] or "/"
        for line in response.all("Set-Cookie"):
            cookie = Cookie(line, default_path)
            self.jar.pop((cookie.name, cookie.path), None)
            if not cookie.expired:
                self.jar[cookie.name, cookie.path] = cookie

    def cookie_header(self, path):
        # RFC 6265 § 5.4: longer paths first.
        matching = sorted((c for c in self.jar.values() if c.matches(path)), key=lambda c: -len(c.path))
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in matching)

    def cookie(self, name, path="/"):
        found = [c for c in self.jar.values() if c.name == name and c.matches(path)]
        return max(found, key=lambda c: len(c.path)).value if found else None


class Form(HTMLParser):
    """The first form of a page: where it goes and what it sends."""

    def __init__(self, text):
        super().__init__()
        self.action, self.fields, self._inside, self._done = None, [], False, False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "form" and not self._done:
            assert attributes.get("method", "get").lower() == "post"
            self.action, self._inside = attributes.get("action", ""), True
        elif tag in ("input", "button") and self._inside and attributes.get("name"):
            self.fields.append((attributes["name"], attributes.get("value", "")))

    def handle_endtag(self, tag):
        if tag == "form" and self._inside:
            self._inside, self._done = False, True


def address(url):
    """As browsers send it: without fragment, percent-encoded where not printable ASCII (the hub sends raw spaces)."""
    return quote(url.partition("#")[0], safe="!\"#$%&'()*+,/:;<=>?@[\\]^_`{|}~-.")


def encryption(url):
    """For https: any certificate will do, because what is tested is not who the front is."""
    if urlsplit(url).scheme not in ("https", "wss"):
        return None
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def connect(url):
    parts = urlsplit(url)
    if context := encryption(url):
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=PATIENCE, context=context)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)


def send(connection, method, url, body, headers):
    """Writes the head as given: names may come twice, paths stay byte for byte; Host is the address's if none is given."""
    target = re.sub(r"^https?://[^/]+", "", url) or "/"
    has_host = any(name == "Host" for name, _ in headers)
    connection.putrequest(method, target, skip_host=has_host, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)


def raw(method, url, headers=(), body=None):
    """One request without any browser: `headers` is a list of pairs."""
    connection = connect(url)
    try:
        send(connection, method, url, body, list(headers))
        answer = connection.getresponse()
        return Response(method, url, answer.status, answer.getheaders(), answer.read())
    finally:
        connection.close()
