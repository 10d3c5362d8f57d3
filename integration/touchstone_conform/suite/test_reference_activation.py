"""Socket activation: a listening socket that is passed to the reference."""

import os
import sys

import pytest

from touchstone_conform import marks
from touchstone_conform.failure import expect
from touchstone_conform.harness import activate
from touchstone_conform.harness.duplicates import expect_options_of_connection
from touchstone_conform.harness.listeners import free_port
from touchstone_conform.harness.server import expect_ended, run_to_end

pytestmark = marks.reference

CANNOT_START = 1
ACTIVATE = [sys.executable, activate.__file__]


@pytest.fixture
def activated(start_server, reference_program):
    """Starts the reference with a socket that listens on {port}, without --listen."""

    def start(*options, activate=()):
        command = [*ACTIVATE, "--port", "{port}", *activate, *reference_program, *options]
        return start_server(arguments=command)

    return start


@marks.requirement("REF-4")
def test_passed_socket(activated):
    """The socket is served, and the first line of the log has its port."""
    server = activated()
    server.wait_for_log(rf"\Alistening on 127\.0\.0\.1:{server.port}\n")
    with server.connect() as first, server.connect() as second:
        second.ping()
        first.exchange(b"hello", shutdown=True)
        second.ping()


@marks.requirement("REF-4")
def test_listen_is_ignored(activated):
    """--listen is ignored if a socket was passed."""
    server = activated("--listen", "192.0.2.1:1")
    with server.connect() as client:
        client.ping()


@marks.requirement("REF-4")
def test_passed_blocking(activated):
    """A socket that was passed blocking and inheritable is neither afterwards."""
    server = activated()
    server.wait_for_log("^listening ")  # the launcher listened before
    flags = server.process.descriptor_flags(3)
    set_ = flags & os.O_NONBLOCK and flags & os.O_CLOEXEC
    expect(set_, "descriptors", f"expected O_NONBLOCK and O_CLOEXEC on descriptor 3: {flags:#o}")
    with server.connect("old") as old:
        old.ping()
        with server.connect("new") as new:
            old.ping()
            new.ping()
        expect_options_of_connection(server.process, old.address)


@marks.requirement("REF-12")
def test_a_client_that_came_before_the_server(activated):
    """Who waited in the passed socket before the server set its options has them too."""
    server = activated(activate=["--on-demand"])
    with server.connect("early") as early, server.connect("late") as late:
        early.ping()
        late.ping()
        expect_options_of_connection(server.process, early.address)
        expect_options_of_connection(server.process, late.address)


@marks.requirement("REF-4")
@pytest.mark.parametrize("pid", ["1", "", "x"])
def test_passed_to_another_process(start_server, reference_program, pid):
    """A socket that was passed to another process is not used."""
    port = free_port("127.0.0.1")
    command = [*ACTIVATE, "--pid", pid, *reference_program, "--listen", "{host}:{port}"]
    server = start_server(arguments=command, port=port)
    server.wait_for_log(rf"\Alistening on 127\.0\.0\.1:{port}\n")
    with server.connect() as client:
        client.ping()


# What the line has to name.
NO_LISTENER = ["descriptor 3"]
BAD_ACTIVATION = {
    ("--fds", "2"): ["LISTEN_FDS", "'2'"],
    ("--fds", "0"): ["LISTEN_FDS", "'0'"],
    ("--fds", "1x"): ["LISTEN_FDS", "'1x'"],
    ("--fds", ""): ["LISTEN_FDS", "''"],
    ("--kind", "bound"): NO_LISTENER,
    ("--kind", "local"): NO_LISTENER,
    ("--kind", "datagram"): NO_LISTENER,
    ("--kind", "file"): NO_LISTENER,
    ("--kind", "nothing"): NO_LISTENER,
}


@marks.requirement("REF-4")
@pytest.mark.parametrize("options", BAD_ACTIVATION, ids=" ".join)
def test_bad_activation(reference_program, server, options):
    """What was passed and is not as expected is named; the reference does not serve."""
    command = [*ACTIVATE, *options, *reference_program, "--listen", "127.0.0.1:0"]
    ended = run_to_end(command, server.scaled(5))
    expect_ended(ended, CANNOT_START, *BAD_ACTIVATION[options])
