"""Measures what was asked for, writes it down, and shows it."""

import datetime
import json
import os

from .. import command, tree
from . import figures, machine, page, points, rounds, servers

OUT = tree.BUILD / "bench"
SLICE_S = 0.15  # shorter than most of what disturbs a shared machine


def measure(options):
    wanted = options.what
    clients = points.IDLE if {"idle", "flat"} & set(wanted) else points.STALLED
    machine.allow_descriptors(clients + points.DESCRIPTORS_BESIDE)
    servers.build_all()
    commands = chosen_servers(options)
    extras = [name for name, _ in options.extra]
    bench = rounds.Bench(commands, extras, options.rounds, options.seconds or SLICE_S)
    results = {
        "began": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "rounds": bench.rounds, "seconds": bench.seconds, "load_before": load_average(),
        "machine": machine.describe(bench.server_core, bench.load_core),
        "servers": list(commands), "commands": commands,
    }
    for name, text in results["machine"].items():
        command.say(f"{name}: {text}")
    costly = [point for point in points.POINTS if point.name in wanted]
    if costly or "flat" in wanted:
        results["costs"] = bench.costs(costly + (points.FLAT if "flat" in wanted else []))
        results["calls"] = bench.calls(costly)
    for name in points.OTHERS:
        if name in wanted:
            results[name] = getattr(bench, name)()
    results["load_after"] = load_average()
    verdicts = figures.verdicts(results)
    results["verdicts"] = [{**vars(each), "outcome": each.outcome} for each in verdicts]
    write(results)
    command.say("\n".join(figures.tables(results)))
    outcomes = [each.outcome for each in verdicts]
    counts = ", ".join(f"{outcomes.count(each)} {each}" for each in figures.OUTCOMES)
    command.say(f"\n{len(verdicts)} goals: {counts}: {tree.shown(OUT)}/report.html")


def chosen_servers(options):
    commands = {**servers.built(), **dict(options.extra)}
    for name in options.servers or ():
        if name not in commands:
            options.error(f"unknown server '{name}', expected {', '.join(commands)}")
    return {
        name: line for name, line in commands.items()
        if not options.servers or name in options.servers
    }


def load_average():
    return " ".join(f"{each:.2f}" for each in os.getloadavg())


def write(results):
    OUT.mkdir(parents=True, exist_ok=True)
    written = {
        "results.json": json.dumps(results, indent=1, ensure_ascii=False) + "\n",
        "report.html": page.page(results), "chart.svg": page.bars(results),
    }
    for name, text in written.items():
        (OUT / name).write_text(text, encoding="utf-8")
