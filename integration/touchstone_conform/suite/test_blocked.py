"""While something else is blocked: a flush, the log, standard error, descriptors."""

import os
import resource
import signal

import pytest

from touchstone_conform import marks
from touchstone_conform.failure import expect
from touchstone_conform.harness.skips import NotRequired
from touchstone_conform.harness.waiting import wait_until
from touchstone_conform.suite.test_cpu import expect_no_spin
from touchstone_conform.suite.test_foundations import IN_TIME_S
from touchstone_conform.suite.test_release import (
    connect_and_end,
    judge_memory,
    of_looks,
    stalled_client,
)
from touchstone_conform.suite.test_surroundings import serve_some, started

COMPILED_S = 3  # for a runtime that compiles what it has just run
LINES = 1500  # clients, of which a server may log each
CONTROLS = [*range(0x20), *range(0x7F, 0xA0)]


@marks.requirement("FAIR-4")
@marks.leans_on("stream", "stall", "neighbours", "fin", "data-and-fin")
@marks.process
def test_a_flush_delays_no_other(server):
    """While a client does not read after its FIN, the others are answered at once."""
    with server.connect("neighbour") as neighbour, stalled_client(server, fin=True):
        times = sorted(neighbour.ping() for _ in range(50))
    server.judge_time(times[48], 0.1, "the second slowest of 50 pings")


# No descriptors.


@pytest.fixture
def exhausted(server):
    """Two clients, no descriptor for a third, and a new connection."""
    server.warm_up()
    with server.connect("old") as old, server.connect("young") as young:
        old.ping()
        young.ping()
        highest = max(server.process.descriptors())
        with server.process.limited(resource.RLIMIT_NOFILE, highest + 1):
            with server.connect("new"):
                old.ping()
                yield [old, young]


@marks.requirement("FAULT-3")
@marks.leans_on("neighbours", "idle")
@marks.process
def test_no_client_is_shed(server, exhausted):
    """While descriptors are exhausted, no client that was served loses its connection."""
    for client in exhausted:
        client.expect_quiet(server.scaled(0.3))
        client.ping()


@marks.requirement("STOP-1")
@marks.leans_on("stop", "neighbours", "exhausted")
@marks.service
def test_stop_without_descriptors(server, exhausted):
    """While descriptors are exhausted, the stop signal is handled as ever."""
    server.signal(signal.SIGTERM)
    for client in exhausted:
        client.read_to_end()
        client.close()
    server.expect_exit(0, IN_TIME_S)


@marks.requirement("STOP-1")
@marks.leans_on("stop")
@marks.service
def test_stop_before_the_first_client(server):
    """A server that nobody has used ends as any other."""
    server.signal(signal.SIGTERM)
    server.expect_exit(0, IN_TIME_S)


# A log that takes nothing.


@pytest.fixture
def muted(log_pipe, start_server):
    """A server whose log is a full pipe."""
    server = start_server(stdout=log_pipe.writer)
    log_pipe.fill()
    return server


@marks.requirement("STOP-1")
@marks.leans_on("stop", "log")
@marks.service
def test_stop_with_a_full_log(muted):
    """A log that takes nothing does not keep the server from its end."""
    with muted.connect() as client:
        client.ping()
        muted.signal(signal.SIGTERM)
        client.read_to_end()
    muted.expect_exit(0, IN_TIME_S)


@marks.requirement("LOG-5")
@marks.leans_on("idle", "rest", "log")
@marks.service
def test_cpu_time_with_a_full_log(muted):
    """Lines that the log does not take cost no CPU time."""
    serve_some(muted)
    with muted.connect() as client:
        client.ping()
        wait_until(lambda: muted.process.cpu_seconds_during(0.2) < 0.02, muted.scaled(COMPILED_S))
        expect_no_spin(muted)


@of_looks
@marks.requirement("LOG-5")
@marks.leans_on("release", "fin", "log")
@marks.service
def test_memory_with_a_full_log(muted):
    """Lines that the log does not take are not kept without limit."""

    def log_one():
        connect_and_end(muted, reset=False)

    judge_memory(muted, log_one, LINES, "clients")


# Standard error.


def redirected(arguments, how, path=os.devnull):
    """The server's command with a descriptor redirected as a shell does; "$0" is the path."""
    if not any("{port}" in each for each in arguments):
        raise NotRequired("a command with {port}")
    return ["sh", "-c", f'exec "$@" {how}', str(path), *arguments]


def opened_again(number):
    return f"/proc/{os.getpid()}/fd/{number}"


@marks.requirement("LOG-1")
@marks.service
def test_full_stderr(log_pipe, start_server, server_arguments):
    """A pipe at stderr that is not read never stalls the server."""
    path = opened_again(log_pipe.writer)
    server = started(start_server, arguments=redirected(server_arguments, '2>"$0"', path))
    log_pipe.fill()
    serve_some(server)


@marks.requirement("LOG-2")
@marks.service
def test_closed_stderr_reader(log_pipe, start_server, server_arguments):
    """A pipe at stderr without a reader neither stalls nor ends the server."""
    path = opened_again(log_pipe.writer)
    server = started(start_server, arguments=redirected(server_arguments, '2>"$0"', path))
    os.close(log_pipe.reader)
    serve_some(server)


@marks.requirement("LOG-3")
@marks.leans_on("bytes")
@marks.service
def test_every_control_byte(start_server, server_arguments, tmp_path):
    """No control byte of a client reaches stdout or stderr."""
    errors = tmp_path / "errors"
    server = started(start_server, arguments=redirected(server_arguments, '2>"$0"', errors))
    marked = [b"<%c>" % value for value in CONTROLS]
    with server.connect() as client:
        for each in marked:
            client.ping(each)
        client.leave()
    server.stop()
    for name, log in (("stdout", server.raw_log()), ("stderr", errors.read_bytes())):
        found = [each for each in marked if each in log]
        expect(not found, "log-line", f"{found} of a client on {name}")


@marks.requirement("LOG-4")
@pytest.mark.parametrize("how", ["<&-", ">&-", "2>&-"], ids=["stdin", "stdout", "stderr"])
@marks.service
def test_one_descriptor_closed_at_start(start_server, server_arguments, how):
    """No log text enters a client's stream, if only one of 0, 1 and 2 was closed at the start."""
    server = started(start_server, arguments=redirected(server_arguments, how))
    with server.connect("first") as first, server.connect("second") as second:
        for _ in range(5):
            first.ping(b"one")
            second.ping(b"two")
        for client in (first, second):
            client.expect_quiet(0)
            client.leave()
