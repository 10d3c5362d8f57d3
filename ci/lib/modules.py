"""src/modules.txt, the one list of modules: its first lines say what stands in it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from . import command, tree

FILE = tree.TOP / "src" / "modules.txt"
LIBRARIES = ("core", "shell", "system")
SWITCHES = ("epoll", "kqueue", "program", "proof", "simulation")


@dataclasses.dataclass
class Module:
    """A part of src that has figures of its own."""

    name: str  # "core/token", "system"
    sources: dict[str, set[str]]  # path: which of epoll, kqueue and program stand on its line
    proof: bool = False
    simulation: bool = False
    mutation: int | None = None  # per cent of its mutants that must be killed; 0: no floor
    judge: list[str] = dataclasses.field(default_factory=list)

    @property
    def library(self) -> str:
        return self.name.partition("/")[0]

    @property
    def short(self) -> str:
        """The name that its unit tests and its corpus have."""
        return self.name.rpartition("/")[2]

    @property
    def paths(self) -> list[str]:
        """Its sources, on whatever system."""
        return list(self.sources)

    def has_test(self, test: str) -> bool:
        """Whether a unit test, as CTest names it, is this module's."""
        return test == self.short or test.startswith(f"{self.short}_")


def read(path: Path = FILE) -> dict[str, Module]:
    """The modules by name, in the order of the list."""
    found: dict[str, Module] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            _add(found, line.split(), f"{path.name}:{number}")
    return found


def of_path(path: str) -> Module | None:
    """The module that a source belongs to."""
    return next((each for each in read().values() if path in each.sources), None)


def _add(found, fields, where):
    name, *rest = fields
    library = name.partition("/")[0]
    if library not in LIBRARIES:
        raise command.CannotRun(f"{where}: library {library}, expected {', '.join(LIBRARIES)}")
    module = found.setdefault(name, Module(name, {}))
    sources = [each for each in rest if re.fullmatch(r"\w+\.c", each)]
    if not sources:
        raise command.CannotRun(f"{where}: no sources, expected at least one name of a .c file")
    gates = set()
    for gate in rest[len(sources) :]:
        gates |= _gate(module, gate, where)
    for source in sources:
        module.sources[f"src/{library}/{source}"] = gates


def _gate(module, gate, where):
    """Takes a gate of the module down; gives those that are of the line's sources alone."""
    key, _, value = gate.partition("=")
    if key == "mutation" and (not value or value.isdecimal()):
        module.mutation = int(value or 0)
    elif key == "judge" and value:
        module.judge.append(value)
    elif gate in ("proof", "simulation"):
        setattr(module, gate, True)
    elif gate in SWITCHES:
        return {gate}
    else:
        expected = f"{', '.join(SWITCHES)}, mutation[=N] or judge=IDS"
        raise command.CannotRun(f"{where}: gate {gate}, expected {expected}")
    return set()
