"""Descriptors and memory of a connection are released when it ends."""

import contextlib
import itertools
import socket
import struct

import pytest

from touchstone_conform import marks
from touchstone_conform.failure import Failure, expect
from touchstone_conform.harness.duplicates import shrink_send_buffer
from touchstone_conform.harness.samples import sample
from touchstone_conform.harness.waiting import Deadline, wait_until
from touchstone_conform.transform import answer

pytestmark = marks.process

BYTES_PER_PAST_CONNECTION = 16
NOISE_BYTES = 128 * 1024
LOOKS = 12
LOOKS_AGAIN = 4
GARBAGE = 10_000  # connections
LOOKS_AT_STALLED = 4
STALLED = 8  # clients, in each look
PENDING_MAX = 8 << 20
TAKEN = 5000  # the server has written more than once
WARM_UP_MIB = 64
ROUNDS = 5  # in each of which a leak grows
ROUND_S, SETTLED_S = 0.5, 5  # for descriptors to be closed; in the last round
SHORT_LOOK_S = 8
LOOK_S = 40  # a server that forks makes fewer connections in this time

# The time limit of a test that judges memory: all looks, twice, and the garbage.
of_looks = pytest.mark.timeout(900)


def end_by_fin(server):
    with server.connect() as client:
        client.ping()
        client.shutdown()
        client.read_to_fin()


def end_by_reset(server):
    client = server.connect()
    client.ping()
    client.reset()


def end_by_reset_with_pending_output(server):
    client = server.connect(receive_buffer=4096)
    client.ping()
    client.send_what_fits(sample(1 << 20))
    client.reset()


def pending():
    """More than a small send buffer takes; asked for when it is sent, as the samples are then."""
    return sample(60_000)


def stalled_client(server, fin=False, taken=TAKEN):
    """A client that took `taken` bytes of its answer; the rest of pending() is pending for certain.

    The server has also received its FIN, if it sent one: a full window would keep that back.
    """
    client = server.connect("stalled", receive_buffer=2304)
    client.ping()
    shrink_send_buffer(server.process, client.address)
    client.send(pending())
    if fin:
        client.shutdown()
    if taken:
        client.receive(taken)
    return client


def end_by_close_with_unread_answers(server):
    client = server.connect()
    client.send(sample(3000))
    client.close()


def end_by_reset_behind_data_and_fin(server):
    """The server's write then fails with EPIPE. It has accepted the client: one that is slow to
    accept may have a small backlog."""
    client = server.connect()
    client.ping()
    with server.process.stopped():
        client.send(b"lost")
        client.shutdown()
        client.reset()


def end_at_once(server):
    server.connect().close()


def descriptors(server):
    """Of all its processes that have not ended."""
    found = []
    for process in server.process.family():
        with contextlib.suppress(OSError):
            found += process.descriptors().values()
    return found


def judge_descriptors(server, end, count):
    """A leak grows with the number of ends, and so in each of several equal rounds.

    What a runtime opens with its first connections and keeps, such as a pool of pipes, is bounded.
    """
    counts = [len(descriptors(server))]
    while len(counts) <= ROUNDS:
        seconds = ROUND_S if len(counts) < ROUNDS else SETTLED_S
        counts.append(descriptors_after(server, end, count, counts[-1], seconds))
        if counts[-1] <= counts[-2]:
            return
    message = f"more descriptors are open after each {count} connections that ended: {counts}"
    raise Failure("descriptors", message)


def descriptors_after(server, end, count, before, seconds):
    """How many are open after so many ends, once they are no more than before, or in vain."""
    for _ in range(count):
        end(server)
    return settled(server, before, seconds)


def settled(server, before, seconds):
    """The number of open descriptors, once it is no more than before or the time has passed."""
    wait_until(lambda: len(descriptors(server)) <= before, server.scaled(seconds))
    return len(descriptors(server))


@marks.requirement("CLOSE-8")
@pytest.mark.parametrize(
    "end",
    [
        end_by_fin,
        end_by_reset,
        end_by_reset_with_pending_output,
        end_by_reset_behind_data_and_fin,
        end_by_close_with_unread_answers,
        end_at_once,
    ],
)
def test_nothing_stays_open(server, end):
    """However connections end, the number of descriptors does not grow with them."""
    judge_descriptors(server, end, 50)


@of_looks
@marks.requirement("CLOSE-9")
@marks.leans_on("release")
def test_memory_does_not_grow(request, server):
    """Memory does not grow with the number of past connections.

    A leak grows for ever. With a garbage collector memory grows until a collection, and then no
    more: so memory is measured several times, until once it has not grown.
    """
    footing = server.record.footing
    resets = footing.holds("reset") and footing.holds("backlog")
    kinds = [False] * footing.holds("fin") + [True] * resets
    if not kinds:
        footing.require("fin", "reset", "backlog")
    ends = itertools.cycle(kinds)
    half = request.config.getoption("--touchstone-cycles") // 2
    judge_memory(
        server,
        lambda: connect_and_end(server, reset=next(ends)),
        half,
        "connections",
        each=BYTES_PER_PAST_CONNECTION,
        seconds=LOOK_S,
    )


def connect_and_end(server, reset):
    """One connection, without recording it."""
    if reset:
        reset_at_once(server)
        return
    received = b""
    try:
        with socket.create_connection((server.host, server.port), server.timeout) as connection:
            connection.sendall(b"ping")
            received = connection.recv(4, socket.MSG_WAITALL)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
    except OSError as error:
        message = f"one of many short connections: {error}, after {len(received)} of 4 bytes"
        raise Failure("still-open" if received else "no-answer", message) from error
    expect(received == answer(b"ping"), "wrong-byte", f"expected an echo, got {received!r}")


def reset_at_once(server):
    """A connection that ends by RST before it sent anything, without recording it."""
    server.record.footing.require("reset", "backlog")
    with socket.create_connection((server.host, server.port), server.timeout) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def judge_memory(server, use, count, what, *, each=0, noise=NOISE_BYTES, seconds=SHORT_LOOK_S):
    """Memory after rounds of `count` uses, or of `seconds`, until it grew once by no more than
    `each` byte a use and the noise.

    A garbage collector may wait for more garbage than these rounds make (Go's for 4 MiB): if memory
    grows in all of them, many short connections make it run, and the rounds begin anew.
    """
    for rounds in (LOOKS, LOOKS_AGAIN):
        grown = growth_in_each(server, use, count, rounds, each, noise, seconds)
        if grown is None:
            return
        make_garbage(server)
    sizes, done = grown
    message = f"{sizes[-1] - sizes[-2]} bytes more after {done} {what}"
    limit = f"at most {each * done + noise}"
    raise Failure("memory", f"{message}, {limit}; resident after each round: {sizes}")


def growth_in_each(server, use, count, rounds, each, noise, seconds):
    """Memory after each round, and how many uses the last had; None if one did not grow."""
    sizes, before = [], len(descriptors(server))
    while len(sizes) <= rounds:
        deadline, done = Deadline(seconds), 0
        while done < count and not deadline.passed():
            use()
            done += 1
        settled(server, before, ROUND_S)
        sizes.append(server.process.resident())
        if len(sizes) > 1 and sizes[-1] - sizes[-2] <= each * done + noise:
            return None
    return sizes, done


def make_garbage(server):
    """One after the other, if that can be: many at once leave holes, in which a leak hides."""
    kinds = [kind for kind in ("fin", "reset") if server.record.footing.holds(kind)]
    deadline, done = Deadline(LOOK_S), 0
    while kinds and done < GARBAGE and not deadline.passed():
        connect_and_end(server, reset=kinds[0] == "reset")
        done += 1


@marks.requirement("FLOW-3")
@marks.leans_on("stream", "stall", "neighbours")
def test_memory_of_stalled_clients(server):
    """Memory for clients that do not read is bounded, however much they send.

    Garbage is not pending output. If memory grew, much is exchanged with a client that reads, so
    that a garbage collector runs; then as many more clients stall, and memory must not grow again.
    """
    stalled = []
    allowed = PENDING_MAX + STALLED * server.buffer
    for _ in range(LOOKS_AT_STALLED):
        growth, sent = growth_while_stalling(server, stalled)
        if growth < allowed:
            break
        with server.connect("reader") as reader:
            for _ in range(WARM_UP_MIB):
                reader.exchange(sample(1 << 20))
    for client in stalled:
        client.reset()
    message = f"{growth} bytes more after {sent} bytes whose answers no client read"
    expect(growth < allowed, "memory", f"{message}, at most {allowed}")


def growth_while_stalling(server, stalled):
    """The growth of memory while more clients send and do not read; and how much they sent."""
    newly_connected = [server.connect(f"client {i}", receive_buffer=4096) for i in range(STALLED)]
    stalled += newly_connected
    for client in newly_connected:
        client.ping()
    before = server.process.resident()
    data = sample(1 << 20) * (12 + (server.buffer >> 20))
    sent = sum(client.send_until_blocked(data, server.scaled(0.1)) for client in newly_connected)
    return server.process.resident() - before, sent
