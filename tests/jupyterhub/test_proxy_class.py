"""hublatch as the hub's own proxy by c.JupyterHub.proxy_class: one process, no key file to copy, no Node."""

import json
import os
import signal
from pathlib import Path

import pytest

from browser import Browser, raw
from hub import VENV
from latch import BINARY
from processes import PATIENCE, wait_until
from proxied import CONFIG, ProxiedHub


@pytest.fixture(scope="module", params=["6.1", "5.4", "4.1"])
def any_hub(request, start_hub):
    return ProxiedHub(start_hub, request.param)


@pytest.fixture(scope="module")
def proxied(start_hub):
    proxied = ProxiedHub(start_hub)
    yield proxied
    os.kill(proxied.pid, signal.SIGKILL)


def test_a_link_logs_in_without_any_key_file_at_the_hub(any_hub):
    browser = Browser(any_hub.url)
    page = browser.open(any_hub.link("alice"))
    assert (page.status, page.path, browser.user()) == (200, "/hub/home", "alice")
    assert raw("GET", any_hub.hub.internal_url + "/hub/login", [("REMOTE_USER", "alice")]).status == 403


def test_extra_routes_are_back_at_once_after_a_crash_of_the_proxy(any_hub):
    before = set(any_hub.routes())
    assert {"/", "/extra/"} <= before
    os.kill(any_hub.pid, signal.SIGKILL)

    def back():
        try:
            return set(any_hub.routes()) == before
        except (AssertionError, OSError, FileNotFoundError):
            return False

    wait_until(back, 20, "all routes to be back")
    browser = Browser(any_hub.url)
    assert browser.open(any_hub.link("bob")).status == 200


def test_no_node_is_running(proxied):
    children = Path(f"/proc/{proxied.hub.process.pid}/task").glob("*/children")
    names = [Path(f"/proc/{pid}/comm").read_text().strip() for each in children for pid in each.read_text().split()]
    assert names and "node" not in names


def test_a_proxy_that_was_started_otherwise_is_not_taken_over(proxied):
    pid = proxied.pid
    proxied.hub.process.stop_alone()
    config = proxied.hub.folder / "jupyterhub_config.py"
    config.write_text(config.read_text() + '\nc.HublatchProxy.log_level = "debug"\n')
    proxied.hub.start()
    assert proxied.pid != pid
    assert not Path(f"/proc/{pid}").exists()
    assert {"/", "/extra/"} <= set(proxied.routes())


def test_a_taken_over_proxy_that_dies_is_started_again(proxied):
    proxied.hub.process.stop_alone()
    proxied.hub.start()
    pid = proxied.pid
    os.kill(pid, signal.SIGKILL)

    def anew():
        try:
            return proxied.pid != pid and "/extra/" in proxied.routes()
        except (AssertionError, OSError, ValueError):
            return False

    wait_until(anew, 20, "a new proxy")


def test_the_hub_does_not_start_without_a_usable_configuration(tmp_path_factory):
    from hub import Hub

    hub = Hub(tmp_path_factory.mktemp("hub"), authenticator=CONFIG.replace("{binary!r}", repr(str(BINARY))))
    hub.launch()
    try:
        assert hub.process.wait(PATIENCE) != 0
        assert "hublatch.toml" in hub.log and "assertion --config" in hub.log
    finally:
        hub.kill()


REPLICAS = r"""
import asyncio, json, logging, os, sys
from types import SimpleNamespace
from jupyterhub.proxy import ConfigurableHTTPProxy
from hublatch.proxy import HublatchProxy, merge

async def main():
    urls = json.loads(os.environ["API_URLS"])
    hub = SimpleNamespace(routespec="/", host="http://127.0.0.1:9", url="http://127.0.0.1:9/hub/")
    app = SimpleNamespace(hub=hub, subdomain_host="", internal_ssl=False, users={}, _service_map={})
    made = dict(app=app, hub=hub, log=logging.getLogger(), public_url="http://127.0.0.1:1", auth_token="t")
    proxy = HublatchProxy(api_urls=urls, **made)
    assert proxy.should_start is False
    one, two = (ConfigurableHTTPProxy(api_url=url, should_start=False, **made) for url in urls)
    tell = lambda table: sorted(table)

    await proxy.add_route("/user/a/", "http://127.0.0.1:9", {"user": "a"})
    assert tell(await one.get_all_routes()) == tell(await two.get_all_routes()) == ["/user/a/"]
    await one.add_route("/only-one/", "http://127.0.0.1:9", {})
    assert tell(await proxy.get_all_routes()) == ["/user/a/"], "what all have"
    await two.add_route("/user/a/", "http://127.0.0.1:7", {"user": "a"})
    assert tell(await proxy.get_all_routes()) == [], "what all have the same"
    await proxy.check_routes({}, {})
    assert tell(await one.get_all_routes()) == tell(await two.get_all_routes()) == ["/"], "what the hub wants, at all"
    await proxy.delete_route("/")
    assert tell(await one.get_all_routes()) == tell(await two.get_all_routes()) == []

    os.kill(int(os.environ["KILL"]), 9)
    await asyncio.wait_for(proxy.add_route("/user/b/", "http://127.0.0.1:9", {"user": "b"}), 15)
    assert tell(await one.get_all_routes()) == tell(await proxy.get_all_routes()) == ["/user/b/"]

    proxy.api_url = urls[0]  # as PATCH /hub/api/proxy does
    proxy.api_url = "http://127.0.0.1:1"
    assert proxy.api_urls == []
    later = {"/": {"target": "t", "data": {"last_activity": "2026-01-02T00:00:00.000Z"}}}
    sooner = {"/": {"target": "t", "data": {"last_activity": "2026-01-01T00:00:00.000Z"}}}
    for tables in ([later, sooner], [sooner, later]):
        assert merge(tables)["/"]["data"]["last_activity"] == "2026-01-02T00:00:00.000Z"
    print("all of it")

asyncio.run(main())
"""


@pytest.mark.parametrize("version", ["6.1", "5.4", "4.1"])
def test_several_replicas_are_written_and_read_as_one(tmp_path, version):
    import subprocess

    from processes import ROOT, Process, free_port

    processes, urls = [], []
    for name in ("one", "two"):
        port = free_port()
        command = [BINARY, "chp", "--ip", "127.0.0.1", "--port", str(free_port()), "--api-ip", "127.0.0.1"]
        process = Process(name, tmp_path, [*command, "--api-port", str(port)], {"CONFIGPROXY_AUTH_TOKEN": "t"})
        processes.append(process)
        urls.append(f"http://127.0.0.1:{port}")
    try:
        for url in urls:

            def answers(url=url):
                try:
                    return raw("GET", url + "/api/routes", [("Authorization", "token t")]).status == 200
                except OSError:
                    return False

            wait_until(answers, PATIENCE, "the replicas")
        done = subprocess.run(
            [VENV[version] / "bin/python", "-c", REPLICAS],
            env={"PYTHONPATH": str(ROOT / "python"), "API_URLS": json.dumps(urls), "KILL": str(processes[1].pid)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.stdout == "all of it\n", done.stderr[-3000:]
    finally:
        for process in processes:
            process.kill()
