"""Expected failures: a file that lists which requirements fail, and with which failure codes.

    # comment
    CLOSE-3  short-answer
    CLOSE-3  rst-for-fin

A requirement and a failure code (failure.py), with blanks or tabs before, between and after;
several lines for one requirement allow any of them. A comment is a line of its own. Where a race of
the server decides, the word `flaky` follows: then the requirement may pass as well.
"""

from __future__ import annotations

import pathlib

from touchstone_conform.failure import CODES
from touchstone_conform.report.results import BLOCK, FAIL, FLAKY, PASS, REMARK, SKIP, Verdict

FLAKY_MARK = "flaky"
_HEADER = "# Requirements that are known to fail, and the codes: touchstone-conform --fix\n"


class ExpectedError(Exception):
    """The file is not as it should be: where, what is wrong, what was expected."""


def read(path: pathlib.Path, known) -> dict[str, list[str]]:
    """The failure codes that are expected, by requirement."""
    expected = {}
    # Some editors begin a file with a byte order mark.
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        requirement, code = [*line.split(None, 1), ""][:2]
        words = code.split()
        mark = [FLAKY_MARK] if words[1:] == [FLAKY_MARK] else []
        code = words[0] if mark else code
        where = f"{path}:{number}"
        if requirement not in known:
            raise ExpectedError(
                f"{where}: {requirement!r}, expected an ID of SPEC.md, or SIM-1 to 4, and a code"
            )
        if not code:
            raise ExpectedError(f"{where}: {requirement} without a code, expected 'ID code'")
        if code not in CODES:
            raise ExpectedError(
                f"{where}: {code!r} is not a failure code, expected 'ID code' as in "
                f"'{requirement} short-answer' (messages are not matched; --fix writes codes)"
            )
        expected.setdefault(requirement, []).extend([code, *mark])
    return expected


def complaints(verdicts: list[Verdict], expected: dict[str, list[str]], whole: bool) -> list[str]:
    """Where the verdicts differ from what is expected; a skipped requirement never does.

    Nor does a blocked one if what blocks it is listed, or a SHOULD that fails and is not listed.
    If only a part of the tests was run, a listed requirement may pass.
    """
    found = []
    for each in verdicts:
        codes = expected.get(each.requirement.id)
        if each.verdict == PASS and codes and FLAKY_MARK not in codes and whole:
            found.append(f"{each.requirement.id} passes, but is listed")
        elif each.verdict == BLOCK and not expected.keys() & set(each.blocked_by):
            found.append(f"{each.requirement.id} is {each.reason}, which is not listed")
        elif each.verdict in (FAIL, FLAKY) or (each.verdict == REMARK and codes):
            found += _surprises(each, codes)
    return found


def _surprises(verdict, codes):
    id = verdict.requirement.id
    if codes is None:
        return [f"{id} fails, but is not listed ({', '.join(verdict.codes)})"]
    allowed = " or ".join(dict.fromkeys(each for each in codes if each != FLAKY_MARK))
    return [
        f"{id} fails with {result.code}, expected {allowed}: {result.name}"
        for result in verdict.failures
        if result.code not in codes
    ]


def write(path: pathlib.Path, verdicts: list[Verdict], earlier: dict[str, list[str]]) -> None:
    """List what failed; ExpectedError if a MUST was not judged.

    A SHOULD need not be listed: FAULT-5 cannot be judged of a server that blocks.

    What is flaky stays listed, with the codes of before: one run cannot tell. So does what this run
    did not judge, such as SIM-3 without --simulate.
    """
    skipped = [each.requirement for each in verdicts if each.verdict == SKIP]
    missing = [each.id for each in skipped if each.level == "MUST"]
    if missing:
        raise ExpectedError(f"{path} is not written: {', '.join(missing)} was not judged")
    lines = [line for each in verdicts for line in _lines(each, earlier)]
    judged = {each.requirement.id for each in verdicts}
    for id in [each for each in earlier if each not in judged]:
        lines += _listed(id, earlier[id], FLAKY_MARK in earlier[id])
    path.write_text("".join([_HEADER, *lines]), encoding="utf-8")


def _lines(verdict, earlier):
    id, codes = verdict.requirement.id, verdict.codes
    if FLAKY_MARK in earlier.get(id, ()):
        return _listed(id, [*earlier[id], *codes], True)
    return _listed(id, codes, verdict.rounds_passed)  # flaky, or a SHOULD that is


def _listed(id, codes, flaky):
    codes = [each for each in dict.fromkeys(codes) if each != FLAKY_MARK]
    return [f"{id}  {code}{f'  {FLAKY_MARK}' if flaky else ''}\n" for code in codes]
