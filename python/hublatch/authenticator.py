"""Logs in the user whom hublatch proves by a signed assertion, and nobody else.

A part of the package `hublatch`, and whole by itself: `hublatch init` writes it as hublatch_authenticator.py, to be put
on the hub's Python path (JupyterHub 4.1 to 6.1; it needs no package that a hub lacks). A bare identity header is worth nothing here: a notebook can send one straight to
the hub's port, but only hublatch can sign. The assertion is a compact JWT (RFC 7519), EdDSA over Ed25519 (RFC 8037).
"""

from __future__ import annotations

import base64
import functools
import json
import os
import re
import time
from types import SimpleNamespace

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jupyterhub import orm
from jupyterhub.auth import Authenticator, LocalAuthenticator
from jupyterhub.handlers import BaseHandler, LoginHandler
from jupyterhub.handlers.base import SESSION_COOKIE_NAME
from jupyterhub.utils import maybe_future
from tornado import web
from traitlets import Bool, Integer, TraitError, Unicode, default, import_item

VERSION = "0.1.0"  # told to `hublatch doctor`
ISSUER = "hublatch"
ASSERTION_BYTES_MAX = 12 * 1024  # below configurable-http-proxy's 16 KiB for a whole head
KEY_FILE_BYTES_MAX = 64 * 1024
REMEMBERED_JTI_MAX = 100_000
# How long the ids of ended sessions are told again: so long do servers believe what the hub has said of a user.
TOLD_AGAIN_SECONDS = 600
TOLD_AGAIN_MAX = 10_000
RENEW_SECONDS = 5  # between two questions for a new key, which a forged assertion can provoke
SESSIONS_PATH = "/hublatch/sessions"
OUR_SESSION_ID = "hl1."  # how the session ids begin that hublatch makes, which say themselves when they end

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


class LinkUser(dict):
    """An authentication that an assertion has proven; by its type, so that nothing which a peer sent can look like it."""


class LinkLogin:
    """What is added to the hub's login page: an assertion counts, even when somebody is logged in already."""

    async def get(self):
        if self.authenticator.assertion_header not in self.request.headers:
            if self.current_user or not self.authenticator.links_only:
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
            given = self.get_cookie(SESSION_COOKIE_NAME, "")
            self.clear_login_cookie()
            for name in (self.hub.cookie_name, SESSION_COOKIE_NAME, "_xsrf"):
                self.request.cookies.pop(name, None)
            # hublatch takes the browser's own session id out of such a request. An id of this form is what it has put
            # in its place: one that ends by itself.
            if given.startswith(OUR_SESSION_ID) and self.authenticator.assertion_header in self.request.headers:
                self._session_id = given
                self.set_session_cookie()
        super().set_login_cookie(user)


class SessionsHandler(BaseHandler):
    """Ends every browser session of the user whom a signed call of hublatch names. Her API tokens and servers live on.

    What is ended: the hub's login cookies (their id changes), and the tokens that her servers and services hold for a
    browser session. Those ask the hub again only after minutes, so hublatch, which is told the sessions' ids, refuses
    these at once. Nothing here knows the ids any more once they are ended, so that an answer may be lost, they are told
    again to each call of the next ten minutes.
    """

    def check_xsrf_cookie(self):
        """The signature, which no page of another site can make a browser send, is better than what this checks."""

    async def post(self):
        try:
            claims = self.authenticator.verify(self.request.headers, self.authenticator.audience + ":sessions")
        except Refused as refused:
            self.log.warning("hublatch: refused to end sessions for %s: %s", self.request.remote_ip, refused)
            return self._answer(403, {"message": "the assertion is not good; the hub's log says why"})
        user = self.find_user(claims["sub"])
        if user is None:
            return self._answer(404, {"message": "the hub does not know this user"})
        user.orm_user.cookie_id = orm.new_token()
        sessions, kinds = set(), (orm.APIToken, orm.OAuthCode)
        for kind in kinds:
            for each in self.db.query(kind).filter(kind.user_id == user.id, kind.session_id.isnot(None)):
                sessions.add(each.session_id)
                self.db.delete(each)
        # The id is whatever cookie a browser had when its token was made: she may have brought somebody else's into one of
        # hers. What is also another user's is not hers to have ended.
        ended = self.authenticator.sessions_ended(user.id, sessions)
        for kind in kinds:
            of_others = self.db.query(kind.session_id).filter(kind.user_id != user.id, kind.session_id.in_(ended))
            ended.difference_update({session_id for (session_id,) in of_others})
        self.db.commit()
        self.log.info("hublatch: ended the sessions of %s", user.name)
        self._answer(200, {"sessions": sorted(ended), "ended": len(ended)})

    def _answer(self, status, model):
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Hublatch-Authenticator", VERSION)
        # With its status, as the hub's API writes errors: hublatch believes no other page's 404.
        self.finish(json.dumps(model if status == 200 else {"status": status, **model}))


class HublatchAuthenticator(Authenticator):
    """Admits the `sub` of a hublatch assertion, within the hub's own allow and block lists."""

    links_only = True  # there is no other login; see `beside`

    public_key_file = Unicode(
        "",
        config=True,
        help="""PEM file with hublatch's Ed25519 public key (`hublatch init` writes assertion.pub.pem).

        Not needed where c.JupyterHub.proxy_class = "hublatch" has a config_file: the proxy tells the key. While keys rotate it may hold several, one PEM block each. It is read again whenever it changes.
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

    @default("auto_login")
    def _log_in_from_the_request_itself(self):
        return True  # there is no login form

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        ask = None if self.public_key_file else getattr(getattr(self.parent, "proxy", None), "assertion_settings", None)
        told = ask and ask()
        if told:
            self._keys = ToldKeys(ask, told)
            for name in ("audience", "assertion_header", "user_header"):
                if getattr(self, name) == self.traits()[name].default_value:
                    setattr(self, name, told[name])
        else:
            self._keys = PublicKeys(self.public_key_file)
        if self.username_map and self.links_only:
            self.log.warning("hublatch: links for the %d names that c.Authenticator.username_map maps are refused", len(self.username_map))
        self._remembered = {}  # jti -> when to forget it; the hub is one process, so one dict sees every login
        self._ended = {}  # (user id, session id) -> when to forget it, the oldest first
        self._started_at = int(time.time())

    def get_handlers(self, app):
        handlers = list(super().get_handlers(app))
        login = next((handler[1] for handler in handlers if handler[0] == "/login"), LoginHandler)
        with_links = type("HublatchLoginHandler", (LinkLogin, login), {})
        others = [handler for handler in handlers if handler[0] != "/login"]
        return [("/login", with_links), (SESSIONS_PATH, SessionsHandler), *others]

    def sessions_ended(self, user_id, sessions):
        """Remembers that these sessions of the user are ended; all of theirs that ended in the last ten minutes."""
        now = time.monotonic()
        for session_id in sorted(sessions):
            self._ended.pop((user_id, session_id), None)
            self._ended[user_id, session_id] = now + TOLD_AGAIN_SECONDS
        # All are remembered equally long, so the first of the dict is always the next to forget.
        while self._ended:
            oldest = next(iter(self._ended))
            if self._ended[oldest] > now and len(self._ended) <= TOLD_AGAIN_MAX:
                break
            del self._ended[oldest]
        return sessions.union(session_id for of, session_id in self._ended if of == user_id)

    async def authenticate(self, handler, data=None):
        # POST /hub/api/users/NAME/tokens asks authenticators too; an assertion is for the login page alone.
        is_login = isinstance(handler, LinkLogin) and handler.request.method == "GET"
        if not is_login or not (self.links_only or self.assertion_header in handler.request.headers):
            return await self._authenticate_otherwise(handler, data)
        request = handler.request
        try:
            grant = self.verify(request.headers, self.audience)
        except Refused as refused:
            self.log.warning("hublatch: refused a login from %s: %s", request.remote_ip, refused)
            page = PAGE_NOT_PROVEN if self.assertion_header in request.headers else PAGE_NO_LINK
            raise web.HTTPError(403, page) from None

        groups = grant.get("groups", [])
        auth_state = {key: grant[key] for key in ("iss", "jti", "iat", "exp")}
        auth_state.update(groups=groups, claims=grant.get("claims", {}))
        # No "admin" here: who is an admin is the hub's configuration alone.
        user = LinkUser(name=grant["sub"], auth_state=auth_state)
        if self.manage_groups:
            user["groups"] = grant.get("groups", self._groups_unless_named())
        return user

    async def _authenticate_otherwise(self, handler, data):
        return None

    def _groups_unless_named(self):
        return []

    def verify(self, headers, audience):
        """The claims of the request's assertion, every one of them checked and its `jti` used up; or Refused."""
        lines = headers.get_list(self.assertion_header)
        if len(lines) != 1:
            bare = " (an identity header alone does not count)" if self.user_header in headers else ""
            raise Refused(f"{len(lines)} assertion headers instead of one{bare}")
        claims = read_assertion(lines[0], self._keys, self.log)
        self._check_times(claims)
        if claims.get("iss") != ISSUER or claims.get("aud") != audience:
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
        if self.username_map.get(name, name) != name:
            raise Refused("c.Authenticator.username_map maps the name to another one; links are for the hub's own names")
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


class _Beside(HublatchAuthenticator):
    """What `beside` puts before another authenticator."""

    links_only = False

    allow_links = Bool(
        True,
        config=True,
        help="""Whom a link names is allowed, whatever the other authenticator's allow lists say.

        The applications' rules (`usernames` in hublatch.toml) say whom they may name; blocked_users holds as well. False:
        the other authenticator's lists count for links too.
        """,
    )

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._last_by_link = set()  # names; for hubs without auth_state

    async def authenticate(self, handler, data=None):
        user = await super().authenticate(handler, data)
        name = user.get("name") if isinstance(user, dict) else user
        if isinstance(user, LinkUser):
            if not self._has_account(name):
                self.log.warning("hublatch: %r has no account on this system, and create_system_users is off", name)
                raise web.HTTPError(403, PAGE_NOT_ALLOWED)
            self._last_by_link.add(name)
        elif isinstance(name, str):
            self._last_by_link.discard(self.normalize_username(name))
        return user

    def _has_account(self, name):
        # The hub would find it out later, with a page of status 500 and a user that it keeps.
        if not isinstance(self, LocalAuthenticator) or self.create_system_users:
            return True
        return self.system_user_exists(SimpleNamespace(name=name))

    async def _authenticate_otherwise(self, handler, data):
        return await maybe_future(self._other.authenticate(self, handler, data))

    def _groups_unless_named(self):
        return None  # leaves them as the other login has set them

    def check_allowed(self, username, authentication=None):
        if isinstance(authentication, LinkUser) and self.allow_links:
            return True
        return self._other.check_allowed(self, username, authentication)

    def is_admin(self, handler, authentication):
        # The other's way to find admins reads what its own login has learnt; a link has learnt nothing.
        of = Authenticator if isinstance(authentication, LinkUser) else self._other
        return of.is_admin(self, handler, authentication)

    async def refresh_user(self, user, handler=None, **kwargs):
        # Who came by a link has no account or token there that could be asked about.
        if user.name in self._last_by_link:
            return True
        state = await user.get_auth_state()
        if isinstance(state, dict) and state.get("iss") == ISSUER:
            return True
        return await maybe_future(self._other.refresh_user(self, user, handler, **kwargs))


@functools.lru_cache(maxsize=None)
def beside(other):
    """The authenticator class `other` with links beside it: c.JupyterHub.authenticator_class = beside(OtherAuthenticator).

    A link logs in the user whom an application sends, everybody else gets the login they always had. All settings of
    `other` stay where they were, c.HublatchAuthenticator has ours. One name space: whoever may be named in a link and
    logs in at `other` under the same name is the same user.
    """
    if not (isinstance(other, type) and issubclass(other, Authenticator)):
        raise TypeError(f"beside() takes an authenticator class, not {other!r}")
    if issubclass(other, HublatchAuthenticator):
        raise TypeError(f"{other.__name__} takes links already")
    auto_login = other.class_traits().get("auto_login")
    return type(
        f"HublatchBeside{other.__name__}",
        (_Beside, other),
        {
            "__doc__": f"{other.__name__}, with logins by hublatch's links beside it.",
            "_other": other,
            "_auto_login_default": lambda self: bool(auto_login.default_value),
        },
    )


class HublatchBesideAuthenticator(HublatchAuthenticator):
    """`beside` by names, for hubs whose configuration is no Python: c.HublatchBesideAuthenticator.other = "github"."""

    other = Unicode(
        "",
        config=True,
        help="""The authenticator that logs everybody else in: its short name (an entry point of
        jupyterhub.authenticators, such as "github"), or "package.module.ClassName".""",
    )

    def __new__(cls, *args, **kwargs):
        config = kwargs.get("config") or getattr(kwargs.get("parent"), "config", {})
        name = config.get("HublatchBesideAuthenticator", {}).get("other", "")
        if not name:
            raise TraitError('set c.HublatchBesideAuthenticator.other, for instance to "github"')
        return beside(find_authenticator(str(name)))(*args, **kwargs)


def find_authenticator(name):
    """The class of that entry point, or of that import path."""
    from importlib.metadata import entry_points

    found = entry_points()
    # A dictionary before Python 3.10.
    select = getattr(found, "select", None)
    points = select(group="jupyterhub.authenticators") if select else found.get("jupyterhub.authenticators", ())
    for point in points:
        if point.name.lower() == name.lower():
            return point.load()
    try:
        return import_item(name)
    except (ImportError, ValueError, AttributeError) as error:
        raise TraitError(f"c.HublatchBesideAuthenticator.other = {name!r}: {error}") from None


class PublicKeys:
    """The keys of `public_key_file`, read again when it changes; a change for the worse keeps the last good ones."""

    def __init__(self, path):
        self._path = path
        if not path:
            raise TraitError(
                "HublatchAuthenticator needs hublatch's public key: set c.HublatchAuthenticator.public_key_file to the "
                "assertion.pub.pem that `hublatch init` wrote, or c.HublatchProxy.config_file if hublatch is the hub's "
                "own proxy."
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
            return read_keys(file.read(KEY_FILE_BYTES_MAX))

    def renewed(self, log):
        return None  # `current` has looked


class ToldKeys:
    """The keys that the hub's proxy tells; asked again when one does not fit, so that they can be changed at any time."""

    def __init__(self, ask, told):
        self._ask, self._keys = ask, read_keys(told["public_keys"].encode())
        self._asked_at = time.monotonic()

    def current(self, log):
        return self._keys

    def renewed(self, log):
        if time.monotonic() < self._asked_at + RENEW_SECONDS:
            return None
        self._asked_at = time.monotonic()
        try:
            self._keys = read_keys(self._ask()["public_keys"].encode())
        except (TraitError, ValueError, KeyError, TypeError) as error:
            log.error("hublatch: the proxy's configuration tells no public key, the earlier one stays: %s", error)
            return None
        return self._keys


def read_keys(text):
    """The Ed25519 public keys of a PEM text, or ValueError."""
    if b"PRIVATE KEY" in text:
        raise ValueError("this is a private key, which only hublatch may have")
    blocks = re.findall(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", text, re.DOTALL)
    if not blocks:
        raise ValueError("no PUBLIC KEY block in it")
    keys = [load_pem_public_key(block) for block in blocks]
    if not all(isinstance(key, Ed25519PublicKey) for key in keys):
        raise ValueError("a key in it is not Ed25519")
    return keys


def read_assertion(text, keys, log):
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
    if not any(is_signed_by(key, signature, signed) for key in keys.current(log)) and not any(
        is_signed_by(key, signature, signed) for key in keys.renewed(log) or ()
    ):
        raise Refused("not signed by hublatch's key (public_key_file, or the proxy's config_file)")
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
