"""The log of the reference: one line for each event, without raw bytes of clients."""

import ast
import contextlib
import os
import re

import pytest

from touchstone_conform import marks
from touchstone_conform.failure import expect
from touchstone_conform.harness import strace
from touchstone_conform.harness.samples import ALL_BYTES, sample
from touchstone_conform.harness.waiting import wait_until

pytestmark = [marks.reference, marks.code("log-line")]

PIPE_BUF = 4096
FORGED_LINE = b"\ndisconnect token=9.9 peer=10.0.0.1:1 reason=end in=0 out=0\n"
LINES = re.compile(
    rb"listening on \S+|connect token=\d+\.\d+ peer=\S+"
    rb'|data token=\d+\.\d+ bytes=\d+( omitted=\d+)? text="[ -~]*"'
    rb"|disconnect token=\d+\.\d+ peer=\S+ reason=(end|reset|idle|expired|error errno=E\w+)"
    rb" in=\d+ out=\d+"
    rb"|dropped lines=\d+|stop connections=\d+|accept"
    rb"|wait reason=(connections|(descriptors|memory|error)( errno=E\w+)?)"
)


def unescape(text):
    """The bytes that a logged text represents."""
    return ast.literal_eval(f'b"{text}"')


@marks.requirement("REF-9")
def test_an_end_is_logged_with_its_counts(server):
    """A client that ends is logged with its token, address, reason and byte counts."""
    with server.connect() as client:
        client.exchange(b"hello", shutdown=True)
        peer = f"127.0.0.1:{client.address[1]}"
    token = server.wait_for_log(rf"^connect token=(\d+\.\d+) peer={peer}$")[1]
    server.wait_for_log(rf"^disconnect token={token} peer={peer} reason=end in=5 out=5$")
    assert server.log().startswith(f"listening on 127.0.0.1:{server.port}\n")
    assert server.log().count("\n") == 3


@marks.requirement("REF-9")
def test_a_reset_is_logged_as_such(server):
    """A client that resets is logged with that reason."""
    client = server.connect()
    client.ping(b"abc")
    peer = f"127.0.0.1:{client.address[1]}"
    client.reset()
    server.wait_for_log(rf"^disconnect token=\d+\.\d+ peer={peer} reason=reset in=3 out=3$")


@marks.requirement("REF-9")
def test_reset_with_pending_output(server):
    """The counts of a client that resets are what was received and what was sent."""
    client = server.connect(receive_buffer=4096)
    client.ping()  # so that something was sent, however late the server is to read the rest
    sent = len(b"ping") + client.send_until_blocked(sample(8 << 20), server.scaled(0.1))
    client.reset()
    left = server.wait_for_log(
        r"^disconnect token=\d+\.\d+ peer=\S+ reason=reset in=(\d+) out=(\d+)$"
    )
    assert sent >= int(left[1]) > int(left[2]) > 0


@marks.requirement("REF-9")
def test_tokens_are_unique(server):
    """No two connections have the same token, though they use the same slot."""
    for _ in range(20):
        with server.connect() as client:
            client.exchange(b"x", shutdown=True)
    assert wait_until(lambda: server.log().count("\ndisconnect ") == 20, server.scaled(5))
    tokens = re.findall(r"^connect token=(\S+)", server.log(), re.MULTILINE)
    assert len(set(tokens)) == 20
    assert re.findall(r"^disconnect token=(\S+)", server.log(), re.MULTILINE) == tokens


@marks.requirement("REF-9")
@pytest.mark.parametrize("option", ["--quiet", "-q"])
def test_quiet_logs_the_listening_line_alone(start_server, option):
    """--quiet suppresses all but the listening line."""
    server = start_server(option)
    with server.connect() as client:
        client.exchange(b"hello", shutdown=True)
    server.connect().reset()
    with server.connect() as client:
        client.ping()
    assert server.log() == f"listening on 127.0.0.1:{server.port}\n"


@marks.requirement("REF-9")
@pytest.mark.parametrize("option", ["--verbose", "-v"])
def test_verbose(start_server, option):
    """--verbose logs each chunk as it was received."""
    server = start_server(option)
    with server.connect() as client:
        client.ping(b'say "hello\\"\n')
    server.wait_for_log(r'^data token=\d+\.\d+ bytes=13 text="say \\"hello\\\\\\"\\n"$')


@marks.requirement("REF-9")
def test_every_byte_is_escaped(start_server):
    """Bytes of clients are logged as printable ASCII that can be decoded."""
    server = start_server("--verbose")
    with server.connect() as client:
        client.ping(ALL_BYTES)
    text = server.wait_for_log(r'^data token=\S+ bytes=256 text="(.*)"$')[1]
    assert unescape(text) == ALL_BYTES
    assert text.count("\\x") == 256 - 95 - 3  # all but the printable, \n, \r and \t
    assert all(f"\\x{byte:02x}" in text for byte in (0x00, 0x1B, 0x7F, 0x9B, 0xFF))


@marks.requirement("REF-9")
def test_forged_line(start_server):
    """Nothing that a client sends starts a line or controls a terminal."""
    server = start_server("--verbose")
    with server.connect() as client:
        client.ping(b"\x1b[2J\x07\r\n\x9b31m\x00" + FORGED_LINE)
        client.shutdown()
        client.expect_end()
    server.wait_for_log(r"^disconnect ")
    for line in server.raw_log().splitlines():
        assert LINES.fullmatch(line), line
    assert server.raw_log().count(b"\n") == 4


@marks.requirement("REF-9")
def test_long_chunk(start_server):
    """A chunk too long for one write of PIPE_BUF is cut, and the rest is counted."""
    server = start_server("--verbose")
    data = sample(60_000)
    with server.connect() as client:
        client.ping()
        with server.process.stopped():
            client.send(data)
        client.exchange(b"", shutdown=True, before=data)
    server.wait_for_log(r"^disconnect ")
    at = 0
    for line in server.log().splitlines(keepends=True):
        assert len(line) <= PIPE_BUF
        chunk = re.match(r'data token=\S+ bytes=(\d+)(?: omitted=(\d+))? text="(.*)"$', line)
        if chunk and chunk[3] != "ping":
            text = unescape(chunk[3])
            assert len(text) + int(chunk[2] or 0) == int(chunk[1])
            assert data[at:].startswith(text)
            at += int(chunk[1])
    assert at == len(data)


@marks.requirement("REF-9")
def test_dropped_lines_are_counted(log_pipe, start_server):
    """Lines that cannot be written are dropped and counted before the next line."""
    # Of several pages: one that is begun does not count as room, so a single page holds one line.
    log_pipe.resize(4 * PIPE_BUF)
    server = start_server(stdout=log_pipe.writer)
    with server.connect("witness") as witness:
        witness.ping()  # the server has logged that it listens, and this client
        log_pipe.drain()
        log_pipe.fill()
        for _ in range(10):
            with server.connect() as client:
                client.exchange(b"x", shutdown=True)
            witness.ping()  # the server has logged what came before
        assert re.fullmatch(rb"#+", log_pipe.drain())
        with server.connect() as client:
            client.ping()
            witness.ping()
            after = log_pipe.drain()
    assert re.fullmatch(rb"dropped lines=20\nconnect token=\S+ peer=\S+\n", after), after


@marks.requirement("REF-9")
def test_log_that_was_full_from_the_start(log_pipe, start_server):
    """A log that is full from the start does not stall the server."""
    log_pipe.fill()
    server = start_server(stdout=log_pipe.writer)
    with server.connect() as client:
        client.ping()


@marks.requirement("REF-9")
def test_log_without_a_reader_from_the_start(log_pipe, start_server):
    """A log pipe without a reader at the start neither stalls nor ends the server."""
    os.close(log_pipe.reader)
    server = start_server(stdout=log_pipe.writer)
    with server.connect() as client:
        client.ping()


@marks.requirement("REF-9")
def test_a_poll_that_fails(server, attach_strace):
    """If poll on the log fails, the line is dropped and counted."""
    server.wait_for_log("^listening ")
    with attach_strace("-e", "trace=poll,ppoll", "-e", "inject=poll,ppoll:error=EINTR:when=1"):
        with server.connect() as client:
            client.exchange(b"hello", shutdown=True)
        end = r"disconnect token=\S+ peer=\S+ reason=end in=5 out=5"
        server.wait_for_log(rf"^dropped lines=1\n{end}$")
    assert server.log().count("\n") == 3


@pytest.fixture
def terminal():
    """Both ends of a terminal; the second is to be a server's standard output."""
    ends = os.openpty()
    yield ends
    for end in ends:
        os.close(end)


@marks.requirement("REF-9")
def test_a_terminal_that_is_not_read(start_server, terminal):
    """A terminal that is not read does not stall the server; dropped lines are counted."""
    reader, writer = terminal
    server = start_server("--verbose", stdout=writer)
    with server.connect() as client:
        for _ in range(100):  # a terminal takes less than half of this
            client.ping(b"x" * 3000)
        blocking = os.get_blocking(writer)  # the starting shell shares it
        expect(blocking, "descriptors", "O_NONBLOCK is set on the terminal")
        os.set_blocking(reader, False)
        seen = b""
        while not re.search(rb"dropped lines=\d+\r\ndata ", seen):
            with contextlib.suppress(BlockingIOError):
                seen += os.read(reader, 1 << 16)
            client.ping(b"more")
    assert seen.startswith(b"listening on ")


@marks.requirement("REF-9")
def test_a_terminal_that_cannot_be_opened(start_server, reference_program, terminal, tmp_path):
    """A terminal that cannot be reopened is written to as it is."""
    reader, writer = terminal
    inject = ["-P", os.ttyname(writer), "-e", "trace=openat", "-e", "inject=openat:error=EIO"]
    traced = [*strace.before(tmp_path / "trace", *inject), *reference_program]
    server = start_server(arguments=[*traced, "--listen", "{host}:{port}"], stdout=writer)
    with server.connect() as client:
        client.ping()
    assert "(INJECTED)" in (tmp_path / "trace").read_text()
    assert os.read(reader, 1000).startswith(b"listening on ")


@marks.requirement("LOG-4")
def test_stdio_closed_and_verbose(start_server):
    """With 0, 1 and 2 closed at the start, no log text enters a client's stream."""
    server = start_server("--verbose", without_stdio=True)
    with server.connect("first") as first, server.connect("second") as second:
        for _ in range(20):
            first.ping(b"one")
            second.ping(b"two")
        server.connect("third").reset()
        for client in (first, second):
            client.shutdown()
            client.expect_end()
    descriptors = server.process.descriptors()
    targets = [descriptors.get(number) for number in (0, 1, 2)]
    expect(targets == 3 * [os.devnull], "descriptors", f"0, 1 and 2 are {targets}")
