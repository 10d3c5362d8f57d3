"""Judges a TCP echo server against SPEC.md, requirement by requirement.

    touchstone-conform [options] -- ./my-server --port {port}    starts it, judges it
    touchstone-conform [options] --address 127.0.0.1:4444        judges what already runs
    touchstone-conform report RESULT.json... -o PAGE.html        results side by side; --help

Exit status: 0 it conforms, 1 it does not, 2 bad usage, 3 the server could not be started (or
reached), 4 nothing was judged.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import pathlib
import platform
import re
import shlex
import shutil
import socket
import sys
import tempfile
import time

from . import __version__, expected, judging, page, reports, scenario, spec, transform
from .client import Unexpected
from .printing import Printer
from .results import FAILED, PASSED, Result, by_profile, judge
from .server import NOT_OURS, NotStarted, Server

CONFORMS, DOES_NOT_CONFORM, USAGE, NOT_STARTED, NOT_JUDGED = range(5)
_JOBS_MAX = 4
_SCENARIOS = pathlib.Path(__file__).parent / "scenarios"
_REPLAY = "test_scenarios.py"
_WAYS = ("transform", "port", "profile", "time_scale", "seed", "examples")


def main(words: list[str] | None = None) -> int:
    """The command: gives its exit status."""
    words = sys.argv[1:] if words is None else words
    if words[:1] == ["report"]:
        return page.main(words[1:])
    options = _parse(words)
    printer = Printer(sys.stdout)
    if options.list:
        for each in options.judged:
            printer.requirement(each)
        return CONFORMS
    if options.export_scenarios:
        return _export(options.export_scenarios, printer)
    unreachable = _try_out(options)
    if unreachable:
        print(f"touchstone-conform: {unreachable}", file=sys.stderr)
        return NOT_STARTED
    try:
        return _Judgement(options, printer).status()
    except judging.KitFailed as failed:
        print(f"touchstone-conform: the tests could not be run:\n{failed}", file=sys.stderr)
        return NOT_JUDGED
    except expected.ExpectedError as error:
        print(f"touchstone-conform: {error}", file=sys.stderr)
        return USAGE


# The command line.


def _parse(words: list[str]) -> argparse.Namespace:
    split = words.index("--") if "--" in words else len(words)
    parser = _parser()
    options = parser.parse_args(words[:split])
    options.command = words[split + 1 :]
    try:
        _check(options)
    except _Wrong as wrong:
        parser.error(str(wrong))
    return options


class _Wrong(Exception):
    """Bad usage: what was wrong, and what was expected."""


def _number(low, kind=int):
    what = "a whole number" if kind is int else "a number"

    def read(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not value >= low:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what} from {low} on")
        return value

    return read


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="touchstone-conform",
        description=__doc__.partition("\n\n")[0],
        epilog=__doc__.partition("\n\n")[2],
        usage="touchstone-conform [options] -- COMMAND [WORD...] | --address HOST:PORT",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")

    server = parser.add_argument_group("the server")
    server.add_argument("--address", metavar="HOST:PORT", help="where one listens already")
    server.add_argument(
        "--port", type=_number(1), metavar="N", help="where it listens if no word has {port}"
    )
    server.add_argument(
        "--transform",
        default="upper",
        metavar="NAME",
        help="what it makes of bytes: upper (default), identity, or MODULE:FUNCTION from bytes "
        "to as many bytes",
    )

    what = parser.add_argument_group("what is judged")
    what.add_argument(
        "--profile",
        choices=spec.PROFILES,
        default="process",
        help="up to which: wire, process (default), or reference, which is Touchstone's own",
    )
    what.add_argument(
        "--level",
        choices=("must", "should"),
        default="should",
        help="must leaves out what a server only SHOULD do (default: should)",
    )
    what.add_argument(
        "-k",
        "--only",
        nargs="+",
        type=str.upper,
        default=[],
        metavar="ID",
        help="these, or a topic (CLOSE)",
    )
    what.add_argument(
        "--skip", action="append", default=[], metavar="ID=REASON", help="not this one, and why"
    )
    what.add_argument("--smoke", action="store_true", help="one test for each MUST, in 15 s")
    what.add_argument("--replay", nargs="+", metavar="SCENARIO", help="play these files, no more")
    what.add_argument("--list", action="store_true", help="list the requirements, and end")

    how = parser.add_argument_group("how")
    how.add_argument(
        "--require-all", action="store_true", help="a tool that is missing is a failure, not a skip"
    )
    how.add_argument(
        "--jobs",
        type=_number(1),
        metavar="N",
        help="so many tests at a time (default: cores, to 4)",
    )
    how.add_argument(
        "--time-scale",
        type=_number(0.01, float),
        default=1.0,
        metavar="F",
        help="multiply every time limit, for slow machines and builds",
    )
    how.add_argument(
        "--repeat",
        type=_number(1),
        default=1,
        metavar="N",
        help="all of it so often; counts flakes",
    )
    how.add_argument(
        "--seed", type=_number(0), default=0, metavar="N", help="for what is made up (default 0)"
    )
    how.add_argument(
        "--examples",
        type=_number(1),
        default=20,
        metavar="N",
        help="exchanges made up (default 20)",
    )
    how.add_argument(
        "--reference", metavar="COMMAND", help="a server that conforms: what fails is run on it too"
    )
    how.add_argument(
        "--expected-failures",
        type=pathlib.Path,
        metavar="FILE",
        help="known failures, a line each: an ID, and what its test says first (* is anything)",
    )
    how.add_argument("--fix", action="store_true", help="write that file anew, by a whole run")

    out = parser.add_argument_group("what is written")
    out.add_argument(
        "--report", type=pathlib.Path, metavar="DIR", help="index.html, report.json, scenarios/"
    )
    out.add_argument("--junit", type=pathlib.Path, metavar="FILE", help="results as JUnit's XML")
    out.add_argument(
        "--export-scenarios", type=pathlib.Path, metavar="DIR", help="write all scenarios there"
    )
    return parser


def _check(options) -> None:
    """Complete the options, or say which make no sense."""
    specification = spec.read()
    try:
        table = transform.table_of(options.transform)
    except transform.TransformError as error:
        raise _Wrong(f"--transform: {error}") from error
    options.specification = spec.for_transform(specification, options.transform, table)
    options.judged = _selected(options)
    options.skips = _skips(options)
    if not (options.list or options.export_scenarios):
        _check_server(options)
    _check_expected(options)
    for path in options.replay or ():
        _check_scenario(path)
    if not options.list:
        _check_outputs(options)
    if options.jobs is None:
        options.jobs = min(_JOBS_MAX, os.cpu_count() or 1)
    if options.port is not None or options.address is not None:
        options.jobs = 1  # they would meet at the one port


def _selected(options):
    profiles = spec.PROFILES[: spec.PROFILES.index(options.profile) + 1]
    must_alone = options.level == "must" or options.smoke
    known = options.specification.requirements
    for each in options.only:
        if each not in known and each not in {spec.topic_of(id) for id in known}:
            raise _Wrong(f"--only: {each!r} is no ID or topic of SPEC.md (--list shows them)")
    chosen = [
        each
        for each in known.values()
        if (not options.only or each.id in options.only or spec.topic_of(each.id) in options.only)
    ]
    found = [
        each
        for each in chosen
        if each.profile in profiles and (each.level == "MUST" or not must_alone)
    ]
    if not found:
        asked = " ".join(options.only)
        raise _Wrong(f"--only: {asked} is not in what --profile and --level ask for")
    return found


def _skips(options):
    skips = {}
    for each in options.skip:
        id, _, reason = each.partition("=")
        id = id.upper()
        if id not in options.specification.requirements or not reason:
            raise _Wrong(f"--skip: {each!r} is not ID=REASON with an ID of SPEC.md")
        skips[id] = reason
    if options.address is not None:
        for each in options.judged:
            if each.profile != "wire":
                skips.setdefault(each.id, f"there is no {NOT_OURS}")
    return skips


def _check_server(options):
    command = " ".join(options.command)
    if (options.address is None) == (not options.command):
        raise _Wrong("expected either --address HOST:PORT or, behind --, a command")
    if options.address is not None:
        host, _, port = options.address.rpartition(":")
        if not host or not re.fullmatch("[0-9]{1,5}", port):
            raise _Wrong(f"--address: {options.address!r} is not HOST:PORT")
        if options.port is not None:
            raise _Wrong("--port belongs to a command, and --address has one")
    elif ("{port}" in command) == (options.port is not None):
        raise _Wrong("expected {port} in the command, or else --port N: where does it listen?")
    if options.reference is not None and "{port}" not in options.reference:
        raise _Wrong(f"--reference: {options.reference!r} has no {{port}} in it")


def _check_expected(options):
    if options.fix and options.expected_failures is None:
        raise _Wrong("--fix: expected --expected-failures FILE as well")
    partial = options.only or options.skip or options.smoke or options.replay or options.address
    if options.fix and (partial or options.level == "must" or options.profile == "wire"):
        raise _Wrong("--fix: expected a whole run, not a part of what there is to judge")
    path = options.expected_failures
    options.expected = None
    if path is not None and not options.fix:
        try:
            options.expected = expected.read(path, options.specification.requirements)
        except FileNotFoundError as error:
            raise _Wrong(f"--expected-failures: there is no {path} (--fix writes it)") from error
        except (OSError, UnicodeDecodeError, expected.ExpectedError) as error:
            raise _Wrong(f"--expected-failures: {error}") from error


def _check_scenario(path):
    try:
        scenario.parse(pathlib.Path(path).read_bytes())
    except OSError as error:
        raise _Wrong(f"--replay: {error}") from error
    except scenario.ScenarioError as error:
        raise _Wrong(f"--replay: {path}:{error}") from error


def _check_outputs(options):
    """Before anything is judged: a verdict that cannot be written would be lost."""
    _check_folder("--report", options.report)
    _check_folder("--export-scenarios", options.export_scenarios)
    _check_file("--junit", options.junit)
    if options.fix:
        _check_file("--expected-failures", options.expected_failures)


def _check_folder(option, path):
    if path is not None:
        with _writing(option):
            path.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=path).close()


def _check_file(option, path):
    """What an earlier run wrote stays until there is better; where nothing was, nothing comes."""
    if path is not None:
        with _writing(option):
            existed = path.exists()
            path.open("a").close()
            if not existed:
                path.unlink()


@contextlib.contextmanager
def _writing(option):
    try:
        yield
    except OSError as error:
        raise _Wrong(f"{option}: {error}") from error


def _export(folder, printer) -> int:
    paths = sorted(_SCENARIOS.glob("*.scenario"))
    for path in paths:
        shutil.copyfile(path, folder / path.name)
    printer.line(f"{len(paths)} scenarios in {folder}")
    return CONFORMS


def _try_out(options) -> str:
    """Why no verdict on the server is possible; empty if one is."""
    if options.address is not None:
        host, _, port = options.address.rpartition(":")
        where = host.strip("[]"), int(port)
        try:
            with socket.create_connection(where, 5 * options.time_scale) as found:
                options.found = found.getpeername()  # a name may have several addresses
        except (OSError, OverflowError) as error:
            return f"nobody to judge at {options.address}: {error}"
    else:
        trouble = _trouble_at_start(options, options.command, options.port)
        if trouble:
            return trouble
    if options.reference is not None:
        trouble = _trouble_at_start(options, shlex.split(options.reference), None)
        return trouble and f"--reference: {trouble}"
    return ""


def _trouble_at_start(options, words, port) -> str:
    with tempfile.TemporaryDirectory() as folder:
        try:
            server = Server(words, pathlib.Path(folder), port=port, time_scale=options.time_scale)
        except NotStarted as error:
            return str(error)
        try:
            server.connect().close()
        except Unexpected as error:
            if server.wait_for_exit(server.scaled(1)) is not None:
                return f"the server {server.ending()} as it began to listen{server.last_errors()}"
            return f"the server listens, but not there: {error}{server.last_errors()}"
        finally:
            server.end()
    return ""


# Judging.


class _Judgement:
    def __init__(self, options, printer):
        self._options = options
        self._printer = printer
        self._refused = None  # why the file of expected failures was not written
        self._began = time.monotonic()
        self._date = datetime.datetime.now(datetime.timezone.utc)
        server = options.address or shlex.join(options.command)
        printer.line(
            f"touchstone-conform {__version__}, SPEC.md {options.specification.version}: {server}"
        )

    def status(self) -> int:
        options = self._options
        rounds = [self._round(number) for number in range(1, options.repeat + 1)]
        for number, results in enumerate(rounds, 1):
            self._label(number, [each for each in results if each.outcome == FAILED])
        verdicts = judge(self._requirements(rounds), rounds, options.skips)
        self._write_scenarios(verdicts)
        surprises = self._compare(verdicts)
        self._print(verdicts, surprises)
        self._report(verdicts, rounds, surprises)
        if self._refused:
            raise self._refused
        if not any(each.judged for each in by_profile(verdicts)):
            return NOT_JUDGED
        failed = not all(each.holds for each in verdicts)
        if options.expected is not None:
            failed = bool(surprises)
        return DOES_NOT_CONFORM if failed else CONFORMS

    def _round(self, number: int) -> list[Result]:
        options = self._options
        if options.address is not None:
            server = ["--server-address", "{}:{}".format(*options.found)]
        else:
            server = ["--server-cmd", shlex.join(options.command)]
        if options.port is not None:
            server += ["--server-port", str(options.port)]
        selection = (_REPLAY,) if options.replay else ()
        arguments = [*server, *self._arguments(number)]
        results = judging.run(arguments, options.jobs, selection, self._printer.progress)
        for each in results:
            each.round = number
            if options.replay:
                each.requirements = [each.name]
        return results

    def _arguments(self, number: int) -> list[str]:
        """What is the same for every server in a round."""
        options = self._options
        arguments = ["--time-scale", str(options.time_scale), "--transform", options.transform]
        arguments += ["--examples", str(options.examples), "--seed", str(options.seed + number - 1)]
        arguments += ["--require-all"] * options.require_all
        if options.replay:
            return arguments + [
                f"--scenarios={pathlib.Path(each).resolve()}" for each in options.replay
            ]
        ids = [each.id for each in options.judged if each.id not in options.skips]
        arguments += ["--judge", ",".join(ids)] + ["--smoke"] * options.smoke
        profile = "wire" if options.address is not None else options.profile
        profiles = spec.PROFILES[: spec.PROFILES.index(profile) + 1]
        return [*arguments, "-m", " or ".join(profiles)]

    def _requirements(self, rounds):
        """What gets a verdict: requirements, or the files that were played."""
        if not self._options.replay:
            return self._options.judged
        return [
            spec.Requirement(name, "replay", "MUST", "All that its clients must see, they see.", {})
            for name in dict.fromkeys(each.name for one in rounds for each in one)
        ]

    def _label(self, number, failures):
        """Was it the server, or is it the kit?"""
        if self._options.reference is None or not failures:
            return
        server = ["--server-cmd", self._options.reference]
        selection = list(dict.fromkeys(each.name for each in failures))
        arguments = [*server, *self._arguments(number)]
        results = judging.run(arguments, self._options.jobs, selection)
        said = {each.name: each for each in results}
        for failure in failures:
            failure.label = _label_for(said.get(failure.name))

    def _write_scenarios(self, verdicts):
        folder = None
        for verdict in verdicts:
            for result in verdict.failures:
                if result.scenario is None or result.scenario_path:
                    continue
                folder = folder or self._folder_for_scenarios()
                path = folder / f"{self._file_name(result)}.scenario"
                path.write_bytes(_with_comment(result, verdict.requirement))
                result.scenario_path = str(path)

    def _file_name(self, result):
        name = re.sub(r"[^A-Za-z0-9]+", "-", result.name.replace(".py", "")).strip("-")
        return name if self._options.repeat == 1 else f"{name}-round-{result.round}"

    def _folder_for_scenarios(self):
        if self._options.report is None:
            return pathlib.Path(tempfile.mkdtemp(prefix="touchstone-conform-"))
        folder = self._options.report / "scenarios"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _compare(self, verdicts):
        options = self._options
        path = options.expected_failures
        if options.fix:
            try:
                expected.write(path, verdicts)
            except expected.ExpectedError as error:
                self._refused = error  # there is still the verdict to be told
                return []
            options.expected = expected.read(path, options.specification.requirements)
        if options.expected is None:
            return []
        return expected.complaints(verdicts, options.expected, whole=not options.smoke)

    def _print(self, verdicts, surprises):
        self._printer.verdicts(verdicts)
        for each in verdicts:
            if each.failures:
                self._printer.evidence(each)
        self._printer.profiles(verdicts)
        if self._options.expected is not None:
            for each in surprises or ["all as expected"]:
                self._printer.line(f"{self._options.expected_failures}: {each}")

    def _report(self, verdicts, rounds, surprises):
        options = self._options
        if options.junit is not None:
            reports.write_junit(options.junit, rounds)
        if options.report is not None:
            data = reports.as_data(self._about(verdicts, surprises), verdicts)
            reports.write_json(options.report / "report.json", data)
            name = options.report.resolve().name
            page.write(options.report / "index.html", [page.Column(name, data)])
            self._printer.line(f"report: {options.report / 'index.html'}")

    def _about(self, verdicts, surprises):
        options = self._options
        return {
            "schema": options.specification.schema,
            "kit": __version__,
            "specification": {
                "version": options.specification.version,
                "sha256": options.specification.sha256,
            },
            "server": {"command": options.command, "address": options.address},
            "transform": options.transform,
            "options": _as_judged(options),
            "host": {
                "system": platform.system(),
                "release": platform.release(),
                "machine": platform.machine(),
                "python": platform.python_version(),
            },
            "began": self._date.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self._began, 1),
            "rounds": options.repeat,
            "conforms": all(each.conforms for each in by_profile(verdicts) if each.judged),
            "expected": sorted(options.expected or ()),
            "surprises": surprises,
        }


def _as_judged(options) -> list[str]:
    """The words that a later run needs to judge in the same way."""
    parser = _parser()
    changed = [each for each in _WAYS if getattr(options, each) != parser.get_default(each)]
    words = [(f"--{each.replace('_', '-')}", str(getattr(options, each))) for each in changed]
    return [word for pair in words for word in pair]


def _label_for(result):
    if result is None or result.outcome not in (PASSED, FAILED):
        return "the reference was not judged"
    return "port differs" if result.outcome == PASSED else "kit or specification in doubt"


def _with_comment(result, requirement):
    said = result.message.partition("\n")[0]
    comment = f"# {result.name} failed: {said}\n# Shows {requirement.id}.\n"
    return (comment + result.scenario).encode("utf-8", "surrogateescape")
