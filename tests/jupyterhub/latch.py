"""The program under test, as an operator runs it: its configuration, its process, and its management API."""

import base64
import copy
import hashlib
import json
import os
import secrets
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from assertion import private_pem
from browser import Browser
from processes import PATIENCE, ROOT, Process, free_port, wait_until

BINARY = Path(os.environ.get("HUBLATCH_BIN", ROOT / "target/release/hublatch"))

# Where the program stands: before the hub's own proxy, or as the hub's proxy. The same flows must work in both.
AS_PROXY = os.environ.get("HUBLATCH_PLACE") == "proxy"


class Hublatch:
    """`changes` are sections of hublatch.toml, laid over the ones below; None takes a section or a key away."""

    def __init__(self, folder, hub, changes=None):
        if AS_PROXY and "url" in (changes or {}).get("hub", {}):
            pytest.skip("something stands between hublatch and the hub, whose proxy it then cannot be")
        self.folder, self.base_url, self._hub = folder, hub.base_url, hub
        self._routes_token = secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{free_port()}"
        self.key = "hk_" + base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
        self._config = merged(self._default_config(hub), changes or {})
        self.url, self.apps = self._config["public"]["url"], self._config["apps"]
        self.process, self.env = None, {}

    def _default_config(self, hub):
        key_file = self.folder / "assertion.key.pem"
        key_file.touch(mode=0o600)
        key_file.write_bytes(private_pem(hub.key))
        return {
            "public": {"listen": self.url.removeprefix("http://"), "url": self.url},
            "management": {"listen": "127.0.0.1:0"},
            **self._place(hub),
            "assertion": {"key_file": str(key_file)},
            # As long as they may be. A link for half a minute could end before a busy machine has opened it; tests of
            # that end say `expires_in`.
            "login": {"lifetime": "5m", "replay_grace": "10m"},
            "apps": [
                {
                    "name": "portal",
                    "keys": ["sha256:" + hashlib.sha256(self.key.encode()).hexdigest()],
                    "scopes": ["issue", "read", "revoke", "end"],
                    "rate": "10000/s",
                    "groups": [".*"],
                    "claims": True,
                }
            ],
        }

    def _place(self, hub):
        if AS_PROXY:
            return {"hub": {"url": hub.internal_url}, "routes": {"auth_token": self._routes_token}}
        return {"hub": {"url": hub.public_url, "base_url": hub.base_url}}

    def be_the_proxy(self):
        """Tells the hub that this is its proxy now: it writes all its routes, and those to come, into it."""
        if AS_PROXY and self.process.exit_code() is None:
            self._hub.api("PATCH", "/proxy", {"api_url": self.management, "auth_token": self._routes_token})
        return self

    def start(self):
        assert BINARY.exists(), f"{BINARY} is missing: cargo build --release, or set HUBLATCH_BIN"
        config = self._write_config()
        self.process = Process("hublatch", self.folder, [BINARY, "serve", "--config", config], self.env)
        bound = wait_until(self._bound, PATIENCE, "hublatch to listen")
        assert bound["public"] == self._config["public"]["listen"]
        self.management = f"http://{bound['management']}"
        return self.be_the_proxy()

    def _write_config(self):
        config, new = self.folder / "hublatch.toml", self.folder / "hublatch.toml.new"
        new.touch(mode=0o600)
        new.write_text(toml(self._config))
        # At once: a hublatch that runs looks at it by itself.
        return new.replace(config)

    def reload(self, changes):
        """Brings `changes` into force while it runs."""
        self._config = merged(self._config, changes)
        self._write_config()
        known = self._reloads()
        os.kill(self.process.pid, signal.SIGHUP)
        wait_until(lambda: self._reloads() > known, PATIENCE, "hublatch to read its configuration again")

    def _reloads(self):
        return [line.get("message") for line in self.process.records()].count("reloaded")

    def _bound(self):
        assert self.process.exit_code() is None, f"hublatch ended at once:\n{self.process.log}"
        lines = [line for line in self.process.records() if line.get("message") == "listening"]
        bound = {line["listener"]: line["address"] for line in lines}
        return bound if {"public", "management"} <= bound.keys() else None

    def stop(self):
        if self.process:
            self.process.stop()

    def restart(self):
        """Ends it and starts it again, by the same configuration."""
        self.stop()
        # What the next one says is to be told from what the last one has said.
        self.process.log_path.rename(self.folder / "hublatch.log.1")
        return self.start()

    def browser(self):
        """A new one, that knows nobody."""
        return Browser(self.url)

    def hub_path(self, path):
        """A path of the hub under its base_url: hub_path("hub/home")."""
        return self.base_url + path

    def issue(self, username, **fields):
        """A link as an app asks for it; `path`, `server`, `next`, `expires_in`, `confirm`, `groups`, `claims`."""
        status, link = self.manage("POST", "/api/v1/links", {"username": username, **fields})
        assert status == 201, (status, link)
        return link

    def manage(self, method, path, body=None):
        """Status and body of one call of the management API with the app's key."""
        request = urllib.request.Request(
            self.management + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.key}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or "null")

    def audit(self, link):
        """What became of a link, as the audit log has it."""
        lines = [line for line in self.process.records() if line.get("audit")]
        return [line["event"] for line in lines if line.get("id") == link["id"]]

    def status(self, link):
        return self.manage("GET", f"/api/v1/links/{link['id']}")[1]["status"]


def merged(base, changes):
    result = copy.deepcopy(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(result.get(key, {}), value)
        else:
            result[key] = value
    return result


def toml(config):
    """Sections of scalars and lists, and lists of sections: all that a configuration here holds."""
    lines = []
    for name, section in config.items():
        for table in section if isinstance(section, list) else [section]:
            lines.append(f"[[{name}]]" if isinstance(section, list) else f"[{name}]")
            # TOML's strings, booleans, numbers and arrays of them are JSON's.
            lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"
