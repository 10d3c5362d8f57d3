"""A network namespace (Linux) whose loopback can be switched off, so that a peer falls silent.

    unshare --net python -m touchstone_conform.harness.namespace DESCRIPTOR

is the process that keeps it. It takes one command at a time over the socket DESCRIPTOR: `up` and
`down` switch the loopback, `socket` makes a socket in the namespace and sends it back.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import socket
import struct
import subprocess
import sys

from touchstone_conform.harness import PACKAGES
from touchstone_conform.harness.skips import SkipReason

_ANSWER_S = 10
_WAYS = (["--net"], ["--user", "--map-root-user", "--net"])  # as root, and without privileges
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_IFF_UP = 1
_REQUEST = struct.Struct("16sH14x")  # struct ifreq: a name and flags


class Namespace:
    """A namespace from `Namespace()` to `close()`; its loopback is up at first."""

    def __init__(self):
        if not shutil.which("unshare") or not shutil.which("nsenter"):
            raise SkipReason("tool", "unshare and nsenter")
        for self._way in _WAYS:
            self._start()
            with contextlib.suppress(OSError, EOFError):
                self._command("up")
                return
            self.close()
        raise SkipReason("namespace", "permission to make a network namespace")

    def _start(self):
        self._control, theirs = socket.socketpair()
        self._control.settimeout(_ANSWER_S)
        keeper = [sys.executable, "-m", __name__, str(theirs.fileno())]
        with theirs:
            self._keeper = subprocess.Popen(
                ["unshare", *self._way, *keeper],
                cwd=PACKAGES,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def close(self):
        self._control.close()
        self._keeper.wait()

    def _command(self, command):
        """Send a command; return the descriptors of the answer."""
        self._control.sendall(command.encode())
        answer, descriptors, _, _ = socket.recv_fds(self._control, 16, 1)
        if not answer:
            raise EOFError
        return descriptors

    def arguments(self, command: list[str]) -> list[str]:
        """The command line that runs `command` in the namespace."""
        entered = [each for each in self._way if each != "--map-root-user"]
        as_we_are = ["--preserve-credentials"] if "--user" in entered else []
        return ["nsenter", "--target", str(self._keeper.pid), *entered, *as_we_are, *command]

    def socket(self, family, kind):
        """A new socket in the namespace, for this process."""
        descriptors = self._command("socket")
        return socket.socket(family, kind, fileno=descriptors[0])

    def cut(self):
        """Switch the loopback off: nothing arrives any more, without any notice."""
        self._command("down")


def _switch_loopback(on: bool):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, _REQUEST.pack(b"lo", 0))
        flags = _REQUEST.unpack(request)[1]
        flags = flags | _IFF_UP if on else flags & ~_IFF_UP
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _REQUEST.pack(b"lo", flags))


def keep(control):
    """Run commands until the other end closes."""
    while True:
        command = control.recv(16)
        if command == b"socket":
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
                socket.send_fds(control, [b"done"], [made.fileno()])
        elif command:
            _switch_loopback(command == b"up")
            control.sendall(b"done")
        else:
            return


if __name__ == "__main__":
    keep(socket.socket(fileno=int(sys.argv[1])))
