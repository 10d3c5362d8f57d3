"""Socket activation: a listening socket that was there before the reference was."""

import os
import socket
import sys

import pytest

from touchstone_conform.borrowed import borrowed_socket
from touchstone_conform.listeners import free_port
from touchstone_conform.server import run_to_end

pytestmark = pytest.mark.reference

CANNOT_START = 1
ACTIVATE = [sys.executable, "-m", "touchstone_conform.activate"]


@pytest.fixture
def activated(start_server, reference_program):
    """Starts the reference with a socket that listens on {port} and no --listen of its own."""

    def start(*options):
        return start_server(words=[*ACTIVATE, "--port", "{port}", *reference_program, *options])

    return start


@pytest.mark.requirement("REF-4")
def test_passed_socket(activated):
    """The socket is served, and the first line tells its port."""
    server = activated()
    server.wait_for_log(rf"\Alistening on 127\.0\.0\.1:{server.port}\n")
    with server.connect() as first, server.connect() as second:
        second.ping()
        first.exchange(b"hello", shutdown=True)
        second.ping()


@pytest.mark.requirement("REF-4")
def test_listen_is_ignored(activated):
    """--listen says where to listen only if nobody did."""
    server = activated("--listen", "192.0.2.1:1")
    with server.connect() as client:
        client.ping()


@pytest.mark.requirement("REF-4")
def test_passed_blocking(activated):
    """A socket that was passed on blocking and inheritable is neither afterwards."""
    server = activated()
    flags = server.process.descriptor_flags(3)
    assert flags & os.O_NONBLOCK and flags & os.O_CLOEXEC
    with server.connect("old") as old:
        old.ping()
        with server.connect("new") as new:
            old.ping()
            new.ping()
        with borrowed_socket(server.process, old.address) as its_end:
            assert its_end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert its_end.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE)
            assert its_end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.requirement("REF-4")
@pytest.mark.parametrize("pid", ["1", "", "x"])
def test_meant_for_another(start_server, reference_program, pid):
    """A socket that was passed to another process is not ours."""
    port = free_port("127.0.0.1")
    words = [*ACTIVATE, "--pid", pid, *reference_program, "--listen", "{host}:{port}"]
    server = start_server(words=words, port=port)
    server.wait_for_log(rf"\Alistening on 127\.0\.0\.1:{port}\n")
    with server.connect() as client:
        client.ping()


NO_LISTENER = "descriptor 3 is not a listening TCP socket"
BAD_ACTIVATION = {
    ("--fds", "2"): "LISTEN_FDS is '2', expected 1",
    ("--fds", "0"): "LISTEN_FDS is '0', expected 1",
    ("--fds", "1x"): "LISTEN_FDS is '1x', expected 1",
    ("--fds", ""): "LISTEN_FDS is '', expected 1",
    ("--kind", "bound"): NO_LISTENER,
    ("--kind", "local"): NO_LISTENER,
    ("--kind", "datagram"): NO_LISTENER,
    ("--kind", "file"): NO_LISTENER,
    ("--kind", "nothing"): NO_LISTENER,
}


@pytest.mark.requirement("REF-4")
@pytest.mark.parametrize("options", BAD_ACTIVATION, ids=" ".join)
def test_bad_activation(reference_program, server, options):
    """What was passed to us and is not as agreed is named; nothing is served instead."""
    words = [*ACTIVATE, *options, *reference_program, "--listen", "127.0.0.1:0"]
    ended = run_to_end(words, server.scaled(5))
    assert ended.stderr.decode() == f"touchstone: socket activation: {BAD_ACTIVATION[options]}\n"
    assert ended.stdout == b""
    assert ended.returncode == CANNOT_START
