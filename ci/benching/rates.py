"""How fast the fuzzers run on their committed corpora, and the simulator on scenarios it makes up.

A rate is by CPU time, so of one core, and includes all that an engine does. What is mutated would
depend on luck, so a mutator that hands over the corpus in turn stands in (fuzz/steady.c)."""

import json
import os
import re
import subprocess

from fuzzing import tree

from . import machine

OUT = tree.TOP / "build" / "bench"
BENCH = tree.TOP / "build" / "release" / "tests" / "bench"

SERVER = "server"
ROOM_RATE_MIN, SERVER_RATE_MIN, EVENTS_RATE_MIN = 300_000, 50_000, 10_000_000
CALLS_MIN = 40
EVENTS_A_SECOND_ABOUT = 20_000_000
INPUT_MAX = 65535


def measure(names, seconds, bad_usage, say):
    for name in names:
        if name not in tree.honest_targets():
            bad_usage(f"'{name}' is no target (expected: {' '.join(tree.honest_targets())})")
    names = names or tree.honest_targets()
    for name in names:
        if not tree.corpus(name).is_dir():
            raise machine.CannotRun(f"{name} has no corpus (expected: fuzz/corpus/{name})")
    OUT.mkdir(parents=True, exist_ok=True)
    try:
        build(names)
        results = {"machine": machine.describe(*machine.cores()), "seconds": seconds}
        results["calls"] = mean_calls()
        say(said_of_calls(results["calls"]))
        results["rates"] = [rate for name in names for rate in rates_of(name, seconds, say)]
        results["simulator"] = simulator(seconds)
    except tree.CannotRun as error:
        raise machine.CannotRun(error) from error
    say(row("simulator", "release", results["simulator"]["rate"], EVENTS_RATE_MIN,
            f"events a second, {results['simulator']['events_a_run']} a run"))
    (OUT / "rates.json").write_text(json.dumps(results, indent=1) + "\n")
    say("build/bench/rates.json")


def build(names):
    tree.Build("fuzz-libfuzzer", [])
    tree.Build("fuzz-afl", names)
    steady = [f"{name}_steady" for name in names]
    tree.output_of(["cmake", "--build", "--preset", "fuzz-libfuzzer", "--target", *steady])
    tree.output_of(["cmake", "--preset", "release"])
    tree.output_of(
        ["cmake", "--build", "--preset", "release", "--target", "steady", "calls", "scenario"]
    )


def mean_calls():
    """Of server_fuzzer's corpus: inputs that do little would make any rate."""
    found = json.loads(tree.output_of([BENCH / "calls", *tree.inputs(tree.corpus(SERVER))]))
    if min(found["epoll"], found["kqueue"]) < CALLS_MIN:
        raise tree.CannotRun(f"the corpus makes too few calls: {found} (at least {CALLS_MIN})")
    return found


def said_of_calls(calls):
    return (
        f"{SERVER}: its corpus has {calls['inputs']} inputs; an execution makes "
        f"{calls['epoll']} kernel calls on epoll and {calls['kqueue']} on kqueue, on average"
    )


def rates_of(name, seconds, say):
    goal = SERVER_RATE_MIN if name == SERVER else ROOM_RATE_MIN
    for engine, run in (("libfuzzer", libfuzzer), ("afl", afl)):
        rate = run(name, seconds)
        inputs = len(tree.inputs(tree.corpus(name)))
        aimed_at = goal if engine == "libfuzzer" else None
        say(row(name, engine, rate, aimed_at, f"executions a second, {inputs} inputs"))
        yield {"target": name, "engine": engine, "rate": rate, "inputs": inputs}


def row(what, how, rate, goal, unit):
    verdict = "" if goal is None else f"  ≥ {goal:,}{'' if rate >= goal else '   MISSED'}"
    return f"{what:20} {how:10} {rate:12,.0f} {unit:44}{verdict}"


def libfuzzer(name, seconds):
    """With AddressSanitizer and UndefinedBehaviorSanitizer, and the target's own options."""
    fuzzer = tree.TOP / "build" / "fuzz-libfuzzer" / "fuzz" / f"{name}_steady"
    options = {
        **tree.libfuzzer_options(name), "max_total_time": seconds, "max_len": INPUT_MAX,
        "len_control": 0, "print_final_stats": 1, "print_funcs": 0, "artifact_prefix": f"{OUT}/",
    }
    said, used = timed(
        [fuzzer, *(f"-{option}={options[option]}" for option in options)],
        {"STEADY_CORPUS": str(tree.corpus(name))},
    )
    executed = re.search(r"^stat::number_of_executed_units: (\d+)", said, re.MULTILINE)
    return int(executed.group(1)) / used


def afl(name, seconds):
    """One instance, without sanitizers; its time and the target's."""
    out = tree.fresh_folder(OUT / "afl" / name)
    fuzzer = tree.TOP / "build" / "fuzz-afl" / "fuzz" / f"{name}_fuzzer"
    _, used = timed(
        ["afl-fuzz", "-V", str(seconds), "-i", tree.corpus(name), "-o", out, "--", fuzzer],
        {
            "AFL_CUSTOM_MUTATOR_LIBRARY": str(BENCH / "libsteady.so"),
            "AFL_CUSTOM_MUTATOR_ONLY": "1", "STEADY_CORPUS": str(tree.corpus(name)),
            "AFL_NO_UI": "1", "AFL_NO_COLOR": "1", "AFL_SKIP_CPUFREQ": "1", "AFL_NO_AFFINITY": "1",
            "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1",
        },
    )
    stats = (out / "default" / "fuzzer_stats").read_text()
    return int(re.search(r"^execs_done *: (\d+)", stats, re.MULTILINE).group(1)) / used


def simulator(seconds):
    """The simulated kernel and the whole server, on scenarios made up from one seed."""
    scenario = tree.TOP / "build" / "release" / "tests" / "scenario"
    events = seconds * EVENTS_A_SECOND_ABOUT
    said, used = timed(
        [scenario, "soak", "--events", str(events), "--out", OUT / "failing.scenario"]
    )
    done, runs = re.search(r"^(\d+) events in (\d+) runs", said, re.MULTILINE).groups()
    return {"rate": int(done) / used, "events_a_run": round(int(done) / int(runs), 1)}


def timed(command, variables=None):
    """(what it said, the CPU time that it and all it started took)"""
    process = subprocess.Popen(
        machine.pinned(machine.cores()[0], command), env=tree.environment(**variables or {}),
        cwd=tree.TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    said = process.stdout.read().decode(errors="replace")
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise tree.CannotRun(f"status {process.returncode}: {command[0]}\n{said[-3000:]}")
    return said, usage.ru_utime + usage.ru_stime
