"""Runs tests of the kit against one server."""

import pathlib
import shlex
import sys

import pytest
from touchstone_conform.cli import judging
from touchstone_conform.report.results import BLOCKED, FAILED, SKIPPED
from touchstone_conform.timeline import lines_of

INTEGRATION = pathlib.Path(__file__).parents[2]
ROOT = INTEGRATION.parent
SERVER = INTEGRATION / "broken" / "server.py"
SHORT_TIMEOUT_S = 1.5  # many tests of a broken server wait until their timeout

# For judge, kill_matrix, and what plants defects.
sys.path[:0] = [str(INTEGRATION), str(INTEGRATION / "broken"), str(INTEGRATION.parent / "ci")]


def server_command(defect=None):
    command = [sys.executable, str(SERVER), "--port", "{port}"]
    return [*command, "--defect", defect] if defect else command


def run_tests(command, selection, *options):
    """Run tests against a server; return the results by name."""
    arguments = [*options, "--touchstone-server-cmd", shlex.join(command)]
    return {each.name: each for each in judging.run(arguments, 1, selection)}


def expect_failures(command, expected):
    """Each test in `expected` fails with its code, or with one of several."""
    short = "--touchstone-client-timeout", str(SHORT_TIMEOUT_S)
    results = run_tests(command, list(expected), *short)
    for name in [name for name, each in results.items() if each.outcome == BLOCKED]:
        results.update(run_tests(command, [name], *short))  # alone, it has nothing to depend on
    for name, codes in expected.items():
        result = results[name]
        if result.outcome == SKIPPED:
            continue
        assert result.outcome == FAILED, f"{name} does not fail"
        codes = [codes] if isinstance(codes, str) else codes
        assert result.code in codes, f"{result.code}, expected {codes}: {output_of(result)}"
    for each in results.values():
        if each.outcome == SKIPPED:
            pytest.skip(f"{each.message}: {each.name}")


def output_of(result):
    """The message of a failed test, with its evidence."""
    return "\n".join([result.message, *lines_of(result.timeline), result.server])
