"""The page: results side by side, with a row for each requirement and a column for each server."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import shlex

import jinja2
import markupsafe

from touchstone_conform import spec
from touchstone_conform.failure import CODES
from touchstone_conform.report import again, picture
from touchstone_conform.report.results import (
    BLOCK,
    FAIL,
    FAILED,
    FLAKY,
    PASS,
    REMARK,
    SKIP,
    VERDICTS,
)
from touchstone_conform.timeline import lines_of

_RESULT = "report.json"
_FAILING = (FAIL, FLAKY, REMARK)
_NOT_JUDGED = "none"
_MEANINGS = {
    PASS: "pass",
    FAIL: "fail",
    FLAKY: "flaky",
    REMARK: "remark: a SHOULD fails",
    BLOCK: "blocked by a failure",
    SKIP: "skipped",
    _NOT_JUDGED: "not judged",
}
_SYMBOLS = {
    PASS: "✓",
    FAIL: "✗",
    FLAKY: "≈",
    REMARK: "!",
    BLOCK: "○",
    SKIP: "–",
    _NOT_JUDGED: "·",
}
_NEEDED = {"server", "options", "specification", "host", "profiles", "requirements", "expected"}
# How many failed tests of a cell are shown with their timelines; the others with their messages.
_TESTS_SHOWN = 3


class PageError(Exception):
    """A file that cannot be shown: which, what is wrong, what was expected."""


@dataclasses.dataclass
class Column:
    """One server and its result, as report.json has it."""

    name: str
    data: dict

    @property
    def title(self) -> str:
        """Its version may be part of it; the name is of its folder, and unique on a page."""
        return self.data["server"].get("title") or self.name

    @property
    def day(self) -> str:
        """On which it was judged."""
        return self.data["began"][:10]

    @property
    def server(self) -> str:
        return self.data["server"]["address"] or shlex.join(self.data["server"]["command"])

    @property
    def verdict(self) -> str:
        """The headline."""
        if not self.data["conforms"]:
            return "Does not conform"
        return "Conforms, with remarks" if self.counts[REMARK] else "Conforms"

    def again(self, *options: str) -> str:
        """The command that judges this server again."""
        return again.command(self.data["server"], self.data["options"], *options)

    @functools.cached_property
    def requirements(self) -> dict[str, dict]:
        return {each["id"]: each for each in self.data["requirements"]}

    @property
    def counts(self) -> dict[str, int]:
        verdicts = [each["verdict"] for each in self.requirements.values()]
        return {each: verdicts.count(each) for each in VERDICTS}


@dataclasses.dataclass
class Cell:
    """The verdict on one requirement for one server."""

    column: Column
    id: str
    requirement: dict | None

    @property
    def word(self) -> str:
        return self.requirement["verdict"] if self.requirement else _NOT_JUDGED

    @property
    def meaning(self) -> str:
        if self.word == BLOCK:
            return self.requirement["reason"]
        return _MEANINGS[self.word] + (", as expected" if self.expected else "")

    @property
    def expected(self) -> bool:
        """Whether it fails, and is listed in the file of expected failures."""
        return self.fails and self.id in self.column.data["expected"]

    @property
    def fails(self) -> bool:
        return self.word in _FAILING

    @property
    def anchor(self) -> str:
        return f"{self.id}:{self.column.name}".replace(" ", "-")

    @property
    def failed(self) -> list[dict]:
        """Each test that failed, once."""
        tests = {each["name"]: each for each in self.tests if each["outcome"] == FAILED}
        return list(tests.values())

    @property
    def shown(self) -> list[dict]:
        return self.failed[:_TESTS_SHOWN]

    @property
    def tests(self) -> list[dict]:
        return self.requirement["tests"] if self.requirement else []

    @property
    def again(self) -> str:
        return self.column.again(*again.only(self.id, self.requirement["profile"]))

    def replay(self, test: dict) -> str:
        return test["replay"] or self.column.again("--replay", test["scenario"])


@dataclasses.dataclass
class Row:
    """A requirement, with the sentence of the first result that has it."""

    requirement: dict
    cells: list[Cell]

    @property
    def fails(self) -> bool:
        return any(each.fails for each in self.cells)


def write(path: pathlib.Path, columns: list[Column]) -> None:
    """One file that needs no other."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("touchstone_conform.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    rows = _rows(columns)
    levels = [each for each in spec.LEVELS if each in {row.requirement["level"] for row in rows}]
    text = environment.get_template("page.html").render(
        columns=columns,
        topics=_by_topic(rows),
        rows=rows,
        levels=levels,
        profiles=dict.fromkeys(name for each in columns for name in each.data["profiles"]),
        symbols=_SYMBOLS,
        meanings=_MEANINGS,
        picture=lambda timeline: markupsafe.Markup(picture.svg(timeline)),
        lines_of=lines_of,
        codes=CODES,
    )
    path.write_text(text, encoding="utf-8")


def _rows(columns) -> list[Row]:
    """In the order of SPEC.md, then what SPEC.md does not have, such as scenarios."""
    known = list(spec.read().requirements)
    found = {}
    for column in columns:
        for id, requirement in column.requirements.items():
            found.setdefault(id, requirement)
    ids = [id for id in known if id in found] + [id for id in found if id not in known]
    return [
        Row(found[id], [Cell(each, id, each.requirements.get(id)) for each in columns])
        for id in ids
    ]


def _by_topic(rows) -> dict[str, list[Row]]:
    titles = spec.topics()
    topics = {}
    for row in rows:
        title = titles.get(spec.topic_of(row.requirement["id"]), row.requirement["profile"])
        topics.setdefault(title, []).append(row)
    return topics


def read(path: pathlib.Path) -> Column:
    """A result; PageError if the file has none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PageError(str(error)) from error
    except ValueError:
        data = None
    schema = spec.read().schema
    if not isinstance(data, dict) or data.get("schema") != schema or not _NEEDED <= data.keys():
        raise PageError(f"{path}: expected a result of --report with schema {schema}")
    return Column(path.resolve().parent.name if path.name == _RESULT else path.stem, data)
