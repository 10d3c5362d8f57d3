"""One run of the command: all rounds, their verdicts, and what is printed and written."""

from __future__ import annotations

import contextlib
import datetime
import pathlib
import platform
import re
import shlex
import signal
import tempfile
import time

from touchstone_conform import __version__, marks, simulation, spec
from touchstone_conform.cli import expected, judging, phases
from touchstone_conform.cli.arguments import parser
from touchstone_conform.failure import KIT_ERROR
from touchstone_conform.report import again, files, page
from touchstone_conform.report.results import FAILED, PASSED, Result, by_profile, judge

CONFORMS, DOES_NOT_CONFORM, USAGE, NOT_STARTED, NOT_JUDGED, KIT_FAILED = range(6)
INTERRUPTED = 128 + signal.SIGINT  # as a shell has it
_REPLAY = "test_scenarios.py"
# The options that say how a server is judged; a later run needs the same.
_HOW = (
    *("transform", "host", "port", "buffer", "idle_close", "profile", "level"),
    *("time_scale", "client_timeout", "seed", "examples"),
)


class Judgement:
    """Runs the tests as the options say; `status` gives the exit status."""

    def __init__(self, options, printer):
        self._options = options
        self._printer = printer
        self._refused = None  # why the file of expected failures was not written
        self._complete = True  # no interrupt came
        self._began = time.monotonic()
        self._date = datetime.datetime.now(datetime.timezone.utc)
        server = options.address or shlex.join(options.command)
        printer.line(
            f"touchstone-conform {__version__}, SPEC.md {options.specification.version}: {server}"
        )

    def status(self) -> int:
        options = self._options
        rounds = []
        try:
            self._run(rounds)
        except judging.Interrupted:
            self._complete = False
        strict = options.level == "should"
        verdicts = judge(self._requirements(rounds), rounds, options.skips, strict)
        self._write_scenarios(verdicts)
        surprises = self._compare(verdicts)
        self._print(verdicts, surprises)
        kit_errors = self._kit_errors(rounds)
        self._report(verdicts, rounds, surprises)
        if self._refused:
            raise self._refused
        failed = not all(each.holds for each in verdicts)
        if options.expected is not None:
            failed = bool(surprises)
        if not self._complete:
            return INTERRUPTED
        if kit_errors and not failed:
            return KIT_FAILED
        if not any(each.judged for each in by_profile(verdicts)):
            return NOT_JUDGED
        return DOES_NOT_CONFORM if failed else CONFORMS

    def _run(self, rounds: list[list[Result]]) -> None:
        """Add the results of each round; of one that is interrupted those that it has."""
        for number in range(1, self._options.repeat + 1):
            try:
                rounds.append(self._round(number))
            except judging.Interrupted as interrupted:
                rounds.append(self._numbered(interrupted.results, number))
                raise
        for number, results in enumerate(rounds, 1):
            failures = [each for each in results if each.outcome == FAILED]
            self._label(number, failures)
            self._play([each for each in failures if each.shortened])

    def _kit_errors(self, rounds) -> list[Result]:
        """The tests in which the kit itself failed; each is shown."""
        found = [each for one in rounds for each in one if each.code == KIT_ERROR]
        for each in found:
            self._printer.kit_error(each)
        if not self._complete:
            count = sum(map(len, rounds))
            self._printer.line(f"interrupted: this is the verdict on {count} tests that were done")
        return found

    def _round(self, number: int) -> list[Result]:
        options = self._options
        arguments = [*self._target(), *self._arguments(number)]
        if options.replay:
            results = judging.run(arguments, options.jobs, (_REPLAY,), self._printer.progress)
        else:
            whole = not options.only
            results = []
            if any(each.profile != simulation.PROFILE for each in options.judged):
                results = phases.run(arguments, options.jobs, whole, self._printer.progress)
        if options.simulate and number == 1:  # it is the same in every round
            try:
                for each in simulation.judge(options):
                    results.append(each)
            except KeyboardInterrupt:
                raise judging.Interrupted(results) from None
        return self._numbered(results, number)

    def _target(self) -> list[str]:
        """The options of pytest that name the server."""
        options = self._options
        if options.address is not None:
            server = ["--touchstone-server-address", "{}:{}".format(*options.found)]
        else:
            server = ["--touchstone-server-cmd", shlex.join(options.command)]
            server += ["--touchstone-host", options.host]
        if options.port is not None:
            server += ["--touchstone-server-port", str(options.port)]
        return server

    def _numbered(self, results, number):
        for each in results:
            each.round = number
            if self._options.replay:
                each.requirements = [each.name]
        return results

    def _arguments(self, number: int) -> list[str]:
        """The options of pytest for a round, for any server."""
        options = self._options
        if options.replay:
            return [*self._manner(number), *_scenarios(options.replay)]
        tested = [each.id for each in options.judged if each.profile != simulation.PROFILE]
        ids = [each for each in tested if each not in options.skips]
        arguments = ["--touchstone-judge", ",".join(ids)] + ["--touchstone-smoke"] * options.smoke
        profiles = spec.PROFILES[: spec.PROFILES.index(options.profile) + 1]
        marked = " or ".join(marks.PREFIX + each for each in profiles)
        return [*self._manner(number), *arguments, "-m", marked]

    def _manner(self, number: int) -> list[str]:
        """The options of pytest that say how tests and scenarios are run."""
        options = self._options
        values = {
            "time-scale": options.time_scale,
            "transform": options.transform,
            "examples": options.examples,
            "seed": options.seed + number - 1,
            "client-timeout": options.client_timeout,
            "buffer": options.buffer,
            "idle-close": options.idle_close,
        }
        pairs = [(f"--touchstone-{name}", str(value)) for name, value in values.items()]
        arguments = [text for pair in pairs for text in pair]
        return arguments + ["--touchstone-require-all"] * options.require_all

    def _requirements(self, rounds):
        """What gets a verdict: requirements, or the scenarios of --replay."""
        if not self._options.replay:
            return self._options.judged
        sentence = "Its clients see what the scenario expects."
        return [
            spec.Requirement(name, "replay", "MUST", sentence, {})
            for name in dict.fromkeys(each.name for one in rounds for each in one)
        ]

    def _label(self, number, failures):
        """Compare with the reference server: is the fault the server's or the kit's?"""
        failures = [each for each in failures if not each.replay]  # the others are not the kit's
        if self._options.reference is None or not failures:
            return
        server = ["--touchstone-server-cmd", self._options.reference]
        selection = list(dict.fromkeys(each.name for each in failures))
        arguments = [*server, *self._arguments(number)]
        results = judging.run(arguments, self._options.jobs, selection)
        with_reference = {each.name: each for each in results}
        for failure in failures:
            failure.label = _label_for(with_reference.get(failure.name))

    def _play(self, shortened: list[Result]) -> None:
        """A scenario without the earlier clients is offered if it fails on a fresh server, too."""
        if not shortened:
            return
        with tempfile.TemporaryDirectory(prefix="touchstone-conform-") as folder:
            paths = [pathlib.Path(folder, f"{i}.scenario") for i in range(len(shortened))]
            for path, result in zip(paths, shortened):
                path.write_bytes(_bytes_of(result.scenario))
            arguments = [*self._target(), *self._manner(1), *_scenarios(paths)]
            played = judging.run(arguments, self._options.jobs, (_REPLAY,))
        failed = {each.name for each in played if each.outcome == FAILED}
        for path, result in zip(paths, shortened):
            if not any(f"[{path.stem}]" in name for name in failed):
                result.scenario = None
                result.inexpressible = "its last clients alone do not show it on a fresh server"

    def _write_scenarios(self, verdicts):
        folder = None
        for verdict in verdicts:
            for result in verdict.failures:
                if result.scenario is None or result.scenario_path:
                    continue
                with self._writing("scenarios"):
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
        if options.fix and self._complete:
            try:
                earlier = expected.read(path, options.known) if path.exists() else {}
                expected.write(path, verdicts, earlier)
            except expected.ExpectedError as error:
                self._refused = error  # reported after the verdict
                return []
            options.expected = expected.read(path, options.known)
        if options.expected is None:
            return []
        whole = self._complete and not options.smoke
        return expected.complaints(verdicts, options.expected, whole)

    def _print(self, verdicts, surprises):
        self._printer.verdicts(verdicts)
        for each in verdicts:
            if each.failures:
                self._printer.evidence(each, self._replay_command(each))
        self._printer.profiles(verdicts)
        if self._options.expected is not None and self._complete:
            for each in surprises or ["all failures are as expected"]:
                self._printer.line(f"{self._options.expected_failures}: {each}")

    def _replay_command(self, verdict):
        """The command that shows the first failure of a requirement again."""
        scenario, own = verdict.failed_tests[0].scenario_path, verdict.failed_tests[0].replay
        if own:
            return own
        selection = ["--replay", scenario] if scenario else again.only(
            verdict.requirement.id, verdict.requirement.profile
        )
        return again.command(self._server(), _as_judged(self._options), *selection)

    def _server(self):
        names = ("command", "address", "title")
        return {name: getattr(self._options, name) for name in names}

    def _report(self, verdicts, rounds, surprises):
        options = self._options
        if options.junit is not None:
            with self._writing("--junit"):
                files.write_junit(options.junit, rounds)
        if options.report is not None:
            with self._writing("--report"):
                data = files.as_data(self._about(verdicts, surprises), verdicts)
                files.write_json(options.report / "report.json", data)
                name = options.report.resolve().name
                page.write(options.report / "index.html", [page.Column(name, data)])
                self._printer.line(f"report: {options.report / 'index.html'}")

    @contextlib.contextmanager
    def _writing(self, option):
        """What cannot be written is told at the end, and keeps nothing else from being written."""
        try:
            yield
        except OSError as error:
            self._printer.errors.append(f"{option}: {error}")

    def _about(self, verdicts, surprises):
        options = self._options
        return {
            "schema": options.specification.schema,
            "kit": __version__,
            "specification": {
                "version": options.specification.version,
                "sha256": options.specification.sha256,
            },
            "server": self._server(),
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
            "conforms": self._complete
            and all(each.conforms for each in by_profile(verdicts) if each.judged),
            "complete": self._complete,
            "expected": sorted(options.expected or ()),
            "surprises": surprises,
        }


def _as_judged(options) -> list[str]:
    """The options with which a later run judges in the same way."""
    defaults = parser()
    changed = [each for each in _HOW if getattr(options, each) != defaults.get_default(each)]
    pairs = [(f"--{each.replace('_', '-')}", str(getattr(options, each))) for each in changed]
    return [text for pair in pairs for text in pair]


def _label_for(result):
    if result is None or result.outcome not in (PASSED, FAILED):
        return "not run with the reference"
    return f"the reference: {result.outcome}"


def _with_comment(result, requirement):
    message = result.message.partition("\n")[0]
    comment = f"# {result.name} failed: {result.code}: {message}\n# Shows {requirement.id}.\n"
    return _bytes_of(comment + result.scenario)


def _bytes_of(scenario):
    return scenario.encode("utf-8", "surrogateescape")


def _scenarios(paths):
    return [f"--touchstone-scenarios={pathlib.Path(each).resolve()}" for each in paths]
