"""The Markdown report of one run."""

import re
from statistics import median

import bars
import scenarios

CPU = [name for name in ("get", "browser", "tls", "h2", "connection", "handshake", "websocket", "download", "upload")]
PROXIES = ["direct", "nginx", "HAProxy", "hublatch", "baseline", "CHP"]
TITLES = {scenario.name: scenario.title for scenario in scenarios.ALL}


def middle(run, scenario, proxy, figure):
    """The median over the rounds; None if it was not measured."""
    values = [figures[figure] for figures in bars.good(run["results"], scenario, proxy) if figures and figure in figures]
    return median(values) if values else None


def number(value):
    if value is None:
        return "–"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def cell(run, scenario, proxy, figure, scale=1.0):
    rounds = run["results"].get(scenario, {}).get(proxy, [])
    if rounds and all("error" in figures for figures in rounds):
        return "failed"
    value = middle(run, scenario, proxy, figure)
    return number(None if value is None else value * scale)


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "| --- |" + " ---: |" * (len(header) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def measured(run):
    known = {proxy for rounds in run["results"].values() for proxy in rounds}
    return [proxy for proxy in PROXIES if proxy in known]


def title(run, name):
    return TITLES[name] + (f": {run['not_measured'][name]}" if name in run["not_measured"] else "")


def ratio_cell(run, scenario, to):
    values = bars.ratio(scenario, to)(run["results"])
    return number(median(values)) if values else "–"


def cpu_table(run):
    known = measured(run)
    others = [proxy for proxy in ("nginx", "HAProxy") if proxy in known]
    rows = []
    for name in CPU:
        if name not in run["asked"]:
            continue
        bulk = name in ("download", "upload")
        row = [title(run, name) + (", CPU seconds" if bulk else "")]
        row += [cell(run, name, proxy, "cpu") for proxy in known]
        rows.append(row + [ratio_cell(run, name, other) for other in others])
    header = ["CPU µs of the proxy per request", *known, *(f"hublatch / {other}" for other in others)]
    return table(header, rows) if rows else []


def times_table(run):
    known = measured(run)
    rows = []
    for name in ("latency", "events", "get", "browser", "connection", "tls", "h2", "handshake", "websocket"):
        if name not in run["asked"] or name in run["not_measured"]:
            continue
        cells = [f"{cell(run, name, p, 'p50')} / {cell(run, name, p, 'p99')}" for p in known]
        rows.append([TITLES[name], *(("–" if c == "– / –" else c) for c in cells)])
        if name == "latency":
            base = middle(run, name, "direct", "p50")
            added = [middle(run, name, proxy, "p50") for proxy in known]
            rows.append(["… added p50", *("–" if a is None or base is None else number(a - base) for a in added)])
    return table(["p50 / p99, µs", *known], rows) if rows else []


def memory_table(run):
    known = measured(run)
    rows = [[title(run, name), *(cell(run, name, proxy, "bytes", 1 / 1024) for proxy in known)]
            for name in ("tunnels", "tls-tunnels") if name in run["asked"]]
    return table(["KiB for each", *known], rows) if rows else []


def own_table(run):
    rows = []
    if "redeem" in run["results"]:
        values = bars.in_itself(run["results"])
        rows.append(["click on a login link, CPU µs (p50 / p99 µs)",
                     f"{cell(run, 'redeem', 'hublatch', 'cpu')} ({cell(run, 'redeem', 'hublatch', 'p50')} / "
                     f"{cell(run, 'redeem', 'hublatch', 'p99')})"])
        rows.append(["… to a page for the same browser", number(median(values)) + " ×" if values else "–"])
    if "log" in run["results"]:
        rows.append(["small GET with the access log, CPU µs", cell(run, "log", "hublatch with log", "cpu")])
        rows.append(["… without", cell(run, "log", "hublatch", "cpu")])
    return table(["hublatch alone", ""], rows) if rows else []


def chain_table(run):
    rows = []
    for name in (name for name in TITLES if name.startswith("chain") and name in run["asked"]):
        both = [cell(run, name, chain, "cpu") for chain in (bars.CHAIN, bars.COMMON_CHAIN)]
        p50 = [cell(run, name, chain, "p50") for chain in (bars.CHAIN, bars.COMMON_CHAIN)]
        rows.append([TITLES[name], *both, *p50])
    header = ["from browser to notebook", bars.CHAIN, bars.COMMON_CHAIN, "p50, µs", f"{bars.COMMON_CHAIN}, p50, µs"]
    return table(header, rows) if rows else []


def bars_table(run):
    rows = []
    for bar in bars.ALL:
        if bar.scenario not in run["asked"]:
            continue
        verdict = bar.judge(run["results"])
        sign = "≥" if bar.at_least else "≤"
        limit = f"{sign} {number(bar.limit)} {bar.unit}"
        if verdict is None:
            rows.append([TITLES[bar.scenario], bar.text, run["not_measured"].get(bar.scenario, "–"), limit, ""])
            continue
        value, low, high, met = verdict
        spread = f" ({number(low)} … {number(high)})" if high > low else ""
        rows.append([TITLES[bar.scenario], bar.text, number(value) + f" {bar.unit}" + spread, limit,
                     "yes" if met else "**no**"])
    return table(["bar", "of", "median (lowest … highest round)", "bar", "met"], rows)


def markdown(run):
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items() if version)
    lines = [
        "# hublatch side by side with other proxies",
        "",
        f"{run['date']}, {run['machine']}. {versions}.",
        f"Options: `{run['options']}`; {run['rounds']} interleaved rounds of {run['seconds']} s; load average "
        f"{run['load'][0]:.2f} at the beginning, {run['load'][1]:.2f} in the middle, {run['load'][2]:.2f} at the end "
        "(the measurement itself makes up to 2).",
        "",
        "Each proxy has one thread on one core; load and origin have the other. Medians over the rounds; ratios are taken "
        "within a round. *direct* is the origin itself on the proxies' core.",
        "",
        *bars_table(run),
        *cpu_table(run),
        *times_table(run),
        *memory_table(run),
        *own_table(run),
        *chain_table(run),
    ]
    failures = sorted({f"- {TITLES[name]}, {proxy}: {figures['error']}" for name, by_proxy in run["results"].items()
                       for proxy, rounds in by_proxy.items() for figures in rounds if "error" in figures})
    if failures:
        lines += ["Failed:", "", *failures, ""]
    return "\n".join(lines)


README = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- /measured -->)", re.S)


def write_into(path, run):
    """Writes the short table between the marks in the file `path`."""
    path.write_text(README.sub(lambda _: "\n".join(["", *short(run), ""]), path.read_text(), count=1))


def short(run):
    """What each proxy costs, in one table."""
    known = [proxy for proxy in ("hublatch", "nginx", "HAProxy", "CHP") if proxy in run["versions"]]
    names = {"CHP": "configurable-http-proxy"}
    rows = [[TITLES[name] + (", CPU s" if name in ("download", "upload") else ", CPU µs"),
             *(cell(run, name, proxy, "cpu") for proxy in known)] for name in CPU if name in run["asked"]]
    if "latency" in run["asked"]:
        base, times = middle(run, "latency", "direct", "p50"), [middle(run, "latency", p, "p50") for p in known]
        added = [None if base is None or time is None else time - base for time in times]
        rows.append([f"added to the median answer at {scenarios.LOW_RATE} requests/s, µs", *map(number, added)])
    rows += [[f"{TITLES[name]}, KiB", *(cell(run, name, proxy, "bytes", 1 / 1024) for proxy in known)]
             for name in ("tunnels", "tls-tunnels") if name in run["asked"]]
    header = ["", *(f"{names.get(proxy, proxy)} {run['versions'][proxy]}" for proxy in known)]
    return [*table(header, rows),
            f"{run['date'].split()[0]}, {run['machine']}; medians of {run['rounds']} interleaved rounds of {run['seconds']} s, "
            "one thread each."]
