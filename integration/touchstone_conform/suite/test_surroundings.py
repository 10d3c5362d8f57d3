"""Standard output, standard descriptors and the port in unusual states."""

import os
import signal

import pytest

from touchstone_conform.failure import expect
from touchstone_conform.harness.server import NotStarted, fill_in, run_to_end
from touchstone_conform.harness.skips import NotRequired, SkipReason

pytestmark = pytest.mark.process

FORGED_LINE = b"\ndisconnect token=9.9 peer=10.0.0.1:1 reason=end in=0 out=0\n"


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
    """A log pipe that is not read never stalls the server."""
    server = start_server(stdout=log_pipe.writer)
    log_pipe.fill()
    serve_some(server)


@pytest.mark.requirement("LOG-2")
def test_closed_stdout_reader(log_pipe, start_server):
    """A log pipe without a reader neither stalls nor ends the server."""
    server = start_server(stdout=log_pipe.writer)
    os.close(log_pipe.reader)
    serve_some(server)


@pytest.mark.requirement("LOG-2")
def test_full_disk(start_server):
    """A log on a full disk neither stalls nor ends the server."""
    if not os.path.exists("/dev/full"):
        raise SkipReason("/dev/full")
    with open("/dev/full", "wb") as full:
        serve_some(start_server(stdout=full))


@pytest.mark.requirement("LOG-4")
def test_stdio_closed_at_start(start_server):
    """No log text enters a client's stream, even if 0, 1 and 2 were closed at the start."""
    try:
        server = start_server(without_stdio=True)
    except NotStarted:
        raise NotRequired("a server that starts without standard descriptors") from None
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
    expect(not found, "log-line", f"{found} in the log: {log!r}")
    forged = FORGED_LINE.strip() in log.splitlines()
    expect(not forged, "log-line", f"a line that a client sent is in the log: {log!r}")


@pytest.mark.requirement("START-1")
def test_restart(start_server):
    """The port can be used again at once, after a drain and after SIGKILL.

    The first server leaves a connection in TIME_WAIT, because it sent its FIN first; the second
    leaves one that its client has not ended.
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
        second.expect_exit(-signal.SIGKILL, 5)
        third = start_server(port=first.port)
        with third.connect() as client:
            client.ping()


@pytest.mark.requirement("START-2")
def test_port_in_use(server, server_arguments):
    """A second server on the same port reports an error and fails; the first continues."""
    second = run_to_end(fill_in(server_arguments, server.host, server.port), server.scaled(5))
    status = second.returncode
    expect(status > 0, "exit-status", f"expected an exit status above 0, got {status}")
    expect(second.stderr.strip(), "output", "expected a message on stderr")
    for _ in range(5):
        with server.connect() as client:
            client.ping()
