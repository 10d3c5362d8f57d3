"""The pytest plugin: `--server-cmd` names the server, the fixtures start it and judge its end.

`touchstone-conform` runs pytest with it; so does `pytest --pyargs touchstone_conform.suite`.
"""

from __future__ import annotations

import contextlib
import functools
import resource
import select
import shlex
import subprocess
import sys

import pytest

from . import spec, strace, transform
from .exchange import Exchange, lines_of
from .missing import LeftOpen, Missing
from .server import NOT_OURS, Found, NotStarted, Server

_DESCRIPTORS = 4096
_MARKERS = {
    "wire": "seen by any client of any server",
    "process": "needs a server that the kit started, and a look at it from outside",
    "reference": "holds for Touchstone's own server only: its options, its log, its system calls",
    "requirement(*IDs)": "what of SPEC.md the test judges",
}
_servers_key = pytest.StashKey()
_record_key = pytest.StashKey()


def pytest_addoption(parser):
    group = parser.getgroup("touchstone", "conformance of a server, judged from outside")
    group.addoption(
        "--server-cmd",
        metavar="CMD",
        help="command that starts the server, with {port} and perhaps {host} in it; no shell",
    )
    group.addoption(
        "--server-port",
        type=int,
        metavar="N",
        help="where a server listens whose command has no {port} in it",
    )
    group.addoption(
        "--server-address",
        metavar="HOST:PORT",
        help="where a server listens that runs already; then only the wire is judged",
    )
    group.addoption(
        "--time-scale",
        type=float,
        default=1.0,
        metavar="F",
        help="multiply every time-out and time limit, for slow machines and builds (default 1)",
    )
    group.addoption(
        "--patience",
        type=float,
        default=5.0,
        metavar="S",
        help="seconds that a client waits for what is due, and we for the server's end (default 5)",
    )
    group.addoption(
        "--transform",
        default="upper",
        metavar="NAME",
        help="what the server makes of bytes: upper (default), identity or MODULE:FUNCTION",
    )
    group.addoption(
        "--judge",
        metavar="IDS",
        help="run only the tests of these requirements, with commas between them",
    )
    group.addoption(
        "--smoke",
        action="store_true",
        help="of the tests of each requirement run only the first",
    )
    group.addoption(
        "--require-all",
        action="store_true",
        help="what this machine lacks for a test makes it fail, not skip",
    )
    group.addoption(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="for the exchanges that are made up (default 0)",
    )
    group.addoption(
        "--examples",
        type=int,
        default=20,
        metavar="N",
        help="how many exchanges are made up (default 20)",
    )
    group.addoption(
        "--scenarios",
        action="append",
        metavar="PATH",
        help="a scenario to play, or a folder of them (default: those of the package)",
    )
    group.addoption(
        "--cycles",
        type=int,
        default=10_000,
        metavar="N",
        help="connections that the tests of release make and end (default 10000)",
    )


def pytest_configure(config):
    for name, meaning in _MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    command, port = config.getoption("--server-cmd"), config.getoption("--server-port")
    if command is not None and port is None and "{port}" not in command:
        raise pytest.UsageError("--server-cmd has no {port} in it: the kit must choose the port")
    if config.getoption("--time-scale") <= 0:
        raise pytest.UsageError("--time-scale must be more than 0")
    try:
        transform.choose(config.getoption("--transform"))
    except transform.TransformError as error:
        raise pytest.UsageError(f"--transform: {error}") from error


# Which tests are run, and what they are worth.


def requirements_of(item) -> list[str]:
    """The IDs of the requirements that a test judges."""
    return [each for mark in item.iter_markers("requirement") for each in mark.args]


@pytest.hookimpl(trylast=True)  # of what -m leaves the first
def pytest_collection_modifyitems(config, items):
    known = spec.read().requirements
    for item in items:
        for each in requirements_of(item):
            if each not in known:
                raise pytest.UsageError(f"{item.nodeid} judges {each}, which SPEC.md does not have")
    judged = config.getoption("--judge")
    if judged is not None:
        ids = set(judged.split(","))
        _keep(config, items, lambda item: ids & set(requirements_of(item)))
    if config.getoption("--smoke"):
        _keep(config, items, _FirstOfEach(judged))


def _keep(config, items, wanted):
    kept = [item for item in items if wanted(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


class _FirstOfEach:
    """Wants the first test of each requirement."""

    def __init__(self, judged):
        self._judged = judged and set(judged.split(","))
        self._seen = set()

    def __call__(self, item):
        ids = set(requirements_of(item))
        if self._judged is not None:
            ids &= self._judged
        new = ids - self._seen
        self._seen |= ids
        return new


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    return (yield from _skipping_what_is_missing(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    return (yield from _skipping_what_is_missing(item))


def _skipping_what_is_missing(item):
    try:
        return (yield)
    except Missing as missing:
        if item.config.getoption("--require-all") and not isinstance(missing, LeftOpen):
            pytest.fail(f"there is no {missing}, and nothing may be skipped")
        pytest.skip(f"there is no {missing}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.requirements = requirements_of(item)
    if report.failed:
        record = item.stash.get(_record_key, None) or Exchange()
        timeline, told = record.timeline(), record.scenario()
        servers = item.stash.get(_servers_key, [])
        report.evidence = {
            "message": _with_errors(_said(call.excinfo.value), servers),
            "timeline": timeline,
            "scenario": None if told is None else told.decode("utf-8", "surrogateescape"),
            "unsayable": record.unsayable,
        }
        report.sections.append(("exchange", "\n".join(lines_of(timeline))))
        for server in servers:
            report.sections.append(("server under test", server.evidence()))
    return report


def _with_errors(said, servers):
    """And what they wrote to stderr, unless that is in it; with a crash its stop() says it."""
    for server in servers:
        if not server.crashed() and server.last_errors() not in said:
            said += server.last_errors()
    return said


def _said(error):
    """What a failed test says, without the names that Python gives to errors that are ours."""
    if hasattr(error, "exceptions"):  # a group: several fixtures failed at their end
        return "\n".join(_said(each) for each in error.exceptions)
    text = str(error).partition("\nassert ")[0]  # pytest adds the expression to what we say
    if isinstance(error, (AssertionError, NotStarted, pytest.fail.Exception)):
        return text or "assertion failed"
    return f"{type(error).__name__}: {text}"


# What tests are given.


@pytest.fixture(scope="session")
def server_words(request) -> list[str]:
    """The words of --server-cmd, split as a shell would, with {port} still in them."""
    command = request.config.getoption("--server-cmd")
    if command is None:
        raise Missing(NOT_OURS)
    return shlex.split(command)


@pytest.fixture(scope="session")
def is_reference(request) -> bool:
    """Whether it is Touchstone's own server, by its options."""
    words = shlex.split(request.config.getoption("--server-cmd") or "")
    return any(word.startswith(("-l", "--listen")) for word in words)


@pytest.fixture(scope="session", autouse=True)
def _many_descriptors():
    """Hundreds of clients need as many descriptors, here and in the server, which inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@pytest.fixture
def record(request) -> Exchange:
    """What happens in this test."""
    return request.node.stash.setdefault(_record_key, Exchange())


@pytest.fixture
def start_server(request, record, tmp_path):
    """Starts a server with more words or other surroundings; a crash fails the test at its end."""
    option = request.config.getoption
    command, address = option("--server-cmd"), option("--server-address")
    if command is None and address is None:
        pytest.skip("no server to judge: --server-cmd was not given")
    servers = request.node.stash.setdefault(_servers_key, [])
    our_ways = {
        "time_scale": option("--time-scale"),
        "patience": option("--patience"),
        "record": record,
    }

    def start(*more_words, words=None, **surroundings):
        if servers or more_words or words or surroundings:
            record.cannot_say("servers with other options or surroundings")
        if address is None:
            if words is None:
                surroundings.setdefault("port", option("--server-port"))
            arguments = [*(words or shlex.split(command)), *more_words], tmp_path
            server = Server(*arguments, **our_ways, **surroundings)
        elif more_words or words or surroundings:
            raise Missing(NOT_OURS)
        else:
            host, _, port = address.rpartition(":")
            server = Found(host.strip("[]"), int(port), **our_ways)
        servers.append(server)
        return server

    with contextlib.ExitStack() as stopping:
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
    record.cannot_say("system calls that are made to fail")
    return functools.partial(strace.attached, server.pid)


@pytest.fixture
def start_flood(request, server, record):
    """Starts a client that floods the server, as a process; returns once it was served."""
    record.cannot_say("a client that floods")
    floods = []

    def start():
        flood = subprocess.Popen(
            [sys.executable, "-m", "touchstone_conform.flood"]
            + [server.host, str(server.port), str(server.scaled(20))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        floods.append(flood)
        served, _, _ = select.select([flood.stdout], [], [], server.scaled(5))
        assert served, "a client that floods is not answered: the server stays with another one"
        return flood

    yield start
    for flood in floods:
        flood.kill()
        flood.communicate()
