"""The picture of one run: an SVG with a row of bars for each scenario, scaled to the dearest of the fast proxies."""

from html import escape

import report

PROXIES = [("hublatch", "#e4572e"), ("nginx", "#7a8b99"), ("HAProxy", "#a9b4bd"), ("CHP", "#d5c4a1")]
ROWS = [("get", "cpu", "µs", 1), ("browser", "cpu", "µs", 1), ("tls", "cpu", "µs", 1), ("h2", "cpu", "µs", 1),
        ("connection", "cpu", "µs", 1), ("handshake", "cpu", "µs", 1), ("websocket", "cpu", "µs", 1),
        ("download", "cpu", "s CPU", 1), ("upload", "cpu", "s CPU", 1), ("tunnels", "bytes", "KiB", 1 / 1024),
        ("tls-tunnels", "bytes", "KiB", 1 / 1024)]
WIDTH, LABEL, SCALE, BAR, GAP = 760, 250, 330, 13, 14
STYLE = """
text{font:12px system-ui,sans-serif;fill:#24292f}.small{font-size:11px;fill:#57606a}.title{font-size:16px;font-weight:600}
.paper{fill:#fff}.us{font-weight:600}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.paper{fill:#0d1117}}
"""


def svg(run):
    parts, y = [], 64
    for name, figure, unit, scale in ROWS:
        values = [(proxy, colour, report.middle(run, name, proxy, figure)) for proxy, colour in PROXIES]
        values = [(proxy, colour, value * scale) for proxy, colour, value in values if value is not None]
        if not any(proxy == "hublatch" for proxy, _, _ in values):
            continue
        # CHP is beyond the scale in most rows: its bar is cut, its number is not.
        most = max((value for proxy, _, value in values if proxy != "CHP"), default=1) or 1
        parts.append(f'<text x="{LABEL - 14}" y="{y + 11}" text-anchor="end">{escape(report.TITLES[name])}</text>')
        for proxy, colour, value in values:
            parts += bar(y, proxy, colour, value, most, unit)
            y += BAR + 2
        y += GAP
    subtitle = f"{run['date']} · {run['machine']}"
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 10}" viewBox="0 0 {WIDTH} {y + 10}" '
        'role="img" aria-label="What each proxy costs: shorter is better">',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{y + 10}"/>',
        '<text class="title" x="16" y="26">What each proxy costs: CPU per request, memory per tunnel. Shorter is better.</text>',
        f'<text class="small" x="16" y="44">{escape(subtitle)}</text>',
    ]
    return "\n".join([*head, *parts, "</svg>", ""])


def bar(y, proxy, colour, value, most, unit):
    width = max(1.0, min(value / most, 1.18) * SCALE)
    cut = value / most > 1.18
    shapes = [f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>']
    if cut:
        x = LABEL + width - 14
        shapes.append(f'<path class="paper" d="M{x} {y + BAR}l4 -{BAR}h4l-4 {BAR}z"/>')
    weight = ' class="us"' if proxy == "hublatch" else ' class="small"'
    text = f"{proxy} {report.number(value)} {unit}"
    return [*shapes, f'<text{weight} x="{LABEL + width + 6:.1f}" y="{y + 11}">{escape(text)}</text>']
