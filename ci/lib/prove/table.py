"""The goals by function and module: the table, the baseline, the results."""

from __future__ import annotations

import fcntl
import json
from collections import Counter, defaultdict

from .. import command, junit, modules, tree
from . import contracts, frama

BASELINE = tree.TOP / "tests" / "proof" / "goals"
RESULTS = tree.RESULTS / "prove.json"
COLUMNS = ("goals", "Qed", "CVC4", "Z3", "none", "smoke")


def sources() -> list[str]:
    """The files that have proofs, by the list of modules."""
    return [path for each in modules.read().values() if each.proof for path in each.paths]


def by_function(names, goals):
    """The goals of each function. Of two names that both fit, the longer one is meant."""
    found = defaultdict(list)
    for goal in goals:
        owner = max((n for n in names if goal.startswith(n + "_")), key=len, default="(lemmas)")
        found[owner].append(goal)
    return found


def counted(names, run):
    """How many goals and smoke tests each function has."""
    goals, smoke = by_function(names, run.goals), by_function(names, run.smoke)
    return {name: (len(goals[name]), len(smoke[name])) for name in sorted({*names, *goals})}


def write_baseline(counts):
    lines = ["# Function, goals, smoke tests. Written by ci/prove --fix."]
    lines += [f"{name:22} {goals:3} {smoke:3}" for name, (goals, smoke) in counts.items()]
    BASELINE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def check_baseline(counts, whole, smoke=True):
    """Complaints about functions whose goals are not as many as the baseline says; of the counted
    functions alone, unless they are the whole core. Without `smoke`, of goals alone."""
    lines = BASELINE.read_text(encoding="utf-8").splitlines() if BASELINE.exists() else []
    rows = [line.split() for line in lines if not line.startswith("#")]
    known = {name: (int(goals), int(smoke)) for name, goals, smoke in rows}
    for name in sorted({*counts, *known} if whole else counts):
        found, expected = counts.get(name, (0, 0)), known.get(name, (0, 0))
        if not smoke:
            found = (found[0], expected[1])
        if found != expected:
            yield (f"{name} has {found[0]} goals and {found[1]} smoke tests (expected:"
                   f" {expected[0]} and {expected[1]}, or ci/prove --fix) [goal-count]")


def show(names, runs) -> Counter:
    """Prints a line for each function; gives the sums."""
    command.say(f"{'function':26} " + " ".join(f"{column:>6}" for column in COLUMNS))
    total = Counter()
    smoke = by_function(names, runs[0].smoke)
    for name, goals in sorted(by_function(names, runs[0].goals).items()):
        row = Counter(goals=len(goals), smoke=len(smoke[name]))
        for goal in goals:
            if runs[0].goals[goal] == "Qed":
                row["Qed"] += 1
            else:
                for run in runs:
                    row[frama.PROVERS[run.prover].split()[0]] += run.proven(goal)
            row["none"] += not any(run.proven(goal) for run in runs)
        total.update(row)
        _show_row(name, row)
    _show_row("all", total)
    return total


def _show_row(name, row):
    command.say(f"{name:26} " + " ".join(f"{row[column]:6}" for column in COLUMNS))


def results(files, runs):
    """Counts each module's goals, and those that are proven, for the table of verification."""
    owned = by_function(contracts.function_names(tree.TOP, files), runs[0].goals)
    found = {}
    for file in files:
        names = contracts.function_names(tree.TOP, [file])
        goals = [goal for name in names for goal in owned[name]]
        proven = sum(any(run.proven(goal) for run in runs) for goal in goals)
        found[modules.of_path(file).name] = {"goals": len(goals), "proven": proven}
    return found


def write_results(found):
    """Core and shell may be proven side by side: what another run found of other modules stays."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        known = json.loads(file.read() or '{"modules": {}}')["modules"]
        file.truncate(0)
        file.write(json.dumps({"modules": known | found}, indent=2) + "\n")


def cases(runs, complaints):
    """One test a goal, and one that fails for each other complaint."""
    found = []
    for goal in runs[0].goals:
        proven = any(run.proven(goal) for run in runs)
        found.append((goal, junit.PASSED if proven else junit.FAILED, "not proven", "0"))
    return found + [(each, junit.FAILED, each, "0") for each in complaints]
