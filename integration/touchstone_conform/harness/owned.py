"""Which processes are ours, and signals that reach no other.

A number is a process's until its parent has waited for it; then it may be another's. So a signal
goes through a descriptor of the process (Linux: pidfd), or to a child that was not waited for.

What a server leaves behind when its parent ends becomes a child of ours (Linux: we are a
subreaper): nothing that was started gets away. Elsewhere only a process group is known.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import select
import signal
import sys

_PR_SET_CHILD_SUBREAPER = 36


def become_reaper() -> None:
    """From now on, descendants whose parent ends become children of this process."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Owned:
    """One process that was ours when this was made: a signal reaches it, or nobody."""

    def __init__(self, pid: int):
        self.pid = pid
        self._status = None  # once it was waited for
        self._descriptor = None
        with contextlib.suppress(AttributeError, OSError):  # an old kernel, another system
            self._descriptor = os.pidfd_open(pid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def signal(self, number: int) -> None:
        """ProcessLookupError if it has ended."""
        if self._status is not None:
            raise ProcessLookupError(f"process {self.pid} has ended")
        if self._descriptor is not None and hasattr(signal, "pidfd_send_signal"):
            signal.pidfd_send_signal(self._descriptor, number)
        else:
            os.kill(self.pid, number)

    def has_ended(self) -> bool:
        if self._descriptor is None:
            return self._status is not None or state_and_parent(self.pid)[0] in ("", "Z")
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(0))

    def poll(self) -> int | None:
        """Give the exit status of a child of ours, negative for a signal; None while it runs."""
        if self._status is None:
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self._status = os.waitstatus_to_exitcode(status)
        return self._status


def state_and_parent(pid: int) -> tuple[str, int]:
    """The letter of its state and its parent's number; ("", 0) if it is not there."""
    with contextlib.suppress(OSError):
        # The name in parentheses may hold anything.
        after = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return after[0], int(after[1])
    return "", 0


def children(pid: int) -> list[int]:
    """Its children that have not been waited for."""
    found, tasks = [], []
    with contextlib.suppress(OSError):
        tasks = os.listdir(f"/proc/{pid}/task")
    for task in tasks:
        with contextlib.suppress(OSError):  # the thread has ended: another has its children
            text = pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text()
            found += map(int, text.split())
    return found


def family(root: int) -> list[int]:
    """A process and its descendants, without those that end meanwhile."""
    found = [root]
    for pid in found:
        found += children(pid)
    return found


def strays(known) -> list[int]:
    """Children of ours that others left behind: neither `known`, nor of our own session.

    The kit's own helpers stay in its session; every server is the leader of another.
    """
    session = os.getsid(0)
    found = []
    for pid in children(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            if pid not in known and os.getsid(pid) != session:
                found.append(pid)
    return found


def wait_for(pids) -> None:
    """Take the status of those among these children of ours that have ended."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def signal_family(roots, number: int) -> None:
    """Signal children of ours that were not waited for, and all their descendants."""
    for root in roots:
        members = family(root)
        for pid in members:
            with contextlib.suppress(ProcessLookupError), Owned(pid) as each:
                # Opened first: if its parent is still of the family, it is the expected process.
                if pid == root or state_and_parent(pid)[1] in members:
                    each.signal(number)
