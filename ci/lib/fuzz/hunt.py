"""How good the fuzzers are: defects seeded in a copy of the tree, and how long it takes to find
them. The fuzzers of a module begin with nothing, and the server's with its corpus.

Some are written by hand, as patches; the others are mutants of the core, drawn at random from all
that ci/mutate makes of it. A mutant counts as one if it compiles, and if two compilers make other
code of it, with assertions left out, for it may be the assertions alone that it changes.
"""

import concurrent.futures
import functools
import itertools
import random
import re

from .. import command, defects, modules, tree
from . import engines, targets

KINDS = ("server", "modules")
# What only the expectations of scenarios show: the oracle demands nothing for a client that the
# kernel failed, or that is idle, and the fuzzers have no other judge.
EXPECTED_ONLY = {
    "aborted-accept-stops-listening",
    "drain-accepts-but-once",
    "drain-forgets-the-backlog",
    "idle-from-the-first-byte",
    "idle-spares-the-stalled",
    "idle-sweep-only-once",
    "interrupted-accept-stops-listening",
}
# What takes a crowd, which the server's fuzzer leaves to random scenarios.
OF_CROWDS = {
    "full-wait-serves-all",
    "idle-timeout-needs-a-quiet-wait",
    "one-accept-a-pass",
    "turns-not-shared",
}
# What takes an exact length, which AFL++ has to guess (not in 600 s) unless its build splits
# comparisons, which halves the rate of the server. libFuzzer finds it in seconds.
BY_LIBFUZZER = {"host-one-too-long"}
# Files whose fuzzer has another name; the server's fuzzer has to find what is not here.
TARGETS = {
    "src/core/outcome.c": "connection",
    "src/shell/log.c": "log",
    "src/shell/options.c": "options",
    "tests/scenario/scenario_bytes.c": "scenario",
    "tests/scenario/scenario_text.c": "scenario",
}
# What another fuzzer finds than that of its file.
FINDERS = {"sizes-wrap-in-32-bits": "options"}
LIMIT_S = 600
# CI runs a sample: these patches, and so many mutants.
SAMPLE = ("buffer-copies-one-less", "generation-not-bumped")
SAMPLE_MUTANTS = 1
COMPILERS = ("gcc", "clang")
# The tree as it is, for so long: nothing may be found in it, and then that has to be reported.
CONTROL_S = 2
CONTROL_TARGET = "upper"


def names():
    """The names of the patches that a fuzzer can find."""
    return [name for name in defects.patches(*KINDS) if name not in EXPECTED_ONLY | OF_CROWDS]


class Seeded:
    """A defect with its name. If it is in one module, the fuzzer of that module is to find it, and
    otherwise the server's."""

    def __init__(self, name, defect):
        self.name, self.defect = name, defect
        paths = " ".join(defect.paths)
        core = re.fullmatch(r"src/core/(\w+)\.c", paths)
        self.target = FINDERS.get(name) or TARGETS.get(paths, core[1] if core else "server")


# ---- Mutants


def mutants(copy, count, seed):
    """Drawn without repetition; each file has the weight of what can be mutated in it."""
    if count == 0:
        return []
    from ..mutate import mutants as made_of  # needs .venv, as nothing else does here

    core = [each for each in modules.read().values() if each.library == "core"]
    made = [
        mutant for each in core for path in sorted(each.paths)
        for mutant in made_of.Source(path).mutants()
    ]
    random.Random(seed).shuffle(made)
    drawn = (mutated(mutant) for mutant in made)
    return itertools.islice((each for each in drawn if differs(copy, each)), count)


def mutated(mutant):
    path = mutant.source.path
    text = (tree.TOP / path).read_text(encoding="utf-8")
    name = f"{path}:{mutant.number}: {' '.join(mutant.new).strip() or 'nothing'}"
    return Seeded(name, defects.Edit(path, text, mutant.text))


def differs(copy, seeded):
    source = copy.top / seeded.defect.path
    before = code_of(copy, source)
    with copy.planted(seeded.defect):
        after = code_of(copy, source)
    return all(b is not None and a != b for a, b in zip(before, after))


def code_of(copy, source):
    """What each compiler makes of it, None if it refuses."""
    return [compiled(compiler, copy, source, source.read_bytes()) for compiler in COMPILERS]


@functools.lru_cache(maxsize=None)
def compiled(compiler, copy, source, content):
    done = copy.run(
        [compiler, "-std=c11", "-O2", "-DNDEBUG", "-w", "-I", copy.top / "include", "-S", "-o",
         "-", source],
    )
    return done.stdout if done.returncode == 0 else None


# ---- Finding them


def run(engine, target, seconds):
    place = tree.fresh_folder(target.place("hunt", engine, target.name))
    made = engines.ENGINES[engine](target, place)
    made.seeded = target.name == "server"
    return engines.run(made, seconds)


def run_all(copy, name, seconds, names=tuple(engines.ENGINES)):
    """Each engine on one core."""
    target = targets.Target(name, copy.top)
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        return list(pool.map(lambda engine: run(engine, target, seconds), names))


def show(name, target, results):
    cells = []
    for result in results:
        found = f"{result.seconds:6.1f} s {result.stats.execs:>11,}"
        if result.stats.execs == 0:
            found = f"{'at once, by a seed':>20}"
        if not result.findings:
            found = f"{'ESCAPED':8} {result.stats.execs:>11,}"
        cells.append(found)
    command.say(f"{target:13} {'  '.join(cells)}  {name}")


def is_found(copy, seeded, seconds):
    """By each engine that can be expected to."""
    names = ["libfuzzer"] if seeded.name in BY_LIBFUZZER else list(engines.ENGINES)
    with copy.planted(seeded.defect):
        results = run_all(copy, seeded.target, seconds, names)
    found = all(result.findings for result in results)
    show(seeded.name if found else f"{seeded.name} [escaped]", seeded.target, results)
    return found


def hunt(patches, mutant_count, seed, seconds):
    """Seeds each in a copy whose build does not end at a warning; true if all are found, and
    nothing without one."""
    copy = defects.Copy(tree.TOP / targets.FOUND / "defects")
    werror = '"TOUCHSTONE_WERROR": '
    tolerant = defects.Edit("CMakePresets.json", f'{werror}"ON"', f'{werror}"OFF"')
    with copy.planted(tolerant):
        by_hand = (Seeded(name, defects.Patch(name)) for name in patches)
        head = "  ".join(f"{name:>8} {'executions':>11}" for name in engines.ENGINES)
        command.say(f"{'target':13} {head}  defect")
        seeded = itertools.chain(by_hand, mutants(copy, mutant_count, seed))
        found = [is_found(copy, each, seconds) for each in seeded]
        control = run_all(copy, CONTROL_TARGET, CONTROL_S)
        show("no defect: it has to escape", CONTROL_TARGET, control)
    command.say(f"{len(found)} defects seeded, {found.count(False)} escaped; seed {seed}")
    if any(result.findings for result in control):
        raise command.CannotRun(f"{CONTROL_TARGET}: a finding without a defect [control]")
    return all(found)
