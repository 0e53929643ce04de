"""What is measured: each scenario puts one kind of load on one proxy for one slice of time and returns its figures.

`cpu` is the proxy's CPU time in µs for each request (seconds for each GiB in the two bulk scenarios).
"""

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import clients
import tools
from process import LOAD_CORE

TARGET = "/user/alice/api/contents/x"
# What Chromium sends with a fetch of JupyterLab's, with the cookies of a hub: 13 headers more than none.
BROWSER = """\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Safari/537.36
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8
Accept-Language: en-US,en;q=0.9
Accept-Encoding: gzip, deflate, br, zstd
Connection: keep-alive
Referer: http://127.0.0.1:8000/user/alice/lab
Cookie: jupyterhub-session-id=0123456789abcdef0123456789abcdef; jupyterhub-user-alice="2|1:0|10:1700000000|\
21:jupyterhub-user-alice|44:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa|\
bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"; _xsrf=MnwxOjB8MTA6MTcwMDAwMDAwMHw1Ol94c3JmfDEzMjo=
Sec-Fetch-Dest: empty
Sec-Fetch-Mode: cors
Sec-Fetch-Site: same-origin
sec-ch-ua: "Chromium";v="148", "Not=A?Brand";v="24"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: "Linux"
X-XSRFToken: MnwxOjB8MTA6MTcwMDAwMDAwMHw1Ol94c3JmfDEzMjo="""
# The same browser following a link from the application's page.
NAVIGATION = """\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Safari/537.36
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8
Accept-Language: en-US,en;q=0.9
Accept-Encoding: gzip, deflate, br, zstd
Upgrade-Insecure-Requests: 1
Sec-Fetch-Dest: document
Sec-Fetch-Mode: navigate
Sec-Fetch-Site: cross-site
Sec-Fetch-User: ?1"""

CONNECTIONS = 32
LOW_RATE = 200
TUNNELS = (500, 2000)  # memory is the difference, so that what is allocated once does not count


@dataclass
class Slice:
    """How long, and with what size."""

    folder: Path
    seconds: float
    bulk_bytes: int
    redeems: int


@dataclass
class Scenario:
    name: str
    title: str
    measure: Callable
    needs: str = "plain"  # or "tls", "h2", "links" (hublatch alone), "log" (hublatch twice), "chain"
    once: bool = False  # in a process of its own, because memory that was used once is used again


def heads(target, headers="", port=8000):
    lines = [f"GET {target} HTTP/1.1", f"Host: 127.0.0.1:{port}", *headers.splitlines()]
    return "\r\n".join(lines) + "\r\n\r\n"


def load(of, mode, port, connections, seconds, requests=None, *more):
    command = ["taskset", "--cpu-list", LOAD_CORE, tools.built(of.folder, "load"), mode, port, connections, seconds]
    with tempfile.NamedTemporaryFile("w", dir=of.folder, newline="") as file:
        if requests is not None:
            file.write(requests)
            file.flush()
            command.append(file.name)
        done = subprocess.run([str(part) for part in [*command, *more]], capture_output=True, text=True,
                              timeout=seconds + 30)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    figures = json.loads(done.stdout)
    if figures["errors"] or not figures["count"]:
        raise RuntimeError(f"{figures['errors']} errors in {figures['count']} exchanges")
    return figures


def spent(process, run):
    """What `run()` returns, and the CPU seconds that `process` spent meanwhile."""
    before = process.cpu_seconds()
    result = run()
    return result, process.cpu_seconds() - before


def per_request(process, run):
    figures, cpu = spent(process, run)
    return {"cpu": cpu * 1e6 / figures["count"], "p50": figures["p50_us"], "p99": figures["p99_us"],
            "per_second": figures["count"] / figures["seconds"]}


def get(proxy, of):
    return per_request(proxy.process, lambda: load(of, "http", proxy.port, CONNECTIONS, of.seconds, heads(TARGET)))


def browser(proxy, of):
    requests = heads(TARGET, BROWSER)
    return per_request(proxy.process, lambda: load(of, "http", proxy.port, CONNECTIONS, of.seconds, requests))


def connection(proxy, of):
    requests = heads(TARGET, "Connection: close")
    run = lambda: load(of, "http", proxy.port, CONNECTIONS, of.seconds, requests, "close")  # noqa: E731
    return per_request(proxy.process, run)


def websocket(proxy, of):
    return per_request(proxy.process, lambda: load(of, "ws", proxy.port, CONNECTIONS, of.seconds))


def latency(proxy, of):
    run = lambda: load(of, "http", proxy.port, 4, of.seconds, heads(TARGET), f"rate={LOW_RATE}")  # noqa: E731
    return per_request(proxy.process, run)


def events(proxy, of):
    return per_request(proxy.process, lambda: load(of, "events", proxy.port, 4, max(of.seconds, 2)))


def bulk(client):
    def measure(proxy, of):
        _, cpu = spent(proxy.process, lambda: client(proxy.port, of.bulk_bytes))
        return {"cpu": cpu * (1 << 30) / of.bulk_bytes}

    return measure


def tunnels(tls):
    def measure(proxy, _of):
        process = proxy.tls_process if tls else proxy.process
        idle = clients.IdleTunnels(proxy.tls_port if tls else proxy.port, tls)
        try:
            idle.grow_to(TUNNELS[0])
            few = process.resident_bytes()
            idle.grow_to(TUNNELS[1])
            return {"bytes": (process.resident_bytes() - few) / (TUNNELS[1] - TUNNELS[0])}
        finally:
            idle.close()

    return measure


def clicks(tokens, port):
    """By the public name: under another one nobody is logged in."""
    return "".join(heads(f"/hub/login?login_token={token}", NAVIGATION, port) for token in tokens)


def redeem(proxy, of, tokens=None):
    """A click on a login link, which costs two questions to the hub more than a page, beside a page for the same browser."""
    page = per_request(proxy.process, lambda: load(of, "http", proxy.port, CONNECTIONS, of.seconds, heads(TARGET, NAVIGATION)))
    tokens = tokens or clients.issue_links(proxy.management, of.redeems)
    run = lambda: load(of, "http", proxy.port, CONNECTIONS, 30, clicks(tokens, proxy.port), f"count={of.redeems}", "status=302")  # noqa: E731
    figures = per_request(proxy.process, run)
    return {**figures, "page_cpu": page["cpu"]}


def tls(proxy, of):
    def run():
        text = tool(["wrk", "--threads", 1, "--connections", CONNECTIONS, "--duration", f"{max(1, round(of.seconds))}s",
                     "--latency", f"https://127.0.0.1:{proxy.tls_port}{TARGET}"], of)
        if "Non-2xx" in text or "Socket errors" in text:
            raise RuntimeError(f"wrk: {text}")
        count = int(found(r"(\d+) requests in", text))
        return {"count": count, "seconds": count / float(found(r"^Requests/sec: +([\d.]+)", text)),
                "p50_us": wrk_time(text, "50%"), "p99_us": wrk_time(text, "99%")}

    return per_request(proxy.tls_process, run)


def wrk_time(text, of):
    value = found(rf"^\s+{of}\s+([\d.]+(?:us|ms|s))$", text)
    unit = value.lstrip("0123456789.")
    return float(value.removesuffix(unit)) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def found(pattern, text):
    match = re.search(pattern, text, re.M)
    if not match:
        raise RuntimeError(f"no {pattern} in {text}")
    return match[1]


def http2(proxy, of):
    def run():
        seconds = max(1, round(of.seconds))
        log = of.folder / "h2load.log"
        log.unlink(missing_ok=True)
        text = tool(["h2load", "--threads=1", "--clients=8", "--max-concurrent-streams=8", f"--duration={seconds}",
                     f"--log-file={log}", f"https://127.0.0.1:{proxy.tls_port}{TARGET}"], of)
        if "Application protocol: h2" not in text or not re.search(r" 0 failed, 0 errored, 0 timeout", text):
            raise RuntimeError(f"h2load: {text}")
        # One line a request: begun, status, µs.
        times = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
        return {"count": len(times), "seconds": seconds, "p50_us": times[len(times) // 2],
                "p99_us": times[int(len(times) * 0.99)]}

    return per_request(proxy.tls_process, run)


def handshake(proxy, of):
    (count, p50, p99), cpu = spent(proxy.tls_process, lambda: clients.handshakes(proxy.tls_port, of.seconds))
    return {"cpu": cpu * 1e6 / count, "p50": p50, "p99": p99, "per_second": count / of.seconds}


def tool(command, of):
    program, *rest = command
    done = subprocess.run(["taskset", "--cpu-list", str(LOAD_CORE), tools.path(program), *map(str, rest)],
                          capture_output=True, text=True, timeout=of.seconds + 30)
    if done.returncode:
        raise RuntimeError(f"{program}: {done.stderr.strip()}")
    return done.stdout


ALL = [
    Scenario("get", "HTTP/1.1, small GET", get),
    Scenario("browser", "HTTP/1.1, with a browser's headers", browser),
    Scenario("tls", "HTTP/1.1 over TLS 1.3", tls, "tls"),
    Scenario("h2", "HTTP/2 over TLS 1.3", http2, "h2"),
    Scenario("connection", "new plain connection", connection),
    Scenario("handshake", "new TLS connection, full handshake", handshake, "tls"),
    Scenario("websocket", "WebSocket echo, 1 KiB", websocket),
    Scenario("download", "1 GiB down", bulk(clients.download)),
    Scenario("upload", "1 GiB up", bulk(clients.upload)),
    Scenario("latency", f"{LOW_RATE} requests/s", latency),
    Scenario("events", "server-sent events", events),
    Scenario("tunnels", "idle WebSocket", tunnels(tls=False), once=True),
    Scenario("tls-tunnels", "idle WebSocket over TLS", tunnels(tls=True), "tls", once=True),
    Scenario("redeem", "click on a login link", redeem, "links"),
    Scenario("log", "small GET, access log on", get, "log"),
    Scenario("chain", "browser to notebook, small GET", get, "chain"),
    Scenario("chain-browser", "browser to notebook, a browser's headers", browser, "chain"),
    Scenario("chain-websocket", "browser to notebook, WebSocket echo", websocket, "chain"),
    Scenario("chain-connection", "browser to notebook, new connection", connection, "chain"),
]
