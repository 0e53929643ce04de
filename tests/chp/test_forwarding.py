"""What of a request and of its answer passes, and what is added."""

import pytest

from conftest import better


@pytest.fixture
def routed(proxy, origin):
    proxy.add("/", origin.url)
    return proxy


def seen(answer, name):
    assert answer.status == 200, answer
    return [value for key, value in answer.json["headers"] if key.lower() == name.lower()]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_passes_with_its_body(routed, method):
    answer = routed.public(method, "/x", body=b"" if method == "GET" else b"body of it")
    assert (answer.json["method"], answer.json["body"]) == (method, "" if method == "GET" else "body of it")


def test_head_has_no_body(routed):
    answer = routed.public("HEAD", "/x")
    assert (answer.status, answer.body) == (200, b"")


def test_a_chunked_body_passes(routed):
    answer = routed.public("POST", "/x", [("Transfer-Encoding", "chunked")], b"4\r\nbody\r\n3\r\n!!!\r\n0\r\n\r\n")
    assert answer.json["body"] == "body!!!"


def test_a_large_body_passes(routed):
    body = b"x" * 3_000_000
    assert len(routed.public("PUT", "/x", body=body).json["body"]) == len(body)


def test_ordinary_headers_pass(routed):
    sent = [("Cookie", "a=1; b=2"), ("Accept", "*/*"), ("X-Custom", "kept as it is"), ("Authorization", "token abc")]
    answer = routed.public("GET", "/x", [*sent, ("Origin", "http://o"), ("Sec-Fetch-Mode", "navigate")])
    for name, value in sent:
        assert seen(answer, name) == [value]
    assert seen(answer, "Origin") == ["http://o"] and seen(answer, "Sec-Fetch-Mode") == ["navigate"]


def test_the_host_is_the_clients(routed):
    assert seen(routed.public("GET", "/x", host="hub.example.org:8443"), "Host") == ["hub.example.org:8443"]


def test_the_client_and_its_address_line_are_told(routed):
    answer = routed.public("GET", "/x", host="hub.example.org")
    assert seen(answer, "X-Forwarded-For") == ["127.0.0.1"]
    assert seen(answer, "X-Forwarded-Proto") == ["http"]
    assert seen(answer, "X-Forwarded-Host") == ["hub.example.org"]
    assert seen(answer, "X-Forwarded-Port") == ["80"]
    assert seen(routed.public("GET", "/x", host="h:8443"), "X-Forwarded-Port") == ["8443"]


def test_no_x_forward_adds_nothing(start, origin):
    proxy = start("--no-x-forward", "--default-target", origin.url)
    answer = proxy.public("GET", "/x")
    for name in ("For", "Proto", "Host", "Port"):
        assert seen(answer, f"X-Forwarded-{name}") == []


def test_custom_headers_win_over_the_clients(start, origin):
    args = ["--custom-header", "X-Own: one", "--custom-header", "X-Two: a: b"]
    proxy = start(*args, "--default-target", origin.url)
    answer = proxy.public("GET", "/x", [("X-Own", "the client's")])
    assert (seen(answer, "X-Own"), seen(answer, "X-Two")) == (["one"], ["a: b"])


def test_change_origin_sends_the_targets_host(start, origin):
    proxy = start("--change-origin", "--default-target", origin.url)
    assert seen(proxy.public("GET", "/x", host="hub.example.org"), "Host") == [f"127.0.0.1:{origin.port}"]


@pytest.mark.parametrize("status", [200, 201, 204, 301, 302, 304, 400, 401, 403, 404, 410, 418, 500, 502, 503])
def test_every_status_of_the_target_passes(routed, status):
    answer = routed.public("GET", f"/x?status={status}")
    assert (answer.status, answer.header("X-Origin-Header")) == (status, "Kept")


def test_cookies_of_an_answer_stay_apart(routed):
    assert routed.public("GET", "/x?cookies").all("Set-Cookie") == ["a=1; Path=/", "b=2; Path=/x"]


def test_a_chunked_answer_passes(routed):
    assert routed.public("GET", "/x?chunked").json["target"] == "/x?chunked"


def test_an_answer_that_dies_is_no_clean_end(routed):
    with pytest.raises(better(chp=(EOFError, OSError), ours=(EOFError, ConnectionError))):
        routed.public("GET", "/x?die")


def test_a_client_that_goes_away_is_told_to_the_target(routed, origin):
    from processes import wait_until

    connection = routed.public.connect()
    connection.send_request("GET", "/x?silent&gone", [("Host", "x")])
    mine = wait_until(lambda: [each for each in origin.seen if each["target"] == "/x?silent&gone"], 10, "the request")[-1]
    connection.close()
    assert wait_until(lambda: mine.get("gone"), 10, "the target to be told")


def test_a_connection_is_kept_open_for_the_next_request(routed):
    connection = routed.public.connect()
    for number in range(3):
        connection.send_request("GET", f"/x?{number}", [("Host", "x")])
        assert connection.read_response().json["target"] == f"/x?{number}"
    connection.close()


def test_a_client_that_asks_for_it_gets_its_connection_closed(routed):
    connection = routed.public.connect()
    connection.send_request("GET", "/x", [("Host", "x"), ("Connection", "close")])
    assert connection.read_response().status == 200
    assert connection.is_closed()
    connection.close()


def test_http_1_0_is_answered_and_closed(routed):
    connection = routed.public.connect()
    connection.send(b"GET /x HTTP/1.0\r\nHost: x\r\n\r\n")
    assert connection.read_response().status == 200
    assert connection.is_closed()


def test_a_location_is_left_alone(routed):
    location = "http://127.0.0.1:1/next"
    assert routed.public("GET", f"/x?status=302&location={location}").header("Location") == location


class TestRewrittenLocations:
    @pytest.mark.parametrize("status", [201, 301, 302, 307, 308])
    def test_auto_rewrite_puts_the_clients_host_in_place_of_the_targets(self, start, origin, status):
        proxy = start("--auto-rewrite", "--default-target", origin.url) if not hasattr(self, "p") else self.p
        type(self).p = proxy
        answer = proxy.public("GET", f"/x?status={status}&location={origin.url}/next", host="hub.test:1")
        assert answer.header("Location") == "http://hub.test:1/next"
        other = "http://other.test/next"
        assert proxy.public("GET", f"/x?status={status}&location={other}", host="h").header("Location") == other

    def test_protocol_rewrite_changes_the_scheme(self, start, origin):
        proxy = start("--protocol-rewrite", "https", "--default-target", origin.url)
        answer = proxy.public("GET", f"/x?status=302&location={origin.url}/next")
        assert answer.header("Location").startswith("https://")


def test_many_connections_with_close_are_all_answered(routed):
    """Where a client's `Connection: close` is sent on, each request costs the target a connection, and some fail."""
    answers = [routed.public("GET", "/x", [("Connection", "close")]).status for _ in range(50)]
    assert answers == [200] * 50


def test_large_heads_of_an_answer_pass(routed):
    assert routed.public("GET", "/x?big=8000").status == 200
    assert routed.public("GET", "/x?big=17000").status == better(chp=503, ours=200)
