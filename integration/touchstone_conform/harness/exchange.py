"""What happened between a server and its clients in one test: a record of events.

Clients and servers record what they do and see. The record becomes a timeline and, where the
scenario language can express it, a scenario.
"""

from __future__ import annotations

import dataclasses
import itertools
import time

from touchstone_conform.foundations import Footing
from touchstone_conform.timeline import AT, FROM, TO

_EVENTS_MAX = 4000
KEPT_BYTES_MAX = 8192  # of all that was sent and received: as many as a scenario may quote
_SHOWN_BYTES = 16
_MERGED_BYTES = 1024  # pieces behind one of so many are shown as one
_PIECES_MAX = 3
_SHOWN_EVENTS = 44
_SHOWN_FIRST = 14
_SHOWN_OWN = 15  # the last of one client, whatever others did meanwhile

# Events with a direction; all others have none.
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
    "receive timeout": FROM,
}
# What a client waits for: shown only where nothing follows. `expected` was received already.
_AWAITS = ("expect", "expect end")
_EXPECTED = "expected"
_TEXTS = {
    "expect": "expects {} bytes",
    "expect end": "expects the end",
    "quiet": "listens for {} ms",
    "stall": "stops reading",
    "freeze": "server stopped (SIGSTOP)",
    "thaw": "server continued (SIGCONT)",
    "stop": "stop signal (SIGTERM)",
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
        """What happened, for people."""
        if self.what == "connect" and self.count:
            return f"connect, receive buffer of {self.count} bytes"
        if self.what in _TEXTS:
            return _TEXTS[self.what].format(self.count)
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
    """The events of a test, in order; and what the test may depend on."""

    def __init__(self, footing: Footing | None = None):
        self.footing = footing or Footing()
        self.connected = set()  # the clients that have not left
        self.events: list[Event] = []
        self.replayed: bytes | None = None  # the scenario that was run, if one was
        self.shortened = False  # by its scenario, which leaves earlier clients out
        self.inexpressible = ""  # what no scenario can express
        self._kept_bytes = 0
        self._clients = 0
        self._began = time.monotonic()

    def begin_again(self) -> None:
        """Forget all of it: what comes now is another exchange."""
        self.__init__(self.footing)

    def close(self) -> None:
        """Close the clients that stayed."""
        for each in list(self.connected):
            each.drop()

    def has_clients(self) -> bool:
        return self._clients > 0

    def new_client(self) -> int:
        self._clients += 1
        return self._clients - 1

    def note(self, what: str, client=None, count: int = 0, data: bytes = b"") -> None:
        """Something happened: to a client, if one is given."""
        count = count or len(data)
        data = bytes(data[: KEPT_BYTES_MAX])
        at = time.monotonic() - self._began
        event = Event(at, client.name if client else "", client.number if client else None, what)
        event.count = count
        if not self._merge(event):
            event.data = self._kept(data)
            self.events.append(event)
        if len(self.events) > _EVENTS_MAX:
            del self.events[: _EVENTS_MAX // 2]
            self.cannot_express("so long an exchange")

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
        if self._kept_bytes + len(data) > KEPT_BYTES_MAX:
            return data[:_SHOWN_BYTES]
        self._kept_bytes += len(data)
        return data

    def cannot_express(self, what: str) -> None:
        self.inexpressible = self.inexpressible or what

    def timeline(self) -> list[dict]:
        """What matters of the events, as plain data."""
        events = without_tidying(self.events)
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


def without_tidying(events):
    """Keep events up to a client's failure; else leave out the mere closes at the end."""
    for i, each in enumerate(events):
        if each.what == "failed":
            return events[: i + 1]
    ended = len(events)
    while ended and events[ended - 1].what == "close":
        ended -= 1
    return events[:ended]
