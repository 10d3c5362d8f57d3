"""Exploration: every scenario, and every sequence of the kernel's choices, up to a bound."""

from __future__ import annotations

import concurrent.futures
import json
import re
import signal
import subprocess
import time
from typing import NamedTuple

from . import build, command, simulate, tree
from . import defects as seeded

FOLDER = tree.TOP / "tests" / "explore"
LISTED = FOLDER / "defects"
STEPS, DEVIATIONS = 5, 2  # the whole bound
FAILING = tree.RESULTS / "explored.scenario"

POLLERS = ("epoll", "kqueue")
SOURCES = ("src/", "include/", "tests/sim/", "tests/scenario/")

# Kinds that concern one part of the server, explored alone, and with fewer steps: the state of the
# sink and the inherited descriptors are chosen at the start, which multiplies all runs. Each with
# its start.
ALONE = {"log": "plain", "inherited": "limit"}
ALONE_LESS = 3

# Without leaving out states that are known: what is compared is small, since it takes all runs.
WHOLE = (2, 2)

# The bounds at which a defect is looked for, cheap ones first.
LADDER = ((1, 0), (2, 0), (1, 1), (3, 0), (2, 1), (4, 0), (3, 1), (5, 0), (2, 2), (4, 1), (3, 2),
          (5, 1), (4, 2), (5, 2))
LADDER_ALONE = ((1, 1), (2, 1), (2, 2))
FAR = (3, 1)  # what needs more than the bound is looked for so far, and must not be found
LIMIT_S = 900

PASSED = re.compile(
    r" system=(\w+) scenarios=(\d+) runs=(\d+) choices=(\d+) states=(\d+) sum=(\w+)"
    r" seconds=([\d.]+) ",
    re.MULTILINE,
)


class Part(NamedTuple):
    """What one process explores."""

    start: str  # tests/explore/START.scenario
    kinds: str  # "": those that are explored unless told
    poller: str

    @property
    def name(self) -> str:
        return " ".join(filter(None, self))

    def bound(self, steps: int, deviations: int) -> tuple[int, int]:
        return max(1, steps - ALONE_LESS) if self.kinds in ALONE else steps, deviations

    def arguments(self, steps: int, deviations: int) -> list:
        kinds = ["--faults", self.kinds] if self.kinds else []
        return ["explore", "--steps", steps, "--deviations", deviations, "--poller", self.poller,
                *kinds, f"tests/explore/{self.start}.scenario"]


def starts() -> list[str]:
    """The plain one first: what it finds is the easiest to read."""
    names = sorted(path.stem for path in FOLDER.glob("*.scenario"))
    return sorted(names, key=lambda name: name != "plain")


def parts() -> list[Part]:
    found = [Part(start, "", poller) for start in starts() for poller in POLLERS]
    return found + [Part(start, kinds, poller) for kinds, start in ALONE.items()
                    for poller in POLLERS]


def results(steps=STEPS, deviations=DEVIATIONS):
    """The file of a bound: a smaller exploration takes nothing from the progress of the whole."""
    return tree.RESULTS / f"explore-{steps}-{deviations}.json"


class Progress:
    """What was explored, in a file: an interrupted exploration goes on with the parts that were
    not complete, and those whose sources have changed."""

    def __init__(self, steps, deviations):
        names = [name for name in tree.files() if name.startswith(SOURCES)]
        self.sources = tree.digest(*(part for name in names
                                     for part in (name, (tree.TOP / name).read_bytes())))
        self.kept = {"steps": steps, "deviations": deviations, "complete": False, "parts": {}}
        self.path = results(steps, deviations)
        if self.path.exists():
            before = json.loads(self.path.read_text())
            if {**before, "parts": {}} == self.kept:
                self.kept["parts"] = before["parts"]

    def _sources(self, part):
        return tree.digest(self.sources, (FOLDER / f"{part.start}.scenario").read_bytes())

    def done(self, part) -> list | None:
        kept = self.kept["parts"].get(part.name)
        return kept["systems"] if kept and kept["sources"] == self._sources(part) else None

    def keep(self, part, systems):
        self.kept["parts"][part.name] = {"sources": self._sources(part), "systems": systems}
        self.write()

    def write(self):
        tree.RESULTS.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.kept, indent=1) + "\n")


def systems_of(output: str) -> list[list]:
    """System, scenarios, runs, choices, states, their sum, and seconds, of each in the output."""
    return [[system, int(scenarios), int(runs), int(choices), int(states), total, float(seconds)]
            for system, scenarios, runs, choices, states, total, seconds in PASSED.findall(output)]


def run(options) -> bool:
    program = simulate.scenario_command()
    progress = Progress(options.steps, options.deviations)
    begin = time.monotonic()

    def explore(part):
        if progress.done(part) is None:
            out = FAILING.with_stem(f"{FAILING.stem}-{part.name.replace(' ', '-')}")
            arguments = part.arguments(*part.bound(options.steps, options.deviations))
            done = command.run([program, *arguments, "--out", tree.shown(out)])
            if done.returncode == -signal.SIGTERM:
                return False  # we are ended, too
            if done.returncode != 0:
                command.say(f"{part.name}: status {done.returncode} [violation]\n{done.stdout}")
                return False
            progress.keep(part, systems_of(done.stdout))
        _show(part, progress)
        return True

    tree.RESULTS.mkdir(parents=True, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        good = all(list(pool.map(explore, parts())))
    good = good and _loses_nothing(program)
    progress.kept["complete"] = good
    progress.write()
    _sum_up(progress, time.monotonic() - begin, options.jobs)
    return good


def _show(part, progress):
    steps, deviations = part.bound(progress.kept["steps"], progress.kept["deviations"])
    for system, scenarios, runs, choices, states, _, seconds in progress.done(part):
        of = " ".join(filter(None, (part.start, part.kinds, system)))
        command.say(f"{of:24} {steps} steps, {deviations} deviations: {scenarios:8,} scenarios"
                    f" {runs:13,} runs {choices:14,} choices {states:11,} states {seconds:6.0f} s")


def _sum_up(progress, seconds, jobs):
    every = [each for part in parts() for each in progress.done(part) or []]
    sums = [sum(each[column] for each in every) for column in (1, 2, 3, 4)]
    cpu_s = sum(each[6] for each in every)
    command.say("{:,} scenarios, {:,} runs, {:,} choices, {:,} states".format(*sums) +
                f": {seconds:.0f} s on {jobs} cores,"
                f" {sums[1] / max(cpu_s, 0.001):,.0f} runs a second and core")


def _loses_nothing(program) -> bool:
    """The same states are reached if what is known is left out and if all of it is run."""
    good = True
    for start in starts():
        arguments = Part(start, "", "both").arguments(*WHOLE)
        left_out, whole = (systems_of(command.output_of([program, *arguments, *more]))
                           for more in ([], ["--whole"]))
        runs = [sum(each[2] for each in systems) for systems in (left_out, whole)]
        same = [each[4:6] for each in left_out] == [each[4:6] for each in whole]
        fewer = runs[0] < runs[1]
        code = "" if same and fewer else "[states-lost]" if not same else "[nothing-left-out]"
        command.say(f"{start:24} {WHOLE[0]} steps, {WHOLE[1]} deviations:"
                    f" {runs[0]:,} of {runs[1]:,} runs reach all states {code}".rstrip())
        good &= not code
    return good


# ---- Seeded defects


class Claim(NamedTuple):
    """The bound at which a defect is found; no start: it needs more, for a reason."""

    steps: int
    deviations: int
    start: str
    kinds: str

    @property
    def text(self) -> str:
        return " ".join(map(str, filter(lambda each: each != "", self)))


def claims() -> dict[str, Claim | None]:
    found = {}
    for number, line in enumerate(LISTED.read_text(encoding="utf-8").splitlines(), 1):
        name, *rest = line.partition("#")[0].split() or [""]
        if not name:
            continue
        if rest[:1] == ["more:"]:
            found[name] = None
            continue
        if len(rest) not in (3, 4) or not rest[0].isdecimal() or not rest[1].isdecimal():
            raise command.CannotRun(f"{tree.shown(LISTED)}:{number}: expected NAME STEPS DEVIATIONS"
                                    " START [KINDS], or NAME more: WHY")
        found[name] = Claim(int(rest[0]), int(rest[1]), rest[2], "".join(rest[3:]))
    return found


class Seeker:
    """Looks for what is seeded into a copy."""

    def __init__(self, planted):
        self.program = planted.folder / "tests" / "scenario"
        self.top = planted.copy.top

    def finds(self, claim: Claim) -> bool:
        part = Part(claim.start, claim.kinds, "both")
        arguments = part.arguments(claim.steps, claim.deviations)
        try:
            done = command.run([self.program, *arguments], cwd=self.top, timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode != 0

    def search(self, most=LADDER[-1]) -> Claim | None:
        """The first bound at which it is found."""
        for steps, deviations in LADDER:
            if steps > most[0] or deviations > most[1]:
                continue
            alone = ALONE.items() if (steps, deviations) in LADDER_ALONE else ()
            for kinds, start in [*(("", start) for start in starts()), *alone]:
                claim = Claim(steps, deviations, start, kinds)
                if self.finds(claim):
                    return claim
        return None


def defects(planted, names) -> bool:
    """Each is found at the bound that is listed for it; what needs more is not found so far."""
    listed = claims()
    unknown = sorted(set(listed) - set(simulate.defect_names()))
    for name in unknown:
        command.say(f"{name}: listed, but no defect has this name [claim-unknown]")
    seeker = Seeker(planted)
    command.say(f"{'defect':34} steps deviations start")
    failed = sum(not _is_explored(planted, seeker, name, listed) for name in names)
    command.say(f"{len(names)} defects planted, {failed} not found as listed")
    return not failed and not unknown


def _is_explored(planted, seeker, name, listed) -> bool:
    with planted.copy.planted(seeded.Patch(name)):
        planted.make()
        if name not in listed:
            claim = seeker.search()
            command.say(f"{name:34} {claim.text if claim else 'more: WHY'} [claim-missing]")
            return False
        if listed[name] is None:
            found = seeker.search(FAR)
            command.say(f"{name:34} more {f'{found.text} [claim-wrong]' if found else ''}".rstrip())
            return not found
        found = seeker.finds(listed[name])
        command.say(f"{name:34} {listed[name].text} {'' if found else '[escaped]'}".rstrip())
        return found
