"""One server under test: started from any command line, watched, stopped, judged."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

from touchstone_conform.failure import Failure, expect
from touchstone_conform.harness import listeners
from touchstone_conform.harness.client import Client
from touchstone_conform.harness.exchange import Exchange
from touchstone_conform.harness.process import Process
from touchstone_conform.harness.skips import SkipReason
from touchstone_conform.harness.waiting import Deadline, wait_until

_START_S = 10
_QUIET_S = 0.05
_BUSY_FACTOR = 10  # a busy machine may take longer by so much
_QUEUE_NOISE_S = 0.01
_LAST_LINES = 8
_LISTENING_LINE = re.compile(r"listening on (\S+):(\d+)\b")
_SANITIZER_REPORT = re.compile(
    r"(ERROR|WARNING): (Address|Leak|Memory|Thread)Sanitizer|: runtime error: "
)
NOT_OURS = "a server that the kit started"
_PR_SET_PDEATHSIG = 1
_PR_SET_PTRACER = 0x59616D61
_PR_SET_PTRACER_ANY = ctypes.c_ulong(-1)


class NotStarted(Failure):
    """The server never listened: no verdict on it is possible."""

    def __init__(self, message: str):
        super().__init__("not-listening", message)


def fill_in(arguments: list[str], host: str, port: int) -> list[str]:
    """The command line with {host} and {port} replaced in each argument; no shell is involved."""
    return [each.replace("{host}", host).replace("{port}", str(port)) for each in arguments]


class Reachable:
    """A server that clients can connect to."""

    def __init__(self, host: str, port: int, *, time_scale=1.0, timeout=5.0, record=None):
        self.host = host
        self.port = port
        self.time_scale = time_scale
        self.timeout = self.scaled(timeout)
        self.record = record or Exchange()

    def connect(self, name: str = "client", **buffers) -> Client:
        """A new client, with the same timeout."""
        ours = {"timeout": self.timeout, "record": self.record}
        return Client((self.host, self.port), name=name, **ours, **buffers)

    def warm_up(self) -> None:
        """Two clients come and go: a runtime opens some descriptors with the first ones."""
        for _ in range(2):
            with self.connect("early") as client:
                client.ping()
                client.leave()

    def scaled(self, seconds: float) -> float:
        """A duration of the tests, on this machine."""
        return seconds * self.time_scale

    def judge_time(self, took: float, limit: float, what: str) -> None:
        """Fail unless it took less than the limit on this machine."""
        limit = self.scaled(limit)
        if took >= limit:
            self.record.cannot_express("how long something takes")
            raise Failure("slow", f"{what} took {took:.3f} s, expected less than {limit:g} s")


class Found(Reachable):
    """A server that was running before; only what its clients see can be judged."""

    @property
    def process(self) -> Process:
        raise SkipReason(NOT_OURS)

    def evidence(self) -> str:
        return f"the server at {self.host} port {self.port}"

    def last_errors(self) -> str:
        return ""  # unknown

    def crashed(self) -> bool:
        return False  # unknown

    def is_gone(self) -> bool:
        return False  # the kit cannot start another

    def stop(self) -> None:
        """Check that clients can still connect; the server is not ours to stop."""
        try:
            socket.create_connection((self.host, self.port), self.scaled(5)).close()
        except OSError as error:
            message = f"{self.evidence()} accepts no connection any more: {error}"
            raise Failure("server-died", message) from error


class Server(Reachable):
    """A child process that listens, from `Server(…)` to `stop()`.

    `stdout` may be given (a file or descriptor) where a test needs its own; else it is kept in
    `directory`, as stderr is, for `log()` and for the evidence of a crash.
    """

    def __init__(
        self,
        arguments: list[str],
        directory: pathlib.Path,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        stdout=None,
        environment: dict[str, str] | None = None,
        without_stdio: bool = False,
        **settings,
    ):
        # Without {port} its command may ask for any free port; then its log names the port.
        self._may_choose = port is None and not any("{port}" in each for each in arguments)
        with contextlib.ExitStack() as until_it_listens:
            if port is None:
                claim = until_it_listens.enter_context(listeners.claim_port(host))
                port = claim.getsockname()[1]
            super().__init__(host, port, **settings)
            self.arguments = fill_in(arguments, host, self.port)
            self._stdout_path = directory / f"stdout-{self.port}"
            self._stderr_path = directory / f"stderr-{self.port}"
            self._stopped = False
            self._ended = False
            self._child = self._start(stdout, environment, without_stdio)
            try:
                self._wait_until_listening()
            except NotStarted:
                self._kill()
                raise
        self.pid = self._listening_pid() or self._child.pid

    def _start(self, stdout, environment, without_stdio):
        with contextlib.ExitStack() as files:
            out = files.enter_context(open(self._stdout_path, "wb"))
            err = files.enter_context(open(self._stderr_path, "wb"))
            try:
                return subprocess.Popen(
                    self.arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=out if stdout is None else stdout,
                    stderr=err,
                    env={**os.environ, **(environment or {})},
                    preexec_fn=_preparation(without_stdio),
                    start_new_session=True,
                )
            except OSError as error:
                raise NotStarted(f"cannot run {self.arguments[0]}: {error.strerror}") from error

    def _wait_until_listening(self) -> None:
        wait_until(
            lambda: self._child.poll() is not None or self._listens(), _START_S * self.time_scale
        )
        listens = self._listens()
        if not listens:  # a dying process closes its sockets a moment before it is gone
            wait_until(lambda: self._child.poll() is not None, self.scaled(1))
        if self._child.poll() is not None:
            raise NotStarted(f"the server {self.ending()} before it listened{self._last_output()}")
        if not listens:
            message = f"the server does not listen on port {self.port}"
            if self._connects():  # in a container, for example
                message += "; another process does: to judge that one, use --address"
            raise NotStarted(message + self._last_output())

    def _listens(self) -> bool:
        """According to the kernel, or else to its log, or else by connecting."""
        logged = [int(found[2]) for found in _LISTENING_LINE.finditer(self.log())]
        if logged and self._may_choose:
            self.port = logged[0]
        return self._still_listens(logged)

    def _still_listens(self, logged=()) -> bool:
        if listeners.can_look_up():
            return self._listening_pid() is not None
        return self.port in logged or self._connects()

    def _connects(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 1):
            return True
        return False

    def _listening_pid(self) -> int | None:
        return listeners.listening_process(self._child.pid, self.port)

    # What tests use.

    @property
    def process(self) -> Process:
        """The process that listens, seen from outside."""
        return Process(self.pid, self.record)

    def stall(self, client: Client, data: bytes) -> int:
        """Send `data` without reading until the server, at rest, takes no more; give the count."""
        deadline = Deadline(self.scaled(5))
        sent, more = 0, 1
        while (more or not self.process.is_at_rest()) and not deadline.passed():
            more = client.send_until_blocked(data[sent:], _QUIET_S)
            sent += more
        return sent

    def log(self) -> str:
        """What the server wrote to stdout so far; every byte that is not UTF-8 stays visible."""
        return self._stdout_path.read_bytes().decode("utf-8", "backslashreplace")

    def raw_log(self) -> bytes:
        """What the server wrote to stdout so far, byte for byte."""
        self.record.cannot_express("what a server logs")
        return self._stdout_path.read_bytes()

    def errors(self) -> str:
        """What the server wrote to stderr so far."""
        return self._stderr_path.read_bytes().decode("utf-8", "backslashreplace")

    def wait_for_log(self, pattern: str) -> re.Match:
        """The first match of `pattern` in the log, once it is there."""
        found = wait_until(lambda: re.search(pattern, self.log(), re.MULTILINE), self.scaled(5))
        expect(found, "log-line", f"no log line matches {pattern!r}{self._last_output()}")
        return found

    # The end of the server.

    def signal(self, number: int) -> None:
        """Send a signal to the process that listens."""
        if number in (signal.SIGTERM, signal.SIGINT):
            self.record.footing.require("stop")
            self._ended = True  # from now on it may end
            self.record.note("stop")
        if number != signal.SIGTERM:  # a scenario's stop is one
            self.record.cannot_express(_signal_name(number))
        os.kill(self.pid, number)

    def wait_for_end(self, seconds: float) -> int:
        """The server must end by itself: its status, or less than 0 for a signal.

        Time in which it is ready to run and other processes run does not count.
        """
        self._ended = True
        limit = self.scaled(seconds)
        latest, queued = Deadline(limit * _BUSY_FACTOR), self._seconds_in_queue()
        granted, left = 0.0, limit
        while left > _QUEUE_NOISE_S and not latest.passed():
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._child.wait(left)
            left = self._seconds_in_queue() - queued - granted
            granted += left
        message = f"the server does not end within {limit:g} s"
        raise Failure("server-stuck", message + self._last_output())

    def _seconds_in_queue(self) -> float:
        with contextlib.suppress(OSError, SkipReason):
            return Process(self.pid).seconds_in_queue()
        return 0.0

    def expect_exit(self, status: int, seconds: float) -> None:
        """The server ends by itself, with this status."""
        found = self.wait_for_end(seconds)
        message = f"expected exit status {status}, but the server {self.ending()}"
        expect(found == status, "exit-status", message + self.last_errors())

    def wait_until_gone(self) -> None:
        """The process that listens was killed: until it is gone, whatever started it does then."""
        self._ended = True
        gone = wait_until(lambda: not self.process.is_there(), self.scaled(5))
        expect(gone, "server-stuck", "the process that listens is still there after SIGKILL")

    def terminate(self) -> None:
        """Send the stop signal (SIGTERM)."""
        self.signal(signal.SIGTERM)

    def wait_for_exit(self, seconds: float) -> int | None:
        """Its exit status, negative if a signal ended it; None if it is still there."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._child.wait(seconds)
        return None

    # The verdict.

    def is_gone(self) -> bool:
        """Whether it ended."""
        return self._child.poll() is not None

    def crashed(self) -> bool:
        """Whether it ended, and must not."""
        return self.is_gone() and not self._ended

    def check_alive(self) -> None:
        """Fail if the server ended or a sanitizer reported; a refusal is not a crash."""
        listens = self._still_listens()
        if not listens:  # a dying process closes its sockets a moment before it is gone
            wait_until(lambda: self._child.poll() is not None, self.scaled(1))
        if self._child.poll() is not None:
            message = f"the server {self.ending()} while it must serve{self._last_output()}"
            raise Failure("server-died", message)
        self._check_sanitizer()
        if not listens:
            message = f"the server does not listen any more{self._last_output()}"
            raise Failure("not-listening", message)

    def _check_sanitizer(self) -> None:
        if _SANITIZER_REPORT.search(self.errors()):
            raise Failure("server-died", f"a sanitizer reported:\n{self.errors()}")

    def ending(self) -> str:
        """How it ended, for a message."""
        status = self._child.returncode
        if status < 0:
            return f"was killed by {_signal_name(-status)}"
        return f"exited with status {status}"

    def _last_output(self) -> str:
        return self.last_errors() + _last_lines("stdout", self.log()) or " (it wrote nothing)"

    def last_errors(self) -> str:
        """The end of what it wrote to stderr, a line for each; empty if it wrote nothing there."""
        return _last_lines("stderr", self.errors())

    def evidence(self) -> str:
        """The command and the last lines of both outputs, for a failed test."""
        return f"{' '.join(self.arguments)}{self._last_output()}"

    def stop(self) -> None:
        """Check that the server is well, unless it was to end; end it and what it started."""
        if self._stopped:
            return
        self._stopped = True
        try:
            if self._ended:
                self._check_sanitizer()
            else:
                self.check_alive()
        finally:
            self.record.close()  # it need not wait for clients that stayed
            self.end()

    def end(self) -> None:
        """End it and what it started; at once if it is known not to end when it is asked to."""
        ends = self.record.footing.holds("fin") and self.record.footing.holds("stop")
        self._signal_all(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(self.timeout if ends else 0)
        self._kill()

    def _kill(self) -> None:
        self._signal_all(signal.SIGKILL)
        self._child.wait()

    def _signal_all(self, number: int) -> None:
        # Its process group, which is ours by start_new_session: a wrapper's children end as well.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)


def _last_lines(name: str, text: str) -> str:
    return "".join(f"\n    {name}: {line}" for line in text.splitlines()[-_LAST_LINES:])


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _preparation(without_stdio: bool):
    """What the child does before exec: let strace attach, and close 0, 1, 2 if asked.

    What a shell starts in the background ignores SIGINT, and so would the server. Where the kernel
    sees to it, the child (not what it starts in turn) does not outlive a kit that is killed.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def prepare():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            # Yama (ptrace_scope 1) lets only ancestors attach unless the process allows others.
            libc.prctl(_PR_SET_PTRACER, _PR_SET_PTRACER_ANY, 0, 0, 0)
        if without_stdio:
            for number in (0, 1, 2):
                os.close(number)

    return prepare


def run_to_end(arguments: list[str], seconds: float) -> subprocess.CompletedProcess:
    """Run a command that must end by itself, and give its status and output."""
    try:
        return subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        message = f"{' '.join(arguments)} still runs after {seconds} s"
        raise Failure("server-stuck", message) from error


def expect_ended(ended: subprocess.CompletedProcess, status: int, stderr: str) -> None:
    """The command wrote this to stderr and nothing to stdout, and ended with this status."""
    written = (ended.stderr.decode("utf-8", "backslashreplace"), ended.stdout)
    message = f"expected {stderr!r} on stderr and nothing on stdout, got {written}"
    expect(written == (stderr, b""), "output", message)
    message = f"expected exit status {status}, got {ended.returncode}"
    expect(ended.returncode == status, "exit-status", message)
