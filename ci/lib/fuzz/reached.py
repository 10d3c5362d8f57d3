"""What the committed corpora reach, and whether that is enough."""

from pathlib import Path

from .. import command, modules, tree
from ..coverage import counted
from ..coverage.counted import percent
from . import targets

# What the committed corpora alone have to reach in the core, in percent: lines and branches.
CORE_FLOORS = (100, 98)
# Here, what they do not reach has to be listed, with the reason.
EXPLAINED = [
    path for name in ("shell/server", "shell/pollers") for path in modules.read()[name].paths
]
PLACE = tree.TOP / targets.FOUND / "coverage"
UNREACHED = tree.TOP / "fuzz" / "unreached"


class Coverage:
    """What the corpora of some targets cover of the source."""

    def __init__(self, names, place=PLACE):
        tree.fresh_folder(place)
        build = targets.Build("coverage", names)
        for name in names:
            replay(build, targets.Target(name), place)
        programs = [build.fuzzer(name) for name in names]
        raw = sorted(place.glob("*.profraw"))
        self.counted = counted.Counted(place / "all.profdata", raw, programs)

    def rows(self):
        """(file, (lines reached, lines), (branches reached, branches)), those with code."""
        for name, entry in self.counted.files("--summary-only").items():
            kinds = (entry["summary"][kind] for kind in ("lines", "branches"))
            yield name, *((each["covered"], each["count"]) for each in kinds)

    def unreached(self):
        """(file, line of source) of each line, and of each branch, that was never taken."""
        for line in self.counted.llvm_cov("export", "--format=lcov").splitlines():
            what, _, rest = line.partition(":")
            if what == "SF":
                name = tree.shown(rest)
                source = Path(rest).read_text(encoding="utf-8").splitlines()
            elif what in ("DA", "BRDA"):
                numbers = rest.split(",")
                text = source[int(numbers[0]) - 1].strip()
                if numbers[-1] in ("0", "-") and text != "}":
                    yield name, text

    def page(self):
        return self.counted.llvm_cov("show", "--format=html", "--show-branches=count")


def replay(build, target, place):
    folders = target.seed_folders(build, place / target.name)
    if not folders:
        raise command.CannotRun(f"{target.name} has no corpus, expected {target.corpus}")
    raw = place / f"{target.name}.profraw"
    command.output_of(
        [build.fuzzer(target.name), *folders], env=targets.environment(LLVM_PROFILE_FILE=raw)
    )


def sum_of(rows, folder):
    """(lines, branches) of all files there."""
    rows = [row for row in rows if row[0].startswith(folder)]
    return tuple(tuple(map(sum, zip(*(row[kind] for row in rows)))) for kind in (1, 2))


def table(rows):
    """Yields a line a file, and the core as a whole."""
    yield f"{'file':32} {'lines':>16} {'branches':>16}"
    for name, *counts in [*rows, ("src/core", *sum_of(rows, "src/core/"))]:
        cells = (f"{reached}/{of} {percent(reached, of):5.1f}" for reached, of in counts)
        yield f"{name:32} " + " ".join(f"{cell:>16}" for cell in cells)


def explained():
    """What fuzz/unreached lists: a line of source behind its file, and then, indented, why."""
    listed = {}
    for line in UNREACHED.read_text(encoding="utf-8").splitlines():
        if line[:1] == " " and listed:
            listed[key] += line.strip()
        elif line.strip() and line[0] != "#":
            key = tuple(line.split(": ", 1))
            listed[key] = ""
    return listed


class Gate:
    """What the committed corpora have to reach, and what they do."""

    def __init__(self, names, place=PLACE):
        measured = Coverage(names, place)
        self.rows = list(measured.rows())
        self.missed = {key for key in measured.unreached() if key[0] in EXPLAINED}
        self.listed = explained()
        self.floors = CORE_FLOORS

    def complaints(self):
        reached = [percent(*counts) for counts in sum_of(self.rows, "src/core/")]
        for kind, floor, found in zip(("lines", "branches"), self.floors, reached):
            if found < floor:
                yield f"src/core: {found:.1f} % of {kind} reached, expected {floor} % [{kind}]"
        for name, line in sorted(self.missed - self.listed.keys()):
            yield f"{name}: {line}: not reached, and not in fuzz/unreached [unreached]"
        for (name, line), reason in self.listed.items():
            if (name, line) not in self.missed:
                yield f"{name}: {line}: in fuzz/unreached, but reached or gone [reached]"
            if not reason:
                yield f"{name}: {line}: in fuzz/unreached without a reason below it [reason]"


def coverage(names):
    """Prints the table, and what is wrong; false if there is anything."""
    gate = Gate(names)
    found = list(gate.complaints())
    command.say("\n".join([*table(gate.rows), *found]))
    listed = f"{len(gate.listed)} lines unreached for the reasons in fuzz/unreached"
    command.say(f"{len(found)} complaints, {listed}")
    return not found
