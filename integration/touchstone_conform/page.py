"""The page: results side by side, a requirement a row, a server a column.

    touchstone-conform report [options] RESULT.json...

A result is the report.json that --report wrote; its folder's name is the server's name on the page,
or the file's own name if that is another. The page is one file that needs no other.

Exit status: 0 the page was written, 2 bad usage.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import pathlib
import re
import shlex

import jinja2
import markupsafe

from . import picture, spec
from .exchange import lines_of
from .results import FAIL, FAILED, FLAKY, PASS, SKIP

_RESULT = "report.json"
_FAILING = (FAIL, FLAKY)
_NOT_ASKED = "none"
_MEANINGS = {
    PASS: "pass",
    FAIL: "fail",
    FLAKY: "flaky",
    SKIP: "skipped",
    _NOT_ASKED: "not judged",
}
_NEEDED = {"server", "options", "specification", "host", "profiles", "requirements", "expected"}
# Of a cell's failed tests so many are shown with all that happened, the others with what they said.
_TESTS_SHOWN = 3
# What was due, where a failed test says so.
_DUE = (
    re.compile(r"differ is (byte \d+: )expected (.+), received "),
    re.compile(r", then .+ where ()(.+) was due"),
)


class PageError(Exception):
    """What cannot be shown: which file, what is wrong, what was expected."""


@dataclasses.dataclass
class Column:
    """One server and its result, as report.json has it."""

    name: str
    data: dict

    @property
    def server(self) -> str:
        return self.data["server"]["address"] or shlex.join(self.data["server"]["command"])

    def again(self, *options: str) -> str:
        """The command that judges this server once more, in part."""
        address, command = self.data["server"]["address"], self.data["server"]["command"]
        whom = ["--address", address] if address else ["--", *command]
        return shlex.join(["touchstone-conform", *self.data["options"], *options, *whom])

    @functools.cached_property
    def requirements(self) -> dict[str, dict]:
        return {each["id"]: each for each in self.data["requirements"]}

    @property
    def counts(self) -> dict[str, int]:
        words = [each["verdict"] for each in self.requirements.values()]
        return {word: words.count(word) for word in (FAIL, FLAKY, PASS, SKIP)}


@dataclasses.dataclass
class Cell:
    """What a requirement came to for one server."""

    column: Column
    id: str
    requirement: dict | None

    @property
    def word(self) -> str:
        return self.requirement["verdict"] if self.requirement else _NOT_ASKED

    @property
    def meaning(self) -> str:
        if self.fails and self.id in self.column.data["expected"]:
            return f"{_MEANINGS[self.word]}, as listed"
        return _MEANINGS[self.word]

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

    def expected(self, test: dict) -> str:
        """What was due: in the test's own words, or else in those of the requirement."""
        said = test["message"].partition("\n")[0]
        found = next(filter(None, (each.search(said) for each in _DUE)), None)
        return found[1] + found[2] if found else self.requirement["sentence"]

    @property
    def again(self) -> str:
        return self.column.again("--only", self.id)

    def replay(self, test: dict) -> str:
        return self.column.again("--replay", test["scenario"])


@dataclasses.dataclass
class Row:
    """A requirement, as the first result that has it words it."""

    requirement: dict
    cells: list[Cell]

    @property
    def fails(self) -> bool:
        return any(each.fails for each in self.cells)


def write(path: pathlib.Path, columns: list[Column]) -> None:
    """One file that needs no other."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("touchstone_conform", "."),
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
        symbols={PASS: "✓", FAIL: "✗", FLAKY: "≈", SKIP: "–", _NOT_ASKED: "·"},
        meanings=_MEANINGS,
        picture=lambda timeline: markupsafe.Markup(picture.svg(timeline)),
        lines_of=lines_of,
    )
    path.write_text(text, encoding="utf-8")


def _rows(columns) -> list[Row]:
    """In the order of SPEC.md; what that does not have, such as scenarios, behind it."""
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


# The command.


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
        raise PageError(f"{path}: expected a result of schema {schema}, as --report writes it")
    return Column(path.resolve().parent.name if path.name == _RESULT else path.stem, data)


def main(words: list[str]) -> int:
    """touchstone-conform report: gives its exit status."""
    parser = _parser()
    options = parser.parse_args(words)
    try:
        columns = [read(each) for each in options.results]
        _check_names(options.results, columns)
        write(options.output, columns)
    except (PageError, OSError) as error:
        parser.error(str(error))
    print(f"report: {options.output}")
    return 0


def _check_names(paths, columns):
    seen = {}
    for path, column in zip(paths, columns):
        if column.name in seen:
            raise PageError(f"{path} and {seen[column.name]}: expected folders of two names")
        seen[column.name] = path


def _parser():
    parser = argparse.ArgumentParser(
        prog="touchstone-conform report",
        description=__doc__.partition("\n\n")[0],
        epilog=__doc__.partition("\n\n")[2].partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("results", nargs="+", type=pathlib.Path, metavar="RESULT.json")
    parser.add_argument(
        "-o",
        "--output",
        type=pathlib.Path,
        default=pathlib.Path("report.html"),
        metavar="PAGE",
        help="where the page goes (default: report.html)",
    )
    return parser
