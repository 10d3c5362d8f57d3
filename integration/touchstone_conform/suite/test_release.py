"""Descriptors and memory of a connection are released when it ends."""

import contextlib
import socket
import struct

import pytest

from touchstone_conform.failure import Failure, expect
from touchstone_conform.harness.samples import sample
from touchstone_conform.harness.waiting import Deadline, wait_until
from touchstone_conform.transform import answer

pytestmark = pytest.mark.process

BYTES_PER_PAST_CONNECTION = 16
NOISE_BYTES = 128 * 1024
LOOKS = 12
LOOKS_AT_STALLED = 4
PENDING_MAX = 8 << 20
WARM_UP_MIB = 64
LOOK_S = 40  # a server that forks makes fewer connections in this time


def end_by_fin(server):
    with server.connect() as client:
        client.ping()
        client.shutdown()
        client.expect_end()


def end_by_reset(server):
    client = server.connect()
    client.ping()
    client.reset()


def end_by_reset_with_pending_output(server):
    client = server.connect(receive_buffer=4096)
    client.send_what_fits(sample(1 << 20))
    client.reset()


def end_by_close_with_unread_answers(server):
    with server.connect() as client:
        client.send(sample(5000))


def end_by_reset_behind_data_and_fin(server):
    """The server's write then fails with EPIPE."""
    with server.process.stopped():
        client = server.connect()
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


def wait_for_baseline(server, baseline):
    def count():
        return len(descriptors(server))

    reached = wait_until(lambda: count() == baseline, server.scaled(5))
    expect(reached, "descriptors", f"{count()} descriptors are open, expected {baseline}")


@pytest.fixture
def baseline(server):
    """How many descriptors are open without clients."""
    before = len(descriptors(server))
    end_by_fin(server)  # some runtimes open descriptors of their own with the first connection
    wait_until(lambda: len(descriptors(server)) == before, server.scaled(0.3))
    return len(descriptors(server))


@pytest.mark.requirement("CLOSE-8")
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
def test_descriptors(server, baseline, end):
    """However connections end, the number of descriptors returns to the baseline."""
    for _ in range(50):
        end(server)
    wait_for_baseline(server, baseline)


@pytest.mark.timeout(600)  # for all looks
@pytest.mark.requirement("CLOSE-9")
def test_memory(request, server, baseline):
    """Memory does not grow with the number of past connections.

    A leak grows for ever. With a garbage collector memory grows until a collection, and then no
    more: so memory is measured several times, until once it has not grown.
    """
    half = request.config.getoption("--touchstone-cycles") // 2
    sizes = [memory_after(server, half, baseline)[0]]
    for _ in range(LOOKS):
        size, done = memory_after(server, half, baseline)
        sizes.append(size)
        growth = sizes[-1] - sizes[-2]
        allowed = BYTES_PER_PAST_CONNECTION * done + NOISE_BYTES
        if growth <= allowed:
            return
    message = f"{growth} bytes more after {done} further connections, at most {allowed}"
    raise Failure("memory", f"{message}; resident memory after each round: {sizes}")


def memory_after(server, connections, baseline):
    """The memory after so many more connections, and how many were made within LOOK_S."""
    deadline, done = Deadline(LOOK_S), 0
    while done < connections and not deadline.passed():
        connect_and_end(server, reset=done % 2 == 1)
        done += 1
    wait_for_baseline(server, baseline)
    return server.process.resident(), done


def connect_and_end(server, reset):
    """One connection, without recording it."""
    with socket.create_connection((server.host, server.port), server.timeout) as connection:
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        connection.sendall(b"ping")
        received = connection.recv(4, socket.MSG_WAITALL)
        connection.shutdown(socket.SHUT_WR)
        received += connection.recv(1)
    expect(received == answer(b"ping"), "wrong-byte", f"expected an echo, got {received!r}")


@pytest.mark.requirement("FLOW-3")
def test_memory_of_stalled_clients(server):
    """Memory for clients that do not read is bounded, however much they send.

    Garbage is not pending output. If memory grew, much is exchanged with a client that reads, so
    that a garbage collector runs; then as many more clients stall, and memory must not grow again.
    """
    stalled = []
    for _ in range(LOOKS_AT_STALLED):
        growth, sent = growth_while_stalling(server, stalled)
        if growth < PENDING_MAX:
            break
        with server.connect("reader") as reader:
            for _ in range(WARM_UP_MIB):
                reader.exchange(sample(1 << 20))
    for client in stalled:
        client.reset()
    message = f"{growth} bytes more after {sent} bytes whose answers no client read"
    expect(growth < PENDING_MAX, "memory", f"{message}, at most {PENDING_MAX}")


def growth_while_stalling(server, stalled):
    """The growth of memory while 8 more clients send and do not read; and how much they sent."""
    newly_connected = [server.connect(f"client {i}", receive_buffer=4096) for i in range(8)]
    stalled += newly_connected
    for client in newly_connected:
        client.ping()
    before = server.process.resident()
    data = sample(12 << 20)
    sent = sum(client.send_until_blocked(data, server.scaled(0.1)) for client in newly_connected)
    return server.process.resident() - before, sent
