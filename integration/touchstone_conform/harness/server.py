"""One server under test: started from any command line, watched, stopped, judged."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading

from touchstone_conform.failure import Failure, expect
from touchstone_conform.harness import listeners, owned
from touchstone_conform.harness.client import SOON_S, Client
from touchstone_conform.harness.exchange import Exchange
from touchstone_conform.harness.process import BUSY_FACTOR, Process
from touchstone_conform.harness.skips import SkipReason, limit_of
from touchstone_conform.harness.waiting import Deadline, wait_until

_START_S = 10
_QUIET_S = 0.05
_SETTLE_S = 0.1
_STARTS_S = 1  # from its first listening until it is at rest
_QUEUE_NOISE_S = 0.01
_END_S = 5  # for a process to be gone after SIGKILL
_LOG_BYTES_MAX = 256 << 20  # of stdout and of stderr; one that logs each event needs a half of it
_LOG_BYTES_KEPT = 1 << 20
_LOG_LOOKS_S = 0.05
_LINES_SHOWN = 8  # the first and the last
_LINE_LENGTH = 400
_LISTENING_LINE = re.compile(r"listening on (\S+):(\d+)\b")
_SANITIZER_REPORT = re.compile(
    r"(ERROR|WARNING): (Address|Leak|Memory|Thread)Sanitizer|: runtime error: "
)
NOT_OURS = "address", "a server that the kit started"
_PR_SET_PDEATHSIG = 1
_PR_SET_PTRACER = 0x59616D61
_PR_SET_PTRACER_ANY = ctypes.c_ulong(-1)


# The servers of this process that have not been ended. While one is started, nobody looks for what
# others left behind: it is not listed yet.
_running: list[Server] = []
_starting = threading.Lock()


class NotStarted(Failure):
    """The server never listened: no verdict on it is possible."""

    def __init__(self, message: str):
        super().__init__("not-listening", message)


def fill_in(arguments: list[str], host: str, port: int) -> list[str]:
    """The command line with {host} and {port} replaced in each argument; no shell is involved."""
    return [each.replace("{host}", host).replace("{port}", str(port)) for each in arguments]


class Reachable:
    """A server that clients can connect to.

    Of limits that it documents: `buffer` bytes of output may be pending for a client, and one that
    is idle for `idle_close` seconds is closed.
    """

    def __init__(
        self, host: str, port: int, *,
        time_scale=1.0, timeout=5.0, buffer=0, idle_close=math.inf, record=None,
    ):  # fmt: skip
        self.host = host
        self.port = port
        self.buffer = buffer
        self.idle_close = idle_close
        self.time_scale = time_scale
        self.timeout = self.scaled(timeout)
        self.record = record or Exchange()

    def connect(self, name: str = "client", **buffers) -> Client:
        """A new client, with the same timeout."""
        soon = self.scaled(SOON_S)
        ours = {"timeout": self.timeout, "soon": soon, "record": self.record}
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

    def pause(self, seconds: float) -> float:
        """How long a client may do nothing: no longer than it may be idle for certain."""
        return min(seconds, 0.7 * self.idle_close)

    def judge_time(self, took: float, limit: float, what: str) -> None:
        """Fail unless it took less than the limit on this machine."""
        limit = self.scaled(limit)
        if took >= limit:
            self.record.cannot_express("how long something takes")
            raise Failure("slow", f"{what} took {took:.3f} s, expected less than {limit:g} s")


class Found(Reachable):
    """A server that was running before; only what its clients see can be judged.

    What needs more of it, such as its process or its log, is skipped.
    """

    def __getattr__(self, name):
        if name == "pid" or hasattr(Server, name):
            raise SkipReason(*NOT_OURS)
        raise AttributeError(name)

    def evidence(self) -> str:
        return f"the server at {self.host} port {self.port}"

    def shown_errors(self) -> str:
        return ""  # unknown

    def settle(self, seconds: float) -> None:
        pass  # unknown when it has

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
            self._judged = None  # the process that listens
            self._left_behind = False  # whether its parents ended, and we wait for it
            self._flood = ""
            self._watched = threading.Event()  # set: no more
            with _starting:
                self._child = self._start(stdout, environment, without_stdio)
                _running.append(self)
            self._watch = threading.Thread(target=self._watch_logs, daemon=True)
            self._watch.start()
            try:
                self._wait_until_listening()
                self.pid = self._take_over()
                self.settle(_STARTS_S)  # it may log, and register its listener
                if self._is_over():
                    ended = f"the server {self.ending()} right after it listened"
                    raise NotStarted(ended + self._shown_output())
            except BaseException:
                self._kill()
                raise

    def _take_over(self) -> int:
        """Own the process that listens; give its number."""
        while True:
            pid = self._listening_pid() or self._child.pid
            self._judged = owned.Owned(pid)
            if pid in (self._child.pid, self._listening_pid()):  # it is the one that was looked up
                return pid
            self._judged.close()

    def _start(self, stdout, environment, without_stdio):
        owned.become_reaper()
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
                if isinstance(error, BlockingIOError):  # of fork
                    reason = "more processes than the kit is allowed (ulimit -u)"
                    raise SkipReason("limit", reason) from error
                if limit := limit_of(error):
                    raise limit from error
                raise NotStarted(f"cannot run {self.arguments[0]}: {error.strerror}") from error

    def _wait_until_listening(self) -> None:
        wait_until(lambda: self._is_over() or self._listens(), _START_S * self.time_scale)
        listens = self._listens()
        if not listens:  # a dying process closes its sockets a moment before it is gone
            wait_until(self._is_over, self.scaled(1))
        if self._flood:
            raise NotStarted(self._flood + self._shown_output())
        if self._is_over():
            raise NotStarted(f"the server {self.ending()} before it listened{self._shown_output()}")
        if not listens:
            raise NotStarted(self._why_not_listening() + self._shown_output())

    def _why_not_listening(self) -> str:
        message = f"the server does not listen on port {self.port}"
        hidden, where = listeners.unreadable(self._roots()), self.listening_addresses()
        if hidden is not None:  # setcap, or another user
            return f"{message}, or process {hidden} does, whose descriptors cannot be read"
        if where:
            return f"{message}, but on {', '.join(where)}"
        if self._connects():  # in a container, for example
            return f"{message}; another process does: to judge that one, use --address"
        limit = _START_S * self.time_scale
        return f"{message} within {limit:g} s (--time-scale F multiplies this limit)"

    def listening_addresses(self) -> list[str]:
        """Where its processes listen, as far as the kernel tells."""
        return listeners.listening_addresses(self._roots())

    def _listens(self) -> bool:
        """According to the kernel, or else to its log, or else by connecting."""
        logged = [int(found[2]) for found in _LISTENING_LINE.finditer(self.log())]
        if logged and self._may_choose:
            self.port = logged[0]
        return self._still_listens(logged)

    def _still_listens(self, logged=()) -> bool:
        if listeners.can_look_up():
            if self._listening_pid() is not None:
                return True
            # One with capabilities, or of another user, does not show us its descriptors.
            return listeners.unreadable(self._roots()) is not None and self._connects()
        return self.port in logged or self._connects()

    def _connects(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 1):
            return True
        return False

    def _listening_pid(self) -> int | None:
        return listeners.listening_process(self._roots(), self.port)

    # Its processes.

    def _roots(self) -> list[int]:
        """Children of ours that are not waited for: its command, and what was left behind."""
        ours = [] if self._child.poll() is not None else [self._child.pid]
        return ours + self._strays()

    def _strays(self) -> list[int]:
        """What its processes left behind when they ended; zombies that were not waited for too."""
        with _starting:
            running = list(_running)
        found = owned.strays([each._child.pid for each in running])
        return [pid for pid in found if _owner(pid, running) is self]

    def _claims(self, pid) -> bool:
        """Whether a process that was left behind is surely of this server."""
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) == self._child.pid or (self._judged and self._judged.pid == pid):
                return True
        return listeners.listening_process([pid], self.port) is not None

    def _is_over(self) -> bool:
        """Whether its command ended, and left nothing behind."""
        if self._child.poll() is None:
            return False
        seen = None
        while seen != (left := self._strays()):  # one that ends may leave another as we look
            if any(owned.state_and_parent(each)[0] not in ("", "Z") for each in left):
                return False
            seen = left
        return True

    def _poll(self) -> int | None:
        """How its command ended, or what that left behind to listen; None if not yet."""
        status = self._child.poll()
        if status is None or self._judged is None or self._judged.pid == self._child.pid:
            return status
        if not self._left_behind:
            parent = owned.state_and_parent(self._judged.pid)[1]
            self._left_behind = parent == os.getpid()
        return self._judged.poll() if self._left_behind else status

    def _wait(self, seconds: float) -> int | None:
        wait_until(lambda: self._poll() is not None, seconds)
        return self._poll()

    def _watch_logs(self) -> None:
        """End a server that would fill the disk."""
        while not self._watched.wait(_LOG_LOOKS_S):
            for path in (self._stdout_path, self._stderr_path):
                size = path.stat().st_size
                if size > _LOG_BYTES_MAX:
                    name = path.name.partition("-")[0]
                    limit = f"expected at most {_LOG_BYTES_MAX} bytes, so the kit ended it"
                    self._flood = f"the server wrote {size} bytes to {name}: {limit}"
                    wait_until(self._is_killed, _END_S)
                    os.truncate(path, _LOG_BYTES_KEPT)
                    return

    # What tests use.

    @property
    def process(self) -> Process:
        """The process that listens, seen from outside."""
        return Process(self.pid, self.record, self._judged)

    def stall(self, client: Client, data: bytes) -> int:
        """Send `data` without reading until the server, at rest, takes no more; give the count.

        A kernel may drop what does not fit into its buffers, and it is sent again later.
        """
        deadline = Deadline(self.scaled(5))
        sent, more = 0, 1
        while (
            more or client.in_flight() or not self.process.is_at_rest()
        ) and not deadline.passed():
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
        expect(found, "log-line", f"no log line matches {pattern!r}{self._shown_output()}")
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
        try:
            self._judged.signal(number)
        except ProcessLookupError:
            self._check_flood()
            message = f"the server {self.ending()} before {_signal_name(number)} was sent"
            raise Failure("server-died", message + self._shown_output()) from None

    def wait_for_end(self, seconds: float) -> int:
        """The server must end by itself: its status, or less than 0 for a signal.

        Time in which it is ready to run and other processes run does not count.
        """
        self._ended = True
        limit = self.scaled(seconds)
        latest, queued = Deadline(limit * BUSY_FACTOR), self._seconds_in_queue()
        granted, left = 0.0, limit
        while left > _QUEUE_NOISE_S and not latest.passed():
            status = self._wait(left)
            if status is not None:
                return status
            left = self._seconds_in_queue() - queued - granted
            granted += left
        message = f"the server does not end within {limit:g} s"
        raise Failure("server-stuck", message + self._shown_output())

    def _seconds_in_queue(self) -> float:
        with contextlib.suppress(OSError, SkipReason):
            return Process(self.pid).seconds_in_queue()
        return 0.0

    def expect_exit(self, status: int, seconds: float) -> None:
        """The server ends by itself, with this status."""
        found = self.wait_for_end(seconds)
        message = f"expected exit status {status}, but the server {self.ending()}"
        expect(found == status, "exit-status", message + self.shown_errors())

    def wait_until_gone(self) -> None:
        """The process that listens was killed: until it is gone, whatever started it does then."""
        self._ended = True
        gone = wait_until(self._judged.has_ended, self.scaled(5))
        expect(gone, "server-stuck", "the process that listens is still there after SIGKILL")

    def terminate(self) -> None:
        """Send the stop signal (SIGTERM)."""
        self.signal(signal.SIGTERM)

    def wait_for_exit(self, seconds: float) -> int | None:
        """Its exit status, negative if a signal ended it; None if it is still there."""
        return self._wait(seconds)

    # The verdict.

    def is_gone(self) -> bool:
        """Whether it ended."""
        return self._poll() is not None

    def crashed(self) -> bool:
        """Whether it ended, and must not."""
        return self.is_gone() and not self._ended

    def settle(self, seconds: float) -> None:
        """Wait until it has handled what came, or has ended of it; so long at most."""
        with contextlib.suppress(OSError, SkipReason):  # it cannot be seen
            wait_until(lambda: self.is_gone() or self.process.is_at_rest(), self.scaled(seconds))

    def check_alive(self) -> None:
        """Fail if the server ended or a sanitizer reported an error; a refusal is not a crash."""
        self.settle(_SETTLE_S)
        listens = self._still_listens()
        if not listens:  # a dying process closes its sockets a moment before it is gone
            wait_until(self.is_gone, self.scaled(1))
        self._check_flood()
        if self.is_gone():
            message = f"the server {self.ending()} while it must serve{self._shown_output()}"
            raise Failure("server-died", message)
        self._check_sanitizer()
        if not listens:
            message = f"the server does not listen any more{self._shown_output()}"
            raise Failure("not-listening", message)

    def _check_flood(self) -> None:
        if self._flood:
            raise Failure("log-flood", self._flood)

    def _check_sanitizer(self) -> None:
        if _SANITIZER_REPORT.search(self.errors()):
            raise Failure("server-died", f"a sanitizer reported an error:\n{self.errors()}")

    def ending(self) -> str:
        """How it ended, for a message."""
        status = self._poll()
        if status is None:
            return "still runs"
        if status < 0:
            return f"was killed by {_signal_name(-status)}"
        return f"exited with status {status}"

    def _shown_output(self) -> str:
        return self.shown_errors() + _shown_lines("stdout", self.log()) or " (it wrote nothing)"

    def shown_errors(self) -> str:
        """The first and last of what it wrote to stderr; empty if it wrote nothing there."""
        return _shown_lines("stderr", self.errors())

    def evidence(self) -> str:
        """The command, and the first and last lines of both outputs, for a failed test."""
        ours = ""
        self._poll()  # looks for what is left behind
        if self._left_behind:
            ended = f"the command ended with status {self._child.returncode}"
            ours = f"\n    {ended}; process {self.pid}, which it left behind (a daemon), was judged"
        return f"{' '.join(self.arguments)}{ours}{self._shown_output()}"

    def stop(self) -> None:
        """Check that the server is well, unless it was to end; end it and what it started."""
        if self._stopped:
            return
        self._stopped = True
        try:
            self._check_flood()
            if self._ended:
                self._check_sanitizer()
            else:
                self.check_alive()
        finally:
            self.record.close()  # it need not wait for clients that stayed
            self.end()

    def end(self) -> None:
        """End it and what it started; at once if it is known not to end when it is asked to."""
        if self not in _running:
            return
        ends = not any(map(self.record.footing.is_broken, ("fin", "stop")))
        self._signal_all(signal.SIGTERM)
        self._wait(self.timeout if ends else 0)
        self._kill()

    def _kill(self) -> None:
        """RuntimeError names what cannot be ended."""
        self._watched.set()
        self._watch.join(_END_S)
        gone = wait_until(self._is_killed, _END_S)
        if self._judged is not None:
            self._poll()  # while its number is known
            self._judged.close()
        _running.remove(self)
        if not gone:
            raise RuntimeError(f"processes {self._roots()} of the server cannot be ended")

    def _is_killed(self) -> bool:
        self._signal_all(signal.SIGKILL)
        if self._judged is not None:
            self._poll()
        owned.wait_for(self._strays())
        return self._is_over() and self._is_over()  # the kernel's list may miss one that moves

    def _signal_all(self, number: int) -> None:
        if listeners.can_look_up():
            owned.signal_family(self._roots(), number)
        elif self._child.poll() is None:  # its process group, which is ours by start_new_session
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, number)


def _owner(pid: int, running: list[Server]) -> Server | None:
    """The server that owns an orphan: one that claims it, else the one started last."""
    if len(running) > 1:
        return next((each for each in running[::-1] if each._claims(pid)), running[-1])
    return running[0] if running else None


def end_what_is_left() -> None:
    """End what servers of processes that were killed left behind; RuntimeError names the others.

    A process that has servers itself, as in the tests of the kit, leaves that to their end.
    """

    def is_over():
        owned.signal_family(owned.strays(()), signal.SIGKILL)
        owned.wait_for(owned.strays(()))
        return not owned.strays(())

    if not _running and not wait_until(is_over, _END_S):
        raise RuntimeError(f"processes {owned.strays(())} of a server cannot be ended")


def _shown_lines(name: str, text: str) -> str:
    """The first lines, where some runtimes put the message, and the last, where others do."""
    lines = [each[:_LINE_LENGTH] + "…" * (len(each) > _LINE_LENGTH) for each in text.splitlines()]
    left_out = len(lines) - 2 * _LINES_SHOWN
    if left_out > 1:
        lines[_LINES_SHOWN:-_LINES_SHOWN] = [f"… {left_out} lines …"]
    return "".join(f"\n    {name}: {line}" for line in lines)


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


def expect_ended(ended: subprocess.CompletedProcess, status: int, *named: str) -> None:
    """The reference ended with this status, and wrote one line to stderr that contains each of
    `named`: the option, the value, the bounds, errno. Without any it wrote nothing."""
    stderr = ended.stderr.decode("utf-8", "backslashreplace")
    expected = f"a line with {', '.join(named)}" if named else "nothing"
    good = re.fullmatch(r"touchstone: .+\n" if named else "", stderr)
    good = good and all(each in stderr for each in named)
    message = f"expected {expected} on stderr and nothing on stdout, got {stderr!r}, {ended.stdout}"
    expect(good and not ended.stdout, "output", message)
    message = f"expected exit status {status}, got {ended.returncode}"
    expect(ended.returncode == status, "exit-status", message)
