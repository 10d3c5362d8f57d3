"""The verdict as JSON and as JUnit XML.

report.json, schema 3:

    schema          3
    kit             version of this package
    specification   version and sha256 of SPEC.md
    server          command (a list of arguments) or address; title
    transform       upper, identity or MODULE:FUNCTION
    options         arguments of the command line that say how the server was judged
    host            system, release, machine, python
    began           date and time, UTC
    seconds         duration of the whole run
    rounds          number of rounds
    conforms        true or false
    complete        false if the run was interrupted: the results so far
    profiles        by name: verdict ("conforms", "conforms, with remarks", "does not conform",
                    "not judged") and the counts
    requirements    in the order of SPEC.md, SIM last: id, profile, level, sentence, notes,
                    verdict ("pass", "fail", "flaky", "remark", "blocked", "skip"), reason (of a
                    skip), blocked_by (IDs that fail instead), rounds_passed, and tests: name,
                    round, outcome ("passed", "failed", "blocked", "skipped"), code (of a failure or
                    a skip; PORTING.md lists them; of kit-error, skipped), seconds, message, purpose
                    (of a failed test), timeline, scenario (file) and scenario_text, or
                    inexpressible (what no scenario can express), replay (a command, where it is not
                    one of the kit), label
    expected        IDs in the file of expected failures
    surprises       where the outcome differs from that file
"""

from __future__ import annotations

import json
import pathlib
import re
import xml.etree.ElementTree as ElementTree

from touchstone_conform.failure import KIT_ERROR
from touchstone_conform.report.results import (
    BLOCKED,
    FAILED,
    SKIPPED,
    Result,
    Verdict,
    by_profile,
)
from touchstone_conform.timeline import lines_of

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd]")


def as_data(about: dict, verdicts: list[Verdict]) -> dict:
    """The whole result as plain data; `about` has everything but profiles and requirements."""
    return {
        **about,
        "profiles": {each.profile: _profile(each) for each in by_profile(verdicts)},
        "requirements": [_requirement(each) for each in verdicts],
    }


def _profile(profile):
    return {"verdict": profile.verdict, **profile.counts}


def _requirement(verdict):
    requirement = verdict.requirement
    return {
        "id": requirement.id,
        "profile": requirement.profile,
        "level": requirement.level,
        "sentence": requirement.sentence,
        "notes": requirement.notes,
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "blocked_by": verdict.blocked_by,
        "rounds_passed": verdict.rounds_passed,
        "tests": [_test(result) for result in verdict.results],
    }


def _test(result: Result):
    return {
        "name": result.name,
        "round": result.round,
        "outcome": result.outcome,
        "code": result.code,
        "seconds": round(result.seconds, 3),
        "message": result.message,
        "purpose": result.purpose,
        "timeline": result.timeline,
        "scenario": pathlib.Path(result.scenario_path).name,
        "scenario_text": result.scenario or "",
        "inexpressible": result.inexpressible,
        "replay": result.replay,
        "label": result.label,
    }


def write_json(path: pathlib.Path, data: dict) -> None:
    text = json.dumps(data, indent=1, ensure_ascii=True)
    path.write_text(text + "\n", encoding="utf-8")


def write_junit(path: pathlib.Path, rounds: list[list[Result]]) -> None:
    """One suite for each round, one case for each test."""
    suites = ElementTree.Element("testsuites", name="touchstone-conform")
    for results in rounds:
        suite = ElementTree.SubElement(suites, "testsuite", name="conformance")
        for key, count in _counts(results).items():
            suite.set(key, count)
        for result in results:
            _add_case(suite, result)
    ElementTree.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)


def _counts(results):
    outcomes = [result.outcome for result in results]
    errors = [result.code for result in results].count(KIT_ERROR)
    return {
        "tests": str(len(results)),
        "failures": str(outcomes.count(FAILED)),
        "errors": str(errors),
        "skipped": str(outcomes.count(SKIPPED) + outcomes.count(BLOCKED) - errors),
        "time": f"{sum(result.seconds for result in results):.3f}",
    }


def _add_case(suite, result):
    path, _, name = result.name.partition("::")
    module = path.removesuffix(".py").replace("/", ".")
    *classes, name = _split(name)
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=".".join([module, *classes]),
        name=_clean(name),
        time=f"{result.seconds:.3f}",
    )
    properties = ElementTree.SubElement(case, "properties")
    for each in result.requirements:
        ElementTree.SubElement(properties, "property", name="requirement", value=each)
    if result.outcome == FAILED:
        first = result.message.partition("\n")[0]
        failure = ElementTree.SubElement(
            case, "failure", type=result.code, message=_clean(first)
        )
        lines = [result.message, *lines_of(result.timeline), result.server]
        failure.text = _clean("\n".join(lines))
    elif result.code == KIT_ERROR:
        ElementTree.SubElement(case, "error", type=result.code, message=_clean(result.message))
    elif result.outcome in (BLOCKED, SKIPPED):
        ElementTree.SubElement(case, "skipped", message=_clean(result.message))


def _split(name):
    """Class::test[parameter]: the parameter may have colons of its own."""
    plain, bracket, parameter = name.partition("[")
    *classes, test = plain.split("::")
    return [*classes, test + bracket + parameter]


def _clean(text):
    return _NOT_XML.sub("?", text)
