"""Duplicates a descriptor of the server under test, to read or set socket options (pidfd_getfd).

While the duplicate is open, the server's own close sends no FIN: leave the `with` block before
judging how a connection ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct

from touchstone_conform.failure import Failure, expect
from touchstone_conform.harness.skips import SkipReason

_PIDFD_GETFD = 438


@contextlib.contextmanager
def duplicated_socket(process, peer_address):
    """The server's end of the connection whose other end is bound to `peer_address`."""
    found = _duplicate(process, lambda each: _peer(each) == peer_address[:2])
    if found is None:
        raise LookupError(f"process {process.pid} has no such socket, nor have its descendants")
    with found as duplicate:
        yield duplicate


def _peer(each):
    """Host and port, if it has them; an IPv4-mapped IPv6 address as IPv4."""
    if each.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    host, port = each.getpeername()[:2]
    return host.removeprefix("::ffff:"), port


def expect_option(duplicate, level, name, on=True):
    """Fail unless a socket option (its name in the module socket) is on, or off."""
    found = duplicate.getsockopt(level, getattr(socket, name)) != 0
    expect(found == on, "socket-option", f"expected {name} to be {'on' if on else 'off'}")


def expect_options_of_connection(process, peer_address):
    """Fail unless the server's end has keep-alive, urgent data in line, and no delay (REF-12)."""
    with duplicated_socket(process, peer_address) as its_end:
        expect_option(its_end, socket.SOL_SOCKET, "SO_KEEPALIVE")
        expect_option(its_end, socket.SOL_SOCKET, "SO_OOBINLINE")
        expect_option(its_end, socket.IPPROTO_TCP, "TCP_NODELAY")


def shrink_send_buffer(process, peer_address):
    """Make the server's end take little at once, so that output stays pending in the server."""
    process.record.cannot_express(
        "a small buffer of the server's socket (--simulate has one: kernel send N)"
    )
    with duplicated_socket(process, peer_address) as its_end:
        its_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)


@contextlib.contextmanager
def duplicated_listener(process):
    """The socket that the server listens with."""
    found = _duplicate(process, _listens)
    if found is None:
        raise Failure("not-listening", "the server does not listen any more")
    with found as duplicate:
        yield duplicate


def _listens(each):
    return each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def backlog(process) -> int:
    """How many connections can wait to be accepted."""
    if not hasattr(socket, "TCP_INFO"):
        raise SkipReason("kernel", "TCP_INFO")
    with duplicated_listener(process) as listener:
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    return struct.unpack_from("I", info, 28)[0]  # of a listener, tcpi_sacked is the backlog


def _duplicate(process, is_it):
    """Duplicate the socket that `is_it` picks, if there is one, of the process or a descendant: one
    may serve what another accepted."""
    for each in process.family():
        pidfd = _pidfd_open(each.pid)
        try:
            found = _find(each, pidfd, is_it)
        finally:
            os.close(pidfd)
        if found is not None:
            return found
    return None


def _find(process, pidfd, is_it):
    for number, target in process.descriptors().items():
        if not target.startswith("socket:"):
            continue
        with contextlib.ExitStack() as unless_it_is:
            duplicate = socket.socket(fileno=_pidfd_getfd(pidfd, number))
            unless_it_is.enter_context(duplicate)
            with contextlib.suppress(OSError):
                if is_it(duplicate):
                    unless_it_is.pop_all()
                    return duplicate
    return None


def _pidfd_open(pid):
    if not hasattr(os, "pidfd_open"):
        raise SkipReason("kernel", "pidfd_open")
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise SkipReason("permission", f"pidfd_open ({error.strerror})") from error


def _pidfd_getfd(pidfd, number):
    libc = ctypes.CDLL(None, use_errno=True)
    duplicate = libc.syscall(_PIDFD_GETFD, pidfd, number, 0)
    if duplicate < 0:
        raise SkipReason("permission", f"pidfd_getfd ({os.strerror(ctypes.get_errno())})")
    return duplicate
