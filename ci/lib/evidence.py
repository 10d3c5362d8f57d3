"""The table of verification by module in tests/README.md, from the results in build/results."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree

from . import command, explore, modules, tree

README = tree.TOP / "tests" / "README.md"
BEGIN, END = "<!-- ci/test evidence -->\n", "<!-- end of ci/test evidence -->\n"
NOT_APPLICABLE = "–"

CMOCKA_PASSED = re.compile(r"^\[ +PASSED +\] (\d+) test\(s\)\.$", re.MULTILINE)
CASES = re.compile(r"^\w+: (\d+) cases", re.MULTILINE)
RUNS = re.compile(r"^scenarios=\d+ runs=(\d+) failed=0$", re.MULTILINE)

# What makes each file of results.
SOURCES = {"prove.json": "ci/prove", "coverage.json": "ci/coverage"}
# It takes hours: without its results the column stays as it is.
MUTATION, MUTATION_BY = "mutation.json", "ci/mutate"
UNITS = "units*.xml"
EXPLORED = explore.results().name


def run(print_only: bool) -> bool:
    made = table()
    if print_only:
        command.say(made.rstrip())
        return True
    text = README.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        shown = tree.shown(README)
        raise command.CannotRun(f"{shown}: expected the lines {BEGIN.strip()} and {END.strip()}")
    README.write_text(before + begin + made + end + after, encoding="utf-8")
    command.say(f"{tree.shown(README)}: {len(modules.read())} modules")
    return True


def table() -> str:
    printed = _outputs()
    read = {name: _read(name, command_)["modules"] for name, command_ in SOURCES.items()}
    mutation = _mutation_column()
    explored = _explored(_read(EXPLORED, "ci/simulate explore"))
    columns = {
        "unit": lambda each: _sum(each, printed, CMOCKA_PASSED),
        "exhaustive": lambda each: _sum(each, printed, CASES),
        "simulation": lambda each: _simulated(printed) if each.simulation else None,
        "exploration": lambda each: explored if each.simulation else None,
        "fuzz": lambda each: _corpus(each),
        "proof": lambda each: _proof(each, read["prove.json"]),
        "MC/DC": lambda each: _conditions(each, read["coverage.json"]),
        "mutation": mutation,
    }
    lines = [f"| module | {' | '.join(columns)} |", "|---|" + "--:|" * len(columns)]
    for module in modules.read().values():
        cells = [_text(cell(module)) for cell in columns.values()]
        lines.append(f"| {module.name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _outputs():
    """What each test printed, by its name: one entry for each build that ran it."""
    found = {}
    for path in sorted(tree.RESULTS.glob(UNITS)):
        for case in ElementTree.parse(path).iter("testcase"):
            found.setdefault(case.get("name"), []).append(case.findtext("system-out") or "")
    if not found:
        wanted = "JUNIT=build/results/units.xml ci/test units"
        raise command.CannotRun(f"no {UNITS} in build/results; {wanted} makes one")
    return found


def _read(name, made_by):
    path = tree.RESULTS / name
    if not path.exists():
        raise command.CannotRun(f"no {name} in build/results; {made_by} makes it")
    return json.loads(path.read_text())


def _most(texts, pattern):
    """The largest sum over what one build printed."""
    return max((sum(map(int, pattern.findall(text))) for text in texts), default=0)


def _sum(module, printed, pattern):
    return sum(_most(texts, pattern) for name, texts in printed.items() if module.has_test(name))


def _simulated(printed):
    names = [name for name in printed if name.startswith("scenarios_")]
    return sum(_most(printed[name], RUNS) for name in names)


def _explored(results):
    """The runs of a whole exploration."""
    if not results["complete"]:
        raise command.CannotRun(f"{EXPLORED} is not complete; ci/simulate explore makes it so")
    return sum(each[2] for part in results["parts"].values() for each in part["systems"])


def _corpus(module):
    folder = tree.TOP / "fuzz" / "corpus" / module.short
    return sum(each.is_file() for each in folder.iterdir()) if folder.is_dir() else None


def _proof(module, results):
    found = results.get(module.name)
    return _ratio(found["proven"], found["goals"]) if found else None


def _conditions(module, results):
    """By all suites of tests together."""
    found = results.get(module.name)
    if not found:
        return None
    conditions = found["together"]["conditions"]
    return _ratio(conditions["reached"], conditions["of"])


def _mutation_column():
    """The cell of a module: of the results, or as README.md has it."""
    results = _read(MUTATION, MUTATION_BY)["modules"] if (tree.RESULTS / MUTATION).exists() else {}
    kept = [name for name in modules.read() if name not in results]
    if kept:
        command.say(f"mutation: kept as it is, for {MUTATION_BY} has no result: {', '.join(kept)}")
    rows = README.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].splitlines()
    cells = [[cell.strip() for cell in row.strip("| ").split("|")] for row in rows]
    before = {row[0].rpartition("/")[2]: row[-1] for row in cells}
    return lambda each: _mutation(results.get(each.name)) or before.get(each.short)


def _mutation(found):
    """Of the mutants that a test could notice."""
    if not found:
        return None
    return _ratio(found["killed"], found["judged"] - found["equivalent_by_argument"])


def _ratio(part, whole):
    return f"{part:,} of {whole:,}"


def _text(cell):
    return (f"{cell:,}" if isinstance(cell, int) else cell) if cell else NOT_APPLICABLE
