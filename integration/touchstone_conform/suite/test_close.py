"""Every way a client can leave, as clients see it."""

import time

import pytest

from touchstone_conform import marks
from touchstone_conform.harness.client import SOON_S
from touchstone_conform.harness.samples import sample
from touchstone_conform.transform import answer

pytestmark = marks.wire

# Around the sizes that buffers have: one byte, a page, 64 KiB, and several of these.
SIZES = [1, 4095, 4096, 4097, 65535, 65536, 65537, 131072, 300_000]


@marks.requirement("CLOSE-1")
@marks.leans_on("fin", "farewell")
@pytest.mark.parametrize("size", SIZES)
def test_data_with_fin(server, size):
    """Bytes that arrive together with FIN are all echoed, then FIN is answered with FIN."""
    for seed in range(5):
        with server.connect() as client:
            client.exchange(sample(size, seed), shutdown=True)


def expect_fin(client):
    """The end is FIN; what comes before it is not judged here."""
    client.shutdown()
    client.read_to_fin()


@marks.requirement("CLOSE-2")
def test_bare_fin(server):
    """FIN without any byte is answered with FIN at once."""
    for _ in range(20):
        with server.connect() as client:
            began = time.monotonic()
            expect_fin(client)
            took = time.monotonic() - began
            server.judge_time(took, SOON_S, "the answer to FIN")


@marks.foundation("fin")
def test_fin_after_an_answer(server):
    """FIN after a completed exchange is answered with FIN, whatever comes before it."""
    with server.connect() as client:
        client.ping()
        expect_fin(client)


@marks.requirement("CLOSE-3")
@marks.leans_on("stream", "stall", "resume", "fin", "farewell", "data-and-fin")
def test_half_close_with_a_slow_reader(server):
    """After FIN, output is flushed to the last byte, however slowly the client reads."""
    with server.connect(receive_buffer=2304) as client:
        data = sample(16 << 20)
        sent = client.send_until_blocked(data, server.scaled(0.2))
        client.shutdown()
        received = b"".join(client.receive(499) for _ in range(200))
        client.expect_end(answer(data[:sent]), already=received)


@marks.requirement("CLOSE-3")
@marks.leans_on("stream", "stall", "resume", "fin", "farewell", "data-and-fin")
def test_half_close_with_a_stalled_reader(server):
    """A client that reads nothing for a while after its FIN still gets all, then FIN."""
    with server.connect(receive_buffer=2304) as client:
        data = sample(16 << 20)
        sent = client.send_until_blocked(data, server.scaled(0.2))
        client.shutdown()
        time.sleep(server.scaled(0.5))  # the stall itself
        client.expect_end(answer(data[:sent]))


@marks.foundation("flush")
@marks.leans_on("stream", "fin", "farewell", "data-and-fin")
def test_half_close_behind_megabytes(server):
    """A client that reads only after its FIN gets all, also from a server that reads without bound.

    Of eight mebibytes the kernel's buffers do not hold all.
    """
    with server.connect(receive_buffer=16384) as client:
        data = sample(8 << 20)
        sent = client.send_while_taken(data, server.scaled(0.2))
        client.shutdown()
        client.expect_end(answer(data[:sent]))


@marks.foundation("idle")
def test_an_idle_client_is_kept(server):
    """The server never closes a healthy connection first."""
    with server.connect("never sent") as silent, server.connect("sent once") as client:
        client.ping()
        client.expect_quiet(server.pause(server.scaled(1.2)))
        silent.expect_quiet(0)
        client.ping()
        silent.ping()


@marks.requirement("CLOSE-5")
@marks.leans_on("neighbours")
class TestReset:
    """RST at any moment ends that connection alone."""

    @pytest.fixture(autouse=True)
    def neighbour(self, server):
        """A client that connected before, and one that connects after, are both served."""
        with server.connect("neighbour") as neighbour:
            neighbour.ping()
            yield
            neighbour.ping()
            with server.connect("new") as new:
                new.ping(b"new")
                new.leave()

    def test_before_any_byte(self, server):
        """RST right after connecting."""
        server.record.footing.require("backlog")
        for _ in range(20):
            server.connect().reset()

    def test_while_idle(self, server):
        """RST of a connection that is known and idle."""
        for _ in range(20):
            client = server.connect()
            client.ping()
            client.reset()

    def test_mid_stream(self, server):
        """RST while bytes travel in both directions."""
        for seed in range(20):
            client = server.connect()
            client.send_what_fits(sample(200_000, seed))
            client.receive(1000)
            client.reset()

    def test_with_pending_output(self, server):
        """RST while the server holds output that the client does not read."""
        for _ in range(5):
            client = server.connect(receive_buffer=4096)
            client.send_until_blocked(sample(8 << 20), server.scaled(0.05))
            client.reset()

    def test_after_the_second_of_two_writes(self, server):
        """RST right after a write, after an earlier one was answered."""
        for _ in range(20):
            client = server.connect()
            client.ping(b"first")
            client.send(b"second")
            client.reset()

    def test_after_half_close(self, server):
        """RST while the server flushes what a half-closed client does not read."""
        for _ in range(5):
            client = server.connect(receive_buffer=4096)
            client.send_until_blocked(sample(8 << 20), server.scaled(0.05))
            client.shutdown()
            client.reset()

    def test_close_with_unread_answers(self, server):
        """A client that closes without reading its answers: the kernel sends RST for it."""
        for seed in range(20):
            client = server.connect()
            client.send_what_fits(sample(200_000, seed))
            client.receive(1)
            client.close()
