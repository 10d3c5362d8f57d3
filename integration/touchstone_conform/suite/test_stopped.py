"""Many events at once: clients act while the server is stopped.

SIGSTOP, act, SIGCONT: all events are ready together, and waits may return EINTR.
"""

import contextlib

import pytest

from touchstone_conform import marks
from touchstone_conform.failure import expect
from touchstone_conform.harness.duplicates import backlog
from touchstone_conform.harness.samples import sample
from touchstone_conform.transform import answer

pytestmark = [marks.process, marks.leans_on("interrupt")]


@marks.requirement("CLOSE-4")
@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 65535, 65536, 65537, 131072, 300_000])
def test_data_and_fin(server, size):
    """Bytes and FIN that are ready together: all bytes, then FIN are answered."""
    data = sample(size)
    with server.connect() as client:
        client.ping()
        with server.process.stopped():
            sent = client.send_what_fits(data)
            if sent == size:
                client.shutdown()
        if sent == size:
            client.expect_end(answer(data))
        else:
            client.exchange(data[sent:], shutdown=True, before=data[:sent])


@marks.requirement("CLOSE-4")
def test_connect_data_and_fin_in_the_backlog(server):
    """Clients that connected, sent and half-closed before they were accepted get everything."""
    count = min(20, backlog(server.process))
    with contextlib.ExitStack() as connections:
        with server.process.stopped():
            clients = [
                connections.enter_context(server.connect(f"client {i}")) for i in range(count)
            ]
            for seed, client in enumerate(clients):
                client.send(sample(1000, seed))
                client.shutdown()
        for seed, client in enumerate(clients):
            client.expect_end(answer(sample(1000, seed)))


@marks.requirement("FLOW-5")
@pytest.mark.parametrize("size", [30_000, 300_000])
def test_a_burst_is_answered_whole(server, size):
    """A burst larger than a buffer is echoed whole, without further traffic."""
    data = sample(size)
    with server.connect() as client:
        client.ping()
        with server.process.stopped():
            sent = client.send_what_fits(data)
        client.exchange(data[sent:], before=data[:sent])
        client.ping()


@marks.requirement("FLOW-7")
@marks.leans_on("urgent")
def test_an_urgent_byte_delays_no_other(server):
    """No byte around an urgent one is lost or delayed, and the server does not spin."""
    before, after = sample(1000, 1), sample(1000, 2)
    with server.connect() as client:
        client.ping()
        with server.process.stopped():
            client.send(before)
            client.send_urgent(b"u")
            client.send(after)
        in_line = answer(before + b"u" + after)
        received = client.receive(len(in_line) - 1)
        if received != answer(before + after):
            client.judge_bytes(in_line, received + client.receive(1))
        used = server.process.cpu_seconds_during(0.5)
        expect(used <= 0.1, "cpu", f"{used:.2f} s of CPU time in half a second, at most 0.1")
        client.ping()


@marks.requirement("FAIR-6")
@marks.leans_on("neighbours")
def test_many_ready(server):
    """More clients that are ready at once than an event array holds: all are served."""
    with contextlib.ExitStack() as connections:
        clients = [connections.enter_context(server.connect(f"client {i}")) for i in range(300)]
        for client in clients:
            client.ping()
        with server.process.stopped():
            for seed, client in enumerate(clients):
                client.send(sample(100, seed))
        for seed, client in enumerate(clients):
            client.expect(answer(sample(100, seed)))


@marks.requirement("CLOSE-6")
@marks.leans_on("reset", "neighbours")
class TestReset:
    """RST that arrives before the server can look ends that connection only."""

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

    def test_in_the_backlog(self, server):
        """RST of connections that were never accepted, with and without bytes."""
        count = min(10, backlog(server.process))
        with server.process.stopped():
            for i in range(count):
                client = server.connect()
                if i % 2:
                    client.send(b"too late")
                client.reset()

    def test_while_idle(self, server):
        """RST of idle connections, many at once."""
        clients = [server.connect() for _ in range(20)]
        for client in clients:
            client.ping()
        with server.process.stopped():
            for client in clients:
                client.reset()

    def test_after_data(self, server):
        """RST right after bytes that were not read yet."""
        for size in (1, 5000, 100_000):
            client = server.connect()
            client.ping()
            with server.process.stopped():
                client.send_what_fits(sample(size))
                client.reset()

    def test_after_data_and_fin(self, server):
        """RST after bytes and FIN that were not read yet: the first write fails with EPIPE."""
        for _ in range(5):
            client = server.connect()
            client.ping()
            with server.process.stopped():
                client.send(sample(5000))
                client.shutdown()
                client.reset()

    def test_with_pending_output(self, server):
        """RST of a connection with output pending in the server."""
        client = server.connect(receive_buffer=4096)
        client.send_until_blocked(sample(8 << 20), server.scaled(0.1))
        with server.process.stopped():
            client.reset()

    def test_sigpipe(self, server):
        """Repeated writes to a client that is gone (EPIPE, SIGPIPE) do not end the server."""
        for size in (1, 5000, 60_000, 300_000):
            for _ in range(5):
                client = server.connect()
                client.ping()
                with server.process.stopped():
                    client.send_what_fits(sample(size))
                    client.close()
