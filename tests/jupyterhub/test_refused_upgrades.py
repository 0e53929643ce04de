"""WebSockets that nobody takes, through JupyterHub's own proxy: it closes such a connection without saying so, and the
next visitor's request must not go there."""

import http.client
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

import launching
from processes import PATIENCE

AT_ONCE = 20


@pytest.fixture(scope="module")
def api_only(start_hub, start_hublatch, tmp_path_factory):
    latch = launching.start(start_hub, start_hublatch, tmp_path_factory.mktemp("api-only"), api_only=True)
    yield latch
    latch.stop()
    latch.hub.kill()


@pytest.fixture(params=["latch", "api_only"])
def either(request):
    return request.getfixturevalue(request.param)


def upgrade(address):
    """The status of the answer to a WebSocket to a server that is not there."""
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        connection.sendall(
            b"GET /user/nobody/x HTTP/1.1\r\nHost: hub.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status


def get(address):
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
    try:
        connection.request("GET", "/hub/api/")
        return connection.getresponse().status
    finally:
        connection.close()


def test_visitors_are_answered_after_upgrades_that_were_refused(either):
    host, port = either.url.removeprefix("http://").split(":")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(5):
            refused = set(pool.map(upgrade, [(host, int(port))] * AT_ONCE))
            assert refused and all(300 <= status < 600 for status in refused), refused
            assert set(pool.map(get, [(host, int(port))] * AT_ONCE)) == {200}
