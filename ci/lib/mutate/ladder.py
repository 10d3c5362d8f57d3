"""The tests, as a ladder: what is quick and near comes first, sockets last."""

import math
import os
import resource
import shlex
import signal
import subprocess
import sys
import threading
import time

from .. import command, tree

WARNINGS = "warnings"  # no test: the gate compiles with warnings as errors
STAGES = ("unit", "simulation", "replay", WARNINGS, "fidelity", "sanitizers", "sockets")
TESTS_QUICK = ("unit", "simulation", "replay")
QUICK = (*TESTS_QUICK, WARNINGS)

# CTest's simulation with fewer seeds kills most of what it kills.
SEEDS = (10, 100)
SEEDS_SANITIZED = 10

# Limits of address space: a mutant may ask for all there is. The real server reserves much and
# touches little.
MEMORY_BYTES = 4 << 30
MEMORY_BYTES_OF_SERVER = 32 << 30
FILE_BYTES = 64 << 20

# A mutant that computes for four times as long hangs, and so does one that waits for ten times as
# long: the former does not depend on how busy the machine is.
MEASURED_S_MAX = 600

PROGRAM = "touchstone"
# What src/modules.txt calls a run of the kit, if it is not requirements.
JUDGES = {"smoke": ["--touchstone-smoke"], "all": []}
SIMULATES = "scenario"  # a unit test to CTest, but it runs the whole server


class Test:
    """One command. `stage` is what it counts as; `build` is where its program comes from."""

    def __init__(self, name, stage, build, program, arguments):
        self.name = name
        self.stage = stage
        self.build = build
        self.program = program
        self.arguments = arguments
        self.lock = threading.Lock()
        self.limits = None

    def run(self, program, folder):
        """None if it passes, else how it failed: status, signal or time-out."""
        cpu, wall = self.limits
        arguments = [each.replace("{program}", str(program)) for each in self.arguments]
        bounds = [f"--cpu={cpu}:{cpu + 1}", "--core=0", f"--fsize={FILE_BYTES}"]
        if self.build.kind != "sanitized":  # shadow memory is all the address space there is
            is_server = self.program == PROGRAM
            bounds.append(f"--as={MEMORY_BYTES_OF_SERVER if is_server else MEMORY_BYTES}")
        return run(["prlimit", *bounds, *arguments], folder, wall)

    def measure(self, program, folder):
        """Runs it once on the unchanged tree, where it has to pass; so its limits become known."""
        with self.lock:
            if self.limits:
                return
            self.limits = MEASURED_S_MAX, MEASURED_S_MAX
            before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            if self.run(program, folder) and (failed := self.run(program, folder)):
                self.limits = None
                raise command.CannotRun(f"{self.name} fails without a mutant: {failed}")
            after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - begin
            # Others' children may be among those: then the limit is longer, which is no harm.
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            self.limits = math.ceil(4 * min(cpu, wall)) + 1, 10 * wall + 10


def run(arguments, folder, limit_s):
    """Whatever it started in its group ends with it."""
    environment = command.environment(
        ASAN_OPTIONS="abort_on_error=1:hard_rss_limit_mb=2000:detect_stack_use_after_return=1",
        UBSAN_OPTIONS="halt_on_error=1:abort_on_error=1",
    )
    try:
        status = command.run(
            arguments, folder, limit_s, env=environment, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ).returncode
    except subprocess.TimeoutExpired:
        status = None
    if status is None or status == -signal.SIGXCPU:
        return "time-out"
    if status < 0:
        return signal.Signals(-status).name
    return f"status {status}" if status else None


class Ladder:
    def __init__(self, plain, sanitized, without=()):
        self.builds = {"plain": plain, "sanitized": sanitized}
        self.without = set(without)
        self.rungs = {}
        self.lock = threading.Lock()

    def tests(self, module, path, stage):
        """Gives those that run code of this file, in order; builds what it takes."""
        with self.lock:
            key = (stage, module.name if stage == "sockets" else "")
            if key not in self.rungs:
                self.rungs[key] = list(self.make(stage, module))
        tests = [test for test in self.rungs[key] if test.name not in self.without]
        for test in sorted(tests, key=lambda test: test.name != module.short):
            if test.build.contains(test.program, path):
                yield test

    def make(self, stage, module):
        if stage == "sanitizers":
            yield from self.of_ctest(self.builds["sanitized"].make(), "sanitizers", TESTS_QUICK)
        elif stage == "sockets":
            yield from self.of_kit(module)
        else:
            yield from self.of_ctest(self.builds["plain"].make(), stage, [stage])

    def of_ctest(self, build, stage, labels):
        """CTest's, but for what runs no program of ours, and the simulation with fewer seeds."""
        plan = []
        for test in build.tests:
            label = label_of(test)
            first = test["command"][0]
            if label in labels and first.startswith(f"{build.directory}/"):
                program = os.path.relpath(first, build.directory)
                plan.append((labels.index(label), test["name"], program, test["command"][1:]))
        sanitized = build.kind == "sanitized"
        for round_, seeds in enumerate([SEEDS_SANITIZED] if sanitized else SEEDS):
            for _, name, program, arguments in sorted(plan, key=lambda entry: entry[0]):
                seeded = with_seeds(arguments, seeds)
                if round_ and seeded == arguments:
                    continue
                if seeded != arguments:
                    name = f"{name}, {seeds} seeds"
                if sanitized:
                    name = f"{name}, sanitized"
                yield Test(name, stage, build, program, ["{program}", *seeded])

    def of_kit(self, module):
        """The module's runs of the kit; in each the first test that fails is enough."""
        server = shlex.join(["{program}", "--listen", "127.0.0.1:{port}"])
        kit = [
            sys.executable, "-m", "pytest", "-p", "touchstone_conform.plugin",
            "--pyargs", "touchstone_conform.suite", "-x", "-q", "-p", "no:cacheprovider",
            "--touchstone-time-scale", "3",
            "--touchstone-server-cmd", server,
        ]
        for judge in module.judge:
            options = JUDGES.get(judge, ["--touchstone-judge", judge])
            name = " ".join(["sockets", *options])
            yield Test(name, "sockets", self.builds["plain"], PROGRAM, [*kit, *options])


def label_of(test):
    if test["name"] == SIMULATES:
        return "simulation"
    for each in test.get("properties", ()):
        if each["name"] == "LABELS":
            return each["value"][0]
    return None


def with_seeds(arguments, seeds):
    if "--seeds" not in arguments:
        return arguments
    place = arguments.index("--seeds") + 1
    return [*arguments[:place], str(seeds), *arguments[place + 1 :]]


def state_of_tests():
    """Changes whenever a test may: survivors of other tests are judged anew."""
    folders = ("tests/", "fuzz/", "integration/touchstone_conform/")
    return digest_of_files(
        path for path in tree.files()
        if path.startswith(folders) and not path.startswith("tests/mutation/")
    )


def digest_of_files(paths):
    return tree.digest(*(part for path in sorted(paths)
                         for part in (path, (tree.TOP / path).read_bytes())))
