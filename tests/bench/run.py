"""Measures hublatch side by side with nginx, HAProxy and JupyterHub's own proxy; writes a report into target/bench/.

    python3 tests/bench/run.py [--quick] [--rounds N] [--seconds S] [--scenarios a,b] [--proxies a,b] [--readme]

Every proxy has one thread on core 0; load and origin share core 1. All rounds go over all proxies in turn, so that
whatever else the machine does meets them alike. Everything is on 127.0.0.1, bounded in number and time.
"""

import argparse
import datetime
import json
import os
import sys

import bars
import clients
import picture
import proxies
import report
import scenarios
import tools
from process import LOAD_CORE, PROXY_CORE, exit_on_sigterm, stop_all

FACTORIES = {"direct": proxies.direct, "nginx": proxies.nginx, "HAProxy": proxies.haproxy, "CHP": proxies.chp,
             "hublatch": proxies.hublatch}
CHAINS = {bars.CHAIN: proxies.hublatch, bars.COMMON_CHAIN: proxies.nginx_and_chp}


def main():
    options = arguments()
    if not {PROXY_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        tools.fail("two cores are needed: one for the proxy, one for load and origin")
    tools.install("bench")
    os.sched_setaffinity(0, {LOAD_CORE})
    exit_on_sigterm()
    folder = tools.ROOT / "target/bench"
    work = proxies.made(folder / "work")
    tools.certificate(work)
    bench = Bench(options, work)
    begun = tools.load_average()
    try:
        bench.start()
        bench.run()
    finally:
        stop_all()
    run = {
        "date": datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "machine": tools.machine(),
        "versions": bench.versions,
        "options": " ".join(sys.argv[1:]) or "none",
        "rounds": options.rounds,
        "seconds": options.seconds,
        "load": [begun, bench.load_in_the_middle, tools.load_average()],
        "asked": options.scenarios,
        "not_measured": bench.not_measured,
        "results": bench.results,
    }
    (folder / "results.json").write_text(json.dumps(run, indent=1))
    (folder / "report.md").write_text(report.markdown(run))
    (folder / "report.svg").write_text(picture.svg(run))
    if options.readme:
        report.write_into(tools.ROOT / "docs/architecture.md", run)
    print(report.markdown(run))
    print(f"written: {folder}/report.md, report.svg, results.json", file=sys.stderr)
    return 1 if bench.failed else 0


def arguments():
    names = [scenario.name for scenario in scenarios.ALL]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="under five minutes: few and short rounds, small bodies")
    parser.add_argument("--rounds", type=int, help="rounds over all proxies (7; quick: 3)")
    parser.add_argument("--seconds", type=float, help="length of a slice (3; quick: 0.8)")
    parser.add_argument("--scenarios", default=",".join(names), help="of: " + ", ".join(names))
    parser.add_argument("--proxies", default=",".join(FACTORIES), help="of: " + ", ".join(FACTORIES))
    parser.add_argument("--binary", help="the hublatch to measure (target/release/hublatch)")
    parser.add_argument("--baseline", help="another hublatch binary to compare it with")
    parser.add_argument("--readme", action="store_true", help="write the table of docs/architecture.md too")
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 7)
    options.seconds = options.seconds or (0.8 if options.quick else 3.0)
    options.scenarios, options.proxies = options.scenarios.split(","), options.proxies.split(",")
    for wrong in {*options.scenarios} - {*names} | {*options.proxies} - {*FACTORIES}:
        parser.error(f"unknown: {wrong}")
    if not (0 < options.rounds <= 50 and 0 < options.seconds <= 30):
        parser.error("1 to 50 rounds, up to 30 seconds each")
    options.binary = tools.hublatch(options.binary)
    return options


class Bench:
    def __init__(self, options, work):
        self._options, self._work = options, work
        self._running, self._chains, self._log, self._origin = {}, {}, None, None
        self._chosen = [scenario for scenario in scenarios.ALL if scenario.name in options.scenarios]
        self._tls = proxies.hublatch_has_tls(options.binary, work)
        self._slice = scenarios.Slice(work, options.seconds, (1 << 28) if options.quick else (1 << 30),
                                      2000 if options.quick else 5000)
        self.results, self.not_measured, self.versions = {}, {}, {}
        self.failed, self.load_in_the_middle = False, 0.0

    def start(self):
        self._origin = proxies.origin(self._work)
        for name in self._names():
            self._running[name] = self._new(name)
            self.versions[name] = self._running[name].version
        if "CHP" in self._running:
            self._warm(self._running["CHP"])
        if "log" in self._options.scenarios and "hublatch" in self._running:
            self._log = self._new("hublatch with log", access_log=True)
        if any(scenario.needs == "chain" for scenario in self._chosen):
            self._chains = {name: self._new(name, routed=True, with_tls=False) for name in CHAINS}
            self.versions[bars.COMMON_CHAIN] = self._chains[bars.COMMON_CHAIN].version
            self._warm(self._chains[bars.COMMON_CHAIN])

    def _warm(self, proxy):
        """What is compiled while it runs would cost several times as much in the first rounds."""
        requests = scenarios.heads(scenarios.TARGET)
        scenarios.load(self._slice, "http", proxy.port, scenarios.CONNECTIONS, 3, requests)
        if proxy.tls_port:
            clients.handshakes(proxy.tls_port, 3)

    def _names(self):
        return [*self._options.proxies, *(["baseline"] if self._options.baseline else [])]

    def _new(self, name, **more):
        factory = {**FACTORIES, **CHAINS}.get(name, proxies.hublatch)
        binary = tools.hublatch(self._options.baseline) if name == "baseline" else self._options.binary
        if factory is proxies.hublatch:
            with_tls = proxies.hublatch_has_tls(binary, self._work)
            more = {"name": name, "binary": binary, "with_tls": with_tls, **more}
        return factory(self._work, self._origin.port, **more)

    def run(self):
        for position, scenario in enumerate(self._chosen):
            if position == len(self._chosen) // 2:
                self.load_in_the_middle = tools.load_average()
            if scenario.needs in ("tls", "h2") and not self._tls and "hublatch" in self._running:
                self.not_measured[scenario.name] = "not built in this hublatch"
            fit = self._fit(scenario)
            if not fit:
                continue
            print(f"{scenario.title}: ", end="", file=sys.stderr, flush=True)
            self._rounds(scenario, fit)
            print(file=sys.stderr)

    def _fit(self, scenario):
        """The names of the proxies that this scenario is for."""
        if scenario.needs == "chain":
            return list(self._chains)
        if scenario.needs == "links":
            return [name for name in self._running if self._running[name].management]
        if scenario.needs == "log":
            return ["hublatch", "hublatch with log"] if self._log else []
        able = {"plain": lambda proxy: True, "tls": lambda proxy: proxy.tls_port, "h2": lambda proxy: proxy.h2}
        names = [name for name, proxy in self._running.items() if able[scenario.needs](proxy)]
        return [name for name in names if not (scenario.once and name == "direct")]

    def _rounds(self, scenario, names):
        results = self.results.setdefault(scenario.name, {name: [] for name in names})
        for number in range(1 if scenario.once else self._options.rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                results[name].append(self._measure(scenario, name))
                print(".", end="", file=sys.stderr, flush=True)

    def _measure(self, scenario, name):
        fresh = None
        try:
            if scenario.once:
                fresh = self._new(name)
            proxy = fresh or (self._log if name == "hublatch with log" else {**self._running, **self._chains}[name])
            return scenario.measure(proxy, self._slice)
        except Exception as error:  # one that fails is told of, and the others are measured
            self.failed = True
            return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        finally:
            if fresh:
                fresh.stop()


if __name__ == "__main__":
    sys.exit(main())
