"""The pytest plugin: `--server-cmd` names the server, the fixtures start it and judge its end."""

from __future__ import annotations

import contextlib
import functools
import resource
import select
import shlex
import subprocess
import sys

import pytest

from . import spec, strace
from .missing import Missing
from .server import Server

_DESCRIPTORS = 4096
_MARKERS = {
    "wire": "seen by any client of any server",
    "process": "needs a server that the kit started, and a look at it from outside",
    "reference": "holds for Touchstone's own server only: its options, its log, its system calls",
    "requirement(*IDs)": "what of SPEC.md the test judges",
}
_servers_key = pytest.StashKey()


def pytest_addoption(parser):
    group = parser.getgroup("touchstone", "conformance of a server, judged from outside")
    group.addoption(
        "--server-cmd",
        metavar="CMD",
        help="command that starts the server, with {port} and perhaps {host} in it; no shell",
    )
    group.addoption(
        "--time-scale",
        type=float,
        default=1.0,
        metavar="F",
        help="multiply every time-out and time limit, for slow machines and builds (default 1)",
    )
    group.addoption(
        "--scenarios",
        metavar="DIR",
        help="folder of the scenarios that are played (default: tests/scenarios of the source)",
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
    command = config.getoption("--server-cmd")
    if command is not None and "{port}" not in command:
        raise pytest.UsageError("--server-cmd has no {port} in it: the kit must choose the port")
    if config.getoption("--time-scale") <= 0:
        raise pytest.UsageError("--time-scale must be more than 0")


def requirements_of(item) -> list[str]:
    """The IDs of the requirements that a test judges."""
    return [each for mark in item.iter_markers("requirement") for each in mark.args]


def pytest_collection_modifyitems(items):
    known = spec.read().requirements
    for item in items:
        for each in requirements_of(item):
            if each not in known:
                raise pytest.UsageError(f"{item.nodeid} judges {each}, which SPEC.md does not have")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    return (yield from _skipping_what_is_missing())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    return (yield from _skipping_what_is_missing())


def _skipping_what_is_missing():
    try:
        return (yield)
    except Missing as missing:
        pytest.skip(f"this machine has no {missing}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.failed:
        for server in item.stash.get(_servers_key, []):
            report.sections.append(("server under test", server.evidence()))
    return report


@pytest.fixture(scope="session")
def server_words(request) -> list[str]:
    """The words of --server-cmd, split as a shell would, with {port} still in them."""
    command = request.config.getoption("--server-cmd")
    if command is None:
        pytest.skip("no server to judge: --server-cmd was not given")
    _raise_descriptor_limit()
    return shlex.split(command)


def _raise_descriptor_limit():
    """Hundreds of clients need as many descriptors, here and in the server, which inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@pytest.fixture
def start_server(request, server_words, tmp_path):
    """Starts a server with more words or other surroundings; a crash fails the test at its end."""
    servers = request.node.stash.setdefault(_servers_key, [])
    time_scale = request.config.getoption("--time-scale")

    def start(*more_words, words=None, **surroundings) -> Server:
        command = [*(words or server_words), *more_words]
        server = Server(command, tmp_path, time_scale=time_scale, **surroundings)
        servers.append(server)
        return server

    with contextlib.ExitStack() as stopping:
        yield start
        for server in servers:
            stopping.callback(server.stop)


@pytest.fixture
def server(start_server) -> Server:
    """A fresh server for this test alone."""
    return start_server()


@pytest.fixture
def attach_strace(server):
    """strace attached to the server for a `with` block: attach_strace("-e", "inject=…")."""
    return functools.partial(strace.attached, server.pid)


@pytest.fixture
def start_flood(request, server):
    """Starts a client that floods the server, as a process; returns once it was served."""
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
