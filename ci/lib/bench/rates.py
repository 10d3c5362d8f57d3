"""How fast the fuzzers run on their committed corpora, the simulator on scenarios it makes up, and
other servers under the simulated kernel, beside one of them over real sockets.

A rate is by CPU time, so of one core, and includes all that an engine does; over real sockets it is
by the clock. What is mutated would depend on luck, so a mutator that hands over the corpus in turn
stands in (fuzz/steady.c), but for servers."""

import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import time

from .. import build, command, tree, under
from ..fuzz import engines, targets
from ..fuzz import under as fuzzed
from . import machine

OUT = tree.BUILD / "bench"
RELEASE = tree.BUILD / "release" / "tests"
BENCH = RELEASE / "bench"

SERVER = "server"
MODULE_RATE_MIN, SERVER_RATE_MIN, EVENTS_RATE_MIN = 300_000, 50_000, 10_000_000
CALLS_MIN = 40
EVENTS_A_SECOND_ABOUT = 20_000_000
INPUT_MAX = 65535

SERVERS = "servers"  # beside the names of fuzzers
# Of a small scenario, and of random ones: what is aimed at, in runs a second.
UNDER_RATES_MIN = {
    "reference": (100_000, 5_000), "libuv": (200_000, 5_000), "libevent": (100_000, 5_000),
    "rust": (100_000, 5_000), "python": (5_000, None), "node": (8_000, None),
}
FUZZED, FUZZED_RATE_MIN, FUZZED_S_MIN = "libuv", 5_000, 15
SMALL = tree.TOP / "tests" / "scenarios" / "fin-bare.scenario"
SMALL_RUNS, RANDOM_EVENTS = 2_000, 20_000  # to begin with
REPLAYED = 40
# A server whose strace fails one call.
STRACE = ["strace", "-D", "-qq", "-o", "/dev/null", "-e", "trace=read", "-e",
          "inject=read:error=EINTR:when=5"]


def measure(names, seconds) -> bool:
    """Whether all rates could be measured."""
    OUT.mkdir(parents=True, exist_ok=True)
    results = {"machine": machine.describe(*machine.cores()), "seconds": seconds}
    fuzzers = [name for name in names if name != SERVERS]
    if fuzzers:
        measure_fuzzers(fuzzers, seconds, results)
    if SERVERS in names:
        results[SERVERS] = list(of_servers(seconds))
    (OUT / "rates.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    rates = [each["rate"] for key in ("rates", SERVERS) for each in results.get(key, [])]
    command.say(f"{len(rates)} rates, {rates.count(None)} failed: {tree.shown(OUT)}/rates.json")
    return None not in rates


def measure_fuzzers(names, seconds, results):
    for name in names:
        if not targets.Target(name).corpus.is_dir():
            raise command.CannotRun(f"{name} has no corpus, expected fuzz/corpus/{name}")
    build_all(names)
    results["calls"] = mean_calls()
    command.say(shown(results["calls"]))
    results["rates"] = [rate for name in names for rate in rates_of(name, seconds)]
    results["simulator"] = simulator(seconds)
    command.say(row("simulator", "release", results["simulator"]["rate"], EVENTS_RATE_MIN,
                    f"events a second, {results['simulator']['events_a_run']} a run"))


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
    done, runs = re.search(r"^events=(\d+) runs=(\d+) ", output, re.MULTILINE).groups()
    return {"rate": int(done) / used, "events_a_run": round(int(done) / int(runs), 1)}


# ---- Other servers, under the simulated kernel


def of_servers(seconds):
    command.require("venv")
    folder = build.make(build.configure("release", "gcc"), "scenario", "touchstone")
    every = {server.name: server for server in under.servers(folder)}
    for name, goals in UNDER_RATES_MIN.items():
        server = every[name]
        for of, run, first, goal in (("small", small, SMALL_RUNS, goals[0]),
                                     ("random", random, RANDOM_EVENTS, goals[1])):
            yield from rated(server, f"simulated scenarios a second, {of}", goal,
                             lambda: steady(run, server.start, first, seconds))
    server = every[FUZZED]
    yield from rated(server, "executions a second under AFL++", FUZZED_RATE_MIN,
                     lambda: fuzz(f"{fuzzed.PREFIX}{FUZZED}", seconds))
    for what, wrapper in (("real sockets", []), ("real sockets, strace fails a call", STRACE)):
        yield from rated(server, f"scenarios a second over {what}", None,
                         lambda: replay([*wrapper, *shlex.split(server.start)]))


def rated(server, unit, goal, rate_of):
    """A row of the table, without a rate if the server failed; none, and why, if the machine has
    not what it takes."""
    lacking = under.lacking(server)
    if lacking:
        command.say(f"{server.name:20} {unit}: skipped: {lacking}")
        return
    problem, rate = under.make(server), None
    try:
        rate = None if problem else rate_of()
    except command.CannotRun as failed:
        problem = failed
    command.say(f"{server.name:20} {unit}: FAILED: {problem}" if problem
                else row(server.name, "", rate, goal, unit))
    yield {"server": server.name, "unit": unit, "rate": rate}


def steady(run, start, first, seconds):
    """A rate without what it takes to start: `run` does so much, and then more, and gives how many
    scenarios that were, and how long it took."""
    few, before = run(start, first)
    many, after = run(start, first + round(first * seconds / before))
    return (many - few) / (after - before)


def small(start, count):
    """In one process of the server."""
    _, used = timed([RELEASE / "scenario", "run", "--seeds", count, "--under", start, SMALL])
    return count, used


def random(start, events):
    """Some of which may not be judged."""
    output, used = timed([RELEASE / "scenario", "soak", "--events", events, "--under", start,
                          "--out", OUT / "failing.scenario"], good=(0, under.NOT_JUDGED))
    return int(re.search(r"^events=\d+ runs=(\d+) ", output, re.MULTILINE)[1]), used


def replay(start):
    """By the kit, which starts once; each in a file of its own."""
    folder = tree.fresh_folder(OUT / "replay")
    files = [folder / f"{number}.scenario" for number in range(REPLAYED)]
    for path in files:
        shutil.copyfile(SMALL, path)
    kit = tree.TOP / ".venv" / "bin" / "touchstone-conform"
    began = time.monotonic()
    timed([kit, "--replay", *files, "--", *start])
    return REPLAYED / (time.monotonic() - began)


class TimedAfl(fuzzed.Afl):
    def start(self, seconds):
        super().start(seconds)
        self.before = children_seconds()


def fuzz(name, seconds):
    """Not in so short a time that AFL++ would hardly get beyond its seeds."""
    server = fuzzed.Server(name)
    engine = TimedAfl(server, tree.fresh_folder(server.place("bench", server.name)))
    result = engines.run(engine, max(seconds, FUZZED_S_MIN))
    return result.stats.execs / (children_seconds() - engine.before)


def children_seconds():
    """The CPU time of all that has ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def timed(arguments, variables=None, good=(0,)):
    """(what it printed, the CPU time that it and all it started took)"""
    process = subprocess.Popen(
        machine.pinned(machine.cores()[0], arguments), env=targets.environment(**variables or {}),
        cwd=tree.TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    output = process.stdout.read().decode(errors="replace")
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in good:
        raise command.CannotRun(f"status {process.returncode}: {arguments[0]}\n{output[-3000:]}")
    return output, usage.ru_utime + usage.ru_stime
