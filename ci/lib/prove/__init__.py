"""Proves that the core keeps its contracts, and that the shell does nothing undefined.

    frama        runs Frama-C with a prover, and reads the verdicts
    contracts    what is said of contracts as text: rules that no prover checks
    table        goals by function and module, the baseline, the results
    shell        runs Frama-C's Eva on the shell, and judges what it leaves
    defects      seeded defects in code, contracts and provers, each of which has to be seen
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from .. import command, junit, tree
from . import contracts, defects, frama, shell, table

SMOKE_SHARE = 8


def run(options) -> bool:
    command.require("prove")
    reason = frama.skip_reason()
    if reason:
        command.say(f"skipped: nothing is proven: {reason}")
        junit.write([("all", junit.SKIPPED, reason, "0")], "prove")
        return True
    if options.defects is not None:
        return defects.plant_all(options.defects or defects.names())
    proven, cases = True, []
    for part in [options.part] if options.part else PARTS:
        good, results, more = PARTS[part](options)
        table.write_results(results)
        proven, cases = proven and good, cases + more
    junit.write(cases, "prove")
    return proven


def prove_shell(options):
    runs = shell.analyse(options.full)
    counts = shell.show(runs)
    found = list(shell.complaints(runs))
    goals, proven = (sum(row[key] for row in counts.values()) for key in ("goals", "proven"))
    command.say("\n".join([*found, f"{proven} of {goals} properties of the shell proven,"
                           f" {len(found)} complaints"]))
    cases = [(f"{run.harness.name} {run.machine}", junit.PASSED, "", "0") for run in runs]
    return not found, counts, cases + [(each, junit.FAILED, each, "0") for each in found]


def prove_core(options):
    """Every goal by CVC4; by Z3 what CVC4 left, or, in full, every goal as well.

    Smoke tests take most of the time: unless in full, or to write the baseline, those of every
    SMOKE_SHARE-th function alone are run, of others with the next commit.
    """
    files = table.sources()
    names = contracts.function_names(tree.TOP, files)
    whole = options.full or options.fix
    sample = [] if whole else names[tree.commit_number() % SMOKE_SHARE :: SMOKE_SHARE]
    found = list(frama.check_provers(tree.TOP)) + list(contracts.check_contracts(tree.TOP, files))
    runs = _prove(files, sample, options.full)
    total = table.show(names, runs)
    for each in runs:
        found += each.complaints()
    counts = table.counted(names, runs[0])
    if options.fix:
        table.write_baseline(counts)
    found += table.check_baseline(counts, whole=True, smoke=not sample)
    unproven = [goal for goal in runs[0].goals if not any(each.proven(goal) for each in runs)]
    command.say("\n".join([*(f"{goal}: not proven [unproven]" for goal in unproven), *found]))
    smoked = f"{len(sample or names)} of {len(names)} functions"
    command.say(f"{total['goals'] - total['none']} of {total['goals']} goals proven,"
                f" {total['smoke']} smoke tests of {smoked},"
                f" {len(found) + len(unproven)} complaints")
    proven = not found and not unproven
    return proven, table.results(files, runs), table.cases(runs, found)


def _prove(files, sample, full):
    """The runs of the provers. The first has the smoke tests: these are of the contracts, not of
    the prover, so one prover tries them."""
    smoke = ("-wp-smoke-tests",)
    if sample:
        wanted = [("cvc4", "core"), ("cvc4", "smoke", *smoke, "-wp-fct", ",".join(sample))]
    else:
        wanted = [("cvc4", "core", *smoke)] + [("z3", "core")] * full
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(
            lambda each: frama.Run(tree.TOP, files, each[0], *each[2:], name=each[1]), wanted))
    if sample:
        smoke = runs.pop()
        runs[0].smoke, runs[0].text = smoke.smoke, runs[0].text + smoke.text
    if not full and not all(map(runs[0].proven, runs[0].goals)):
        runs.append(frama.Run(tree.TOP, files, "z3", name="core"))
    return runs


PARTS = {"core": prove_core, "shell": prove_shell}
