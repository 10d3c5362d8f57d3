"""Free ports, and which process listens on a port (Linux: /proc/net)."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import socket

# Below the range the kernel hands out to connecting clients, so that no client takes the port
# between our look and the server's bind.
_FIRST_PORT, _LAST_PORT = 10000, 32000
_LISTEN = "0A"


def free_port(host: str) -> int:
    """A port that is not bound at this moment."""
    with claim_port(host) as claim:
        return claim.getsockname()[1]


def claim_port(host: str) -> socket.socket:
    """A port that is not bound, and that no other kit or worker chooses until the result is closed.

    The result is a UDP socket with the same port number: a server that is about to start needs the
    TCP port free for a while.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(1000):
        port = random.randrange(_FIRST_PORT, _LAST_PORT)
        claim = socket.socket(family, socket.SOCK_DGRAM)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                claim.bind((host, port))
                probe.bind((host, port))
            except OSError:
                claim.close()
                continue
            return claim
    raise RuntimeError(f"no free port on {host} between {_FIRST_PORT} and {_LAST_PORT}")


def can_look_up() -> bool:
    return os.path.exists("/proc/net/tcp")


def listening_process(root: int, port: int) -> int | None:
    """The process among `root` and its descendants that listens on `port`, if one does.

    A command line may start the server through a wrapper; the process that listens is judged.
    """
    inodes = listening_inodes(root, port)
    if not inodes:
        return None
    for pid in family(root):
        if inodes & _socket_inodes(pid):
            return pid
    return None


def listening_inodes(root: int, port: int | None = None) -> set[str]:
    """Of one port or all, in the network namespace of `root`, which may differ from ours."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = pathlib.Path(f"/proc/{root}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            field = line.split()
            if field[3] == _LISTEN and port in (None, int(field[1].rsplit(":", 1)[1], 16)):
                inodes.add(field[9])
    return inodes


def family(root: int) -> list[int]:
    """A process and its descendants, without those that end meanwhile."""
    found = [root]
    for pid in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                children = pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text()
                found += [int(child) for child in children.split()]
    return found


def _socket_inodes(pid: int) -> set[str]:
    inodes = set()
    for link in pathlib.Path(f"/proc/{pid}/fd").glob("*"):
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[len("socket:[") : -1])
    return inodes
