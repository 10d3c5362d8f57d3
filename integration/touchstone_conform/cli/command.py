"""The command touchstone-conform: from its arguments to its exit status."""

from __future__ import annotations

import argparse
import pathlib
import shlex
import shutil
import socket
import sys
import tempfile

from touchstone_conform.cli import checks, expected, judging, pages
from touchstone_conform.cli.arguments import parser
from touchstone_conform.cli.judgement import CONFORMS, NOT_JUDGED, NOT_STARTED, USAGE, Judgement
from touchstone_conform.cli.printing import Printer
from touchstone_conform.failure import Failure
from touchstone_conform.harness.server import NotStarted, Server
from touchstone_conform.spec import SCENARIOS


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["report"]:
        return pages.main(arguments[1:])
    options = _parse(arguments)
    printer = Printer(sys.stdout)
    if options.list:
        for each in options.judged:
            printer.requirement(each)
        return CONFORMS
    if options.export_scenarios:
        return _export(options.export_scenarios, printer)
    trouble = _try_out(options)
    if trouble:
        print(f"touchstone-conform: {trouble}", file=sys.stderr)
        return NOT_STARTED
    try:
        return Judgement(options, printer).status()
    except judging.KitFailed as failed:
        print(f"touchstone-conform: the tests could not be run:\n{failed}", file=sys.stderr)
        return NOT_JUDGED
    except expected.ExpectedError as error:
        print(f"touchstone-conform: {error}", file=sys.stderr)
        return USAGE


def _parse(arguments: list[str]) -> argparse.Namespace:
    split = arguments.index("--") if "--" in arguments else len(arguments)
    reader = parser()
    options = reader.parse_args(arguments[:split])
    options.command = arguments[split + 1 :]
    try:
        checks.check(options)
    except checks.UsageError as error:
        reader.error(str(error))
    return options


def _export(folder, printer) -> int:
    paths = sorted(SCENARIOS.glob("*.scenario"))
    for path in paths:
        shutil.copyfile(path, folder / path.name)
    printer.line(f"{len(paths)} scenarios in {folder}")
    return CONFORMS


# Whether a verdict is possible.


def _try_out(options) -> str:
    """Why no verdict on the server is possible; empty if one is."""
    if options.address is not None:
        trouble = _trouble_at_address(options)
    else:
        trouble = _trouble_at_start(options, options.command, options.port)
    if trouble or options.reference is None:
        return trouble
    trouble = _trouble_at_start(options, shlex.split(options.reference), None)
    return trouble and f"--reference: {trouble}"


def _trouble_at_address(options) -> str:
    host, _, port = options.address.rpartition(":")
    where = host.strip("[]"), int(port)
    try:
        with socket.create_connection(where, 5 * options.time_scale) as found:
            options.found = found.getpeername()  # a name may have several addresses
    except (OSError, OverflowError) as error:
        return f"cannot connect to {options.address}: {error}"
    return ""


def _trouble_at_start(options, command, port) -> str:
    with tempfile.TemporaryDirectory() as folder:
        try:
            server = Server(command, pathlib.Path(folder), port=port, time_scale=options.time_scale)
        except NotStarted as error:
            return str(error)
        try:
            server.connect().close()
        except Failure as error:
            if server.wait_for_exit(server.scaled(1)) is not None:
                return f"the server {server.ending()} after it listened{server.last_errors()}"
            return f"the server listens on another address: {error}{server.last_errors()}"
        finally:
            server.end()
    return ""
