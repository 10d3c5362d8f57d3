"""Shows results: bar charts of ratios, how flat the cost is, and one page with all of it."""

import math
from pathlib import Path

import jinja2

from . import figures
from .points import FLAT, POINTS

COLOURS = [
    "#1d5fd1", "#b45309", "#1a7f4b", "#8e44ad", "#c5221f", "#0e7490", "#667085", "#be185d",
    "#6b8e23", "#d946ef", "#d2a000",
]

WIDTH, LEFT = 860, 300
BAR, GAP, HEAD, FOOT = 13, 12, 38, 30
KEY, KEYS = 18, 7  # the height of a row of the key, and how many servers are in one
# The longest bar; one that is longer says how long it would be.
RATIO_MAX = 2.5

environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True,
    lstrip_blocks=True, undefined=jinja2.StrictUndefined,
)


def bars(results):
    """The cost of each server under each load, the floor's being 1."""
    rows = list(figures.to_floor(results))
    if not rows:
        return ""
    names = list(dict.fromkeys(name for _, of in rows for name, _ in of))

    def x(ratio):
        return round(LEFT + min(ratio, RATIO_MAX) / RATIO_MAX * (WIDTH - LEFT - 60), 1)

    def bar(name, spread, y):
        cut = spread.high > RATIO_MAX
        return {
            "colour": names.index(name), "width": x(spread.median) - LEFT, "height": BAR - 2,
            "y": y, "middle": y + BAR / 2 - 1, "low": None if cut else x(spread.low),
            "high": x(spread.high), "text_x": x(spread.high) + 6, "text": f"{spread.median:.2f}",
        }

    head = HEAD + KEY * math.ceil(len(names) / KEYS)
    groups, y = [], head
    for title, of in rows:
        drawn = [bar(name, spread, y + BAR * i) for i, (name, spread) in enumerate(of)]
        groups.append({"title": title, "bars": drawn, "y": y, "height": BAR * len(of)})
        y += BAR * len(of) + GAP
    return render(
        "bars.svg", names=names, groups=groups, x=x, left=LEFT, head=head, height=y + FOOT, key=KEY,
        keys=KEYS, title="CPU time of a server for the same work: shorter is better",
        label="bars: the CPU time of each server, the least loop's being 1",
    )


def lines(results):
    """The cost of a message beside more and more idle clients."""
    rows = list(figures.flatness(results))
    if not rows:
        return ""
    left, height = 60, 300
    top = max(spread.high for _, of in rows for _, spread in of) * 1.1
    idle = [clients for clients, _ in rows[0][1]]

    def x(clients):
        part = math.log10(clients / idle[0]) / max(1e-9, math.log10(idle[-1] / idle[0]))
        return round(left + 20 + part * (WIDTH - left - 60), 1)

    def y(us):
        return round(height - 34 - us / top * (height - 34 - HEAD - KEY), 1)

    drawn = []
    for colour, (_, of) in enumerate(rows):
        dots = [{"x": x(n), "y": y(s.median), "low": y(s.low), "high": y(s.high)} for n, s in of]
        path = " ".join(f"{dot['x']},{dot['y']}" for dot in dots)
        drawn.append({"colour": colour, "dots": dots, "points": path})
    return render(
        "lines.svg", names=[name for name, _ in rows], lines=drawn, left=left, height=height,
        y_marks=[{"y": y(top * i / 4), "text": f"{top * i / 4:.1f}"} for i in range(5)],
        x_marks=[{"x": x(n), "text": f"{n:,} idle"} for n in idle],
        title="µs of CPU for a message of one of 64 clients, beside idle ones",
        label="lines: the CPU time of a message, by how many idle clients there are",
    )


def render(template, **values):
    return environment.get_template(template).render(width=WIDTH, colours=COLOURS, **values)


def page(results):
    costs = results.get("costs", {})
    titles = {point.name: point for point in [*POINTS, *FLAT]}
    return environment.get_template("page.html").render(
        results=results, titles=titles, costs=costs, calls=results.get("calls", {}),
        idle=results.get("idle", {}),
        verdicts=figures.verdicts(results), bars=bars(results), lines=lines(results),
        spread=lambda point, name: figures.cost_spread(costs, point, name),
        ratio=lambda point, name: figures.ratio(costs, point, "touchstone", name),
    )
