"""Runs the tests of the package in worker processes, and collects their results."""

from __future__ import annotations

import contextlib
import io
import os
import pathlib

import pytest

from touchstone_conform.failure import CAUSES, KIT_ERROR
from touchstone_conform.harness.owned import become_reaper
from touchstone_conform.harness.server import end_what_is_left
from touchstone_conform.report.results import BLOCKED, FAILED, PASSED, SKIPPED, Result
from touchstone_conform.timeline import visible

SUITE = pathlib.Path(__file__).parents[1] / "suite"
_PLUGINS = ("xdist", "timeout", "touchstone_conform.plugin")


class KitFailed(Exception):
    """The tests could not be run: no verdict on any server follows. Holds the output of pytest."""


class Interrupted(Exception):
    """Ctrl-C, or a signal to end, came; `results` has those of the tests that were done."""

    def __init__(self, results: list[Result]):
        super().__init__()
        self.results = results


def run(arguments: list[str], jobs: int, selection=(), progress=None) -> list[Result]:
    """One result for each test; `selection` names files or tests of the suite."""
    collector = _Collector(progress)
    paths = [str(SUITE / each) for each in selection] or [str(SUITE)]
    # The same tests, independent of settings and plugins of pytest where the command was given.
    environment = {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "",
        "PYTEST_PLUGINS": "",
    }
    fixed = ["-c", str(SUITE / "pytest.ini"), "-p", "no:cacheprovider", "--tb=short", "-q"]
    plugins = [option for each in _PLUGINS for option in ("-p", each)]
    workers = ["-n", str(jobs), "--max-worker-restart", "0"]
    # A worker looks for modules where it is started, until it has the path of this process.
    directory = ["--touchstone-directory", os.getcwd()]
    output = io.StringIO()
    become_reaper()
    try:
        with _environment(environment), _started_in(SUITE), contextlib.redirect_stdout(output):
            options = [*fixed, *plugins, *workers, *directory, *arguments]
            status = pytest.main([*options, *paths], [collector])
    finally:
        end_what_is_left()  # by a worker that was killed
    results = sorted(collector.results.values(), key=_tests_first)
    if collector.interrupted:
        raise Interrupted(results)
    tested = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
    if status not in tested or collector.lost:
        raise KitFailed(output.getvalue())
    return results


def _tests_first(result):
    """Tests before scenarios: their messages are more specific."""
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


@contextlib.contextmanager
def _started_in(folder):
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


class _Collector:
    """A plugin of pytest that receives the reports; a test has up to three."""

    def __init__(self, progress):
        self.results: dict[str, Result] = {}
        self.lost = False  # a worker died, or a test could not be read
        self.interrupted = False
        self._total = self._done = 0
        self._progress = progress

    def pytest_keyboard_interrupt(self):
        self.interrupted = True

    def pytest_collectreport(self, report):
        self.lost |= report.failed

    def pytest_xdist_node_collection_finished(self, ids):
        self._total = len(ids)  # the same for every worker

    def pytest_runtest_logreport(self, report):
        if not hasattr(report, "requirements"):
            self.lost = True
            return
        result = self.results.setdefault(
            report.nodeid,
            Result(report.nodeid, report.requirements, PASSED, foundation=report.foundation),
        )
        result.seconds += report.duration
        result.leaned_on = report.leaned_on
        if report.failed and report.evidence["code"] == KIT_ERROR:
            _add_kit_error(result, report)
        elif report.failed:
            _add_failure(result, report)
        elif report.skipped and result.outcome == PASSED:
            result.outcome = BLOCKED if report.blocked_by else SKIPPED
            result.message, result.blocked_by = _reason(report), report.blocked_by
            result.code = report.skip_code
        if report.when == "teardown" and self._progress:
            self._done += 1
            self._progress(self._done, self._total)


def _add_kit_error(result, report):
    """The test gives no verdict on the server, unless it has failed or fails yet."""
    message = f"the kit itself failed: {visible(report.evidence['message'])}"
    if result.outcome == FAILED:
        result.message += f"\n{message}"
        return
    result.outcome, result.code, result.message = SKIPPED, KIT_ERROR, message
    result.purpose, result.timeline = report.evidence["purpose"], report.evidence["timeline"]


def _add_failure(result, report):
    evidence = {**report.evidence, "message": visible(report.evidence["message"])}
    if result.outcome != FAILED:
        result.code, result.message = evidence["code"], evidence["message"]
    elif evidence["code"] in CAUSES:  # the teardown failed too, and explains what clients saw
        result.code = evidence["code"]
        result.message = f"{evidence['message']}\n{result.message}"
    else:
        result.message += f"\n{evidence['message']}"
    result.outcome, result.purpose = FAILED, evidence["purpose"]
    result.timeline, result.scenario = evidence["timeline"], evidence["scenario"]
    result.inexpressible, result.shortened = evidence["inexpressible"], evidence["shortened"]
    texts = [text for name, text in report.sections if name.startswith("server")]
    result.server = visible("\n".join(texts))


def _reason(report):
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    prefix = "Skipped: "
    return visible(text[len(prefix) :] if text.startswith(prefix) else text)
