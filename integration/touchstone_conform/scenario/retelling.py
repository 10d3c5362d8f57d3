"""Writes an exchange down as a scenario, so that it can be replayed."""

from __future__ import annotations

from touchstone_conform.harness.exchange import Exchange, without_tidying
from touchstone_conform.scenario import language
from touchstone_conform.scenario.language import Scenario, ScenarioError, Step

_LAST_EVENTS = ("RST", "close", "receive FIN", "receive RST")


def scenario_of(exchange: Exchange) -> bytes | None:
    """The exchange as a scenario; None where `inexpressible` names what it cannot express."""
    if exchange.replayed is not None:
        return exchange.replayed
    if exchange.inexpressible or not exchange.has_clients():
        return None
    try:
        retelling = _Retelling(without_tidying(exchange.events))
        text = language.canonical(retelling.tell())
        language.parse(text)
        exchange.shortened = retelling.shortened
    except _Inexpressible as inexpressible:
        exchange.cannot_express(str(inexpressible))
    except ScenarioError as error:
        exchange.cannot_express(f"such an order of steps ({error.text})")
    else:
        return text
    return None


class _Inexpressible(Exception):
    pass


class _Retelling:
    """Turns events into steps, as far as one step can follow another."""

    def __init__(self, events):
        self._events = events
        self._scenario = Scenario()
        self._numbers = {}
        self._paused = set()
        self._shut = set()
        self._sent = {}
        self._heard = {}
        self._stopped = False
        self._kept = self._kept_clients()

    def _kept_clients(self):
        """As many clients as the language has: those that stayed, then the last to leave."""
        connected = [each.client for each in self._events if each.what == "connect"]
        gone = [each.client for each in self._events if each.what in _LAST_EVENTS]
        stayed = [client for client in connected if client not in gone]
        room = language.CLIENTS_MAX - len(stayed)
        if room < 0:
            raise _Inexpressible(f"more than {language.CLIENTS_MAX} clients at a time")
        self.shortened = len(set(connected)) > language.CLIENTS_MAX
        return {*stayed, *list(dict.fromkeys(reversed(gone)))[:room]}

    def tell(self) -> Scenario:
        for event in self._events:
            if event.client is None or event.client in self._kept:
                getattr(self, "_" + event.what.replace(" ", "_"), self._nothing)(event)
        return self._scenario

    def _nothing(self, event):
        pass

    def _step(self, kind, event=None, **operands):
        client = None
        if event is not None:
            client = self._numbers.setdefault(event.client, len(self._numbers))
        self._scenario.steps.append(Step(kind, client, **operands))

    def _connect(self, event):
        self._step("connect", event, count=event.count)
        self._sent[event.client] = self._heard[event.client] = 0

    def _send(self, event):
        literal = event.data if len(event.data) == event.count else None
        last = self._scenario.steps[-1]
        self._sent[event.client] += event.count
        if last.kind == "send" and last.client == self._numbers[event.client]:
            if literal is None and last.literal is None:
                last.count += event.count
                return
        self._step("send", event, count=event.count, literal=literal)

    def _urgent(self, event):
        self._sent[event.client] += 1
        self._step("urgent", event)

    def _FIN(self, event):
        if event.client not in self._shut:
            self._shut.add(event.client)
            self._step("shutdown", event)

    def _RST(self, event):
        self._step("reset", event)

    def _close(self, event):
        self._step("close", event)

    def _stall(self, event):
        if event.client not in self._paused:
            self._paused.add(event.client)
            self._step("pause", event)

    def _read(self, event):
        if event.client in self._paused:
            self._paused.remove(event.client)
            self._step("resume", event)

    def _expect(self, event):
        self._read(event)
        count = min(event.count, self._sent[event.client] - self._heard[event.client])
        if count > 0:
            self._heard[event.client] += count
            self._step("expect", event, count=count)

    _expected = _expect

    def _expect_end(self, event):
        self._read(event)
        if event.client in self._shut or self._stopped:
            self._step("expect-end", event)

    def _quiet(self, event):
        self._step("wait", count=event.count)

    def _freeze(self, event):
        self._step("freeze")

    def _thaw(self, event):
        self._step("thaw")

    def _stop(self, event):
        if not self._stopped:
            self._stopped = True
            self._step("stop")
