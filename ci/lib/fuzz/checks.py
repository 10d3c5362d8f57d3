"""What CI runs: a few seconds of every target, and the canary."""

import concurrent.futures
import contextlib

from .. import command, tree
from . import engines, targets

SMOKE_S = 5
SMOKE_AFL_S = 20
CANARY_S = 60


def run_fresh(engine, target, seconds, place):
    """Runs as on a machine that never fuzzed before."""
    tree.fresh_folder(place)
    return engines.run(engines.ENGINES[engine](target, place), seconds)


def run_all(plan, at_a_time):
    """Runs each (function, arguments...), a line each; gives the results with findings."""
    bad = []
    with concurrent.futures.ThreadPoolExecutor(at_a_time) as pool:
        running = [pool.submit(function, *arguments) for function, *arguments in plan]
        for done in concurrent.futures.as_completed(running):
            with contextlib.suppress(engines.NotBegun):
                result = done.result()
                command.say(result)
                if result.is_bad:
                    bad.append(result)
    command.say(f"{len(plan)} runs, {len(bad)} with findings")
    return bad


def smoke():
    """Two at a time; the one that takes longest first."""
    names = targets.honest_names()
    targets.Build("fuzz-libfuzzer", names)
    plan = []
    for engine, name, seconds in [
        ("afl", "server", SMOKE_AFL_S), *(("libfuzzer", name, SMOKE_S) for name in names)
    ]:
        target = targets.Target(name)
        plan.append((run_fresh, engine, target, seconds, target.place("smoke", engine, name)))
    return run_all(plan, 2)


def finders(name, seconds):
    """The engines that find something in time."""
    found, target = [], targets.Target(name)
    for engine in engines.ENGINES:
        result = run_fresh(engine, target, seconds, target.place("canary", engine, name))
        command.say(result)
        if result.findings:
            found.append(engine)
    return found


def canary():
    """Both engines have to find its bug."""
    found = finders(targets.CANARY, CANARY_S)
    for engine in engines.ENGINES:
        if engine not in found:
            command.say(f"{engine}: the bug of fuzz/{targets.CANARY}_fuzzer.c not found [canary]")
    command.say(f"found by {len(found)} of {len(engines.ENGINES)} engines")
    return found == list(engines.ENGINES)
