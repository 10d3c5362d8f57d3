"""Proves that the core keeps its contracts.

    frama        runs Frama-C with a prover, and reads the verdicts
    contracts    what is said of contracts as text: rules that no prover checks
    table        goals by function and module, the baseline, the results
    defects      seeded defects in code, contracts and provers, each of which has to be seen
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from .. import command, junit, tree
from . import contracts, defects, frama, table


def run(options) -> bool:
    command.require("prove")
    reason = frama.skip_reason()
    if reason:
        command.say(f"skipped: nothing is proven: {reason}")
        junit.write([("all", junit.SKIPPED, reason, "0")], "prove")
        return True
    if options.defects is not None:
        return defects.plant_all(options.defects or defects.names())
    return prove_core(options.full, options.fix)


def prove_core(full, fix) -> bool:
    """Every goal by CVC4; by Z3 what CVC4 left, or, in full, every goal as well."""
    files = table.sources()
    found = list(frama.check_provers(tree.TOP)) + list(contracts.check_contracts(tree.TOP, files))
    if full:
        with ThreadPoolExecutor(2) as pool:
            runs = list(pool.map(lambda prover: _prove(files, prover), frama.PROVERS))
    else:
        runs = [_prove(files, "cvc4")]
        if not all(map(runs[0].proven, runs[0].goals)):
            runs.append(_prove(files, "z3"))
    names = contracts.function_names(tree.TOP, files)
    total = table.show(names, runs)
    for each in runs:
        found += each.complaints()
    counts = table.counted(names, runs[0])
    if fix:
        table.write_baseline(counts)
    found += table.check_baseline(counts, whole=True)
    table.write_junit(runs, found)
    table.write_results(files, runs)
    unproven = [goal for goal in runs[0].goals if not any(each.proven(goal) for each in runs)]
    command.say("\n".join([*(f"{goal}: not proven [unproven]" for goal in unproven), *found]))
    command.say(f"{total['goals'] - total['none']} of {total['goals']} goals proven,"
                f" {total['smoke']} smoke tests, {len(found) + len(unproven)} complaints")
    return not found and not unproven


def _prove(files, prover):
    """Smoke tests are of the contracts, not of the prover: one prover tries them."""
    smoke = ["-wp-smoke-tests"] if prover == "cvc4" else []
    return frama.Run(tree.TOP, files, prover, *smoke, name="core")
