"""How good the fuzzers are: defects planted into a copy of the tree, and how long it takes to find
them. The fuzzers of a room begin with nothing, and the server's with its corpus.

Some are written by hand, as patches; the others are mutants of the core, drawn at random from all
that universalmutator makes of it. A mutant counts as one if it compiles, and if two compilers make
other code of it, with assertions left out, for it may be the assertions alone that it changes.
"""

import concurrent.futures
import contextlib
import functools
import itertools
import random
import re
import subprocess

from . import engines, tree

PATCHES = ("tests/defects/server", "tests/defects/modules")
# What only the expectations of scenarios show: for whom the kernel failed, or who is idle, nothing
# is owed by the oracle, and the fuzzers have no other judge.
EXPECTED_ONLY = {
    "aborted-accept-stops-listening",
    "drain-accepts-but-once",
    "drain-forgets-the-backlog",
    "idle-from-the-first-byte",
    "idle-spares-the-stalled",
    "idle-sweep-only-once",
    "interrupted-accept-stops-listening",
}
# Whose fuzzer has another name; what is not here is the server's to find.
TARGETS = {
    "src/core/outcome.c": "connection",
    "src/shell/log.c": "log",
    "src/shell/options.c": "options",
    "tests/scenario/scenario_bytes.c": "scenario",
    "tests/scenario/scenario_text.c": "scenario",
}
LIMIT_S = 600
# In CI, a sample: of these patches, and of the mutants.
SAMPLE = ("buffer-moved-one-short", "generation-not-bumped")
SAMPLE_MUTANTS = 1
COMPILERS = ("gcc", "clang")
# The tree as it is, for so long: nothing may be found in it, and then that has to be said.
CONTROL_S = 2
CONTROL_TARGET = "upper"


class Defect:
    """Something that is not as it should be. If one room has it, the fuzzer of that room is to find
    it, and otherwise the server's."""

    def __init__(self, name, paths, plant):
        self.name, self.paths, self.plant = name, paths, plant
        core = re.fullmatch(r"src/core/(\w+)\.c", " ".join(paths))
        self.target = TARGETS.get(" ".join(paths), core.group(1) if core else "server")

    @contextlib.contextmanager
    def planted(self):
        kept = {path: (tree.TOP / path).read_bytes() for path in self.paths}
        try:
            self.plant()
            yield
        finally:
            for path, content in kept.items():
                (tree.TOP / path).write_bytes(content)


# ---- Patches


def patches():
    """name: path, of those that a fuzzer can find."""
    paths = [path for folder in PATCHES for path in sorted((tree.TOP / folder).glob("*.patch"))]
    return {path.stem: path for path in paths if path.stem not in EXPECTED_ONLY}


def patched(name):
    path = patches()[name]
    touched = re.findall(r"^\+\+\+ b/(\S+)", path.read_text(), re.MULTILINE)
    return Defect(name, touched, lambda: tree.output_of(["git", "apply", path]))


# ---- Mutants


def mutants(count, seed):
    """Drawn without repetition; each file has the weight of what can be mutated in it."""
    mutate = tree.TOP / ".venv" / "bin" / "mutate"
    if not mutate.exists():
        raise tree.CannotRun("universalmutator is missing; ci/deps fuzz installs what it takes")
    place = tree.fresh_folder(tree.FOUND / "mutants")
    made = []
    for source in sorted((tree.TOP / "src" / "core").glob("*.c")):
        folder = tree.fresh_folder(place / source.stem)
        tree.output_of([mutate, source, "--noCheck", "--mutantDir", folder])
        made += [(source, path) for path in tree.inputs(folder)]
    made.sort(key=lambda pair: (pair[0].name, int(pair[1].name.split(".")[-2])))
    random.Random(seed).shuffle(made)
    drawn = (mutated(source, path) for source, path in made)
    return itertools.islice(filter(differs, drawn), count)


def differs(defect):
    source = tree.TOP / defect.paths[0]
    before = code_of(source)
    with defect.planted():
        after = code_of(source)
    return all(b is not None and a != b for a, b in zip(before, after))


def mutated(source, path):
    before, after = source.read_text().splitlines(), path.read_text().splitlines()
    line = next((i for i, (a, b) in enumerate(zip(before, after)) if a != b), 0)
    name = f"{source.name}:{line + 1}: {after[line].strip() or 'nothing'}"
    return Defect(name, [tree.shown(source)], lambda: source.write_bytes(path.read_bytes()))


def code_of(source):
    """What each compiler makes of it, None if it refuses."""
    return [compiled(compiler, source, source.read_bytes()) for compiler in COMPILERS]


@functools.lru_cache(maxsize=None)
def compiled(compiler, source, content):
    done = subprocess.run(
        [compiler, "-std=c11", "-O2", "-DNDEBUG", "-w", f"-I{tree.TOP / 'include'}", "-S", "-o",
         "-", source],
        env=tree.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    return done.stdout if done.returncode == 0 else None


# ---- Finding them


def hunt(engine, target, seconds):
    place = tree.fresh_folder(tree.FOUND / "hunt" / engine / target)
    made = engines.ENGINES[engine](target, place)
    made.seeded = target == "server"
    return engines.run(made, seconds)


def show(defect, results):
    cells = []
    for result in results:
        found = f"{result.seconds:6.1f} s {result.stats.execs:>11,}"
        if result.stats.execs == 0:
            found = f"{'at once, by a seed':>20}"
        if not result.findings:
            found = f"{'ESCAPED':8} {result.stats.execs:>11,}"
        cells.append(found)
    tree.say(f"{defect.target:13} {'  '.join(cells)}  {defect.name}")


def seek(defect, seconds):
    """True if both engines find it, each on one core."""
    with defect.planted(), concurrent.futures.ThreadPoolExecutor(len(engines.ENGINES)) as pool:
        results = list(pool.map(lambda name: hunt(name, defect.target, seconds), engines.ENGINES))
    show(defect, results)
    return all(result.findings for result in results)


def planted(names, mutant_count, seed, seconds):
    """Plants each, and those of a copy whose build does not end at a warning."""
    copy = tree.fresh_folder(tree.FOUND / "defects")
    tree.copy_tree(copy)
    (copy / ".venv").symlink_to(tree.TOP / ".venv")
    tree.settle_in(copy)
    tree.output_of(["git", "init", "--quiet"])
    presets = tree.TOP / "CMakePresets.json"
    presets.write_text(presets.read_text().replace('"TOUCHSTONE_WERROR": "ON"', ""))
    defects = itertools.chain(map(patched, names), mutants(mutant_count, seed))
    head = "  ".join(f"{name:>8} {'executions':>11}" for name in engines.ENGINES)
    tree.say(f"{'target':13} {head}  defect")
    found = [seek(defect, seconds) for defect in defects]
    control = Defect("no defect at all: it has to escape", [], lambda: None)
    control.target = CONTROL_TARGET
    if seek(control, CONTROL_S):
        raise tree.CannotRun("something was found without a defect")
    tree.say(f"{len(found)} defects planted, {found.count(False)} escaped; seed {seed}")
    return all(found)
