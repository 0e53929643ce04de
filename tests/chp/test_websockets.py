"""WebSockets through the proxy, and what becomes of open ones."""

import pytest

from conftest import better
from http1 import frame, read_frame
from origin import websocket


@pytest.fixture
def routed(proxy, origin):
    proxy.add("/a", origin.url)
    return proxy


def echoes(connection, text=b"hello"):
    connection.send(frame(1, text))
    return read_frame(connection) == (1, text)


def test_messages_pass_both_ways(routed):
    response, connection, seen = websocket(routed.public, "/a/ws?x=1")
    assert (response.status, seen["target"]) == (101, "/a/ws?x=1")
    for size in (0, 1, 125, 126, 60_000):
        assert echoes(connection, b"x" * size)
    connection.send(frame(2, b"\0\xff"))
    assert read_frame(connection) == (2, b"\0\xff")
    connection.close()


def test_the_handshake_passes_whole(routed):
    sent = [("Sec-WebSocket-Protocol", "v1.kernel.websocket.jupyter.org, other"), ("Cookie", "a=1"), ("Origin", "http://o")]
    response, connection, seen = websocket(routed.public, "/a/ws", sent)
    connection.close()
    assert response.header("Sec-WebSocket-Protocol") == "v1.kernel.websocket.jupyter.org"
    got = {name.lower(): value for name, value in seen["headers"]}
    assert (got["cookie"], got["origin"]) == ("a=1", "http://o")
    assert got["upgrade"].lower() == "websocket" and "upgrade" in got["connection"].lower()


def test_the_client_is_told(routed):
    _, connection, seen = websocket(routed.public, "/a/ws", host="hub.test")
    connection.close()
    got = {name.lower(): value for name, value in seen["headers"]}
    assert got["host"] == "hub.test" and got["x-forwarded-for"] == "127.0.0.1"
    assert got["x-forwarded-proto"] == better(chp="ws", ours="http")


def test_a_refusal_of_the_target_passes_with_its_body(routed):
    response, connection, _ = websocket(routed.public, "/a/ws?refuse&status=403")
    connection.close()
    assert response.status == 403 and response.json["origin"] == "origin"


def test_no_route_is_404(proxy):
    response, connection, _ = websocket(proxy.public, "/nothing/ws")
    connection.close()
    assert response.status == 404


def test_a_dead_target_is_503(proxy, new_origin):
    gone = new_origin("gone")
    proxy.add("/dead", gone.url)
    gone.stop()
    response, connection, _ = websocket(proxy.public, "/dead/ws")
    assert response.status == 503
    assert connection.is_closed()


def test_a_deleted_route_leaves_open_ones_alone(routed):
    _, connection, _ = websocket(routed.public, "/a/ws")
    routed.delete("/a")
    assert echoes(connection)
    connection.close()


def test_a_replaced_route_leaves_open_ones_alone(routed, new_origin):
    _, connection, _ = websocket(routed.public, "/a/ws")
    routed.add("/a", new_origin("new").url)
    assert echoes(connection)
    assert routed.public("GET", "/a").json["origin"] == "new"
    connection.close()


def test_many_changes_of_the_table_leave_open_ones_alone(routed, origin):
    _, connection, _ = websocket(routed.public, "/a/ws")
    for number in range(100):
        routed.add(f"/other/{number}", origin.url)
        routed.delete(f"/other/{number}")
    assert echoes(connection)
    connection.close()


def test_a_target_that_goes_away_ends_them(proxy, new_origin):
    origin = new_origin("short-lived")
    proxy.add("/s", origin.url)
    _, connection, _ = websocket(proxy.public, "/s/ws")
    origin.stop()
    assert connection.is_closed()


def test_a_client_that_closes_is_answered(routed):
    _, connection, _ = websocket(routed.public, "/a/ws")
    connection.send(frame(8, b"\x03\xe8"))
    assert read_frame(connection)[0] == 8
    connection.close()
