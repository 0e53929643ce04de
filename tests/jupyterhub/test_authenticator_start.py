"""The authenticator before and between logins: what it refuses to start with, and what it forgets when."""

import asyncio
import sys
import time
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tornado.httputil import HTTPHeaders
from tornado.web import HTTPError
from traitlets import TraitError

from assertion import claims, good, private_pem, public_pem, sign
from browser import raw
from hub import HUBLATCH, Hub
from processes import PATIENCE, ROOT

sys.path.insert(0, str(ROOT / "python"))
from hublatch import authenticator as module  # noqa: E402
from hublatch.authenticator import HublatchAuthenticator  # noqa: E402

KEY = Ed25519PrivateKey.generate()
OTHER_KIND = generate_private_key(SECP256R1())

USELESS_KEY_FILES = {
    "nothing": (b"", "no PUBLIC KEY block"),
    "no PEM": (b"ssh-ed25519 AAAA", "no PUBLIC KEY block"),
    "a private key": (private_pem(KEY), "private key"),
    "a private key beside the public one": (public_pem(KEY) + private_pem(KEY), "private key"),
    "a key of another kind": (public_pem(OTHER_KIND), "not Ed25519"),
    "a good key and one of another kind": (public_pem(KEY) + public_pem(OTHER_KIND), "not Ed25519"),
    "a broken block": (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", ""),
}


@pytest.mark.parametrize("name", USELESS_KEY_FILES)
def test_it_does_not_start_with_a_useless_key_file(tmp_path, name):
    text, reason = USELESS_KEY_FILES[name]
    file = tmp_path / "key.pem"
    file.write_bytes(text)
    with pytest.raises(TraitError) as refusal:
        HublatchAuthenticator(public_key_file=str(file))
    assert str(file) in str(refusal.value)
    assert reason in str(refusal.value)
    assert "hublatch init" in str(refusal.value)


def test_it_does_not_start_without_a_key_file(tmp_path):
    with pytest.raises(TraitError, match="set c.HublatchAuthenticator.public_key_file"):
        HublatchAuthenticator()
    with pytest.raises(TraitError, match="No such file"):
        HublatchAuthenticator(public_key_file=str(tmp_path / "absent.pem"))


@pytest.mark.parametrize("setting", [{"max_lifetime": 301}, {"max_lifetime": 0}, {"leeway": 61}, {"leeway": -1}])
def test_it_does_not_start_with_a_reckless_bound(key_file, setting):
    with pytest.raises(TraitError):
        HublatchAuthenticator(public_key_file=key_file, **setting)


def test_a_hub_with_a_useless_key_file_ends_and_says_what_to_do(tmp_path):
    hub = Hub(tmp_path, authenticator=HUBLATCH)
    hub.public_key_file.unlink()
    hub.launch()
    try:
        assert hub.process.wait(PATIENCE) != 0
        assert "It must name a file that the hub can read, with hublatch's Ed25519 public key" in hub.log
    finally:
        hub.kill()


@pytest.fixture
def key_file(tmp_path):
    file = tmp_path / "assertion.pub.pem"
    file.write_bytes(public_pem(KEY))
    return str(file)


@pytest.fixture
def authenticator(key_file):
    return HublatchAuthenticator(public_key_file=key_file)


class LoginPage(module.LinkLogin):
    """What the hub's router makes for the login path alone."""


class AnotherPage:
    pass


def ask(authenticator, assertion, page=LoginPage, method="GET"):
    handler = page()
    handler.request = SimpleNamespace(
        method=method, remote_ip="127.0.0.1", headers=HTTPHeaders({"X-Hublatch-Assertion": assertion})
    )
    return asyncio.run(authenticator.authenticate(handler, None))


@pytest.mark.parametrize("where", [{"page": AnotherPage}, {"method": "POST"}])
def test_it_has_no_answer_anywhere_but_on_the_login_page(authenticator, where):
    assertion = good(KEY, "alice")
    assert ask(authenticator, assertion, **where) is None
    assert ask(authenticator, assertion)["name"] == "alice"


def test_groups_are_named_only_if_the_hub_manages_them(authenticator):
    assert "groups" not in ask(authenticator, good(KEY, "alice", groups=["staff"]))
    authenticator.manage_groups = True
    assert ask(authenticator, good(KEY, "alice", groups=["staff"]))["groups"] == ["staff"]
    assert ask(authenticator, good(KEY, "alice"))["groups"] == []


def test_a_name_that_the_hub_maps_to_another_is_refused(authenticator):
    authenticator.username_map = {"alice": "root"}
    with pytest.raises(HTTPError):
        ask(authenticator, good(KEY, "alice"))


def test_the_memory_of_used_assertions_is_bounded_and_refuses_rather_than_forgets(authenticator, monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED_JTI_MAX", 3)
    used = [good(KEY, "alice") for _ in range(3)]
    for assertion in used:
        assert ask(authenticator, assertion)
    for assertion in [*used, good(KEY, "alice")]:
        with pytest.raises(HTTPError):
            ask(authenticator, assertion)


def test_a_used_assertion_is_remembered_until_it_is_expired_beyond_doubt(authenticator, monkeypatch):
    clock = SimpleNamespace(now=1_800_000_000.0)
    monkeypatch.setattr(
        module, "time", SimpleNamespace(time=lambda: clock.now, monotonic=lambda: clock.now)
    )
    authenticator._started_at = 0
    # The longest that any assertion can be good: issued as far ahead, and used as late, as the leeway allows.
    issued = int(clock.now) + authenticator.leeway
    assertion = good(KEY, "alice", iat=issued, exp=issued + authenticator.max_lifetime)
    assert ask(authenticator, assertion)
    for _ in range(authenticator.max_lifetime + 3 * authenticator.leeway):
        clock.now += 1
        with pytest.raises(HTTPError):
            ask(authenticator, assertion)
    ask(authenticator, good(KEY, "bob", iat=int(clock.now), exp=int(clock.now) + 10))
    assert len(authenticator._remembered) == 1


def test_an_assertion_from_before_a_restart_is_refused(start_hub):
    hub = start_hub(extra="c.HublatchAuthenticator.max_lifetime = 300\n")
    # Good for longer than any restart takes: what is refused is not its age.
    now = int(time.time())
    assertion = sign(hub.key, claims("alice", iat=now, exp=now + 300))
    headers = [("X-Hublatch-Assertion", assertion)]
    assert raw("GET", hub.internal_url + "/hub/login", headers).status == 302
    hub.stop()
    hub.start()
    assert raw("GET", hub.internal_url + "/hub/login", headers).status == 403
    assert "issued before this hub started" in hub.log
    hub.kill()
