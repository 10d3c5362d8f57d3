"""The answer does not depend on how the input was cut, and waits for nothing."""

import os
import random
import time

import pytest

from touchstone_conform.missing import Missing
from touchstone_conform.process import Process
from touchstone_conform.samples import ALL_BYTES, sample
from touchstone_conform.transform import answer

pytestmark = pytest.mark.wire


@pytest.mark.requirement("ECHO-5")
def test_one_byte_at_a_time(server):
    """Each byte is answered before the next is sent: no newline or full buffer is waited for."""
    with server.connect() as client:
        for value in ALL_BYTES:
            client.ping(bytes([value]))


@pytest.mark.requirement("ECHO-4")
def test_any_cut(server):
    """The same stream, cut at random places, gets the same answer.

    Every other piece is answered before the next is sent, so that the cuts are the server's, too.
    """
    data = sample(20_000)
    cuts = random.Random(1)
    with server.connect() as client:
        sent = heard = 0
        while sent < len(data):
            piece = data[sent : sent + cuts.randint(1, 700)]
            client.send(piece)
            sent += len(piece)
            if cuts.random() < 0.5:
                client.expect(answer(data[heard:sent]))
                heard = sent
        client.expect(answer(data[heard:]))
        client.shutdown()
        client.expect_end()


@pytest.mark.requirement("ECHO-6")
def test_silence(server):
    """Nothing is sent that was not asked for: no banner, no prompt, no farewell."""
    with server.connect() as client:
        client.expect_quiet(server.scaled(0.2))
        client.ping(b"help\n")
        client.expect_quiet(server.scaled(0.1))
        client.shutdown()
        client.expect_end()


@pytest.mark.requirement("ECHO-7")
def test_latency_of_double_writes(server):
    """Two small writes back to back are both answered at once: p99 under 20 ms."""
    judge_latency(server, writes=2, rounds=100, limit=0.020)


@pytest.mark.requirement("ECHO-7")
def test_latency_of_many_small_writes(server):
    """Small writes in a row are all answered at once, also those that come between answers.

    Two writes often reach the server as one; of fifty, some come while an answer is on its way.
    Without TCP_NODELAY (measured) a quarter of the rounds or more then wait 40 ms.
    """
    judge_latency(server, writes=50, rounds=50, limit=0.035)


def judge_latency(server, writes, rounds, limit):
    """At most one round of a series is slow, in one of three series.

    A busy machine makes rounds slow here and there; a server that delays makes some slow in each.
    Time for which the server or we were ready and had no processor is nobody's delay.
    """
    with server.connect() as client:
        slow = [slow_rounds(server, client, writes, rounds, limit)]
        while len(slow[-1]) > 1 and len(slow) < 3:
            slow.append(slow_rounds(server, client, writes, rounds, limit))
    if len(slow[-1]) > 1:
        server.record.cannot_say("how long something takes")
        pytest.fail(f"in each series {writes} writes took too long: {slow}")


def slow_rounds(server, client, writes, rounds, limit):
    """The times of slow rounds; two are enough to know."""
    slow = []
    for _ in range(rounds):
        queued = seconds_in_queue(server)
        took = time_of_writes(client, writes)
        took -= seconds_in_queue(server) - queued
        if took >= server.scaled(limit):
            slow.append(f"{took:.3f} s")
        if len(slow) > 1:
            break
    return slow


def seconds_in_queue(server):
    """Of the server, if we know its process, and of ourselves."""
    try:
        return server.process.seconds_in_queue() + Process(os.getpid()).seconds_in_queue()
    except (Missing, OSError):  # nobody here counts
        return 0


def time_of_writes(client, count):
    """Seconds from the first of `count` writes to the last of their answers.

    The client acknowledges late, as most do: without TCP_NODELAY the server's second answer waits
    for the acknowledgement of its first.
    """
    client.acknowledge_late()
    began = time.monotonic()
    for _ in range(count):
        client.send(b"a")
    client.expect(answer(b"a" * count))
    return time.monotonic() - began
