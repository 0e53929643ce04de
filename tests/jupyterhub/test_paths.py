"""What the hub's public proxy and the hub make of each path of the table (T-PATH).

Whatever they take for the login, hublatch takes for the login as well, or refuses: each target is sent past hublatch, with
an assertion that the hub would believe.
"""

import re
import socket

import pytest

from assertion import good
from processes import PATIENCE, ROOT

TABLE = ROOT / "tests/data/targets.txt"
ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "s": b" ", "\\": b"\\"}


def unescaped(line):
    def byte(match):
        escape = match.group(1)
        return bytes([int(escape[1:], 16)]) if escape[0] == b"x"[0] else ESCAPES[escape.decode()]

    return re.sub(rb"\\(x[0-9a-f]{2}|.)", byte, line.encode())


def targets():
    """Verdict of hublatch and target, of those that may be a login to somebody: all but the longest."""
    lines = [line for line in TABLE.read_text().splitlines() if line and not line.startswith("#")]
    rows = [(line.split(" ", 1)[0], unescaped(line.split(" ", 1)[1].removeprefix(" "))) for line in lines]
    return [(verdict, target) for verdict, target in rows if len(target) < 200]


def logs_in(url, target, key):
    """Whether a request for `target` with a proof of its own logs its user in."""
    host, port = url.removeprefix("http://").split(":")
    head = b"GET " + target + b" HTTP/1.1\r\nHost: hub.test\r\nConnection: close\r\nREMOTE_USER: pathfinder\r\n"
    head += b"X-Hublatch-Assertion: " + good(key, "pathfinder").encode() + b"\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(head)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return re.search(rb"(?im)^set-cookie: jupyterhub-hub-login=", answer.split(b"\r\n\r\n")[0]) is not None


@pytest.fixture(scope="module")
def taken(hub):
    """The targets of the table that log somebody in behind hublatch, by verdict."""
    found = {"pass": [], "400": []}
    for verdict, target in targets():
        if logs_in(hub.public_url, target, hub.key):
            found[verdict].append(target)
    return found


def test_the_login_path_itself_logs_in(hub):
    assert logs_in(hub.public_url, b"/hub/login", hub.key)


def test_no_path_that_hublatch_passes_on_as_another_is_the_login(taken):
    assert taken["pass"] == []


def test_some_that_it_refuses_are(taken):
    """Or else this test would show nothing."""
    assert taken["400"], "no other spelling of the login path is one to the hub"
