"""The idle timeout of the reference, and peers that fall silent."""

import contextlib
import socket
import time

import pytest

from touchstone_conform import marks
from touchstone_conform.failure import expect
from touchstone_conform.harness import strace
from touchstone_conform.harness.client import CloseKind
from touchstone_conform.harness.duplicates import duplicated_socket, shrink_send_buffer
from touchstone_conform.harness.flood import expect_open
from touchstone_conform.harness.samples import flood, sample
from touchstone_conform.harness.waiting import wait_until
from touchstone_conform.transform import answer

pytestmark = marks.reference

LIMIT_S = 1
LATE_S = 0.5  # the server checks ten times a second; the rest is for a busy machine
BUSY_LIMIT_S, BUSY_LATE_S = 3, 2  # the processor is shared with hundreds of clients
MORE_THAN_A_WAIT = 600  # a wait reports 256, and not each of them is always ready


@pytest.fixture
def server(start_server):
    return start_server("--idle-timeout", str(LIMIT_S))


def expect_idle_end(server, began, client, limit=LIMIT_S, late=LATE_S):
    """The client is closed in time: neither early nor late."""
    client.expect_end(allowed=(CloseKind.FIN,))
    seconds = time.monotonic() - began
    latest = limit + server.scaled(late)
    message = f"closed after {seconds:.3f} s, expected {limit} to {latest:g} s"
    expect(seconds >= limit, "closed-early", message)
    expect(seconds <= latest, "slow", message)


@marks.requirement("REF-7")
def test_an_idle_client_is_closed_in_time(server):
    """A client that sends nothing for so long is closed, and the log names the reason."""
    with server.connect() as client:
        client.expect_quiet(0.3 * LIMIT_S)
        began = time.monotonic()
        client.ping()
        expect_idle_end(server, began, client)
    server.wait_for_log(r"^disconnect token=\S+ peer=\S+ reason=idle in=4 out=4$")


@marks.requirement("REF-7")
def test_silent_from_the_start(server):
    """So is one that never sends anything, and the next one too."""
    for _ in range(2):
        began = time.monotonic()
        with server.connect() as client:
            expect_idle_end(server, began, client)


@marks.requirement("REF-7")
def test_each_in_its_own_time(server):
    """Clients that fall silent one after the other are closed one after the other."""
    with server.connect("busy") as busy, contextlib.ExitStack() as connections:
        idle = []
        for i in range(4):
            client = connections.enter_context(server.connect(f"idle {i}"))
            idle.append((time.monotonic(), client))
            client.ping()
            busy.ping()
            client.expect_quiet(0.2)
        for began, client in idle:
            busy.ping()
            expect_idle_end(server, began, client)
        busy.ping()


@marks.requirement("REF-7")
def test_a_slow_dialogue(server):
    """Single bytes with pauses between them are progress."""
    with server.connect() as client:
        for _ in range(5):
            client.ping(b"x")
            client.expect_quiet(0.45 * LIMIT_S)


@marks.requirement("REF-7")
def test_a_slow_reader(server):
    """Progress in sending alone counts too: a client that reads its answers slowly stays."""
    data = sample(60_000)
    with server.connect(receive_buffer=2304) as client:
        client.ping()
        shrink_send_buffer(server.process, client.address)
        with server.process.stopped():
            client.send(data)
        for at in range(0, 60_000, 10_000):
            client.expect(answer(data[at : at + 10_000]))
            time.sleep(0.4 * LIMIT_S)  # the slow reading


@marks.requirement("REF-7")
def test_a_stalled_client(server):
    """A client whose window stays closed makes no progress: it is idle."""
    with server.connect(receive_buffer=4096) as client:
        server.stall(client, flood())
        with server.connect("busy") as busy:

            def closed_as_idle():
                busy.ping()
                return " reason=idle " in server.log()

            closed = wait_until(closed_as_idle, LIMIT_S + server.scaled(LATE_S))
            expect(closed, "still-open", "a client that does not read is not closed as idle")
            busy.ping()


@marks.requirement("REF-7")
class TestMoreReadyThanAWaitReports:
    """Every wait is full of others that are ready."""

    @pytest.fixture
    def server(self, start_server):
        return start_server("--idle-timeout", str(BUSY_LIMIT_S))

    def test_a_silent_client(self, server, start_flood):
        """A silent client is closed in time all the same."""
        flood = start_flood(MORE_THAN_A_WAIT)
        with server.connect("silent") as client:
            began = time.monotonic()
            client.ping()
            expect_idle_end(server, began, client, BUSY_LIMIT_S, BUSY_LATE_S)
        expect_open(flood)


@marks.requirement("REF-7")
def test_no_timeout(start_server):
    """A timeout of 0 disables it."""
    server = start_server("--idle-timeout", "1", "--idle-timeout", "0")
    with server.connect() as client:
        client.ping()
        client.expect_quiet(1.5)
        client.ping()


@marks.requirement("REF-10")
def test_waiting_costs_nothing(start_server):
    """Before the timeout, and without clients, the server makes no system call."""
    server = start_server("--idle-timeout", "10")
    server.wait_for_log("^listening ")

    def expect_quiet():
        server.settle(1)  # what was answered may not have been registered yet
        with strace.attached(server.process) as trace:
            time.sleep(0.5)  # nothing must happen
            trace.detach()
            strace.expect_no_call(trace)

    expect_quiet()
    with contextlib.ExitStack() as connections:
        for i in range(10):
            connections.enter_context(server.connect(f"client {i}")).ping()
        expect_quiet()


@marks.requirement("REF-10")
def test_a_message_costs_no_more(server):
    """With the timeout, a message still costs one wait, one receive and one send."""
    with server.connect() as client:
        client.ping()
        with strace.attached(server.process) as trace:
            for _ in range(50):
                client.ping()
            trace.detach()
            most = 3 * 50 + 5
            message = f"expected at most {most} system calls: {trace.lines()}"
            expect(len(trace.lines()) <= most, "system-calls", message)


@marks.requirement("REF-7")
class TestSilence:
    """The network between server and client is cut: no FIN, no RST, no acknowledgement."""

    def start(self, start_server, namespace, reference_program, *options):
        command = [*reference_program, "--listen", "{host}:{port}", *options]
        return start_server(arguments=namespace.arguments(command))

    def test_idle_timeout(self, start_server, namespace, reference_program):
        """Answers that are not acknowledged do not keep a connection alive."""
        server = self.start(start_server, namespace, reference_program, "--idle-timeout", "1")
        client = server.connect(new_socket=namespace.socket)
        client.ping()
        with server.process.stopped():
            client.send(b"hello")
            namespace.cut()
        server.wait_for_log(r"^disconnect token=\S+ peer=\S+ reason=idle in=9 out=9$")

    def test_keep_alive(self, start_server, namespace, reference_program):
        """Keep-alive detects that a peer is gone; here with short intervals."""
        server = self.start(start_server, namespace, reference_program)
        client = server.connect(new_socket=namespace.socket)
        client.ping()
        with duplicated_socket(server.process, client.address) as its_end:
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
                its_end.setsockopt(socket.IPPROTO_TCP, option, 1)
        namespace.cut()
        server.wait_for_log(r"^disconnect token=\S+ peer=\S+ reason=error errno=E\w+ in=4 out=4$")
