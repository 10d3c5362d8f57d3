"""The shell with any kernel: Frama-C's Eva follows all runs of a harness at once.

A harness of tests/proof/shell calls a module with any arguments, and answers its calls with any
result that their contracts allow. Eva then judges each property: each access to memory, each
conversion, each sum, each `requires` of a function of the core at each call, and each check of the
harness. What it cannot prove stands in a list, with the reason.
"""

from __future__ import annotations

import csv
import dataclasses
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .. import command, modules, tree
from . import frama

HARNESSES = frama.PROOF / "shell"
KNOWN = frama.PROOF / "alarms"
MACHINES = ("gcc_x86_64", "gcc_x86_32")
CODECS = ("epoll_codec", "kqueue_codec", "token")
CORE = ("buffer", "connection", "outcome", "token", "upper")

OPTIONS = (
    "-c11 -rte -eva-no-remove-redundant-alarms -eva-slevel 100000 -eva-split-return full"
    " -eva-msg-key=-final-states,-initial-state"
).split()

# Functions without a body here: Frama-C's own, and what is said of them is true of any.
GIVEN = re.compile(r"Frama_C_\w+|__FC_assert|base_of|mem(cpy|move|set)|strlen")
USED = re.compile(r"^\[eva\] using specification for function (\w+)$", re.MULTILINE)
# Two harnesses differ in what else has the name of a variable.
RENAMED = re.compile(r"_\d+\b")
DONE = "[eva] done for function main"

# What the core promises is proven elsewhere; what it requires is judged here, at each call.
CLAUSE = r"^ *(?:/\*)?@ *(?:requires|assigns|ensures|loop)\b"
ANNOTATION = re.compile(r"/\*@(?:(?!\*/).)*\*/", re.DOTALL)
PROMISE = re.compile(rf"^ *(/\*)?@ +ensures\b.*?(?={CLAUSE}|^ *@?\*/)", re.MULTILINE | re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Harness:
    """One analysis, of `module`, with these files of the core and of the shell."""

    name: str
    module: str
    sources: tuple[str, ...] = ()
    defines: str = ""
    options: str = ""
    wraps: bool = False  # follows what wraps on purpose, instead of judging what wraps
    long: bool = False  # takes more than some seconds
    relations: tuple[str, ...] = ()  # functions that differences of variables matter in
    file: str = ""

    @property
    def path(self) -> Path:
        return HARNESSES / f"{self.file or self.name}.c"

    @property
    def flags(self) -> list[str]:
        """A relation is in no annotation: there, what Eva itself complains about is judged."""
        apart = "".join(f",-{name}" for name in self.relations)
        octagons = ",".join(f"octagon:{name}" for name in self.relations)
        judged = "-no-warn-unsigned" if self.wraps else "-warn-unsigned"
        flags = [f"{judged}-overflow", f"{judged}-downcast", "-rte-select", f"@all{apart}"]
        flags += ["-then", "-eva", *self.options.split()]
        return flags + (["-eva-domains-function", octagons] if octagons else [])


def _core(*names):
    return tuple(f"src/core/{name}.c" for name in names)


def _poller(system):
    return Harness(system, "shell/pollers", (*_core(*CODECS), f"src/shell/poller_{system}.c"),
                   f"-DPOLLER=poller_{system}", "-eva-slevel-function wait:0", file="poller")


# Strings are compared by their bases, which Eva would not have of literals.
STRINGS = "-eva-warn-undefined-pointer-comparison none"

RELATIONS = ("sweep", "timeout_ms")

ALL = (
    Harness("text", "shell/text", options=STRINGS),
    Harness("log", "shell/log", _core("buffer"), "-DTOUCHSTONE_PIPE_BUF=300",
            f"{STRINGS} -eva-slevel-function log_escape:0 -eva-interprocedural-history"
            " -eva-partition-history 1 -eva-widening-delay 130",
            long=True, relations=("log_data",)),
    Harness("options", "shell/options", options=f"{STRINGS} -eva-split-return-function"
            " read_number:0,strcmp:0", long=True),
    _poller("epoll"),
    _poller("kqueue"),
    Harness("sizes", "shell/server", _core(*CORE), relations=RELATIONS),
    Harness("server", "shell/server", _core(*CORE), long=True, relations=RELATIONS),
)
DEEPER = (
    Harness("server-deeper", "shell/server", _core(*CORE), "-DLUCK=2", wraps=True,
            relations=RELATIONS, file="server"),
)


# Seeded defects of tests/defects that an analysis has to see, and which one.
DEFECTS = {
    "sizes-wrap-in-32-bits": "sizes",
    "escape-without-its-end": "log",
    "complaint-cut-off": "options",
    "host-one-too-long": "options",
    "number-wraps": "options",
    "closed-listener-accepts": "server",
    "connection-limit-ignored": "server",
    "close-tried-again": "server",
}


class Run:
    """Eva's verdict of each property, of one harness on one machine."""

    def __init__(self, top: Path, harness: Harness, machine: str):
        self.harness, self.machine = harness, machine
        place = tree.BUILD / "prove" / "shell" / f"{top.name}-{harness.name}-{machine}"
        copied = tree.fresh_folder(place)
        _lay_out(top, copied)
        found = copied / "properties.csv"
        flags = f"-cpp-extra-args=-Iinclude -Isrc -I{HARNESSES} {harness.defines}"
        self.text = frama.frama_c(
            copied, flags, "-machdep", machine, harness.path, *harness.sources, *OPTIONS,
            *harness.flags, "-then", "-report-csv", found,
        )
        (copied / "output.txt").write_text(self.text, encoding="utf-8")
        if DONE not in self.text or not found.exists():
            end = "\n".join(self.text.splitlines()[-20:])
            raise command.CannotRun(f"Eva did not finish {harness.name} on {machine}:\n{end}")
        with found.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        paths = tuple(modules.read()[harness.module].paths)
        self.rows = [row for row in rows if _concerns(row, paths)]

    def without_body(self):
        for name in sorted(set(USED.findall(self.text))):
            if not GIVEN.fullmatch(name):
                yield f"{self.harness.name}: {name} has no body here (expected: one) [no-body]"


def _concerns(row, paths):
    """What is not reached of the harness is no loss."""
    place = row["directory"] + "/" + row["file"]
    ours = str(HARNESSES) in place and row["status"] != "Dead"
    return row["status"] != "Considered valid" and (ours or place.endswith(paths))


def _lay_out(top, copied):
    """The sources that an analysis reads; those of the core without what they promise."""
    for folder in ("src/core", "include/core", "src/shell", "include/shell", HARNESSES):
        for path in sorted((top / folder).rglob("*")):
            if path.is_file():
                to = copied / path.relative_to(top)
                to.parent.mkdir(parents=True, exist_ok=True)
                text = path.read_text(encoding="utf-8")
                to.write_text(_without_promises(text) if "core" in str(folder) else text,
                              encoding="utf-8")


def _without_promises(text):
    def strip(annotation):
        if "loop " in annotation.group():
            return ""
        kept = PROMISE.sub(lambda clause: clause.group(1) or "", annotation.group())
        return re.sub(r"^/\*(?= *@)", "/*@\n", kept)
    return ANNOTATION.sub(strip, text)


def analyse(full: bool):
    """The runs on the first machine; on the second, unless in full, those that take seconds."""
    first, second = MACHINES
    pairs = [(each, first) for each in ALL]
    pairs += [(each, second) for each in ALL if full or not each.long]
    pairs += [(each, first) for each in DEEPER if full]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda pair: Run(tree.TOP, *pair), pairs))


def seen(top: Path, defect: str):
    """The complaints about a copy with a defect."""
    harness = next(each for each in ALL if each.name == DEFECTS[defect])
    return list(complaints([Run(top, harness, MACHINES[0])], whole=False))


def complaints(runs, whole=True):
    """Where what is not proven differs from the list; unless `whole`, where it is more than that,
    for an analysis of less leaves less."""
    for run in runs:
        yield from run.without_body()
    for machine in MACHINES:
        yield from _compared([run for run in runs if run.machine == machine], machine, whole)


def verdicts(runs):
    """Maps module and property to the worst verdict of these runs; unreached if none reached it."""
    rank = {"Dead": 0, "Valid": 1}
    found = {}
    for run in runs:
        for row in run.rows:
            key = (run.harness.module, row["file"], row["function"], row["property kind"],
                   row["line"], RENAMED.sub("", row["property"]))
            found[key] = max(found.get(key, "Dead"), row["status"],
                             key=lambda status: rank.get(status, 2))
    return found


def _compared(runs, machine, whole):
    reached = "Dead" if not whole or machine != MACHINES[0] else None
    found = Counter(key[1:4] for key, verdict in verdicts(runs).items()
                    if verdict not in ("Valid", reached))
    known = _known()
    for key in sorted({*found, *(known if reached is None else ())}):
        if found[key] > known[key] or (reached is None and found[key] < known[key]):
            yield (f"{' '.join(key)}: {found[key]} not proven on {machine} (expected:"
                   f" {known[key]}, by {KNOWN}) [alarm]")


def _known():
    found = Counter()
    for line in (tree.TOP / KNOWN).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            file, function, number, kind = line.partition(":")[0].split(maxsplit=3)
            found[file, function, kind] = int(number)
    return found


def show(runs):
    """Prints a line for each module; gives how many properties each has, and how many are proven,
    both on the first machine."""
    counts = {}
    first = [run for run in runs if run.machine == MACHINES[0]]
    for (module, *_), verdict in verdicts(first).items():
        row = counts.setdefault(module, {"goals": 0, "proven": 0})
        row["goals"] += 1
        row["proven"] += verdict == "Valid"
    command.say(f"{'module':26} {'goals':>6} {'proven':>6} {'left':>6}")
    for module, row in counts.items():
        left = row["goals"] - row["proven"]
        command.say(f"{module:26} {row['goals']:6} {row['proven']:6} {left:6}")
    return counts
