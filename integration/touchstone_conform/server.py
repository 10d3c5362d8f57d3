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

from . import listeners
from .client import Client
from .exchange import Exchange
from .missing import Missing
from .process import Process
from .waiting import Deadline, wait_until

_START_S = 10
_QUIET_S = 0.05
_LAST_LINES = 8
_LISTENING_LINE = re.compile(r"listening on (\S+):(\d+)\b")
_SANITIZER_REPORT = re.compile(
    r"(ERROR|WARNING): (Address|Leak|Memory|Thread)Sanitizer|: runtime error: "
)
ENDED = re.compile(r"the server (exited|was killed) .*while it should serve")
NOT_OURS = "process to look at: the kit did not start this server"
_PR_SET_PDEATHSIG = 1
_PR_SET_PTRACER = 0x59616D61
_PR_SET_PTRACER_ANY = ctypes.c_ulong(-1)


class NotStarted(Exception):
    """The server never listened: no verdict on it is possible."""


class Crashed(AssertionError):
    """The server ended, or a sanitizer in it found an error, while it should have served."""


def fill_in(words: list[str], host: str, port: int) -> list[str]:
    """The command line with {host} and {port} replaced, word by word; no shell is involved."""
    return [word.replace("{host}", host).replace("{port}", str(port)) for word in words]


class Reachable:
    """A server that clients can connect to."""

    def __init__(self, host: str, port: int, *, time_scale=1.0, patience=5.0, record=None):
        self.host = host
        self.port = port
        self.time_scale = time_scale
        self.patience = self.scaled(patience)
        self.record = record or Exchange()

    def connect(self, name: str = "client", **buffers) -> Client:
        """A new client, with our patience."""
        ours = {"patience": self.patience, "record": self.record}
        return Client((self.host, self.port), name=name, **ours, **buffers)

    def scaled(self, seconds: float) -> float:
        """A duration of the tests, on this machine."""
        return seconds * self.time_scale

    def judge_time(self, took: float, limit: float, said: str) -> None:
        """Fail, and say that, unless it took less on this machine."""
        if took >= self.scaled(limit):
            self.record.cannot_say("how long something takes")
            raise AssertionError(said)


class Found(Reachable):
    """A server that was running before; only what it says can be judged."""

    @property
    def process(self) -> Process:
        raise Missing(NOT_OURS)

    def evidence(self) -> str:
        return f"the server at {self.host} port {self.port}"

    def last_errors(self) -> str:
        return ""  # they went elsewhere

    def crashed(self) -> bool:
        return False  # nobody could tell

    def is_gone(self) -> bool:
        return False  # and if it were, nobody could start another

    def stop(self) -> None:
        """Check that it still lets clients in; what goes on is not ours to stop."""
        try:
            socket.create_connection((self.host, self.port), self.scaled(5)).close()
        except OSError as error:
            raise Crashed(f"{self.evidence()} lets nobody in any more: {error}") from error


class Server(Reachable):
    """A child process that listens, from `Server(…)` to `stop()`.

    `stdout` may be given (a file or descriptor) where a test needs its own; else it is kept in
    `directory`, as stderr is, for `log()` and for the evidence of a crash.
    """

    def __init__(
        self,
        words: list[str],
        directory: pathlib.Path,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        stdout=None,
        environment: dict[str, str] | None = None,
        without_stdio: bool = False,
        **our_ways,
    ):
        # Without a port of ours in it, its command may ask for any free one, and its log tells.
        self._may_choose = port is None and not any("{port}" in word for word in words)
        with contextlib.ExitStack() as until_it_listens:
            if port is None:
                claim = until_it_listens.enter_context(listeners.claim_port(host))
                port = claim.getsockname()[1]
            super().__init__(host, port, **our_ways)
            self.words = fill_in(words, host, self.port)
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
                    self.words,
                    stdin=subprocess.DEVNULL,
                    stdout=out if stdout is None else stdout,
                    stderr=err,
                    env={**os.environ, **(environment or {})},
                    preexec_fn=_preparation(without_stdio),
                    start_new_session=True,
                )
            except OSError as error:
                raise NotStarted(f"cannot run {self.words[0]}: {error.strerror}") from error

    def _wait_until_listening(self) -> None:
        wait_until(
            lambda: self._child.poll() is not None or self._listens(), _START_S * self.time_scale
        )
        listens = self._listens()
        if not listens:  # a dying process closes its sockets a moment before it is gone
            wait_until(lambda: self._child.poll() is not None, self.scaled(1))
        if self._child.poll() is not None:
            raise NotStarted(f"the server {self.ending()} before it listened{self._last_words()}")
        if not listens:
            said = f"the server does not listen on port {self.port}"
            if self._connects():  # from a container, say
                said += ", though somebody answers there: --address judges whoever that is"
            raise NotStarted(said + self._last_words())

    def _listens(self) -> bool:
        """By the kernel's word, else by its own, else by connecting."""
        said = [int(found[2]) for found in _LISTENING_LINE.finditer(self.log())]
        if said and self._may_choose:
            self.port = said[0]
        return self._still_listens(said)

    def _still_listens(self, said=()) -> bool:
        if listeners.can_look_up():
            return self._listening_pid() is not None
        return self.port in said or self._connects()

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
        self.record.cannot_say("what a server logs")
        return self._stdout_path.read_bytes()

    def errors(self) -> str:
        """What the server wrote to stderr so far."""
        return self._stderr_path.read_bytes().decode("utf-8", "backslashreplace")

    def wait_for_log(self, pattern: str) -> re.Match:
        """The first match of `pattern` in the log, once it is there."""
        found = wait_until(lambda: re.search(pattern, self.log(), re.MULTILINE), self.scaled(5))
        assert found, f"no log line matches {pattern!r}{self._last_words()}"
        return found

    # A server that is told to end.

    def signal(self, number: int) -> None:
        """Send a signal to the process that listens."""
        if number in (signal.SIGTERM, signal.SIGINT):
            self._ended = True  # from now on it is right that it ends
            self.record.note("stop")
        if number != signal.SIGTERM:  # a scenario's stop is one
            self.record.cannot_say(_signal_name(number))
        os.kill(self.pid, number)

    def wait_for_end(self, seconds: float) -> int:
        """The server is meant to end by itself: its status, or less than 0 for a signal."""
        self._ended = True
        try:
            return self._child.wait(self.scaled(seconds))
        except subprocess.TimeoutExpired as error:
            raise AssertionError(
                f"the server does not end within {self.scaled(seconds):g} s{self._last_words()}"
            ) from error

    def terminate(self) -> None:
        """Tell it to stop (SIGTERM)."""
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
        """Whether it ended, and was not to."""
        return self.is_gone() and not self._ended

    def check_alive(self) -> None:
        """Fail if the server ended or a sanitizer reported; a refusal is not a crash."""
        listens = self._still_listens()
        if not listens:  # a dying process closes its sockets a moment before it is gone
            wait_until(lambda: self._child.poll() is not None, self.scaled(1))
        if self._child.poll() is not None:
            raise Crashed(f"the server {self.ending()} while it should serve{self._last_words()}")
        self._check_sanitizer()
        if not listens:
            raise Crashed(f"the server does not listen any more{self._last_words()}")

    def _check_sanitizer(self) -> None:
        if _SANITIZER_REPORT.search(self.errors()):
            raise Crashed(f"a sanitizer reported:\n{self.errors()}")

    def ending(self) -> str:
        """How it ended, in words."""
        status = self._child.returncode
        if status < 0:
            return f"was killed by {_signal_name(-status)}"
        return f"exited with status {status}"

    def _last_words(self) -> str:
        return self.last_errors() + _last_lines("stdout", self.log()) or " (it wrote nothing)"

    def last_errors(self) -> str:
        """The end of what it wrote to stderr, a line for each; empty if it wrote nothing there."""
        return _last_lines("stderr", self.errors())

    def evidence(self) -> str:
        """The command and the last lines of both outputs, for a failed test."""
        return f"{' '.join(self.words)}{self._last_words()}"

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
            self.end()

    def end(self) -> None:
        """End it and what it started."""
        self._signal_all(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(self.patience)
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
            # Yama (ptrace_scope 1) lets nobody but ancestors attach unless the process allows it.
            libc.prctl(_PR_SET_PTRACER, _PR_SET_PTRACER_ANY, 0, 0, 0)
        if without_stdio:
            for number in (0, 1, 2):
                os.close(number)

    return prepare


def run_to_end(words: list[str], seconds: float) -> subprocess.CompletedProcess:
    """Run a command that must end by itself, and give its status and output."""
    try:
        return subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"{' '.join(words)} still ran after {seconds} s") from error
