"""The log of the reference with --log-format json: one object on each line."""

import json
import re
import signal

import pytest

from touchstone_conform import marks
from touchstone_conform.failure import Failure
from touchstone_conform.harness.samples import ALL_BYTES, sample
from touchstone_conform.harness.waiting import wait_until

pytestmark = [marks.reference, marks.code("log-line")]

PIPE_BUF = 4096


@pytest.fixture
def server(start_server):
    return start_server("--log-format", "json", "--verbose")


def events(text):
    """The objects, in order; each line is one, and complete."""
    assert text.endswith("\n")
    try:
        return [json.loads(line) for line in text.splitlines()]
    except ValueError as error:
        raise Failure("log-line", f"expected JSON: {error}: {text!r}") from error


def wait_for_events(server, count):
    assert wait_until(lambda: server.log().count("\n") >= count, server.scaled(5)), server.log()
    return events(server.log())


@marks.requirement("REF-9")
def test_every_event(server):
    """Each event of a connection has its line, with numbers as numbers."""
    with server.connect() as client:
        client.ping(b"hello")
        peer = f"127.0.0.1:{client.address[1]}"
        server.signal(signal.SIGTERM)
        client.expect_end()
    server.wait_for_end(1)
    logged = events(server.log())
    assert len(logged) == 5
    listening, connect, *rest = logged
    token = connect["token"]
    assert re.fullmatch(r"\d+\.\d+", token)
    assert [listening, connect, *rest] == [
        {"event": "listening", "address": f"127.0.0.1:{server.port}"},
        {"event": "connect", "token": token, "peer": peer},
        {"event": "data", "token": token, "bytes": 5, "text": "hello"},
        {"event": "stop", "connections": 1},
        {"event": "disconnect", "token": token, "peer": peer, "reason": "end", "in": 5, "out": 5},
    ]


@marks.requirement("REF-9")
def test_every_byte(server):
    """Each line is valid JSON, ASCII, and decodes to what clients sent."""
    with server.connect() as client:
        client.ping(ALL_BYTES)
        client.ping(b'","event":"forged"}\n{"event":"forged"}\n')
    lines = wait_for_events(server, 5)
    events = [line["event"] for line in lines]
    assert events == ["listening", "connect", "data", "data", "disconnect"]
    assert lines[2]["text"].encode("latin-1") == ALL_BYTES
    assert lines[3]["text"] == '","event":"forged"}\n{"event":"forged"}\n'
    assert all(byte == 0x0A or 0x20 <= byte <= 0x7E for byte in server.raw_log())


@marks.requirement("REF-9")
def test_long_chunk(server):
    """A chunk too long for one write is cut between two escapes, and the rest is counted."""
    data = bytes(60_000)  # NUL has the longest escape
    with server.connect() as client:
        client.ping()
        with server.process.stopped():
            client.send(data)
        client.exchange(b"", shutdown=True, before=data)
    server.wait_for_log(r'"event":"disconnect"')
    lines = server.log().splitlines(keepends=True)
    assert all(len(line) <= PIPE_BUF for line in lines)
    chunks = [line for line in events(server.log()) if line["event"] == "data"][1:]
    assert sum(chunk["bytes"] for chunk in chunks) == len(data)
    for chunk in chunks:
        assert len(chunk["text"]) + chunk.get("omitted", 0) == chunk["bytes"]


@marks.requirement("REF-9")
def test_a_reset_is_logged_as_such(server):
    """A reset has its own reason."""
    client = server.connect()
    client.ping()
    client.reset()
    assert wait_for_events(server, 4)[-1]["reason"] == "reset"


@marks.requirement("REF-9")
def test_dropped_lines(log_pipe, start_server):
    """Dropped lines are counted in a separate line."""
    log_pipe.resize(16 * PIPE_BUF)
    server = start_server("--log-format=json", stdout=log_pipe.writer)
    with server.connect("witness") as witness:
        witness.ping()
        log_pipe.fill()
        for _ in range(3):
            with server.connect() as client:
                client.exchange(sample(10), shutdown=True)
            witness.ping()  # the server has logged what came before
        log_pipe.drain()
        with server.connect() as client:
            client.ping()
            witness.ping()
            logged = events(log_pipe.drain().decode())
    assert len(logged) == 2
    dropped, connect = logged
    assert dropped == {"event": "dropped", "lines": 6}
    assert connect["event"] == "connect"


@marks.requirement("REF-9")
def test_ipv6(start_server, reference_program, ipv6_loopback):
    """An IPv6 address is written as in the text format."""
    command = [*reference_program, "--log-format=json", "--listen", "[{host}]:{port}"]
    server = start_server(arguments=command, host=ipv6_loopback)
    with server.connect() as client:
        client.ping()
        listening, connect = wait_for_events(server, 2)[:2]
        assert listening["address"] == f"[::1]:{server.port}"
        assert connect["peer"] == f"[::1]:{client.address[1]}"


@marks.requirement("REF-9")
def test_quiet_logs_the_listening_line_alone(start_server):
    """--quiet suppresses all but the listening line."""
    server = start_server("--log-format=json", "--quiet")
    with server.connect() as client:
        client.exchange(b"hello", shutdown=True)
    with server.connect() as client:
        client.ping()
    assert events(server.log()) == [{"event": "listening", "address": f"127.0.0.1:{server.port}"}]
