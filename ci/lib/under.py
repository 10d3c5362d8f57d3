"""Servers other than the reference under the simulated kernel: those that are right raise no alarm,
each mistake of tests/under/broken.c is found, and so is one of the reference's system calls, below
what its own simulation has."""

from __future__ import annotations

import dataclasses
import re
import shutil
import sys

from . import build, command, defects, simulate, tree

PORTS = tree.TOP / "integration" / "ports"
BUILT = tree.BUILD / "under"

NOTHING_FAILED, FAILED, NOT_JUDGED = 0, 1, 3
# What is no mistake, but not modelled, and how that is reported.
UNJUDGED = {"duplicated-descriptor": "dup", "forked-process": "fork",
            "second-thread": "recv"}

# The scenarios that the mistakes are looked for in, in this order of ways.
SMALL = ("framing-two-writes", "fin-bare", "reset-idle")
SEEDS = 20
SLOW = 20  # times less, of all that is counted
SAMPLED = 8  # mistakes, with --sample
SOAK_EVENTS = 500_000
SWEEP_SAMPLE = 25
# Without states that are known, all runs are made.
EXPLORE = ["explore", "--steps", "2", "--deviations", "1", "--out", simulate.FAILING,
           "tests/explore/plain.scenario"]
# A seeded defect of the reference, where it is passed its listener.
PLANTED = "activation-forgets-who-waited"
# Mistakes that need more than this bound: more clients, bytes or steps, or what is not explored.
BEYOND = {
    "output-dropped-at-fin", "abort-without-registration", "leak-without-registration",
    "spin-without-descriptors", "would-block-is-retried", "spin-while-output-pends",
    "slot-not-cleared", "stop-drops-the-backlog", "short-read-is-the-end", PLANTED,
}


@dataclasses.dataclass
class Server:
    name: str
    start: str
    build: list = dataclasses.field(default_factory=list)  # a command
    # What fails in it by a fault of its library, as lines of the sweep begin.
    known: str = ""
    slow: bool = False
    unsteady: bool = False  # what its runtime does by the clock shows in its traces


def activated(folder) -> str:
    """The reference, as a service manager starts it."""
    start = tree.shown(tree.TOP / "integration" / "touchstone_conform" / "harness" / "activate.py")
    return f"{sys.executable} {start} --port {{port}} {tree.shown(folder / 'touchstone')} --quiet"


def servers(folder) -> list[Server]:
    touchstone = tree.shown(folder / "touchstone")
    node = shutil.which("node") or "node"
    python = tree.shown(PORTS / "python" / "server.py")
    return [
        Server("reference", f"{touchstone} --quiet --listen 127.0.0.1:{{port}}"),
        Server("activated", activated(folder), slow=True),
        Server("libuv", *_compiled("libuv", "-luv"), known="fault control"),
        Server("libevent", *_compiled("libevent", "-levent_core")),
        Server("rust", f"{tree.shown(BUILT)}/rust/release/port-rust {{port}}",
               build=["cargo", "build", "--release", "--locked", "--manifest-path",
                      PORTS / "rust" / "Cargo.toml", "--target-dir", BUILT / "rust"]),
        Server("python", f"env PYTHONHASHSEED=0 {sys.executable} {python} {{port}}",
               known="fault control", slow=True),
        Server("node", f"{node} {tree.shown(PORTS / 'node' / 'server.mjs')} {{port}}",
               known="fault control", slow=True, unsteady=True),
    ]


def _compiled(port, library):
    program = BUILT / port
    return (f"{tree.shown(program)} {{port}}",
            ["cc", "-O2", "-o", program, PORTS / port / "server.c", library])


def broken(folder) -> tuple[list[Server], list[tuple[str, str]]]:
    """The styles that are right, and (mistake, how it is started)."""
    program = tree.shown(folder / "tests" / "under" / "broken")
    listed = [line.split() for line in command.output_of([program, "--list"]).splitlines()]
    starts = [(style, mistake, f"{program} {{port}} {style} {mistake}")
              for style, mistake in listed]
    right = [Server(style, start) for style, mistake, start in starts if mistake == "none"]
    return right, [(mistake, start) for _, mistake, start in starts if mistake != "none"]


def under(options) -> bool:
    command.in_venv("venv")
    folder = build.make(build.configure("release", "gcc"), "scenario", "broken", "touchstone")
    scenario = tree.shown(folder / "tests" / "scenario")
    tree.RESULTS.mkdir(parents=True, exist_ok=True)
    right, mistakes = broken(folder)
    mistakes.append((PLANTED, ""))
    every = servers(folder) + right
    if options.names:
        every, mistakes = _named(options.names, every, mistakes)
    elif options.sample:
        quick = [each for each in every[1:] if not each.slow]
        every = [every[0], *tree.rotated(quick, options.sample)]
        mistakes = tree.rotated(mistakes, SAMPLED)
    complaints = []
    for server in every:
        complaints += _right(scenario, server)
    for mistake, start in mistakes:
        if mistake == PLANTED:
            start = _planted()
        complaints += _mistake(scenario, mistake, start)
    command.say(f"{len(every)} servers that are right, {len(mistakes)} with a mistake: "
                f"{len(complaints)} complaints")
    for each in complaints:
        command.say(each)
    return not complaints


def _named(names, every, mistakes):
    known = [server.name for server in every] + [mistake for mistake, _ in mistakes]
    for name in names:
        if name not in known:
            command.refuse("ci/simulate under", name, f"one of {', '.join(known)}")
    return ([server for server in every if server.name in names],
            [(mistake, start) for mistake, start in mistakes if mistake in names])


def _right(scenario, server) -> list[str]:
    """No alarm, whatever varies and fails; and the same traces twice."""
    reason = lacking(server)
    if reason:
        command.say(f"{server.name}: skipped: {reason}")
        return []
    failed = make(server)
    if failed:
        return [f"{failed}{server.name}: not built [build]"]
    files = simulate.relative(simulate.scenario_files())
    hashes = ["run", "--hash", *files]
    less = SLOW if server.slow else 1
    first = _run(scenario, server.start, *hashes)
    ways = {
        "run": ["run", *files],
        "varied": ["run", "--seeds", SEEDS // less, "--faults", "all", *_steady(files)],
        "swept": ["sweep", "--sample", SWEEP_SAMPLE * less, *files],
        "soak": ["soak", "--events", SOAK_EVENTS // less, "--out", simulate.FAILING],
    }
    if not server.slow:
        ways["explored"] = EXPLORE
    for way, arguments in ways.items():
        status, lines = _run(scenario, server.start, *arguments)
        bad = [line for line in lines if "FAILED" in line and not _is_known(server, line)]
        if bad or status not in (NOTHING_FAILED, FAILED):
            command.say(f"{server.name:12} alarm")
            return [f"{server.name}: {way}: {(bad or lines)[0]} [false-alarm]"]
    if not server.unsteady and first != _run(scenario, server.start, *hashes):
        return [f"{server.name}: its traces differ from one run to the next [trace-differs]"]
    command.say(f"{server.name:12} right")
    return []


def make(server) -> str:
    """Builds it: what its compiler says if it cannot."""
    if not server.build:
        return ""
    BUILT.mkdir(parents=True, exist_ok=True)
    done = command.run(server.build)
    return done.stdout if done.returncode != 0 else ""


def lacking(server) -> str:
    """What this machine has not that a port needs, as the judge of the ports has it."""
    sys.path.insert(0, str(tree.TOP / "integration"))
    import judge  # it needs the kit

    port = next((each for each in judge.ports() if each.name == server.name), None)
    return judge.lacking(port) if port else ""


def _is_known(server, line) -> bool:
    return bool(server.known) and re.search(rf"FAILED, {server.known}", line) is not None


def _planted() -> str:
    copy = defects.Copy(tree.BUILD / "defects" / "under", simulate.COPIED)
    with copy.planted(defects.Patch(PLANTED)):
        folder = build.configure("release", "gcc", top=copy.top)
        return activated(build.make(folder, "touchstone"))


def _mistake(scenario, mistake, start) -> list[str]:
    """How the mistake is found: as the scenarios are written, in a sweep, or with what varies."""
    files = simulate.relative(simulate.scenario_files())
    small = [name for name in files if any(f"/{each}." in name for each in SMALL)]
    ways = {
        "written": ["run", *small], "swept": ["sweep", *small], "all": ["run", *files],
        "varied": ["run", "--seeds", SEEDS, "--faults", "all", *_steady(files)],
    }
    for way, arguments in ways.items():
        status, lines = _run(scenario, start, *arguments)
        if mistake in UNJUDGED:
            told = re.compile(rf"^not judged: .* unsupported: {UNJUDGED[mistake]}\b")
            good = status == NOT_JUDGED and any(map(told.search, lines))
            return [] if good else [f"{mistake}: status {status}, expected 3 [judged]"]
        failed = [line for line in lines if "FAILED" in line]
        if status == FAILED and failed:
            command.say(f"{mistake:28} {way:8} {failed[0].rpartition('/')[2]}")
            return _explored(scenario, mistake, start)
    return [f"{mistake}: not found by any scenario [escaped]"]


def _explored(scenario, mistake, start) -> list[str]:
    """Exploration finds what is within its bound."""
    found = _run(scenario, start, *EXPLORE)[0] == FAILED
    expected = mistake not in BEYOND
    words = {True: "found", False: "not found"}
    return [] if found == expected else [
        f"{mistake}: {words[found]} by exploration, expected: {words[expected]} [explored]"]


def _steady(files) -> list[str]:
    """Leaves out crowds, which take long."""
    crowd = re.compile("^(crowd|vary) ", re.MULTILINE)
    return [name for name in files if not crowd.search((tree.TOP / name).read_text())]


def _run(scenario, start, *arguments) -> tuple[int, list[str]]:
    done = command.run([scenario, *arguments, "--under", start], cwd=tree.TOP)
    return done.returncode, done.stdout.splitlines()
