"""The reference and the system: flags of its descriptors, system calls, memory."""

import contextlib
import errno
import os
import socket
import time

from touchstone_conform import marks
from touchstone_conform.failure import expect
from touchstone_conform.harness import strace
from touchstone_conform.harness.duplicates import (
    duplicated_listener,
    duplicated_socket,
    expect_option,
    expect_options_of_connection,
)
from touchstone_conform.harness.samples import sample
from touchstone_conform.transform import answer

pytestmark = marks.reference

PRIVATE_BYTES_WHEN_IDLE = 256 * 1024
BYTES_PER_IDLE_CLIENT = 64
LOOKS = 3
NOISE_BYTES = 32 * 1024


@marks.requirement("REF-11")
def test_descriptor_flags(server):
    """Every descriptor above 2 is close-on-exec, and every socket non-blocking."""
    with server.connect() as client:
        client.ping()
        descriptors = server.process.descriptors()
        sockets = [number for number, target in descriptors.items() if target.startswith("socket:")]
        expect(len(sockets) == 2, "descriptors", f"expected two sockets: {descriptors}")
        for number in descriptors:
            flags = server.process.descriptor_flags(number)
            on_exec = number <= 2 or flags & os.O_CLOEXEC
            expect(on_exec, "descriptors", f"descriptor {number} is not close-on-exec")
            blocks = number in sockets and not flags & os.O_NONBLOCK
            expect(not blocks, "descriptors", f"socket {number} is blocking")


@marks.requirement("REF-12")
def test_options_of_connections(server):
    """Connections have keep-alive, urgent data in line, and no delay."""
    with server.connect() as client:
        client.ping()
        expect_options_of_connection(server.process, client.address)


@marks.requirement("REF-12")
def test_options_of_the_listener(server):
    """The port can be used again after a restart, but not by a second server meanwhile."""
    with duplicated_listener(server.process) as listener:
        expect_option(listener, socket.SOL_SOCKET, "SO_REUSEADDR")
        expect_option(listener, socket.SOL_SOCKET, "SO_REUSEPORT", on=False)


@marks.requirement("REF-3")
def test_ipv6_only(start_server, reference_program, ipv6_loopback):
    """On [::] IPv4 is not served, whatever the system's default is."""
    server = start_server(arguments=[*reference_program, "--listen", "[{host}]:{port}"], host="::")
    with duplicated_listener(server.process) as listener:
        expect_option(listener, socket.IPPROTO_IPV6, "IPV6_V6ONLY")
    with socket.socket() as ipv4:
        refused = ipv4.connect_ex(("127.0.0.1", server.port)) == errno.ECONNREFUSED
    expect(refused, "still-listening", "IPv4 is served too")
    with server.connect() as client:
        client.ping()


@marks.requirement("REF-12")
def test_urgent_byte(server):
    """An urgent byte is received in line: it is echoed in its place."""
    before, after = sample(1000, 1), sample(1000, 2)
    with server.connect() as client:
        client.ping()
        with server.process.stopped():
            client.send(before)
            client.send_urgent(b"u")
            client.send(after)
        client.expect(answer(before + b"u" + after))


@marks.requirement("COST-4")
def test_a_socket_that_is_held_elsewhere(server):
    """A closed connection leaves the poller, even while another process holds its socket."""
    with server.connect("neighbour") as neighbour:
        client = server.connect()
        client.ping()
        with duplicated_socket(server.process, client.address):
            client.reset()
            server.wait_for_log(r"^disconnect token=\S+ peer=\S+ reason=reset ")
            used = server.process.cpu_seconds_during(0.5)
            expect(used <= 0.1, "cpu", f"{used:.2f} s of CPU time in half a second, at most 0.1")
            with server.connect("new") as new:
                new.exchange(b"new", shutdown=True)
            neighbour.ping()


@marks.requirement("REF-11")
def test_stdout_keeps_its_flags(log_pipe, start_server):
    """O_NONBLOCK is not set on a descriptor that is shared with the starting shell."""
    server = start_server(stdout=log_pipe.writer)
    with server.connect() as client:
        client.ping()
    blocking = os.get_blocking(log_pipe.writer)
    expect(blocking, "descriptors", "O_NONBLOCK is set on standard output")


def expect_no_call_in_a_second(server):
    """A kernel may take more output of a stalled client after a while, and reports that: then a
    later second is looked at."""
    for look in range(LOOKS):
        with strace.attached(server.process) as trace:
            time.sleep(1.0)  # nothing must happen
            trace.detach()
            if "EPOLLOUT" not in trace.text() or look == LOOKS - 1:
                return strace.expect_no_call(trace)


@marks.requirement("REF-10")
def test_no_call_without_events(server):
    """With clients in every state, the server makes no system call while nothing happens."""
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
        server.settle(1)
        expect_no_call_in_a_second(server)
        idle.ping()


@marks.requirement("REF-13")
def test_memory_when_idle(bare_server):
    """The idle server keeps at most 256 KiB of private dirty memory."""
    used = bare_server.process.memory()["Private_Dirty"]
    most = PRIVATE_BYTES_WHEN_IDLE
    expect(used <= most, "memory", f"{used} bytes of private memory, at most {most}")


@marks.requirement("REF-13")
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
    most = count * BYTES_PER_IDLE_CLIENT + NOISE_BYTES
    expect(growth <= most, "memory", f"{growth / count:.1f} bytes for each of {count} idle clients")
