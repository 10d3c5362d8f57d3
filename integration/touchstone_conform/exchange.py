"""What happened between a server and its clients in one test: for the eye, and to be played again.

Clients and servers write down what they do and see. It becomes a timeline and, where the language
has the words, a scenario.
"""

from __future__ import annotations

import dataclasses
import itertools
import time

from . import scenario
from .scenario import Scenario, ScenarioError, Step

_EVENTS_MAX = 4000
_SHOWN_BYTES = 16
_MERGED_BYTES = 1024  # pieces behind one of so many are shown as one
_PIECES_MAX = 3
_SHOWN_EVENTS = 44
_SHOWN_FIRST = 14
_SHOWN_OWN = 15  # the last of one client, whatever others did meanwhile

# The words of a timeline, and which way they go: to the server, from it, or neither.
TO, FROM, AT = "to", "from", "at"
_DIRECTIONS = {
    "connect": TO,
    "send": TO,
    "urgent": TO,
    "FIN": TO,
    "RST": TO,
    "close": TO,
    "receive": FROM,
    "receive FIN": FROM,
    "receive RST": FROM,
    "receive time-out": FROM,
}
# What a client waits for: it is shown where nothing follows. `expected` has come already.
_AWAITS = ("expect", "expect end")
_EXPECTED = "expected"
_LAST_WORDS = ("RST", "close", "receive FIN", "receive RST")
_IN_WORDS = {
    "expect": "expects {} bytes",
    "expect end": "expects the end",
    "quiet": "listens for {} ms",
    "stall": "stops reading",
    "freeze": "server stopped (SIGSTOP)",
    "thaw": "server continued (SIGCONT)",
    "stop": "server told to stop",
}


@dataclasses.dataclass
class Event:
    at: float  # seconds since the first one
    who: str  # a client's name; empty for the server
    client: int | None  # in the order in which they connect
    what: str
    count: int = 0  # of bytes
    data: bytes = b""  # all of them, or the first
    pieces: int = 1

    @property
    def direction(self) -> str:
        return _DIRECTIONS.get(self.what, AT)

    @property
    def text(self) -> str:
        """What happened, in a few words."""
        if self.what == "connect" and self.count:
            return f"connect, receive buffer of {self.count} bytes"
        if self.what in _IN_WORDS:
            return _IN_WORDS[self.what].format(self.count)
        if not self.count:
            return self.what
        plural = "" if self.count == 1 else "s"
        pieces = f" in {self.pieces} pieces" if self.pieces > 1 else ""
        return f"{self.what} {self.count} byte{plural}{pieces}{self._preview()}"

    def _preview(self):
        if not self.data:
            return ""
        cut = " …" if self.count > _SHOWN_BYTES else ""
        return f" {self.data[:_SHOWN_BYTES]!r}{cut}"


class Exchange:
    """The events of a test, in order."""

    def __init__(self):
        self.events: list[Event] = []
        self.told: bytes | None = None  # the scenario that was played, if one was
        self.unsayable = ""  # what a scenario has no words for
        self._kept_bytes = 0
        self._clients = 0
        self._began = time.monotonic()

    def begin_again(self) -> None:
        """Forget all of it: what comes now is another exchange."""
        self.__init__()

    def new_client(self) -> int:
        self._clients += 1
        return self._clients - 1

    def note(self, what: str, client=None, count: int = 0, data: bytes = b"") -> None:
        """Something happened: to a client, if one is given."""
        count = count or len(data)
        data = bytes(data[: scenario.LITERAL_BYTES_MAX])
        at = time.monotonic() - self._began
        event = Event(at, client.name if client else "", client.number if client else None, what)
        event.count = count
        if not self._merge(event):
            event.data = self._kept(data)
            self.events.append(event)
        if len(self.events) > _EVENTS_MAX:
            del self.events[: _EVENTS_MAX // 2]
            self.cannot_say("so long an exchange")

    def _merge(self, event: Event) -> bool:
        """Pieces of one stream are one event, unless they are small."""
        last = self.events[-1] if self.events else None
        if last is None or event.what not in ("send", "receive"):
            return False
        if (last.what, last.client) != (event.what, event.client) or last.count < _MERGED_BYTES:
            return False
        last.count += event.count
        last.data = last.data[:_SHOWN_BYTES]
        return True

    def _kept(self, data):
        """What a scenario could still quote, else what is shown."""
        if self._kept_bytes + len(data) > scenario.LITERAL_BYTES_MAX:
            return data[:_SHOWN_BYTES]
        self._kept_bytes += len(data)
        return data

    def cannot_say(self, what: str) -> None:
        self.unsayable = self.unsayable or what

    def timeline(self) -> list[dict]:
        """What matters of the events, as plain data."""
        events = _without_tidying(self.events)
        events = [
            each for each, then in zip(events, [*events[1:], None]) if not _is_met(each, then)
        ]
        return [
            {
                "at": round(each.at, 4),
                "who": each.who,
                "client": each.client,
                "what": each.what,
                "text": each.text,
                "direction": each.direction,
            }
            for each in _shortened(_in_runs(events))
        ]

    def scenario(self) -> bytes | None:
        """The same as a scenario; None where `unsayable` says what that has no words for."""
        if self.told is not None:
            return self.told
        if self.unsayable or not self._clients:
            return None
        try:
            text = scenario.canonical(_retell(self.events))
            scenario.parse(text)
        except _Unsayable as unsayable:
            self.cannot_say(str(unsayable))
        except ScenarioError as error:
            self.cannot_say(f"such an order of steps ({error.text})")
        else:
            return text
        return None


def _is_met(event, then):
    """Whether something was waited for that then came."""
    came = then is not None and then.direction is FROM and then.client == event.client
    return event.what == _EXPECTED or (event.what in _AWAITS and came)


def _in_runs(events):
    """Many small pieces in a row as one event."""
    shown = []
    for _, run in itertools.groupby(events, lambda each: (each.client, each.what)):
        run = list(run)
        if len(run) > _PIECES_MAX and run[0].what in ("send", "receive"):
            data = b"".join(each.data for each in run)
            total = sum(each.count for each in run)
            run = [dataclasses.replace(run[0], count=total, data=data, pieces=len(run))]
        shown += run
    return shown


def _shortened(events):
    """The first and the last, and the last of the client that is in the last: mostly it failed."""
    if len(events) <= _SHOWN_EVENTS:
        return events
    own = [i for i, each in enumerate(events) if each.client == events[-1].client]
    kept = {*range(_SHOWN_FIRST), *own[-_SHOWN_OWN:]}
    latest = reversed(range(len(events)))
    while len(kept) < _SHOWN_EVENTS:
        kept.add(next(latest))
    shown, following = [], 0
    for i in sorted(kept):
        if i > following + 1:
            gap = f"… {i - following} events …"
            shown.append(Event(events[following].at, "", None, gap))
        elif i > following:
            shown.append(events[following])
        shown.append(events[i])
        following = i + 1
    return shown


def lines_of(timeline: list[dict]) -> list[str]:
    """A timeline as text: time, client, direction, event."""
    width = max([len(each["who"]) for each in timeline], default=0)
    arrows = {TO: "->", FROM: "<-", AT: "  "}
    return [
        f"{each['at']:9.4f}  {each['who']:{width}}  {arrows[each['direction']]} {each['text']}"
        for each in timeline
    ]


# Telling it again.


class _Unsayable(Exception):
    pass


def _retell(events: list[Event]) -> Scenario:
    return _Retelling(_without_tidying(events)).tell()


def _without_tidying(events):
    """Up to where a client failed; else without those who were merely closed at the end."""
    for i, each in enumerate(events):
        if each.what == "failed":
            return events[: i + 1]
    ended = len(events)
    while ended and events[ended - 1].what == "close":
        ended -= 1
    return events[:ended]


class _Retelling:
    """Turns events into steps, as far as steps make sense one after the other."""

    def __init__(self, events):
        self._events = events
        self._scenario = Scenario()
        self._numbers = {}
        self._paused = set()
        self._shut = set()
        self._sent = {}
        self._heard = {}
        self._stopped = False
        self._kept = self._who_counts()

    def _who_counts(self):
        """At most so many clients as the language knows: those who stayed, and who left last."""
        connected = [each.client for each in self._events if each.what == "connect"]
        gone = [each.client for each in self._events if each.what in _LAST_WORDS]
        stayed = [client for client in connected if client not in gone]
        room = scenario.CLIENTS_MAX - len(stayed)
        if room < 0:
            raise _Unsayable(f"more than {scenario.CLIENTS_MAX} clients at a time")
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
