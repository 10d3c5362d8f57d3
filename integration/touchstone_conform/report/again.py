"""The command line that judges a server again."""

from __future__ import annotations

import shlex

from touchstone_conform import spec

_PROGRAM = "touchstone-conform"


def command(server: dict, options: list[str], *more: str) -> str:
    """For a server as report.json has it, with the options of the run and more of them."""
    if server["address"]:
        target = ["--address", server["address"]]
    else:
        target = ["--", *server["command"]]
    return shlex.join([_PROGRAM, *options, *more, *target])


def only(id: str, profile: str) -> list[str]:
    """The options that judge one requirement."""
    return ["--simulate"] * (profile == spec.SIMULATED) + ["--only", id]
