"""What several test files share."""

import contextlib
import fcntl
import os
import socket

import pytest

from touchstone_conform.harness.namespace import Namespace
from touchstone_conform.harness.skips import NotRequired, SkipReason
from touchstone_conform.plugin import listen_option

F_SETPIPE_SZ = 1031  # named in fcntl from Python 3.10 on
PAGE_BYTES = 4096


@pytest.fixture(scope="session")
def reference_program(server_arguments):
    """The server's arguments before its --listen: the program, and perhaps a wrapper."""
    index = listen_option(server_arguments)
    if index is not None:
        return server_arguments[:index]
    raise NotRequired("Touchstone's own server, with --listen")


class LogPipe:
    """A pipe, of one page at first, to be a server's standard output."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        self.resize(PAGE_BYTES)

    def resize(self, size):
        """Let `size` bytes fit."""
        try:
            self._size = fcntl.fcntl(self.writer, F_SETPIPE_SZ, size)
        except OSError as error:
            raise SkipReason("kernel", "F_SETPIPE_SZ (Linux)") from error

    def fill(self):
        """Write until nothing more fits.

        Through a description of our own: O_NONBLOCK would hold for the server's end as well.
        """
        own = os.open(f"/proc/self/fd/{self.writer}", os.O_WRONLY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(own, b"#")
        os.close(own)

    def drain(self):
        """All that is in the pipe now."""
        os.set_blocking(self.reader, False)
        with contextlib.suppress(BlockingIOError):
            return os.read(self.reader, self._size)
        return b""

    def close(self):
        for end in (self.reader, self.writer):
            with contextlib.suppress(OSError):
                os.close(end)


@pytest.fixture
def log_pipe():
    """A pipe that a test can fill, drain or close while a server logs into it.

    A test requests it before start_server, so that it outlives the server.
    """
    pipe = LogPipe()
    yield pipe
    pipe.close()


@pytest.fixture
def ipv6_loopback():
    """The address of the IPv6 loopback, if this machine has one."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        raise SkipReason("ipv6", "IPv6 on the loopback") from error
    return "::1"


@pytest.fixture
def bare_server(server):
    """A server whose memory is its own."""
    if server.process.is_sanitized():
        raise NotRequired("a server whose memory no sanitizer hides", "sanitizer")
    return server


@pytest.fixture
def namespace():
    """A network namespace whose loopback can be cut."""
    made = Namespace()
    yield made
    made.close()
