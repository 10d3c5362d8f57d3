"""Failures that are known: a file that says which requirements fail, and how.

    # comment
    CLOSE-3  client: * of * bytes came, then FIN*
    FLOW-6   *

An ID, blanks, and what a failing test of it says in its first line; `*` is anything. Several lines
for one requirement allow any of them.
"""

from __future__ import annotations

import pathlib
import re

from .results import FAIL, FLAKY, PASS, SKIP, Verdict

_HEADER = (
    "# Requirements that are known to fail, and what their tests say: touchstone-conform --fix\n"
)


class ExpectedError(Exception):
    """The file is not as it should be: where, what is wrong, what was expected."""


def read(path: pathlib.Path, known) -> dict[str, list[str]]:
    """For each requirement that may fail what its tests may say."""
    expected = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        requirement, _, said = line.strip().partition(" ")
        if requirement not in known:
            raise ExpectedError(
                f"{path}:{number}: {requirement!r}, expected an ID of SPEC.md, then what is said"
            )
        if not said.strip():
            raise ExpectedError(f"{path}:{number}: {requirement} alone, expected what is said too")
        expected.setdefault(requirement, []).append(said.strip())
    return expected


def complaints(verdicts: list[Verdict], expected: dict[str, list[str]], whole: bool) -> list[str]:
    """Where the verdicts are other than expected; a skipped requirement is neither.

    Unless the `whole` of its tests were run, one that passes may still fail.
    """
    found = []
    for each in verdicts:
        known = expected.get(each.requirement.id)
        if each.verdict == PASS and known and whole:
            found.append(f"{each.requirement.id} passes, but is listed")
        elif each.verdict in (FAIL, FLAKY):
            found += _surprises(each, known)
    return found


def _surprises(verdict, known):
    if known is None:
        return [f"{verdict.requirement.id} fails, and is not listed"]
    return [
        f"{verdict.requirement.id} fails in another way: {result.name}: {_first_line(result)}"
        for result in verdict.failures
        if not any(_matches(pattern, _first_line(result)) for pattern in known)
    ]


def write(path: pathlib.Path, verdicts: list[Verdict]) -> None:
    """List what failed; ExpectedError if something was not judged."""
    missing = [each.requirement.id for each in verdicts if each.verdict == SKIP]
    if missing:
        raise ExpectedError(f"{path} stays as it is: {', '.join(missing)} was not judged")
    lines = [
        f"{each.requirement.id}  {said}\n"
        for each in verdicts
        for said in dict.fromkeys(_pattern_for(result) for result in each.failures)
    ]
    path.write_text("".join([_HEADER, *lines]), encoding="utf-8")


def _first_line(result):
    return result.message.partition("\n")[0]


def _pattern_for(result):
    """Without what differs from run to run: bytes and numbers."""
    said = re.sub(r"""b(['"]).*?\1( …)?""", "*", _first_line(result))
    return re.sub(r"[0-9][0-9.*]*", "*", said)


def _matches(pattern, said):
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), said)
