"""More clients at once, and more one after the other, than tables and counters have room for."""

import contextlib
import resource
import socket

import pytest

from touchstone_conform import marks
from touchstone_conform.harness.client import Client
from touchstone_conform.harness.duplicates import backlog
from touchstone_conform.harness.process import prlimit
from touchstone_conform.harness.samples import sample
from touchstone_conform.harness.skips import NotRequired
from touchstone_conform.harness.waiting import Deadline
from touchstone_conform.suite.test_release import reset_at_once
from touchstone_conform.transform import answer

pytestmark = marks.process

CROWD = 1100  # select() has room for descriptors below 1024
TOGETHER = 10  # a server may take 0.2 s for each answer
IN_A_BATCH = 300
PAST = 65_537  # one more than 16 bits count
PAST_S = 40
PINGED = 100  # one of so many is served before the next connects: the backlog never overflows


@pytest.fixture
def crowd(server):
    """Clients that are connected at the same time, if the server may have so many descriptors."""
    if prlimit(server.pid, resource.RLIMIT_NOFILE)[0] < CROWD + 100:
        raise NotRequired(f"a server that may open {CROWD + 100} descriptors")
    with contextlib.ExitStack() as connections:
        yield [connections.enter_context(server.connect(f"client {i}")) for i in range(CROWD)]


@marks.requirement("FAIR-3")
@marks.leans_on("idle", "neighbours")
def test_a_crowd_is_served(crowd):
    """Each of more clients than a set of select() has room for is served, the last first."""
    for begin in range(0, CROWD, TOGETHER):
        some = crowd[::-1][begin : begin + TOGETHER]
        for client in some:
            client.send(b"ping")
        for client in some:
            client.expect(answer(b"ping"))


@marks.requirement("FAIR-6")
@marks.leans_on("idle", "neighbours", "interrupt")
def test_a_crowd_is_ready(server, crowd):
    """More than a thousand clients are ready at once: all are served."""
    crowd[-1].ping()
    with server.process.stopped():
        for seed, client in enumerate(crowd):
            client.send(sample(100, seed))
    for seed, client in enumerate(crowd):
        client.expect(answer(sample(100, seed)))


def send_from_the_backlog(server, connections):
    """As many clients as can wait to be accepted, but no more than a batch and then some; each
    sends sample(100) by its place."""
    count = min(IN_A_BATCH, backlog(server.process))
    clients = [connections.enter_context(server.connect(f"client {i}")) for i in range(count)]
    for seed, client in enumerate(clients):
        client.send(sample(100, seed))
    return clients


@marks.requirement("FAIR-6")
@marks.leans_on("neighbours", "interrupt")
def test_many_in_the_backlog(server):
    """More clients wait to be accepted than are accepted in a row: all are served."""
    with contextlib.ExitStack() as connections:
        with server.process.stopped():
            clients = send_from_the_backlog(server, connections)
        for seed, client in enumerate(clients):
            client.expect(answer(sample(100, seed)))


@marks.requirement("STOP-4")
@marks.service
@marks.leans_on("stop", "neighbours", "interrupt")
def test_stopped_with_many_in_the_backlog(server):
    """More clients wait to be accepted than are accepted in a row: a stop serves them all."""
    with contextlib.ExitStack() as connections:
        with server.process.stopped():
            clients = send_from_the_backlog(server, connections)
            server.terminate()
        for seed, client in enumerate(clients):
            client.expect_end(answer(sample(100, seed)))
            client.close()


@marks.requirement("CLOSE-6")
@marks.leans_on("reset", "neighbours", "interrupt")
def test_many_resets_at_once(server):
    """Hundreds of connections are reset at once: the others, and new ones, are served."""
    with server.connect("neighbour") as neighbour:
        clients = [server.connect(f"client {i}") for i in range(IN_A_BATCH)]
        for client in clients:
            client.ping()
        with server.process.stopped():
            for client in clients:
                client.reset()
        neighbour.ping()
        with server.connect("new") as new:
            new.ping()


@marks.requirement("CLOSE-4")
@marks.leans_on("fin", "farewell", "neighbours", "interrupt")
def test_many_ends_at_once(server):
    """Hundreds of clients send data and FIN at once: all get their answer and FIN."""
    with contextlib.ExitStack() as connections:
        clients = [
            connections.enter_context(server.connect(f"client {i}")) for i in range(IN_A_BATCH)
        ]
        for client in clients:
            client.ping()
        with server.process.stopped():
            for seed, client in enumerate(clients):
                client.send(sample(100, seed))
                client.shutdown()
        for seed, client in enumerate(clients):
            client.expect_end(answer(sample(100, seed)))


@marks.requirement("FAIR-1")
@marks.leans_on("release")
def test_after_as_many_as_sixteen_bits_count(server):
    """A client that connects after 65,537 others is served as the first was."""
    server.record.cannot_express("so many connections")
    deadline = Deadline(PAST_S)
    for number in range(PAST):
        if deadline.passed():
            raise NotRequired(f"a server that takes {PAST} connections in {PAST_S} s")
        if number % PINGED:
            reset_at_once(server)
        else:
            ping_and_reset(server)
    with server.connect("late") as late:
        late.ping()


def ping_and_reset(server):
    client = server.connect("one of many")
    client.ping()
    client.reset()
    server.record.events.clear()


@marks.requirement("FAIR-1")
@marks.leans_on("neighbours")
def test_the_same_port_at_two_addresses(server):
    """Clients whose addresses differ, and whose ports do not, get each its own answers."""
    if not server.host.startswith("127."):
        raise NotRequired("a server on the IPv4 loopback", "address")
    with server.connect("first") as first:
        port = first.address[1]

        def at_another_address(*kind):
            made = socket.socket(*kind)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(("127.0.0.2", port))
            return made

        first.ping(b"first")
        ours = {"timeout": server.timeout, "record": server.record, "name": "second"}
        address = (server.host, server.port)
        with Client(address, new_socket=at_another_address, **ours) as second:
            for _ in range(3):
                second.ping(b"second")
                first.ping(b"first")
