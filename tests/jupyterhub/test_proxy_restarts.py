"""A proxy that is killed or stands still, and a hub that is restarted: no server is lost, and no kernel forgets anything.

HUBLATCH_ROUNDS says how often each (20 for the whole proof), HUBLATCH_FREEZE for how many seconds the proxy stands still.
Without them a kill, which takes a second, comes three times and a restart of the hub once.
"""

import os
import signal
import threading
import time

import pytest

from browser import Browser, raw
from latch import BINARY
from notebook import Kernel, open_socket
from processes import PATIENCE, wait_until
from proxied import CONFIG, ProxiedHub

KILLS, RESTARTS = (int(os.environ.get("HUBLATCH_ROUNDS", short)) for short in ("3", "1"))
FREEZE = float(os.environ.get("HUBLATCH_FREEZE", "2"))

# The hub's own class with nothing but another command: it ends the proxy whenever it starts itself.
WITHOUT_ADOPTION = """
c.ConfigurableHTTPProxy.command = [{binary!r}, "chp", "--config", "{folder}/hublatch.toml"]
c.ConfigurableHTTPProxy.check_running_interval = 1
c.JupyterHub.authenticator_class = "hublatch.HublatchAuthenticator"
c.HublatchAuthenticator.public_key_file = {public_key!r}
c.Authenticator.allow_all = True
c.JupyterHub.cleanup_proxy = False
c.JupyterHub.cleanup_servers = False
c.JupyterHub.last_activity_interval = 3600
"""


class Tab:
    """A person with an open notebook. What its kernel remembers is there as long as her server is."""

    def __init__(self, proxied, user):
        self.proxied, self.user, self.browser = proxied, user, Browser(proxied.url)
        link = proxied.link(user, f"/hub/spawn/{user}?next=/user/{user}/lab")
        assert self.browser.open_server(link).status == 200
        self.kernel = Kernel(self.browser, f"/user/{user}/")
        assert self.kernel.execute("(x := 40)") == "40"
        self.started = self._started()

    def _started(self):
        return self.proxied.hub.api("GET", f"/users/{self.user}")["servers"][""]["started"]

    def assert_goes_on(self):
        """On the WebSocket that is open."""
        assert self.kernel.execute("x + 2") == "42"

    def assert_is_back(self):
        """On a new WebSocket, as JupyterLab opens one."""
        self.kernel.socket.close()
        self.kernel.socket = open_socket(self.browser, self.kernel.channels)
        self.assert_goes_on()
        assert self._started() == self.started


class Scene:
    def __init__(self, start_hub, config):
        self.proxied = ProxiedHub(start_hub, config=config.replace("{binary!r}", repr(str(BINARY))))
        self.tab = Tab(self.proxied, "alice")
        self.routes = set(self.proxied.routes())

    def kill_proxy(self):
        """Seconds until the hub has started another one and written its routes."""
        pid, begun = self.proxied.pid, time.monotonic()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.is_back(pid), PATIENCE, "the proxy and its routes")
        return time.monotonic() - begun

    def is_back(self, old):
        try:
            return self.proxied.pid != old and set(self.proxied.routes()) == self.routes
        except (AssertionError, OSError, ValueError):
            return False


@pytest.fixture(scope="module")
def adopting(start_hub):
    scene = Scene(start_hub, CONFIG)
    yield scene
    os.kill(scene.proxied.pid, signal.SIGKILL)
    scene.proxied.hub.kill()


@pytest.fixture(scope="module")
def plain(start_hub):
    scene = Scene(start_hub, WITHOUT_ADOPTION)
    yield scene
    os.kill(scene.proxied.pid, signal.SIGKILL)
    scene.proxied.hub.kill()


def kill_again_and_again(scene, record_property):
    took = []
    for _ in range(KILLS):
        took.append(scene.kill_proxy())
        scene.tab.assert_is_back()
    record_property("seconds until the routes were back", [round(seconds, 1) for seconds in took])


def test_a_proxy_that_is_killed_again_and_again_costs_no_server(adopting, record_property):
    kill_again_and_again(adopting, record_property)
    assert "/extra/" in adopting.routes


def test_the_same_by_the_command_alone(plain, record_property):
    kill_again_and_again(plain, record_property)


def test_a_hub_that_takes_its_proxy_over_cuts_no_connection(adopting):
    pid = adopting.proxied.pid
    for _ in range(RESTARTS):
        adopting.proxied.hub.process.stop_alone()
        adopting.tab.assert_goes_on()
        adopting.proxied.hub.start()
        assert adopting.proxied.pid == pid
        adopting.tab.assert_goes_on()
    assert "Taking over the running proxy" in adopting.proxied.hub.log
    assert set(adopting.proxied.routes()) == adopting.routes


def test_a_hub_that_starts_its_proxy_anew_finds_its_ports_free(plain):
    for _ in range(RESTARTS):
        pid = plain.proxied.pid
        plain.proxied.hub.process.stop_alone()
        # At once, while the old proxy still runs.
        plain.proxied.hub.start()
        assert plain.proxied.pid != pid
        plain.tab.assert_is_back()
    assert set(plain.proxied.routes()) == plain.routes


def test_a_proxy_that_dies_while_the_hub_is_down_is_back_with_the_hub(adopting):
    adopting.proxied.hub.process.stop_alone()
    os.kill(adopting.proxied.pid, signal.SIGKILL)
    adopting.proxied.hub.start()
    assert set(adopting.proxied.routes()) == adopting.routes
    adopting.tab.assert_is_back()


def test_a_proxy_that_stands_still_while_a_server_starts_costs_no_server(adopting):
    hub, url = adopting.proxied.hub, adopting.proxied.hub.internal_url
    browser = Browser(adopting.proxied.url)
    assert browser.open(adopting.proxied.link("frozen")).status == 200
    pid = adopting.proxied.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        # The call waits for the server; through the proxy nothing is answered.
        headers = [("Authorization", f"token {hub.api_token}")]
        start = {"target": raw, "args": ["POST", f"{url}/hub/api/users/frozen/server", headers]}
        starting = threading.Thread(**start, daemon=True)
        starting.start()
        wait_until(lambda: "Adding user frozen to proxy" in hub.log, PATIENCE, "the hub to write the route")
        time.sleep(FREEZE)
    finally:
        os.kill(pid, signal.SIGCONT)
    starting.join(PATIENCE)
    wait_until(lambda: hub.api("GET", "/users/frozen")["servers"].get("", {}).get("ready"), PATIENCE, "the server")
    assert browser.open_server("/user/frozen/lab").status == 200
    assert adopting.proxied.pid == pid
    adopting.tab.assert_goes_on()
