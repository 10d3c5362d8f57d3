"""What CI runs: a few seconds of every target, and the canary."""

import concurrent.futures
import contextlib
import re
import shlex
import subprocess

from . import engines, tree

SMOKE_S = 5
SMOKE_AFL_S = 20
CANARY_S = 60
# Without a bug to find, a moment shows that the canary's check does not find one all the same.
PROVE_S = 3
SILENT = "upper"
DEFECT = "fin-drops-pending-output"


def run_fresh(engine, target, seconds, place):
    """As on a machine that never fuzzed before."""
    tree.fresh_folder(place)
    return engines.run(engines.ENGINES[engine](target, place), seconds)


def run_all(plan, at_a_time):
    """Runs each (engine, target, seconds, place), a line each; gives the results with findings."""
    bad = []
    with concurrent.futures.ThreadPoolExecutor(at_a_time) as pool:
        running = [pool.submit(function, *arguments) for function, *arguments in plan]
        for done in concurrent.futures.as_completed(running):
            with contextlib.suppress(engines.NotBegun):
                result = done.result()
                tree.say(result)
                if is_bad(result):
                    bad.append(result)
    return bad


def is_bad(result):
    """An input that does not always take the same path is the target's fault, too."""
    return bool(result.findings) or result.stats.stability < 100


def smoke():
    """Two at a time; the one that takes longest first."""
    names = tree.honest_targets()
    tree.Build("fuzz-libfuzzer", names)
    place = tree.FOUND / "smoke"
    plan = [(run_fresh, "afl", "server", SMOKE_AFL_S, place / "afl" / "server")]
    plan += [
        (run_fresh, "libfuzzer", name, SMOKE_S, place / "libfuzzer" / name) for name in names
    ]
    return run_all(plan, 2)


def smoke_prove():
    """A defect planted into a copy of the server ends a run with status 1 and a scenario. Of the
    commands that are printed for it the simulator's fails, too, and the one for real sockets finds
    nothing wrong with the server as it is."""
    copy = tree.fresh_folder(tree.FOUND / "planted")
    tree.copy_tree(copy)
    tree.output_of(["git", "-C", copy, "init", "--quiet"])
    tree.output_of(["git", "-C", copy, "apply", f"tests/defects/server/{DEFECT}.patch"])
    status, said = outcome([copy / "ci" / "fuzz", "libfuzzer", "server", str(CANARY_S)], copy)
    replay = re.search(r"^scenario 1$.*^in the simulator: (.*?)$", said, re.MULTILINE | re.DOTALL)
    if status != 1 or not replay:
        raise tree.CannotRun(f"{DEFECT} was not reported as it should be: {status}\n{said}")
    status, trace = outcome(shlex.split(replay.group(1)), copy)
    if status != 1:
        raise tree.CannotRun(f"what was reported of {DEFECT} does not fail again:\n{trace}")
    sockets = re.search(r"^over real sockets.*: (ci/sockets .*) (\S+)$", said, re.MULTILINE)
    if not sockets:
        raise tree.CannotRun(f"of {DEFECT} no command for real sockets was printed:\n{said}")
    command = [*shlex.split(sockets.group(1)), copy / sockets.group(2)]
    status, verdict = outcome(command, tree.TOP)
    if status != 0:
        raise tree.CannotRun(f"{shlex.join(map(str, command))} ended with {status}:\n{verdict}")
    tree.say(f"seen: {DEFECT}: {trace.splitlines()[-1]}")


def outcome(command, folder):
    done = subprocess.run(
        command, cwd=folder, env=tree.environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    return done.returncode, done.stdout.decode(errors="replace")


def heard(target, seconds):
    """The engines that find something in time."""
    for engine in engines.ENGINES:
        place = tree.FOUND / "canary" / engine / target
        result = run_fresh(engine, target, seconds, place)
        tree.say(result)
        if result.findings:
            yield engine


def canary():
    if list(heard(tree.CANARY, CANARY_S)) != list(engines.ENGINES):
        raise tree.CannotRun("the canary's bug was not found by both: the pipeline is dead")


def canary_prove():
    """The same on a target that has no bug: neither engine may be said to have found one."""
    if list(heard(SILENT, PROVE_S)):
        raise tree.CannotRun(f"something was found in {SILENT}, so that the canary proves nothing")
