"""A client of hublatch's management API, in Python's standard library. Copy this file into your application.

    latch = Hublatch("http://127.0.0.1:8010", key)
    link = latch.link("alice", path="lab", server="gpu", launch=True)
    # redirect the browser to link["url"] at once; or, first, tell your own page how the server starts:
    for event in latch.progress(link):
        print(event["progress"], event["message"])

Call it from your server, never from a browser. A link is a credential until it is used: give it to nobody but the
browser that asked, and write it into no log. Python 3.9 or later.

As a program it does the same:
HUBLATCH_API_URL=... HUBLATCH_API_KEY_FILE=... python3 hublatch.py alice --path lab --launch
"""

import argparse
import json
import os
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

ANSWER_BYTES_MAX = 8 * 1024 * 1024


class HublatchError(Exception):
    """No. `code` is a word to act upon, `status` of HTTP (0: no answer), `retry_after` seconds to wait, if told."""

    def __init__(self, status, code, message, retry_after=None):
        super().__init__(f"{message} ({status}, {code})" if status else message)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after


class Hublatch:
    """One application's access. It holds no connection, so threads may share it."""

    def __init__(self, url, key, timeout=30):
        self._url, self._key, self._timeout = urlsplit(url), key.strip(), timeout
        if self._url.scheme not in ("http", "https") or not self._url.netloc:
            raise HublatchError(0, "invalid_url", f"{url}: hublatch's address must begin with http:// or https://")

    def link(self, username, **order):
        """Issues a link: `path`, `server`, `next`, `expires_in`, `launch` and the other fields of openapi.yaml.

        With `launch=True`, or a dict of user options, the user and the server are there or on their way when this comes
        back: `link["server"]["ready"]` says which.
        """
        return self._json("POST", "/api/v1/links", {"username": username, **order})

    def links(self, orders):
        """Issues many links, all or none: each order is a dict with a `username`."""
        return self._json("POST", "/api/v1/links/batch", {"links": orders})["links"]

    def status(self, link):
        """Where a link stands: "pending", "used", "expired" or "revoked"."""
        return self._json("GET", f"/api/v1/links/{link['id']}")["status"]

    def revoke(self, link):
        """Makes a link dead."""
        self._json("DELETE", f"/api/v1/links/{link['id']}")

    def progress(self, link):
        """Yields what the hub tells of a launch, until an event has `ready` or `failed`."""
        connection, answer = self._open("GET", link["server"]["progress_url"])
        try:
            for line in answer:
                # Server-sent events: one line of data each; lines without are signs of life.
                if line.startswith(b"data:"):
                    yield json.loads(line[5:])
        except (OSError, HTTPException) as error:
            raise HublatchError(0, "broken_off", f"the progress broke off: {error}") from error
        finally:
            connection.close()

    def _json(self, method, path, body=None):
        connection, answer = self._open(method, path, body)
        try:
            return json.loads(answer.read(ANSWER_BYTES_MAX) or "null")
        except ValueError as cause:
            raise self._unreadable(answer.status) from cause
        finally:
            connection.close()

    def _open(self, method, path, body=None):
        # Not urllib.request: that would follow redirects, and obey http_proxy, with the key in hand.
        kind = HTTPSConnection if self._url.scheme == "https" else HTTPConnection
        connection = kind(self._url.netloc, timeout=self._timeout)
        headers = {"Authorization": f"token {self._key}", "Content-Type": "application/json"}
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, self._url.path.rstrip("/") + path, data, headers)
            answer = connection.getresponse()
            if answer.status < 300:
                return connection, answer
            refused = answer.read(ANSWER_BYTES_MAX)
        except (OSError, HTTPException, ValueError) as cause:
            connection.close()
            raise HublatchError(0, "unreachable", f"no answer of hublatch at {self._url.netloc}: {cause}") from cause
        connection.close()
        try:
            refused, wait = json.loads(refused), answer.headers.get("Retry-After")
            error = HublatchError(answer.status, refused["code"], refused["message"], int(wait) if wait else None)
        except (ValueError, KeyError, TypeError):
            error = self._unreadable(answer.status)
        raise error

    def _unreadable(self, status):
        """Something else than hublatch answers there."""
        message = f"no word of hublatch; is {self._url.geturl()} the management address?"
        return HublatchError(status, "unreadable", message)


def main():
    parser = argparse.ArgumentParser(description="Prints a login link; with --launch also how the server starts.")
    parser.add_argument("username")
    parser.add_argument("--path")
    parser.add_argument("--server")
    parser.add_argument("--launch", action="store_true")
    order = {name: value for name, value in vars(parser.parse_args()).items() if value}
    url, file = os.environ.get("HUBLATCH_API_URL"), os.environ.get("HUBLATCH_API_KEY_FILE")
    key = os.environ.get("HUBLATCH_API_KEY")
    if not url or not (file or key):
        sys.exit("hublatch: set HUBLATCH_API_URL, and HUBLATCH_API_KEY_FILE or HUBLATCH_API_KEY")
    try:
        if file:
            with open(file, encoding="ascii") as opened:
                key = opened.read()
    except (OSError, ValueError) as error:
        sys.exit(f"hublatch: HUBLATCH_API_KEY_FILE: {error}")
    try:
        latch = Hublatch(url, key)
        link = latch.link(order.pop("username"), **order)
        print(link["url"], flush=True)
        for event in latch.progress(link) if "server" in link else ():
            print(f"{event['progress']:3} % {event['message']}", file=sys.stderr, flush=True)
            if event.get("failed"):
                sys.exit(1)
    except HublatchError as error:
        sys.exit(f"hublatch: {error}")


if __name__ == "__main__":
    main()
