"""hublatch as a hub's own proxy that the hub does not start: `[routes]` in its file, its process, and its routing API."""

import json
import os
import signal

from browser import raw
from latch import BINARY, toml
from processes import PATIENCE, Process, wait_until


class Routed:
    """`config` has `public.listen`, `management.listen` and `routes.auth_token`."""

    def __init__(self, name, folder, config):
        self.name, self.folder, self._token = name, folder, config["routes"]["auth_token"]
        self.listen, self.management = (config[section]["listen"] for section in ("public", "management"))
        self.config_file = folder / "hublatch.toml"
        self.config_file.write_text(toml(config))
        self.config_file.chmod(0o600)
        self.start()

    def start(self):
        self.process = Process(self.name, self.folder, [BINARY, "serve", "--config", self.config_file], {})
        wait_until(self._answers, PATIENCE, f"{self.name} to answer")

    def _answers(self):
        assert self.process.exit_code() is None, self.process.log
        try:
            return raw("GET", f"http://{self.management}/live").status == 200
        except OSError:
            return False

    def kill(self):
        """Without warning; it may be started again."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)

    def call(self, method, path, body=None):
        """The routing API, as the hub calls it."""
        body = None if body is None else json.dumps(body).encode()
        url = f"http://{self.management}/api/routes{path}"
        return raw(method, url, [("Authorization", f"token {self._token}")], body)

    def table(self):
        answer = self.call("GET", "")
        assert answer.status == 200, answer
        return answer.json
