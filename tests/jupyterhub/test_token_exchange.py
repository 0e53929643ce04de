"""Hub API tokens in exchange for an app's own (RFC 8693), on a real hub: what they may do, and how they end (RFC 7009)."""

import base64
import hashlib
import json
import secrets
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assertion import public_pem
from hub_services import ROLES, Services, basic, call
from processes import PATIENCE, wait_until

ISSUER = "https://portal.example.org"
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
LOGIN_TOKEN = "urn:hublatch:params:oauth:token-type:login_token"
JWT = "urn:ietf:params:oauth:token-type:jwt"
SECONDS = 600


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def new_key():
    key = "hk_" + base64url(secrets.token_bytes(32))
    return key, "sha256:" + hashlib.sha256(key.encode()).hexdigest()


class House:
    def __init__(self, folder, start_hub, start_hublatch, **options):
        self.services = Services(hublatch=ROLES["token_exchange"], powerless=["list:users"])
        self.hub = start_hub(extra=self.services.extra, **options)
        self.signer = Ed25519PrivateKey.generate()
        pem = folder / "portal.pub.pem"
        pem.write_bytes(public_pem(self.signer))
        self.key, digest = new_key()
        self.other_key, other_digest = new_key()
        apps = [
            {
                "name": "portal",
                "keys": [digest],
                "rate": "10000/s",
                "jwt.issuer": ISSUER,
                "jwt.audience": "jupyterhub",
                "jwt.public_key_file": str(pem),
                "hub_tokens.scopes": ["access:servers!user", "read:users:name!user", "admin:users"],
                "hub_tokens.max_lifetime": f"{SECONDS}s",
            },
            {"name": "other", "keys": [other_digest], "hub_tokens.scopes": ["access:servers!user"]},
        ]

        def latch(service):
            latch = start_hublatch(self.hub, {"apps": apps, "hub": {"api_token": self.services[service]}})
            latch.key = self.key
            return latch

        self.latch, self.powerless = latch("hublatch"), latch("powerless")
        for user in ("olga", "paul"):
            self.hub.api("POST", f"/users/{user}")

    def link(self, user, latch=None):
        return (latch or self.latch).issue(user, next="/hub/home")

    def exchange(self, token, latch=None, headers=None, **fields):
        form = {"grant_type": GRANT, "subject_token": token, "subject_token_type": LOGIN_TOKEN, **fields}
        form.setdefault("scope", "access:servers!user")
        headers = headers or basic("portal", self.key)
        return call(f"{(latch or self.latch).management}/oauth2/token", "POST", form=form, headers=headers)

    def revoke(self, token, headers=None):
        url = f"{self.latch.management}/oauth2/revoke"
        return call(url, "POST", form={"token": token}, headers=headers or basic("portal", self.key))

    def whoami(self, token):
        return call(f"{self.hub.public_url}/hub/api/user", token=token)

    def signed(self, user):
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": "jupyterhub", "sub": user, "iat": now, "exp": now + 60, "jti": secrets.token_hex(8)}
        text = ".".join(base64url(json.dumps(part).encode()) for part in ({"alg": "EdDSA", "typ": "JWT"}, claims))
        return f"{text}.{base64url(self.signer.sign(text.encode()))}"


@pytest.fixture(scope="module")
def house(tmp_path_factory, start_hub, start_hublatch):
    return House(tmp_path_factory.mktemp("exchange"), start_hub, start_hublatch)


def test_a_login_token_becomes_a_hub_token_of_its_user_once(house):
    link = house.link("olga")
    answer = house.exchange(link["login_token"])
    assert answer.status == 200, answer
    assert answer.headers["Cache-Control"] == "no-store"
    assert (answer.json["expires_in"], answer.json["token_type"]) == (SECONDS, "Bearer")
    assert answer.json["scope"] == "access:servers!user=olga"
    said = house.whoami(answer.json["access_token"])
    assert (said.status, said.json["name"], said.json["kind"]) == (200, "olga", "user")
    assert house.latch.status(link) == "used"
    again = house.exchange(link["login_token"])
    assert (again.status, again.json["error"], again.json["code"]) == (400, "invalid_request", "used")
    browser = house.latch.browser()
    assert browser.open(link["url"]).status == 403


def test_the_token_works_for_what_it_may_and_for_nothing_else(house):
    token = house.exchange(house.link("olga")["login_token"]).json["access_token"]
    for user in ("olga", "paul"):
        house.hub.api("POST", f"/users/{user}/server")
        wait_until(lambda user=user: house.hub.api("GET", f"/users/{user}")["servers"][""]["ready"], PATIENCE, "the server")
    public = house.latch.url
    assert call(f"{public}/user/olga/api/status", token=token).status == 200
    assert call(f"{public}/user/paul/api/status", token=token).status == 403
    for method, path in (
        ("GET", "/users"),
        ("GET", "/users/paul"),
        ("GET", "/users/olga/tokens"),
        ("POST", "/users/olga/tokens"),
        ("POST", "/users/olga/servers/second"),
        ("DELETE", "/users/olga/server"),
        ("POST", "/users/eve"),
    ):
        refused = call(f"{house.hub.public_url}/hub/api{path}", method, token=token)
        assert refused.status in (403, 404), (method, path, refused)
    # With every access token the hub lets one read whose it is: her name and groups.
    assert set(house.whoami(token).json["scopes"]) == {
        "access:servers!user=olga",
        "read:users:name!user=olga",
        "read:users:groups!user=olga",
    }
    for user in ("olga", "paul"):
        house.hub.api("DELETE", f"/users/{user}/server")


def test_its_user_reads_on_the_token_page_where_it_comes_from(house):
    link = house.link("paul")
    house.exchange(link["login_token"])
    notes = [token["note"] for token in house.hub.api("GET", "/users/paul/tokens")["api_tokens"]]
    assert f"hublatch app=portal link={link['id']}" in notes


def test_it_expires(house):
    def alive():
        token = house.exchange(house.link("olga")["login_token"], expires_in=2).json["access_token"]
        return house.whoami(token).status == 200 and token

    # On a busy machine two seconds may pass before it is asked for.
    token = wait_until(alive, PATIENCE, "a token that is seen before its end")
    wait_until(lambda: house.whoami(token).status == 403, PATIENCE, "its end")


def test_it_is_revoked_by_its_app_alone(house):
    token = house.exchange(house.link("olga")["login_token"]).json["access_token"]
    stranger = house.revoke(token, headers=basic("other", house.other_key))
    assert (stranger.status, stranger.json["error"]) == (400, "invalid_grant")
    assert house.whoami(token).status == 200
    for _ in range(2):
        assert house.revoke(token).status == 200
        assert house.whoami(token).status == 403
    own = house.hub.api("POST", "/users/olga/tokens", {})["token"]
    assert house.revoke(own).json["error"] == "invalid_grant"
    assert house.whoami(own).status == 200


def test_nothing_is_consumed_by_a_request_that_may_not_be(house):
    link = house.link("olga")
    for fields, error in (
        ({"scope": "access:servers"}, "invalid_scope"),
        ({"scope": "servers!user"}, "invalid_scope"),
        # The app may have it, and olga does not.
        ({"scope": "admin:users"}, "invalid_scope"),
        ({"expires_in": SECONDS + 1}, "invalid_request"),
        ({"subject_token_type": JWT}, "invalid_request"),
        ({"headers": basic("other", house.other_key)}, "invalid_request"),
        ({"headers": basic("portal", "hk_wrong")}, "invalid_client"),
    ):
        refused = house.exchange(link["login_token"], **fields)
        assert refused.json["error"] == error, (fields, refused)
    stranger = house.link("stranger")
    refused = house.exchange(stranger["login_token"])
    assert (refused.status, refused.json["code"]) == (400, "no_such_user"), refused
    assert house.latch.status(link) == house.latch.status(stranger) == "pending"
    assert house.exchange(link["login_token"]).status == 200


def test_a_role_that_is_too_small_is_told_and_costs_nothing(house):
    link = house.link("olga", house.powerless)
    refused = house.exchange(link["login_token"], house.powerless)
    assert (refused.status, refused.json["code"]) == (502, "hub_error"), refused
    assert house.powerless.status(link) == "pending"


def test_a_token_that_the_app_has_signed_becomes_a_hub_token_once(house):
    # A token that may be older than the process is refused, by clocks that may differ by five seconds.
    token = wait_until(lambda: accepted(house), PATIENCE, "the first signed token that is young enough")
    assert house.whoami(token).json["name"] == "paul"
    signed = house.signed("paul")
    assert house.exchange(signed, subject_token_type=JWT).status == 200
    again = house.exchange(signed, subject_token_type=JWT)
    assert (again.status, again.json["code"]) == (400, "used")


def accepted(house):
    return house.exchange(house.signed("paul"), subject_token_type=JWT).json.get("access_token")


def test_no_secret_stands_in_a_log(house):
    link = house.link("olga")
    token = house.exchange(link["login_token"]).json["access_token"]
    house.revoke(token)
    logs = house.latch.process.log + house.hub.log
    for secret in (link["login_token"], token, house.key, house.services["hublatch"]):
        assert secret not in logs
    mine = house.latch.audit(link)
    assert mine == ["issued", "redeemed", "token_issued", "token_revoked"], mine


def test_jupyterhub_4_1_makes_tokens_too_and_does_not_tell_which_is_which(tmp_path, start_hub, start_hublatch):
    house = House(tmp_path, start_hub, start_hublatch, version="4.1")
    answer = house.exchange(house.link("olga")["login_token"])
    assert answer.status == 200, answer
    token = answer.json["access_token"]
    assert house.whoami(token).json["name"] == "olga"
    refused = house.revoke(token)
    assert (refused.status, refused.json["error"]) == (400, "unsupported_token_type"), refused
