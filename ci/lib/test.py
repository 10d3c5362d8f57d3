"""The command line of ci/test, once there is a Python."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib import clean_root, command, evidence, plan, suite, units  # noqa: E402


def run(arguments):
    if arguments[:1] == ["units"]:
        return units.run(*(arguments[1:] or ["dev"]))
    if arguments[:1] == ["self-test"]:
        command.require("venv")
        return command.pytest("ci/tests", *arguments[1:])
    if arguments[:1] == ["evidence"]:
        if arguments[1:] not in ([], ["--print"]):
            parser.error(f"unknown argument '{arguments[1]}', expected --print")
        return evidence.run(print_only=bool(arguments[1:]))
    if arguments[:1] == ["clean-root"]:
        return clean_root.run(arguments[1])
    mode = arguments[0].lstrip("-") if arguments else plan.MODES[0]
    return suite.run(mode)


parser = command.Parser("ci/test")
parser.add_argument("arguments", nargs="...")
command.main(lambda _: run(sys.argv[1:]), parser)
