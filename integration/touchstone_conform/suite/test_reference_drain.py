"""The reference's drain: its time-out, its statuses and its log."""

import contextlib
import os
import resource
import signal
import time

import pytest

from touchstone_conform.client import CloseKind
from touchstone_conform.samples import sample

pytestmark = pytest.mark.reference

LOSSLESS, LOSSY = 0, 3
DEFAULT_S = 5
FLOOD = sample(24 << 20)  # more than the kernel's buffers take in both directions


def end(server, number=signal.SIGTERM):
    """Signal a server; give its status and the seconds until it ended."""
    began = time.monotonic()
    server.signal(number)
    return server.wait_for_end(DEFAULT_S + 3), time.monotonic() - began


@pytest.mark.requirement("STOP-2")
def test_lossless_at_once(server):
    """Clients that answer FIN with FIN: status 0, and no time is lost."""
    with server.connect() as client:
        client.exchange(b"hello", shutdown=True)
    with server.connect() as client:
        client.ping()
        server.signal(signal.SIGTERM)
        client.expect_end()
    assert server.wait_for_end(1) == LOSSLESS
    server.wait_for_log(r"^stop connections=1$")
    server.wait_for_log(r"^disconnect token=\S+ peer=\S+ reason=end in=4 out=4$")


@pytest.mark.requirement("REF-8")
def test_a_client_that_ignores_fin(start_server):
    """It holds the exit for the time-out and no longer; it lost nothing, so the status is 0."""
    server = start_server("--drain-timeout", "1")
    with server.connect() as client:
        client.ping()
        status, seconds = end(server)
    assert status == LOSSLESS
    assert 1.0 <= seconds <= 1.0 + server.scaled(0.5)
    server.wait_for_log(r"^disconnect token=\S+ peer=\S+ reason=expired in=4 out=4$")


@pytest.mark.requirement("REF-8")
def test_bytes_that_are_owed_at_the_time_out(start_server):
    """Bytes that a client would not take in time are lost: status 3 says so."""
    server = start_server("--drain-timeout", "1")
    with server.connect() as client:
        server.stall(client, FLOOD)
        status, seconds = end(server)
    assert status == LOSSY
    assert 1.0 <= seconds <= 1.0 + server.scaled(0.5)
    left = server.wait_for_log(r"^disconnect token=\S+ peer=\S+ reason=expired in=(\d+) out=(\d+)$")
    assert int(left[1]) > int(left[2])


@pytest.mark.requirement("REF-8")
def test_no_patience(start_server):
    """With a time-out of 0 nobody is waited for."""
    server = start_server("--drain-timeout=0")
    with server.connect() as client:
        client.ping()
        status, seconds = end(server)
    assert status == LOSSLESS
    assert seconds <= server.scaled(0.5)


@pytest.mark.requirement("REF-8")
def test_default_patience(server):
    """The drain time-out is 5 seconds unless told otherwise."""
    with server.connect() as client:
        client.ping()
        status, seconds = end(server)
    assert status == LOSSLESS
    assert DEFAULT_S <= seconds <= DEFAULT_S + server.scaled(0.5)


@pytest.mark.requirement("REF-8")
def test_exactly_what_was_owed(server):
    """What arrives after the stop is discarded: what was there is echoed, and no byte more."""
    with server.connect() as client:
        sent = server.stall(client, FLOOD)
        owed = sent - client.unacknowledged()
        server.signal(signal.SIGTERM)
        server.wait_for_log(r"^stop connections=1$")
        received, end = client.read_to_end()
        assert end is CloseKind.FIN
        assert owed <= len(received) < sent
    assert server.wait_for_end(1) == LOSSLESS
    count = len(received)
    server.wait_for_log(rf"^disconnect token=\S+ peer=\S+ reason=end in={count} out={count}$")


@pytest.mark.requirement("REF-8")
@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_second_signal(server, first, second):
    """A second signal ends the drain at once, with 128 and its number, from half a second on."""
    with server.connect() as client:
        client.ping()
        server.signal(first)
        server.signal(second)  # one that was forwarded: it does not count
        client.expect_end()
        time.sleep(0.5)
        status, seconds = end(server, second)
    assert status == 128 + second
    assert seconds <= server.scaled(0.5)


@pytest.mark.requirement("REF-10")
def test_waiting_costs_nothing(server):
    """A drain that waits for clients, stalled ones among them, costs no processor time."""
    with server.connect("quiet") as quiet, server.connect("stalled") as stalled:
        quiet.ping()
        server.stall(stalled, FLOOD)
        server.signal(signal.SIGTERM)
        quiet.expect_end()
        used = server.process.cpu_seconds_during(0.5)
        assert used <= 0.1, f"{used:.2f} s of processor time in half a second of waiting"
    server.wait_for_end(1)


@pytest.mark.requirement("REF-9")
def test_a_full_log(log_pipe, start_server):
    """A log that takes nothing does not hold up the exit."""
    server = start_server("--verbose", stdout=log_pipe.writer)
    with contextlib.ExitStack() as connections:
        clients = [connections.enter_context(server.connect(f"client {i}")) for i in range(50)]
        for client in clients:
            client.ping()
        log_pipe.fill()
        server.signal(signal.SIGTERM)
        for client in clients:
            client.expect_end()
    assert server.wait_for_end(1) == LOSSLESS


@pytest.mark.requirement("STOP-4")
def test_a_drain_without_descriptors(server):
    """A backlog that cannot be accepted for want of descriptors does not hold up the exit."""
    with server.connect("old") as old, contextlib.ExitStack() as connections:
        old.ping()
        highest = max(server.process.descriptors())
        with server.process.limited(resource.RLIMIT_NOFILE, highest + 1):
            connections.enter_context(server.connect("new"))
            server.signal(signal.SIGTERM)
            old.expect_end()
            old.close()
            assert server.wait_for_end(1) == LOSSLESS


@pytest.mark.requirement("STOP-4")
@pytest.mark.parametrize("error", ["ENETDOWN", "EHOSTUNREACH", "EPERM", "EPROTO"])
def test_an_accept_error_amid_the_backlog(server, attach_strace, error):
    """An error of one who waited does not cost those behind it their answers."""
    with contextlib.ExitStack() as connections, server.process.frozen():
        clients = [connections.enter_context(server.connect(f"client {i}")) for i in range(40)]
        for client in clients:
            client.send(b"ping")
        server.signal(signal.SIGTERM)
        # The first of these calls may be made before the server looks at the signal.
        inject = f"inject=accept4:error={error}:when=18"
        # Not traced any more when it ends: LeakSanitizer, which then looks, refuses to be.
        with attach_strace("-e", "trace=accept4", "-e", inject):
            os.kill(server.pid, signal.SIGCONT)
            for client in clients:
                client.expect_end(b"PING")
        for client in clients:
            client.close()
        assert server.wait_for_end(1) == LOSSLESS


@pytest.mark.requirement("REF-8")
def test_idle_time_out_and_drain(start_server):
    """The idle time-out does not cut the drain short."""
    server = start_server("--idle-timeout=1", "--drain-timeout=2")
    with server.connect() as client:
        client.ping()
        status, seconds = end(server)
    assert status == LOSSLESS
    assert 2.0 <= seconds <= 2.0 + server.scaled(0.5)
