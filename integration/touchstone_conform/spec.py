"""Reads SPEC.md, which defines what a server must do."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import re

from touchstone_conform import transform

PROFILES = ("wire", "process", "service", "reference")
SIMULATED = "simulated"  # the profile of what simulation.py judges
LEVELS = ("MUST", "SHOULD", "MAY")
WITHDRAWN = "withdrawn"  # instead of a profile: the ID stays used, and requires nothing

_HERE = pathlib.Path(__file__).parent


def shared(name: str, in_checkout: str) -> pathlib.Path:
    """A file or folder that an installed kit has inside it, and a checkout elsewhere."""
    installed = _HERE / name
    return installed if installed.exists() else _HERE.parents[1] / in_checkout


SPEC = shared("SPEC.md", "SPEC.md")
SCENARIOS = shared("scenarios", "tests/scenarios")

_TOPIC = re.compile(r"## ([A-Z]+): .*")
_HEADING = re.compile(r"### ([A-Z]+-[0-9]+) \((\w+)\)")
_NOTE = re.compile(r"(Why|Tested by|Unspecified|Source): ")
_LEVEL = re.compile(r"\b(MUST|SHOULD|MAY)\b")


class SpecError(Exception):
    """An error in SPEC.md: where, and what was expected."""


@dataclasses.dataclass(frozen=True)
class Requirement:
    """One sentence and its notes."""

    id: str
    profile: str
    level: str
    sentence: str
    notes: dict[str, str]  # by "Why", "Tested by", "Unspecified", "Source"


@dataclasses.dataclass(frozen=True)
class Spec:
    """The parts of SPEC.md that the kit needs."""

    version: str
    schema: int  # of the JSON result
    requirements: dict[str, Requirement]
    sha256: str


def read(path: pathlib.Path = SPEC) -> Spec:
    """Read a specification; SpecError if it has an error."""
    text = path.read_bytes()
    lines = text.decode("utf-8").splitlines()
    kinds = (*PROFILES, WITHDRAWN)
    requirements = {}
    given = set()
    for number, line in enumerate(lines, 1):
        if not line.startswith("### "):
            continue
        where = f"{path.name}:{number}"
        heading = _HEADING.fullmatch(line)
        if heading is None or heading[2] not in kinds:
            raise SpecError(f"{where}: {line!r}, expected '### TOPIC-N ({'|'.join(kinds)})'")
        if heading[1] in given:
            raise SpecError(f"{where}: {heading[1]} occurs twice, expected a unique ID")
        given.add(heading[1])
        if heading[2] != WITHDRAWN:
            requirements[heading[1]] = _requirement(where, heading, _section(lines[number:]))
    return Spec(
        _declared(path, lines, r"Version (\d+\.\d+\.\d+)\."),
        int(_declared(path, lines, r".*Schema of the JSON result: (\d+)\.")),
        requirements,
        hashlib.sha256(text).hexdigest(),
    )


def topics(path: pathlib.Path = SPEC) -> dict[str, str]:
    """The headings of the topics, by the first part of the IDs."""
    found = map(_TOPIC.fullmatch, path.read_text(encoding="utf-8").splitlines())
    return {each[1]: each[0].lstrip("# ") for each in found if each}


def topic_of(id: str) -> str:
    return id.partition("-")[0]


def for_transform(spec: Spec, name: str, table: bytes) -> Spec:
    """The specification of a service with another mapping: only ECHO-1 differs."""
    if table == transform.UPPER:
        return spec
    mapped = "unchanged" if table == transform.ALL_BYTES else f"as {name} maps it"
    sentence = f"A server MUST send back each byte {mapped}."
    changed = dataclasses.replace(spec.requirements["ECHO-1"], sentence=sentence)
    return dataclasses.replace(spec, requirements={**spec.requirements, "ECHO-1": changed})


def _declared(path, lines, pattern):
    for line in lines:
        found = re.match(pattern, line)
        if found:
            return found[1]
    raise SpecError(f"{path.name}: no line like {pattern!r}")


def _section(lines):
    """The paragraphs up to the next heading, each as one line; a note starts a paragraph."""
    paragraphs = [""]
    for line in lines:
        if line.startswith("#"):
            break
        if not line or _NOTE.match(line):
            paragraphs.append("")
        paragraphs[-1] = f"{paragraphs[-1]} {line}".strip()
    return [paragraph for paragraph in paragraphs if paragraph]


def _requirement(where, heading, paragraphs):
    sentence, *rest = paragraphs or [""]
    levels = _LEVEL.findall(sentence)
    if len(set(levels)) != 1:
        raise SpecError(f"{where}: {heading[1]} has {levels}, expected one of {LEVELS} in it")
    notes = {}
    for paragraph in rest:
        note = _NOTE.match(paragraph)
        if note is None:
            expected = "expected Why, Tested by, Unspecified or Source"
            raise SpecError(f"{where}: {paragraph[:40]!r}, {expected}")
        notes[note[1]] = paragraph[note.end() :]
    for note in ("Why", "Tested by"):
        if note not in notes:
            raise SpecError(f"{where}: {heading[1]} lacks a note, expected '{note}: …'")
    return Requirement(heading[1], heading[2], levels[0], sentence, notes)
