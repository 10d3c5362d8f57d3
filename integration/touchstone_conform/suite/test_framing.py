"""The answer does not depend on how the input was split, and comes at once."""

import os
import random
import time

from touchstone_conform import marks
from touchstone_conform.failure import Failure
from touchstone_conform.harness.process import Process
from touchstone_conform.harness.samples import all_bytes, sample
from touchstone_conform.harness.skips import SkipReason
from touchstone_conform.transform import answer

pytestmark = marks.wire


@marks.requirement("ECHO-5")
def test_one_byte_at_a_time(server):
    """Each byte is answered before the next is sent: the server waits for no newline or buffer."""
    with server.connect() as client:
        for value in all_bytes():
            client.ping(bytes([value]))


@marks.requirement("ECHO-4")
def test_any_split(server):
    """The same stream, split at random places, gets the same answer.

    Every other piece is answered before the next is sent, so that the server sees the splits.
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
        client.leave()


@marks.requirement("ECHO-6")
def test_the_server_sends_only_answers(server):
    """The server sends only answers: no banner, no prompt, no farewell."""
    with server.connect() as client:
        client.expect_quiet(server.scaled(0.2))
        client.ping(b"help\n")
        client.expect_quiet(server.scaled(0.1))
        client.shutdown()
        client.expect_end()


@marks.requirement("ECHO-7")
def test_latency_of_double_writes(server):
    """Two small writes back to back are both answered at once: p99 under 20 ms."""
    judge_latency(server, writes=2, rounds=100, limit=0.020)


@marks.requirement("ECHO-7")
def test_latency_of_many_small_writes(server):
    """Small writes in a row are all answered at once, also those that come between answers.

    Two writes often reach the server as one; of fifty, some come while an answer is on its way.
    Without TCP_NODELAY (measured) a quarter of the rounds or more then wait 40 ms.
    """
    judge_latency(server, writes=50, rounds=50, limit=0.035)


def judge_latency(server, writes, rounds, limit):
    """At most one round of a series is slow, in one of three series.

    On a busy machine single rounds are slow; a server that delays is slow in each series. Time in
    which the server or the kit was ready to run, but did not, does not count.
    """
    with server.connect() as client:
        slow = [slow_rounds(server, client, writes, rounds, limit)]
        while len(slow[-1]) > 1 and len(slow) < 3:
            slow.append(slow_rounds(server, client, writes, rounds, limit))
    if len(slow[-1]) > 1:
        server.record.cannot_express("how long something takes")
        limit = server.scaled(limit)
        message = f"{writes} writes took {slow}, expected at most one round of {limit:g} s or more"
        raise Failure("slow", message)


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
    """Of the server, if its process is known, and of the kit."""
    try:
        return server.process.seconds_in_queue() + Process(os.getpid()).seconds_in_queue()
    except (SkipReason, OSError):  # unknown here
        return 0


def time_of_writes(client, count):
    """Seconds from the first of `count` writes to the last of their answers.

    The client delays acknowledgements, as most do: without TCP_NODELAY the server's second answer
    waits for the acknowledgement of its first.
    """
    client.acknowledge_late()
    began = time.monotonic()
    for _ in range(count):
        client.send(b"a")
    client.expect(answer(b"a" * count))
    return time.monotonic() - began
