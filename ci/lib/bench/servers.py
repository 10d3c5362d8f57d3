"""The servers that are measured: ours, the peers built beside it, and any other by command."""

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time

from .. import build, tree
from ..command import CannotRun
from . import machine

BUILD = tree.BUILD / "release"

OURS, FLOOR = "touchstone", "floor"
PEERS = ("libuv", "libevent", "libev")
LOOPS = (OURS, FLOOR, "libuv", "libevent")

START_S = 10
GRACE_S = 10


def path_of(name):
    """The path of something that was built for measuring."""
    return BUILD / "tests" / "bench" / name


def built():
    """name: command, in the order of the tables.

    A peer whose library is missing is not there, nor a port that `ci/conform ports` has not built.
    """
    ours = [BUILD / "touchstone", "--quiet", "--listen", "127.0.0.1:{port}"]
    commands = {OURS: shlex.join(map(str, ours))}
    for name in (FLOOR, *PEERS):
        if os.path.exists(path_of(name)):
            commands[name] = shlex.join([str(path_of(name)), "{port}"])
    for port in _ports():
        if shutil.which(port.start[0]):
            commands[f"{port.name}-port"] = shlex.join(map(str, port.start))
    return commands


def _ports():
    """The ports that conform, as the judge of many servers lists them."""
    sys.path.insert(0, str(tree.TOP / "integration"))
    import judge  # it needs the kit, which is there once something is measured

    return [each for each in judge.ports() if each.name not in (OURS, "naive")]


def build_all():
    build.make(build.configure("release", "gcc"), "touchstone", "bench")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A running one, alone on its core, in a session of its own."""

    def __init__(self, name, command, core):
        self.name, self.port = name, free_port()
        arguments = [each.replace("{port}", str(self.port)) for each in shlex.split(command)]
        self.process = subprocess.Popen(
            machine.pinned(core, arguments), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.softirqs = machine.ksoftirqd(core)

    def __enter__(self):
        limit = time.monotonic() + START_S
        while time.monotonic() < limit and self.process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            time.sleep(0.01)
        self.stop()
        raise CannotRun(
            f"{self.name} does not serve port {self.port} of 127.0.0.1 (expected: within "
            f"{START_S} s; {{port}} in its command is the port)"
        )

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        for how in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE_S)
                return

    def pids(self):
        return machine.session(self.process.pid)

    def cpu_seconds(self):
        """The CPU time of all its threads, and of the core's ksoftirqd, which works for it."""
        softirqs = [self.softirqs] if self.softirqs else []
        return sum(machine.cpu_seconds(pid) for pid in [*self.pids(), *softirqs])

    def memory_bytes(self, kind):
        return machine.memory_bytes(self.pids(), kind)
