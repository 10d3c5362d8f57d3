"""Standard output, standard descriptors and the port, when they are not as one would like."""

import os
import signal

import pytest

from touchstone_conform.missing import Missing
from touchstone_conform.server import NotStarted, fill_in, run_to_end

pytestmark = pytest.mark.process

FORGED_LINE = b"\nleave token=9.9 peer=10.0.0.1:1 reason=end in=0 out=0\n"


def serve_some(server):
    with server.connect("neighbour") as neighbour:
        for _ in range(100):
            with server.connect() as client:
                client.ping()
                neighbour.ping()
                client.shutdown()
                client.expect_end()


@pytest.mark.requirement("LOG-1")
def test_full_stdout(log_pipe, start_server):
    """A log that nobody reads never stalls the server."""
    server = start_server(stdout=log_pipe.writer)
    log_pipe.fill()
    serve_some(server)


@pytest.mark.requirement("LOG-2")
def test_closed_stdout_reader(log_pipe, start_server):
    """A log whose reader is gone neither stalls nor kills the server."""
    server = start_server(stdout=log_pipe.writer)
    os.close(log_pipe.reader)
    serve_some(server)


@pytest.mark.requirement("LOG-2")
def test_full_disk(start_server):
    """A log on a full disk neither stalls nor kills the server."""
    if not os.path.exists("/dev/full"):
        raise Missing("/dev/full")
    with open("/dev/full", "wb") as full:
        serve_some(start_server(stdout=full))


@pytest.mark.requirement("LOG-4")
def test_stdio_closed_at_start(start_server):
    """Log text never enters a client's stream, even if 0, 1 and 2 were closed at the start."""
    try:
        server = start_server(without_stdio=True)
    except NotStarted:
        pytest.skip("the server does not start without standard descriptors")
    with server.connect("first") as first, server.connect("second") as second:
        for _ in range(10):
            first.ping(b"one")
            second.ping(b"two")
        server.connect("third").reset()
        for client in (first, second):
            client.shutdown()
            client.expect_end()


@pytest.mark.requirement("LOG-3")
def test_client_bytes_in_the_log(server):
    """No control byte and no forged line of a client reaches the log."""
    with server.connect() as client:
        client.ping(b"\x1b[31m\x07a\rb\n\x9b31m\x00" + FORGED_LINE)
        client.shutdown()
        client.expect_end()
    server.stop()
    log = server.raw_log()
    found = [each for each in (b"\x1b", b"\x07", b"a\rb", b"\x9b", b"\x00") if each in log]
    assert not found, f"{found} in the log: {log!r}"
    assert FORGED_LINE.strip() not in log.splitlines()


@pytest.mark.requirement("START-1")
def test_restart(start_server):
    """The port can be had again at once, after a drain and after a sudden death.

    The first leaves a connection in TIME_WAIT, for it sent its FIN first; the second leaves one
    that its client has not ended.
    """
    first = start_server()
    with first.connect() as client:
        client.ping()
        first.signal(signal.SIGTERM)
        client.read_to_end()
    first.wait_for_end(5)
    second = start_server(port=first.port)
    with second.connect("survivor") as survivor:
        survivor.ping()
        second.signal(signal.SIGKILL)
        assert second.wait_for_end(5) == -signal.SIGKILL
        third = start_server(port=first.port)
        with third.connect() as client:
            client.ping()


@pytest.mark.requirement("START-2")
def test_port_in_use(server, server_words):
    """A second server on the same port says so, and fails; the first goes on."""
    second = run_to_end(fill_in(server_words, server.host, server.port), server.scaled(5))
    assert second.returncode > 0, f"status {second.returncode}"
    assert second.stderr.strip(), "it says nothing on stderr"
    for _ in range(5):
        with server.connect() as client:
            client.ping()
