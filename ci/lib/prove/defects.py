"""Seeded defects in core, shell, contracts and provers: each has to be seen."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

from .. import command, junit, tree
from .. import defects as seeded
from . import contracts, frama, shell, table

KINDS = ("core", "contracts")
EMPTIED = "emptied"
LIARS = {"prover-proves-anything": "echo unsat", "prover-talks-nonsense": "echo nonsense"}
COPIED = ("src/core/", "include/core/", f"{frama.PROOF}/")
SHELL = ("src/shell/", "include/shell/")
DECLARED = "-wp-declarations-terminate"


def names() -> list[str]:
    return [EMPTIED, *LIARS, *seeded.patches(*KINDS), *shell.DEFECTS]


def plant_all(wanted) -> bool:
    command.say(f"{'defect':34} {'seen by':8} {'':4}  the first of them")
    with ThreadPoolExecutor(2) as pool:
        seen = dict(zip(wanted, pool.map(plant, wanted)))
    status = {True: junit.PASSED, False: junit.FAILED}
    cases = [(name, status[seen[name]], "escaped", "0") for name in wanted]
    junit.write(cases, "prove")
    command.say(f"{len(wanted)} defects planted, {list(seen.values()).count(False)} escaped")
    return all(seen.values())


def plant(name) -> bool:
    """Prints a line; false if nothing saw the defect."""
    copy = seeded.Copy(tree.BUILD / "defects" / "prove" / name, COPIED + SHELL)
    if name == EMPTIED:
        how, what = _emptied(copy.top)
    elif name in LIARS:
        how, what = _lying(copy.top, LIARS[name])
    elif name in shell.DEFECTS:
        seeded.Patch(name).plant(copy.top)
        how, what = "alarm", shell.seen(copy.top, name)
    else:
        how, what = _patched(copy, name)
    command.say(f"{name:34} {how:8} {len(what):4}  {what[0] if what else '[escaped]'}")
    return bool(what)


def _patched(copy, name):
    """How a patch shows, and where."""
    patch = seeded.Patch(name)
    patch.plant(copy.top)
    in_code = all(path.startswith("src/") for path in patch.paths)
    files = [file for file in table.sources() if _concerns(copy.top, file, set(patch.paths))]
    return (_seen_in_code if in_code else _seen_in_contract)(copy.top, files, name)


def _concerns(root, file, changed):
    return file in changed or bool(_includes(root, file, set()) & changed)


def _includes(root, path, found):
    """What of the core a file includes, itself or through others."""
    for name in contracts.INCLUDE.findall((root / path).read_text(encoding="utf-8")):
        if f"include/{name}" not in found:
            found.add(f"include/{name}")
            _includes(root, f"include/{name}", found)
    return found


def _changed_functions(root, file):
    """The functions whose bodies differ from ours."""
    before, after = (
        {name: text[begin:end] for name, _, begin, end in contracts.functions_of(text)}
        for text in ((each / file).read_text(encoding="utf-8") for each in (tree.TOP, root))
    )
    return [name for name in after if before.get(name) != after[name]]


def _seen_in_code(root, files, name):
    """The goals that a defect leaves unproven, of the functions that it changed."""
    functions = ",".join(each for file in files for each in _changed_functions(root, file))
    run = frama.Run(root, files, "cvc4", DECLARED, "-wp-fct", functions, name=name)
    return "goal", [goal for goal in run.goals if not run.proven(goal)]


def _seen_in_contract(root, files, name):
    """The first way in which a defect in a contract shows."""
    broken = list(contracts.check_contracts(root, files))
    if broken:
        return "rule", broken
    run = frama.Run(root, files, "cvc4", DECLARED, "-wp-smoke-tests", name=name)
    counts = table.counted(contracts.function_names(root, files), run)
    ways = {
        "goal": [goal for goal in run.goals if not run.proven(goal)],
        "smoke": [test for test, verdict in run.smoke.items() if verdict != "Passed"],
        "count": list(table.check_baseline(counts, whole=False)),
    }
    for way, found in ways.items():
        if found:
            return way, found
    return EMPTIED, _kept_by_nothing(root, files)


def _emptied(root):
    """The functions whose contracts an empty body breaks; none if some contract survives it."""
    files = table.sources()
    left = _kept_by_nothing(root, files)
    for function in left:
        command.say(f"{function} keeps its contract when empty [escaped]")
    every = contracts.function_names(tree.TOP, files)
    return "ensures", [] if left else every


def _kept_by_nothing(root, files):
    """Empties each function; gives those that keep all that they ensure."""
    functions = contracts.function_names(root, files)
    for file in files:
        text = (root / file).read_text(encoding="utf-8")
        for _, kind, begin, end in reversed(list(contracts.functions_of(text))):
            body = "" if kind == "void" else f" return ({kind}){{0}};"
            text = text[:begin] + body + text[end:]
        (root / file).write_text(text, encoding="utf-8")
    run = frama.Run(root, files, "cvc4", "-wp-prop", "@ensures", name=EMPTIED)
    goals = table.by_function(functions, run.goals)
    return [name for name in functions if all(run.proven(goal) for goal in goals[name])]


def _lying(root, lie):
    """What is seen of a prover that gives the same answer to everything."""
    conf = root / frama.PROOF / "why3.conf"
    text = re.sub(r"(?<=^command = ).*", f'"{lie}"', conf.read_text(), flags=re.MULTILINE)
    conf.write_text(text, encoding="utf-8")
    return "known.c", list(frama.check_provers(root))
