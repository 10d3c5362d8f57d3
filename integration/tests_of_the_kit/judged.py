"""Runs the tests on a server that is known to be broken, or known not to be."""

import pathlib
import re
import shlex

import pytest

from touchstone_conform import judging
from touchstone_conform.exchange import lines_of
from touchstone_conform.results import FAILED, SKIPPED

INTEGRATION = pathlib.Path(__file__).parent.parent
IMPATIENCE_S = 1.5  # a broken server keeps its clients waiting


def run_tests(command, selection, patience=5):
    """Run tests on a server; give their results by name."""
    arguments = ["--patience", str(patience), "--server-cmd", shlex.join(command)]
    return {each.name: each for each in judging.run(arguments, 1, selection)}


def expect_failures(command, named):
    """Each of the named tests fails on this server for the reason that is given as a pattern."""
    results = run_tests(command, list(named), IMPATIENCE_S)
    skipped = [each for each in results.values() if each.outcome == SKIPPED]
    for name, reason in named.items():
        if results[name] not in skipped:
            assert results[name].outcome == FAILED, f"{name} notices nothing"
            assert re.search(reason, said_by(results[name])), said_by(results[name])
    for each in skipped:
        pytest.skip(f"{each.name}: {each.message}")


def said_by(result):
    """All that a failed test says."""
    return "\n".join([result.message, *lines_of(result.timeline), result.server])
