"""The command line of touchstone-conform."""

from __future__ import annotations

import argparse
import math
import pathlib
import sys

from touchstone_conform import __version__, spec

_DESCRIPTION = "Judges a TCP echo server against SPEC.md, requirement by requirement."
_USAGE = """touchstone-conform [OPTION...] -- COMMAND [ARGUMENT...]   start a server and judge it
       touchstone-conform [OPTION...] --address HOST:PORT         judge a running server
       touchstone-conform report RESULT.json... [-o PAGE.html]    results side by side (--help)"""
_EXIT_STATUSES = """
Exit status:
  0  the server conforms, perhaps with remarks (a SHOULD fails), or fails as --expected-failures
     lists
  1  it does not
  2  bad usage
  3  the server could not be started or reached
  4  nothing was judged
  5  the kit itself failed, and no failure of the server was found: a test ended in kit-error, or a
     result could not be written
  130  interrupted (Ctrl-C or SIGTERM): the verdict is on the tests that were done
"""


class Parser(argparse.ArgumentParser):
    """Refuses bad usage with one line on stderr and status 2."""

    def __init__(self, **settings):
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(formatter_class=formatter, allow_abbrev=False, **settings)

    def parse_args(self, arguments=None, namespace=None):
        options, unknown = self.parse_known_args(arguments, namespace)
        if unknown:
            self.error(f"unknown argument {unknown[0]!r}")
        return options

    def error(self, message):
        print(f"{self.prog}: {message} (--help lists the options)", file=sys.stderr)
        sys.exit(2)


def _number(low, kind=int):
    what = "a whole number" if kind is int else "a number"

    def read(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not value >= low:
            raise argparse.ArgumentTypeError(f"expected {what} of at least {low}, got {text!r}")
        return value

    return read


def parser() -> Parser:
    made = Parser(
        prog="touchstone-conform", description=_DESCRIPTION, epilog=_EXIT_STATUSES, usage=_USAGE
    )
    made.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    _add_server(made.add_argument_group("the server"))
    _add_selection(made.add_argument_group("what is judged"))
    _add_manner(made.add_argument_group("how it is judged"))
    _add_outputs(made.add_argument_group("what is written"))
    return made


def _add_server(group) -> None:
    group.add_argument("--address", metavar="HOST:PORT", help="the address of a running server")
    group.add_argument(
        "--port",
        type=_number(1),
        metavar="N",
        help="the port of a server whose command has no {port}",
    )
    group.add_argument(
        "--transform",
        default="upper",
        metavar="NAME",
        help="how the server maps bytes: upper (default), identity, or MODULE:FUNCTION, which "
        "takes bytes and returns as many; MODULE may be in the current directory",
    )
    group.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="what {host} in the command stands for, and where clients connect (default "
        "127.0.0.1); ::1 for a server that listens on IPv6 alone",
    )
    group.add_argument(
        "--buffer",
        type=_number(0),
        default=0,
        metavar="BYTES",
        help="the output that the server documents to buffer for a client that does not read; "
        "raises the limits of FLOW-1 and FLOW-3 by as much",
    )
    group.add_argument(
        "--idle-close",
        type=_number(2, float),
        default=math.inf,
        metavar="S",
        help="the server documents that it closes a connection that is idle for S seconds; CLOSE-7 "
        "then judges that it does so, and not before",
    )


def _add_selection(group) -> None:
    group.add_argument(
        "--profile",
        choices=spec.PROFILES,
        default="process",
        help="judge this profile and those before it: wire, process (default), service, and "
        "reference, which is Touchstone's own",
    )
    group.add_argument(
        "--level",
        choices=("must", "should"),
        help="should: a SHOULD that fails is a failure as a MUST is; must: no SHOULD is judged "
        "(default: it is judged, and one that fails is a remark)",
    )
    group.add_argument(
        "-k",
        "--only",
        nargs="+",
        action="extend",
        type=str.upper,
        default=[],
        metavar="ID",
        help="only these requirements or topics (CLOSE; with --simulate also SIM)",
    )
    group.add_argument(
        "--skip", action="append", default=[], metavar="ID=REASON", help="do not judge this one"
    )
    group.add_argument(
        "--simulate",
        action="store_true",
        help="also run scenarios on a simulated kernel under the server, with system calls that "
        "fail (SIM-1 to 4); needs Linux on x86-64 and a C compiler",
    )
    group.add_argument("--smoke", action="store_true", help="one test for each MUST, about 15 s")
    group.add_argument(
        "--replay",
        nargs="+",
        action="extend",
        metavar="SCENARIO",
        help="run these scenarios and no tests",
    )
    group.add_argument("--list", action="store_true", help="list the requirements and exit")


def _add_manner(group) -> None:
    group.add_argument(
        "--require-all",
        action="store_true",
        help="a test that cannot run on this machine fails instead of being skipped",
    )
    group.add_argument(
        "--jobs",
        type=_number(1),
        metavar="N",
        help="tests at a time (default: cores, at most 4)",
    )
    group.add_argument(
        "--time-scale",
        type=_number(0.01, float),
        default=1.0,
        metavar="F",
        help="multiply every time limit, for slow machines and builds",
    )
    group.add_argument(
        "--client-timeout",
        type=_number(0.1, float),
        default=5.0,
        metavar="S",
        help="seconds that a client waits for what is due to it (default 5)",
    )
    group.add_argument(
        "--repeat",
        type=_number(1),
        default=1,
        metavar="N",
        help="run everything N times and count flaky requirements",
    )
    group.add_argument(
        "--seed",
        type=_number(0),
        default=0,
        metavar="N",
        help="seed of the generated exchanges (default 0)",
    )
    group.add_argument(
        "--examples",
        type=_number(1),
        default=20,
        metavar="N",
        help="number of generated exchanges (default 20)",
    )
    group.add_argument(
        "--reference",
        metavar="COMMAND",
        help="a conforming server: each failed test also runs against it",
    )
    group.add_argument(
        "--expected-failures",
        type=pathlib.Path,
        metavar="FILE",
        help="the failures that are known: lines of 'ID code' (PORTING.md lists the codes)",
    )
    group.add_argument("--fix", action="store_true", help="write that file; needs a whole run")


def _add_outputs(group) -> None:
    group.add_argument(
        "--report", type=pathlib.Path, metavar="DIR", help="index.html, report.json, scenarios/"
    )
    group.add_argument("--junit", type=pathlib.Path, metavar="FILE", help="results as JUnit XML")
    group.add_argument(
        "--title",
        default="",
        metavar="TEXT",
        help="what a report calls the server, such as its name and version (default: DIR)",
    )
    group.add_argument(
        "--export-scenarios",
        type=pathlib.Path,
        metavar="DIR",
        help="copy all scenarios there and exit",
    )
