"""Results as JUnit, and the summary of them.

A skip needs permission: a line of ci/allowed-skips that matches the test and has the code of its
reason, `CODE: SENTENCE`. A CTest test whose output is cmocka's counts as the tests that cmocka ran.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from . import command, tree

ALLOWED = tree.TOP / "ci" / "allowed-skips"
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
NO_REASON = "no-reason: none was given"

CMOCKA_LINE = re.compile(r"^\[ +(OK|FAILED|SKIPPED|ERROR) +\] (\w+)$", re.MULTILINE)
CMOCKA_PASSED = re.compile(r"^\[ +PASSED +\] (\d+) test\(s\)\.$", re.MULTILINE)
CMOCKA_STATUS = {"OK": PASSED, "FAILED": FAILED, "ERROR": FAILED, "SKIPPED": SKIPPED}


@dataclasses.dataclass
class Summary:
    """The counts of a file, and a line for each failure and each skip."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    lines: list[str] = dataclasses.field(default_factory=list)

    @property
    def total(self) -> int:
        return self.passed + self.failed + self.skipped


def summary(path: Path, allowed: list[tuple[str, str]]) -> Summary:
    """Counts the tests of a file and judges its skips; `allowed` is of read_allowed."""
    found = Summary()
    for case in ElementTree.parse(path).iter("testcase"):
        for test, status, reason in _cmocka_results(case) or [_result(case)]:
            if status == SKIPPED and not _is_allowed(allowed, test, reason):
                status = FAILED
                found.lines.append(f"unexpected skip: {test}: {reason} (see {ALLOWED.name})")
            elif status == SKIPPED:
                found.lines.append(f"skipped: {test}: {reason}")
            elif status == FAILED:
                found.lines.append(f"failed: {test}")
            setattr(found, status, getattr(found, status) + 1)
    return found


def read_allowed(path: Path = ALLOWED) -> list[tuple[str, str]]:
    """The lines of the list: a pattern for the test, then the code of a reason."""
    allowed = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if len(words) != 2:
            raise command.CannotRun(f"{path}:{number}: expected a pattern and a code, got '{line}'")
        allowed.append((words[0], words[1]))
    return allowed


def write(cases: list[tuple[str, str, str, str]], suite: str):
    """Writes (name, status, message, seconds) of each test to the file that JUNIT names, if any."""
    path = os.environ.get("JUNIT")
    if not path:
        return
    root = ElementTree.Element("testsuite", name=suite)
    for name, status, message, seconds in cases:
        case = ElementTree.SubElement(root, "testcase", classname=suite, name=name, time=seconds)
        if status != PASSED:
            kind = {FAILED: "failure", SKIPPED: "skipped"}[status]
            ElementTree.SubElement(case, kind, message=message)
    ElementTree.ElementTree(root).write(path, encoding="utf-8")


def _is_allowed(allowed, test, reason):
    # Brackets belong to the names of parametrised tests: they are no pattern here.
    return any(reason.partition(": ")[0] == code
               and fnmatch.fnmatchcase(test, pattern.replace("[", "[[]"))
               for pattern, code in allowed)


def _cmocka_results(case):
    """(test, status, reason) of each test that a cmocka program ran; empty if it is none."""
    output = case.findtext("system-out") or ""
    program = case.get("name")
    results = {}
    for status, test in CMOCKA_LINE.findall(output):
        results[f"{program}::{test}"] = CMOCKA_STATUS[status]
    if not results:
        return []
    statuses = list(results.values())
    if case.find("failure") is not None:
        if FAILED not in statuses:
            results[f"{program}::(crashed or timed out)"] = FAILED
    elif sum(map(int, CMOCKA_PASSED.findall(output))) != statuses.count(PASSED):
        results[f"{program}::(cmocka counts otherwise)"] = FAILED
    return [(test, status, NO_REASON) for test, status in results.items()]


def _result(case):
    test = f"{case.get('classname')}::{case.get('name')}"
    skipped = case.find("skipped")
    if case.find("failure") is not None or case.find("error") is not None:
        return test, FAILED, ""
    if skipped is not None or case.get("status") in ("notrun", "disabled"):
        reason = skipped.get("message") if skipped is not None else None
        return test, SKIPPED, reason or NO_REASON
    return test, PASSED, ""
