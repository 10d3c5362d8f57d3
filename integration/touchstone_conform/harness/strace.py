"""Runs strace, on a running process or from its start: traces system calls or makes them fail."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

from touchstone_conform.failure import expect
from touchstone_conform.harness.process import Process
from touchstone_conform.harness.skips import SkipReason
from touchstone_conform.harness.waiting import wait_until

_ATTACH_S = 10
_REST_S = 5

# `PID call(… <unfinished ...>`, `<detached ...>`, or the same call cut by another thread's line.
_WAITS = r"(epoll_(p?wait2?)|p?poll|p?select6?|futex|nanosleep|io_uring_enter|restart_syscall)"
_STILL_WAITING = re.compile(rf"^\d+ +{_WAITS}\(.*<(unfinished|detached) \.\.\.>$")


def _program() -> str:
    program = shutil.which("strace")
    if program is None:
        raise SkipReason("tool", "strace, which is not installed or not in PATH")
    return program


def before(output: pathlib.Path, *options: str) -> list[str]:
    """The arguments that, put before a command line, trace it from its start."""
    # LeakSanitizer, in a build that has it, cannot work under strace.
    ours = f"ASAN_OPTIONS={os.environ.get('ASAN_OPTIONS', '')}:detect_leaks=0"
    return [_program(), "-o", str(output), *options, "-E", ours, "--"]


@contextlib.contextmanager
def attached(process: Process, *options: str):
    """Trace a process, its threads and forks inside the `with` block; gives a Trace.

    A fork that becomes another program is let go: what is injected would hit its loader, which no
    signal interrupts while it reads files.
    """
    program = _program()
    with tempfile.TemporaryDirectory() as directory:
        output, messages = (pathlib.Path(directory, name) for name in ("output", "messages"))
        with open(messages, "wb") as stderr:
            tracer = subprocess.Popen(
                [program, "-f", "-b", "execve", "-o", output, *options, "-p", str(process.pid)],
                stdin=subprocess.DEVNULL,
                stderr=stderr,
            )
        injects = any("inject=" in each for each in options)
        trace = Trace(tracer, output, process if injects else None)
        try:
            _wait_until_attached(tracer, messages)
            yield trace
        finally:
            trace.detach()


def _wait_until_attached(tracer, messages):
    def settled():
        return b" attached" in messages.read_bytes() or tracer.poll() is not None

    wait_until(settled, _ATTACH_S)
    if b" attached" not in messages.read_bytes() or tracer.poll() is not None:
        text = messages.read_text(errors="replace").strip()
        needed = f"permission for strace to attach ({text or 'no reason given'})"
        raise SkipReason("permission", needed)


def _wait_until_at_rest(process):
    """Until no thread has done anything for a moment.

    strace makes a call fail by turning it into one that does not exist. If it detaches meanwhile,
    the process gets ENOSYS.
    """

    def at_rest():
        before = process.switches()
        time.sleep(0.05)
        return process.is_at_rest() and process.switches() == before

    with contextlib.suppress(OSError):  # it has ended
        wait_until(at_rest, _REST_S)


class Trace:
    """What strace wrote. Complete once detached."""

    def __init__(self, tracer, output: pathlib.Path, disturbed: Process | None):
        self._tracer = tracer
        self._output = output
        self._disturbed = disturbed  # the process whose calls are made to fail

    def detach(self):
        if self._tracer.poll() is not None:
            return
        if self._disturbed:
            _wait_until_at_rest(self._disturbed)
        self._tracer.send_signal(signal.SIGINT)
        try:
            self._tracer.wait(_ATTACH_S)
        except subprocess.TimeoutExpired:
            self._tracer.kill()
            self._tracer.wait()

    def text(self) -> str:
        return self._output.read_text(errors="replace")

    def lines(self) -> list[str]:
        return self.text().splitlines()

    def injected(self) -> int:
        """How many calls were made to fail."""
        return sum("(INJECTED)" in line for line in self.lines())

    def busy_lines(self) -> list[str]:
        """All but the wait that each thread was already in.

        Attaching interrupts that wait. It is entered again at once, which strace shows as one
        unfinished call that is still unfinished when it detaches. Any call that returned, and any
        call that does not wait, is unnecessary work.
        """
        return [line for line in self.lines() if not _STILL_WAITING.match(line)]


def expect_no_call(trace: Trace) -> None:
    """Fail if the traced process made a system call, apart from waiting."""
    lines = trace.busy_lines()
    expect(lines == [], "system-calls", f"expected no system call: {lines}")
