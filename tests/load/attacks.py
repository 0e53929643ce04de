"""Attacks on a running hublatch, over loopback: the others are served, memory is bounded, descriptors come back.

    python3 tests/load/attacks.py [NAME...]

Each attack is a process of its own, bounded in number and time. Meanwhile neighbours ask over old and new connections,
and the management listener is asked. What they wait is reported; it is no gate, because the machine may be busy.
"""

import multiprocessing
import sys
import time

from running import (CORES, LIMITS, Hublatch, Process, Watch, exit_on_sigterm, free_port, settled, stop_all,
                     tools)  # makes tests/bench known

import fan_out
import hostile
import http1
import http2
import proxies
from neighbours import HEALTH, Neighbour

# What an attack may take in memory at its height: 10,000 connections at 9 KiB, or 100 answers with full buffers, which is
# 110 to 130 MiB. Answers that are held whole would be 950 MiB.
MEMORY_MAX = 256 << 20
# What may stay open, or be opened meanwhile by the neighbours.
DESCRIPTORS_SPARE = 40
ATTACKS = {
    "slow heads": ("plain", http1.slow_heads),
    "slow bodies": ("plain", http1.slow_bodies),
    "slow readers": ("plain", http1.slow_readers),
    "dripping bodies": ("plain", fan_out.dripping_bodies),
    "dripping bodies over HTTP/2": ("tls", fan_out.dripping_streams),
    "WebSocket handshakes": ("plain", fan_out.websockets),
    "10,000 idle connections": ("plain", http1.idle_connections),
    "slow TLS handshakes": ("tls", http1.slow_handshakes),
    **{f"HTTP/2 {name}": ("tls", attack) for name, attack in http2.ATTACKS.items()},
    "hostile hub": ("hostile", hostile.attack),
}


class Targets:
    def __init__(self, folder):
        tools.certificate(folder)
        origin = proxies.origin(folder, core=CORES)
        port = free_port()
        Process("hostile hub", [sys.executable, hostile.__file__, port], folder / "hostile.log", CORES).wait_for_port(port)
        self.plain, self.tls = Hublatch(folder, origin.port), Hublatch(folder, origin.port, tls=True)
        # Some of its answers never come, so this is short; but the neighbours' own may be late on a busy machine.
        self.hostile = Hublatch(folder, port, limits=LIMITS.replace("30s", "5s"))


def run(attack, target, let_go, outcome):
    """Once it is let go, again and again for a second, so that somebody else comes in between."""
    let_go.wait()
    ends = time.monotonic() + 1
    try:
        fault = attack(target)
        while fault is None and time.monotonic() < ends:
            fault = attack(target)
        outcome.put(fault)
    except Exception as error:  # told as the attack's outcome
        outcome.put(f"{type(error).__name__}: {error}")


def under(name, attack, target):
    """The row of the report, and what went wrong."""
    faults, outcome, let_go = [], multiprocessing.Queue(), multiprocessing.Event()
    before, open_before = target.memory(), target.descriptors()
    attacker = multiprocessing.Process(target=run, args=(attack, target, let_go, outcome), daemon=True)
    # Before there are threads: a lock that one of them holds in that moment would stay locked in the new process.
    attacker.start()
    with Watch(target) as watch, Neighbour(target.port, target.tls) as neighbour, \
            Neighbour(target.management, request=HEALTH) as management:
        begun = time.monotonic()
        let_go.set()
        faults += filter(None, [outcome.get(timeout=300)])
        seconds = time.monotonic() - begun
    attacker.join(60)
    for who, of in (("neighbours", neighbour), ("management", management)):
        if of.failures or not of.times:
            faults.append(f"{who}: {len(of.times)} answers, {len(of.failures)} failures {of.failures[:2]}")
    grown = watch.memory - before
    if grown > MEMORY_MAX:
        faults.append(f"memory grew by {grown >> 20} MiB")
    if not settled(lambda: target.descriptors() <= open_before + DESCRIPTORS_SPARE, 60):
        faults.append(f"{target.descriptors()} descriptors are open, {open_before} were")
    row = [name, f"{seconds:.1f}", f"{len(neighbour.times)}", f"{neighbour.percentile(0.5):.1f}",
           f"{neighbour.percentile(0.99):.1f}", f"{management.percentile(0.99):.1f}", f"{grown / (1 << 20):.1f}",
           f"{watch.descriptors}"]
    return row, faults


def main():
    chosen = sys.argv[1:] or list(ATTACKS)
    exit_on_sigterm()
    folder = proxies.made(tools.ROOT / "target/load")
    failed = False
    try:
        targets = Targets(folder)
        print("| attack | s | neighbours' answers | p50 ms | p99 ms | management p99 ms | memory + MiB | descriptors |")
        print("| --- |" + " ---: |" * 7)
        for name in chosen:
            kind, attack = ATTACKS[name]
            row, faults = under(name, attack, getattr(targets, kind))
            print("| " + " | ".join(row) + " |", flush=True)
            for fault in faults:
                failed = True
                print(f"FAILED {name}: {fault}", flush=True)
    finally:
        stop_all()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
