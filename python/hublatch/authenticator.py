"""Logs in the user whom hublatch proves by a signed assertion, and nobody else.

A part of the package `hublatch`, and whole by itself: `hublatch init` writes it as hublatch_authenticator.py, to be put
on the hub's Python path (JupyterHub 4.1 to 6.1; it needs no package that a hub lacks). A bare identity header is worth nothing here: a notebook can send one straight to
the hub's port, but only hublatch can sign. The assertion is a compact JWT (RFC 7519), EdDSA over Ed25519 (RFC 8037).
"""

from __future__ import annotations

import base64
import json
import os
import re
import time

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jupyterhub.auth import Authenticator
from jupyterhub.handlers import LoginHandler
from jupyterhub.handlers.base import SESSION_COOKIE_NAME
from tornado import web
from traitlets import Bool, Integer, TraitError, Unicode

ISSUER = "hublatch"
ASSERTION_BYTES_MAX = 12 * 1024  # below configurable-http-proxy's 16 KiB for a whole head
KEY_FILE_BYTES_MAX = 64 * 1024
REMEMBERED_JTI_MAX = 100_000

PAGE_NO_LINK = (
    "This JupyterHub is entered by a link from your application. Please go back to the application and open a new link."
)
PAGE_NOT_PROVEN = (
    "Your login could not be confirmed. Please go back to your application and open a new link. "
    "If that does not help, tell the administrator of this JupyterHub: its log names the reason."
)
PAGE_NOT_ALLOWED = "You are not allowed to use this JupyterHub. Please ask its administrator for access."


class Refused(Exception):
    """Why an assertion admits nobody: text for the log, never holding what the peer sent."""


class HublatchLoginHandler(LoginHandler):
    """The hub's login page, except that an assertion counts even when somebody is logged in already."""

    async def get(self):
        if self.current_user and self.authenticator.assertion_header not in self.request.headers:
            return await super().get()
        user = await self.login_user()
        if user is None:
            raise web.HTTPError(403, PAGE_NOT_ALLOWED)
        self.redirect(self.get_next_url(user))

    def set_login_cookie(self, user):
        # Another user, or nobody until now: end the old session and start one with a new id. A kept id would leave
        # the earlier user's server within reach of this browser, and would honour an id that somebody planted.
        current = self.get_current_user_cookie()
        if current is None or current.id != user.id:
            self.clear_login_cookie()
            for name in (self.hub.cookie_name, SESSION_COOKIE_NAME, "_xsrf"):
                self.request.cookies.pop(name, None)
        super().set_login_cookie(user)


class HublatchAuthenticator(Authenticator):
    """Admits the `sub` of a hublatch assertion, within the hub's own allow and block lists."""

    auto_login = Bool(True, config=True, help="Log in from the request itself; there is no login form.")
    public_key_file = Unicode(
        "",
        config=True,
        help="""PEM file with hublatch's Ed25519 public key (`hublatch init` writes assertion.pub.pem).

        While keys rotate it may hold several, one PEM block each. It is read again whenever it changes.
        """,
    )
    audience = Unicode("jupyterhub", config=True, help="The `aud` to demand; hublatch's `assertion.audience`.")
    assertion_header = Unicode(
        "X-Hublatch-Assertion", config=True, help="Header with the assertion; hublatch's `assertion.header`."
    )
    user_header = Unicode(
        "REMOTE_USER",
        config=True,
        help="""Header with the user's name; hublatch's `login.user_header`.

        Where it is present it must equal the assertion's `sub`. It never logs anybody in by itself.
        """,
    )
    leeway = Integer(
        5, min=0, max=60, config=True, help="How far the clocks of hublatch and the hub may differ, in seconds."
    )
    max_lifetime = Integer(
        30, min=1, max=300, config=True, help="The longest life (`exp` - `iat`) to accept of an assertion, in seconds."
    )

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._keys = PublicKeys(self.public_key_file)
        self._remembered = {}  # jti -> when to forget it; the hub is one process, so one dict sees every login
        self._started_at = int(time.time())

    def get_handlers(self, app):
        return [("/login", HublatchLoginHandler)]

    async def authenticate(self, handler, data=None):
        request = handler.request
        # POST /hub/api/users/NAME/tokens asks authenticators too; an assertion is for the login page alone.
        if request.method != "GET" or request.path != handler.settings["login_url"]:
            return None
        try:
            grant = self._verify(request.headers)
        except Refused as refused:
            self.log.warning("hublatch: refused a login from %s: %s", request.remote_ip, refused)
            page = PAGE_NOT_PROVEN if self.assertion_header in request.headers else PAGE_NO_LINK
            raise web.HTTPError(403, page) from None

        groups = grant.get("groups", [])
        auth_state = {key: grant[key] for key in ("jti", "iat", "exp")}
        auth_state.update(groups=groups, claims=grant.get("claims", {}))
        # No "admin" here: who is an admin is the hub's configuration alone.
        user = {"name": grant["sub"], "auth_state": auth_state}
        if self.manage_groups:
            user["groups"] = groups
        return user

    def _verify(self, headers):
        """The claims of the request's assertion, every one of them checked and its `jti` used up; or Refused."""
        lines = headers.get_list(self.assertion_header)
        if len(lines) != 1:
            bare = " (an identity header alone does not count)" if self.user_header in headers else ""
            raise Refused(f"{len(lines)} assertion headers instead of one{bare}")
        claims = read_assertion(lines[0], self._keys.current(self.log))
        self._check_times(claims)
        if claims.get("iss") != ISSUER or claims.get("aud") != self.audience:
            raise Refused("issuer or audience is not ours")
        self._check_name(claims.get("sub"), headers.get_list(self.user_header))
        check_extras(claims)
        self._use_up(claims.get("jti"))
        return claims

    def _check_times(self, claims):
        issued, expires, now = claims.get("iat"), claims.get("exp"), time.time()
        if type(issued) is not int or type(expires) is not int:
            raise Refused("iat or exp is missing or not a whole number")
        if not 0 < expires - issued <= self.max_lifetime:
            raise Refused(f"its life is not between 1 and {self.max_lifetime} seconds")
        if issued > now + self.leeway:
            raise Refused("issued in the future; compare the clocks of hublatch and the hub")
        if now >= expires + self.leeway:
            raise Refused("expired; if this happens often, compare the clocks of hublatch and the hub")
        # What was used before a restart is no longer remembered, so nothing from before the restart counts.
        if issued < self._started_at:
            raise Refused("issued before this hub started")

    def _check_name(self, name, identity_lines):
        if not isinstance(name, str):
            raise Refused("sub is missing or not a text")
        # A comma is how proxies join two headers into one, the others end badly in paths, logs and encodings.
        if re.search(r"[\s\x00-\x1f\x7f,/\\\ud800-\udfff]|^\.*$", name):
            raise Refused("the name is empty, only dots, or has a character that is not allowed in names")
        # Header bytes arrive decoded as Latin-1 (tornado); the assertion is UTF-8. Compare the bytes.
        if identity_lines and [line.encode("latin-1", "replace") for line in identity_lines] != [name.encode()]:
            raise Refused(f"{self.user_header} is not the assertion's sub")
        if self.normalize_username(name) != name or not self.validate_username(name):
            raise Refused("the name is not in the form that this hub gives to names")

    def _use_up(self, jti):
        if not isinstance(jti, str) or not 1 <= len(jti) <= 256:
            raise Refused("jti is missing or not a text of 1 to 256 characters")
        now = time.monotonic()
        # All are remembered equally long, so the first of the dict is always the next to forget.
        while self._remembered:
            oldest = next(iter(self._remembered))
            if self._remembered[oldest] > now:
                break
            del self._remembered[oldest]
        if jti in self._remembered:
            raise Refused("used already")
        if len(self._remembered) >= REMEMBERED_JTI_MAX:
            raise Refused("too many logins within seconds")
        self._remembered[jti] = now + self.max_lifetime + 2 * self.leeway + 1


class PublicKeys:
    """The keys of `public_key_file`, read again when it changes; a change for the worse keeps the last good ones."""

    def __init__(self, path):
        self._path = path
        if not path:
            raise TraitError(
                "HublatchAuthenticator needs hublatch's public key: set c.HublatchAuthenticator.public_key_file to the "
                "assertion.pub.pem that `hublatch init` wrote."
            )
        try:
            self._version = self._stat()
            self._keys = self._read()
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise TraitError(
                f"c.HublatchAuthenticator.public_key_file = {path!r}: {error}. It must name a file that the hub can "
                "read, with hublatch's Ed25519 public key in PEM (the assertion.pub.pem that `hublatch init` wrote)."
            ) from None

    def current(self, log):
        try:
            version = self._stat()
            if version != self._version:
                self._version = version
                self._keys = self._read()
                log.info("hublatch: read %d public key(s) from %s", len(self._keys), self._path)
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            log.error("hublatch: %s changed and is no use, the earlier keys stay: %s", self._path, error)
        return self._keys

    def _stat(self):
        status = os.stat(self._path)
        return status.st_mtime_ns, status.st_ino, status.st_size

    def _read(self):
        with open(self._path, "rb") as file:
            text = file.read(KEY_FILE_BYTES_MAX)
        if b"PRIVATE KEY" in text:
            raise ValueError("this is a private key, which only hublatch may have")
        blocks = re.findall(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", text, re.DOTALL)
        if not blocks:
            raise ValueError("no PUBLIC KEY block in it")
        keys = [load_pem_public_key(block) for block in blocks]
        if not all(isinstance(key, Ed25519PublicKey) for key in keys):
            raise ValueError("a key in it is not Ed25519")
        return keys


def read_assertion(text, keys):
    """The claims of a compact JWT that one of `keys` signed; nothing is believed before the signature is."""
    if len(text) > ASSERTION_BYTES_MAX:
        raise Refused(f"longer than {ASSERTION_BYTES_MAX} bytes")
    parts = text.split(".")
    if len(parts) != 3:
        raise Refused("not three parts with dots between")
    header, payload, signature = (decode_base64url(part) for part in parts)
    head = decode_object(header)
    # RFC 8725 § 3.1: the algorithm is ours to name, not the token's. RFC 7515 § 4.1.11: what is critical and
    # unknown is refused.
    if head.get("alg") != "EdDSA" or "crit" in head:
        raise Refused("its algorithm is not EdDSA")
    signed = text.rpartition(".")[0].encode("ascii")
    if not any(is_signed_by(key, signature, signed) for key in keys):
        raise Refused("not signed by the key in public_key_file")
    return decode_object(payload)


def is_signed_by(key, signature, signed):
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def decode_base64url(text):
    # RFC 7515 § 2: no padding. Python's decoder also skips what is not base64, hence the alphabet and the way back.
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text) or len(text) % 4 == 1:
        raise Refused("not base64url")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(data).decode("ascii").rstrip("=") != text:
        raise Refused("not base64url")
    return data


def decode_object(data):
    def unique(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a name twice")
        return dict(pairs)

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Refused("not a JSON object")
    return value


def check_extras(claims):
    groups = claims.get("groups", [])
    if not isinstance(groups, list) or not all(isinstance(group, str) and group for group in groups):
        raise Refused("groups is not a list of names")
    if not isinstance(claims.get("claims", {}), dict):
        raise Refused("claims is not an object")
