"""Runs the tests of the package in workers of their own, and collects what they say."""

from __future__ import annotations

import contextlib
import io
import os
import pathlib

import pytest

from .results import FAILED, PASSED, SKIPPED, Result
from .server import ENDED

SUITE = pathlib.Path(__file__).parent / "suite"
_PLUGINS = ("xdist", "timeout", "touchstone_conform.plugin")


class KitFailed(Exception):
    """The tests could not be run: no verdict on any server follows. Holds what pytest said."""


def run(arguments: list[str], jobs: int, selection=(), progress=None) -> list[Result]:
    """One result for each test; `selection` names files or tests of the suite."""
    collector = _Collector(progress)
    paths = [str(SUITE / each) for each in selection] or [str(SUITE)]
    # The same tests, whatever pytest's settings and plugins are where the command was given.
    surroundings = {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "",
        "PYTEST_PLUGINS": "",
    }
    fixed = ["-c", str(SUITE / "pytest.ini"), "-p", "no:cacheprovider", "--tb=short", "-q"]
    plugins = [word for each in _PLUGINS for word in ("-p", each)]
    workers = ["-n", str(jobs), "--max-worker-restart", "0"]
    output = io.StringIO()
    with _environment(surroundings), contextlib.redirect_stdout(output):
        status = pytest.main([*fixed, *plugins, *workers, *arguments, *paths], [collector])
    if status == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    tested = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
    if status not in tested or collector.lost:
        raise KitFailed(output.getvalue())
    return sorted(collector.results.values(), key=_plainest_first)


def _plainest_first(result):
    """Tests before scenarios: they say more of what was due."""
    return result.name.startswith("test_scenarios.py"), result.name


@contextlib.contextmanager
def _environment(changes):
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Collector:
    """A plugin of pytest's that listens. A test has up to three reports."""

    def __init__(self, progress):
        self.results: dict[str, Result] = {}
        self.lost = False  # a worker died, or a test could not be read
        self._total = self._done = 0
        self._progress = progress

    def pytest_collectreport(self, report):
        self.lost |= report.failed

    def pytest_xdist_node_collection_finished(self, ids):
        self._total = len(ids)  # the same for every worker

    def pytest_runtest_logreport(self, report):
        if not hasattr(report, "requirements"):
            self.lost = True
            return
        result = self.results.setdefault(
            report.nodeid, Result(report.nodeid, report.requirements, PASSED)
        )
        result.seconds += report.duration
        if report.failed:
            _add_failure(result, report)
        elif report.skipped and result.outcome == PASSED:
            result.outcome, result.message = SKIPPED, _reason(report)
        if report.when == "teardown" and self._progress:
            self._done += 1
            self._progress(self._done, self._total)


def _add_failure(result, report):
    evidence = report.evidence
    if result.outcome == FAILED:  # the end of the test failed, too
        parts = [result.message, evidence["message"]]
        if ENDED.match(evidence["message"]):  # what its clients saw follows from that
            parts.reverse()
        result.message = "\n".join(parts)
    else:
        result.message = evidence["message"]
    result.outcome = FAILED
    result.timeline, result.scenario = evidence["timeline"], evidence["scenario"]
    result.unsayable = evidence["unsayable"]
    result.server = "\n".join(text for name, text in report.sections if name.startswith("server"))


def _reason(report):
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    prefix = "Skipped: "
    return text[len(prefix) :] if text.startswith(prefix) else text
