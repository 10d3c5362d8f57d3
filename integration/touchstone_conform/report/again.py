"""The command line that judges a server again."""

from __future__ import annotations

import shlex

_PROGRAM = "touchstone-conform"


def command(server: dict, options: list[str], *more: str) -> str:
    """For a server as report.json has it, with the options of the run and more of them."""
    if "--replay" in more:  # over real sockets
        options = [each for each in options if each != "--simulate"]
    if server["address"]:
        target = ["--address", server["address"]]
    else:
        target = ["--", *server["command"]]
    return shlex.join([_PROGRAM, *options, *more, *target])
