"""Clients never see each other's bytes, and do not wait for each other."""

import contextlib
import random
import select
import time

from touchstone_conform import marks
from touchstone_conform.failure import expect
from touchstone_conform.harness.flood import expect_open
from touchstone_conform.harness.samples import sample
from touchstone_conform.transform import answer

pytestmark = marks.wire

CLIENTS = 400


@marks.requirement("FAIR-1")
@marks.leans_on("neighbours")
def test_interleaved_clients(server):
    """Each of many interleaved clients gets its own bytes, whatever is closed or reused."""
    order = random.Random(2)
    with contextlib.ExitStack() as connections:
        clients = []

        def connect():
            client = server.connect(f"client {len(clients)}")
            return connections.enter_context(client)

        for _ in range(CLIENTS):
            clients.append(connect())
        for turn in range(3):
            exchange(order, clients, turn)
            for index in order.sample(range(CLIENTS), CLIENTS // 4):
                leave(order, clients[index])
                clients[index] = connect()


def exchange(order, clients, turn):
    sent = {client: sample(300, seed=1000 * turn + i) for i, client in enumerate(clients)}
    for part in (slice(0, 100), slice(100, 300)):
        for client in order.sample(clients, len(clients)):
            client.send(sent[client][part])
    for client in order.sample(clients, len(clients)):
        client.expect(answer(sent[client]))


def leave(order, client):
    footing = client.record.footing
    kinds = ["end", "close"] * footing.holds("fin") + ["reset"] * footing.holds("reset")
    kind = order.choice(kinds or ["stay"])
    if kind == "reset":
        client.reset()
    elif kind == "close":
        client.close()
    else:
        client.leave()


@marks.requirement("FAIR-1")
@marks.leans_on("stream", "stall", "reset")
def test_a_new_connection_inherits_nothing(server):
    """A new connection sees no byte of a connection that was reset while output was pending."""
    for _ in range(8):
        leaving = server.connect("leaving", receive_buffer=4096)
        leaving.send_until_blocked(sample(8 << 20), server.scaled(0.05))
        leaving.reset()
        with server.connect("new") as new:
            new.ping(b"mine")
            new.leave()


@marks.requirement("FAIR-2")
@marks.leans_on("bytes", "stream", "neighbours", "resume")
def test_a_flood_starves_no_client(server, start_flood):
    """Beside two clients that send without pause, a small message is answered within 0.5 s."""
    floods = [start_flood(), start_flood()]
    with server.connect("calm") as client:
        times = [client.ping() for _ in range(20)]
    for flood in floods:
        expect_open(flood)
    server.judge_time(max(times), 0.5, "the slowest of 20 pings")


@marks.requirement("FAIR-3")
def test_a_silent_client_delays_no_other(server):
    """Clients are served concurrently, not one after the other."""
    with server.connect("silent"), server.connect("client") as client:
        client.ping()


@marks.requirement("FAIR-5")
def test_a_storm_of_connects_starves_no_client(server):
    """While others connect and reset without pause, a small message is answered within 0.5 s."""
    footing = server.record.footing

    def connect_and_leave():
        short_lived = server.connect("short-lived")
        if footing.holds("reset") and footing.holds("backlog"):
            short_lived.reset()
        else:
            short_lived.close()

    with server.connect("calm") as client:
        client.ping()
        for _ in range(20):
            for _ in range(20):
                connect_and_leave()
            began = time.monotonic()
            client.send(b"ping")
            while not select.select([client], [], [], 0.01)[0]:
                took = time.monotonic() - began
                server.judge_time(took, 0.5, "the answer to a ping")
                connect_and_leave()
            client.expect(answer(b"ping"))
