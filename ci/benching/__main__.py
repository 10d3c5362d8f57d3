"""Measures how much CPU time the server takes, beside other loops that do the same.

    ci/bench [POINT...] [OPTION...]  all points unless told: ping-1 ping-64 ping-512 ping-4k
                                     ping-deep stream-1 stream-8 churn flat idle flood stalled upper
    ci/bench fuzz [TARGET...]        executions a second of the fuzzers, events of the simulator
    ci/bench --prove                 a moment of each load, and that a wrong byte is noticed

    --rounds N              each of N rounds measures all servers, in another order; 7
    --seconds N             how long each is measured; 1 (of fuzz: 10)
    --extra NAME='COMMAND'  another echo server, {port} in its command being the port of 127.0.0.1
                            that it is to serve; may be given again
    --servers NAME,...      only these

The server runs on one core, the load on another; the load verifies every byte. A server is charged
with the CPU time of all its threads and of its core's ksoftirqd. Servers are compared within a
round, and the ratios' median over the rounds is the result; absolute times are of one machine.
System calls are counted apart. The peers libuv, libevent and libev are there if their libraries
were when they were built, and so are the ports, named rust-port and so on, that ci/conform --ports
has built.

What was measured is written to build/bench: results.json, report.html, chart.svg (of fuzz:
rates.json). That a goal is missed is said, and is no failure.

Exit status: 0 it was measured; 1 a server did not answer as it has to; 2 bad usage; 3 it cannot
run.
"""

import argparse
import datetime
import json
import os
import signal
import sys
from pathlib import Path

from . import figures, machine, page, points, prove, rates, rounds, servers
from .load import WrongAnswer

WRONG, USAGE, CANNOT_RUN = 1, 2, 3
OUT = Path("build/bench")


def say(*words):
    print(*words, flush=True)


class Parser(argparse.ArgumentParser):
    """The text above says all of it at once; a mistake is one line."""

    def error(self, message):
        self.exit(USAGE, f"ci/bench: {message} (see ci/bench --help)\n")

    def format_help(self):
        return __doc__


def positive(text):
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def named_command(text):
    name, equals, command = text.partition("=")
    if not name or not equals or "{port}" not in command:
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME='COMMAND {{port}}'")
    return name, command


def arguments():
    parser = Parser(allow_abbrev=False)
    parser.add_argument("what", nargs="*")
    parser.add_argument("--prove", action="store_true")
    parser.add_argument("--rounds", type=positive, default=7)
    parser.add_argument("--seconds", type=positive)
    parser.add_argument("--extra", type=named_command, action="append", default=[])
    parser.add_argument("--servers", type=lambda text: text.split(","))
    options = parser.parse_intermixed_args()
    options.error = parser.error
    options.parser = parser
    return options


def chosen_points(options):
    for name in options.what:
        if name not in points.NAMES:
            options.error(f"'{name}' is no point (expected: {' '.join(points.NAMES)})")
    return options.what or points.NAMES


def chosen_servers(options):
    commands = {**servers.built(), **dict(options.extra)}
    for name in options.servers or ():
        if name not in commands:
            options.error(f"'{name}' is no server (expected: {' '.join(commands)})")
    return {
        name: command for name, command in commands.items()
        if not options.servers or name in options.servers
    }


def load_average():
    return " ".join(f"{each:.2f}" for each in os.getloadavg())


def measure(options):
    wanted = chosen_points(options)
    clients = points.IDLE if {"idle", "flat"} & set(wanted) else points.STALLED
    machine.allow_descriptors(clients + points.DESCRIPTORS_BESIDE)
    servers.build()
    commands = chosen_servers(options)
    extras = [name for name, _ in options.extra]
    bench = rounds.Bench(commands, extras, options.rounds, options.seconds or 1, say)
    results = {
        "began": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "rounds": bench.rounds, "seconds": bench.seconds, "load_before": load_average(),
        "machine": machine.describe(bench.server_core, bench.load_core),
        "servers": list(commands), "commands": commands,
    }
    for name, text in results["machine"].items():
        say(f"{name}: {text}")
    costly = [point for point in points.POINTS if point.name in wanted]
    if costly or "flat" in wanted:
        results["costs"] = bench.costs(costly + (points.FLAT if "flat" in wanted else []))
        results["calls"] = bench.calls(costly)
    for name in points.OTHERS:
        if name in wanted:
            results[name] = getattr(bench, name)()
    results["load_after"] = load_average()
    results["verdicts"] = [vars(each) for each in figures.verdicts(results)]
    write(results)
    say("\n".join(figures.tables(results)))
    say(f"\n{OUT}/report.html, {OUT}/results.json")


def write(results):
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    (OUT / "report.html").write_text(page.page(results))
    (OUT / "chart.svg").write_text(page.bars(results))


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    signal.signal(signal.SIGTERM, interrupted)
    options = arguments()
    try:
        if options.prove:
            prove.prove(say)
        elif options.what[:1] == ["fuzz"]:
            rates.measure(options.what[1:], options.seconds or 10, options.error, say)
        else:
            measure(options)
    except WrongAnswer as error:
        sys.stderr.write(f"ci/bench: {error}\n")
        sys.exit(WRONG)
    except machine.CannotRun as error:
        sys.stderr.write(f"ci/bench: {error}\n")
        sys.exit(CANNOT_RUN)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


main()
