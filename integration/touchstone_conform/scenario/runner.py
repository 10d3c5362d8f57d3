"""Runs a scenario against a real server over real sockets, and judges what its clients see.

The oracle: what a client receives is always a prefix of the mapped bytes that it sent, and all of
them once its FIN was answered; the server ends no connection first; no client waits for ever.
During every step all clients read, unless they are paused, as they do on the simulated kernel.
"""

from __future__ import annotations

import contextlib
import functools
import math
import resource
import select
import time

from touchstone_conform.failure import Failure
from touchstone_conform.harness.client import (
    WRONG_END,
    Client,
    CloseKind,
    counted,
    difference,
    first_difference,
    shown,
)
from touchstone_conform.harness.duplicates import backlog
from touchstone_conform.harness.process import prlimit
from touchstone_conform.harness.skips import NotRequired
from touchstone_conform.harness.waiting import Deadline
from touchstone_conform.scenario.language import Scenario, Step, generated
from touchstone_conform.transform import answer, is_upper

_CHUNK = 1 << 16
_TICK_S = 0.002
_QUIET_LOOKS = 3
_CLOSE_TIMEOUT_S = 0.2
_DRAIN_DEFAULT_S = 5
_EARLY_S = 0.1  # by so much a server's clock and ours may differ
_STATUS_SHORT = 3  # of the reference: the drain timeout lost bytes
_CLOSES = {CloseKind.FIN: "fin", CloseKind.RST: "rst", None: "open"}


def run(scenario: Scenario, server, *, may_shed: bool) -> None:
    """Run all steps, then let all clients leave; Failure if the server does not conform.

    A server that may shed can close new connections for which it has no descriptor.
    """
    with _Run(scenario, server, may_shed) as running:
        running.run()


class _RunClient:
    """One client: what it sends, what the server owes it, and how much of that it got."""

    def __init__(self, number: int, name: str, connection: Client):
        self.number = number
        self.name = name
        self.connection = connection
        self.sent = bytearray()
        self.handed = 0  # of that, accepted by the client's kernel
        self.urgent: set[int] = set()  # positions
        self.owed = bytearray()
        self.got = 0
        self.expected = 0  # by the steps so far
        self.paused = self.shut = self.fin_sent = self.gone = False
        self.may_end = False  # the server got its stop signal
        self.one_too_many = False  # for the server's descriptors, when it connected or later
        self.taken_at_stop = 0
        self.moved = time.monotonic()
        self.idle_longest = 0.0  # between two moves

    @property
    def end(self) -> CloseKind | None:
        """How its connection ended, once it has read up to there."""
        return self.connection.end if self.connection.finished else None

    @property
    def shed(self) -> bool:
        """Whether it was closed because no descriptor was left: then nothing is owed to it."""
        return self.one_too_many and self.got == 0 and self.end is not None

    @property
    def reads(self) -> bool:
        return not (self.paused or self.gone or self.end)

    @property
    def sends(self) -> bool:
        """Whether it still has something to send."""
        waits = self.handed < len(self.sent) or (self.shut and not self.fin_sent)
        return waits and not self.gone and not self.connection.end

    @property
    def waits(self) -> str:
        """What it is owed now, for a message; empty if nothing."""
        if not self.reads:
            return ""
        if self.got < len(self.owed):
            return f"{len(self.owed) - self.got} of {counted(len(self.owed))}"
        return "the answer to its FIN" if self.shut else ""

    @property
    def code(self) -> str:
        """How it fails that what it is owed did not come."""
        if self.got < len(self.owed):
            if self.end and not (self.fin_sent or self.may_end):
                return "closed-early"
            return "short-answer" if self.got else "no-answer"
        return "still-open"

    def idle(self) -> float:
        """The longest time without a byte in either direction.

        Not only the last: it may read its end long after the server closed the connection.
        """
        return max(self.idle_longest, time.monotonic() - self.moved)

    def moves(self) -> None:
        self.idle_longest = self.idle()
        self.moved = time.monotonic()

    def add(self, data: bytes) -> None:
        self.sent += data
        self.owed += answer(data)

    def push(self) -> bool:
        """Send what the client's kernel accepts; an urgent byte separately."""
        before = self.handed
        while self.sends and self.handed < len(self.sent):
            if self.handed in self.urgent:
                count = self.connection.send_urgent(self.sent[self.handed : self.handed + 1])
            else:
                stops = [position for position in self.urgent if position > self.handed]
                end = min([self.handed + _CHUNK, len(self.sent), *stops])
                count = self.connection.send_what_fits(self.sent[self.handed : end])
            self.handed += count
            if count == 0:
                break
        if self.sends and self.handed == len(self.sent):
            with contextlib.suppress(OSError):  # reset meanwhile: reading reports it
                self.connection.shutdown()
            self.fin_sent = True
        if self.handed > before:
            self.moves()
        return self.handed > before


class _DescriptorLimit:
    """Limits how many clients the server can have descriptors for."""

    def __init__(self, process):
        numbers = sorted(process.descriptors())
        if numbers != list(range(len(numbers))):
            raise NotRequired("descriptors without gaps, to limit this server's clients")
        self._process, self._pid = process, process.pid
        self._base = len(numbers)
        self._before = prlimit(self._pid, resource.RLIMIT_NOFILE)

    def allow(self, clients: int) -> None:
        soft = min(self._base + clients, self._before[0])
        prlimit(self._pid, resource.RLIMIT_NOFILE, (soft, self._before[1]))

    def lift(self) -> None:
        if not self._process.has_ended():
            with contextlib.suppress(ProcessLookupError):
                prlimit(self._pid, resource.RLIMIT_NOFILE, self._before)


class _Run:
    def __init__(self, scenario: Scenario, server, may_shed: bool):
        self._scenario = scenario
        self._server = server
        self._may_shed = may_shed
        self._room = math.inf  # descriptors for clients
        self._clients: dict[int, _RunClient] = {}
        self._timeout = server.timeout
        self._stopping = False
        self._stopped_at = 0.0
        self._is_frozen, self._in_backlog = False, 0
        # So many clients are served at a time; others may wait in the backlog.
        self._places = scenario.max_connections or math.inf
        self._cleanup = contextlib.ExitStack()
        self._frozen = self._cleanup.enter_context(contextlib.ExitStack())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._cleanup.close()

    @functools.cached_property
    def _limit(self) -> _DescriptorLimit:
        limit = _DescriptorLimit(self._server.process)
        self._cleanup.callback(limit.lift)
        return limit

    def run(self) -> None:
        if self._scenario.uses("descriptors"):
            self._server.warm_up()
            self._server.record.begin_again()
            self._limit.allow(resource.RLIM_INFINITY)  # looks while the server is idle
        for step in self._scenario.steps:
            if step.kind not in ("connect", "freeze", "thaw", "stop"):  # recorded elsewhere
                self._server.record.note(f"line {step.line}: {step.kind}")
            getattr(self, "_run_" + step.kind.replace("-", "_"))(step)
            self._move(0)
        self._let_clients_leave()
        if self._stopping:
            self._judge_drain()

    # What clients do.

    def _run_connect(self, step: Step) -> None:
        name = self._scenario.names[step.client]
        self._in_backlog += 1
        try:
            connection = self._server.connect(name, receive_buffer=step.count or None)
        except Failure:
            if self._is_frozen and self._in_backlog > backlog(self._server.process):
                raise NotRequired(f"a backlog for {self._in_backlog} clients") from None
            raise
        self._cleanup.enter_context(connection)
        self._clients[step.client] = _RunClient(step.client, name, connection)
        self._mark_who_may_be_shed()

    def _run_send(self, step: Step) -> None:
        client = self._clients[step.client]
        client.add(step.literal or generated(client.number, len(client.sent), step.count))

    def _run_urgent(self, step: Step) -> None:
        client = self._clients[step.client]
        client.urgent.add(len(client.sent))
        client.add(generated(client.number, len(client.sent), 1))

    def _run_shutdown(self, step: Step) -> None:
        self._clients[step.client].shut = True

    def _run_reset(self, step: Step) -> None:
        self._leave(self._clients[step.client], Client.reset)

    def _run_close(self, step: Step) -> None:
        client = self._clients[step.client]
        self._wait_until(lambda: not client.sends, self._server.scaled(_CLOSE_TIMEOUT_S))
        self._leave(client, Client.close)

    def _leave(self, client: _RunClient, leave) -> None:
        self._move(0)
        client.gone = True
        leave(client.connection)

    def _run_pause(self, step: Step) -> None:
        self._clients[step.client].paused = True

    def _run_resume(self, step: Step) -> None:
        self._clients[step.client].paused = False

    # What they must see.

    def _run_expect(self, step: Step) -> None:
        client = self._clients[step.client]
        begin = client.expected
        client.expected += step.count
        if is_upper() and step.literal and client.owed[begin : client.expected] != step.literal:
            due = shown(client.owed[begin : client.expected])
            message = f"the scenario expects {shown(step.literal)}, not {due}"
            self._fail(client, "kit-error", message)
        self._wait_until(lambda: client.got >= client.expected or client.end)
        if client.got < client.expected and not client.shed:
            ended = f", then {client.end.value}" if client.end else ""
            counts = f"got {client.got} of {counted(client.expected)}{ended}"
            self._fail(client, client.code, counts)

    def _run_expect_end(self, step: Step) -> None:
        self._expect_close(self._clients[step.client], ("fin",))

    def _run_expect_close(self, step: Step) -> None:
        self._expect_close(self._clients[step.client], step.closes)

    def _expect_close(self, client: _RunClient, closes) -> None:
        if "open" in closes:
            self._settle()
        else:
            self._wait_until(lambda: client.end)
        found = _CLOSES.get(client.end, "timeout")
        if found not in closes and not client.shed:
            code = WRONG_END[client.end or CloseKind.STILL_OPEN]
            if client.end and closes == ("open",):
                code = "closed-early"
            self._fail(client, code, f"expected {' or '.join(closes)}, got {found}")

    def _run_settle(self, _: Step) -> None:
        self._settle()

    def _settle(self) -> None:
        """Until the server sleeps and nothing moves; then no client may be owed anything."""
        deadline = Deadline(self._server.scaled(1))
        quiet = 0
        before = None
        while quiet < _QUIET_LOOKS and not deadline.passed():
            moved = self._move(_TICK_S)
            now = self._activity()
            quiet = quiet + 1 if now == before and not moved else 0
            before = now
        for client in () if self._stopping else self._clients.values():
            if client.got == 0 and self._may_wait(client):
                continue
            self._wait_until(lambda each=client: not each.waits)
            if client.waits:
                self._fail(client, client.code, f"waits for {client.waits}")

    def _may_wait(self, client: _RunClient) -> bool:
        """Whether the clients that are there and connected before it take all places."""
        places = min(self._places, self._room)
        before = [each for each in self._clients.values() if not each.end and not each.gone]
        return client in before[places:] if places < len(before) else False

    def _activity(self):
        """What changes while the server does anything; nothing once it is gone."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            process = self._server.process
            return process.switches() if process.is_at_rest() else object()
        return None

    # What happens to the server.

    def _run_freeze(self, _: Step) -> None:
        self._frozen.enter_context(self._server.process.stopped())
        self._is_frozen, self._in_backlog = True, 0

    def _run_thaw(self, _: Step) -> None:
        self._frozen.close()
        self._is_frozen = False

    def _run_wait(self, step: Step) -> None:
        deadline = Deadline(step.count / 1000)
        while not deadline.passed():
            self._move(min(deadline.left(), 10 * _TICK_S))

    def _run_descriptors(self, step: Step) -> None:
        self._limit.allow(step.count)
        self._room = step.count
        self._mark_who_may_be_shed()

    def _mark_who_may_be_shed(self) -> None:
        """The clients that connected when all descriptors were in use."""
        there = [client for client in self._clients.values() if not client.end]
        for before, client in enumerate(there):
            client.one_too_many |= self._may_shed and before >= self._room

    def _run_stop(self, _: Step) -> None:
        self._stopping = True
        self._stopped_at = time.monotonic()
        for client in self._clients.values():
            client.may_end = True
            if not client.gone:
                client.taken_at_stop = client.handed - client.connection.unacknowledged()
        self._server.terminate()

    # The end of every scenario: the remaining clients read on and leave.

    def _let_clients_leave(self) -> None:
        self._frozen.close()
        if self._scenario.uses("descriptors"):
            self._limit.lift()
        for client in self._clients.values():
            client.paused = False
            client.shut |= not self._stopping
        for client in self._clients.values():
            self._wait_until(lambda each=client: each.gone or each.end)
            if not client.gone and not client.end:
                self._fail(client, client.code, f"waits for {client.waits or 'the end'}")

    def _judge_drain(self) -> None:
        for client in self._clients.values():
            client.connection.close()
        drain_s = self._scenario.drain_timeout or _DRAIN_DEFAULT_S
        status = self._server.wait_for_exit(drain_s + self._timeout)
        if status is None:
            raise Failure("server-stuck", "after the stop signal the server does not end")
        early = time.monotonic() - self._stopped_at < drain_s - _EARLY_S
        if status not in (0, *([] if early else [_STATUS_SHORT])):
            message = f"after the stop signal the server {self._server.ending()}"
            raise Failure("exit-status", message)
        for client in self._clients.values():
            lost = client.taken_at_stop - client.got
            if status == 0 and not (client.gone or client.shed) and lost > 0:
                self._fail(client, client.code, f"the drain lost {counted(lost)}")

    # Bytes.

    def _wait_until(self, condition, timeout: float | None = None) -> None:
        """Let bytes move until the condition holds, or nothing has moved for `timeout`."""
        timeout = self._timeout if timeout is None else timeout
        deadline = Deadline(timeout)
        while not condition() and not deadline.passed():
            if self._move(10 * _TICK_S):
                deadline = Deadline(timeout)

    def _move(self, seconds: float) -> bool:
        """Let all clients send and read what they can, once one can; true if something moved."""
        moved = False
        poll = select.poll()
        for client in self._clients.values():
            moved |= client.sends and client.push()
            events = select.POLLIN if client.reads else 0
            events |= select.POLLOUT if client.sends else 0
            if events:
                poll.register(client.connection.fileno(), events)
        poll.poll(0 if moved else seconds * 1000)
        for client in self._clients.values():
            moved |= client.sends and client.push()
            moved |= client.reads and self._read(client)
        return moved

    def _read(self, client: _RunClient) -> bool:
        data = client.connection.receive_what_came()
        if data:
            self._judge_bytes(client, data)
            client.got += len(data)
        if client.end:
            self._judge_end(client)
        if data:
            client.moves()
        return bool(data) or client.end is not None

    # The oracle.

    def _judge_bytes(self, client: _RunClient, data: bytes) -> None:
        expected = client.owed[client.got : client.got + len(data)]
        if data != expected:
            first = first_difference(expected, data)
            offset = client.got + first
            if first == len(expected):
                message = f"unexpected data after {counted(offset)}: {shown(data[first:])}"
                self._fail(client, "unasked-data", message)
            message = difference(0, client.owed, client.owed[: client.got] + data, offset)
            self._fail(client, "wrong-byte", message)
        if client.got + len(data) > client.handed:
            more = f"got more than the {counted(client.handed)} that were sent"
            self._fail(client, "unasked-data", more)

    def _judge_end(self, client: _RunClient) -> None:
        timeout = self._scenario.idle_timeout
        expired = 0 < timeout <= client.idle() + _EARLY_S
        if client.end is CloseKind.TIMED_OUT:
            self._fail(client, "timed-out", "the connection timed out")
        if self._stopping or client.shed:
            return
        if not client.fin_sent and client.got == 0 and self._scenario.uses("descriptors"):
            raise NotRequired("a server that lets new connections wait instead of closing them")
        if not client.fin_sent:
            if not expired:
                self._fail(client, "closed-early", f"unexpected {client.end.value}")
            return
        if expired:
            return
        if client.got < len(client.owed):
            counts = f"got {client.got} of {counted(len(client.owed))}, then {client.end.value}"
            self._fail(client, client.code, counts)
        if client.end is CloseKind.RST:
            self._fail(client, "rst-for-fin", "expected FIN, got RST")

    def _fail(self, client: _RunClient, code: str, message: str):
        raise Failure(code, f"{client.name}: {message}")
