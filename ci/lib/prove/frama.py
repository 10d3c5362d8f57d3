"""Frama-C and the two provers: running them, and what they answer."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .. import command, tree

PROOF = Path("tests/proof")
LOG = tree.BUILD / "prove"
PROVERS = {"cvc4": "CVC4 1.8", "z3": "Z3 4.8.12"}
FRAMA_C = "25.0"

# Runtime errors are goals, and so is wrap-around where C defines it. Everything has to end.
OPTIONS = (
    "-c11 -cpp-extra-args=-Iinclude -wp -wp-rte -warn-unsigned-overflow -warn-unsigned-downcast"
    " -wp-definitions-terminate -wp-cache none -wp-par 2 -wp-smoke-timeout 60"
).split()
# A guard alone, for Frama-C's limits are of the clock, too: the provers' own are in why3.conf.
TIMEOUT_S = 60

# The prover, a goal or a smoke test, its name, and the verdict.
GOAL = re.compile(
    r"^\[wp\] \[([^\]]+)\] (Goal|Smoke-test) (?:typed_)?(\w+)(?: : (\w+))?", re.MULTILINE
)
SUM = re.compile(r"^\[wp\] Proved goals: +(\d+) / (\d+)", re.MULTILINE)
BROKEN = re.compile(r"^ +\w.*\(failed: \d+\)", re.MULTILINE)


def frama_c(root, *arguments) -> str:
    """What Frama-C prints. CPATH is for the #include lines within annotations, which see no -I;
    Frama-C believes PWD."""
    surroundings = command.environment(
        WHY3CONFIG=root / PROOF / "why3.conf", CPATH="include", PWD=root
    )
    return command.run(["frama-c", *arguments], cwd=root, env=surroundings).stdout


def skip_reason() -> str | None:
    """Why nothing can be proven on this machine, or None."""
    for tool in ("frama-c", *PROVERS):
        if not shutil.which(tool):
            return f"tool: requires {tool}"
    version = command.run(["frama-c", "-version"]).stdout.strip()
    if not version.startswith(FRAMA_C):
        return f"tool: requires Frama-C {FRAMA_C}, found {version}"
    detected = " ".join(frama_c(tree.TOP, "-wp", "-wp-detect").split())
    for prover, name in PROVERS.items():
        tool, number = name.split()
        found = command.run([prover, "--version"]).stdout
        if not re.search(rf"{tool}.* {re.escape(number)}\b", found) or name not in detected:
            return f"tool: requires {name}, found by Frama-C through Why3"
    return None


class Run:
    """One prover's verdict of each goal of some files, by the goal's name."""

    def __init__(self, root, files, prover, *options, name="run"):
        self.prover = prover
        self.goals, self.smoke = {}, {}
        self.text = frama_c(
            root, *files, *OPTIONS, "-wp-prover", prover, "-wp-timeout",
            str(TIMEOUT_S), *options
        )
        LOG.mkdir(parents=True, exist_ok=True)
        (LOG / f"{name}-{prover}.txt").write_text(self.text, encoding="utf-8")
        for by, kind, goal, verdict in GOAL.findall(self.text):
            if kind == "Goal":
                by = "Qed" if by == "CFG" else by  # both are Frama-C itself
                self.goals[goal] = by if verdict == "Valid" else verdict or by
            else:
                self.smoke[goal] = by
        self._check_complete()

    def _check_complete(self):
        found = SUM.search(self.text)
        if not found or int(found.group(2)) != len(self.goals) + len(self.smoke):
            end = "\n".join(self.text.splitlines()[-20:])
            raise command.CannotRun(f"Frama-C with {PROVERS[self.prover]} did not finish:\n{end}")

    def proven(self, goal):
        return self.goals.get(goal) in ("Qed", PROVERS[self.prover])

    def complaints(self):
        """What is wrong even if every goal is proven."""
        for goal, verdict in self.goals.items():
            if verdict == "Failed":
                yield f"{goal}: {PROVERS[self.prover]} failed (expected: an answer) [prover-failed]"
        for test, verdict in self.smoke.items():
            if verdict != "Passed":
                yield f"{test}: unreachable, or its premises contradict each other [smoke]"
        if BROKEN.search(self.text):
            yield f"{PROVERS[self.prover]} failed (expected: an answer each time) [prover-failed]"


def check_provers(root):
    """Complaints about provers that do not prove the true, prove the false, or miss a
    contradiction."""
    with ThreadPoolExecutor(len(PROVERS)) as pool:
        runs = list(pool.map(
            lambda prover: Run(root, [str(PROOF / "known.c")], prover, "-wp-smoke-tests",
                               name="known"), PROVERS))
    for run in runs:
        name = PROVERS[run.prover]
        if run.goals.get("known_true_ensures_true") != name:
            yield f"{name} does not prove a true goal [prover-incomplete]"
        if run.proven("known_false_ensures_false"):
            yield f"{name} proves a false goal [prover-unsound]"
        if run.smoke.get("known_contradiction_wp_smoke_default_requires") == "Passed":
            yield f"{name} misses a contradiction [prover-unsound]"
