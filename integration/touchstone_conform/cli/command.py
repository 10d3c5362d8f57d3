"""The command touchstone-conform: from its arguments to its exit status."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import threading
import traceback

from touchstone_conform.cli import checks, expected, judging, pages
from touchstone_conform.cli.arguments import parser
from touchstone_conform.cli.judgement import (
    CONFORMS,
    INTERRUPTED,
    KIT_FAILED,
    NOT_JUDGED,
    NOT_STARTED,
    USAGE,
    Judgement,
)
from touchstone_conform.cli.printing import Printer
from touchstone_conform.failure import Failure
from touchstone_conform.harness.server import NotStarted, Server
from touchstone_conform.harness.skips import SkipReason
from touchstone_conform.spec import SCENARIOS
from touchstone_conform.timeline import visible


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status. What fails here is the kit's fault."""
    arguments = sys.argv[1:] if arguments is None else arguments
    _open_standard_streams()
    if sys.flags.optimize:
        _complain("Python's -O or PYTHONOPTIMIZE is set, which removes what the tests check")
        return KIT_FAILED
    try:
        with _ended_by_sigterm():
            return _main(arguments)
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except Exception as error:  # a defect of the kit, or a machine that lacks something
        traceback.print_exc()
        _complain(f"the kit itself failed: {error}")
        return KIT_FAILED


def _complain(text: str) -> None:
    print(f"touchstone-conform: {visible(text)}", file=sys.stderr)


def _open_standard_streams() -> None:
    """Where one is closed, the next file opened would take its number, and get what is printed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            mode = os.O_RDONLY if number == 0 else os.O_WRONLY
            os.set_inheritable(os.open(os.devnull, mode), True)  # the lowest free number: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))


@contextlib.contextmanager
def _ended_by_sigterm():
    """SIGTERM is as Ctrl-C, so that servers are ended and reports are written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _main(arguments: list[str]) -> int:
    if arguments[:1] == ["report"]:
        return pages.main(arguments[1:])
    options = _parse(arguments)
    printer = Printer(sys.stdout)
    status = _run(options, printer)
    for each in printer.errors:
        _complain(each)
    return KIT_FAILED if printer.errors and status in (CONFORMS, NOT_JUDGED) else status


def _run(options, printer) -> int:
    if options.list:
        for each in options.judged:
            printer.requirement(each)
        return CONFORMS
    if options.export_scenarios:
        return _export(options.export_scenarios, printer)
    _remove_earlier_results(options)
    try:
        trouble = _try_out(options)
    except SkipReason as reason:
        _complain(f"the server cannot be started: {reason}")
        return KIT_FAILED
    if trouble:
        _complain(trouble)
        return NOT_STARTED
    try:
        return Judgement(options, printer).status()
    except judging.KitFailed as failed:
        _complain(f"the tests could not be run:\n{failed}")
        return KIT_FAILED
    except expected.ExpectedError as error:
        _complain(str(error))
        return USAGE


def _scenarios_of(report: pathlib.Path) -> list[pathlib.Path]:
    """The files that an earlier report names: others in that folder are not the kit's."""
    try:
        verdicts = json.loads((report / "report.json").read_text(encoding="utf-8"))["requirements"]
        names = {test["scenario"] for each in verdicts for test in each["tests"]}
    except (OSError, ValueError, LookupError, TypeError):  # none, or no report
        return []
    return [report / "scenarios" / pathlib.Path(name).name for name in names if name]


def _remove_earlier_results(options) -> None:
    """Whatever comes now, nobody takes the results of an earlier run for those of this one."""
    found = [options.junit]
    if options.report is not None:
        found += _scenarios_of(options.report)
        found += [options.report / "report.json", options.report / "index.html"]
    for path in found:
        if path is not None and path.is_file():  # not a device or a pipe
            path.unlink()


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
        trouble = _trouble_at_start(options, options.command, options.host, options.port)
    if trouble or options.reference is None:
        return trouble
    trouble = _trouble_at_start(options, shlex.split(options.reference), "127.0.0.1", None)
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


def _trouble_at_start(options, command, host, port) -> str:
    with tempfile.TemporaryDirectory() as folder:
        try:
            settings = {"host": host, "time_scale": options.time_scale}
            server = Server(command, pathlib.Path(folder), port=port, **settings)
        except NotStarted as error:
            return str(error)
        try:
            server.connect().close()
        except Failure as error:
            if server.wait_for_exit(server.scaled(1)) is not None:
                return f"the server {server.ending()} after it listened{server.shown_errors()}"
            where = ", ".join(server.listening_addresses())
            hint = f" ({where}; --host says which address is meant)" if where else ""
            errors = server.shown_errors()
            return f"the server listens on another address{hint}: {error}{errors}"
        finally:
            server.end()
    return ""
