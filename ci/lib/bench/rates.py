"""How fast the fuzzers run on their committed corpora, and the simulator on scenarios it makes up.

A rate is by CPU time, so of one core, and includes all that an engine does. What is mutated would
depend on luck, so a mutator that hands over the corpus in turn stands in (fuzz/steady.c)."""

import json
import os
import re
import subprocess

from .. import build, command, tree
from ..fuzz import targets
from . import machine

OUT = tree.BUILD / "bench"
RELEASE = tree.BUILD / "release" / "tests"
BENCH = RELEASE / "bench"

SERVER = "server"
MODULE_RATE_MIN, SERVER_RATE_MIN, EVENTS_RATE_MIN = 300_000, 50_000, 10_000_000
CALLS_MIN = 40
EVENTS_A_SECOND_ABOUT = 20_000_000
INPUT_MAX = 65535


def measure(names, seconds):
    for name in names:
        if not targets.Target(name).corpus.is_dir():
            raise command.CannotRun(f"{name} has no corpus, expected fuzz/corpus/{name}")
    OUT.mkdir(parents=True, exist_ok=True)
    build_all(names)
    results = {"machine": machine.describe(*machine.cores()), "seconds": seconds}
    results["calls"] = mean_calls()
    command.say(shown(results["calls"]))
    results["rates"] = [rate for name in names for rate in rates_of(name, seconds)]
    results["simulator"] = simulator(seconds)
    command.say(row("simulator", "release", results["simulator"]["rate"], EVENTS_RATE_MIN,
                    f"events a second, {results['simulator']['events_a_run']} a run"))
    (OUT / "rates.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    command.say(f"{len(results['rates'])} rates: {tree.shown(OUT)}/rates.json")


def build_all(names):
    fuzzers = targets.Build("fuzz-libfuzzer", [])
    targets.Build("fuzz-afl", names)
    build.make(fuzzers.directory, *(f"{name}_steady" for name in names))
    build.make(build.configure("release", "gcc"), "steady", "calls", "scenario")


def mean_calls():
    """Of server_fuzzer's corpus: inputs that do little would make any rate."""
    inputs = targets.inputs(targets.Target(SERVER).corpus)
    found = json.loads(command.output_of([BENCH / "calls", *inputs]))
    if min(found["epoll"], found["kqueue"]) < CALLS_MIN:
        raise command.CannotRun(f"the corpus makes too few calls: {found} (at least {CALLS_MIN})")
    return found


def shown(calls):
    return (
        f"{SERVER}: its corpus has {calls['inputs']} inputs; an execution makes "
        f"{calls['epoll']} kernel calls on epoll and {calls['kqueue']} on kqueue, on average"
    )


def rates_of(name, seconds):
    goal = SERVER_RATE_MIN if name == SERVER else MODULE_RATE_MIN
    for engine, run in (("libfuzzer", libfuzzer), ("afl", afl)):
        rate = run(targets.Target(name), seconds)
        inputs = len(targets.inputs(targets.Target(name).corpus))
        aimed_at = goal if engine == "libfuzzer" else None
        command.say(row(name, engine, rate, aimed_at, f"executions a second, {inputs} inputs"))
        yield {"target": name, "engine": engine, "rate": rate, "inputs": inputs}


def row(what, how, rate, goal, unit):
    verdict = "" if goal is None else f"  ≥ {goal:,}{'' if rate >= goal else '   MISSED'}"
    return f"{what:20} {how:10} {rate:12,.0f} {unit:44}{verdict}"


def libfuzzer(target, seconds):
    """With AddressSanitizer and UndefinedBehaviorSanitizer, and the target's own options."""
    fuzzer = tree.TOP / "build" / "fuzz-libfuzzer" / "fuzz" / f"{target.name}_steady"
    options = {
        **target.options, "max_total_time": seconds, "max_len": INPUT_MAX,
        "len_control": 0, "print_final_stats": 1, "print_funcs": 0, "artifact_prefix": f"{OUT}/",
    }
    output, used = timed(
        [fuzzer, *(f"-{option}={options[option]}" for option in options)],
        {"STEADY_CORPUS": target.corpus},
    )
    executed = re.search(r"^stat::number_of_executed_units: (\d+)", output, re.MULTILINE)
    return int(executed.group(1)) / used


def afl(target, seconds):
    """One instance, without sanitizers; its time and the target's."""
    out = tree.fresh_folder(OUT / "afl" / target.name)
    fuzzer = tree.TOP / "build" / "fuzz-afl" / "fuzz" / f"{target.name}_fuzzer"
    _, used = timed(
        ["afl-fuzz", "-V", str(seconds), "-i", target.corpus, "-o", out, "--", fuzzer],
        {
            "AFL_CUSTOM_MUTATOR_LIBRARY": BENCH / "libsteady.so",
            "AFL_CUSTOM_MUTATOR_ONLY": "1", "STEADY_CORPUS": target.corpus,
            "AFL_NO_UI": "1", "AFL_NO_COLOR": "1", "AFL_SKIP_CPUFREQ": "1", "AFL_NO_AFFINITY": "1",
            "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1",
        },
    )
    stats = (out / "default" / "fuzzer_stats").read_text()
    return int(re.search(r"^execs_done *: (\d+)", stats, re.MULTILINE).group(1)) / used


def simulator(seconds):
    """The simulated kernel and the whole server, on scenarios made up from one seed."""
    scenario = RELEASE / "scenario"
    events = seconds * EVENTS_A_SECOND_ABOUT
    output, used = timed(
        [scenario, "soak", "--events", str(events), "--out", OUT / "failing.scenario"]
    )
    done, runs = re.search(r"^(\d+) events in (\d+) runs", output, re.MULTILINE).groups()
    return {"rate": int(done) / used, "events_a_run": round(int(done) / int(runs), 1)}


def timed(arguments, variables=None):
    """(what it printed, the CPU time that it and all it started took)"""
    process = subprocess.Popen(
        machine.pinned(machine.cores()[0], arguments), env=targets.environment(**variables or {}),
        cwd=tree.TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    output = process.stdout.read().decode(errors="replace")
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise command.CannotRun(f"status {process.returncode}: {arguments[0]}\n{output[-3000:]}")
    return output, usage.ru_utime + usage.ru_stime
