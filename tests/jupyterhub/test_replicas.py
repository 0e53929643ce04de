"""Two hublatch as the proxy of one real hub, with one routing table in a Redis that Sentinels watch."""

import base64
import hashlib
import http.client
import itertools
import json
import secrets
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

import pytest

from assertion import private_pem
from browser import Browser, raw
from hops import Hop
from processes import PATIENCE, free_port, wait_until
from redis_fleet import RedisFleet
from routed import Routed

# What the failover comes in the middle of.
CHANGES = 200
HUB = """
c.ConfigurableHTTPProxy.should_start = False
c.JupyterHub.spawner_class = "spawners.Quick"
c.JupyterHub.last_activity_interval = 3600
c.JupyterHub.cleanup_servers = False
"""


class Place:
    """The hub, `front` before the replicas for browsers and `api` before them for the hub."""

    def __init__(self, start_hub, folder):
        self.redis = RedisFleet(folder)
        self.key = "hk_" + base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
        self.hub = start_hub(extra=HUB, before_start=self._before)
        self.front.turn_to(*(f"http://{replica.listen}" for replica in self.replicas))

    def _before(self, hub):
        hub.env["PYTHONPATH"] += f":{Path(__file__).parent}"
        token, key_file = hub.env["CONFIGPROXY_AUTH_TOKEN"], hub.folder / "assertion.key.pem"
        key_file.touch(mode=0o600)
        key_file.write_bytes(private_pem(hub.key))
        self.replicas = []
        for name in ("one", "two"):
            config = {
                "public": {"listen": f"127.0.0.1:{free_port()}", "url": hub.public_url},
                "management": {"listen": f"127.0.0.1:{free_port()}"},
                "hub": {"url": hub.internal_url},
                "routes": {"auth_token": token, "state": "store"},
                "store": {"url": self.redis.url},
                "assertion": {"key_file": str(key_file)},
                "login": {"lifetime": "5m"},
                "apps": [{
                    "name": "portal",
                    "keys": ["sha256:" + hashlib.sha256(self.key.encode()).hexdigest()],
                    "scopes": ["issue", "read", "end"],
                }],
            }
            folder = hub.folder / name
            folder.mkdir()
            self.replicas.append(Routed(name, folder, config))
        self.front = Hop(f"http://{self.replicas[0].listen}", port=hub.public_port)
        self.api = Hop(f"http://{self.replicas[0].management}", port=int(hub.proxy_api_url.rpartition(":")[2]))

    def start_server(self, user):
        self.hub.api("POST", f"/users/{user}")
        self.hub.api("POST", f"/users/{user}/server")
        wait_until(lambda: self.hub.api("GET", f"/users/{user}")["servers"].get("", {}).get("ready"), PATIENCE, "a server")

    def manage(self, replica, method, path, body=None):
        body = None if body is None else json.dumps(body).encode()
        headers = [("Authorization", f"token {self.key}"), ("Content-Type", "application/json")]
        return raw(method, f"http://{replica.management}{path}", headers, body)

    def stop(self):
        self.front.stop()
        self.api.stop()
        for replica in self.replicas:
            replica.process.kill()
        self.redis.stop()
        self.hub.kill()


@pytest.fixture(scope="module")
def place(start_hub, tmp_path_factory):
    place = Place(start_hub, tmp_path_factory.mktemp("redis"))
    yield place
    place.stop()


class Asker:
    """One connection to one replica, as a browser keeps it; opened anew when it has ended."""

    def __init__(self, place, replica):
        self._host, self._replica, self._connection = place.hub.public_url.removeprefix("http://"), replica, None

    def ask(self, path):
        """Status and text. Raises OSError or HTTPException where the connection fails."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._replica.listen, timeout=PATIENCE)
        try:
            self._connection.request("GET", path, headers={"Host": self._host, "Accept": "application/json"})
            answer = self._connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            raise


class Load(threading.Thread):
    """Asks one replica for `path`, which `wanted` must answer, until it is told to stop; keeps what went wrong, and when."""

    def __init__(self, place, replica, path, wanted):
        super().__init__(daemon=True)
        self._asker, self._path, self._wanted, self._over = Asker(place, replica), path, wanted, threading.Event()
        self.count, self.failures, self.wrong = 0, [], []
        self.start()

    def run(self):
        while not self._over.wait(0.005):
            begun = time.monotonic()
            try:
                answer = self._asker.ask(self._path)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append((begun, repr(error)))
                continue
            self.count += 1
            if answer != (200, self._wanted):
                self.wrong.append(answer)

    def stop(self):
        self._over.set()
        self.join(PATIENCE)


def text(user):
    return f"the server of {user}"


def test_a_server_that_the_hub_starts_through_one_is_there_at_both_when_the_hub_says_so(place):
    askers = [Asker(place, replica) for replica in place.replicas]
    for number, replica in enumerate(place.replicas):
        place.api.turn_to(f"http://{replica.management}")
        user = f"user{number}"
        place.start_server(user)
        assert [asker.ask(f"/user/{user}/x") for asker in askers] == [(200, text(user))] * 2
    for number, replica in enumerate(place.replicas):
        place.hub.api("DELETE", f"/users/user{number}/server")
        wait_until(lambda: not place.hub.api("GET", f"/users/user{number}")["servers"], PATIENCE, "the server to end")
        assert not any(f"/user/user{number}" in each.table() for each in place.replicas)
        # And at both it is the hub that answers now.
        assert all(asker.ask(f"/user/user{number}/x") != (200, text(f"user{number}")) for asker in askers)


class Tunnel:
    """A WebSocket of `browser` through one replica, which the server answers with what it says."""

    def __init__(self, place, replica, browser, path):
        host, port = replica.listen.split(":")
        self._socket = socket.create_connection((host, int(port)), PATIENCE)
        self._socket.sendall((
            f"GET {path} HTTP/1.1\r\nHost: {place.hub.public_url.removeprefix('http://')}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Origin: {place.hub.public_url}\r\nCookie: {browser.cookie_header(path)}\r\n\r\n"
        ).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self._socket.recv(4096)
            assert piece, head
            head += piece
        assert head.startswith(b"HTTP/1.1 101 "), head

    def is_open(self):
        # A binary frame of four bytes, masked by nothing.
        message = b"\x82\x84\0\0\0\0" + b"ping"
        try:
            self._socket.sendall(message)
            got = b""
            while len(got) < len(message):
                piece = self._socket.recv(4096)
                if not piece:
                    return False
                got += piece
        except OSError:
            return False
        # What comes back may be the end that hublatch tells.
        return got == message

    def ends(self):
        wait_until(lambda: not self.is_open(), PATIENCE, "the tunnel to end")


def test_a_session_that_ends_at_one_ends_its_tunnels_at_both(place):
    def login(user):
        order = {"username": user, "next": "/hub/home"}
        link = place.manage(place.replicas[0], "POST", "/api/v1/links", order).json
        browser = Browser(place.hub.public_url)
        assert browser.open(link["url"]).status == 200
        return browser

    browsers = {user: login(user) for user in ("ended", "stays")}
    for user in browsers:
        place.hub.api("POST", f"/users/{user}/server")
    for user in browsers:
        wait_until(lambda: place.hub.api("GET", f"/users/{user}")["servers"].get("", {}).get("ready"), PATIENCE, "servers")
        # The hub knows of a session as soon as a server has a token for it.
        callback = {"client_id": f"jupyterhub-user-{user}", "redirect_uri": f"/user/{user}/oauth_callback"}
        order = urlencode({**callback, "response_type": "code", "state": "x"})
        page = browsers[user].open(f"/hub/api/oauth2/authorize?{order}")
        assert (page.status, page.text) == (200, text(user)), (page, page.text[:300])
    tunnels = {
        user: [Tunnel(place, replica, browser, f"/user/{user}/ws") for replica in place.replicas]
        for user, browser in browsers.items()
    }
    assert all(tunnel.is_open() for both in tunnels.values() for tunnel in both)
    answer = place.manage(place.replicas[1], "DELETE", "/api/v1/users/ended/sessions")
    assert (answer.status, answer.json) == (200, {"ended": 1}), answer.text
    for tunnel in tunnels["ended"]:
        tunnel.ends()
    assert all(tunnel.is_open() for tunnel in tunnels["stays"])


def test_the_use_of_a_server_at_one_is_told_by_the_other(place):
    one, two = place.replicas
    place.start_server("active")
    before = one.table()["/user/active"]["last_activity"]
    time.sleep(0.3)  # a use is noted four times a second
    assert Asker(place, two).ask("/user/active/x") == (200, text("active"))
    used = two.table()["/user/active"]["last_activity"]
    assert used > before
    wait_until(lambda: one.table()["/user/active"]["last_activity"] >= used, PATIENCE, "the other to tell it")


def test_one_that_is_killed_under_load_takes_only_its_own_requests_with_it(place):
    one, two = place.replicas
    place.start_server("steady")
    stays, goes = ([Load(place, replica, "/user/steady/x", text("steady")) for _ in range(2)] for replica in (one, two))
    loads = [*stays, *goes]
    wait_until(lambda: all(load.count > 50 for load in loads), PATIENCE, "the load")
    killed = time.monotonic()
    two.kill()
    # The hub goes on, and the one that is gone holds up one change for two seconds and no second.
    place.api.turn_to(f"http://{one.management}")
    place.front.turn_to(f"http://{one.listen}")
    place.start_server("meanwhile")
    assert Asker(place, one).ask("/user/meanwhile/x") == (200, text("meanwhile"))
    two.start()
    assert Asker(place, two).ask("/user/meanwhile/x") == (200, text("meanwhile")), "at its first request"
    counts = [load.count for load in loads]
    wait_until(lambda: all(load.count > count for load, count in zip(loads, counts)), PATIENCE, "the load to go on")
    for load in loads:
        load.stop()
    place.front.turn_to(*(f"http://{replica.listen}" for replica in place.replicas))
    assert [load.wrong for load in loads] == [[]] * 4
    assert [load.failures for load in stays] == [[], []]
    for load in goes:
        # The request that was under way may have begun before.
        assert load.failures and all(begun > killed - 1 for begun, _ in load.failures), load.failures[:3]


def test_with_the_hub_down_and_all_replicas_killed_the_routes_are_back(place):
    place.start_server("kept")
    before = [replica.table().keys() for replica in place.replicas]
    place.hub.process.stop_alone()
    for replica in place.replicas:
        replica.kill()
    for replica in place.replicas:
        replica.start()
        assert Asker(place, replica).ask("/user/kept/x") == (200, text("kept"))
        assert Asker(place, replica).ask("/hub/home")[0] == 503
    place.hub.start()
    # Whom the hub has refused a moment ago asks it again after a second.
    wait_until(lambda: all(Asker(place, each).ask("/hub/api/")[0] == 200 for each in place.replicas), PATIENCE, "the hub")
    assert [replica.table().keys() for replica in place.replicas] == before
    assert [Asker(place, replica).ask("/user/kept/x") for replica in place.replicas] == [(200, text("kept"))] * 2


class Named(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.server.name.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def targets():
    """Two servers that say who they are: the name of each, and its URL."""
    servers = []
    for name in ("here", "there"):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Named)
        server.name = name
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
    yield {server.name: "http://127.0.0.1:{}".format(server.server_address[1]) for server in servers}
    for server in servers:
        server.shutdown()
        server.server_close()


class Writer(threading.Thread):
    """Changes routes of its own at its replica as the hub does: what is not acknowledged is tried again, for long enough."""

    def __init__(self, replica, targets, changes):
        super().__init__(daemon=True)
        self._replica, self._targets, self._changes = replica, targets, changes
        self.done, self.acknowledged, self.tries, self.failure, self.longest = 0, {}, 0, None, 0.0
        self.start()

    def run(self):
        names = itertools.cycle(self._targets)
        try:
            for number in range(self._changes):
                key = f"/user/{self._replica.name}-{number % 20}"
                # Every third takes away what it was.
                name = None if number % 3 == 2 and key in self.acknowledged else next(names)
                self._change(key, name)
                self.done += 1
        except Exception as error:
            self.failure = repr(error)

    def _change(self, key, name):
        begun = time.monotonic()
        while time.monotonic() < begun + PATIENCE:
            self.tries += 1
            try:
                if name is None:
                    status = self._replica.call("DELETE", key).status
                else:
                    order = {"target": self._targets[name], "user": key.rpartition("/")[2], "jupyterhub": True}
                    status = self._replica.call("POST", key, order).status
            except (OSError, http.client.HTTPException):
                status = 599
            if status < 500:
                # What was deleted by a try that was not acknowledged is not there.
                assert status in ((204, 404) if name is None else (201,)), (key, name, status)
                self.acknowledged[key] = name
                self.longest = max(self.longest, time.monotonic() - begun)
                return
            time.sleep(0.05)
        raise AssertionError(f"{key} -> {name} was never acknowledged: {status}")


def test_no_acknowledged_change_is_lost_by_a_failover_of_redis(place, targets, record_property):
    place.start_server("bystander")
    loads = [Load(place, replica, "/user/bystander/x", text("bystander")) for replica in place.replicas]
    writers = [Writer(replica, targets, CHANGES // 2) for replica in place.replicas]
    wait_until(lambda: all(writer.done > CHANGES // 5 or writer.failure for writer in writers), PATIENCE, "changes")
    old = place.redis.kill_primary()
    for writer in writers:
        writer.join(PATIENCE)
        assert writer.failure is None and writer.done == CHANGES // 2, writer.failure
    for load in loads:
        load.stop()
        # Requests ask Redis for nothing.
        assert load.count > 50 and (load.failures, load.wrong) == ([], [])
    wait_until(lambda: place.redis.primary() not in (None, old), PATIENCE, "all Sentinels to know the new one")
    acknowledged = {key: name for writer in writers for key, name in writer.acknowledged.items()}
    for replica in place.replicas:
        table = replica.table()
        found = {key: table[key]["target"] if key in table else None for key in acknowledged}
        assert found == {key: name and targets[name] for key, name in acknowledged.items()}, replica.name
        asker = Asker(place, replica)
        for key, name in acknowledged.items():
            if name:
                assert asker.ask(f"{key}/x") == (200, name), (replica.name, key)
    record_property("longest change", max(writer.longest for writer in writers))
    # The hub can go on, and takes away what it knows nothing of.
    place.start_server("afterwards")
    assert [Asker(place, each).ask("/user/afterwards/x") for each in place.replicas] == [(200, text("afterwards"))] * 2
    place.hub.api("POST", "/proxy")
    assert not [key for each in place.replicas for key in each.table() if key in acknowledged]
