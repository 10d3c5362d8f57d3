"""Standard output, standard descriptors and the port in unusual states."""

import os
import signal

from touchstone_conform import marks
from touchstone_conform.failure import expect
from touchstone_conform.harness.server import NotStarted, fill_in, run_to_end
from touchstone_conform.harness.skips import NotRequired, SkipReason

REFUSED_S = 15  # a virtual machine takes seconds to start, and to end its threads
FORGED_LINE = b"\ndisconnect token=9.9 peer=10.0.0.1:1 reason=end in=0 out=0\n"


def started(start_server, **surroundings):
    """A server that need not start so; one that ends right after it had begun to listen did not."""
    not_required = NotRequired("a server that starts so")
    try:
        server = start_server(**surroundings)
    except NotStarted:
        raise not_required from None
    server.settle(1)
    if server.is_gone():
        server.wait_for_end(1)
        raise not_required
    return server


def serve_some(server):
    with server.connect("neighbour") as neighbour:
        for _ in range(100):
            with server.connect() as client:
                client.ping()
                neighbour.ping()
                client.leave()


def full_disk():
    """A file to which nothing can be written."""
    if not os.path.exists("/dev/full"):
        raise SkipReason("kernel", "/dev/full")
    return open("/dev/full", "wb")


@marks.foundation("log")
@marks.service
def test_full_stdout(log_pipe, start_server):
    """A log pipe that is not read never stalls the server."""
    server = start_server(stdout=log_pipe.writer)
    log_pipe.fill()
    serve_some(server)


@marks.requirement("LOG-2")
@marks.service
def test_closed_stdout_reader(log_pipe, start_server):
    """A log pipe without a reader neither stalls nor ends the server."""
    server = start_server(stdout=log_pipe.writer)
    os.close(log_pipe.reader)
    serve_some(server)


@marks.requirement("LOG-2")
@marks.service
def test_full_disk(start_server):
    """A log on a full disk neither stalls nor ends the server."""
    with full_disk() as full:
        serve_some(started(start_server, stdout=full))


@marks.requirement("START-3")
@marks.service
def test_start_on_a_full_disk(start_server):
    """A server whose log is on a full disk starts, and serves."""
    with full_disk() as full, start_server(stdout=full).connect() as client:
        client.ping()


@marks.requirement("LOG-4")
@marks.service
def test_stdio_closed_at_start(start_server):
    """No log text enters a client's stream, even if 0, 1 and 2 were closed at the start."""
    server = started(start_server, without_stdio=True)
    with server.connect("first") as first, server.connect("second") as second:
        for _ in range(10):
            first.ping(b"one")
            second.ping(b"two")
        server.connect("third").leave()
        for client in (first, second):
            client.leave()


@marks.requirement("LOG-3")
@marks.service
@marks.leans_on("bytes")
def test_client_bytes_in_the_log(server):
    """No control byte and no forged line of a client reaches the log."""
    with server.connect() as client:
        client.ping(b"\x1b[31m\x07a\rb\n\x9b31m\x00" + FORGED_LINE)
        client.leave()
    server.stop()
    log = server.raw_log()
    found = [each for each in (b"\x1b", b"\x07", b"a\rb", b"\x9b", b"\x00") if each in log]
    expect(not found, "log-line", f"{found} in the log: {log!r}")
    forged = FORGED_LINE.strip() in log.splitlines()
    expect(not forged, "log-line", f"a line that a client sent is in the log: {log!r}")


def kill(server):
    """The process that listens, and what started it."""
    server.signal(signal.SIGKILL)
    server.wait_until_gone()
    server.end()


@marks.requirement("START-1")
@marks.process
def test_restart(start_server):
    """The port can be used again at once, after a stop and after SIGKILL.

    The first server leaves a connection in TIME_WAIT, because it sent its FIN first; the second
    leaves one that its client has not ended.
    """
    first = start_server()
    footing = first.record.footing
    with first.connect() as client:
        client.ping()
        if footing.holds("stop") and footing.holds("fin"):
            first.signal(signal.SIGTERM)
            client.read_to_end()
        else:
            kill(first)
    first.end()
    second = start_server(port=first.port)
    with second.connect("survivor") as survivor:
        survivor.ping()
        kill(second)
        third = start_server(port=first.port)
        with third.connect() as client:
            client.ping()


@marks.requirement("START-2")
@marks.service
def test_port_in_use(server, server_arguments):
    """A second server on the same port reports an error and fails; the first continues."""
    command = fill_in(server_arguments, server.host, server.port)
    second = run_to_end(command, server.scaled(REFUSED_S))
    status = second.returncode
    expect(status > 0, "exit-status", f"expected an exit status above 0, got {status}")
    expect(second.stderr.strip(), "output", "expected a message on stderr")
    for _ in range(5):
        with server.connect() as client:
            client.ping()
