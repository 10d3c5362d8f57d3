"""Runs the tests on a server that is known to be broken, or known not to be."""

import pathlib
import re
import shlex
import subprocess
import sys
import typing
import xml.etree.ElementTree

import pytest

INTEGRATION = pathlib.Path(__file__).parent.parent
IMPATIENCE = 0.3  # a broken server keeps its clients waiting


class Ended(typing.NamedTuple):
    """What each test that failed, or was skipped, said; and all that pytest printed."""

    failures: dict
    skips: dict
    output: str


def run_tests(tmp_path, command, selection, time_scale=1.0):
    """Run tests on a server."""
    report = tmp_path / "report.xml"
    arguments = ["-p", "no:cacheprovider", "-p", "no:xdist", "-q", "--junitxml", str(report)]
    arguments += ["-o", "junit_family=xunit2", "--tb=short"]
    arguments += ["--time-scale", str(time_scale), "--server-cmd", shlex.join(command)]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, *selection],
        cwd=INTEGRATION,
        capture_output=True,
        text=True,
    )
    assert report.exists(), ended.stdout + ended.stderr
    outcomes = outcomes_in(report)
    failures = {**outcomes["failure"], **outcomes["error"]}
    for name in outcomes["failure"].keys() & outcomes["error"].keys():
        failures[name] = outcomes["failure"][name] + outcomes["error"][name]
    return Ended(failures, outcomes["skipped"], ended.stdout)


def outcomes_in(report):
    """For each kind of outcome but success: what the tests said, by their names."""
    outcomes = {"failure": {}, "error": {}, "skipped": {}}
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        path = case.get("classname").replace("tests.", "", 1).split(".")
        name = "::".join([path[0] + ".py", *path[1:], case.get("name")])
        for outcome in case:
            if outcome.tag in outcomes:
                said = f"{outcome.get('message') or ''}\n{outcome.text or ''}"
                outcomes[outcome.tag][name] = outcomes[outcome.tag].get(name, "") + said
    return outcomes


def expect_failures(tmp_path, command, named):
    """Each of the named tests fails on this server for the reason that is given as a pattern."""
    ended = run_tests(tmp_path, command, [f"tests/{name}" for name in named], IMPATIENCE)
    for name in named.keys() - ended.skips.keys():
        assert name in ended.failures, f"{name} notices nothing; {ended.output}"
        assert re.search(named[name], ended.failures[name]), ended.failures[name]
    for name, reason in ended.skips.items():
        pytest.skip(f"{name}: {reason.splitlines()[0]}")
