"""What passes through a running hublatch comes out as it went in, and nothing of it is held.

    target/venv/bin/python tests/load/transparency.py [--scripts 500] [--first SEED] [--gibibytes 1]
"""

import argparse
import asyncio
import random
import subprocess
import sys
import time

from running import CORES, Hublatch, Process, Watch, exit_on_sigterm, free_port, stop_all, tools  # makes tests/bench known

import clients
import dialogues
import proxies
import scripted

# Memory may grow by so much while a body of any size passes.
MEMORY_MAX = 64 << 20


def bulk(origin_port, folder, size):
    """1 GiB up and down, plain, over TLS, and over HTTP/2."""
    plain, secure = Hublatch(folder, origin_port), Hublatch(folder, origin_port, tls=True)

    def over_http2(port, path, answered, *options):
        command = [tools.path("h2load"), "-n", "1", "-c", "1", *options, f"https://127.0.0.1:{port}{path}"]
        text = subprocess.run(command, capture_output=True, text=True, timeout=300).stdout
        clients.expect("1 succeeded" in text and " 1 2xx" in text and f"({answered}) data" in text, f"h2load: {text}")

    def upload_over_http2(port, size):
        zeros = folder / "zeros"  # sparse: it takes no room
        with zeros.open("wb") as file:
            file.truncate(size)
        # The answer is the number of bytes that came.
        over_http2(port, "/sink", len(str(size)), "-d", zeros)

    ways = [
        ("down", plain, clients.download), ("up", plain, clients.upload),
        ("down over TLS", secure, lambda port, size: clients.download(port, size, tls=True)),
        ("up over TLS", secure, lambda port, size: clients.upload(port, size, tls=True)),
        ("down over HTTP/2", secure, lambda port, size: over_http2(port, f"/bytes/{size}", size)),
        ("up over HTTP/2", secure, upload_over_http2),
    ]
    for name, hublatch, move in ways:
        move(hublatch.port, 1 << 20)
        before, begun = hublatch.memory(), time.monotonic()
        with Watch(hublatch) as watch:
            move(hublatch.port, size)
        grown = watch.memory - before
        print(f"{size / (1 << 30):g} GiB {name}: {time.monotonic() - begun:.1f} s, memory + {grown / (1 << 20):.1f} MiB",
              flush=True)
        if grown > MEMORY_MAX:
            yield f"{name}: memory grew by {grown >> 20} MiB"


def scripts(folder, first, count):
    """Random WebSocket scripts."""
    port = free_port()
    Process("scripted", [sys.executable, scripted.__file__, port], folder / "scripted.log", CORES).wait_for_port(port)
    plain, secure = Hublatch(folder, port), Hublatch(folder, port, tls=True)
    begun = time.monotonic()
    faults, size = asyncio.run(dialogues.compare(range(first, first + count), port, plain.port, secure.port))
    print(f"{count} WebSocket scripts, seeds {first} to {first + count - 1}: {time.monotonic() - begun:.1f} s, "
          f"{size / (1 << 20):.0f} MiB came back, {len(faults)} differ", flush=True)
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scripts", type=int, default=500)
    parser.add_argument("--first", type=int, default=random.randrange(1 << 31), help="the first seed")
    parser.add_argument("--gibibytes", type=float, default=1.0)
    options = parser.parse_args()
    exit_on_sigterm()
    folder = proxies.made(tools.ROOT / "target/load")
    tools.certificate(folder)
    try:
        faults = scripts(folder, options.first, options.scripts)
        origin = proxies.origin(folder, core=CORES)
        faults += bulk(origin.port, folder, int(options.gibibytes * (1 << 30)))
    finally:
        stop_all()
    for fault in faults:
        print(f"FAILED {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
