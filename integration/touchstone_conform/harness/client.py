"""One client over a real socket: what it sends, what it must see, and how its connection ended.

Bytes are judged before the close kind, so that a late RST never hides a lost byte. Every wait is
bounded by `timeout` seconds without progress, and by ten times as long in all. What is received is
bounded by what was sent.
"""

from __future__ import annotations

import enum
import errno
import fcntl
import select
import socket
import struct
import termios
import time

from touchstone_conform.failure import Failure
from touchstone_conform.foundations import STREAM_FROM
from touchstone_conform.harness.exchange import Exchange
from touchstone_conform.harness.skips import SkipReason, limit_of
from touchstone_conform.harness.waiting import Deadline
from touchstone_conform.transform import answer

SOON_S = 0.5  # what is done at once takes less on any machine that is not slow

_CHUNK = 1 << 16
_READ = select.POLLIN
_WRITE = select.POLLOUT
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_SHOWN = 24
_PROBE = 8  # so many bytes in a row are looked for elsewhere in the stream
# More than the answer to all that it sent: a server that sends for ever must not fill our memory.
_UNASKED_MAX = 1 << 20
_UNACKED_AT = 24  # in struct tcp_info (source: linux/tcp.h)
# How much longer a whole answer may take than its timeout, however often a byte of it comes.
_DRIBBLE_FACTOR = 10


class CloseKind(enum.Enum):
    """How a connection looks from the client's side."""

    FIN = "FIN"
    RST = "RST"
    TIMED_OUT = "timeout"
    STILL_OPEN = "no end"


# What fails where another end was due.
WRONG_END = {
    CloseKind.FIN: "fin-for-rst",
    CloseKind.RST: "rst-for-fin",
    CloseKind.TIMED_OUT: "timed-out",
    CloseKind.STILL_OPEN: "still-open",
}


_END_OF_ERROR = {
    errno.ECONNRESET: CloseKind.RST,
    errno.EPIPE: CloseKind.RST,
    errno.ETIMEDOUT: CloseKind.TIMED_OUT,
}


class Client:
    """A connection to the server under test; closes with its `with` block."""

    def __init__(
        self,
        address,
        *,
        name="client",
        timeout=5.0,
        soon=SOON_S,
        receive_buffer=None,
        send_buffer=None,
        new_socket=socket.socket,
        record=None,
    ):
        self.name = name
        self.record = record or Exchange()
        self.number = self.record.new_client()
        self.timeout = timeout
        self._soon = soon
        self.end = None  # a CloseKind once the connection ended
        self.finished = False  # reading has reached the end
        self._may_end = False  # we ended our direction, or wait for the server's end
        self._reset_was_reported = False
        self._sent = self._received = 0  # bytes, in all
        self._reads = True
        self._left = False
        self._footing = self.record.footing
        if self.record.connected:
            self._footing.require("neighbours")
        self._note("connect", count=receive_buffer or 0)
        self._socket = _connect(address, timeout, receive_buffer, send_buffer, new_socket)
        self.record.connected.add(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Close, but for a server that does not outlive RST: then it is ended first."""
        if self._left or not self._would_reset() or self._may_reset():
            self._close()

    @property
    def address(self):
        """The address of this end of the connection."""
        return self._socket.getsockname()

    def fileno(self) -> int:
        return self._socket.fileno()

    # Actions.

    def send(self, data: bytes) -> None:
        """Send all of `data` without reading; for what fits the kernel's buffers."""
        sent = 0
        latest = self._latest()
        while sent < len(data):
            if latest.passed() or not self._ready(_WRITE, self.timeout):
                self.fail("not-read", f"the server read {sent} of {len(data)} bytes")
            sent += self._send_some(data[sent:])
            if self.end:
                ended = f"sent {sent} of {len(data)} bytes, then got {self.end.value}"
                self.fail("closed-early", ended)

    def send_what_fits(self, data: bytes) -> int:
        """Send what the kernel accepts at once; return the count."""
        sent = 0
        while sent < len(data) and self._ready(_WRITE, 0) and not self.end:
            sent += self._send_some(data[sent:])
        return sent

    def send_urgent(self, byte: bytes) -> int:
        """Send one byte as urgent data; return how many were sent."""
        return self._send_some(byte, socket.MSG_OOB)

    def send_until_blocked(self, data: bytes, quiet: float) -> int:
        """Send `data` without reading until none is taken for `quiet` seconds; return the count."""
        self._footing.require("idle", "stall")
        return self.send_while_taken(data, quiet)

    def send_while_taken(self, data: bytes, quiet: float) -> int:
        """The same, to a server that may take all of it."""
        self._stall()
        sent = 0
        while sent < len(data) and not self.end and self._ready(_WRITE, quiet):
            sent += self._send_some(data[sent : sent + _CHUNK])
        return sent

    def unacknowledged(self) -> int:
        """How many of the bytes sent the peer's kernel has not acknowledged."""
        return struct.unpack("i", fcntl.ioctl(self._socket, termios.TIOCOUTQ, b"\0\0\0\0"))[0]

    def in_flight(self) -> int:
        """How many segments are on their way to the peer's kernel, or were lost (tcpi_unacked)."""
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED_AT + 4)
        return struct.unpack_from("I", info, _UNACKED_AT)[0]

    def send_past_the_end(self, data: bytes) -> CloseKind | None:
        """Send after the peer ended its direction; RST if it refuses the bytes, else None."""
        end, self.end = self.end, None
        sent = 0
        while sent < len(data) and not self.end and self._ready(_WRITE, self.timeout):
            sent += self._send_some(data[sent:])
        refused, self.end = self.end, end
        return refused

    def acknowledge_late(self) -> None:
        """Let the kernel delay acknowledgements, as it does in a dialogue."""
        if hasattr(socket, "TCP_QUICKACK"):  # Linux
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)

    def shutdown(self) -> None:
        """Send FIN; the client can still read."""
        self._footing.require("fin", *["data-and-fin"] * self._is_owed())
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise
            return  # it was reset before: reading reports that, and what came until then
        self._may_end = True
        self._note("FIN")

    def reset(self) -> None:
        """End the connection with RST."""
        self._footing.require(*self._for_rst())
        self._leave("RST")
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._socket.close()

    def close(self) -> None:
        """Close: the kernel sends RST if unread bytes are left, else FIN."""
        if not self._left and not self.end:
            self._footing.require("fin", *self._for_rst() * self._would_reset())
        self._close()

    def _close(self):
        if not self._left and not self.end:
            self._leave("close")
        self.drop()

    def drop(self) -> None:
        """Close without a word, once the server has ended."""
        self.record.connected.discard(self)
        self._socket.close()

    def leave(self) -> None:
        """End a connection that has all its answers, by a kind of end that works; else stay.

        For tests that judge something else than ends. That nothing but FIN comes is judged: where
        it comes in general, what this client did before was the reason.
        """
        if self.end:
            self._close()
        elif self._leaves_by_fin():
            began = time.monotonic()
            self.shutdown()
            self.expect_end()
            self._close()
            self._footing.fin_is_slow = time.monotonic() - began > self._soon
        else:
            self.expect_quiet(0)
            if self._may_reset():
                self.reset()

    def _leaves_by_fin(self) -> bool:
        slow = self._footing.fin_is_slow and self._may_reset()
        return not slow and self._footing.holds("fin") and self._footing.holds("farewell")

    def _may_reset(self) -> bool:
        return all(map(self._footing.holds, self._for_rst()))

    def _is_owed(self) -> bool:
        """Whether answers are due that have not come."""
        return self._received < self._sent and not self.end

    def _for_rst(self) -> list[str]:
        """What the server has to outlive: behind FIN, its next write fails with EPIPE."""
        return ["reset", *["broken-pipe"] * (self._may_end and self._is_owed())]

    def _would_reset(self) -> bool:
        """Whether closing sends RST: bytes came that were not read, or will come."""
        return not self.end and (self._is_owed() or bool(self._ready(_READ, 0)))

    def _leave(self, how: str) -> None:
        self._left = True
        self.record.connected.discard(self)
        self._note(how)

    def _stall(self) -> None:
        if self._reads:
            self._note("stall")
        self._reads = False

    def _await(self, what: str, count: int = 0) -> None:
        if not self._reads:
            self._footing.require("resume")
        self._reads = True
        self._note(what, count=count)

    # Expectations.

    def receive(self, count: int, seconds: float | None = None) -> bytes:
        """The next `count` bytes; fewer if the connection ended or nothing came for `seconds`
        (default: the timeout)."""
        seconds = self.timeout if seconds is None else seconds
        self._await("expect", count)
        received = bytearray()
        latest = self._latest()
        while len(received) < count and not self.end and self._ready(_READ, seconds):
            received += self._receive_some(count - len(received))
            self._judge_pace(latest, len(received), count)
        return bytes(received)

    def _latest(self) -> Deadline:
        return Deadline(_DRIBBLE_FACTOR * self.timeout)

    def _judge_pace(self, latest: Deadline, received: int, due: int | None) -> None:
        if latest.passed() and not self.end:
            limit = _DRIBBLE_FACTOR * self.timeout
            got = counted(received) if due is None else f"{received} of {counted(due)}"
            self.fail("slow", f"got {got} within {limit:g} s")

    def receive_what_came(self) -> bytes:
        """All that has come by now, perhaps nothing; `end` is set if that was the end."""
        received = bytearray()
        while not self.finished and self._ready(_READ, 0):
            received += self._receive_some(_CHUNK)
        return bytes(received)

    def expect(self, expected: bytes) -> None:
        """The next bytes are `expected`, and they come."""
        self.judge_bytes(expected, self.receive(len(expected)))

    def ping(self, data: bytes = b"ping") -> float:
        """Send `data` and expect its answer; return the seconds that took."""
        began = time.monotonic()
        self.send(data)
        self.expect(answer(data))
        return time.monotonic() - began

    def exchange(self, data: bytes, *, shutdown: bool = False, before: bytes = b"") -> None:
        """Send `data` while reading, then FIN if `shutdown`; expect its answer, and FIN for FIN.

        `before` was sent already, and is not answered yet.
        """
        due = answer(before + data)
        received = bytearray()
        sent = 0
        latest = self._latest()
        finished = not shutdown
        while not self.end and (sent < len(data) or not finished or len(received) < len(due)):
            if sent == len(data) and not finished:
                self.shutdown()
                finished = True
            ready = self._ready(_READ | (_WRITE if sent < len(data) else 0), self.timeout)
            if not ready:
                break
            if ready & ~_WRITE:
                received += self._receive_some(_CHUNK)
            if ready & _WRITE and not self.end:
                sent += self._send_some(data[sent : sent + _CHUNK])
            self._judge_pace(latest, len(received), len(due))
        if shutdown:
            self.expect_end(due, already=bytes(received))
        else:
            self._await("expect" if len(received) < len(due) else "expected", len(due))
            self.judge_bytes(due, bytes(received))

    def expect_end(self, expected=b"", *, allowed=(CloseKind.FIN,), already=b"") -> None:
        """`already` and all that still comes make `expected`; then comes an allowed end."""
        self._footing.require("farewell")
        received, kind = self.read_to_end(len(expected) - len(already))
        self.judge_bytes(expected, already + received)
        self.judge_end(kind, allowed)

    def read_to_end(self, due: int | None = None):
        """All bytes that still come, or one chunk more than are `due`, and how the connection
        ended."""
        self._may_end = True
        self._await("expect end")
        received = bytearray()
        latest = self._latest()
        while not self.end and (due is None or len(received) <= due):
            if not self._ready(_READ, self.timeout):
                return bytes(received), CloseKind.STILL_OPEN
            received += self._receive_some(_CHUNK)
            self._judge_pace(latest, len(received), due)
        return bytes(received), self.end or CloseKind.STILL_OPEN

    def read_to_fin(self) -> None:
        """All that still comes, whatever it is; then comes FIN."""
        _, kind = self.read_to_end()
        self.judge_end(kind)

    def expect_quiet(self, seconds: float) -> None:
        """Nothing comes for `seconds`, not even an end."""
        self._await("quiet", round(seconds * 1000))
        if not self.end and self._ready(_READ, seconds):
            received = self._receive_some(_CHUNK)
            if self.end:
                self.fail("closed-early", f"unexpected {self.end.value}")
            self.fail("unasked-data", f"unexpected data: {shown(received)}")

    # Failures.

    def judge_end(self, kind: CloseKind, allowed=(CloseKind.FIN,)) -> None:
        """Fail unless the connection ended in an allowed way."""
        if kind not in allowed:
            expected = " or ".join(each.value for each in allowed)
            self.fail(WRONG_END[kind], f"expected {expected}, got {kind.value}")

    def judge_bytes(self, expected: bytes, received: bytes) -> None:
        """Fail unless both are the same; say where they differ first."""
        if received == expected:
            return
        first = first_difference(expected, received)
        ended = f", then {self.end.value}" if self.end else ""
        code = self._code_of(expected, received, first)
        message = f"got {len(received)} of {counted(len(expected))}{ended}"
        if code == "wrong-byte" and len(received) == len(expected) and answer(received) == expected:
            message += "; the bytes came back unmapped: a plain echo needs --transform identity"
        elif code == "wrong-byte":
            begin = max(0, self._received - len(received))  # offsets are of the whole stream
            message += f"; {difference(begin, expected, received, first)}"
        elif code == "unasked-data":
            message = f"unexpected data after {counted(first)}: {shown(received[first:])}{ended}"
        self.fail(code, message)

    def _code_of(self, expected, received, first):
        if first < len(received):
            return "wrong-byte" if first < len(expected) else "unasked-data"
        if self.end and not self._may_end:
            return "closed-early"
        return "short-answer" if received else "no-answer"

    def fail(self, code: str, message: str):
        self._note("failed")
        raise Failure(code, f"{self.name}: {message}")

    # The socket itself.

    def _ready(self, events: int, seconds: float) -> int:
        """Which of `events` are ready within `seconds`; an error or hang-up counts as readable."""
        poll = select.poll()
        poll.register(self._socket, events)
        ready = poll.poll(seconds * 1000)
        if not ready:
            return 0
        return ready[0][1]

    def _send_some(self, data: bytes, flags: int = 0) -> int:
        if self._sent + len(data) > STREAM_FROM:
            self._footing.require("stream")
        try:
            count = self._socket.send(data, flags)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._ended(error)
            return 0
        self._sent += count
        self._note("urgent" if flags else "send", data[:count])
        return count

    def _receive_some(self, most: int) -> bytes:
        try:
            data = self._socket.recv(most)
        except BlockingIOError:
            return b""
        except OSError as error:
            self.finished = True
            self._ended(error)
            return b""
        if not data:
            self.finished = True
            if not self._reset_was_reported:
                self.end = CloseKind.FIN
                self._note("receive FIN")
        else:
            self._note("receive", data)
            self._received += len(data)
            if self._received > self._sent + _UNASKED_MAX:
                sent, received = counted(self._sent), counted(self._received)
                self.fail("unasked-data", f"got {received} and still receiving; sent {sent}")
        return data

    def _ended(self, error: OSError) -> None:
        if error.errno not in _END_OF_ERROR:
            raise error
        self.end = _END_OF_ERROR[error.errno]
        self.record.connected.discard(self)
        # An error is reported once: if a send met it, reading then ends as it does for FIN. With
        # EPIPE that may be true: RST came after FIN.
        self._reset_was_reported = error.errno != errno.EPIPE
        self._note(f"receive {self.end.value}")

    def _note(self, what: str, data: bytes = b"", count: int = 0) -> None:
        self.record.note(what, self, count, data)


def _connect(address, timeout, receive_buffer, send_buffer, new_socket):
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    connection = new_socket(family, socket.SOCK_STREAM)
    # Buffer sizes count only before the connection is made: they bound the window that is offered.
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if send_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(timeout)
    try:
        connection.connect(address)
    except OSError as error:
        connection.close()
        if limit := limit_of(error):
            raise limit from error
        where = f"{address[0]} port {address[1]}"
        raise Failure("cannot-connect", f"cannot connect to {where}: {error}") from error
    connection.setblocking(False)
    return connection


def first_difference(expected, received) -> int:
    """The offset of the first byte that differs, or is missing in one of them."""
    shared = min(len(expected), len(received))
    return next((i for i in range(shared) if expected[i] != received[i]), shared)


def difference(begin: int, expected, received, first: int) -> str:
    """A message on bytes that differ from index `first` on; `begin` is the offset of index 0."""
    offset = begin + first
    found = f"expected {shown(expected[first:])}, got {shown(received[first:])}"
    cause = _cause(begin, bytes(expected), bytes(received), first)
    return f"first difference at offset {offset}: {found}{cause}"


def _cause(begin, expected, received, first) -> str:
    """What came instead, looked up in what was expected; empty if it is not there for sure."""
    came, due = received[first : first + _PROBE], expected[first : first + _PROBE]
    if len(came) < _PROBE or expected.count(came) != 1:
        return ""
    place, offset = expected.find(came), begin + first
    if place < first:
        return f"; {counted(first - place)} duplicated from offset {begin + place}"
    if received.find(due, first) >= 0:
        return f"; reordered from offset {offset}"
    return f"; {counted(place - first)} lost at offset {offset}"


def counted(bytes_: int) -> str:
    return "1 byte" if bytes_ == 1 else f"{bytes_} bytes"


def shown(data: bytes) -> str:
    """The first bytes, to be read by people."""
    if not data:
        return "nothing"
    return repr(bytes(data[:_SHOWN])) + (" …" if len(data) > _SHOWN else "")
