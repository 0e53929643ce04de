"""Assertions that must admit nobody, each with the words of the hub's log that say why."""

import hashlib
import hmac
import json
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assertion import claims, good, public_pem, sign

STRANGER = Ed25519PrivateKey.generate()


def now():
    return int(time.time())


def hmac_by(secret):
    return lambda signed: hmac.digest(secret, signed, hashlib.sha256)


def swap(assertion, index, part):
    parts = assertion.split(".")
    parts[index] = part
    return ".".join(parts)


def loosen(assertion):
    """The same signature bytes in another spelling: 64 bytes leave four unused bits in the last character."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return assertion[:-1] + letters[letters.index(assertion[-1]) + 1]


def twice(name, first, second):
    text = json.dumps(claims(second))
    return text.replace("{", f'{{"{name}": "{first}", ', 1).encode()


FORGED = {
    "another key": (lambda hub: good(STRANGER, "alice"), "not signed by"),
    "expired": (lambda hub: good(hub.key, "alice", iat=now() - 40, exp=now() - 20), "expired"),
    "a life that is too long": (lambda hub: good(hub.key, "alice", exp=now() + 3600), "life"),
    "a life that ends before it begins": (lambda hub: good(hub.key, "alice", exp=now() - 1), "life"),
    "issued in the future": (lambda hub: good(hub.key, "alice", iat=now() + 60, exp=now() + 70), "future"),
    "times as text": (lambda hub: good(hub.key, "alice", iat=str(now()), exp=str(now() + 10)), "whole number"),
    "times as fractions": (lambda hub: good(hub.key, "alice", iat=now() + 0.5), "whole number"),
    "another audience": (lambda hub: good(hub.key, "alice", aud="otherhub"), "audience"),
    "a list of audiences": (lambda hub: good(hub.key, "alice", aud=["jupyterhub"]), "audience"),
    "another issuer": (lambda hub: good(hub.key, "alice", iss="portal"), "issuer"),
    "no jti": (lambda hub: good(hub.key, "alice", jti=None), "jti"),
    "no sub": (lambda hub: good(hub.key, "alice", sub=None), "sub"),
    "no exp": (lambda hub: good(hub.key, "alice", exp=None), "exp"),
    "alg none, no signature": (
        lambda hub: sign(lambda signed: b"", claims("alice"), {"alg": "none"}),
        "base64url",
    ),
    "alg none, some signature": (
        lambda hub: sign(hub.key, claims("alice"), {"alg": "none"}),
        "algorithm",
    ),
    "HS256 by the public key's text": (
        lambda hub: sign(hmac_by(public_pem(hub.key)), claims("alice"), {"alg": "HS256", "typ": "JWT"}),
        "algorithm",
    ),
    "HS256 by the public key's bytes": (
        lambda hub: sign(hmac_by(hub.key.public_key().public_bytes_raw()), claims("alice"), {"alg": "HS256"}),
        "algorithm",
    ),
    "alg in another case": (lambda hub: sign(hub.key, claims("alice"), {"alg": "eddsa"}), "algorithm"),
    "a critical extension": (
        lambda hub: sign(hub.key, claims("alice"), {"alg": "EdDSA", "crit": ["exp"]}),
        "algorithm",
    ),
    "a changed payload": (
        lambda hub: swap(good(hub.key, "bob"), 1, good(hub.key, "admin").split(".")[1]),
        "not signed by",
    ),
    "padding": (lambda hub: good(hub.key, "alice") + "==", "base64url"),
    "loose end bits": (lambda hub: loosen(good(hub.key, "alice")), "base64url"),
    "a fourth part": (lambda hub: good(hub.key, "alice") + ".x", "three parts"),
    "empty": (lambda hub: "", "three parts"),
    "too long": (lambda hub: good(hub.key, "alice", claims={"x": "y" * 10_000}), "longer than"),
    "a claim twice": (lambda hub: sign(hub.key, twice("sub", "alice", "admin")), "JSON object"),
    "a list as payload": (lambda hub: sign(hub.key, b"[1]"), "JSON object"),
    "deep nesting": (lambda hub: sign(hub.key, b"[" * 6000), "JSON object"),
    "groups that are no list": (lambda hub: good(hub.key, "alice", groups="staff"), "groups"),
    "claims that are no object": (lambda hub: good(hub.key, "alice", claims=["x"]), "claims"),
    "an upper-case name": (lambda hub: good(hub.key, "Alice"), "form that this hub gives"),
    "a name with a slash": (lambda hub: good(hub.key, "x/y"), "character"),
    "a name with a comma": (lambda hub: good(hub.key, "a,b"), "character"),
    "a name with a space": (lambda hub: good(hub.key, "a b"), "character"),
    "a name with a line break": (lambda hub: good(hub.key, "alice\n"), "character"),
    "a name that is a dot segment": (lambda hub: good(hub.key, ".."), "only dots"),
    "a name that is a number": (lambda hub: good(hub.key, 7), "sub"),
    "an empty name": (lambda hub: good(hub.key, ""), "empty"),
}
