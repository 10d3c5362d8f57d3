"""Clients that send without pause and read all that comes back, as a program of its own.

    python -m touchstone_conform.harness.flood HOST PORT SECONDS CLIENTS

A process, because a thread would delay the measurement of other clients. Prints `flooding` once
each client got its first byte back; ends after SECONDS, when its standard input closes, or when the
server closes a connection.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys

from touchstone_conform.harness.waiting import Deadline

_CHUNK = bytes(range(256)) * 4096  # with few calls it keeps a server busy that takes 64 KiB at once


def connect(host: str, port: int, seconds: float) -> socket.socket:
    """A client that was served."""
    connection = socket.create_connection((host, port), timeout=seconds)
    connection.sendall(_CHUNK[:1])
    connection.recv(1)
    connection.setblocking(False)
    return connection


def move(connection: socket.socket, events: int) -> bool:
    """Receive and send what is possible; false once the server closed the connection."""
    if events & selectors.EVENT_READ and not connection.recv(len(_CHUNK)):
        return False
    if events & selectors.EVENT_WRITE:
        connection.send(_CHUNK)
    return True


def flood(host: str, port: int, seconds: float, clients: int, stop) -> None:
    deadline = Deadline(seconds)
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(clients):
            connection = stack.enter_context(connect(host, port, seconds))
            selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE)
        selector.register(stop, selectors.EVENT_READ)
        print("flooding", flush=True)
        while not deadline.passed():
            for key, events in selector.select(0.1):
                if key.fileobj is stop or not move(key.fileobj, events):
                    return


if __name__ == "__main__":
    flood(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.stdin)
