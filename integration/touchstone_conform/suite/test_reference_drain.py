"""The drain of the reference: its timeout, exit statuses and log."""

import contextlib
import resource
import signal
import time

import pytest

from touchstone_conform import marks
from touchstone_conform.failure import expect
from touchstone_conform.harness.process import hangup
from touchstone_conform.harness.samples import flood
from touchstone_conform.suite.test_release import stalled_client

pytestmark = marks.reference

LOSSLESS, LOSSY = 0, 3
DEFAULT_S = 5
FLOOD = flood()


def expect_status(expected, status):
    expect(status == expected, "exit-status", f"expected exit status {expected}, got {status}")


def expect_duration(least, seconds, most):
    message = f"ended after {seconds:.3f} s, expected {least} to {most:g} s"
    expect(least <= seconds, "closed-early", message)
    expect(seconds <= most, "slow", message)


def end(server, number=signal.SIGTERM):
    """Signal a server; give its status and the seconds until it ended."""
    began = time.monotonic()
    server.signal(number)
    return server.wait_for_end(DEFAULT_S + 3), time.monotonic() - began


@marks.requirement("STOP-2")
def test_lossless_at_once(server):
    """Clients that answer FIN with FIN: the server ends at once with status 0."""
    with server.connect() as client:
        client.exchange(b"hello", shutdown=True)
    with server.connect() as client:
        client.ping()
        server.signal(signal.SIGTERM)
        client.expect_end()
    server.expect_exit(LOSSLESS, 1)
    server.wait_for_log(r"^stop connections=1$")
    server.wait_for_log(r"^disconnect token=\S+ peer=\S+ reason=end in=4 out=4$")


@marks.requirement("REF-8")
def test_a_client_that_ignores_fin(start_server):
    """It delays the exit for the timeout and no longer; no byte was lost, so the status is 0."""
    server = start_server("--drain-timeout", "1")
    with server.connect() as client:
        client.ping()
        status, seconds = end(server)
    expect_status(LOSSLESS, status)
    expect_duration(1.0, seconds, 1.0 + server.scaled(0.5))
    server.wait_for_log(r"^disconnect token=\S+ peer=\S+ reason=expired in=4 out=4$")


@marks.requirement("REF-8")
def test_bytes_pending_at_the_timeout(start_server):
    """Bytes that a client does not read within the timeout are lost: status 3."""
    server = start_server("--drain-timeout", "1")
    with stalled_client(server, taken=0):
        status, seconds = end(server)
    expect_status(LOSSY, status)
    expect_duration(1.0, seconds, 1.0 + server.scaled(0.5))
    left = server.wait_for_log(r"^disconnect token=\S+ peer=\S+ reason=expired in=(\d+) out=(\d+)$")
    lost = int(left[1]) > int(left[2])
    expect(lost, "log-line", f"expected out to be less than in: {left[0]!r}")


@marks.requirement("REF-8")
def test_no_timeout(start_server):
    """With a timeout of 0 the server waits for no client."""
    server = start_server("--drain-timeout=0")
    with server.connect() as client:
        client.ping()
        status, seconds = end(server)
    expect_status(LOSSLESS, status)
    expect_duration(0, seconds, server.scaled(0.5))


@marks.requirement("REF-8")
def test_default_timeout(server):
    """The default drain timeout is 5 seconds."""
    with server.connect() as client:
        client.ping()
        status, seconds = end(server)
    expect_status(LOSSLESS, status)
    expect_duration(DEFAULT_S, seconds, DEFAULT_S + server.scaled(0.5))


@marks.requirement("REF-8")
def test_only_what_had_arrived(server):
    """What arrives after the stop is discarded; what had arrived is echoed."""
    with server.connect() as client:
        sent = server.stall(client, FLOOD)
        owed = sent - client.unacknowledged()
        server.signal(signal.SIGTERM)
        server.wait_for_log(r"^stop connections=1$")
        received, end = client.read_to_end()
        client.judge_end(end)
        counts = f"got {len(received)} of {owed} bytes that had arrived, of {sent} that were sent"
        expect(owed <= len(received), "short-answer", counts)
        expect(len(received) < sent, "unasked-data", counts)
    server.expect_exit(LOSSLESS, 1)
    count = len(received)
    server.wait_for_log(rf"^disconnect token=\S+ peer=\S+ reason=end in={count} out={count}$")


@marks.requirement("REF-8")
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
    expect_status(128 + second, status)
    expect_duration(0, seconds, server.scaled(0.5))


@marks.requirement("REF-16")
def test_a_hangup_drains(start_server):
    """SIGHUP drains: the client gets its answer and FIN, and the status is 0."""
    with hangup(signal.SIG_DFL):
        server = start_server()
    with server.connect() as client:
        client.ping()
        server.signal(signal.SIGHUP)
        client.expect_end()
    server.expect_exit(LOSSLESS, 1)
    server.wait_for_log(r"^stop connections=1$")


@marks.requirement("REF-16")
def test_an_ignored_hangup_stays_ignored(start_server):
    """A server that was started with SIGHUP ignored, as by nohup, serves on."""
    with hangup(signal.SIG_IGN):
        server = start_server()
    with server.connect() as client:
        client.ping()
        server.signal(signal.SIGHUP)
        client.ping()


@marks.requirement("REF-10")
def test_waiting_costs_nothing(server):
    """A drain that waits for clients, stalled ones among them, costs no CPU time."""
    with server.connect("quiet") as quiet, server.connect("stalled") as stalled:
        quiet.ping()
        server.stall(stalled, FLOOD)
        server.signal(signal.SIGTERM)
        quiet.expect_end()
        used = server.process.cpu_seconds_during(0.5)
        expect(used <= 0.1, "cpu", f"{used:.2f} s of CPU time in half a second, at most 0.1")
    server.wait_for_end(1)


@marks.requirement("REF-9")
def test_a_full_log(log_pipe, start_server):
    """A full log pipe does not delay the exit."""
    server = start_server("--verbose", stdout=log_pipe.writer)
    with contextlib.ExitStack() as connections:
        clients = [connections.enter_context(server.connect(f"client {i}")) for i in range(50)]
        for client in clients:
            client.ping()
        log_pipe.fill()
        server.signal(signal.SIGTERM)
        for client in clients:
            client.expect_end()
    server.expect_exit(LOSSLESS, 1)


@marks.requirement("STOP-4")
def test_a_drain_without_descriptors(server):
    """A backlog that cannot be accepted without descriptors does not delay the exit."""
    with server.connect("old") as old, contextlib.ExitStack() as connections:
        old.ping()
        highest = max(server.process.descriptors())
        with server.process.limited(resource.RLIMIT_NOFILE, highest + 1):
            connections.enter_context(server.connect("new"))
            server.signal(signal.SIGTERM)
            old.expect_end()
            old.close()
            server.expect_exit(LOSSLESS, 1)


@marks.requirement("STOP-4")
@pytest.mark.parametrize("error", ["ENETDOWN", "EHOSTUNREACH", "EPERM", "EPROTO"])
def test_an_accept_error_within_the_backlog(server, attach_strace, error):
    """An accept error for one waiting client does not affect the answers of the next."""
    with contextlib.ExitStack() as connections, server.process.stopped():
        clients = [connections.enter_context(server.connect(f"client {i}")) for i in range(40)]
        for client in clients:
            client.send(b"ping")
        server.signal(signal.SIGTERM)
        # The first of these calls may be made before the server looks at the signal.
        inject = f"inject=accept4:error={error}:when=18"
        # Not traced when it ends: LeakSanitizer, which runs then, does not work under strace.
        with attach_strace("-e", "trace=accept4", "-e", inject):
            server.signal(signal.SIGCONT)
            for client in clients:
                client.expect_end(b"PING")
        for client in clients:
            client.close()
        server.expect_exit(LOSSLESS, 1)


@marks.requirement("REF-8")
def test_idle_timeout_and_drain(start_server):
    """The idle timeout does not shorten the drain."""
    server = start_server("--idle-timeout=1", "--drain-timeout=2")
    with server.connect() as client:
        client.ping()
        status, seconds = end(server)
    expect_status(LOSSLESS, status)
    expect_duration(2.0, seconds, 2.0 + server.scaled(0.5))
