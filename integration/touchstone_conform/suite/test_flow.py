"""Backpressure, bursts and urgent data, as clients see them."""

import pytest

from touchstone_conform import marks
from touchstone_conform.harness.client import counted
from touchstone_conform.harness.samples import flood, sample
from touchstone_conform.transform import answer

pytestmark = marks.wire

@marks.foundation("stall")
@marks.leans_on("stream", "idle")
def test_a_client_that_reads_none(server):
    """A client that does not read stops being read."""
    with server.connect() as client:
        data = flood(server.buffer)
        sent = client.send_until_blocked(data, server.scaled(0.3))
        if sent == len(data):
            message = f"the server read {counted(sent)} from a client that read none"
            client.fail("no-backpressure", message)


@marks.foundation("resume")
@marks.leans_on("stream", "stall")
def test_backpressure(server):
    """A client that stopped reading, and continues, gets everything, and can send again."""
    data = flood(server.buffer)
    with server.connect() as client:
        sent = client.send_until_blocked(data, server.scaled(0.3))
        client.expect(answer(data[:sent]))
        client.ping(b"and once more")
        client.leave()


@marks.requirement("FLOW-2")
@marks.leans_on("stream")
def test_tiny_windows(server):
    """With windows that make every send a short one, nothing is lost or repeated."""
    with server.connect(receive_buffer=4096) as client:
        client.exchange(sample(6 << 20))
        client.leave()


@marks.requirement("FLOW-2")
@marks.leans_on("stream")
def test_stop_and_go(server):
    """A client that stops and continues reading several times gets everything in order."""
    data = sample(8 << 20)
    sent = received = 0
    with server.connect(receive_buffer=65536, send_buffer=65536) as client:
        for _ in range(5):
            sent += client.send_until_blocked(data[sent:], server.scaled(0.1))
            part = client.receive((sent - received) // 8)
            client.judge_bytes(answer(data[received : received + len(part)]), part)
            received += len(part)
        client.expect(answer(data[received:sent]))
        client.leave()


@marks.requirement("FLOW-4")
@marks.leans_on("stream")
@pytest.mark.parametrize("size", [30_000, 300_000])
def test_a_burst_is_answered_whole(server, size):
    """A burst larger than a buffer is echoed whole, without further traffic."""
    data = sample(size)
    with server.connect() as client:
        client.exchange(data)
        client.expect_quiet(0)
        client.ping()


@marks.requirement("FAIR-4")
@marks.leans_on("stream", "stall", "neighbours")
def test_a_stalled_client_delays_no_other(server):
    """While one client does not read, the others are answered at once."""
    with server.connect("stalled") as stalled, server.connect("neighbour") as neighbour:
        stalled.send_until_blocked(flood(server.buffer), server.scaled(0.2))
        times = sorted(neighbour.ping() for _ in range(50))
    server.judge_time(times[48], 0.1, "the second slowest of 50 pings")


@marks.foundation("urgent")
@marks.leans_on("stream")  # what several reads return is answered
def test_an_urgent_byte_affects_no_other(server):
    """An urgent byte is echoed in its place or dropped; no other byte is affected."""
    with server.connect() as client:
        client.send(b"before ")
        client.send_urgent(b"u")
        client.send(b" after")
        received = client.receive(len(b"before  after"))
        if received != answer(b"before  after"):
            client.judge_bytes(answer(b"before u after"), received + client.receive(1))
        client.ping()
        client.leave()
