"""A JupyterHub with hublatch, for examples/demo.sh and docker/compose.yaml: ONE MACHINE, TO TRY IT OUT.

Every user's server runs under the hub's own uid, so users are not kept apart. For a real hub take your own spawner, and
from this file only the block "Login".
"""
# ruff: noqa: F821 (`c` comes from JupyterHub)
import os
import sys
from pathlib import Path

state = Path(os.environ["HUB_STATE_DIR"])

# --- Login ---
if "HUB_HUBLATCH_CONFIG_FILE" in os.environ:
    # hublatch is this hub's own proxy, and the hub starts it (examples/demo.sh). `hublatch init --proxy` prints the same,
    # in the short names "hublatch" that an installed wheel adds.
    c.JupyterHub.proxy_class = "hublatch.HublatchProxy"
    c.HublatchProxy.config_file = os.environ["HUB_HUBLATCH_CONFIG_FILE"]
    c.JupyterHub.authenticator_class = "hublatch.HublatchAuthenticator"
else:
    # hublatch runs elsewhere. `hublatch init` prints the same for your paths.
    sys.path.insert(0, os.environ["HUB_AUTHENTICATOR_DIR"])  # where hublatch_authenticator.py is
    c.JupyterHub.authenticator_class = "hublatch_authenticator.HublatchAuthenticator"
    c.HublatchAuthenticator.public_key_file = os.environ["HUB_ASSERTION_PUBLIC_KEY_FILE"]
    c.HublatchAuthenticator.audience = "jupyterhub"
c.Authenticator.allow_all = True  # whom hublatch admits, the hub admits

# --- Addresses: the first is the hub's proxy, hublatch itself or what it sends requests to; the others stay inside. ---
c.JupyterHub.bind_url = os.environ["HUB_BIND_URL"]
c.JupyterHub.hub_bind_url = os.environ["HUB_INTERNAL_URL"]
c.ConfigurableHTTPProxy.api_url = os.environ["HUB_PROXY_API_URL"]
# The hub ends whatever process has the number in this file: it must not outlive the container that it was written in.
c.ConfigurableHTTPProxy.pid_file = os.environ.get("HUB_PROXY_PID_FILE", str(state / "proxy.pid"))

# --- hublatch as the hub's proxy (compose-proxy.yaml): it runs elsewhere, and this hub writes its routes into it. ---
if "HUB_PROXY_TOKEN_FILE" in os.environ:
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.auth_token = Path(os.environ["HUB_PROXY_TOKEN_FILE"]).read_text().strip()
    c.JupyterHub.hub_connect_url = os.environ["HUB_CONNECT_URL"]
    # Servers run on without the hub, and are there when it returns.
    c.JupyterHub.cleanup_servers = False
    # Where the proxy finds users' servers: this machine, under the name that others know it by.
    c.Spawner.ip = os.environ["HUB_SERVER_IP"]

# --- hublatch starts servers, where an application wants to see the progress ("launch"). ---
if "HUB_HUBLATCH_TOKEN_FILE" in os.environ:
    token = Path(os.environ["HUB_HUBLATCH_TOKEN_FILE"]).read_text().strip()
    c.JupyterHub.services = [{"name": "hublatch", "api_token": token}]
    c.JupyterHub.load_roles = [{"name": "hublatch", "services": ["hublatch"], "scopes": ["servers", "admin:users"]}]

# --- State, all of it in one directory. ---
c.JupyterHub.db_url = f"sqlite:///{state / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(state / "cookie_secret")

# --- Servers ---
c.JupyterHub.allow_named_servers = True
c.JupyterHub.spawner_class = "simple"  # see above: no isolation between users
c.SimpleLocalProcessSpawner.home_dir_template = str(state / "users" / "{username}")
# In the hub's process group, so that whoever ends the group ends the servers too, even if the hub has crashed.
c.LocalProcessSpawner.popen_kwargs = {"start_new_session": False}
c.Spawner.cmd = [str(Path(sys.executable).with_name("jupyterhub-singleuser"))]
c.Spawner.default_url = "/lab"
c.Spawner.http_timeout = 90  # seconds: a first start on a small machine is slow
c.Spawner.start_timeout = 120
if os.geteuid() == 0:
    c.Spawner.args = ["--allow-root"]
