"""Borrows a socket of the server under test, to read or set its options (Linux pidfd_getfd).

While the duplicate is open the server's own close sends no FIN: it is closed again before
anything is judged, by leaving the `with` block.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct

from .missing import Missing

_PIDFD_GETFD = 438


@contextlib.contextmanager
def borrowed_socket(process, peer_address):
    """The server's end of the connection whose other end is bound to `peer_address`."""
    with _borrow(process, lambda each: _peer(each) == peer_address[:2]) as duplicate:
        yield duplicate


def _peer(each):
    """Host and port, if it has; of IPv4 as such, though a socket of both families shows IPv6."""
    if each.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    host, port = each.getpeername()[:2]
    return host.removeprefix("::ffff:"), port


def shrink_send_buffer(process, peer_address):
    """Make the server's end take little at once, so that output stays pending in the server."""
    process.record.cannot_say("a small buffer of the server's socket")
    with borrowed_socket(process, peer_address) as its_end:
        its_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)


@contextlib.contextmanager
def borrowed_listener(process):
    """The socket that the server listens with."""
    with _borrow(process, _listens) as duplicate:
        yield duplicate


def _listens(each):
    return each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def backlog(process) -> int:
    """So many connections wait for being accepted before the kernel lets no more in."""
    if not hasattr(socket, "TCP_INFO"):
        raise Missing("TCP_INFO")
    with borrowed_listener(process) as listener:
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    return struct.unpack_from("I", info, 28)[0]  # of a listener tcpi_sacked is that


def _borrow(process, is_it):
    """From it or a descendant, for one may serve what another accepted."""
    for each in process.family():
        pidfd = _pidfd_open(each.pid)
        try:
            found = _find(each, pidfd, is_it)
        finally:
            os.close(pidfd)
        if found is not None:
            return found
    raise LookupError(f"process {process.pid} has no such socket, nor have its descendants")


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
        raise Missing("pidfd_open")
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise Missing(f"pidfd_open ({error.strerror})") from error


def _pidfd_getfd(pidfd, number):
    libc = ctypes.CDLL(None, use_errno=True)
    duplicate = libc.syscall(_PIDFD_GETFD, pidfd, number, 0)
    if duplicate < 0:
        raise Missing(f"pidfd_getfd ({os.strerror(ctypes.get_errno())})")
    return duplicate
