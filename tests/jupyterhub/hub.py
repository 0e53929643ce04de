"""A real JupyterHub with its configurable-http-proxy, in a folder of its own, on free ports of 127.0.0.1."""

import json
import os
import secrets
import urllib.error
import urllib.request

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assertion import public_pem
from processes import PATIENCE, ROOT, Process, free_port, wait_until

VENV = {"6.1": ROOT / "target/venv", "5.4": ROOT / "target/venv5", "4.1": ROOT / "target/venv41"}
NODE = ROOT / "target/node/bin"

HUBLATCH = """
c.JupyterHub.authenticator_class = "hublatch.HublatchAuthenticator"
c.HublatchAuthenticator.public_key_file = {public_key!r}
c.Authenticator.allow_all = True
"""

CONFIG = """
c.JupyterHub.bind_url = "http://127.0.0.1:{public_port}{base_url}"
c.JupyterHub.hub_bind_url = {hub_bind_url!r}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_api_port}"
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
c.JupyterHub.allow_named_servers = True
c.JupyterHub.spawner_class = "jupyterhub.spawner.SimpleLocalProcessSpawner"
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/home/{{username}}"
c.Spawner.cmd = [{singleuser!r}]
c.Spawner.args = ["--allow-root", "--ServerApp.max_body_size=1000000000", "--ServerApp.max_buffer_size=1000000000"]
c.Spawner.default_url = "/lab"
c.Spawner.environment = {{"HUBLATCH_TEST_DIR": "{folder}", "JUPYTERLAB_WORKSPACES_DIR": "{folder}/workspaces"}}
c.Spawner.start_timeout = 180
c.Spawner.http_timeout = 180
c.JupyterHub.services = [{{"name": "test", "api_token": {api_token!r}}}]
c.JupyterHub.load_roles = [{{"name": "test", "services": ["test"], "scopes": [
    "admin:users", "admin:auth_state", "admin:groups", "admin:servers", "tokens", "proxy"]}}]
"""


class Hub:
    """`authenticator` and `extra` are lines of jupyterhub_config.py; {public_key!r} names the assertion's key file."""

    def __init__(self, folder, authenticator=HUBLATCH, extra="", base_url="/", version="6.1", unix_socket=False):
        self.folder, self.version, self.base_url = folder, version, base_url
        self.key = Ed25519PrivateKey.generate()
        self.public_key_file = folder / "assertion.pub.pem"
        self.public_key_file.write_bytes(public_pem(self.key))
        self.public_port, self._proxy_api_port, self.port = free_port(), free_port(), free_port()
        self.socket = folder / "hub.sock" if unix_socket else None
        self.api_token = secrets.token_hex(16)
        self.env = {
            "PATH": f"{NODE}:{VENV[version] / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "python"),
            "CONFIGPROXY_AUTH_TOKEN": secrets.token_hex(16),
            "JUPYTERHUB_CRYPT_KEY": secrets.token_hex(32),
            "HOME": str(folder),
        }
        (folder / "home").mkdir()
        self._write_config(authenticator, extra)
        self.process = None

    def _write_config(self, authenticator, extra):
        names = {
            "folder": self.folder,
            "base_url": self.base_url,
            "public_port": self.public_port,
            "public_url": self.public_url,
            "internal_url": self.internal_url,
            "proxy_api_port": self._proxy_api_port,
            "hub_bind_url": self._bind_url(),
            "proxy": str(NODE / "configurable-http-proxy"),
            "singleuser": str(VENV[self.version] / "bin/jupyterhub-singleuser"),
            "api_token": self.api_token,
            "public_key": str(self.public_key_file),
        }
        text = CONFIG.format(**names) + authenticator.format(**names) + extra.format(**names)
        (self.folder / "jupyterhub_config.py").write_text(text)

    def _bind_url(self):
        if self.socket:
            return "http+unix://" + str(self.socket).replace("/", "%2F") + self.base_url
        return f"http://127.0.0.1:{self.port}{self.base_url}"

    @property
    def public_url(self):
        """The hub's own public proxy, without base_url: what hublatch's `hub.url` is."""
        return f"http://127.0.0.1:{self.public_port}"

    @property
    def proxy_api_url(self):
        """The routing API of its proxy."""
        return f"http://127.0.0.1:{self._proxy_api_port}"

    @property
    def internal_url(self):
        """The hub's own port, which notebooks reach too."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self):
        return self.process.log

    def launch(self):
        python = VENV[self.version] / "bin/python"
        assert python.exists(), f"{python} is missing: run tests/install.sh tests, and hub41, hub5 for the older hubs"
        command = [python, "-m", "jupyterhub", "-f", "jupyterhub_config.py"]
        self.process = Process("hub", self.folder, command, self.env)

    def start(self):
        self.launch()
        wait_until(self._answers, PATIENCE, "the hub to answer")
        return self

    def _answers(self):
        assert self.process.exit_code() is None, f"the hub ended at once:\n{self.log}"
        try:
            return "version" in self.api("GET", "/")
        except (OSError, AssertionError):
            return False

    def stop(self):
        """As an operator does, with its proxy and the notebook servers; it may be started again."""
        self.process.stop()

    def kill(self):
        """For good, without the seconds that the notebook servers take to end in order."""
        if self.process:
            self.process.kill()

    def api(self, method, path, body=None):
        """The Hub API as an administrator sees it: what tests check results with."""
        request = urllib.request.Request(
            f"{self.public_url}{self.base_url}hub/api{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.api_token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read()!r}") from None

    def has_user(self, name):
        return any(user["name"] == name for user in self.api("GET", "/users"))
