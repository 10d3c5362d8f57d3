"""Free ports, and which process listens on a port (Linux: sock_diag(7), /proc/net)."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import socket
import struct
import sys

from touchstone_conform.harness.owned import family

# Below the range the kernel hands out to connecting clients, so that no client takes the port
# between our look and the server's bind.
_FIRST_PORT, _LAST_PORT = 10000, 32000
_LISTEN = 10
# From linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h.
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_DUMP_REQUEST = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, sender
_REQUEST = struct.Struct("=BBBxI48x")  # family, protocol, no extensions, states
_ANSWER = struct.Struct("=4x2s2x16s44xI")  # port, address, inode


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


def listening_process(roots: list[int], port: int) -> int | None:
    """The process among `roots` and their descendants that listens on `port`, if one does.

    A command line may start the server through a wrapper; the process that listens is judged.
    """
    for root in roots:
        inodes = listening_inodes(root, port)
        for pid in family(root) if inodes else ():
            if inodes & _socket_inodes(pid):
                return pid
    return None


def listening_inodes(root: int, port: int | None = None) -> set[str]:
    """What listens on one port or all, in the network namespace of `root`, perhaps not ours."""
    return {inode for inode, _, found in _listening(root) if port in (None, found)}


def local_inodes(pid: int) -> set[str]:
    """AF_UNIX sockets, socket pairs included: those that a runtime has for itself."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]
    except OSError:
        return set()
    return {line.split()[6] for line in lines}


def listening_addresses(roots: list[int]) -> list[str]:
    """Where these processes and their descendants listen: HOST:PORT."""
    found = set()
    for root in roots:
        inodes = {inode for pid in family(root) for inode in _socket_inodes(pid)}
        for inode, host, port in _listening(root):
            if inode in inodes:
                found.add(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    return sorted(found)


def unreadable(roots: list[int]) -> int | None:
    """A process among these and their descendants whose descriptors we may not see."""
    for root in roots:
        for pid in family(root):
            try:
                os.listdir(f"/proc/{pid}/fd")
            except PermissionError:
                return pid
            except OSError:  # it has ended
                continue
    return None


def _listening(root: int) -> list[tuple[str, str, int]]:
    """Inode, host and port of each, in the network namespace of `root`, which may differ from ours.

    The tables under /proc/net tell it for any namespace, but the kernel takes milliseconds to make
    them, and a server that starts is asked many times.
    """
    families = socket.AF_INET, socket.AF_INET6
    with contextlib.suppress(OSError):  # no sock_diag, or `root` has ended
        if os.path.samefile("/proc/self/ns/net", f"/proc/{root}/ns/net"):
            return [each for family_ in families for each in _asked(family_)]
    return [each for family_ in families for each in _read(root, family_)]


def _asked(kind: int) -> list[tuple[str, str, int]]:
    """Ask the kernel by sock_diag(7)."""
    request = _REQUEST.pack(kind, socket.IPPROTO_TCP, 0, 1 << _LISTEN)
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _DUMP_REQUEST, 0, 0)
    found = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as diag:
        diag.send(header + request)
        while True:
            messages = memoryview(diag.recv(1 << 16))
            while messages:
                length, type_, *_ = _HEADER.unpack_from(messages)
                if type_ == _NLMSG_DONE:
                    return found
                if type_ == _NLMSG_ERROR:
                    raise OSError("sock_diag is not available")
                port, address, inode = _ANSWER.unpack_from(messages, _HEADER.size)
                host = socket.inet_ntop(kind, address[: 4 if kind == socket.AF_INET else 16])
                found.append((str(inode), host, int.from_bytes(port, "big")))
                messages = messages[(length + 3) & ~3 :]


def _read(root: int, kind: int) -> list[tuple[str, str, int]]:
    table = "tcp" if kind == socket.AF_INET else "tcp6"
    try:
        lines = pathlib.Path(f"/proc/{root}/net/{table}").read_text().splitlines()[1:]
    except OSError:
        return []
    found = []
    for line in lines:
        field = line.split()
        if int(field[3], 16) == _LISTEN:
            host, _, port = field[1].rpartition(":")
            found.append((field[9], _host_of(host, kind), int(port, 16)))
    return found


def _host_of(digits: str, kind: int) -> str:
    """An address as the kernel shows it: words of 32 bits, in the order of this machine."""
    words = [int(digits[i : i + 8], 16) for i in range(0, len(digits), 8)]
    return socket.inet_ntop(kind, b"".join(word.to_bytes(4, sys.byteorder) for word in words))


def _socket_inodes(pid: int) -> set[str]:
    inodes = set()
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return inodes
    for number in numbers:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{number}")
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[len("socket:[") : -1])
    return inodes
