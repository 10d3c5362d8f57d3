"""The reference's limits: connections, descriptors, address space."""

import contextlib
import re
import resource
import signal
import sys
import time

import pytest

from touchstone_conform import strace
from touchstone_conform.borrowed import shrink_send_buffer
from touchstone_conform.client import CloseKind
from touchstone_conform.process import prlimit
from touchstone_conform.samples import sample
from touchstone_conform.server import run_to_end
from touchstone_conform.transform import answer

pytestmark = pytest.mark.reference

CANNOT_START = 1
RETRY_S = 0.1
RESERVED = 32


def under(limit, value, *words):
    """A command line that runs `words` with a limit of the shell's ulimit."""
    return ["sh", "-c", f'ulimit {limit} {value}; exec "$@"', "sh", *words]


def serve_at_once(server, count):
    """So many clients, all there together, are answered."""
    with contextlib.ExitStack() as connections:
        for _ in range(count):
            connections.enter_context(server.connect()).ping()


@pytest.mark.requirement("REF-5")
class TestMaxConnections:
    """Above --max-connections newcomers wait in the backlog, and the old are not disturbed."""

    @pytest.fixture(autouse=True)
    def full_house(self, start_server):
        self.server = start_server("--max-connections", "3")
        with contextlib.ExitStack() as connections:
            clients = [
                connections.enter_context(self.server.connect(f"client {i}")) for i in range(6)
            ]
            self.old, self.waiting = clients[:3], clients[3:]
            for client in self.old:
                client.ping()
            for client in self.waiting:
                client.send(b"ping")
            self.ping_the_old()
            yield

    def ping_the_old(self):
        for client in self.old:
            client.ping()

    def test_newcomers_wait(self):
        """Nobody is served above the limit; waiting costs no system call."""
        with strace.attached(self.server.pid) as trace:
            for client in self.waiting:
                client.expect_quiet(0.1)
            trace.detach()
            assert trace.busy_lines() == []
        self.ping_the_old()

    def test_served_as_one_leaves(self):
        """Each one who leaves makes room for the one who waited longest, at once."""
        for waiting in self.waiting:
            leaver = self.old.pop(0)
            leaver.shutdown()
            leaver.expect_end()
            waiting.expect(b"PING")
            self.old.append(waiting)
            self.ping_the_old()
        assert self.server.log().count("\nconnect ") == 6

    def test_served_as_one_resets(self):
        """So does a client that resets, and those who gave up waiting are in nobody's way."""
        self.waiting[0].reset()
        self.old.pop().reset()
        self.waiting[1].expect(b"PING")
        self.ping_the_old()

    def test_all_leave_at_once(self):
        """All who wait are served when all leave in one moment."""
        with self.server.process.frozen():
            for client in self.old:
                client.close()
        for waiting in self.waiting:
            waiting.expect(b"PING")

    def test_drain(self):
        """Those who are served get their FIN; those who wait are told, and hold up nothing."""
        self.server.signal(signal.SIGTERM)
        for client in self.old:
            client.expect_end()
            client.close()
        for client in self.waiting:
            assert client.read_to_end() in [(b"PING", CloseKind.FIN), (b"", CloseKind.RST)]
            client.close()
        assert self.server.wait_for_end(1) == 0


@pytest.mark.requirement("REF-6")
def test_retry_after_the_limit_is_raised(server):
    """No event tells that descriptors came back: the server looks after 100 ms."""
    with server.connect("old") as old, contextlib.ExitStack() as connections:
        old.ping()
        highest = max(server.process.descriptors())
        with server.process.limited(resource.RLIMIT_NOFILE, highest + 1):
            newcomers = [connections.enter_context(server.connect(f"new {i}")) for i in range(5)]
            for client in newcomers:
                client.send(b"ping")
            old.ping()
        began = time.monotonic()
        for client in newcomers:
            client.expect(b"PING")
    assert time.monotonic() - began <= RETRY_S + server.scaled(0.2)


@pytest.mark.requirement("REF-6")
def test_waiting_for_descriptors(server):
    """While descriptors are exhausted the server looks ten times a second and otherwise rests."""
    with server.connect("old") as old:
        old.ping()
        highest = max(server.process.descriptors())
        with server.process.limited(resource.RLIMIT_NOFILE, highest + 1):
            with server.connect("newcomer"), strace.attached(server.pid) as trace:
                time.sleep(1.0)  # the second itself
                trace.detach()
                lines = trace.lines()
    looked = [line for line in lines if "EMFILE" in line]
    assert 5 <= len(looked) <= 11, lines
    assert len(lines) <= 8 * len(looked), lines


@pytest.mark.requirement("REF-2")
def test_more_connections_than_descriptors(reference_program, server):
    """A limit that the system cannot keep is refused at the start."""
    program = [*reference_program, "--listen", "127.0.0.1:0", "--max-connections", "40"]
    ended = run_to_end(under("-n", 64, *program), server.scaled(5))
    assert ended.stderr.decode() == (
        "touchstone: --max-connections 40 needs a descriptor limit of 72, "
        "but it is 64 (see ulimit -n)\n"
    )
    assert ended.returncode == CANNOT_START


@pytest.mark.requirement("REF-2")
def test_no_connection_for_want_of_descriptors(reference_program, server):
    """A limit that leaves room for no client at all is refused likewise."""
    words = under("-n", RESERVED, *reference_program, "--listen", "127.0.0.1:0")
    ended = run_to_end(words, server.scaled(5))
    assert ended.stderr.decode() == (
        "touchstone: --max-connections 1 needs a descriptor limit of 33, "
        "but it is 32 (see ulimit -n)\n"
    )
    assert ended.returncode == CANNOT_START


@pytest.mark.requirement("REF-5")
def test_just_as_many_descriptors(reference_program, start_server):
    """Not one descriptor more is asked for than the limit of clients takes."""
    program = [*reference_program, "--listen", "{host}:{port}", "--max-connections", "5"]
    serve_at_once(start_server(words=under("-n", 5 + RESERVED, *program)), 5)


def leaving_open(count, *words):
    """A command line that runs `words` with so many descriptors open beyond the standard three."""
    leave_open = (
        "import os, sys\n"
        "for _ in range(int(sys.argv[1])):\n"
        "    os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)\n"
        "os.execvp(sys.argv[2], sys.argv[2:])\n"
    )
    return [sys.executable, "-c", leave_open, str(count), *words]


# Reserved are also the standard three, the listener, the poller and both ends of the stop's pipe.
LEFT_OPEN_MAX = RESERVED - 7


@pytest.mark.requirement("REF-2")
def test_too_many_descriptors_from_the_start(reference_program, server):
    """Descriptors that were left open would take the place of clients: they are told instead."""
    program = [*reference_program, "--listen", "127.0.0.1:0", "--max-connections", "5"]
    ended = run_to_end(leaving_open(LEFT_OPEN_MAX + 1, *program), server.scaled(5))
    assert ended.stderr.decode() == (
        "touchstone: 33 descriptors are open already (expected: at most 32)\n"
    )
    assert ended.returncode == CANNOT_START


@pytest.mark.requirement("REF-5")
def test_as_many_descriptors_as_may_be_from_the_start(reference_program, start_server):
    """One less, and all clients are served."""
    program = [*reference_program, "--listen", "{host}:{port}", "--max-connections", "5"]
    serve_at_once(start_server(words=leaving_open(LEFT_OPEN_MAX, *program)), 5)


@pytest.mark.requirement("REF-5")
def test_soft_descriptor_limit_is_raised(reference_program, start_server):
    """The soft limit is raised to the hard one, and the default keeps 32 of it back."""
    words = ["--listen", "{host}:{port}"]
    server = start_server(words=under("-Sn", 40, *under("-Hn", 64, *reference_program, *words)))
    assert prlimit(server.pid, resource.RLIMIT_NOFILE) == (64, 64)
    with contextlib.ExitStack() as connections:
        for _ in range(64 - RESERVED):
            connections.enter_context(server.connect()).ping()
        with server.connect() as one_too_many:
            one_too_many.send(b"ping")
            one_too_many.expect_quiet(0.1)


@pytest.mark.requirement("REF-2")
def test_no_address_space(reference_program, bare_server):
    """What cannot be reserved is told at the start, with the options that make it less."""
    program = [*reference_program, "--listen", "127.0.0.1:0", "--max-connections", "1000"]
    ended = run_to_end(under("-v", 50_000, *program), bare_server.scaled(5))
    assert ended.stderr.decode() == (
        "touchstone: cannot reserve 65 MiB of address space for 1000 connections of 65536 bytes "
        "(a lower --max-connections or --buffer needs less)\n"
    )
    assert ended.returncode == CANNOT_START


@pytest.mark.requirement("REF-13")
def test_little_address_space(reference_program, start_server, bare_server):
    """With those options lower it runs in as little."""
    words = [*reference_program, "--listen", "{host}:{port}", "--max-connections", "10"]
    small = start_server(words=under("-v", 50_000, *words))
    with small.connect() as client:
        client.exchange(sample(300_000), shutdown=True)


@pytest.mark.requirement("REF-15")
@pytest.mark.parametrize("size", [1, 7, 4096, 65537, 1 << 20])
def test_buffer_sizes(start_server, size):
    """Whatever --buffer is, every byte comes back, and a stalled client stops the reading."""
    server = start_server("--buffer", str(size))
    count = 2000 if size < 100 else 600_000
    with server.connect() as client:
        client.exchange(sample(count), shutdown=True)
    with server.connect("neighbour") as neighbour, server.connect(receive_buffer=4096) as stalled:
        sent = stalled.send_until_blocked(sample(24 << 20), server.scaled(0.1))
        assert sent < 24 << 20
        neighbour.ping()


@pytest.mark.requirement("REF-13")
def test_pending_memory_is_given_back(bare_server):
    """What a stalled client had pending is no longer the server's once the client took it."""
    server = bare_server
    data = sample(60_000)
    with contextlib.ExitStack() as connections:
        clients = [
            connections.enter_context(server.connect(f"client {i}", receive_buffer=2304))
            for i in range(50)
        ]
        for client in clients:
            client.ping()
            shrink_send_buffer(server.process, client.address)
        before = server.process.memory()["Private_Dirty"]
        with server.process.frozen():
            for client in clients:
                client.send(data)
        clients[-1].expect(answer(data[:1]))
        pending = server.process.memory()["Private_Dirty"] - before
        clients[-1].expect(answer(data[1:]))
        for client in clients[:-1]:
            client.expect(answer(data))
        kept = server.process.memory()["Private_Dirty"] - before
    assert pending > 1 << 20, "little was pending: this test saw nothing"
    assert kept < 1 << 19, f"{kept} bytes more than before, when all was taken"
