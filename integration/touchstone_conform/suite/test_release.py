"""What a connection took is given back when it ends."""

import contextlib
import socket
import struct

import pytest

from touchstone_conform.samples import sample
from touchstone_conform.transform import answer
from touchstone_conform.waiting import Deadline, wait_until

pytestmark = pytest.mark.process

BYTES_PER_PAST_CONNECTION = 16
NOISE_BYTES = 128 * 1024
LOOKS = 12
LOOKS_AT_STALLED = 4
PENDING_MAX = 8 << 20
WARM_UP_MIB = 64
LOOK_S = 40  # a server that forks takes longer for as many, and is judged by fewer


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
    """The server then meets a broken pipe."""
    with server.process.frozen():
        client = server.connect()
        client.send(b"lost")
        client.shutdown()
        client.reset()


def end_at_once(server):
    server.connect().close()


def descriptors(server):
    """Of all its processes; one that has just ended has none."""
    found = []
    for process in server.process.family():
        with contextlib.suppress(OSError):
            found += process.descriptors().values()
    return found


def wait_for_baseline(server, baseline):
    def count():
        return len(descriptors(server))

    assert wait_until(lambda: count() == baseline, server.scaled(5)), (
        f"{count()} descriptors are open where {baseline} were"
    )


@pytest.fixture
def baseline(server):
    """How many descriptors are open while nobody is connected."""
    before = len(descriptors(server))
    end_by_fin(server)  # some runtimes open what they need with the first connection
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
    """However connections end, the descriptor count is back at the baseline."""
    for _ in range(50):
        end(server)
    wait_for_baseline(server, baseline)


@pytest.mark.timeout(600)  # for all looks
@pytest.mark.requirement("CLOSE-9")
def test_memory(request, server, baseline):
    """Memory does not grow with the number of past connections.

    What leaks grows for ever. A garbage collector lets memory grow to what it thinks worth a
    collection, and then no more: so a few looks are taken, until one finds no growth.
    """
    half = request.config.getoption("--cycles") // 2
    sizes = [memory_after(server, half, baseline)[0]]
    for _ in range(LOOKS):
        size, done = memory_after(server, half, baseline)
        sizes.append(size)
        growth = sizes[-1] - sizes[-2]
        allowed = BYTES_PER_PAST_CONNECTION * done + NOISE_BYTES
        if growth <= allowed:
            return
    pytest.fail(
        f"{growth} bytes more after {done} further connections, where {allowed} may be noise; "
        f"the memory at each look: {sizes}"
    )


def memory_after(server, connections, baseline):
    """The memory after so many more, and how many there were in the time for them."""
    deadline, done = Deadline(LOOK_S), 0
    while done < connections and not deadline.passed():
        come_and_go(server, reset=done % 2 == 1)
        done += 1
    wait_for_baseline(server, baseline)
    return server.process.resident(), done


def come_and_go(server, reset):
    """As a client does, but without a record of it: nobody reads one of thousands."""
    with socket.create_connection((server.host, server.port), server.patience) as connection:
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        connection.sendall(b"ping")
        received = connection.recv(4, socket.MSG_WAITALL)
        connection.shutdown(socket.SHUT_WR)
        received += connection.recv(1)
    assert received == answer(b"ping")


@pytest.mark.requirement("FLOW-3")
def test_memory_of_stalled_clients(server):
    """What clients do not read is bounded: memory stays small however much they send.

    Garbage of what was read is not pending. Where memory grew, so much is exchanged with a client
    that reads that a collector has its reasons, and then as many clients stall beside those that
    do already: what is pending for them would have to come on top.
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
    assert growth < PENDING_MAX, f"{growth} bytes more for {sent} that were sent and not read back"


def growth_while_stalling(server, stalled):
    """Of resident memory, while 8 more clients send and do not read; and how much they sent."""
    newcomers = [server.connect(f"client {i}", receive_buffer=4096) for i in range(8)]
    stalled += newcomers
    for client in newcomers:
        client.ping()
    before = server.process.resident()
    data = sample(12 << 20)
    sent = sum(client.send_until_blocked(data, server.scaled(0.1)) for client in newcomers)
    return server.process.resident() - before, sent
