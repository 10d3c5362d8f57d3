"""What the reference asks of the system: flags of its descriptors, system calls, memory."""

import contextlib
import os
import socket
import time

import pytest

from touchstone_conform import strace
from touchstone_conform.borrowed import borrowed_listener, borrowed_socket
from touchstone_conform.samples import sample
from touchstone_conform.transform import answer

pytestmark = pytest.mark.reference

PRIVATE_BYTES_WHEN_IDLE = 256 * 1024
BYTES_PER_IDLE_CLIENT = 64
NOISE_BYTES = 32 * 1024


@pytest.mark.requirement("REF-11")
def test_descriptor_flags(server):
    """Every descriptor above 2 is close-on-exec, and every socket non-blocking."""
    with server.connect() as client:
        client.ping()
        descriptors = server.process.descriptors()
        sockets = [number for number, target in descriptors.items() if target.startswith("socket:")]
        assert len(sockets) == 2, descriptors
        for number in descriptors:
            flags = server.process.descriptor_flags(number)
            assert number <= 2 or flags & os.O_CLOEXEC, f"{number} is not close-on-exec"
            assert number not in sockets or flags & os.O_NONBLOCK, f"{number} blocks"


def is_on(borrowed, level, option):
    return borrowed.getsockopt(level, option) != 0


@pytest.mark.requirement("REF-12")
def test_options_of_connections(server):
    """Connections have keep-alive, urgent data in line, and no delay."""
    with server.connect() as client:
        client.ping()
        with borrowed_socket(server.process, client.address) as its_end:
            assert is_on(its_end, socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert is_on(its_end, socket.SOL_SOCKET, socket.SO_OOBINLINE)
            assert is_on(its_end, socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.requirement("REF-12")
def test_options_of_the_listener(server):
    """The port can be had again after a restart, but by no second server meanwhile."""
    with borrowed_listener(server.process) as listener:
        assert is_on(listener, socket.SOL_SOCKET, socket.SO_REUSEADDR)
        assert not is_on(listener, socket.SOL_SOCKET, socket.SO_REUSEPORT)


@pytest.mark.requirement("REF-3")
def test_ipv6_alone(start_server, reference_program, ipv6_loopback):
    """On [::] IPv4 is not served on the side, whatever the system's default is."""
    server = start_server(words=[*reference_program, "--listen", "[{host}]:{port}"], host="::")
    with borrowed_listener(server.process) as listener:
        assert is_on(listener, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))
    with server.connect() as client:
        client.ping()


@pytest.mark.requirement("REF-12")
def test_urgent_byte(server):
    """An urgent byte is taken in line: it is echoed in its place."""
    before, after = sample(1000, 1), sample(1000, 2)
    with server.connect() as client:
        client.ping()
        with server.process.frozen():
            client.send(before)
            client.send_urgent(b"u")
            client.send(after)
        client.expect(answer(before + b"u" + after))


@pytest.mark.requirement("COST-4")
def test_a_socket_that_is_held_elsewhere(server):
    """A connection that ended leaves the poller, even while somebody else holds its socket."""
    with server.connect("neighbour") as neighbour:
        client = server.connect()
        client.ping()
        with borrowed_socket(server.process, client.address):
            client.reset()
            server.wait_for_log(r"^disconnect token=\S+ peer=\S+ reason=reset ")
            used = server.process.cpu_seconds_during(0.5)
            assert used <= 0.1, f"{used:.2f} s of processor time in half a second of waiting"
            with server.connect("newcomer") as newcomer:
                newcomer.exchange(b"newcomer", shutdown=True)
            neighbour.ping()


@pytest.mark.requirement("REF-11")
def test_stdout_keeps_its_flags(log_pipe, start_server):
    """O_NONBLOCK is not set on a descriptor that the starting shell shares."""
    server = start_server(stdout=log_pipe.writer)
    with server.connect() as client:
        client.ping()
    assert os.get_blocking(log_pipe.writer)


@pytest.mark.requirement("REF-10")
def test_quiet_second(server):
    """With clients in every state, a second in which nothing happens has no system call."""
    with contextlib.ExitStack() as connections:

        def connect(name, **buffers):
            return connections.enter_context(server.connect(name, **buffers))

        connect("silent")
        idle = connect("idle")
        idle.ping()
        stalled = connect("stalled", receive_buffer=4096)
        half_closed = connect("half-closed with pending output", receive_buffer=4096)
        for client in (stalled, half_closed):
            client.send_until_blocked(sample(8 << 20), server.scaled(0.3))
        half_closed.shutdown()
        server.connect("reset with pending output").reset()
        idle.ping()
        with strace.attached(server.pid) as trace:
            time.sleep(1.0)  # the second itself
            trace.detach()
            assert trace.busy_lines() == []
        idle.ping()


@pytest.mark.requirement("REF-13")
def test_memory_when_idle(bare_server):
    """The idle server keeps at most 256 KiB of private dirty memory."""
    assert bare_server.process.memory()["Private_Dirty"] <= PRIVATE_BYTES_WHEN_IDLE


@pytest.mark.requirement("REF-13")
def test_memory_of_idle_clients(bare_server):
    """An idle client that has already echoed costs at most 64 bytes of resident memory."""
    count = 3000
    with contextlib.ExitStack() as connections:

        def connect():
            connections.enter_context(bare_server.connect()).ping()

        for _ in range(100):
            connect()
        before = bare_server.process.memory()["Private_Dirty"]
        for _ in range(count):
            connect()
        growth = bare_server.process.memory()["Private_Dirty"] - before
    assert growth <= count * BYTES_PER_IDLE_CLIENT + NOISE_BYTES, f"{growth / count:.1f} each"
