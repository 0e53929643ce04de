"""Measures whole issues and redeems over HTTP for each token store; writes target/bench/stores.json.

    python3 tests/bench/stores.py [--quick] [--rounds N] [--binary FILE] [--live N]

hublatch has one public thread on core 0; Redis, load and origin share core 1. The stores take turns. A redeem is compared
with a plain page through the same hublatch in the same round: it makes two requests of the hub. The client that issues
is written in Python, so issues per second are a lower bound; their CPU time is hublatch's own. With --live
each store is compared with itself beside that many live links (960000 is the most: an app may have a million).
"""

import argparse
import base64
import hashlib
import json
import os
import random
import secrets
import shutil
import socket
import sys
import time
from statistics import median

import clients
import proxies
import scenarios
import tools
from process import LOAD_CORE, PROXY_CORE, Process, exit_on_sigterm, free_port, stop_all

STORES = ["memory", "redb", "redis"]
CONNECTIONS = 32
REDEEM_LIMIT = 3.5  # × the CPU of a plain page, with the memory store
GROWTH_LIMIT = 1.3  # × what it costs with few live links


def main():
    options = arguments()
    if not {PROXY_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        tools.fail("two cores are needed: one for hublatch, one for load and origin")
    tools.install("bench")
    tools.install("redis")
    os.sched_setaffinity(0, {LOAD_CORE})
    exit_on_sigterm()
    folder = proxies.made(tools.ROOT / "target/bench")
    work = proxies.made(folder / "stores")
    count = 1000 if options.quick else 5000
    of = scenarios.Slice(work, 0.8 if options.quick else 3.0, 0, count)
    grown = []
    begun = tools.load_average()
    try:
        origin = proxies.origin(work)
        running = {store: start(store, work, origin.port, options.binary) for store in STORES}
        results = rounds(running, of, options.rounds)
        if options.live:
            full = {store: start(store, proxies.made(work / "full"), origin.port, options.binary) for store in STORES}
            grown = rounds_beside(running, full, of, options.rounds, options.live)
    finally:
        stop_all()
    print(file=sys.stderr)
    load = [begun, tools.load_average()]
    (folder / "stores.json").write_text(json.dumps({"load": load, "results": results, "grown": grown}, indent=1))
    print(table(results))
    print("", *grown, sep="\n")
    ratio = median(round_["cpu"] / round_["page_cpu"] for round_ in results["memory"]["redeem"])
    met = ratio <= REDEEM_LIMIT
    print(f"\nA redeem with the memory store costs {ratio:.2f} × the CPU of a page; the bar is {REDEEM_LIMIT}: "
          f"{'met' if met else 'NOT MET'}. Load average {load[0]:.1f} to {load[1]:.1f}, {options.rounds} rounds.")
    return 0 if met else 1


def rounds(running, of, number_of_rounds):
    results = {store: {"issue": [], "redeem": []} for store in STORES}
    for number in range(number_of_rounds):
        turn = number % len(STORES)
        for store in STORES[turn:] + STORES[:turn]:
            measure(running[store], of, results[store])
    return results


def measure(proxy, of, results, tokens=None):
    results["issue"].append(issue(proxy, of.redeems))
    results["redeem"].append(scenarios.redeem(proxy, of, tokens))
    print(".", end="", file=sys.stderr, flush=True)


def rounds_beside(few, many, of, number_of_rounds, live):
    """Each store with few live links and with many, in turn; the links of the many are redeemed in any order."""
    lines = []
    for store in STORES:
        tokens = clients.issue_links(many[store].management, live, life=3600)
        random.Random(1).shuffle(tokens)
        with_few, with_many = {"issue": [], "redeem": []}, {"issue": [], "redeem": []}
        for _ in range(number_of_rounds):
            measure(few[store], of, with_few)
            measure(many[store], of, with_many, [tokens.pop() for _ in range(of.redeems)])
        grown = {kind: median(b["cpu"] / a["cpu"] for a, b in zip(with_few[kind], with_many[kind])) for kind in with_few}
        met = "met" if max(grown.values()) <= GROWTH_LIMIT else "NOT MET"
        lines.append(f"{store} with {live:,} live links: CPU of an issue {grown['issue']:.2f} ×, of a redeem "
                     f"{grown['redeem']:.2f} × that with few (bar {GROWTH_LIMIT}: {met}); hublatch takes "
                     f"{many[store].process.resident_bytes() / 1e6:.0f} MB")
    return lines


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few and short rounds")
    parser.add_argument("--rounds", type=int, help="rounds over all stores (5; quick: 3)")
    parser.add_argument("--binary", help="the hublatch to measure (target/release/hublatch)")
    parser.add_argument("--live", type=int, default=0, help="measure again beside so many live links (to 960000)")
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 5)
    if not 0 <= options.live <= 960_000:
        parser.error("0 to 960000 live links")
    if not 0 < options.rounds <= 50:
        parser.error("1 to 50 rounds")
    options.binary = tools.hublatch(options.binary)
    return options


def start(store, work, origin_port, binary):
    """A hublatch with this store, and the Redis if it needs one."""
    home = proxies.made(work / store)
    url = "memory:"
    if store == "redb":
        (home / "tokens.redb").unlink(missing_ok=True)
        (home / "tokens.redb.marker").unlink(missing_ok=True)
        url = f"redb://{home}/tokens.redb"
    elif store == "redis":
        url = f"redis://127.0.0.1:{redis(home)}"
    key = "hk_" + base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    port, management = free_port(), free_port()
    text = proxies.HUBLATCH.format(
        listen=port, management=management, origin=origin_port, folder=home, scheme="http", tls="", access="false",
        digest=hashlib.sha256(key.encode()).hexdigest(),
    )
    config = home / "hublatch.toml"
    long = 'max_lifetime = "1h"'
    config.write_text(f'{text}max_live_links = 1000000\n{long}\n[login]\n{long}\n[store]\nurl = "{url}"\n')
    config.chmod(0o600)
    process = Process(f"hublatch, {store}", [binary, "serve", "--config", config], home / "log")
    process.wait_for_port(port, 60)
    return proxies.Proxy(store, "", process, port, management=(management, key))


def redis(home):
    port = free_port()
    shutil.rmtree(home / "appendonlydir", ignore_errors=True)
    command = ["redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", home, "--appendonly", "yes", "--save", ""]
    Process("Redis", command, home / "redis.log", core=LOAD_CORE).wait_for_port(port)
    return port


def issue(proxy, count):
    """`count` links, each by a call of its own, over 32 connections at once."""
    port, key = proxy.management
    body = json.dumps({"username": "alice", "next": "/hub/home", "expires_in": 60}).encode()
    head = (f"POST /api/v1/links HTTP/1.1\r\nHost: hublatch\r\nAuthorization: token {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n").encode()
    connections = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(CONNECTIONS)]
    times = []

    def run():
        while len(times) < count:
            begun = []
            for connection in connections:
                begun.append(time.perf_counter())
                connection.sendall(head + body)
            for connection, at in zip(connections, begun):
                status = answer(connection)
                times.append(time.perf_counter() - at)
                if status != 201:
                    raise RuntimeError(f"{proxy.name}: an issue is answered {status}")

    at = time.perf_counter()
    _, cpu = scenarios.spent(proxy.process, run)
    seconds = time.perf_counter() - at
    for connection in connections:
        connection.close()
    times.sort()
    return {"cpu": cpu * 1e6 / len(times), "per_second": len(times) / seconds,
            "p50": times[len(times) // 2] * 1e6, "p99": times[int(len(times) * 0.99)] * 1e6}


def answer(connection):
    """The status of one whole answer."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536) or lost()
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(body) < length:
        body += connection.recv(65536) or lost()
    return int(head[9:12])


def lost():
    raise RuntimeError("hublatch closed the connection")


def table(results):
    lines = ["| store | issue/s | CPU µs | p50 ms | p99 ms | redeem/s | CPU µs | p50 ms | p99 ms | CPU of a redeem to a page |",
             "|---" * 10 + "|"]
    for store, measured in results.items():
        cells = [store]
        for kind in ("issue", "redeem"):
            middle = {name: median(figures[name] for figures in measured[kind]) for name in measured[kind][0]}
            cells += [f"{middle['per_second']:.0f}", f"{middle['cpu']:.0f}", f"{middle['p50'] / 1e3:.2f}",
                      f"{middle['p99'] / 1e3:.2f}"]
        ratio = median(figures["cpu"] / figures["page_cpu"] for figures in measured["redeem"])
        lines.append("| " + " | ".join([*cells, f"{ratio:.2f} ×"]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
