"""Runs the tests on a server that is known to be broken, or known not to be."""

import _thread
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import threading

import pytest
from kills import DISREGARDED, plain

from touchstone_conform import judging, spec
from touchstone_conform.exchange import lines_of
from touchstone_conform.results import FAILED, SKIPPED

INTEGRATION = pathlib.Path(__file__).parents[2]
SERVER = INTEGRATION / "broken" / "server.py"
IMPATIENCE_S = 1.5  # a broken server keeps its clients waiting
PATIENCE_S = 5
LIMIT_S = 500


class TooSlow(Exception):
    """A server was not judged in time."""


def server_command(defect=None):
    command = [sys.executable, str(SERVER), "--port", "{port}"]
    return [*command, "--defect", defect] if defect else command


def defects():
    """What the server knows to be broken by, in its order."""
    listed = subprocess.run(
        [sys.executable, str(SERVER), "--list-defects"], capture_output=True, text=True, check=True
    )
    return listed.stdout.split()


def run_tests(command, selection, patience=PATIENCE_S):
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


def failing(command, expected=(), jobs=1, limit_s=LIMIT_S):
    """The requirements whose tests fail on this server, and those of which no test was run.

    On a busy machine the impatient see failures that are none: one that is not expected has to be
    seen again, with the usual patience.
    """
    judged = [
        each.id
        for each in spec.read().requirements.values()
        if each.profile != "reference" and each.id not in DISREGARDED
    ]

    def run():
        failed, skipped = verdicts(command, judged, IMPATIENCE_S, jobs)
        doubtful = failed - set(map(plain, expected))
        if doubtful:
            failed -= doubtful - verdicts(command, doubtful, PATIENCE_S, jobs)[0]
        return failed, skipped

    return within(limit_s, run)


def verdicts(command, judged, patience, jobs):
    """Of these requirements those of which a test fails, and those of which no test was run."""
    arguments = ["--patience", str(patience), "--server-cmd", shlex.join(command)]
    arguments += ["--judge", ",".join(judged), "-m", "wire or process"]
    results = judging.run(arguments, jobs)
    outcomes = {id: {each.outcome for each in results if id in each.requirements} for id in judged}
    failed = {id for id, found in outcomes.items() if FAILED in found}
    return failed, {id for id, found in outcomes.items() if found <= {SKIPPED}}


def within(limit_s, run):
    """What it gives; TooSlow if it takes longer. Interrupted, pytest ends its workers first."""
    late = []
    # What a shell starts in its background ignores SIGINT, and so it would the interruption.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt():
        late.append(True)
        _thread.interrupt_main()

    timer = threading.Timer(limit_s, interrupt)
    timer.start()
    try:
        return run()
    except KeyboardInterrupt:
        if not late:
            raise
        raise TooSlow(f"not judged within {limit_s} s") from None
    finally:
        timer.cancel()
