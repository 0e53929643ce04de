#!/usr/bin/env python3
"""Writes what a hublatch leaves behind, for the tests that a later one reads it: make.py BINARY

Beside this file: file.json (the redb store and its marker, as the bytes that are not zero), redis.json (commands that
write the keys which it has written), routes.json (the state of the routing table). Run it with the binary of each release.
Times of Redis stand there by how long ago they were, because the server that is asked later has a clock of its own.
"""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

HERE = Path(__file__).parent
KEY = "hk_" + "k" * 43
ROW = 64


class Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        # Nobody is logged in before the login.
        is_api = "/hub/api/" in self.path
        body = b'{"status": 403, "message": "Missing or invalid credentials."}' if is_api else b""
        self.send_response(403 if is_api else 302)
        self.send_header("Location", "/hub/home")
        self.send_header("Set-Cookie", "jupyterhub-hub-login=x; Path=/hub/; HttpOnly")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Latch:
    """A hublatch of the given binary, before a hub that lets everybody in."""

    def __init__(self, binary, folder, hub, store, more=""):
        self.public, self.api = port(), port()
        config = folder / "hublatch.toml"
        digest = hashlib.sha256(KEY.encode()).hexdigest()
        config.write_text(
            f'[public]\nlisten = "127.0.0.1:{self.public}"\nurl = "http://127.0.0.1:{self.public}"\n'
            f'[management]\nlisten = "127.0.0.1:{self.api}"\n[hub]\nurl = "http://127.0.0.1:{hub}"\n'
            f'[store]\nurl = "{store}"\n[login]\nlifetime = "5m"\n{more}'
            f'[[apps]]\nname = "portal"\nkeys = ["sha256:{digest}"]\nscopes = ["issue", "read", "revoke"]\n'
            'max_lifetime = "5m"\ngroups = [".*"]\nclaims = true\n'
        )
        config.chmod(0o600)
        self.process = subprocess.Popen([binary, "serve", "--config", config], stdout=subprocess.DEVNULL, stderr=(folder / "log").open("wb"))
        try:
            until(lambda: self.call("GET", "/live"))
        except AssertionError:
            sys.exit((folder / "log").read_text())

    def call(self, method, path, body=None, headers=()):
        headers = {"Authorization": f"token {KEY}", "Content-Type": "application/json", **dict(headers)}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.api}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"true")

    def links(self):
        """One of each kind: where it stands and what it grants, with the digest of its token and never the token."""
        made = []
        for number, status in enumerate(("pending", "pending", "used", "revoked")):
            order = {"username": f"user{number}", "next": "/hub/home", "note": f"note {number}", "groups": ["a", "b"]}
            order["claims"] = {"level": number}
            link = self.call("POST", "/api/v1/links", order, {"Idempotency-Key": f"key-{number}"})
            if status == "used":
                navigation = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
                opener = urllib.request.build_opener(Stay())
                # Whatever becomes of it: the link is used.
                with suppress(urllib.error.HTTPError):
                    opener.open(urllib.request.Request(link["url"], headers={**navigation, "Sec-Fetch-Site": "none"}))
            elif status == "revoked":
                self.call("DELETE", f"/api/v1/links/{link['id']}")
            assert self.call("GET", f"/api/v1/links/{link['id']}")["status"] == status
            digest = hashlib.sha256(link["login_token"].encode()).hexdigest()
            made.append({"id": link["id"], "digest": digest, "status": status, **order})
        return made

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def port():
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


def until(condition):
    deadline = time.monotonic() + 15
    while True:
        try:
            return condition()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def file(binary, folder, hub):
    latch = Latch(binary, folder, hub, f"redb://{folder}/tokens.redb")
    links = latch.links()
    latch.end()
    data = (folder / "tokens.redb").read_bytes()
    rows = {at: data[at : at + ROW].hex() for at in range(0, len(data), ROW) if any(data[at : at + ROW])}
    written = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    marker = (folder / "tokens.redb.marker").read_text()
    return {"written": written, "links": links, "marker": marker, "bytes": len(data), "rows": rows}


def redis(binary, folder, hub):
    place = port()
    server = subprocess.Popen(["redis-server", "--port", str(place), "--save", "", "--dir", folder], stdout=subprocess.DEVNULL)

    def ask(*words):
        said = subprocess.run(["redis-cli", "--json", "-p", str(place), *words], capture_output=True, text=True, check=True)
        return json.loads(said.stdout)

    until(lambda: socket.create_connection(("127.0.0.1", place)).close())
    latch = Latch(binary, folder, hub, f"redis://127.0.0.1:{place}/0")
    links = latch.links()
    latch.end()
    now = int(ask("TIME")[0]) * 1000
    commands = []
    for key in sorted(ask("KEYS", "{hublatch}:*")):
        kind = ask("TYPE", key)
        if kind == "hash":
            pairs = ask("HGETALL", key).items()
            times = {name: f"@{int(value) - now}@" for name, value in pairs if name in ("iss", "exp", "used")}
            values = {**dict(pairs), **times, "ep": "@EPOCH@"}
            commands.append(["HSET", key, *(word for pair in values.items() for word in pair)])
        elif kind == "zset":
            words = ask("ZRANGE", key, "0", "-1", "WITHSCORES")
            pairs = words if words and isinstance(words[0], list) else zip(words[::2], words[1::2])
            commands.append(["ZADD", key, *(word for member, score in pairs for word in (f"@{int(float(score)) - now}@", member))])
        elif key != "{hublatch}:e":
            commands.append(["SET", key, ask("GET", key)])
    server.terminate()
    server.wait(30)
    return {"links": links, "commands": commands}


def routes(binary, folder, hub):
    state = folder / "routes.json"
    latch = Latch(binary, folder, hub, "memory:", f'[routes]\nauth_token = "{"r" * 32}"\nstate = "{state}"\n')
    headers = {"Authorization": f"token {'r' * 32}"}
    for path, target, data in (("/services/docs/", "http://127.0.0.1:9/", {}), ("/user/ada/", "http://127.0.0.1:7/", {"user": "ada"})):
        latch.call("POST", f"/api/routes{path}", {"target": target, **data}, headers)
    latch.end()
    return json.loads(state.read_text())


def main(binary):
    hub = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=hub.serve_forever, daemon=True).start()
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    for write in (file, redis, routes):
        with tempfile.TemporaryDirectory() as folder:
            made = {"by": version, "it": write(os.path.abspath(binary), Path(folder), hub.server_port)}
        (HERE / f"{write.__name__}.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
