"""The simulation in its long forms, and the seeded defects that its scenarios have to catch."""

from __future__ import annotations

import re
import subprocess

from . import build, command, explore, tree
from . import defects as seeded

SCENARIOS = tree.TOP / "tests" / "scenarios"
FAILING = tree.RESULTS / "failing.scenario"
SWEPT = tree.RESULTS / "sweep"

# The builds whose traces are compared: -O0 is the preset dev, -O1 asan, -O2 RelWithDebInfo, -O3
# release.
BUILDS = (
    ("dev", "gcc"), ("dev", "clang"),
    ("release", "gcc", "RelWithDebInfo"), ("release", "clang", "RelWithDebInfo"),
    ("release", "gcc"), ("release", "clang"), ("asan", "gcc"), ("asan", "clang"),
)
HASH_SEEDS = 3
POLLERS = 2
EVENTS_MIN = 10  # a shorter trace shows nothing

DEFECT_SEEDS = 100
LIMIT_S = 60
SOAKED_EVENTS = 100_000_000
COPIED = ("CMakeLists.txt", "CMakePresets.json", "src/", "include/", "tests/", "fuzz/", "LICENSE")


def scenario_files(top=tree.TOP) -> list:
    return sorted((top / "tests" / "scenarios").glob("*.scenario"))


def scenario_command(preset="release", compiler="gcc", build_type=""):
    """The scenario command of a build, built; as one types it at the top of the tree."""
    folder = build.configure(preset, compiler, build_type)
    return tree.shown(build.make(folder, "scenario") / "tests" / "scenario")


def relative(paths):
    return [tree.shown(path) for path in paths]


# ---- Sweep, events, determinism

WHOLE_ENOUGH = 10  # of the faults every so manyth: each call still has one


def sweep(options) -> bool:
    """Prints a line for each call: its errors, and how often each was injected. A call without any
    is a complaint, unless few are drawn."""
    files = relative(scenario_files())
    done = command.run([scenario_command(), "sweep", "--sample", options.sample, *files])
    command.say(done.stdout.rstrip())
    tree.RESULTS.mkdir(parents=True, exist_ok=True)
    SWEPT.write_text(done.stdout, encoding="utf-8")
    unused = re.findall(r"^([a-z_]+) *$", done.stdout, re.MULTILINE)
    if options.sample > WHOLE_ENOUGH:
        unused = []
    for call in unused:
        command.say(f"{call}: no scenario makes this call [unused-call]")
    return done.returncode == 0 and not unused


def events(options) -> bool:
    tree.RESULTS.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([
        scenario_command(), "soak", "--events", str(options.count), "--seed", str(options.seed),
        "--out", tree.shown(FAILING),
    ], cwd=tree.TOP, stdin=subprocess.DEVNULL)
    return done.returncode == 0


def determinism(_) -> bool:
    """The same lines of every build: scenario, poller, seed, hash and number of events."""
    first = None
    for each in BUILDS:
        lines = traces([scenario_command(*each)], HASH_SEEDS)
        name = " ".join(each)
        expected = len(scenario_files()) * POLLERS * HASH_SEEDS
        if len(lines) != expected:
            command.say(f"{name}: {len(lines)} traces (expected {expected}) [trace-count]")
            return False
        if any(int(line.split()[4]) < EVENTS_MIN for line in lines):
            command.say(f"{name}: a trace has fewer than {EVENTS_MIN} events [trace-short]")
            return False
        first = first or lines
        different = [line for line, other in zip(lines, first) if line != other]
        if different:
            command.say(f"{name}: {different[0]} (expected as built first) [trace-differs]")
            return False
        command.say(f"{name}: {len(lines)} traces, {tree.digest(*lines)[:32]}")
    return True


def traces(program, seeds) -> list[str]:
    """A line for each run of each scenario, which ends with its hash and its number of events."""
    arguments = ["run", "--hash", "--oracle-only", "--seeds", seeds, "--faults", "all"]
    return command.output_of([*program, *arguments, *relative(scenario_files())]).splitlines()


# ---- Seeded defects


def defect_names() -> list[str]:
    return list(seeded.patches("server"))


class Planted:
    """A copy of the tree whose scenarios are run with and without defects."""

    def __init__(self):
        self.copy = seeded.Copy(tree.BUILD / "defects" / "simulate", COPIED)
        self.folder = self.copy.top / "build"
        self.files = scenario_files(self.copy.top)
        varying = [path for path in self.files if re.search("^vary ", path.read_text(), re.M)]
        self.varying = varying
        self.steady = [path for path in self.files if path not in varying]
        command.output_of([
            "cmake", "-S", self.copy.top, "-B", self.folder, "-G", "Ninja", "-DBUILD_TESTING=ON",
            "-DCMAKE_BUILD_TYPE=Planted", "-DCMAKE_C_FLAGS=-O1 -DNDEBUG",
        ])
        self.make()

    def make(self):
        build.make(self.folder, "scenario")

    def failing(self, verb, *arguments) -> list[str]:
        """The names of the scenarios that fail; `crash` or `hang` if the command does not end."""
        program = self.folder / "tests" / "scenario"
        try:
            done = command.run([program, verb, *arguments], cwd=self.copy.top, timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            return ["hang"]
        names = re.findall(r"([^/\n]*)\.scenario: FAILED", done.stdout)
        return sorted({*names, *(["crash"] if done.returncode not in (0, 1) else [])})

    def as_written(self):
        return self.failing("run", *self.files)

    def varied(self):
        """With each variation, as CTest has them (tests/CMakeLists.txt). A scenario that says
        itself what varies keeps to it."""
        seeds = ("--seeds", DEFECT_SEEDS)
        found = set(self.failing("run", *seeds, *self.varying))
        for faults in ("all", "short,delay,order,inherited", "hints,stale,eagain,eintr,log"):
            found |= {*self.failing("run", *seeds, "--faults", faults, *self.steady)}
        return sorted(found)

    def swept(self):
        return self.failing("sweep", *self.files)

    def soaked(self) -> tuple[str, int]:
        """The run of random scenarios that fails, and how."""
        program = self.folder / "tests" / "scenario"
        out = self.copy.top / "failing.scenario"
        arguments = ["soak", "--events", SOAKED_EVENTS, "--out", out]
        try:
            done = command.run([program, *arguments], cwd=self.copy.top, timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            return "hang", 0
        failed = re.search(r"FAILED in run (\d+)", done.stdout)
        if failed:
            return "soak", int(failed[1])
        return ("nothing" if done.returncode == 0 else "crash"), 0

    def caught(self) -> tuple[str, list[str]]:
        """How what is planted now is caught, and by which scenarios."""
        ways = {"written": self.as_written, "varied": self.varied, "swept": self.swept}
        for way, find in ways.items():
            names = find()
            if names:
                return way, names
        return "nothing", []


def claims() -> list[tuple[str, str]]:
    """(defect, scenario) of each comment that claims to catch a defect alone."""
    found = []
    for path in scenario_files():
        for name in re.findall(r"^# catches: (\S+) \(alone", path.read_text(), re.MULTILINE):
            found.append((name, path.stem))
    return found


def defects(options) -> bool:
    alone = dict(claims())
    names = options.names or defect_names()
    if options.sample and not options.names:
        names = _sampled(names, {} if options.explore else alone, options.sample)
    unknown = sorted(set(alone) - set(defect_names()))
    for name in unknown:
        command.say(f"{alone[name]}.scenario: no defect is named {name} [claim-unknown]")
    planted = Planted()
    if options.explore:
        return explore.defects(planted, names)
    without = [] if options.soak else planted.as_written() + planted.varied() + planted.swept()
    if without:
        raise command.CannotRun(f"without a defect these fail: {' '.join(without)}")
    command.say(f"{'defect':34} {'caught':8} {'by':>4}  the first of them")
    if options.soak:
        failed = sum(not _is_soaked(planted, name) for name in names)
    else:
        failed = sum(not _is_caught(planted, name, alone.get(name)) for name in names)
    command.say(f"{len(names)} defects planted, {failed} escaped or not caught as claimed")
    return not failed and not unknown


def _sampled(names, claimed, count) -> list[str]:
    """Others for each commit, and as many with a claim, which a new scenario can disprove."""
    with_claim = [name for name in names if name in claimed]
    others = [name for name in names if name not in claimed]
    return [each for part in (with_claim, others) if part for each in tree.rotated(part, count)]


def _is_caught(planted, name, alone) -> bool:
    with planted.copy.planted(seeded.Patch(name)):
        planted.make()
        way, found = planted.caught()
    code = "" if found else "[escaped]"
    if alone and found != [alone]:
        code = f"expected {alone} alone [claim-wrong]"
    command.say(f"{name:34} {way:8} {len(found):4}  {' '.join(found[:3])} {code}".rstrip())
    return not code


def _is_soaked(planted, name) -> bool:
    with planted.copy.planted(seeded.Patch(name)):
        planted.make()
        way, run = planted.soaked()
    found = way != "nothing"
    command.say(f"{name:34} {way:8} {run:4} {'' if found else '[escaped]'}".rstrip())
    return found
