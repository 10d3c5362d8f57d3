"""What each kind of end costs: time, CPU time, memory and descriptors."""

import time

import pytest

from touchstone_conform import marks
from touchstone_conform.harness.client import SOON_S
from touchstone_conform.harness.samples import sample
from touchstone_conform.suite.test_cpu import expect_no_spin
from touchstone_conform.suite.test_release import (
    end_by_close_with_unread_answers,
    end_by_reset,
    end_by_reset_behind_data_and_fin,
    judge_descriptors,
    judge_memory,
    of_looks,
    stalled_client,
)
from touchstone_conform.transform import answer

ENDS = 300  # between two looks at memory


def end_by_fin_with_pending_output(server):
    server.record.footing.require("resume", "flush")
    with stalled_client(server, fin=True) as client:
        client.read_to_fin()


def end_by_reset_while_stalled(server):
    stalled_client(server).reset()


def end_by_reset_after_half_close(server):
    stalled_client(server, fin=True).reset()


def end_in_the_backlog(server):
    """RST before the server could accept; it has, once another client is served, which may have
    connected at the same time."""
    server.record.footing.require("neighbours", "backlog")
    with server.process.stopped():
        server.connect().reset()
    with server.connect() as other:
        other.ping()
        other.leave()


@marks.requirement("CLOSE-5")
@marks.leans_on("reset", "stream", "fin", "data-and-fin", "neighbours")
@marks.process
def test_a_new_client_after_each_kind_of_end(server):
    """Right after clients were reset, whatever they did before, a new one is served at once."""
    for end in (
        end_by_reset,
        end_by_reset_while_stalled,
        end_by_close_with_unread_answers,
        end_by_reset_after_half_close,
    ):
        for _ in range(3):
            end(server)
        began = time.monotonic()
        with server.connect("new") as new:
            new.ping()
        server.judge_time(time.monotonic() - began, SOON_S, f"a new client after {end.__name__}")


@marks.requirement("CLOSE-2")
@marks.leans_on("fin", "stream", "data-and-fin")
@pytest.mark.parametrize("size", [4, 100_000])
@pytest.mark.parametrize("when", ["after the answer", "with the data"])
@marks.wire
def test_fin_is_answered_at_once(server, size, when):
    """FIN of a client that has sent something is answered without delay, whatever came before."""
    for seed in range(3):
        with server.connect() as client:
            data = sample(size, seed)
            if when == "after the answer":
                client.exchange(data)
            began = time.monotonic()
            if when == "with the data":
                client.send_what_fits(data)
            client.shutdown()
            client.read_to_fin()
            server.judge_time(time.monotonic() - began, SOON_S, "the answer to FIN")


@marks.requirement("COST-4")
@marks.leans_on("idle", "rest", "reset", "stream", "fin", "data-and-fin")
@pytest.mark.parametrize("end", [end_by_reset, end_by_reset_after_half_close])
@marks.process
def test_after_another_reset(server, end):
    """A connection that was reset while idle, or after its FIN, costs no CPU time."""
    end(server)
    expect_no_spin(server)


@marks.requirement("CLOSE-8")
@pytest.mark.parametrize(
    "end", [end_by_fin_with_pending_output, end_by_reset_after_half_close, end_in_the_backlog]
)
@marks.process
def test_nothing_stays_open(server, end):
    """However connections end, the number of descriptors does not grow with them."""
    judge_descriptors(server, end, 20)


@of_looks
@marks.requirement("CLOSE-9")
@marks.leans_on("release")
@pytest.mark.parametrize(
    "end",
    [
        end_by_fin_with_pending_output,
        end_by_reset_while_stalled,
        end_by_reset_after_half_close,
        end_by_reset_behind_data_and_fin,
        end_in_the_backlog,
    ],
)
@marks.process
def test_memory_does_not_grow(server, end):
    """Memory does not grow with the number of ends of a kind."""
    judge_memory(server, lambda: end(server), ENDS, f"times {end.__name__}")


# Urgent bytes.


@marks.requirement("FLOW-6")
@marks.leans_on("stream")
@marks.wire
def test_several_urgent_bytes(server):
    """The first byte of a connection may be urgent, and later ones; each is answered or dropped."""
    with server.connect() as client:
        for _ in range(3):
            client.send_urgent(b"!")
            client.send(b"text?")
            received = client.receive(5)
            if received != answer(b"text?"):
                client.judge_bytes(answer(b"!text?"), received + client.receive(1))
        client.ping()
        client.leave()


@marks.requirement("FLOW-6")
@marks.leans_on("fin", "farewell", "data-and-fin")
@marks.wire
def test_an_urgent_byte_before_fin(server):
    """An urgent byte right before FIN, which is answered with FIN."""
    with server.connect() as client:
        client.ping()
        client.send(b"text")
        client.send_urgent(b"!")
        client.shutdown()
        received, end = client.read_to_end()
        if received != answer(b"text"):
            client.judge_bytes(answer(b"text!"), received)
        client.judge_end(end)
