"""Several clients, each doing what clients may do, in orders that Hypothesis makes up.

What is made up is a scenario, and the player judges it as it judges those of the package. Where the
server fails, the shortest such scenario that Hypothesis finds is told.
"""

import hypothesis
import pytest
from hypothesis import strategies
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from touchstone_conform import scenario
from touchstone_conform.player import play
from touchstone_conform.scenario import Scenario, Step

pytestmark = [pytest.mark.wire, pytest.mark.requirement("MIX-1")]

STEPS = 30
CLIENTS = 6  # at a time
NAMES = "abcdefghijklmnop"[: scenario.CLIENTS_MAX]
SMALL_WINDOW = 2304
SHORT_PATIENCE_S = 0.5  # to shorten a failure, each attempt at it should not take long

ANY_CLIENT = strategies.integers(0, CLIENTS - 1)
# A few bytes; about as much as buffers have room for; more than any kernel holds for a client.
COUNTS = (
    strategies.integers(1, 9)
    | strategies.integers(1, 200_000)
    | strategies.integers(4 << 20, 8 << 20)
)


class Mixture(RuleBasedStateMachine):
    """Makes up a scenario step by step, and plays it once it is whole.

    So what is made up never depends on what a server does, and Hypothesis can make it up again.
    """

    def __init__(self, server):
        super().__init__()
        self.server = server
        self.told = Scenario()
        self.clients = []  # those who have not left
        self.shut = set()
        self.paused = set()
        self.sent = {}
        self.heard = {}

    @initialize(count=strategies.integers(1, STEPS))
    def choose_how_many(self, count):
        """Only so many steps are told: Hypothesis makes up STEPS of them even for the shortest."""
        self.count = count

    def step(self, kind, client, **operands):
        if len(self.told.steps) < self.count:
            self.told.steps.append(Step(kind, client, line=len(self.told.steps) + 2, **operands))

    def one_of(self, candidates, number):
        return candidates[number % len(candidates)]

    def speakers(self):
        return [client for client in self.clients if client not in self.shut]

    def listeners(self):
        return [client for client in self.clients if client not in self.paused]

    @precondition(lambda self: len(self.clients) < CLIENTS and len(self.sent) < len(NAMES))
    @rule(window=strategies.sampled_from([0, SMALL_WINDOW]))
    def connect(self, window):
        client = len(self.told.names)
        self.told.names.append(NAMES[client])
        self.clients.append(client)
        self.sent[client] = self.heard[client] = 0
        self.step("connect", client, count=window)

    @precondition(lambda self: self.speakers())
    @rule(number=ANY_CLIENT, count=COUNTS)
    def send(self, number, count):
        client = self.one_of(self.speakers(), number)
        self.sent[client] += count
        self.step("send", client, count=count)

    @precondition(lambda self: self.speakers())
    @rule(number=ANY_CLIENT)
    def shutdown(self, number):
        client = self.one_of(self.speakers(), number)
        self.shut.add(client)
        self.step("shutdown", client)

    @precondition(lambda self: self.listeners())
    @rule(number=ANY_CLIENT)
    def pause(self, number):
        client = self.one_of(self.listeners(), number)
        self.paused.add(client)
        self.step("pause", client)

    @precondition(lambda self: self.paused)
    @rule(number=ANY_CLIENT)
    def resume(self, number):
        client = self.one_of(sorted(self.paused), number)
        self.paused.remove(client)
        self.step("resume", client)

    @precondition(lambda self: self.listeners())
    @rule(number=ANY_CLIENT)
    def hear(self, number):
        """A client waits for all that it is owed, and after its FIN for the server's."""
        client = self.one_of(self.listeners(), number)
        if self.sent[client] > self.heard[client]:
            self.step("expect", client, count=self.sent[client] - self.heard[client])
            self.heard[client] = self.sent[client]
        if client in self.shut:
            self.step("expect-end", client)

    @precondition(lambda self: self.clients)
    @rule(number=ANY_CLIENT, kind=strategies.sampled_from(["reset", "close"]))
    def leave(self, number, kind):
        client = self.one_of(self.clients, number)
        self.clients.remove(client)
        self.paused.discard(client)
        self.step(kind, client)

    def teardown(self):
        server = self.server
        server.record.begin_again()
        server.record.told = scenario.canonical(self.told)
        try:
            play(self.told, server, may_shed=False)
        except AssertionError:
            server.patience = min(server.patience, server.scaled(SHORT_PATIENCE_S))
            raise


def test_whatever_clients_do(request, start_server):
    """Each client gets the answer to what it sent and to its FIN, whatever the others do."""
    servers = [start_server()]

    def next_machine():
        if servers[-1].is_gone():
            servers.append(start_server())
        return Mixture(servers[-1])

    hypothesis.seed(request.config.getoption("--seed"))(next_machine)
    settings = hypothesis.settings(
        max_examples=request.config.getoption("--examples"),
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    run_state_machine_as_test(next_machine, settings=settings)
