"""Plugin of The Littlest JupyterHub: `--plugin hublatch` at its installer makes the hub take login links.

TLJH's traefik keeps its ports, its certificates and Let's Encrypt; it sends everything to hublatch, which is the hub's own
proxy. hublatch runs as a service and a user of its own. The login that the hub had stays; links come beside it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
from pathlib import Path

import pluggy

hookimpl = pluggy.HookimplMarker("tljh")

USER = "hublatch"
PUBLIC = "127.0.0.1:8000"  # where traefik finds hublatch
MANAGEMENT = "127.0.0.1:8010"  # the API of links, and of routes


class Layout:
    """Where things are below TLJH's prefix."""

    def __init__(self, prefix, systemd="/etc/systemd/system"):
        self.prefix = Path(prefix)
        # Not in config/ or state/, into which TLJH lets root alone.
        self.folder = self.prefix / "hublatch"
        self.config = self.folder / "hublatch.toml"
        self.token = self.folder / "routes.token"
        self.app_key = self.folder / "app.key"
        self.assertion_key = self.folder / "assertion.key.pem"
        self.derived_url = self.prefix / "state/hublatch-public-url"
        self.rule = self.prefix / "state/rules/hublatch.toml"
        self.binary = self.prefix / "hub/bin/hublatch"
        self.unit = Path(systemd) / "hublatch.service"


def layout():
    return Layout(os.environ.get("TLJH_INSTALL_PREFIX", "/opt/tljh"))


def tljh_config():
    from tljh.configurer import load_config

    return load_config()


@hookimpl
def tljh_post_install():
    """The last step of the installer, also of an upgrade: keys and configuration are written once, the unit always."""
    where = layout()
    if subprocess.run(["id", USER], capture_output=True, check=False).returncode != 0:
        nologin = "/usr/sbin/nologin"
        subprocess.run(["useradd", "--system", "--no-create-home", "--shell", nologin, USER], check=True)
    config = tljh_config()
    write_configuration(where, config)
    for file in where.folder.iterdir():
        shutil.chown(file, USER, USER)
    shutil.chown(where.folder, USER, USER)
    write_unit(where)
    write_rule(where, config)
    for command in (["daemon-reload"], ["enable", "hublatch"], ["restart", "hublatch", "traefik", "jupyterhub"]):
        subprocess.run(["systemctl", *command], check=True)


@hookimpl
def tljh_custom_jupyterhub_config(c):
    """At every start of the hub; nothing before the installer has come to `tljh_post_install`."""
    where = layout()
    if not where.config.exists():
        return
    configure_hub(where, c)
    # `tljh-config set https.enabled true` changes them; `tljh-config reload` comes here.
    config = tljh_config()
    write_rule(where, config)
    follow_public_url(where, config)


def write_configuration(where, config):
    """Keys, tokens and hublatch.toml, with the rights that they need. What is there already is left as it is."""
    where.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    if where.config.exists():
        return
    app_key = "hk_" + base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    write_secret(where.token, secrets.token_urlsafe(32) + "\n")
    write_secret(where.app_key, app_key + "\n")
    write_secret(where.assertion_key, new_private_key())
    write_secret(where.config, configuration(config, app_key))
    if "HUBLATCH_PUBLIC_URL" not in os.environ:
        where.derived_url.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        where.derived_url.write_text(public_url(config))


def follow_public_url(where, config):
    """Writes the new URL where https was switched on or a domain was set, unless somebody else has chosen the present one."""
    if not where.derived_url.exists():
        return
    old, new = where.derived_url.read_text(), public_url(config)
    line = f"\nurl = {json.dumps(old)} "
    text = where.config.read_text()
    if new == old or line not in text:
        return
    write_secret(where.config, text.replace(line, f"\nurl = {json.dumps(new)} "))
    where.derived_url.write_text(new)


def configuration(config, app_key):
    """The text of hublatch.toml."""
    # The admins log in as they always have; an application cannot name them.
    admins = [name for name in config["users"]["admin"] if name]
    return f"""# Written once by hublatch's plugin of The Littlest JupyterHub; yours to change.
# hublatch check --config FILE tells what a change has broken.

[public]
listen = "{PUBLIC}" # traefik's rule state/rules/hublatch.toml leads here
url = {json.dumps(public_url(config))} # what browsers type
trusted_proxies = ["127.0.0.1/32"] # traefik, which says who the visitor is

[management]
listen = "{MANAGEMENT}" # the API for applications

[routes]
auth_token_file = "routes.token" # what the hub proves itself with

[login]
without_token = "forward" # the hub's own login, for all who come without a link

[assertion]
key_file = "assertion.key.pem"

[[apps]]
name = "portal"
keys = ["sha256:{hashlib.sha256(app_key.encode()).hexdigest()}"] # the digest of the key in app.key
deny_usernames = {json.dumps(admins)}
"""


def public_url(config):
    """$HUBLATCH_PUBLIC_URL; else the domain of Let's Encrypt, or this machine's name."""
    given = os.environ.get("HUBLATCH_PUBLIC_URL", "")
    if given:
        return given.rstrip("/")
    secure = config["https"]["enabled"]
    host = next(iter(config["https"]["letsencrypt"]["domains"]), None) or socket.getfqdn()
    port, usual = (config["https"]["port"], 443) if secure else (config["http"]["port"], 80)
    return f"{'https' if secure else 'http'}://{host}{'' if port == usual else f':{port}'}"


def configure_hub(where, c):
    """What jupyterhub_config.py needs: TLJH's own settings are set already, and its config.d comes after this."""
    from hublatch.authenticator import beside, find_authenticator

    c.JupyterHub.proxy_class = "hublatch.proxy.HublatchProxy"
    c.HublatchProxy.should_start = False
    c.HublatchProxy.api_url = f"http://{MANAGEMENT}"
    c.HublatchProxy.auth_token = where.token.read_text().strip()
    c.HublatchProxy.command = [str(where.binary), "chp"]
    c.HublatchProxy.config_file = str(where.config)
    other = c.JupyterHub.authenticator_class
    if isinstance(other, str):
        other = find_authenticator(other)
    c.JupyterHub.authenticator_class = beside(other)


def write_rule(where, config):
    """traefik's rule that sends all to hublatch, on the entry point that TLJH's certificates are for."""
    entry_point = "https" if config["https"]["enabled"] else "http"
    where.rule.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = f"""# Written by hublatch's plugin at each start of the hub.
[http.routers.hublatch]
rule = "PathPrefix(`/`)"
entryPoints = ["{entry_point}"]
service = "hublatch"
priority = 1000000 # before the routes that the hub wrote into rules.toml when it had traefik for its proxy

[http.services.hublatch.loadBalancer]
passHostHeader = true

[[http.services.hublatch.loadBalancer.servers]]
url = "http://{PUBLIC}"
"""
    if not where.rule.exists() or where.rule.read_text() != text:
        write_secret(where.rule, text)


def write_unit(where):
    where.unit.write_text(f"""[Unit]
Description=hublatch, the proxy of this JupyterHub
Before=jupyterhub.service
After=network-online.target

[Service]
User={USER}
ExecStart={where.binary} serve --config {where.config}
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartPreventExitStatus=78
# The hub writes all its routes when it starts, and looks after them every five minutes: a hublatch that restarts alone
# would have none until then. ProtectSystem=strict leaves it this folder to write to.
StateDirectory={USER}
StateDirectoryMode=0700
Environment=HUBLATCH_ROUTES__STATE=/var/lib/{USER}/routes.json
LimitNOFILE=65536
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes

[Install]
WantedBy=multi-user.target
""")


def write_secret(path, text):
    """A file that only its owner can read, whole or not at all. It keeps the owner that it had."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        if path.exists():
            os.fchown(file.fileno(), path.stat().st_uid, path.stat().st_gid)
    os.replace(new, path)


def new_private_key():
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
