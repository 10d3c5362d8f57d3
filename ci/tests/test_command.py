"""What verbs start ends with them."""

import concurrent.futures
import os
import signal
import subprocess
import sys
import time

import pytest

from lib import command, tree

WITHIN_S = 30
# A verb that runs a verb that runs a program, each in a session of its own.
NESTED = """
import sys
sys.path.insert(0, {ci!r})
from lib import command
def run(options):
    command.run([sys.executable, "-c", {inner!r}])
command.main(run, command.Parser("nested"))
"""
SLEEPS = "import os, time; open({path!r}, 'w').write(str(os.getpid())); time.sleep(600)"


def test_a_signal_ends_what_a_verb_started_however_deep(tmp_path):
    written = tmp_path / "pid"
    inner = SLEEPS.format(path=str(written))
    for _ in range(2):
        inner = NESTED.format(ci=str(tree.TOP / "ci"), inner=inner)
    outer = subprocess.Popen([sys.executable, "-c", inner], start_new_session=True)
    wait_until(lambda: written.exists() and written.read_text())
    pid = int(written.read_text())
    outer.send_signal(signal.SIGTERM)
    assert outer.wait(WITHIN_S) == command.INTERRUPTED
    wait_until(lambda: not is_there(pid))


def test_what_a_signal_ended_has_no_result(tmp_path):
    """Or ci/mutate would keep a mutant as killed, by our own SIGTERM."""
    written = tmp_path / "pid"
    program = [sys.executable, "-c", SLEEPS.format(path=str(written))]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(command.run, program)
        wait_until(lambda: written.exists() and written.read_text())
        with pytest.raises(KeyboardInterrupt):
            command.end_all()
        with pytest.raises(KeyboardInterrupt):
            running.result(WITHIN_S)


def test_a_program_that_takes_too_long_is_ended(tmp_path):
    written = tmp_path / "pid"
    program = [sys.executable, "-c", SLEEPS.format(path=str(written))]
    with pytest.raises(subprocess.TimeoutExpired):
        command.run(program, timeout=5)
    assert not is_there(int(written.read_text()))


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition):
    end = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
