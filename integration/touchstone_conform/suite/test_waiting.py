"""Clients that wait for long, and streams that go on for long."""

import select
import socket
import time

from touchstone_conform import marks
from touchstone_conform.failure import Failure, expect
from touchstone_conform.harness.client import CloseKind
from touchstone_conform.harness.samples import flood, sample
from touchstone_conform.harness.skips import NotRequired
from touchstone_conform.harness.waiting import Deadline
from touchstone_conform.suite.test_cpu import FLUSHING, expect_no_spin
from touchstone_conform.suite.test_release import (
    judge_memory,
    of_looks,
    pending,
    stalled_client,
)
from touchstone_conform.transform import answer

SILENT_S = 12  # more than ten seconds, the shortest idle timeout in use
IDLE_CLOSE_S = 20  # a longer one is not waited for
FLUSH_S = 6  # more than five
LATER_S = 4
MESSAGES = 3000
MESSAGES_S = 40  # within the time limit of a test, which has no scale
MORE_MESSAGES = 15_000
LONG = 36 << 20  # beyond 2^25
PIECE = sample(1 << 20, seed=24)
WAKE_UPS = 50  # in a second; a conforming server needs none
MIB = 1 << 20


@marks.requirement("CLOSE-7")
@marks.leans_on("stream", "stall", "resume", "neighbours", "idle", "others")
@marks.wire
def test_clients_that_wait_for_long(server):
    """A client that is silent for 12 s, and one that reads nothing meanwhile, stay connected.

    Where the server documents an idle close: until then, and no longer.
    """
    data = flood(server.buffer)
    with server.connect("silent") as silent, server.connect("stalled") as stalled:
        silent.ping()
        sent = stalled.send_until_blocked(data, server.scaled(0.3))
        silent.expect_quiet(server.pause(SILENT_S))
        silent.ping()
        stalled.expect(answer(data[:sent]))
        stalled.ping()
        if server.idle_close <= IDLE_CLOSE_S:
            expect_idle_close(server, silent)


def expect_idle_close(server, client):
    """It comes between the documented time and twice as long: some servers look that often."""
    select.select([client], [], [], 2 * server.idle_close + server.scaled(1))
    client.expect_end(allowed=(CloseKind.FIN, CloseKind.RST))


@marks.requirement("CLOSE-3")
@marks.leans_on("idle", "stream", "stall", "resume", "fin", "farewell", "data-and-fin")
@marks.process
def test_a_long_pause_after_fin(server):
    """A client that reads nothing for 6 s after its FIN still gets all, then FIN."""
    with stalled_client(server, fin=True, taken=0) as client:
        time.sleep(server.pause(FLUSH_S))  # the stall itself
        client.expect_end(answer(pending()))


@marks.requirement("ECHO-3")
@marks.leans_on("stream")
@marks.wire
def test_a_stream_beyond_24_bits(server):
    """Each byte of a long stream comes back, also where a counter of 24 or 25 bits is full."""
    data = sample(LONG)
    with server.connect() as client:
        client.exchange(data)
        client.expect_quiet(0)


@marks.requirement("CLOSE-7")
@marks.leans_on("stream")
@marks.wire
def test_thousands_of_messages(server):
    """A client that sends thousands of messages, each after the answer to the last, is kept."""
    deadline = Deadline(MESSAGES_S)
    with server.connect() as client:
        for _ in range(MESSAGES):
            if deadline.passed():
                raise NotRequired(f"a server that answers {MESSAGES} messages in {MESSAGES_S} s")
            client.ping(b"message")


@marks.requirement("COST-1")
@marks.leans_on("idle", "rest")
@marks.process
def test_after_a_while(server):
    """A client that has been idle for some seconds costs no CPU time."""
    with server.connect() as client:
        client.ping()
        client.expect_quiet(server.pause(LATER_S))
        expect_no_spin(server)


# Wake-ups.


def expect_rest(server):
    before = server.process.sleeps()
    server.process.cpu_seconds_during(1.0)
    woken = abs(server.process.sleeps() - before)
    message = f"the server woke up {woken} times in a second, at most {WAKE_UPS}"
    expect(woken <= WAKE_UPS, "wake-ups", message)


@marks.requirement("COST-6")
@marks.leans_on("idle", "rest")
@marks.process
def test_wake_ups_beside_an_idle_client(server):
    """A server with an idle client hardly wakes up."""
    with server.connect() as client:
        client.ping()
        expect_rest(server)


@marks.requirement("COST-6")
@marks.leans_on("idle", *FLUSHING, "others", "rest-while-stalled")
@marks.process
def test_wake_ups_beside_stalled_clients(server):
    """A server with clients that read nothing, one of them after its FIN, hardly wakes up."""
    with server.connect("stalled") as stalled:
        stalled.send_until_blocked(flood(server.buffer), server.scaled(0.3))
        with stalled_client(server, fin=True, taken=0) as half_closed:
            expect_rest(server)
            half_closed.expect_end(answer(pending()))


# Memory and the bytes of one connection.


@of_looks
@marks.requirement("FLOW-8")
@marks.leans_on("idle", "stream")
@marks.process
def test_memory_and_a_long_stream(server):
    """Memory does not grow with the bytes that a client has sent and received."""
    with server.connect() as client:

        def send_on():
            client.exchange(PIECE)

        judge_memory(server, send_on, 16, "MiB through one connection", noise=2 * MIB)


@of_looks
@marks.requirement("FLOW-8")
@marks.leans_on("stream")
@marks.process
def test_memory_and_many_messages(server):
    """Memory does not grow with the messages that a client has sent and received."""
    due = answer(b"message")
    with socket.create_connection((server.host, server.port), server.timeout) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def talk_on():
            connection.sendall(b"message")
            received = connection.recv(len(due), socket.MSG_WAITALL)
            if received != due:
                raise Failure("short-answer", f"expected {due!r}, got {received!r}")

        judge_memory(server, talk_on, MORE_MESSAGES, "messages of one connection")
