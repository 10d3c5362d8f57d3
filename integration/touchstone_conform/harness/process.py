"""A running process seen from outside, through /proc (Linux)."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import resource
import signal
import time

from touchstone_conform.harness.exchange import Exchange
from touchstone_conform.harness.listeners import listening_inodes, local_inodes
from touchstone_conform.harness.owned import Owned, family, signal_family
from touchstone_conform.harness.skips import SkipReason
from touchstone_conform.harness.waiting import wait_until

BUSY_FACTOR = 10  # a busy machine may take longer by so much
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SHADOW_BYTES = 1 << 40
_SWITCHES = re.compile(r"ctxt_switches:\t(\d+)")
_SLEEPS = re.compile(r"^voluntary_ctxt_switches:\t(\d+)", re.MULTILINE)
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def prlimit(pid: int, kind: int, *limits: tuple[int, int]) -> tuple[int, int]:
    """Call resource.prlimit, which not every Python has."""
    if not hasattr(resource, "prlimit"):
        raise SkipReason("tool", "resource.prlimit in Python")
    return resource.prlimit(pid, kind, *limits)


def _stat_of(path) -> list[str]:
    # The name in parentheses may hold anything; what follows it is the state, then numbers.
    return path.read_text().rpartition(")")[2].split()


class Process:
    """Reads what the kernel knows about one process; can stop it and change its limits.

    A server may serve each client in a process of its own: costs are summed over the process and
    its descendants, which are also stopped and continued together.
    """

    def __init__(self, pid: int, record: Exchange | None = None, owned: Owned | None = None):
        if not os.path.exists("/proc/self/smaps_rollup"):
            raise SkipReason("kernel", "/proc with smaps_rollup (Linux)")
        self.pid = pid
        self.record = record or Exchange()
        self._owned = owned

    def family(self) -> list[Process]:
        """It and its descendants."""
        return [Process(pid, self.record) for pid in family(self.pid)]

    def has_ended(self) -> bool:
        """Whether its number may be another's by now, as far as is known."""
        return self._owned is not None and self._owned.has_ended()

    def _path(self, name: str) -> pathlib.Path:
        return pathlib.Path(f"/proc/{self.pid}/{name}")

    def descriptors(self) -> dict[int, str]:
        """What each open descriptor refers to, by number."""
        found = {}
        for entry in self._path("fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found[int(entry.name)] = os.readlink(entry)
        return found

    def socket_flags(self) -> list[tuple[bool, int]]:
        """Tell of each network socket whether it listens, and its open-file flags."""
        found = []
        listening, local = listening_inodes(self.pid), local_inodes(self.pid)
        for number, target in self.descriptors().items():
            with contextlib.suppress(OSError):
                if target.startswith("socket:["):
                    inode = target[len("socket:[") : -1]
                    if inode in local:
                        continue
                    found.append((inode in listening, self.descriptor_flags(number)))
        return found

    def descriptor_flags(self, number: int) -> int:
        """The open-file flags of a descriptor, close-on-exec included."""
        for line in self._path(f"fdinfo/{number}").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "flags":
                return int(value, 8)
        raise LookupError(f"descriptor {number} of process {self.pid} shows no flags")

    def memory(self) -> dict[str, int]:
        """Bytes by kind: Rss, Pss, Private_Dirty and the rest.

        Counted by walking the page tables: VmRSS in `status` is kept in batches and may lag.
        """
        kinds = {}
        for line in self._path("smaps_rollup").read_text().splitlines()[1:]:
            name, _, value = line.partition(":")
            kinds[name] = int(value.split()[0]) * 1024
        return kinds

    def resident(self) -> int:
        """Bytes of memory resident now, descendants included."""
        self.record.cannot_express("memory")
        total = self.memory()["Rss"]
        for each in self.family()[1:]:
            with contextlib.suppress(OSError, KeyError):  # it has just ended
                total += each.memory()["Rss"]
        return total

    def is_sanitized(self) -> bool:
        """Whether it reserves address space as only sanitizers do: terabytes of shadow."""
        return int(self._path("statm").read_text().split()[0]) * _PAGE_BYTES > _SHADOW_BYTES

    def _stat(self) -> list[str]:
        return _stat_of(self._path("stat"))

    def state(self) -> str:
        """One letter: R running, S sleeping, T stopped, Z ended but not yet waited for."""
        return self._stat()[0]

    def is_at_rest(self) -> bool:
        """Whether all its threads and those of its descendants sleep, or have ended."""
        return self._states() <= {"S"}

    def _states(self) -> set[str]:
        """The states of its threads and those of its descendants that have not ended."""
        states = {self.state()}
        for each in self.family():
            with contextlib.suppress(OSError):
                for entry in each._path("task").iterdir():
                    with contextlib.suppress(OSError):
                        states.add(_stat_of(entry / "stat")[0])
        return states - {"Z", "X"}

    def switches(self) -> int:
        """How often its threads, and those of its descendants, went to sleep or were interrupted.

        When one of them ends, the sum decreases: any change is activity.
        """
        return self._counted(_SWITCHES)

    def sleeps(self) -> int:
        """The voluntary ones of them: a thread that spins is preempted, but does not sleep."""
        return self._counted(_SLEEPS)

    def _counted(self, pattern) -> int:
        total = 0
        for each in self.family():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for entry in each._path("task").iterdir():
                    total += sum(map(int, pattern.findall((entry / "status").read_text())))
        return total

    def seconds_in_queue(self) -> float:
        """How long its threads, and those of its descendants, have been ready to run without
        running (proc_pid_schedstat(5))."""
        total = 0
        for each in self.family():
            with contextlib.suppress(OSError):
                for entry in each._path("task").iterdir():
                    with contextlib.suppress(OSError):
                        total += int((entry / "schedstat").read_text().split()[1])
        return total / 1e9

    def cpu_seconds(self) -> float:
        """CPU time used so far, user and system together, by it and its descendants."""
        ticks = 0
        for each in self.family():
            with contextlib.suppress(OSError):
                ticks += sum(map(int, each._stat()[11:15]))  # and of descendants that ended
        return ticks / _TICKS_PER_SECOND

    def cpu_seconds_during(self, seconds: float) -> float:
        """CPU time used in the next `seconds` of wall time.

        Time in which it is ready to run and other processes run does not count: one that spins
        uses as much on a busy machine as on a quiet one.
        """
        self.record.footing.require("idle", "rest")
        self.record.cannot_express("CPU time")
        before, queued = self.cpu_seconds(), self.seconds_in_queue()
        begin = time.monotonic()
        left = seconds
        while left > 0:
            time.sleep(left)
            elapsed = time.monotonic() - begin
            left = min(seconds + self.seconds_in_queue() - queued, BUSY_FACTOR * seconds) - elapsed
        return self.cpu_seconds() - before

    @contextlib.contextmanager
    def stopped(self):
        """Stop the process (SIGSTOP): all that clients do meanwhile is ready at once afterwards."""
        self.record.footing.require("interrupt")
        try:
            if not wait_until(self._stops, 5):
                raise RuntimeError(f"process {self.pid} does not stop: state {self.state()}")
            self.record.note("freeze")
            yield
        finally:
            self.record.note("thaw")
            self._signal_family(signal.SIGCONT)

    def _stops(self):
        self._signal_family(signal.SIGSTOP)
        return self._states() <= {"T", "t"}

    def _signal_family(self, number):
        if not self.has_ended():  # it may have continued
            signal_family([self.pid], number)

    @contextlib.contextmanager
    def limited(self, kind: int, soft: int):
        """Lower a soft limit (resource.RLIMIT_…) for a while, or until the process ends."""
        self.record.cannot_express("a limit of the process")
        before = prlimit(self.pid, kind)
        prlimit(self.pid, kind, (soft, before[1]))
        try:
            yield
        finally:
            if not self.has_ended():
                with contextlib.suppress(ProcessLookupError):
                    prlimit(self.pid, kind, before)


@contextlib.contextmanager
def hangup(handler):
    """What is started inside begins with this disposition of SIGHUP. Under nohup ours, which would
    be inherited, is to ignore it."""
    before = signal.signal(signal.SIGHUP, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
