"""Counts the instructions that hublatch spends on a request, by callgrind: the same on every run, so fit for a gate.

    python3 tests/bench/instructions.py [--gate] [--binary PATH]

The count of a request is the difference of two runs with few and many requests over one connection (`connection`: each over
its own), so that starting and stopping cost nothing. `routed` is `bare` by a routing table, `redeem` a click on a login link
with the question who the browser is. Kernel time does not count, nor does the gathering of entropy from the jitter of the
clock (aws-lc, at the first random number): it takes as many rounds as the clock makes it take. The profiles stay in
target/bench/callgrind.*.
"""

import argparse
import re
import sys

import bars
import clients
import proxies
import scenarios
import tools
from process import exit_on_sigterm, stop_all

FEW, MANY = 500, 2500
ENTROPY = re.compile(r"jent_|^rol64$")
PAGES = {"bare": "", "browser": scenarios.BROWSER, "routed": "", "connection": "Connection: close"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gate", action="store_true", help="exit 1 if a count is above its gate (bars.py)")
    parser.add_argument("--binary", help="the hublatch to measure (target/release/hublatch)")
    options = parser.parse_args()
    tools.install("bench-instructions")
    binary = tools.hublatch(options.binary)
    folder = proxies.made(tools.ROOT / "target/bench")
    work = proxies.made(folder / "work")
    exit_on_sigterm()
    try:
        origin = proxies.origin(work)
        counts = {kind: per_request(binary, folder, work, origin, kind) for kind in [*PAGES, "redeem"]}
    finally:
        stop_all()
    failed = False
    for kind, count in counts.items():
        bar, gate = bars.INSTRUCTIONS[kind]
        above = count > gate
        failed |= above
        print(f"{kind}: {count:,.0f} instructions per request (bar {bar:,}, gate {gate:,}{': above it' if above else ''})")
    return 1 if failed and options.gate else 0


def per_request(binary, folder, work, origin, kind):
    few, many = (total(binary, folder, work, origin, kind, count) for count in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def total(binary, folder, work, origin, kind, count):
    profile = folder / f"callgrind.{kind}.{count}"
    profile.unlink(missing_ok=True)
    wrapper = [tools.path("valgrind"), "--tool=callgrind", f"--callgrind-out-file={profile}"]
    proxy = proxies.hublatch(work, origin.port, binary=binary, wrapper=wrapper, routed=kind == "routed")
    try:
        of = scenarios.Slice(work, seconds=120, bulk_bytes=0, redeems=0)
        if kind == "redeem":
            # As many links for few clicks as for many: to issue them costs both runs the same.
            tokens = clients.issue_links(proxy.management, MANY)
            requests, status = scenarios.clicks(tokens, proxy.port), "status=302"
        else:
            requests, status = scenarios.heads(scenarios.TARGET, PAGES[kind]), "status=200"
        more = ["close"] if kind == "connection" else []
        scenarios.load(of, "http", proxy.port, 1, of.seconds, requests, f"count={count}", status, *more)
    finally:
        proxy.stop()
    return counted(profile)


def counted(profile):
    """The instructions of all functions but those that gather entropy. A name is written once and then told by number."""
    names, ours, of_call, total = {}, True, False, 0
    for line in profile.read_text().splitlines():
        if named := re.match(r"(c?fn)=\((\d+)\)(?: (.*))?", line):
            kind, number, name = named.groups()
            names[number] = name or names[number]
            if kind == "fn":
                ours = not ENTROPY.search(names[number])
        elif line.startswith("calls="):
            of_call = True  # the next line holds what the called function cost
        elif re.match(r"[+*\d-]", line):
            total += 0 if of_call or not ours else int(line.split()[1])
            of_call = False
    if not total:
        tools.fail(f"no profile in {profile}")
    return total


if __name__ == "__main__":
    sys.exit(main())
