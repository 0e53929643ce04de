"""A client of hublatch's management API, for applications; nothing but Python's standard library, 3.9 or later.

    latch = Hublatch("http://127.0.0.1:8010", key)
    link = latch.link("alice", path="lab", server="gpu", launch=True)
    # redirect the browser to link["url"] at once; or, first, tell your own page how the server starts:
    for event in latch.progress(link):
        print(event["progress"], event["message"])

Call it from your server, never from a browser. A link is a credential until it is used: give it to nobody but the
browser that asked, and write it into no log.
"""

import json
import os
import secrets
import socket
import ssl
import time
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple
from urllib.parse import quote, urlsplit

__all__ = ["Hublatch", "HublatchError"]

ANSWER_BYTES_MAX = 8 * 1024 * 1024
# The longest wait that a retry takes upon itself; whoever is told to wait longer decides that for themselves.
WAIT_SECONDS_MAX = 5.0
# hublatch or the hub is not there for a moment. What they mean is in docs/errors.md.
PASSING = {"store_unavailable", "hub_unavailable", "hub_timeout", "rate_limited", "no_randomness", "unreachable"}


class HublatchError(Exception):
    """No.

    `code` is a word to act upon, `status` that of HTTP (0: no answer), `field` what is at fault, `doc_url` where the code is
    explained (a path of the API), `request_id` by what the operator finds the call, `retry_after` seconds to wait, if told.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        retry_after: Optional[int] = None,
        field: Optional[str] = None,
        doc_url: Optional[str] = None,
        request_id: Optional[str] = None,
    ):
        super().__init__(f"{message} ({status}, {code})" if status else message)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after
        self.field, self.doc_url, self.request_id = field, doc_url, request_id


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, timeout: float):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Hublatch:
    """One application's access. It holds no connection, so threads may share it.

    `url` is the management address: `http://…`, `https://…` or `unix:/path`. With https, `ca_file` names the authorities to
    trust (PEM; else the system's), and `certificate` a pair of files (certificate, key) where hublatch wants one of yours.
    `retries`: how often a call is made again that found hublatch or the hub away for a moment. Nothing is done twice by that.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout: float = 30,
        ca_file: Optional[str] = None,
        certificate: Optional[Tuple[str, str]] = None,
        retries: int = 2,
    ):
        self._url, self._key, self._timeout, self._retries = urlsplit(url), key.strip(), timeout, retries
        is_socket = self._url.scheme == "unix" and self._url.path.startswith("/")
        if not is_socket and (self._url.scheme not in ("http", "https") or not self._url.netloc):
            wanted = "hublatch's address must begin with http://, https:// or unix:/"
            raise HublatchError(0, "invalid_url", f"{url}: {wanted}")
        self._tls = None
        if self._url.scheme == "https":
            self._tls = ssl.create_default_context(cafile=ca_file)
            if certificate:
                self._tls.load_cert_chain(*certificate)

    @classmethod
    def from_environment(cls, **options: Any) -> "Hublatch":
        """By HUBLATCH_API_URL, and HUBLATCH_API_KEY_FILE or HUBLATCH_API_KEY."""
        url, file = os.environ.get("HUBLATCH_API_URL"), os.environ.get("HUBLATCH_API_KEY_FILE")
        key = os.environ.get("HUBLATCH_API_KEY")
        if not url or not (file or key):
            wanted = "set HUBLATCH_API_URL, and HUBLATCH_API_KEY_FILE or HUBLATCH_API_KEY"
            raise HublatchError(0, "not_configured", wanted)
        try:
            if file:
                with open(file, encoding="ascii") as opened:
                    key = opened.read()
        except (OSError, ValueError) as error:
            raise HublatchError(0, "not_configured", f"HUBLATCH_API_KEY_FILE: {error}") from error
        return cls(url, key or "", **options)

    def link(self, username: str, *, idempotency_key: Optional[str] = None, **order: Any) -> Dict[str, Any]:
        """Issues a link: `path`, `server`, `next`, `expires_in`, `launch` and the other fields of openapi.yaml.

        With `launch=True`, or a dict of user options, the user and the server are there or on their way when this comes
        back: `link["server"]["ready"]` says which. `idempotency_key`: one of your own, to make a call again that another
        process has begun; without it each call has one, so that a retry issues no second link.
        """
        headers = {"Idempotency-Key": idempotency_key or secrets.token_urlsafe(24)}
        issued: Dict[str, Any] = self._json("POST", "/api/v1/links", {"username": username, **order}, headers, repeatable=True)
        return issued

    def links(self, orders: Iterable[Dict[str, Any]]) -> List[Dict[str, Any]]:
        """Issues many links, all or none: each order is a dict with a `username`. Never made again by itself."""
        issued: List[Dict[str, Any]] = self._json("POST", "/api/v1/links/batch", {"links": list(orders)})["links"]
        return issued

    def read(self, link: Dict[str, Any]) -> Dict[str, Any]:
        """All that is known of a link, but its token."""
        found: Dict[str, Any] = self._json("GET", _path("links", link["id"]), repeatable=True)
        return found

    def status(self, link: Dict[str, Any]) -> str:
        """Where a link stands: "pending", "used", "expired" or "revoked"."""
        return str(self.read(link)["status"])

    def revoke(self, link: Dict[str, Any]) -> None:
        """Makes a link dead."""
        self._json("DELETE", _path("links", link["id"]), repeatable=True)

    def revoke_user(self, username: str) -> int:
        """Makes all links dead that wait for a user; how many those were."""
        return int(self._json("DELETE", _path("users", username, "links"), repeatable=True)["revoked"])

    def end_sessions(self, username: str) -> int:
        """Ends all browser sessions of a user (scope `end`); how many those were."""
        return int(self._json("DELETE", _path("users", username, "sessions"), repeatable=True)["ended"])

    def verify(self, hub_token: str) -> Optional[Dict[str, Any]]:
        """Whose a hub API token is: `name`, `kind`, `groups`, `scopes`; None if the hub does not know it."""
        try:
            owner: Dict[str, Any] = self._json("POST", "/api/v1/verify", {"token": hub_token}, repeatable=True)
            return owner
        except HublatchError as error:
            if error.code == "unknown":
                return None
            raise

    def progress(self, link: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
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

    def _json(
        self,
        method: str,
        path: str,
        body: Optional[Dict[str, Any]] = None,
        headers: Optional[Dict[str, str]] = None,
        *,
        repeatable: bool = False,
    ) -> Any:
        left = self._retries if repeatable else 0
        wait = 0.1
        while True:
            try:
                return self._once(method, path, body, headers)
            except HublatchError as error:
                wait = max(wait, error.retry_after or 0)
                if left == 0 or error.code not in PASSING or wait > WAIT_SECONDS_MAX:
                    raise
            time.sleep(wait)
            left, wait = left - 1, wait * 3

    def _once(self, method: str, path: str, body: Optional[Dict[str, Any]], headers: Optional[Dict[str, str]]) -> Any:
        connection, answer = self._open(method, path, body, headers)
        try:
            return json.loads(answer.read(ANSWER_BYTES_MAX) or "null")
        except (OSError, HTTPException) as cause:
            raise self._unreachable(cause) from cause
        except ValueError as cause:
            raise self._unreadable(answer.status) from cause
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        # Not urllib.request: that would follow redirects, and obey http_proxy, with the key in hand.
        if self._url.scheme == "unix":
            return _UnixConnection(self._url.path, self._timeout)
        if self._tls:
            return HTTPSConnection(self._url.netloc, timeout=self._timeout, context=self._tls)
        return HTTPConnection(self._url.netloc, timeout=self._timeout)

    def _open(
        self,
        method: str,
        path: str,
        body: Optional[Dict[str, Any]] = None,
        headers: Optional[Dict[str, str]] = None,
    ) -> Tuple[HTTPConnection, HTTPResponse]:
        connection = self._connection()
        sent = {"Authorization": f"token {self._key}", "Content-Type": "application/json", **(headers or {})}
        before = "" if self._url.scheme == "unix" else self._url.path.rstrip("/")
        try:
            connection.request(method, before + path, None if body is None else json.dumps(body), sent)
            answer = connection.getresponse()
            if answer.status < 300:
                return connection, answer
            refused = answer.read(ANSWER_BYTES_MAX)
        except (OSError, HTTPException, ValueError) as cause:
            connection.close()
            raise self._unreachable(cause) from cause
        connection.close()
        try:
            told, wait = json.loads(refused), answer.headers.get("Retry-After")
            error = HublatchError(
                answer.status,
                told["code"],
                told["message"],
                int(wait) if wait else None,
                told.get("field"),
                told.get("doc_url"),
                answer.headers.get("X-Request-Id"),
            )
        except (ValueError, KeyError, TypeError):
            error = self._unreadable(answer.status)
        raise error

    def _unreachable(self, cause: Exception) -> HublatchError:
        place = self._url.netloc or self._url.path
        return HublatchError(0, "unreachable", f"no answer of hublatch at {place}: {cause}")

    def _unreadable(self, status: int) -> HublatchError:
        """Something else than hublatch answers there."""
        message = f"no word of hublatch; is {self._url.geturl()} the management address?"
        return HublatchError(status, "unreadable", message)


def _path(*segments: str) -> str:
    return "/api/v1/" + "/".join(quote(segment, safe="") for segment in segments)
