"""Clients that send without pause and read all that comes back, as a program of its own.

    python -m touchstone_conform.harness.flood HOST PORT SECONDS CLIENTS

A process, because a thread would delay the measurement of other clients. Prints `flooding` once
each client got a byte back; ends after SECONDS or when its standard input closes, and with status 3
if the server ended a connection. In the end the clients leave by FIN, and read what still comes:
RST is no matter of fairness.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys

from touchstone_conform.failure import expect
from touchstone_conform.harness.waiting import Deadline

ENDED_BY_SERVER = 3
# With few calls it keeps a server busy that takes 64 KiB at once; and no client waits long.
_CHUNK = bytes(range(256)) * 4096
_ROUND = 64 << 20  # bytes of all clients
_BOTH = selectors.EVENT_READ | selectors.EVENT_WRITE
_LEAVE_S = 2
END_S = 5  # until the process has ended, once it was asked to


def expect_open(flood) -> None:
    """Fail if the server ended a connection of that process."""
    message = "the server ended the connection of a client that sends without pause"
    expect(flood.poll() != ENDED_BY_SERVER, "closed-early", message)


def move(connection: socket.socket, events: int, chunk) -> int | None:
    """Send and receive what is possible: how many bytes came; None once the server ended it."""
    try:
        received = len(connection.recv(len(chunk))) if events & selectors.EVENT_READ else 0
        if events & selectors.EVENT_READ and not received:
            return None
        if events & selectors.EVENT_WRITE:
            connection.send(chunk)
    except OSError:
        return None
    return received


def leave(connections, seconds: float) -> None:
    """Close with FIN; clients that are not fully answered in that time are reset afterwards."""
    deadline = Deadline(seconds)
    for each in connections:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_WR)
    for each in connections:
        with contextlib.suppress(OSError):
            each.settimeout(deadline.left())
            while each.recv(len(_CHUNK)) and not deadline.passed():
                pass


def flood(host: str, port: int, seconds: float, clients: int, stop) -> int:
    """The exit status."""
    deadline = Deadline(seconds)
    chunk = memoryview(_CHUNK)[: _ROUND // clients]
    connections, unserved = [], set()
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        selector.register(stop, selectors.EVENT_READ)
        for _ in range(clients):
            connection = socket.create_connection((host, port), timeout=seconds)
            stack.enter_context(connection).setblocking(False)
            selector.register(connection, _BOTH)
            connections.append(connection)
            unserved.add(connection)
        while not deadline.passed():
            for key, events in selector.select(0.1):
                if key.fileobj is stop:
                    leave(connections, _LEAVE_S)
                    return 0
                received = move(key.fileobj, events, chunk)
                if received is None:
                    return ENDED_BY_SERVER
                if received and key.fileobj in unserved:
                    unserved.remove(key.fileobj)
                    if not unserved:
                        print("flooding", flush=True)
    return 0


if __name__ == "__main__":
    _host, _port, _seconds, _clients = sys.argv[1:]
    sys.exit(flood(_host, int(_port), float(_seconds), int(_clients), sys.stdin))
