"""last_activity: what the hub's culler takes for use."""

import time

import pytest

from conftest import IS_CHP
from http1 import frame, read_frame
from origin import websocket
from processes import wait_until


def activity(proxy, path="/a"):
    return proxy.route(path).json["last_activity"]


@pytest.fixture
def routed(proxy, origin):
    proxy.add("/a", origin.url)
    proxy.add("/b", origin.url)
    time.sleep(0.3)  # an implementation may write it down only so often
    return proxy


def moved(proxy, before, path="/a"):
    """It may be written a moment after the answer has arrived."""
    return wait_until(lambda: activity(proxy, path) > before, 5, "last_activity to move")


@pytest.mark.parametrize("status", [200, 204])
def test_an_answer_below_300_counts(routed, status):
    before = activity(routed)
    routed.public("GET", f"/a/x?status={status}")
    moved(routed, before)


@pytest.mark.parametrize("status", [302, 304, 404, 500])
def test_an_answer_of_300_or_more_does_not_count(routed, status):
    before = activity(routed)
    routed.public("GET", f"/a/x?status={status}")
    time.sleep(0.3)
    assert activity(routed) == before


def test_it_is_counted_for_the_route_that_was_used(routed):
    before = activity(routed, "/b")
    routed.public("GET", "/a/x")
    time.sleep(0.3)
    assert activity(routed, "/b") == before


def test_reading_the_table_does_not_count(routed):
    before = activity(routed)
    for _ in range(3):
        routed.routes()
    assert activity(routed) == before


def test_a_dead_target_does_not_count(routed, new_origin):
    gone = new_origin("gone")
    routed.add("/a", gone.url)
    gone.stop()
    time.sleep(0.3)
    before = activity(routed)
    assert routed.public("GET", "/a/x").status == 503
    time.sleep(0.3)
    assert activity(routed) == before


def test_a_handshake_does_not_count_and_what_the_client_sends_does(routed):
    before = activity(routed)
    response, connection, _ = websocket(routed.public, "/a/ws")
    assert response.status == 101
    time.sleep(0.4)
    assert activity(routed) == before
    connection.send(frame(1, b"hello"))
    assert read_frame(connection)[1] == b"hello"
    moved(routed, before)
    connection.close()


def test_a_replaced_route_begins_anew(routed, origin):
    before = activity(routed)
    routed.add("/a", origin.url)
    assert activity(routed) > before


def test_under_messages_a_pong_does_not_count(start, origin, tmp_path):
    if IS_CHP:
        pytest.skip("configurable-http-proxy counts pongs: an open tab is never idle")
    config = tmp_path / "hublatch.toml"
    config.write_text('[public]\nurl = "http://127.0.0.1:8000"\n[routes]\nactivity = "messages"\n')
    proxy = start("--config", str(config))
    proxy.add("/a", origin.url)
    time.sleep(0.3)
    before = activity(proxy)
    _, connection, _ = websocket(proxy.public, "/a/ws")
    connection.send(frame(10, b"a pong"))
    time.sleep(0.5)
    assert activity(proxy) == before
    connection.send(frame(1, b"a message"))
    moved(proxy, before)
    connection.close()
