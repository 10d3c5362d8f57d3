"""The reference's idle time-out, and what it does about peers that fell silent."""

import contextlib
import socket
import time

import pytest

from touchstone_conform import strace
from touchstone_conform.borrowed import borrowed_socket, shrink_send_buffer
from touchstone_conform.client import CloseKind
from touchstone_conform.samples import sample
from touchstone_conform.transform import answer
from touchstone_conform.waiting import wait_until

pytestmark = pytest.mark.reference

LIMIT_S = 1
LATE_S = 0.5  # the server looks ten times a second; the rest is for a busy machine


@pytest.fixture
def server(start_server):
    return start_server("--idle-timeout", str(LIMIT_S))


def expect_idle_end(server, began, client):
    """The client is told to go in due time: not early, not late."""
    client.expect_end(allowed=(CloseKind.FIN,))
    seconds = time.monotonic() - began
    assert LIMIT_S <= seconds <= LIMIT_S + server.scaled(LATE_S), f"idle for {seconds:.3f} s"


@pytest.mark.requirement("REF-7")
def test_idle(server):
    """A client that says nothing for so long is closed, and the log says why."""
    with server.connect() as client:
        client.expect_quiet(0.3 * LIMIT_S)
        began = time.monotonic()
        client.ping()
        expect_idle_end(server, began, client)
    server.wait_for_log(r"^disconnect token=\S+ peer=\S+ reason=idle in=4 out=4$")


@pytest.mark.requirement("REF-7")
def test_silent_from_the_start(server):
    """So is one that never says anything, and whoever comes after it."""
    for _ in range(2):
        began = time.monotonic()
        with server.connect() as client:
            expect_idle_end(server, began, client)


@pytest.mark.requirement("REF-7")
def test_each_in_its_own_time(server):
    """Clients that fell silent one after the other leave one after the other; the busy stay."""
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


@pytest.mark.requirement("REF-7")
def test_a_slow_dialogue(server):
    """A byte now and then is progress."""
    with server.connect() as client:
        for _ in range(5):
            client.ping(b"x")
            client.expect_quiet(0.45 * LIMIT_S)


@pytest.mark.requirement("REF-7")
def test_a_slow_reader(server):
    """Progress in sending alone counts too: a client that reads its answers slowly stays."""
    data = sample(60_000)
    with server.connect(receive_buffer=2304) as client:
        client.ping()
        shrink_send_buffer(server.process, client.address)
        with server.process.frozen():
            client.send(data)
        for at in range(0, 60_000, 10_000):
            client.expect(answer(data[at : at + 10_000]))
            time.sleep(0.4 * LIMIT_S)  # the slowness itself


@pytest.mark.requirement("REF-7")
def test_a_stalled_client(server):
    """A peer whose window stays shut makes no progress: it counts as idle, though not as dead."""
    with server.connect(receive_buffer=4096) as client:
        server.stall(client, sample(24 << 20))
        with server.connect("busy") as busy:

            def closed_as_idle():
                busy.ping()
                return " reason=idle " in server.log()

            assert wait_until(closed_as_idle, LIMIT_S + server.scaled(LATE_S)), "it is still there"
            busy.ping()


@pytest.mark.requirement("REF-7")
def test_no_time_out(start_server):
    """0 is never."""
    server = start_server("--idle-timeout", "1", "--idle-timeout", "0")
    with server.connect() as client:
        client.ping()
        client.expect_quiet(1.5)
        client.ping()


@pytest.mark.requirement("REF-10")
def test_waiting_costs_nothing(start_server):
    """While nobody's time is over, and while nobody is there, no system call is made."""
    server = start_server("--idle-timeout", "10")

    def expect_no_call():
        with strace.attached(server.pid) as trace:
            time.sleep(0.5)  # the quiet itself
            trace.detach()
            assert trace.busy_lines() == []

    expect_no_call()
    with contextlib.ExitStack() as connections:
        for i in range(10):
            connections.enter_context(server.connect(f"client {i}")).ping()
        expect_no_call()


@pytest.mark.requirement("REF-10")
def test_a_message_costs_no_more(server):
    """With the time-out on, a message still costs a wait, a receive and a send."""
    with server.connect() as client:
        client.ping()
        with strace.attached(server.pid) as trace:
            for _ in range(50):
                client.ping()
            trace.detach()
            assert len(trace.lines()) <= 3 * 50 + 5, trace.lines()


@pytest.mark.requirement("REF-7")
class TestSilence:
    """The network between server and client is cut: no FIN, no RST, no acknowledgement."""

    def start(self, start_server, namespace, reference_program, *options):
        words = [*reference_program, "--listen", "{host}:{port}", *options]
        return start_server(words=namespace.words(words))

    def test_idle_time_out(self, start_server, namespace, reference_program):
        """Answers that nobody acknowledges do not keep a connection alive."""
        server = self.start(start_server, namespace, reference_program, "--idle-timeout", "1")
        client = server.connect(new_socket=namespace.socket)
        client.ping()
        with server.process.frozen():
            client.send(b"hello")
            namespace.cut()
        server.wait_for_log(r"^disconnect token=\S+ peer=\S+ reason=idle in=9 out=9$")

    def test_keep_alive(self, start_server, namespace, reference_program):
        """Keep-alive finds out that a peer is gone; how soon is up to the system, or to us here."""
        server = self.start(start_server, namespace, reference_program)
        client = server.connect(new_socket=namespace.socket)
        client.ping()
        with borrowed_socket(server.process, client.address) as its_end:
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
                its_end.setsockopt(socket.IPPROTO_TCP, option, 1)
        namespace.cut()
        server.wait_for_log(r"^disconnect token=\S+ peer=\S+ reason=error errno=E\w+ in=4 out=4$")
