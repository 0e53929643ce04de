"""A hub on a unix socket that believes a bare REMOTE_USER, and notebooks in a network of their own: they reach the Hub API
and nothing else of ours, so nobody among them can be anybody else. Wants root, as network namespaces do.
"""

import base64
import hashlib
import json
import os
import secrets
import shutil
import subprocess

import pytest

from browser import Browser, raw
from latch import BINARY
from notebook import Kernel
from processes import PATIENCE, free_port
from routed import Routed

pytestmark = pytest.mark.skipif(os.getuid() != 0 or not shutil.which("ip"), reason="wants root, and iproute2")

# What any header authenticator is without a proof.
BARE = """
from jupyterhub.auth import Authenticator
class Bare(Authenticator):
    auto_login = True
    async def authenticate(self, handler, data=None):
        return handler.request.headers.get("REMOTE_USER")
c.JupyterHub.authenticator_class = Bare
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {{"admin"}}
c.ConfigurableHTTPProxy.should_start = False
"""
# In the notebook's network.
FENCED = """
c.Spawner.cmd = ["ip", "netns", "exec", "NAME", {singleuser!r}]
c.Spawner.ip = "INSIDE"
c.Spawner.hub_connect_url = "http://OUTSIDE:PORT"
"""


class Network:
    """A network namespace on a cable of its own: `outside` is this machine's end, `inside` the notebooks'."""

    def __init__(self):
        self.name, number = f"hublatch{os.getpid()}", secrets.randbelow(2**14)
        # RFC 2544: for tests, and nobody's.
        self.outside, self.inside = (f"198.18.{number // 64}.{number % 64 * 4 + end}" for end in (1, 2))
        cable = f"hl{os.getpid()}"
        for command in (
            f"netns add {self.name}",
            f"link add {cable} type veth peer name inside netns {self.name}",
            f"addr add {self.outside}/30 dev {cable}",
            f"link set {cable} up",
            f"-n {self.name} addr add {self.inside}/30 dev inside",
            f"-n {self.name} link set inside up",
            f"-n {self.name} link set lo up",
        ):
            subprocess.run(["ip", *command.split()], check=True)

    def run_as_nobody(self, code):
        """The output of a program of somebody else in there."""
        command = ["ip", "netns", "exec", self.name, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        # Not this Python, which may be in root's home.
        done = subprocess.run([*command, "/usr/bin/python3", "-c", code], capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def remove(self):
        subprocess.run(["ip", "netns", "del", self.name], check=True)


@pytest.fixture(scope="module")
def network():
    network = Network()
    yield network
    network.remove()


class Fenced:
    def __init__(self, start_hub, network):
        self.network, self.hub_api_port = network, free_port()
        self.key = "hk_" + base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
        fenced = FENCED.replace("NAME", network.name).replace("INSIDE", network.inside)
        fenced = fenced.replace("OUTSIDE", network.outside).replace("PORT", str(self.hub_api_port))
        self.hub = start_hub(authenticator=BARE, extra=fenced, unix_socket=True, before_start=self._start_proxy)

    def _start_proxy(self, hub):
        digest = hashlib.sha256(self.key.encode()).hexdigest()
        config = {
            "public": {"listen": hub.public_url.removeprefix("http://"), "url": hub.public_url},
            "management": {"listen": hub.proxy_api_url.removeprefix("http://")},
            "routes": {
                "auth_token": hub.env["CONFIGPROXY_AUTH_TOKEN"],
                "hub_api_listen": f"{self.network.outside}:{self.hub_api_port}",
            },
            "login": {"lifetime": "5m"},
            "apps": [{"name": "portal", "keys": [f"sha256:{digest}"]}],
        }
        self.proxy = Routed("hublatch", hub.folder, config)

    def link(self, user, **fields):
        body = json.dumps({"username": user, **fields}).encode()
        headers = [("Authorization", f"token {self.key}"), ("Content-Type", "application/json")]
        answer = raw("POST", f"{self.hub.proxy_api_url}/api/v1/links", headers, body)
        assert answer.status == 201, answer.text
        return answer.json["url"]

    def ports(self):
        """All that we listen at, but for the listener that notebooks are for."""
        return [int(url.rpartition(":")[2]) for url in (self.hub.public_url, self.hub.proxy_api_url, self.hub.internal_url)]


@pytest.fixture(scope="module")
def fenced(start_hub, network):
    fenced = Fenced(start_hub, network)
    yield fenced
    fenced.hub.kill()
    fenced.proxy.process.kill()


# What a person's own code has there: her environment, and her network.
ATTACK = """
import http.client, os, socket, urllib.parse
def reaches(host, port):
    try:
        socket.create_connection((host, port), 5).close()
        return True
    except OSError:
        return False
def asks(method, path, **headers):
    api = urllib.parse.urlsplit(os.environ['JUPYTERHUB_API_URL'])
    connection = http.client.HTTPConnection(api.netloc)
    connection.request(method, path, headers={name.replace('__', '-'): value for name, value in headers.items()})
    answer = connection.getresponse()
    text = answer.read().decode()
    return answer.status, 'hub-login' in str(answer.getheaders()), '"name": "admin"' in text or '"token"' in text
"""


def test_code_in_a_notebook_reaches_the_hub_api_and_nothing_else_and_stays_who_it_is(fenced):
    browser = Browser(fenced.hub.public_url)
    page = browser.open_server(fenced.link("nick", path="lab"))
    # The bare header is believed where hublatch sends it, and her server's own login goes by the listener for notebooks.
    assert (page.status, page.path, browser.user()) == (200, "/user/nick/lab", "nick")
    kernel = Kernel(browser, "/user/nick/")
    kernel.execute(ATTACK + "1")
    network = fenced.network
    assert kernel.execute(f"reaches({network.outside!r}, {fenced.hub_api_port})") == "True"
    for host in (network.outside, "127.0.0.1"):
        for port in fenced.ports():
            assert kernel.execute(f"reaches({host!r}, {port})") == "False", (host, port)
    for path in ("/hub/login", "/hub/home", "/hub/hublatch/x", "/user/nick/lab", "/api/routes", "/api/v1/links", "/metrics"):
        assert kernel.execute(f"asks('GET', {path!r}, REMOTE_USER='admin')") == "(404, False, False)", path
    for method, path in (("GET", "/hub/api/user"), ("POST", "/hub/api/users/admin/tokens"), ("GET", "/hub/api/users")):
        for name in ("REMOTE_USER", "Remote__User", "X__Remote__User"):
            assert kernel.execute(f"asks({method!r}, {path!r}, {name}='admin')") == "(403, False, False)", (path, name)
    kernel.close()
    assert fenced.hub.api("GET", "/users/nick")["name"] == "nick"
    assert not fenced.hub.has_user("admin") or fenced.hub.api("GET", "/users/admin")["last_activity"] is None


def test_the_socket_of_the_hub_is_shut_to_other_users(fenced):
    code = f"import socket; s = socket.socket(socket.AF_UNIX)\ntry: s.connect({str(fenced.hub.socket)!r})\n"
    assert fenced.network.run_as_nobody(code + "except PermissionError: print('shut')") == "shut"


def test_the_doctor_finds_it_sound(fenced):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HUBLATCH_")}
    command = [BINARY, "doctor", "--config", fenced.proxy.config_file, "--json"]
    done = subprocess.run(
        command, env={**environment, "HUBLATCH_API_KEY": fenced.key}, capture_output=True, text=True, timeout=PATIENCE
    )
    findings = json.loads(done.stdout)
    assert done.returncode == 0, findings
    by = {finding["tried"]: finding for finding in findings}
    assert not [finding for finding in findings if finding["grade"] in ("unsafe", "failed")]
    own = by["the hub's own address, as a notebook on this machine has it"]
    assert own["grade"] == "ok" and str(fenced.hub.socket) in own["happened"]
    [listener] = [finding for tried, finding in by.items() if "routes.hub_api_listen" in tried]
    assert listener["grade"] == "ok", listener
    [bare] = [finding for tried, finding in by.items() if tried.startswith("a bare identity header straight to the hub")]
    assert bare["grade"] == "warn" and "socket" in bare["happened"], bare
