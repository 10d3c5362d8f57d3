"""Several clients that do what clients may do, in an order that Hypothesis generates.

Each example is a scenario, and the scenario runner judges it as it judges those of the package. If
the server fails, the shortest failing scenario that Hypothesis finds is reported.
"""

import hypothesis
from hypothesis import strategies
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from touchstone_conform import marks
from touchstone_conform.scenario import language
from touchstone_conform.scenario.language import Scenario, Step
from touchstone_conform.scenario.runner import run

pytestmark = [
    marks.wire,
    marks.requirement("MIX-1"),
    # All at once: it tells nothing if one of these is known to be broken.
    marks.leans_on(
        *("bytes", "stream", "neighbours", "fin", "farewell", "data-and-fin", "reset"),
        *("idle", "stall", "resume"),
    ),
]

STEPS = 30
CLIENTS = 6  # at a time
NAMES = "abcdefghijklmnop"[: language.CLIENTS_MAX]
SMALL_WINDOW = 2304
SHORT_TIMEOUT_S = 0.5  # once it failed: shrinking takes many attempts

ANY_CLIENT = strategies.integers(0, CLIENTS - 1)
# A few bytes; about as much as buffers have room for; more than any kernel holds for a client.
COUNTS = (
    strategies.integers(1, 9)
    | strategies.integers(1, 200_000)
    | strategies.integers(4 << 20, 8 << 20)
)


class Mixture(RuleBasedStateMachine):
    """Generates a scenario step by step, and runs it once it is complete.

    So the scenario never depends on what a server does, and Hypothesis can generate it again.
    """

    def __init__(self, server):
        super().__init__()
        self.server = server
        self.scenario = Scenario()
        self.clients = []  # those that have not left
        self.shut = set()
        self.paused = set()
        self.sent = {}
        self.awaited = {}

    @initialize(count=strategies.integers(1, STEPS))
    def choose_how_many(self, count):
        """Only `count` steps are used: Hypothesis generates STEPS of them even for the shortest."""
        self.count = count

    def step(self, kind, client, **operands):
        if len(self.scenario.steps) < self.count:
            line = len(self.scenario.steps) + 2
            self.scenario.steps.append(Step(kind, client, line=line, **operands))

    def one_of(self, candidates, number):
        return candidates[number % len(candidates)]

    def senders(self):
        return [client for client in self.clients if client not in self.shut]

    def readers(self):
        return [client for client in self.clients if client not in self.paused]

    @precondition(lambda self: len(self.clients) < CLIENTS and len(self.sent) < len(NAMES))
    @rule(window=strategies.sampled_from([0, SMALL_WINDOW]))
    def connect(self, window):
        client = len(self.scenario.names)
        self.scenario.names.append(NAMES[client])
        self.clients.append(client)
        self.sent[client] = self.awaited[client] = 0
        self.step("connect", client, count=window)

    @precondition(lambda self: self.senders())
    @rule(number=ANY_CLIENT, count=COUNTS)
    def send(self, number, count):
        client = self.one_of(self.senders(), number)
        self.sent[client] += count
        self.step("send", client, count=count)

    @precondition(lambda self: self.senders())
    @rule(number=ANY_CLIENT)
    def shutdown(self, number):
        client = self.one_of(self.senders(), number)
        self.shut.add(client)
        self.step("shutdown", client)

    @precondition(lambda self: self.readers())
    @rule(number=ANY_CLIENT)
    def pause(self, number):
        client = self.one_of(self.readers(), number)
        self.paused.add(client)
        self.step("pause", client)

    @precondition(lambda self: self.paused)
    @rule(number=ANY_CLIENT)
    def resume(self, number):
        client = self.one_of(sorted(self.paused), number)
        self.paused.remove(client)
        self.step("resume", client)

    @precondition(lambda self: self.readers())
    @rule(number=ANY_CLIENT)
    def await_answer(self, number):
        """A client waits for all that is due to it, and after its FIN for the server's."""
        client = self.one_of(self.readers(), number)
        if self.sent[client] > self.awaited[client]:
            self.step("expect", client, count=self.sent[client] - self.awaited[client])
            self.awaited[client] = self.sent[client]
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
        server.record.replayed = language.canonical(self.scenario)
        try:
            run(self.scenario, server, may_shed=False)
        except AssertionError:
            server.timeout = min(server.timeout, server.scaled(SHORT_TIMEOUT_S))
            raise


def test_whatever_clients_do(request, start_server):
    """Each client gets the answer to its bytes and to its FIN, whatever the others do."""
    servers = [start_server()]

    def next_machine():
        if servers[-1].is_gone():
            servers.append(start_server())
        return Mixture(servers[-1])

    hypothesis.seed(request.config.getoption("--touchstone-seed"))(next_machine)
    settings = hypothesis.settings(
        max_examples=request.config.getoption("--touchstone-examples"),
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    run_state_machine_as_test(next_machine, settings=settings)
