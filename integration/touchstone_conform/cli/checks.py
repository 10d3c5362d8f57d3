"""Completes the options of the command line, and refuses those that make no sense."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import tempfile

from touchstone_conform import simulation, spec, transform
from touchstone_conform.cli import expected
from touchstone_conform.harness.server import NOT_OURS
from touchstone_conform.harness.skips import SkipReason
from touchstone_conform.scenario import language

_JOBS_MAX = 4


class UsageError(Exception):
    """Bad usage: what was wrong, and what was expected."""


def check(options) -> None:
    """Complete the options; UsageError if some make no sense."""
    specification = spec.read()
    try:
        table = transform.table_of(options.transform, os.getcwd())
    except transform.TransformError as error:
        raise UsageError(f"--transform: {error}") from error
    options.specification = spec.for_transform(specification, options.transform, table)
    options.known = {
        **options.specification.requirements,
        **{each.id: each for each in simulation.REQUIREMENTS},
    }
    options.judged = _selected(options)
    options.skips = _skips(options)
    if not (options.list or options.export_scenarios):
        _check_server(options)
    _check_expected(options)
    _check_simulation(options)
    for path in options.replay or ():
        _check_scenario(path)
    if not options.list:
        _check_outputs(options)
    if options.jobs is None:
        options.jobs = min(_JOBS_MAX, os.cpu_count() or 1)
    if options.port is not None or options.address is not None:
        options.jobs = 1  # all tests use the same port


def _check_simulation(options):
    if options.simulate and (options.address is not None or options.replay):
        given = "--address" if options.address is not None else "--replay"
        raise UsageError(f"--simulate: expected without {given}")


def _selected(options):
    profiles = spec.PROFILES[: spec.PROFILES.index(options.profile) + 1]
    must_alone = options.level == "must" or options.smoke
    if options.simulate:
        profiles = (*profiles, simulation.PROFILE)
    known = options.known
    for each in options.only:
        if each not in known and each not in {spec.topic_of(id) for id in known}:
            raise UsageError(f"--only: {each!r}: expected an ID or topic of SPEC.md, or SIM-1 to 4")
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
        raise UsageError(f"--only: {asked} needs another --profile or --level, or --simulate")
    return found


def _skips(options):
    skips = {}
    for each in options.skip:
        id, _, reason = each.partition("=")
        id = id.upper()
        if id not in options.known or not reason:
            raise UsageError(f"--skip: {each!r}: expected ID=REASON, ID of SPEC.md or SIM-1 to 4")
        skips[id] = reason
    if options.address is not None:
        for each in options.judged:
            if each.profile != "wire":
                skips.setdefault(each.id, str(SkipReason(*NOT_OURS)))
    return skips


def _check_server(options):
    command = " ".join(options.command)
    if (options.address is None) == (not options.command):
        raise UsageError("expected either --address HOST:PORT or a command after --")
    if options.address is not None:
        host, _, port = options.address.rpartition(":")
        if not host or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 1 << 16:
            raise UsageError(f"--address: {options.address!r}: expected HOST:PORT, PORT 1 to 65535")
        if options.port is not None:
            raise UsageError("--port: expected with a command only; --address has a port")
    elif ("{port}" in command) == (options.port is not None):
        raise UsageError("expected either {port} in the command or --port N")
    if options.reference is not None and "{port}" not in options.reference:
        raise UsageError(f"--reference: {options.reference!r}: expected {{port}} in it")


def _check_expected(options):
    if options.fix and options.expected_failures is None:
        raise UsageError("--fix: expected together with --expected-failures FILE")
    partial = options.only or options.skip or options.smoke or options.replay or options.address
    if options.fix and (partial or options.level == "must" or options.profile == "wire"):
        raise UsageError("--fix: expected a run of all requirements, not a part of them")
    path = options.expected_failures
    options.expected = None
    if path is not None and not options.fix:
        try:
            options.expected = expected.read(path, options.known)
        except FileNotFoundError as error:
            raise UsageError(f"--expected-failures: no file {path} (--fix writes it)") from error
        except (OSError, UnicodeDecodeError, expected.ExpectedError) as error:
            raise UsageError(f"--expected-failures: {error}") from error


def _check_scenario(path):
    try:
        language.parse(pathlib.Path(path).read_bytes())
    except OSError as error:
        raise UsageError(f"--replay: {error}") from error
    except language.ScenarioError as error:
        raise UsageError(f"--replay: {path}:{error}") from error


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
    """An existing file stays as it is until the run ends, and no new one is created."""
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
        raise UsageError(f"{option}: {error}") from error


