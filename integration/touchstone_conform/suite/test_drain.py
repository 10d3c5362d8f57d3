"""A server that gets a stop signal ends soon, and loses nothing that its kernel had received."""

import contextlib
import signal

import pytest

from touchstone_conform import marks
from touchstone_conform.failure import Failure, expect
from touchstone_conform.harness.client import counted
from touchstone_conform.harness.duplicates import backlog
from touchstone_conform.harness.samples import flood, sample
from touchstone_conform.harness.waiting import wait_until
from touchstone_conform.transform import answer

pytestmark = [marks.service, marks.leans_on("stop")]

IN_TIME_S = 10  # longer than any sensible drain timeout
FLOOD = flood()
STOP_SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.fixture
def crowd(server):
    """Clients that were all served once."""
    with contextlib.ExitStack() as connections:
        clients = [connections.enter_context(server.connect(f"client {i}")) for i in range(20)]
        for client in clients:
            client.ping()
        yield clients


def expect_what_arrived(client, data, arrived):
    """At least the first `arrived` bytes are answered, and correctly; then comes FIN."""
    received, end = client.read_to_end()
    client.judge_bytes(answer(data)[: len(received)], received)
    if len(received) < arrived:
        code = "short-answer" if received else "no-answer"
        client.fail(code, f"got {len(received)} of {counted(arrived)} that had arrived")
    client.judge_end(end)


@marks.requirement("STOP-3")
@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
def test_idle_clients(server, crowd, number):
    """Idle clients get FIN at once."""
    server.signal(number)
    for client in crowd:
        client.expect_end()


@marks.requirement("STOP-1")
@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
def test_with_clients(server, crowd, number):
    """It ends, with status 0, when its clients have gone."""
    server.signal(number)
    for client in crowd:
        client.read_to_end()
        client.close()
    server.expect_exit(0, IN_TIME_S)


@marks.requirement("STOP-1")
@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
def test_without_clients(server, number):
    """Without clients it ends at once, with status 0."""
    with server.connect() as client:
        client.ping(b"x")
        client.leave()
    server.signal(number)
    server.expect_exit(0, 1)


@marks.requirement("STOP-2")
@pytest.mark.parametrize("state", ["running", "stopped"])
def test_nothing_is_lost(server, state):
    """What had reached the server's kernel is answered, though the server could not read it yet."""
    with contextlib.ExitStack() as connections:
        clients = [connections.enter_context(server.connect(f"client {i}")) for i in range(5)]
        sent = [server.stall(client, FLOOD) for client in clients]
        with server.process.stopped() if state == "stopped" else contextlib.nullcontext():
            arrived = [count - client.unacknowledged() for count, client in zip(sent, clients)]
            server.signal(signal.SIGTERM)
        for client, count in zip(clients, arrived):
            expect_what_arrived(client, FLOOD, count)
            client.close()
    server.wait_for_end(IN_TIME_S)


@marks.requirement("STOP-2")
def test_a_burst_at_the_last_moment(server, crowd):
    """What arrived with the signal, to a server that had been idle, is answered too."""
    data = sample(300_000)
    with server.process.stopped():
        sent = [client.send_what_fits(data) for client in crowd]
        arrived = [count - client.unacknowledged() for count, client in zip(sent, crowd)]
        server.signal(signal.SIGTERM)
    for client, count in zip(crowd, arrived):
        expect_what_arrived(client, data, count)
        client.close()
    server.wait_for_end(IN_TIME_S)


@marks.requirement("STOP-2")
@marks.leans_on("urgent")
def test_urgent_byte(server, crowd):
    """An urgent byte among the bytes that had arrived hides none of those after it."""
    before, after = sample(1000, 1), sample(1000, 2)
    with server.process.stopped():
        for client in crowd:
            client.send(before)
            client.send_urgent(b"u")
            client.send(after)
        server.signal(signal.SIGTERM)
    for client in crowd:
        received, end = client.read_to_end()
        if received != answer(before + after):  # the urgent byte may be dropped
            client.judge_bytes(answer(before + b"u" + after), received)
        client.judge_end(end)
        client.close()
    server.wait_for_end(IN_TIME_S)


@marks.requirement("STOP-4")
def test_clients_in_the_backlog_are_served(server):
    """Clients that were not accepted yet are served too: all their bytes, and FIN."""
    count = min(40, backlog(server.process))
    answers = [answer(sample(1000, seed)) if seed % 4 else b"" for seed in range(count)]
    with contextlib.ExitStack() as connections:
        with server.process.stopped():
            clients = [
                connections.enter_context(server.connect(f"client {i}")) for i in range(count)
            ]
            for seed, client in enumerate(clients):
                if answers[seed]:
                    client.send(sample(1000, seed))
            server.signal(signal.SIGTERM)
        for client, due in zip(clients, answers):
            client.expect_end(due)
            client.close()
    server.wait_for_end(IN_TIME_S)


@marks.requirement("STOP-3")
def test_half_closed_client(server):
    """A half-closed client that does not read still gets everything."""
    with server.connect() as client:
        sent = server.stall(client, FLOOD)
        client.shutdown()
        arrived = sent - client.unacknowledged()
        server.signal(signal.SIGTERM)
        # A client that reads before the server has seen the signal proves nothing.
        wait_until(lambda: is_refused(server), server.scaled(1))
        expect_what_arrived(client, FLOOD, arrived)
    server.wait_for_end(IN_TIME_S)


@marks.requirement("STOP-6")
@marks.leans_on("others")
def test_a_stalled_client_delays_no_other(server, crowd):
    """While one client takes nothing the others get their FIN; then it gets all its bytes."""
    with server.connect("stalled") as stalled:
        sent = server.stall(stalled, FLOOD)
        arrived = sent - stalled.unacknowledged()
        server.signal(signal.SIGTERM)
        for client in crowd:
            client.expect_end()
            client.close()
        expect_what_arrived(stalled, FLOOD, arrived)
    server.wait_for_end(IN_TIME_S)


@marks.requirement("STOP-3")
def test_what_comes_after_the_end(server, crowd):
    """Bytes after the server's FIN are read and discarded: RST would destroy what it sent."""
    server.signal(signal.SIGTERM)
    for client in crowd:
        client.expect_end()
    for client in crowd:
        if client.send_past_the_end(sample(1000)) or client.send_past_the_end(b"more"):
            client.fail("closed-early", "got RST while sending after the server's FIN")
        client.close()
    server.wait_for_end(IN_TIME_S)


@marks.requirement("STOP-6")
def test_a_reset_ends_one_connection_only(server, crowd):
    """A client that resets during the drain is gone; the others get their bytes and FIN."""
    with server.process.stopped():
        for client in crowd:
            client.send(b"ping")
        server.signal(signal.SIGTERM)
        crowd[0].reset()
    for client in crowd[1:]:
        client.expect_end(answer(b"ping"))
        client.close()
    server.wait_for_end(IN_TIME_S)


def is_refused(server):
    """Whether a new connection is refused."""
    try:
        server.connect("new").close()
    except Failure as failure:
        return isinstance(failure.__cause__, ConnectionRefusedError)
    return False


@marks.requirement("STOP-5")
def test_new_connections_are_refused(server, crowd):
    """While the server waits for its clients to end, it accepts no new connection."""
    server.signal(signal.SIGTERM)
    crowd[0].read_to_end()
    refused = wait_until(lambda: is_refused(server), server.scaled(1))
    expect(refused, "still-listening", "expected new connections to be refused")
    for client in crowd:
        client.close()
    server.wait_for_end(IN_TIME_S)
