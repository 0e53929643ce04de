"""What a visitor gets where no target answers."""

import pytest

from conftest import better
from origin import websocket


@pytest.fixture
def dead(proxy, new_origin):
    gone = new_origin("gone")
    proxy.add("/dead", gone.url)
    gone.stop()
    return proxy


def test_no_route_is_404_in_html(proxy):
    answer = proxy.public("GET", "/nothing")
    assert answer.status == 404
    assert answer.header("Content-Type").startswith("text/html")


def test_a_dead_target_is_503_in_html(dead):
    answer = dead.public("GET", "/dead/x", [("Accept", "text/html")])
    assert answer.status == 503
    assert answer.header("Content-Type").startswith("text/html")


def test_a_target_that_comes_back_is_asked_again(proxy, new_origin):
    gone = new_origin("gone")
    proxy.add("/t", gone.url)
    gone.stop()
    assert proxy.public("GET", "/t").status == 503
    proxy.add("/t", new_origin("back").url)
    assert proxy.public("GET", "/t").json["origin"] == "back"


class TestErrorTarget:
    @pytest.fixture(scope="class")
    @classmethod
    def errors(cls, new_origin):
        return new_origin("errors")

    @pytest.fixture(scope="class")
    @classmethod
    def with_target(cls, start, errors, new_origin):
        proxy = start("--error-target", errors.url + "/hub/error")
        gone = new_origin("gone")
        proxy.add("/dead", gone.url)
        gone.stop()
        return proxy

    @pytest.mark.parametrize(("path", "code"), [("/nothing/here?x=1", 404), ("/dead/x?y=%20", 503)])
    def test_it_is_asked_for_the_page_and_the_status_stays_ours(self, with_target, errors, path, code):
        from urllib.parse import parse_qs, urlsplit

        answer = with_target.public("GET", path, [("Accept", "text/html")])
        assert (answer.status, answer.json["origin"]) == (code, "errors")
        asked = urlsplit(errors.seen[-1]["target"])
        assert asked.path == f"/hub/error/{code}"
        assert parse_qs(asked.query)["url"] == [path]

    def test_nothing_of_the_visitors_is_sent_to_it(self, with_target, errors):
        sent = [("Cookie", "secret=1"), ("Authorization", "token secret"), ("X-Other", "secret"), ("Accept", "text/html")]
        with_target.public("GET", "/nothing/of/mine", sent)
        assert "secret" not in str(errors.seen[-1]["headers"])

    def test_one_that_is_down_leaves_the_status(self, start, new_origin):
        gone = new_origin("gone")
        proxy = start("--error-target", gone.url)
        gone.stop()
        assert proxy.public("GET", "/nothing").status == 404

    def test_a_websocket_does_not_ask_it(self, with_target, errors):
        before = len(errors.seen)
        response, connection, _ = websocket(with_target.public, "/dead/ws")
        connection.close()
        assert response.status == 503
        assert len(errors.seen) == before

    def test_a_storm_at_a_dead_target_asks_once(self, with_target, errors):
        before = len(errors.seen)
        for _ in range(20):
            assert with_target.public("GET", "/dead/storm", [("Accept", "text/html")]).status == 503
        assert len(errors.seen) - before <= better(chp=20, ours=1)


class TestErrorPath:
    @pytest.fixture(scope="class")
    @classmethod
    def with_path(cls, start, tmp_path_factory):
        folder = tmp_path_factory.mktemp("pages")
        (folder / "404.html").write_text("<p>own 404")
        (folder / "error.html").write_text("<p>own error")
        return start("--error-path", str(folder))

    def test_the_page_of_the_status(self, with_path):
        answer = with_path.public("GET", "/nothing")
        assert answer.status == 404 and "own 404" in answer.text
        assert answer.header("Content-Type").startswith("text/html")

    def test_the_page_for_all_others(self, with_path, new_origin):
        gone = new_origin("gone")
        with_path.add("/dead", gone.url)
        gone.stop()
        answer = with_path.public("GET", "/dead", [("Accept", "text/html")])
        assert answer.status == 503 and "own error" in answer.text


def test_an_api_call_at_a_dead_target_may_get_json_and_is_503(dead):
    answer = dead.public("GET", "/dead/api/contents", [("Accept", "application/json")])
    assert answer.status == 503
    if better(chp=False, ours=True):
        assert answer.header("Content-Type").startswith("application/json") and answer.json["message"]
        assert int(answer.header("Retry-After")) > 0


def test_a_target_that_is_no_url_is_an_error(proxy):
    answer = proxy.api.json("POST", "/api/routes/bad", {"target": "no url at all"})
    if answer.status == 201:
        assert proxy.public("GET", "/bad").status >= 500
    else:
        assert answer.status == better(chp=201, ours=400)


def test_the_health_page_needs_no_route_and_no_token(proxy):
    answer = proxy.public("GET", "/_chp_healthz")
    assert (answer.status, answer.json) == (200, {"status": "OK"})
