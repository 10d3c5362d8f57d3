"""A server that is told to stop ends soon, and loses nothing that its kernel had received."""

import contextlib
import signal

import pytest

from touchstone_conform.borrowed import backlog
from touchstone_conform.client import CloseKind, Unexpected
from touchstone_conform.samples import sample
from touchstone_conform.transform import answer
from touchstone_conform.waiting import wait_until

pytestmark = pytest.mark.process

IN_TIME_S = 10  # any drain time-out that makes sense, and some more
FLOOD = sample(24 << 20)  # more than the kernel's buffers take in both directions
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
    """All of the first `arrived` bytes are answered, and no byte wrongly; then comes FIN."""
    received, end = client.read_to_end()
    client.judge_bytes(answer(data)[: len(received)], received)
    if len(received) < arrived:
        client.fail(f"{len(received)} bytes came of {arrived} that the server's kernel had")
    if end is not CloseKind.FIN:
        client.fail(f"all bytes came, then {end.value} where FIN was due")


@pytest.mark.requirement("STOP-3")
@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
def test_idle_clients(server, crowd, number):
    """Idle clients get FIN at once."""
    server.signal(number)
    for client in crowd:
        client.expect_end()


@pytest.mark.requirement("STOP-1")
@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
def test_with_clients(server, crowd, number):
    """It ends, with status 0, when its clients have gone."""
    server.signal(number)
    for client in crowd:
        client.read_to_end()
        client.close()
    assert server.wait_for_end(IN_TIME_S) == 0, f"told to stop, the server {server.ending()}"


@pytest.mark.requirement("STOP-1")
@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
def test_without_clients(server, number):
    """With nobody connected it ends at once."""
    with server.connect() as client:
        client.exchange(b"x", shutdown=True)
    server.signal(number)
    assert server.wait_for_end(1) == 0, f"told to stop, the server {server.ending()}"


@pytest.mark.requirement("STOP-2")
@pytest.mark.parametrize("state", ["live", "frozen"])
def test_nothing_is_lost(server, state):
    """What had reached the server's kernel is answered, though the server could not read it yet."""
    with contextlib.ExitStack() as connections:
        clients = [connections.enter_context(server.connect(f"client {i}")) for i in range(5)]
        sent = [server.stall(client, FLOOD) for client in clients]
        with server.process.frozen() if state == "frozen" else contextlib.nullcontext():
            arrived = [count - client.unacknowledged() for count, client in zip(sent, clients)]
            server.signal(signal.SIGTERM)
        for client, count in zip(clients, arrived):
            expect_what_arrived(client, FLOOD, count)
            client.close()
    server.wait_for_end(IN_TIME_S)


@pytest.mark.requirement("STOP-2")
def test_a_burst_at_the_last_moment(server, crowd):
    """What arrived with the signal, to a server that had been idle, is answered too."""
    data = sample(300_000)
    with server.process.frozen():
        sent = [client.send_what_fits(data) for client in crowd]
        arrived = [count - client.unacknowledged() for count, client in zip(sent, crowd)]
        server.signal(signal.SIGTERM)
    for client, count in zip(crowd, arrived):
        expect_what_arrived(client, data, count)
        client.close()
    server.wait_for_end(IN_TIME_S)


@pytest.mark.requirement("STOP-2")
def test_urgent_byte(server, crowd):
    """An urgent byte amid what had arrived hides nothing behind it."""
    before, after = sample(1000, 1), sample(1000, 2)
    with server.process.frozen():
        for client in crowd:
            client.send(before)
            client.send_urgent(b"u")
            client.send(after)
        server.signal(signal.SIGTERM)
    for client in crowd:
        received, end = client.read_to_end()
        if received != answer(before + after):  # the urgent byte may be dropped
            client.judge_bytes(answer(before + b"u" + after), received)
        assert end is CloseKind.FIN
        client.close()
    server.wait_for_end(IN_TIME_S)


@pytest.mark.requirement("STOP-4")
def test_backlog(server):
    """Clients that were not accepted yet are served too: all their bytes, and FIN."""
    count = min(40, backlog(server.process))
    answers = [answer(sample(1000, seed)) if seed % 4 else b"" for seed in range(count)]
    with contextlib.ExitStack() as connections:
        with server.process.frozen():
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


@pytest.mark.requirement("STOP-3")
def test_half_closed_client(server):
    """A client that had ended its direction, and does not read, still gets everything."""
    with server.connect() as client:
        sent = server.stall(client, FLOOD)
        client.shutdown()
        arrived = sent - client.unacknowledged()
        server.signal(signal.SIGTERM)
        # Who reads before the server knows of the stop shows nothing.
        wait_until(lambda: is_refused(server), server.scaled(1))
        expect_what_arrived(client, FLOOD, arrived)
    server.wait_for_end(IN_TIME_S)


@pytest.mark.requirement("STOP-6")
def test_a_stalled_client_delays_nobody(server, crowd):
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


@pytest.mark.requirement("STOP-3")
def test_what_comes_after_the_end(server, crowd):
    """Bytes behind the server's FIN are taken in and forgotten: RST would destroy what it sent."""
    server.signal(signal.SIGTERM)
    for client in crowd:
        client.expect_end()
    for client in crowd:
        if client.send_past_the_end(sample(1000)) or client.send_past_the_end(b"more"):
            client.fail("RST came while the client was still sending")
        client.close()
    server.wait_for_end(IN_TIME_S)


@pytest.mark.requirement("STOP-6")
def test_a_reset_ends_one_alone(server, crowd):
    """A client that resets during the drain is gone; the others get their bytes and FIN."""
    with server.process.frozen():
        for client in crowd:
            client.send(b"ping")
        server.signal(signal.SIGTERM)
        crowd[0].reset()
    for client in crowd[1:]:
        client.expect_end(answer(b"ping"))
        client.close()
    server.wait_for_end(IN_TIME_S)


def is_refused(server):
    """Not let in at once; who is, leaves again."""
    try:
        server.connect("newcomer").close()
    except Unexpected as unexpected:
        return "Connection refused" in str(unexpected)
    return False


@pytest.mark.requirement("STOP-5")
def test_newcomers_are_refused(server, crowd):
    """While the server waits for its clients to end nobody else gets in."""
    server.signal(signal.SIGTERM)
    crowd[0].read_to_end()
    refused = wait_until(lambda: is_refused(server), server.scaled(1))
    assert refused, "newcomers are still let in"
    for client in crowd:
        client.close()
    server.wait_for_end(IN_TIME_S)
