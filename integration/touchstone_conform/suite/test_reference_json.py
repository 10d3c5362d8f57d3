"""The reference's log with --log-format json: one object a line."""

import json
import re
import signal

import pytest

from touchstone_conform.samples import ALL_BYTES, sample
from touchstone_conform.waiting import wait_until

pytestmark = pytest.mark.reference

PIPE_BUF = 4096


@pytest.fixture
def server(start_server):
    return start_server("--log-format", "json", "--verbose")


def events(text):
    """The objects, in order; each line is one, whole."""
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def wait_for_events(server, count):
    assert wait_until(lambda: server.log().count("\n") >= count, server.scaled(5)), server.log()
    return events(server.log())


@pytest.mark.requirement("REF-9")
def test_every_event(server):
    """Each event of a life has its line, with numbers as numbers."""
    with server.connect() as client:
        client.ping(b"hello")
        peer = f"127.0.0.1:{client.address[1]}"
        server.signal(signal.SIGTERM)
        client.expect_end()
    server.wait_for_end(1)
    listening, connect, *rest = events(server.log())
    token = connect["token"]
    assert re.fullmatch(r"\d+\.\d+", token)
    assert [listening, connect, *rest] == [
        {"event": "listening", "address": f"127.0.0.1:{server.port}"},
        {"event": "connect", "token": token, "peer": peer},
        {"event": "data", "token": token, "bytes": 5, "text": "hello"},
        {"event": "stop", "connections": 1},
        {"event": "disconnect", "token": token, "peer": peer, "reason": "end", "in": 5, "out": 5},
    ]


@pytest.mark.requirement("REF-9")
def test_every_byte(server):
    """Whatever clients send, each line parses, is ASCII, and gives the bytes back."""
    with server.connect() as client:
        client.ping(ALL_BYTES)
        client.ping(b'","event":"forged"}\n{"event":"forged"}\n')
    lines = wait_for_events(server, 5)
    events = [line["event"] for line in lines]
    assert events == ["listening", "connect", "data", "data", "disconnect"]
    assert lines[2]["text"].encode("latin-1") == ALL_BYTES
    assert lines[3]["text"] == '","event":"forged"}\n{"event":"forged"}\n'
    assert all(byte == 0x0A or 0x20 <= byte <= 0x7E for byte in server.raw_log())


@pytest.mark.requirement("REF-9")
def test_long_chunk(server):
    """A chunk too long for one write is cut between two escapes, and the line says by how much."""
    data = bytes(60_000)  # NUL has the longest escape
    with server.connect() as client:
        client.ping()
        with server.process.frozen():
            client.send(data)
        client.exchange(b"", shutdown=True, before=data)
    server.wait_for_log(r'"event":"disconnect"')
    lines = server.log().splitlines(keepends=True)
    assert all(len(line) <= PIPE_BUF for line in lines)
    chunks = [line for line in events(server.log()) if line["event"] == "data"][1:]
    assert sum(chunk["bytes"] for chunk in chunks) == len(data)
    for chunk in chunks:
        assert len(chunk["text"]) + chunk.get("omitted", 0) == chunk["bytes"]


@pytest.mark.requirement("REF-9")
def test_reset(server):
    """The other reasons to leave are words as well."""
    client = server.connect()
    client.ping()
    client.reset()
    assert wait_for_events(server, 4)[-1]["reason"] == "reset"


@pytest.mark.requirement("REF-9")
def test_dropped_lines(log_pipe, start_server):
    """Lines that were dropped are counted in a line of their own."""
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
            dropped, connect = events(log_pipe.drain().decode())
    assert dropped == {"event": "dropped", "lines": 6}
    assert connect["event"] == "connect"


@pytest.mark.requirement("REF-9")
def test_ipv6(start_server, reference_program, ipv6_loopback):
    """An IPv6 address is written as in the text."""
    words = [*reference_program, "--log-format=json", "--listen", "[{host}]:{port}"]
    server = start_server(words=words, host=ipv6_loopback)
    with server.connect() as client:
        client.ping()
        listening, connect = wait_for_events(server, 2)[:2]
        assert listening["address"] == f"[::1]:{server.port}"
        assert connect["peer"] == f"[::1]:{client.address[1]}"


@pytest.mark.requirement("REF-9")
def test_quiet(start_server):
    """--quiet leaves the listening line alone."""
    server = start_server("--log-format=json", "--quiet")
    with server.connect() as client:
        client.exchange(b"hello", shutdown=True)
    with server.connect() as client:
        client.ping()
    assert events(server.log()) == [{"event": "listening", "address": f"127.0.0.1:{server.port}"}]
