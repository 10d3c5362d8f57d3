"""What the rounds amount to: medians, ratios paired by round, their confidence, and the goals."""

import dataclasses
import math
import statistics

from . import points
from .servers import FLOOR, OURS


OUTCOMES = "met", "missed", "not distinguishable"


@dataclasses.dataclass(frozen=True)
class Spread:
    """The median of some values, the interval in which it lies with a confidence of 95 %, and the
    least value."""

    median: float
    low: float
    high: float
    least: float

    @classmethod
    def of(cls, values):
        """The interval is found by ranks, whatever the distribution: with fewer than eight values
        it is all of them."""
        values = sorted(values)
        beyond = max(0, math.floor((len(values) - 1.96 * math.sqrt(len(values))) / 2) - 1)
        return cls(statistics.median(values), values[beyond], values[-1 - beyond], values[0])

    def __format__(self, form):
        return f"{self.median:{form}} ({self.low:{form}} to {self.high:{form}})"


def cost_spread(costs, point, name):
    return Spread.of(each["us"] for each in costs[point][name])


def ratio(costs, point, name, other, other_point=None):
    """What was measured in the same round is compared: what disturbs a round disturbs both."""
    mine, others = costs[point][name], costs[other_point or point][other]
    return Spread.of(a["us"] / b["us"] for a, b in zip(mine, others))


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One goal, what was measured, and whether that is enough; sure unless the measure is too
    coarse to tell."""

    what: str
    measured: str
    goal: str
    met: bool
    sure: bool = True

    @property
    def outcome(self) -> str:
        return OUTCOMES[1 - self.met if self.sure else 2]


def verdicts(results):
    """The verdicts on all goals whose point was measured."""
    return [
        *ratio_verdicts(results.get("costs", {})), *flat_verdicts(results.get("costs", {})),
        *idle_verdicts(results.get("idle", {})), *flood_verdicts(results.get("flood", {})),
        *stalled_verdicts(results.get("stalled", {})), *upper_verdicts(results.get("upper", {})),
    ]


def ratio_verdicts(costs):
    titles = {point.name: point.title for point in points.POINTS}
    for goal in points.GOALS:
        if goal.point in costs and goal.other in costs[goal.point]:
            found = ratio(costs, goal.point, OURS, goal.other)
            yield Verdict(
                f"{titles[goal.point]}: to {goal.other}", f"{found:.3f}", f"≤ {goal.ratio:.2f}",
                met=found.low <= goal.ratio, sure=not found.low <= goal.ratio < found.high,
            )


def flat_verdicts(costs):
    if "flat-100" in costs and "flat-10000" in costs:
        found = ratio(costs, "flat-10000", OURS, OURS, "flat-100")
        yield Verdict(
            "a message with 10,000 idle to one with 100", f"{found:.3f}",
            f"≤ {points.FLAT_RATIO_MAX}", found.median <= points.FLAT_RATIO_MAX,
        )


def idle_verdicts(idle):
    if OURS not in idle:
        return
    each, rest = idle[OURS]["each"], idle[OURS]["rest"]
    yield Verdict(
        "idle: resident bytes a connection", f"{each:.1f}", f"≤ {points.IDLE_BYTES_MAX}",
        each <= points.IDLE_BYTES_MAX,
    )
    yield Verdict(
        "idle: private dirty KiB at rest", f"{rest / 1024:.0f}",
        f"≤ {points.REST_BYTES_MAX // 1024}", rest <= points.REST_BYTES_MAX,
    )
    if "libuv" in idle:
        of_libuv = each / idle["libuv"]["each"]
        yield Verdict(
            "idle: bytes a connection, to libuv", f"{of_libuv:.3f}",
            f"≤ {points.IDLE_RATIO_MAX}", of_libuv <= points.IDLE_RATIO_MAX,
        )


def flood_verdicts(flood):
    for floods, (figure, most) in points.FLOOD_GOALS.items():
        if str(floods) in flood.get(OURS, {}):
            measured = flood[OURS][str(floods)]["beside"][figure]
            yield Verdict(
                f"a ping's {figure[:3]} beside {floods} floods, ms", f"{measured / 1000:.2f}",
                f"≤ {most / 1000:.0f}", measured <= most,
            )
    for floods, most in points.NEW_CONNECTIONS_MS_MAX.items():
        if str(floods) in flood.get(OURS, {}):
            measured = flood[OURS][str(floods)]["new_connections_ms"]
            yield Verdict(
                f"until {points.NEW_CONNECTIONS} new connections are answered beside {floods} "
                "floods, ms", f"{measured:.0f}", f"≤ {most:,}", measured <= most,
            )


def stalled_verdicts(stalled):
    if OURS not in stalled:
        return
    of_bound = stalled[OURS]["growth"] / (points.STALLED * points.BUFFER_BYTES)
    slower = stalled[OURS]["beside"]["p99_us"] / stalled[OURS]["alone"]["p99_us"]
    yield Verdict(
        f"memory for {points.STALLED:,} that never read, to clients × buffer", f"{of_bound:.3f}",
        f"≤ {points.STALLED_MEMORY_MAX}", of_bound <= points.STALLED_MEMORY_MAX,
    )
    yield Verdict(
        f"a ping's p99 beside {points.STALLED:,} that never read, to alone", f"{slower:.2f}",
        f"≤ {points.STALLED_P99_MAX:.0f}", slower <= points.STALLED_P99_MAX,
    )


def upper_verdicts(upper):
    for program, found in upper.items():
        rate_min, part_min = points.UPPER[program]
        rate, part = found["upper_gb_s"], found["upper_gb_s"] / found["memcpy_gb_s"]
        yield Verdict(
            f"{program} at {found['bytes']:,} bytes, GB/s", f"{rate:.1f}, {part:.2f} of memcpy",
            f"≥ {rate_min}" + (f" or ≥ {part_min} of memcpy" if part_min else ""),
            rate >= rate_min or (part_min is not None and part >= part_min),
        )


# ---- As text


def tables(results):
    """Lines."""
    costs = results.get("costs", {})
    titles = {point.name: point for point in [*points.POINTS, *points.FLAT]}
    names = sorted({name for of in costs.values() for name in of}, key=results["servers"].index)
    if costs:
        yield from cost_table(costs, titles, names)
        yield from ratio_table(costs, titles, names)
    if results.get("calls"):
        yield from call_table(results["calls"], titles, names)
    if results.get("flood"):
        yield from flood_table(results["flood"])
    yield ""
    yield f"{'goal':64} {'measured':>24}  aimed at"
    for each in verdicts(results):
        yield f"{each.what:64} {each.measured:>24}  {each.goal:8} {each.outcome}"


def row(title, cells):
    return f"{title:44} " + " ".join(f"{cell:>24}" for cell in cells)


def cost_table(costs, titles, names):
    yield ""
    yield row("µs of CPU: median, least", names)
    for point, of in costs.items():
        spreads = [cost_spread(costs, point, name) if name in of else None for name in names]
        cells = [f"{each.median:.3f}, {each.least:.3f}" if each else "" for each in spreads]
        yield row(f"{titles[point].title}: {titles[point].unit}", cells)


def ratio_table(costs, titles, names):
    others = [name for name in names if name != OURS]
    yield ""
    yield row(f"{OURS}'s, paired by round, to that of", others)
    for point, of in costs.items():
        if OURS in of:
            spreads = [ratio(costs, point, OURS, name) if name in of else None for name in others]
            yield row(titles[point].title, [f"{each:.3f}" if each else "" for each in spreads])


def call_table(calls, titles, names):
    yield ""
    yield row("system calls a unit, under strace", names)
    for point, of in calls.items():
        cells = [f"{sum(of[name].values()):.2f}" if name in of else "" for name in names]
        yield row(titles[point].title, cells)


def flood_table(flood):
    names = list(flood)
    yield ""
    yield row(f"ms: a ping's median, p99; {points.NEW_CONNECTIONS} new connections (busy)", names)
    for floods in flood[names[0]]:
        yield row(f"{int(floods):,} floods", [flood_cell(flood[name][floods]) for name in names])


def flood_cell(found):
    p50, p99 = (found["beside"][name] / 1000 for name in ("p50_us", "p99_us"))
    return f"{p50:.2f}, {p99:.2f}; {found['new_connections_ms']:.1f} ({found['busy']:.0%})"


# ---- For pictures


def to_floor(results):
    """[(title, [(server, Spread of its cost to the floor's)])], of the points with a floor."""
    costs = results.get("costs", {})
    for point in points.POINTS:
        if FLOOR in costs.get(point.name, {}):
            names = [name for name in costs[point.name] if name != FLOOR]
            yield point.title, [(name, ratio(costs, point.name, name, FLOOR)) for name in names]


def flatness(results):
    """[(server, [(idle clients, Spread of the cost of a message)])]"""
    costs = results.get("costs", {})
    shown = [idle for idle in points.FLAT_IDLE if f"flat-{idle}" in costs]
    for name in costs.get(f"flat-{shown[0]}", {}) if shown else ():
        yield name, [(idle, cost_spread(costs, f"flat-{idle}", name)) for idle in shown]
