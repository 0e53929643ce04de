"""Makes assertions as hublatch signs them, and as an attacker would like them to be."""

import base64
import json
import secrets
import time

from cryptography.hazmat.primitives import serialization


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def public_pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def private_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def claims(user, **changes):
    """A good assertion's claims; a change to None takes that claim away."""
    now = int(time.time())
    good = {
        "iss": "hublatch",
        "aud": "jupyterhub",
        "sub": user,
        "iat": now,
        "exp": now + 10,
        "jti": secrets.token_urlsafe(16),
    }
    good.update(changes)
    return {name: value for name, value in good.items() if value is not None}


def sign(key, payload, header=None):
    """A compact JWT; `key` is an Ed25519 key, or a function from the signed bytes to a signature."""
    head = {"alg": "EdDSA", "typ": "JWT"} if header is None else header
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signed = f"{base64url(json.dumps(head).encode())}.{base64url(body)}"
    signature = key(signed.encode()) if callable(key) else key.sign(signed.encode())
    return f"{signed}.{base64url(signature)}"


def good(key, user, **changes):
    return sign(key, claims(user, **changes))
