"""The pytest plugin: `--touchstone-server-cmd` names a server, fixtures start it and judge its end.

`touchstone-conform` runs pytest with it; so does

    pytest -p touchstone_conform.plugin --pyargs touchstone_conform.suite

It is no part of any other run of pytest in the same environment.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import os
import re
import resource
import select
import shlex
import subprocess
import sys
import traceback

import pytest

from touchstone_conform import marks, spec, transform
from touchstone_conform.failure import KIT_ERROR, Failure, first_cause
from touchstone_conform.foundations import ALWAYS, FOUNDATIONS, Blocked, Footing
from touchstone_conform.harness import PACKAGES, samples, strace
from touchstone_conform.harness.exchange import Exchange
from touchstone_conform.harness.flood import END_S, expect_open
from touchstone_conform.harness.server import NOT_OURS, Found, Server
from touchstone_conform.harness.skips import NotRequired, SkipReason, limit_of
from touchstone_conform.scenario.retelling import scenario_of
from touchstone_conform.timeline import lines_of

_DESCRIPTORS = 4096
_WRITES_S = 0.5  # what a server takes at most to tell of an exception
_LISTEN_ADDRESS = re.compile(r"[^=:]*:(\d+|\{port\})|\[.*\]:(\d+|\{port\})")
_servers_key = pytest.StashKey()
_record_key = pytest.StashKey()
_broken_key = pytest.StashKey()
_footing_key = pytest.StashKey()
_blocked_key = pytest.StashKey()
_skip_key = pytest.StashKey()


def pytest_addoption(parser):
    group = parser.getgroup("touchstone", "conformance of a server")
    group.addoption(
        "--touchstone-server-cmd",
        metavar="CMD",
        help="command that starts the server, with {port} and optionally {host} in it; no shell",
    )
    group.addoption(
        "--touchstone-directory",
        metavar="DIR",
        help="where the server is started, and MODULE is looked for (default: the current one)",
    )
    group.addoption(
        "--touchstone-host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="what {host} stands for, and where clients connect (default 127.0.0.1)",
    )
    group.addoption(
        "--touchstone-server-port",
        type=int,
        metavar="N",
        help="port of a server whose command has no {port} in it",
    )
    group.addoption(
        "--touchstone-server-address",
        metavar="HOST:PORT",
        help="address of a server that is already running; only the wire profile is judged",
    )
    group.addoption(
        "--touchstone-time-scale",
        type=float,
        default=1.0,
        metavar="F",
        help="multiply every timeout and time limit, for slow machines and builds (default 1)",
    )
    group.addoption(
        "--touchstone-client-timeout",
        type=float,
        default=5.0,
        metavar="S",
        help="seconds to wait for what is due to a client, and for the server's end (default 5)",
    )
    group.addoption(
        "--touchstone-buffer",
        type=int,
        default=0,
        metavar="BYTES",
        help="output that the server documents it stores for a client that does not read",
    )
    group.addoption(
        "--touchstone-idle-close",
        type=float,
        default=math.inf,
        metavar="S",
        help="seconds after which the server documents that it closes an idle connection",
    )
    group.addoption(
        "--touchstone-transform",
        default="upper",
        metavar="NAME",
        help="how the server maps bytes: upper (default), identity or MODULE:FUNCTION",
    )
    group.addoption(
        "--touchstone-judge",
        metavar="IDS",
        help="run only the tests of these requirements, separated by commas",
    )
    group.addoption(
        "--touchstone-foundations",
        choices=FOUNDATIONS,
        metavar="NAME",
        help="run only the tests of the foundations up to this one, in their order",
    )
    group.addoption(
        "--touchstone-broken",
        metavar="NAMES",
        help="the foundations were judged before, and these are broken",
    )
    group.addoption(
        "--touchstone-smoke",
        action="store_true",
        help="run only the first test of each requirement",
    )
    group.addoption(
        "--touchstone-require-all",
        action="store_true",
        help="a test that cannot run on this machine fails instead of being skipped",
    )
    group.addoption(
        "--touchstone-seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the generated exchanges (default 0)",
    )
    group.addoption(
        "--touchstone-examples",
        type=int,
        default=20,
        metavar="N",
        help="number of generated exchanges (default 20)",
    )
    group.addoption(
        "--touchstone-scenarios",
        action="append",
        metavar="PATH",
        help="a scenario to run, or a folder of them (default: those of the package)",
    )
    group.addoption(
        "--touchstone-cycles",
        type=int,
        default=10_000,
        metavar="N",
        help="number of connections in the tests for leaks (default 10000)",
    )


def pytest_configure(config):
    for name, meaning in marks.MEANINGS.items():
        config.addinivalue_line("markers", f"{marks.PREFIX}{name}: {meaning}")
    command = config.getoption("--touchstone-server-cmd")
    port = config.getoption("--touchstone-server-port")
    directory = config.getoption("--touchstone-directory") or os.getcwd()
    if hasattr(config, "workerinput"):
        os.chdir(directory)
    if command is not None and port is None and "{port}" not in command:
        complaint = "has no {port} in it: the kit must choose the port"
        raise pytest.UsageError(f"--touchstone-server-cmd {complaint}")
    if config.getoption("--touchstone-time-scale") <= 0:
        raise pytest.UsageError("--touchstone-time-scale must be more than 0")
    try:
        transform.choose(config.getoption("--touchstone-transform"), directory)
    except transform.TransformError as error:
        raise pytest.UsageError(f"--touchstone-transform: {error}") from error
    config.stash[_broken_key] = set()
    samples.use_plain(False)
    for each in filter(None, (config.getoption("--touchstone-broken") or "").split(",")):
        _note_broken(config, each)


# Which tests are run, and how they end.


def _marked(item, name) -> list[str]:
    """The arguments of a test's marks of this name, the closest first."""
    return [each for mark in item.iter_markers(marks.PREFIX + name) for each in mark.args]


def requirements_of(item) -> list[str]:
    """The IDs of the requirements that a test judges."""
    ids = _marked(item, "requirement")
    ids += [FOUNDATIONS[name] for name in [foundation_of(item)] if name]
    return list(dict.fromkeys(ids))


def foundation_of(item) -> str:
    """The foundation that a test judges; empty if it judges none."""
    return next(iter(_marked(item, "foundation")), "")


@pytest.hookimpl(trylast=True)  # after -m
def pytest_collection_modifyitems(config, items):
    known = spec.read().requirements
    for item in items:
        for each in requirements_of(item):
            if each not in known:
                raise pytest.UsageError(f"{item.nodeid} judges {each}, which SPEC.md does not have")
    wanted = config.getoption("--touchstone-judge")
    judged = set(known) if wanted is None else set(wanted.split(","))
    last = config.getoption("--touchstone-foundations")
    if last:
        names = list(FOUNDATIONS)
        _keep(config, items, lambda item: foundation_of(item) in names[: names.index(last) + 1])
        items.sort(key=lambda item: names.index(foundation_of(item)))
        return
    first_of_each = _FirstOfEach(judged)
    if config.getoption("--touchstone-broken") is not None:
        for item in filter(foundation_of, items):
            first_of_each(item)  # it has run
        _keep(config, items, lambda item: not foundation_of(item))
    if wanted is not None:
        _keep(config, items, lambda item: judged & set(requirements_of(item)))
    if config.getoption("--touchstone-smoke"):
        _keep(config, items, first_of_each)


def _keep(config, items, wanted):
    kept = [item for item in items if wanted(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


class _FirstOfEach:
    """Selects the first test of each requirement."""

    def __init__(self, judged):
        self._judged = judged
        self._seen = set()

    def __call__(self, item):
        ids = self._judged & set(requirements_of(item))
        new = ids - self._seen
        self._seen |= ids
        return new


# What a test depends on.


def _note_broken(config, name):
    config.stash[_broken_key].add(name)
    samples.use_plain("bytes" in config.stash[_broken_key])


def _footing_of(item) -> Footing:
    """One for each test, once it begins."""
    if _footing_key not in item.stash:
        item.stash[_footing_key] = Footing(item.config.stash[_broken_key], requirements_of(item))
    return item.stash[_footing_key]


def _leans_on(item) -> list[str]:
    """What is known before a test runs."""
    own = foundation_of(item)
    always = ALWAYS[: ALWAYS.index(own)] if own in ALWAYS else ALWAYS
    return [*always, *_marked(item, "leans_on")]


# How tests end.


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    return (yield from _skipping(item, *_leans_on(item)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    return (yield from _skipping(item))


def _skipping(item, *leans_on):
    try:
        _footing_of(item).require(*leans_on)
        return (yield)
    except Blocked as blocked:
        item.stash[_blocked_key] = blocked.requirements
        pytest.skip(str(blocked))
    except (SkipReason, OSError) as error:
        reason = error if isinstance(error, SkipReason) else limit_of(error)
        if not reason:
            raise
        needed = item.config.getoption("--touchstone-require-all")
        if needed and not isinstance(reason, NotRequired):
            raise Failure("unexpected-skip", f"{reason} (skips are disabled)") from None
        item.stash[_skip_key] = reason.code
        pytest.skip(str(reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.requirements = requirements_of(item)
    report.foundation = foundation_of(item)
    report.blocked_by = item.stash.get(_blocked_key, [])
    report.skip_code = item.stash.get(_skip_key, "")
    report.leaned_on = sorted(_footing_of(item).asked)
    if report.failed:
        record = item.stash.get(_record_key, None) or Exchange()
        timeline, scenario = record.timeline(), scenario_of(record)
        servers = item.stash.get(_servers_key, [])
        code, message = _outcome_of(item, call.excinfo.value)
        if report.foundation and code != KIT_ERROR:
            _note_broken(item.config, report.foundation)
        report.evidence = {
            "code": code,
            "message": _with_errors(message, servers),
            "purpose": purpose_of(item),
            "timeline": timeline,
            "scenario": None if scenario is None else scenario.decode("utf-8", "surrogateescape"),
            "inexpressible": record.inexpressible,
            "shortened": record.shortened,
        }
        report.sections.append(("exchange", "\n".join(lines_of(timeline))))
        for server in servers:
            report.sections.append(("server under test", server.evidence()))
    return report


def purpose_of(item) -> str:
    """The first paragraph of a test's docstring, as one line."""
    paragraph = (inspect.getdoc(item.obj) or "").partition("\n\n")[0]
    return " ".join(paragraph.split())


def _with_errors(message, servers):
    """The message and what the servers wrote to stderr, perhaps just after what failed; after a
    crash, stop() adds it."""
    for server in servers:
        server.settle(_WRITES_S)
        if not server.crashed() and server.shown_errors() not in message:
            message += server.shown_errors()
    return message


def _outcome_of(item, error):
    """The code and the message of a failed test."""
    if hasattr(error, "exceptions"):  # a group: several fixtures failed at their end
        codes, messages = zip(*(_outcome_of(item, each) for each in error.exceptions))
        return first_cause(codes), "\n".join(messages)
    if isinstance(error, Failure):
        return error.code, str(error)
    codes = _marked(item, "code")
    if isinstance(error, AssertionError) and codes:
        return codes[0], _without_expression(str(error)) or purpose_of(item)
    if isinstance(error, pytest.fail.Exception):  # a test that exceeds pytest's time limit
        return KIT_ERROR, str(error)
    return KIT_ERROR, f"{type(error).__name__}: {error}{_place_of(error)}"


def _without_expression(text):
    """pytest appends the expression to a message, or gives it alone: it tells nobody anything."""
    return "" if text.startswith("assert ") else text.partition("\nassert ")[0]


def _place_of(error):
    """Where the kit went wrong, for debugging it."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


# What tests are given.


@pytest.fixture(scope="session")
def server_arguments(request) -> list[str]:
    """The arguments of --server-cmd, split as a shell would, with {port} still in them."""
    command = request.config.getoption("--touchstone-server-cmd")
    if command is None:
        raise SkipReason(*NOT_OURS)
    return shlex.split(command)


@pytest.fixture(scope="session")
def is_reference(request) -> bool:
    """Whether it is Touchstone's own server, by its options."""
    arguments = shlex.split(request.config.getoption("--touchstone-server-cmd") or "")
    return listen_option(arguments) is not None


def listen_option(arguments: list[str]) -> int | None:
    """Where the reference's option --listen ADDRESS:PORT is, if it is there."""
    for index, each in enumerate(arguments):
        value = each.removeprefix("--listen=") if each.startswith("--listen=") else each[2:]
        if each in ("-l", "--listen"):
            value = "".join(arguments[index + 1 : index + 2])
        elif not each.startswith(("-l", "--listen=")):
            continue
        if _LISTEN_ADDRESS.fullmatch(value):
            return index
    return None


@pytest.fixture(scope="session", autouse=True)
def _many_descriptors():
    """Hundreds of clients need as many descriptors, here and in the server, which inherits them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@pytest.fixture
def record(request) -> Exchange:
    """What happens in this test."""
    footing = _footing_of(request.node)
    return request.node.stash.setdefault(_record_key, Exchange(footing))


@pytest.fixture
def start_server(request, record, tmp_path):
    """Starts a server, with more arguments or another environment; a crash fails the test."""
    option = request.config.getoption
    command, address = option("--touchstone-server-cmd"), option("--touchstone-server-address")
    if command is None and address is None:
        pytest.skip("no server to judge: --touchstone-server-cmd was not given")
    servers = request.node.stash.setdefault(_servers_key, [])
    settings = {
        "time_scale": option("--touchstone-time-scale"),
        "timeout": option("--touchstone-client-timeout"),
        "buffer": option("--touchstone-buffer"),
        "idle_close": option("--touchstone-idle-close"),
        "record": record,
    }

    def start(*more_arguments, arguments=None, **surroundings):
        if servers or more_arguments or arguments or surroundings:
            record.cannot_express("a server with other options or another environment")
        if address is None:
            if arguments is None:
                surroundings.setdefault("port", option("--touchstone-server-port"))
                surroundings.setdefault("host", option("--touchstone-host"))
            line = [*(arguments or shlex.split(command)), *more_arguments]
            server = Server(line, tmp_path, **settings, **surroundings)
        elif more_arguments or arguments or surroundings:
            raise SkipReason(*NOT_OURS)
        else:
            host, _, port = address.rpartition(":")
            server = Found(host.strip("[]"), int(port), **settings)
        servers.append(server)
        return server

    with contextlib.ExitStack() as stopping:
        stopping.callback(record.close)  # after the servers have ended
        yield start
        for server in servers:
            stopping.callback(server.stop)


@pytest.fixture
def server(start_server):
    """A fresh server for this test alone."""
    return start_server()


@pytest.fixture
def attach_strace(server, record):
    """strace attached to the server for a `with` block: attach_strace("-e", "inject=…")."""
    record.footing.require("interrupt")  # attaching interrupts a call, too
    record.cannot_express("a system call that fails")
    return functools.partial(strace.attached, server.process)


@pytest.fixture
def start_flood(request, server, record):
    """Starts a process whose clients send to the server without pause; returns once each of them
    was served."""
    record.footing.require("bytes", "stream", "neighbours", "resume")
    if not record.footing.holds("fin"):
        record.footing.require("reset")
    record.cannot_express("a client that sends without pause")
    floods = []

    def start(clients=1):
        flood = subprocess.Popen(
            [sys.executable, "-m", "touchstone_conform.harness.flood"]
            + [server.host, str(server.port), str(server.scaled(20)), str(clients)],
            cwd=PACKAGES,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        floods.append(flood)
        said, _, _ = select.select([flood.stdout], [], [], server.scaled(5))
        if not said:
            raise Failure("no-answer", "a client that sends without pause is not answered")
        if not flood.stdout.readline():  # it has ended
            flood.wait()
            expect_open(flood)
            raise SkipReason("load", "clients that send without pause")
        return flood

    yield start
    for flood in floods:
        flood.stdin.close()
    for flood in floods:
        try:
            flood.wait(server.scaled(END_S))
        except subprocess.TimeoutExpired:
            flood.kill()
            flood.wait()
        flood.stdout.close()
