"""The reference's limits: connections, descriptors, address space."""

import contextlib
import resource
import signal
import sys
import time

import pytest

from touchstone_conform import marks
from touchstone_conform.failure import expect
from touchstone_conform.harness import strace
from touchstone_conform.harness.client import CloseKind
from touchstone_conform.harness.duplicates import shrink_send_buffer
from touchstone_conform.harness.process import prlimit
from touchstone_conform.harness.samples import flood, sample
from touchstone_conform.harness.server import expect_ended, run_to_end
from touchstone_conform.transform import answer

pytestmark = marks.reference

CANNOT_START = 1
RETRY_S = 0.1
RESERVED = 32


def under(limit, value, *command):
    """A command line that runs `command` with a limit of the shell's ulimit."""
    return ["sh", "-c", f'ulimit {limit} {value}; exec "$@"', "sh", *command]


def serve_at_once(server, count):
    """So many clients, all there together, are answered."""
    with contextlib.ExitStack() as connections:
        for _ in range(count):
            connections.enter_context(server.connect()).ping()


@marks.requirement("REF-5")
class TestMaxConnections:
    """Above --max-connections new connections wait in the backlog; the old ones are unaffected."""

    @pytest.fixture(autouse=True)
    def at_the_limit(self, start_server):
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

    def test_new_connections_wait(self):
        """No client above the limit is served; waiting costs no system call."""
        self.server.settle(1)
        with strace.attached(self.server.process) as trace:
            for client in self.waiting:
                client.expect_quiet(0.1)
            trace.detach()
            strace.expect_no_call(trace)
        self.ping_the_old()

    @marks.requirement("REF-17")
    def test_waiting_is_logged_and_its_end(self):
        """One line says that new connections wait, and why; one that they no longer have to."""
        log = self.server.wait_for_log(r"(?s)^(.*\nwait reason=connections$)")[1]
        expect("\naccept\n" not in log, "log-line", "the end of the waiting is logged too early")
        for client in [*self.waiting, *self.old]:
            client.shutdown()
        for client in [*self.old, *self.waiting]:
            client.expect_end(b"PING" if client in self.waiting else b"")
        with self.server.connect() as client:
            client.ping()
        self.server.wait_for_log(r"^accept$")

    def test_served_as_one_leaves(self):
        """Each client that leaves makes room for the one that has waited longest, at once."""
        for waiting in self.waiting:
            leaver = self.old.pop(0)
            leaver.shutdown()
            leaver.expect_end()
            waiting.expect(b"PING")
            self.old.append(waiting)
            self.ping_the_old()
        accepted = self.server.log().count("\nconnect ")
        expect(accepted == 6, "log-line", f"{accepted} connections in the log, expected 6")

    def test_served_as_one_resets(self):
        """So does a client that resets; those that stopped waiting block no other."""
        self.waiting[0].reset()
        self.old.pop().reset()
        self.waiting[1].expect(b"PING")
        self.ping_the_old()

    def test_all_leave_at_once(self):
        """All waiting clients are served when all others leave at once."""
        with self.server.process.stopped():
            for client in self.old:
                client.close()
        for waiting in self.waiting:
            waiting.expect(b"PING")

    def test_drain(self):
        """Clients that are served get FIN; waiting ones get an answer or RST."""
        self.server.signal(signal.SIGTERM)
        for client in self.old:
            client.expect_end()
            client.close()
        for client in self.waiting:
            received, end = client.read_to_end()
            if (received, end) != (b"", CloseKind.RST):
                client.expect_end(b"PING", already=received)
            client.close()
        self.server.expect_exit(0, 1)


@marks.requirement("REF-6")
def test_retry_after_the_limit_is_raised(server):
    """No event reports that descriptors are available: the server tries again after 100 ms."""
    with server.connect("old") as old, contextlib.ExitStack() as connections:
        old.ping()
        highest = max(server.process.descriptors())
        with server.process.limited(resource.RLIMIT_NOFILE, highest + 1):
            newly_connected = [
                connections.enter_context(server.connect(f"new {i}")) for i in range(5)
            ]
            for client in newly_connected:
                client.send(b"ping")
            old.ping()
        began = time.monotonic()
        for client in newly_connected:
            client.expect(b"PING")
    took = time.monotonic() - began - RETRY_S
    server.judge_time(took, 0.2, f"accepting again, after {RETRY_S} s,")


@marks.requirement("REF-6")
def test_waiting_for_descriptors(server):
    """While descriptors are exhausted, the server tries ten times a second and otherwise waits."""
    with server.connect("old") as old:
        old.ping()
        highest = max(server.process.descriptors())
        with server.process.limited(resource.RLIMIT_NOFILE, highest + 1):
            began = time.monotonic()
            with server.connect("new"), strace.attached(server.process) as trace:
                time.sleep(1.0)  # nothing must happen
                trace.detach()
                lines = trace.lines()
    most = int((time.monotonic() - began) / RETRY_S) + 1
    looked = [line for line in lines if "EMFILE" in line]
    expected = f"expected 5 to {most} attempts to accept, with at most 8 system calls each: {lines}"
    expect(5 <= len(looked) <= most, "system-calls", expected)
    expect(len(lines) <= 8 * len(looked), "system-calls", expected)


@marks.requirement("REF-2")
def test_more_connections_than_descriptors(reference_program, server):
    """A limit above the descriptor limit is refused at the start."""
    program = [*reference_program, "--listen", "127.0.0.1:0", "--max-connections", "40"]
    ended = run_to_end(under("-n", 64, *program), server.scaled(5))
    expect_ended(ended, CANNOT_START, "--max-connections 40", "72", "64")


@marks.requirement("REF-2")
def test_no_descriptor_for_a_connection(reference_program, server):
    """A descriptor limit without room for a client is refused at the start."""
    command = under("-n", RESERVED, *reference_program, "--listen", "127.0.0.1:0")
    ended = run_to_end(command, server.scaled(5))
    expect_ended(ended, CANNOT_START, "--max-connections 1", "33", "32")


@marks.requirement("REF-5")
def test_just_as_many_descriptors(reference_program, start_server):
    """The server needs no more descriptors than the limit of clients requires."""
    program = [*reference_program, "--listen", "{host}:{port}", "--max-connections", "5"]
    serve_at_once(start_server(arguments=under("-n", 5 + RESERVED, *program)), 5)


def leaving_open(first, count, *command):
    """A command line that runs `command` with descriptors open, from this number on."""
    leave_open = (
        "import os, sys\n"
        "first, count, *command = sys.argv[1:]\n"
        "held = os.open(os.devnull, os.O_RDONLY)\n"
        "for number in range(int(first), int(first) + int(count)):\n"
        "    os.dup2(held, number)\n"
        "os.execvp(command[0], command)\n"
    )
    return [sys.executable, "-c", leave_open, str(first), str(count), *command]


# Of those that are reserved: the standard three, the listener, the poller, both ends of the stop
# pipe.
OWN = 7


@marks.requirement("REF-5")
class TestInheritedDescriptors:
    """Descriptors that were open at the start take the place of no client, and stay open."""

    @pytest.mark.parametrize("first, count", [(3, 25), (10, 36), (5, 200), (900, 3)])
    def test_all_below_the_limit_are_served(self, reference_program, start_server, first, count):
        """Ten clients at once, with a limit of ten; the next one waits."""
        program = [*reference_program, "--listen", "{host}:{port}", "--max-connections", "10"]
        server = start_server(arguments=leaving_open(first, count, *program))
        with contextlib.ExitStack() as connections:
            for _ in range(10):
                connections.enter_context(server.connect()).ping()
            with server.connect() as one_too_many:
                one_too_many.send(b"ping")
                one_too_many.expect_quiet(0.1)
            kept = {*range(first, first + count)} & {*server.process.descriptors()}
            expect(len(kept) == count, "descriptors", f"{len(kept)} of {count} are still open")

    @marks.requirement("REF-17")
    def test_without_descriptors_clients_wait(self, reference_program, start_server):
        """So many are inherited that three are left: the fourth client waits for one of them."""
        limit = 10 + RESERVED
        program = [*reference_program, "--listen", "{host}:{port}", "--max-connections", "10"]
        command = leaving_open(limit - 32, 32, *program)
        server = start_server(arguments=under("-n", limit, *command))
        with contextlib.ExitStack() as connections:
            served = [
                connections.enter_context(server.connect()) for _ in range(limit - 32 - OWN)
            ]
            for client in served:
                client.ping()
            waiting = connections.enter_context(server.connect())
            waiting.send(b"ping")
            waiting.expect_quiet(0.1)
            server.wait_for_log(r"^wait reason=descriptors errno=EMFILE$")
            served[0].shutdown()
            served[0].expect_end()
            waiting.expect(b"PING")


@marks.requirement("REF-5")
def test_soft_descriptor_limit_is_raised(reference_program, start_server):
    """The soft limit is raised to the hard one, and the default keeps 32 of it back."""
    hard = under("-Hn", 64, *reference_program, "--listen", "{host}:{port}")
    server = start_server(arguments=under("-Sn", 40, *hard))
    limits = prlimit(server.pid, resource.RLIMIT_NOFILE)
    expect(limits == (64, 64), "descriptors", f"expected limits of 64 and 64, got {limits}")
    with contextlib.ExitStack() as connections:
        for _ in range(64 - RESERVED):
            connections.enter_context(server.connect()).ping()
        with server.connect() as one_too_many:
            one_too_many.send(b"ping")
            one_too_many.expect_quiet(0.1)


@marks.requirement("REF-2")
def test_no_address_space(reference_program, bare_server):
    """Memory that cannot be reserved is reported at the start, with the options that reduce it."""
    program = [*reference_program, "--listen", "127.0.0.1:0", "--max-connections", "1000"]
    ended = run_to_end(under("-v", 50_000, *program), bare_server.scaled(5))
    needed = ["63 MiB", "1000 connections", "65536 bytes"]
    expect_ended(ended, CANNOT_START, *needed, "--max-connections", "--buffer")


@marks.requirement("REF-13")
def test_little_address_space(reference_program, start_server, bare_server):
    """With lower options it runs in the same address space."""
    command = [*reference_program, "--listen", "{host}:{port}", "--max-connections", "10"]
    small = start_server(arguments=under("-v", 50_000, *command))
    with small.connect() as client:
        client.exchange(sample(300_000), shutdown=True)


@marks.requirement("REF-15")
@pytest.mark.parametrize("size", [1, 7, 4096, 65537, 1 << 20])
def test_buffer_sizes(start_server, size):
    """With any --buffer every byte comes back, and a stalled client is not read."""
    server = start_server("--buffer", str(size))
    count = 2000 if size < 100 else 600_000
    with server.connect() as client:
        client.exchange(sample(count), shutdown=True)
    with server.connect("neighbour") as neighbour, server.connect(receive_buffer=4096) as stalled:
        data = flood(size)
        sent = stalled.send_until_blocked(data, server.scaled(0.1))
        message = f"the server read {sent} bytes of a stalled client"
        expect(sent < len(data), "no-backpressure", message)
        neighbour.ping()


@marks.requirement("REF-13")
def test_pending_memory_is_given_back(bare_server):
    """The memory of pending output is released once the client has read it."""
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
        with server.process.stopped():
            for client in clients:
                client.send(data)
        clients[-1].expect(answer(data[:1]))
        pending = server.process.memory()["Private_Dirty"] - before
        clients[-1].expect(answer(data[1:]))
        for client in clients[:-1]:
            client.expect(answer(data))
        kept = server.process.memory()["Private_Dirty"] - before
    expect(pending > 1 << 20, "kit-error", f"only {pending} bytes were pending")
    expect(kept < 1 << 19, "memory", f"{kept} bytes more than before, after all was read")
