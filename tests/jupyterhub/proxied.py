"""A hub whose only proxy is hublatch, which it starts itself by its proxy class."""

import base64
import hashlib
import json
import secrets
import urllib.request

from assertion import private_pem
from latch import BINARY
from processes import PATIENCE
from readme import block

# What docs/install.md says, and what makes a test quick and its program the one under test. The short names are there
# only where the package is installed (test_wheel.py), not where it is in the path.
CONFIG = block("proxy hub").replace("/etc/hublatch", "{folder}").replace(
    'proxy_class = "hublatch"', 'proxy_class = "hublatch.HublatchProxy"'
).replace('authenticator_class = "hublatch"', 'authenticator_class = "hublatch.HublatchAuthenticator"') + """
c.HublatchProxy.command = [{binary!r}, "chp"]
c.HublatchProxy.check_running_interval = 1
c.HublatchProxy.extra_routes = {{"/extra/": "http://127.0.0.1:9"}}
c.JupyterHub.cleanup_proxy = False
c.JupyterHub.cleanup_servers = False
c.JupyterHub.last_activity_interval = 3600
"""


class ProxiedHub:
    """A hub that starts hublatch itself, and its one application."""

    def __init__(self, start_hub, version="6.1", config=CONFIG.replace("{binary!r}", repr(str(BINARY))), env=None):
        self.key = "hk_" + base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
        self._more_env = env or {}
        self.hub = start_hub(authenticator=config, version=version, before_start=self._write)
        self.url = self.hub.public_url

    def _write(self, hub):
        # The tests' own way to give each hub's proxy a token would stand in the way of what is tried here.
        hub.env.pop("CONFIGPROXY_AUTH_TOKEN", None)
        hub.env.update(self._more_env)
        key = hub.folder / "assertion.key.pem"
        key.touch(mode=0o600)
        key.write_bytes(private_pem(hub.key))
        digest = hashlib.sha256(self.key.encode()).hexdigest()
        (hub.folder / "hublatch.toml").write_text(
            f'[public]\nurl = "{hub.public_url}"\n[routes]\n[assertion]\nkey_file = "assertion.key.pem"\n'
            f'[login]\nlifetime = "5m"\n[[apps]]\nname = "portal"\nkeys = ["sha256:{digest}"]\n'
        )

    @property
    def pid(self):
        return int((self.hub.folder / "jupyterhub-proxy.pid").read_text())

    def link(self, user, path="/hub/home"):
        request = urllib.request.Request(
            f"{self.hub.proxy_api_url}/api/v1/links",
            data=json.dumps({"username": user, "next": path}).encode(),
            headers={"Authorization": f"token {self.key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read())["url"]

    def routes(self):
        return self.hub.api("GET", "/proxy")
