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


class Deployment:
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
def deployment(tmp_path_factory, start_hub, start_hublatch):
    return Deployment(tmp_path_factory.mktemp("exchange"), start_hub, start_hublatch)


def test_a_login_token_becomes_a_hub_token_of_its_user_once(deployment):
    link = deployment.link("olga")
    answer = deployment.exchange(link["login_token"])
    assert answer.status == 200, answer
    assert answer.headers["Cache-Control"] == "no-store"
    assert (answer.json["expires_in"], answer.json["token_type"]) == (SECONDS, "Bearer")
    assert answer.json["scope"] == "access:servers!user=olga"
    said = deployment.whoami(answer.json["access_token"])
    assert (said.status, said.json["name"], said.json["kind"]) == (200, "olga", "user")
    assert deployment.latch.status(link) == "used"
    again = deployment.exchange(link["login_token"])
    assert (again.status, again.json["error"], again.json["code"]) == (400, "invalid_request", "used")
    browser = deployment.latch.browser()
    assert browser.open(link["url"]).status == 403


def test_the_token_works_for_what_it_may_and_for_nothing_else(deployment):
    token = deployment.exchange(deployment.link("olga")["login_token"]).json["access_token"]
    for user in ("olga", "paul"):
        deployment.hub.api("POST", f"/users/{user}/server")

        def is_ready(path=f"/users/{user}"):
            return deployment.hub.api("GET", path)["servers"][""]["ready"]

        wait_until(is_ready, PATIENCE, "the server")
    public = deployment.latch.url
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
        refused = call(f"{deployment.hub.public_url}/hub/api{path}", method, token=token)
        assert refused.status in (403, 404), (method, path, refused)
    # With every access token the hub lets one read whose it is: her name and groups.
    assert set(deployment.whoami(token).json["scopes"]) == {
        "access:servers!user=olga",
        "read:users:name!user=olga",
        "read:users:groups!user=olga",
    }
    for user in ("olga", "paul"):
        deployment.hub.api("DELETE", f"/users/{user}/server")


def test_its_user_reads_on_the_token_page_where_it_comes_from(deployment):
    link = deployment.link("paul")
    deployment.exchange(link["login_token"])
    notes = [token["note"] for token in deployment.hub.api("GET", "/users/paul/tokens")["api_tokens"]]
    assert f"hublatch app=portal link={link['id']}" in notes


def test_it_expires(deployment):
    def alive():
        token = deployment.exchange(deployment.link("olga")["login_token"], expires_in=2).json["access_token"]
        return deployment.whoami(token).status == 200 and token

    # On a busy machine two seconds may pass before it is asked for.
    token = wait_until(alive, PATIENCE, "a token that is seen before its end")
    wait_until(lambda: deployment.whoami(token).status == 403, PATIENCE, "its end")


def test_it_is_revoked_by_its_app_alone(deployment):
    token = deployment.exchange(deployment.link("olga")["login_token"]).json["access_token"]
    stranger = deployment.revoke(token, headers=basic("other", deployment.other_key))
    assert (stranger.status, stranger.json["error"]) == (400, "invalid_grant")
    assert deployment.whoami(token).status == 200
    for _ in range(2):
        assert deployment.revoke(token).status == 200
        assert deployment.whoami(token).status == 403
    own = deployment.hub.api("POST", "/users/olga/tokens", {})["token"]
    assert deployment.revoke(own).json["error"] == "invalid_grant"
    assert deployment.whoami(own).status == 200


def test_nothing_is_consumed_by_a_request_that_may_not_be(deployment):
    link = deployment.link("olga")
    for fields, error in (
        ({"scope": "access:servers"}, "invalid_scope"),
        ({"scope": "servers!user"}, "invalid_scope"),
        # The app may have it, and olga does not.
        ({"scope": "admin:users"}, "invalid_scope"),
        ({"expires_in": SECONDS + 1}, "invalid_request"),
        ({"subject_token_type": JWT}, "invalid_request"),
        ({"headers": basic("other", deployment.other_key)}, "invalid_request"),
        ({"headers": basic("portal", "hk_wrong")}, "invalid_client"),
    ):
        refused = deployment.exchange(link["login_token"], **fields)
        assert refused.json["error"] == error, (fields, refused)
    stranger = deployment.link("stranger")
    refused = deployment.exchange(stranger["login_token"])
    assert (refused.status, refused.json["code"]) == (400, "no_such_user"), refused
    assert deployment.latch.status(link) == deployment.latch.status(stranger) == "pending"
    assert deployment.exchange(link["login_token"]).status == 200


def test_a_role_that_is_too_small_is_told_and_costs_nothing(deployment):
    link = deployment.link("olga", deployment.powerless)
    refused = deployment.exchange(link["login_token"], deployment.powerless)
    assert (refused.status, refused.json["code"]) == (502, "hub_error"), refused
    assert deployment.powerless.status(link) == "pending"


def test_a_token_that_the_app_has_signed_becomes_a_hub_token_once(deployment):
    # A token that may be older than the process is refused, by clocks that may differ by five seconds.
    token = wait_until(lambda: accepted(deployment), PATIENCE, "the first signed token that is young enough")
    assert deployment.whoami(token).json["name"] == "paul"
    signed = deployment.signed("paul")
    assert deployment.exchange(signed, subject_token_type=JWT).status == 200
    again = deployment.exchange(signed, subject_token_type=JWT)
    assert (again.status, again.json["code"]) == (400, "used")


def accepted(deployment):
    return deployment.exchange(deployment.signed("paul"), subject_token_type=JWT).json.get("access_token")


def test_no_secret_stands_in_a_log(deployment):
    link = deployment.link("olga")
    token = deployment.exchange(link["login_token"]).json["access_token"]
    deployment.revoke(token)
    # The audit is written by a thread of its own.
    wait_until(lambda: "token_revoked" in deployment.latch.audit(link), PATIENCE, "the last line of the audit")
    logs = deployment.latch.process.log + deployment.hub.log
    for secret in (link["login_token"], token, deployment.key, deployment.services["hublatch"]):
        assert secret not in logs
    mine = deployment.latch.audit(link)
    assert mine == ["issued", "redeemed", "token_issued", "token_revoked"], mine


def test_jupyterhub_4_1_makes_tokens_too_and_does_not_tell_which_is_which(tmp_path, start_hub, start_hublatch):
    deployment = Deployment(tmp_path, start_hub, start_hublatch, version="4.1")
    answer = deployment.exchange(deployment.link("olga")["login_token"])
    assert answer.status == 200, answer
    token = answer.json["access_token"]
    assert deployment.whoami(token).json["name"] == "olga"
    refused = deployment.revoke(token)
    assert (refused.status, refused.json["error"]) == (400, "unsupported_token_type"), refused
