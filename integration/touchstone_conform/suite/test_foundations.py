"""What other tests depend on, judged first, one after the other: see foundations.py.

Some foundations are judged by tests that lie beside those of the same topic.
"""

import contextlib
import signal

import pytest

from touchstone_conform import marks
from touchstone_conform.failure import expect
from touchstone_conform.harness.samples import PLAIN, flood
from touchstone_conform.suite.test_ends import end_in_the_backlog
from touchstone_conform.suite.test_release import (
    end_by_fin,
    end_by_reset,
    end_by_reset_behind_data_and_fin,
    judge_descriptors,
    pending,
    stalled_client,
)
from touchstone_conform.transform import answer

LINE = b"touchstone\n"
IN_TIME_S = 10  # longer than any sensible drain timeout


@marks.foundation("silence")
@marks.wire
def test_no_banner(server):
    """A client that has sent nothing receives nothing."""
    with server.connect() as client:
        received = client.receive(1, server.scaled(0.2))
        if received:
            client.judge_bytes(b"", received)


@marks.foundation("line")
@marks.wire
def test_a_line(server):
    """A line is answered with as many bytes, whatever they are."""
    with server.connect() as client:
        client.send(LINE)
        received = client.receive(len(LINE))
        if len(received) < len(LINE):
            client.judge_bytes(answer(LINE), received)


@marks.foundation("letters")
@marks.wire
def test_letters_and_digits_are_mapped(server):
    """Letters and digits are mapped as they should be."""
    with server.connect() as client:
        client.ping(PLAIN + b"\n")


@marks.foundation("byte")
@marks.wire
def test_a_byte_without_a_newline_is_answered(server):
    """A byte that no newline follows is answered."""
    with server.connect() as client:
        client.ping(b"t")


@marks.foundation("neighbours")
@marks.wire
def test_clients_that_connect_at_once(server):
    """All are served, the last first, while the others are connected."""
    with contextlib.ExitStack() as connections:
        clients = [connections.enter_context(server.connect(f"client {i}")) for i in range(5)]
        for client in reversed(clients):
            client.ping()


@marks.foundation("farewell")
@marks.wire
def test_no_farewell(server):
    """Between the last answer and its FIN the server sends nothing."""
    with server.connect() as client:
        client.ping()
        client.shutdown()
        client.judge_bytes(b"", client.read_to_end()[0])


@marks.foundation("data-and-fin")
@marks.wire
def test_a_few_bytes_and_fin(server):
    """Bytes and FIN that are sent together: the bytes are answered."""
    for _ in range(20):
        with server.connect() as client:
            client.send(LINE)
            client.shutdown()
            client.judge_bytes(answer(LINE), client.receive(len(LINE)))


@marks.foundation("reset")
@marks.wire
def test_reset_of_an_idle_client(server):
    """New clients are served after others left by RST."""
    for _ in range(3):
        client = server.connect()
        client.ping()
        client.reset()
    with server.connect("new") as new:
        new.ping()


@marks.foundation("resume")
@marks.leans_on("stream", "stall")
@marks.process
def test_many_short_writes(server):
    """What the server can send only in many small parts arrives whole."""
    with stalled_client(server, taken=0) as client:
        client.expect(answer(pending()))


@marks.foundation("others")
@marks.leans_on("stream", "stall")
@marks.wire
def test_a_client_beside_a_stalled_one(server):
    """While a client does not read, another is answered, sooner or later."""
    with server.connect("stalled") as stalled, server.connect("neighbour") as neighbour:
        stalled.send_until_blocked(flood(server.buffer), server.scaled(0.2))
        for _ in range(50):
            neighbour.ping()


@marks.foundation("flush")
@marks.leans_on("stream", "stall", "resume", "fin", "farewell", "data-and-fin")
@marks.process
def test_what_a_small_send_buffer_leaves_is_sent_after_fin(server):
    """What the server could not yet send when the FIN came is sent, too."""
    with stalled_client(server, fin=True, taken=0) as client:
        client.expect_end(answer(pending()))


@marks.foundation("interrupt")
@marks.process
def test_stop_and_continue(server):
    """The server outlives SIGSTOP and SIGCONT, which interrupt its wait."""
    with server.connect() as client:
        client.ping()
        for _ in range(2):
            with server.process.stopped():
                client.send(b"ping")
            client.expect(answer(b"ping"))
        with server.process.stopped():
            pass  # nothing has arrived: the wait itself is interrupted
        client.ping()


@marks.foundation("broken-pipe")
@marks.leans_on("reset", "fin", "data-and-fin")
@marks.process
def test_resets_behind_data_and_fin(server):
    """New clients are served after the answer to others failed with EPIPE."""
    for _ in range(3):
        end_by_reset_behind_data_and_fin(server)
    with server.connect("new") as new:
        new.ping()


@marks.foundation("backlog")
@marks.process
def test_resets_in_the_backlog(server):
    """New clients are served after others were reset before they were accepted."""
    for _ in range(3):
        end_in_the_backlog(server)


@marks.foundation("release")
@pytest.mark.parametrize("end", [end_by_fin, end_by_reset, end_in_the_backlog])
@marks.process
def test_descriptors_of_a_few(server, end):
    """The descriptors of a few clients are closed when they leave."""
    judge_descriptors(server, end, 20)


@marks.foundation("stop")
@marks.service
def test_a_stop_signal_ends_the_server(server):
    """The signal ends the server, not by killing it, once its client has left."""
    with server.connect() as client:
        client.ping()
        server.signal(signal.SIGTERM)
        client.read_to_end()
    status = server.wait_for_end(IN_TIME_S)
    killed = status in (-signal.SIGTERM, 128 + signal.SIGTERM)  # a JVM ends so without a handler
    handled = status >= 0 and not killed
    expect(handled, "exit-status", f"expected a handled signal, but the server {server.ending()}")
