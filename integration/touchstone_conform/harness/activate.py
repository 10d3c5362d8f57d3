"""Starts a server as systemd does, with a socket at descriptor 3 (sd_listen_fds(3)).

    python activate.py [OPTION...] COMMAND [ARGUMENT...]

    --port N      where that socket is bound (0: any port)
    --kind KIND   listening, or what it is instead: bound, local, datagram, file, nothing
    --pid PID     LISTEN_PID: a number, or `own`, that of the server
    --fds TEXT    LISTEN_FDS
    --on-demand   start the command once a client waits to be accepted, as such a manager does

It becomes the server by exec, so the process stays the same. The socket is passed in blocking mode,
as some service managers do.
"""

from __future__ import annotations

import argparse
import os
import select
import socket

_PASSED = 3
_CLIENT_S = 20  # for a client to come; none comes if the test is over


def make(kind: str, port: int) -> int | None:
    """A descriptor of that kind, or None."""
    if kind == "nothing":
        return None
    if kind == "file":
        return os.open(os.devnull, os.O_RDWR)
    family = socket.AF_UNIX if kind == "local" else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind("" if kind == "local" else ("127.0.0.1", port))
    if kind in ("listening", "local"):
        made.listen()
    return made.detach()


def pass_on(descriptor: int | None) -> None:
    """Make it descriptor 3, and close all others from 3 on."""
    if descriptor is not None and descriptor != _PASSED:
        os.dup2(descriptor, _PASSED)
    elif descriptor is not None:
        os.set_inheritable(_PASSED, True)
    os.closerange(_PASSED + (descriptor is not None), 64)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--kind", default="listening")
    parser.add_argument("--pid", default="own")
    parser.add_argument("--fds", default="1")
    parser.add_argument("--on-demand", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    os.environ["LISTEN_PID"] = str(os.getpid()) if arguments.pid == "own" else arguments.pid
    os.environ["LISTEN_FDS"] = arguments.fds
    pass_on(make(arguments.kind, arguments.port))
    if arguments.on_demand:
        select.select([_PASSED], [], [], _CLIENT_S)
    os.execvp(arguments.command[0], arguments.command)


if __name__ == "__main__":
    main()
