"""The command line of ci/test, once there is a Python."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib import clean_root, command, evidence, plan, suite, units  # noqa: E402


PROG = "ci/test"


def run(verb="", *arguments):
    """What ci/test does with arguments that it has looked at already."""
    if verb == "units":
        return units.run(*arguments)
    if verb == "self-test":
        command.require("venv")
        return command.pytest("ci/tests", *arguments)
    if verb == "evidence":
        if arguments not in ((), ("--print",)):
            command.refuse(PROG, arguments[0], "--print")
        return evidence.run(print_only=bool(arguments))
    if verb == "clean-root":
        return clean_root.run(*arguments)
    return suite.run(verb.lstrip("-") or plan.MODES[0])


command.guarded(PROG, lambda: run(*sys.argv[1:]))
