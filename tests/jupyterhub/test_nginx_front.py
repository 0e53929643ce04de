"""config/nginx/hublatch.conf before hublatch: a login, a kernel, an upload, addresses, and a log without tokens."""

import os

import pytest

from nginx import Front
from notebook import Kernel
from processes import PATIENCE, free_port, wait_until


@pytest.fixture(scope="module")
def front(hub, start_hublatch, tmp_path_factory):
    port = free_port()
    listen = f"127.0.0.1:{free_port()}"
    public = {"listen": listen, "url": f"https://127.0.0.1:{port}", "trusted_proxies": ["127.0.0.1"]}
    latch = start_hublatch(hub, {"public": public})
    front = Front(tmp_path_factory.mktemp("front"), port, listen).start()
    front.latch = latch
    yield front
    front.stop()
    latch.stop()


def test_a_login_a_kernel_and_an_upload_pass(front):
    browser = front.latch.browser()
    link = front.latch.issue("nina", path="lab")
    assert link["url"].startswith(f"{front.url}/hub/login?login_token=hl_")
    page = browser.open_server(link["url"])
    assert (page.status, page.path, browser.user()) == (200, "/user/nina/lab", "nina")
    assert Kernel(browser, "/user/nina/").execute("6*7") == "42"
    # Above nginx's own limit of a body, 1 MiB.
    text = os.urandom(2 * 1024 * 1024).hex()
    body = {"type": "file", "format": "text", "content": text}
    assert browser.fetch("PUT", "/user/nina/api/contents/large.txt", body).status == 201
    assert browser.open("/user/nina/files/large.txt").text == text


def test_a_link_works_once_and_its_token_is_in_no_log_of_nginx(front):
    link = front.latch.issue("nina", next="/hub/home")
    assert front.latch.browser().open(link["url"]).status == 200
    referring = {"Referer": link["url"]}
    assert front.latch.browser().open(link["url"], headers=referring).status == 403


    def log():
        return (front.folder / "hublatch.log").read_text()

    # nginx writes it when the answer is sent.
    wait_until(lambda: '"GET /hub/login HTTP/1.1" 403' in log(), PATIENCE, "the log of nginx")
    assert "hl_" not in log() + (front.folder / "hublatch-error.log").read_text()


def test_forged_addresses_do_not_arrive(front):
    forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http"}
    assert front.latch.browser().request("GET", "/hub/forged", headers=forged.items()).status in (302, 404)

    def lines():
        return [line for line in front.latch.process.records() if line.get("path") == "/hub/forged"]

    seen = wait_until(lines, PATIENCE, "the access log, which is written in batches")
    assert [line["client_ip"] for line in seen] == ["127.0.0.1"]


def test_a_long_line_passes_as_it_does_without_a_front_and_what_is_too_long_is_answered_by_hublatch(front):
    """Bokeh's subprotocols are one line of some KiB; cookies are another."""
    browser = front.latch.browser()
    for size in (9, 12, 15):
        line = ("Sec-WebSocket-Protocol", "x" * size * 1024)
        assert browser.request("GET", "/hub/api/", headers=[line]).status == 200, f"{size} KiB"
    path = f"/hub/too-long?x={'y' * 40 * 1024}"
    answer = browser.request("GET", path)
    assert answer.status in (414, 431), answer.status
    assert "nginx" not in answer.text, "the page is ours"

    def log():
        return (front.folder / "hublatch.log").read_text()

    wait_until(lambda: f'"GET /hub/too-long HTTP/1.1" {answer.status}' in log(), PATIENCE, "a line about it")
