"""A client that sends without pause and reads all that comes back, as a program of its own.

    python -m touchstone_conform.harness.flood HOST PORT SECONDS

A process, because a thread would delay the measurement of other clients. Prints `flooding` once the
first byte came back; ends after SECONDS or when its standard input closes.
"""

from __future__ import annotations

import select
import socket
import sys

from touchstone_conform.harness.waiting import Deadline

_CHUNK = bytes(range(256)) * 256


def flood(host: str, port: int, seconds: float, stop) -> None:
    deadline = Deadline(seconds)
    with socket.create_connection((host, port), timeout=seconds) as connection:
        connection.sendall(_CHUNK[:1])
        connection.recv(1)
        print("flooding", flush=True)
        connection.setblocking(False)
        while not deadline.passed():
            readable, writable, _ = select.select([connection, stop], [connection], [], 0.1)
            if stop in readable:
                return
            if readable and not connection.recv(1 << 18):
                return
            if writable:
                connection.send(_CHUNK)


if __name__ == "__main__":
    flood(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.stdin)
