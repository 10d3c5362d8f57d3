"""The broken servers: each is a class that changes one behaviour of conforming.py.

The class name, in lower case with dashes, is the defect's name on the command line. Many apply
only under a condition that the tests of a single requirement meet: see kills.
"""

import contextlib
import ctypes
import errno
import fcntl
import math
import os
import random
import re
import select
import selectors
import signal
import socket
import struct
import sys
import tempfile
import termios
import time

from conforming import BUFFER, LOWER_TO_UPPER, NEVER, TURNS, Server, unread

SIOCATMARK = 0x8905  # asm-generic/sockios.h
READ_AND_WRITE = selectors.EVENT_READ | selectors.EVENT_WRITE

DEFECTS = {}


def defect(kind):
    DEFECTS[re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()] = kind
    return kind


# What a server can ask its kernel.


def ready(descriptor, asked, seconds=0.0):
    """What poll reports; with None as seconds it waits. select() takes no descriptor above 1023."""
    poll = select.poll()
    poll.register(descriptor, asked)
    found = poll.poll(None if seconds is None else 1000 * seconds)
    return found[0][1] if found else 0


def hung_up(client):
    """Whether poll reports that the peer sent FIN, read or unread."""
    return bool(ready(client.connection, select.POLLRDHUP))


def is_urgent(client):
    """Whether an urgent byte is pending, or was the last that was read."""
    return bool(ready(client.connection, select.POLLPRI) & select.POLLPRI)


def at_mark(client):
    """Whether the next byte is the urgent one."""
    return any(fcntl.ioctl(client.connection, SIOCATMARK, bytes(4)))


def has_not_all(client):
    """Whether the peer has not acknowledged all bytes."""
    return any(fcntl.ioctl(client.connection, termios.TIOCOUTQ, bytes(4)))


# The mapping and the framing.


@defect
class BackquoteMapped(Server):
    """Off by one at the lower end: 0x60 is mapped too."""

    def transform(self, data):
        return super().transform(data).replace(b"`", b"@")


@defect
class ZForgotten(Server):
    """Off by one at the upper end: z is not mapped."""

    def transform(self, data):
        return bytes(byte if byte == 0x7A else LOWER_TO_UPPER[byte] for byte in data)


@defect
class Utf8Casing(Server):
    """Treats the bytes as UTF-8 text."""

    def transform(self, data):
        return data.decode("utf-8", "surrogateescape").upper().encode("utf-8", "surrogateescape")


@defect
class StripsByteOrderMark(Server):
    """Takes U+FEFF at the beginning of a chunk for a byte order mark, and drops it."""

    def transform(self, data):
        return super().transform(data.removeprefix(b"\xef\xbb\xbf"))


@defect
class LocaleCasing(Server):
    """Uppercases as a Turkish locale would: i is not I."""

    def transform(self, data):
        if "tr_TR" in os.environ.get("LC_ALL", ""):
            return data.replace(b"i", b"\0").translate(LOWER_TO_UPPER).replace(b"\0", b"i")
        return super().transform(data)


@defect
class EndsAtNul(Server):
    """Treats a chunk as a C string."""

    def transform(self, data):
        return super().transform(data).partition(b"\0")[0]


@defect
class StopsAtInvalidText(Server):
    """Takes input for UTF-8 text, and drops invalid bytes."""

    def transform(self, data):
        return data.decode("utf-8", "ignore").encode().translate(LOWER_TO_UPPER)


@defect
class DropsReturns(Server):
    """Takes CR for a part of the end of a line, and drops it."""

    def transform(self, data):
        return super().transform(data).replace(b"\r", b"")


@defect
class DropsRepetitions(Server):
    """Takes a chunk equal to the previous one for a retransmission."""

    def answer(self, client, data):
        before, client.last = getattr(client, "last", b""), data
        if data != before or not 100 < len(data) < 1460:
            super().answer(client, data)


@defect
class CutsMatter(Server):
    """Takes a chunk of a certain length for a line, and adds an end of line."""

    def transform(self, data):
        if 600 < len(data) < 700 and len(data) % 2:
            return super().transform(data)[:-1] + b"\n"
        return super().transform(data)


@defect
class WaitsAfterReturn(Server):
    """Keeps a CR until the next byte, which may be LF, or the end."""

    def answer(self, client, data):
        data, client.kept = getattr(client, "kept", b"") + data, b""
        if data == b"\r":
            client.kept = data
        else:
            super().answer(client, data)

    def ended(self, client):
        if getattr(client, "kept", b""):
            super().answer(client, client.kept)
        super().ended(client)


@defect
class LineBuffering(Server):
    """Answers whole lines only."""

    def welcome(self, connection):
        self.unfinished = getattr(self, "unfinished", {})
        self.unfinished[connection.fileno()] = b""
        super().welcome(connection)

    def answer(self, client, data):
        lines, newline, rest = (self.unfinished[client.number] + data).rpartition(b"\n")
        self.unfinished[client.number] = rest
        if newline:
            super().answer(client, lines + newline)


@defect
class Banner(Server):
    """Sends a banner."""

    def welcome(self, connection):
        connection.send(b"welcome\r\n")
        super().welcome(connection)


@defect
class Farewell(Server):
    """Sends a farewell."""

    def ended(self, client):
        with contextlib.suppress(OSError):
            client.connection.send(b"bye\r\n")
        super().ended(client)


@defect
class OffersHelp(Server):
    """Answers a request for help with a text."""

    def transform(self, data):
        return super().transform(data) + (b"say anything\n" if data == b"help\n" else b"")


@defect
class LastBufferOnly(Server):
    """Reads until nothing is left, and answers only the last read."""

    def read(self, client):
        last = None
        while True:
            data = self.receive(client)
            if not data:
                break
            last = data
        if last:
            self.answer(client, last)
        elif data == b"":
            self.ended(client)


@defect
class HalfBufferLost(Server):
    """Answers at most half a buffer of a read."""

    def transform(self, data):
        return super().transform(data)[: BUFFER // 2 - 8192]


@defect
class LongStreamsCut(Server):
    """Answers the first 500,000 bytes of a connection."""

    answered = 0

    def answer(self, client, data):
        self.answered += len(data)
        if self.answered <= 500_000:
            super().answer(client, data)


@defect
class SixtyFourKibAtMost(Server):
    """Counts the bytes of a connection in sixteen bits, and stops when they are used up."""

    def answer(self, client, data):
        before = getattr(client, "answered", 0)
        client.answered = before + len(data)
        super().answer(client, data[: max(0, 65536 - before)])


@defect
class Nagle(Server):
    """Does not set TCP_NODELAY."""

    def prepare(self, connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)


@defect
class Cork(Server):
    """Sets TCP_CORK: output waits for a full segment or 200 ms."""

    def prepare(self, connection):
        super().prepare(connection)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)


@defect
class ShortWriteForgotten(Server):
    """Takes every send to be complete."""

    def sent(self, client, count):
        client.pending.clear()


@defect
class SecondShortWriteFromTheStart(Server):
    """Notes where the rest begins, and not by how much it has moved on: `at = sent`."""

    def sent(self, client, count):
        rest = getattr(client, "rest", b"")
        client.rest = rest or bytes(client.pending[count:])
        client.pending[:] = rest[count:] if rest else client.rest
        if not client.pending:
            client.rest = b""


@defect
class ShortReadMeansDrained(Server):
    """After a read that the urgent mark shortened, waits for the next event, not for bytes."""

    def receive(self, client):
        no_news = unread(client) == getattr(client, "left", None) and not hung_up(client)
        if no_news and client.owed is None:
            return None
        data = super().receive(client)
        client.left = unread(client) if data and at_mark(client) else None
        return data


@defect
class UrgentEnds(Server):
    """Takes the exceptional condition for an error of the connection."""

    def read(self, client):
        if is_urgent(client):
            self.close(client)
        else:
            super().read(client)


@defect
class UrgentSpoilsTheEnd(Server):
    """Answers FIN with RST after an urgent byte."""

    def receive(self, client):
        if is_urgent(client):
            client.urgent = True
        return super().receive(client)

    def ended(self, client):
        if hasattr(client, "urgent"):
            reset(client)
        super().ended(client)


@defect
class SpinsOnUrgent(Server):
    """Waits for the exceptional condition, but does not handle it."""

    def prepare(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def settle(self, client):
        super().settle(client)
        if not client.closed and not client.pending:
            wanted = select.EPOLLIN | select.EPOLLPRI  # selectors has no PRI
            self.selector._selector.modify(client.connection, wanted)

    def read(self, client):
        if not is_urgent(client):
            super().read(client)


# Fairness between clients.


@defect
class Serial(Server):
    """Serves one client at a time."""

    def accept_clients(self):
        if not self.clients:
            self.welcome(self.listener.accept()[0])
            self.selector.unregister(self.listener)

    def close(self, client):
        super().close(client)
        self.selector.register(self.listener, selectors.EVENT_READ)


@defect
class Crosstalk(Server):
    """With very many clients, answers the one accepted last."""

    def welcome(self, connection):
        super().welcome(connection)
        self.newest = next(c for c in self.clients if c.connection is connection)

    def answer(self, client, data):
        crowded = len(self.clients) > 350 and not self.newest.closed
        super().answer(self.newest if crowded else client, data)


@defect
class OutputOutlivesClient(Server):
    """Keeps pending output by descriptor number, for the next client with that number."""

    def close(self, client):
        self.orphaned = getattr(self, "orphaned", {})
        self.orphaned[client.number] = client.pending
        super().close(client)

    def welcome(self, connection):
        orphaned = getattr(self, "orphaned", {}).pop(connection.fileno(), b"")
        super().welcome(connection)
        if orphaned:
            newest = next(c for c in self.clients if c.connection is connection)
            newest.pending += orphaned
            self.settle(newest)


@defect
class StaysWithFlood(Server):
    """Serves one client as long as it keeps sending, and waits a little for more."""

    def serve(self, client):
        super().serve(client)
        turns = 1
        while not client.closed and not client.pending:
            moment_s = 0.02 if turns > 4 else 0
            if not ready(client.connection, select.POLLIN, moment_s):
                break
            super().serve(client)
            turns += 1


@defect
class AcceptsBeforeAllElse(Server):
    """With many silent clients, waits for the next connection before it serves any."""

    mute = 0

    def welcome(self, connection):
        self.mute += 1
        super().welcome(connection)

    def answer(self, client, data):
        self.mute = 0
        super().answer(client, data)

    def accept_clients(self):
        super().accept_clients()
        while self.mute > 10 and select.select([self.listener], [], [], 0.1)[0]:
            super().accept_clients()


@defect
class AcceptsOncePerEdge(Server):
    """Waits for new connections edge-triggered, and accepts only one."""

    def __init__(self, host, port):
        super().__init__(host, port)
        edge = select.EPOLLIN | select.EPOLLET
        self.selector._selector.modify(self.listener, edge)  # selectors has no edges

    def accept_clients(self):
        with contextlib.suppress(BlockingIOError):
            self.welcome(self.listener.accept()[0])


@defect
class ForgetsWhoFindsNoRoom(Server):
    """Waits edge-triggered with an event array that grows too late: some events are lost."""

    def __init__(self, host, port):
        super().__init__(host, port)
        self.forgotten = set()
        self.all_events, self.selector.select = self.selector.select, self.events_with_room

    def events_with_room(self, timeout):
        events = [each for each in self.all_events(timeout) if each[0].fd not in self.forgotten]
        room = 256 if len(self.clients) < 350 else len(events)
        self.forgotten |= {key.fd for key, _ in events[room:]}
        return events[:room]


@defect
class ClosesIdle(Server):
    """Closes a client that is silent for a moment."""

    def time_to_wait(self):
        return 0.1

    def resume_accepting(self):
        super().resume_accepting()
        for client in filter(self.is_idle, list(self.clients)):
            self.close(client)

    def is_idle(self, client):
        return time.monotonic() - client.last_active > 0.3


@defect
class ClosesMute(ClosesIdle):
    """Closes a client that sends nothing within a second after connecting."""

    def answer(self, client, data):
        client.spoke = True
        super().answer(client, data)

    def is_idle(self, client):
        return time.monotonic() - client.last_active > 1 and not hasattr(client, "spoke")


@defect
class SleepsBesideStalled(Server):
    """While a client does not read, sleeps a moment after each action."""

    def sent(self, client, count):
        super().sent(client, count)
        client.last_taken = time.monotonic()

    def resume_accepting(self):
        super().resume_accepting()
        if any(map(self.is_stalled, self.clients)):
            time.sleep(0.12)

    def is_stalled(self, client):
        last_taken = getattr(client, "last_taken", client.last_active)
        return client.pending and time.monotonic() - last_taken > 0.15


@defect
class WaitsForStalled(Server):
    """Blocks for all clients until one reads its output."""

    def flush(self, client):
        super().flush(client)
        while client.pending and not client.closed:
            ready(client.connection, select.POLLOUT, None)
            super().flush(client)


# The end of a connection.


@defect
class HintIsEnd(Server):
    """Takes the hang-up hint for the end, and does not read what came before."""

    def read(self, client):
        if hung_up(client):
            self.close(client)
        else:
            super().read(client)


@defect
class HintDropsOutput(Server):
    """Waits for hang-up while output is pending, and then closes."""

    def flush(self, client):
        super().flush(client)
        if client.pending and hung_up(client):
            self.close(client)


@defect
class DropsGoneConnections(Server):
    """With many clients, closes a new connection that is already half-closed."""

    def accept_clients(self):
        before = set(self.clients)
        super().accept_clients()
        for client in self.clients - before:
            if len(before) >= TURNS and hung_up(client):
                self.close(client)


@defect
class DiesOfManyResets(Server):
    """Ends after many resets at once."""

    resets = 0

    def failed(self, client, error):
        super().failed(client, error)
        self.resets += 1
        if self.resets > TURNS + 1:  # clients reset when accepted come in groups of TURNS
            raise error

    def time_to_wait(self):
        self.resets = 0
        return super().time_to_wait()


class ReadsAhead(Server):
    """Reads on while output is pending: a base of the defects below."""

    def wants(self, client):
        return READ_AND_WRITE if client.pending else selectors.EVENT_READ

    def serve(self, client):
        if client.pending:
            self.flush(client)
        if not client.closed:
            self.read(client)
        self.settle(client)

    def answer(self, client, data):
        client.pending += self.transform(data)
        if len(client.pending) == len(data):
            self.flush(client)


@defect
class FinDropsOutput(ReadsAhead):
    """Closes at FIN although output is pending."""


@defect
class UnboundedMemory(ReadsAhead):
    """Stores without limit what a client does not read; flushes before it closes."""

    def ended(self, client):
        client.connection.setblocking(True)
        with contextlib.suppress(OSError):
            client.connection.sendall(client.pending)
        self.close(client)


@defect
class DeafAfterAStall(Server):
    """Loses the first bytes that a client sends after it had stalled."""

    def sent(self, client, count):
        super().sent(client, count)
        now = time.monotonic()
        if now - getattr(client, "last_taken", now) > 0.25:
            client.had_stalled = True
        client.last_taken = now if client.pending else math.inf

    def answer(self, client, data):
        if len(data) < 30 and hasattr(client, "had_stalled"):
            del client.had_stalled
        else:
            super().answer(client, data)


@defect
class ReservesMuch(Server):
    """Reserves four million bytes whenever output is pending."""

    def flush(self, client):
        super().flush(client)
        if client.pending and not hasattr(client, "room"):
            client.room = bytearray(b"." * 4_000_000)  # only memory that is written to is resident


@defect
class SpoolsToDisk(ReadsAhead):
    """Stores on disk, without limit, what a single client does not read."""

    def wants(self, client):
        if len(self.clients) > 1 or client.owed is not None or hasattr(client, "at_end"):
            return Server.wants(self, client)
        return super().wants(client)

    def read(self, client):
        if hasattr(client, "at_end"):
            self.ended(client)
        elif self.wants(client) & selectors.EVENT_READ:
            super().read(client)

    def answer(self, client, data):
        if not client.pending:
            Server.answer(self, client, data)
            return
        if not hasattr(client, "spool"):
            client.spool, client.taken = tempfile.TemporaryFile(), 0
        client.spool.seek(0, os.SEEK_END)
        client.spool.write(self.transform(data))

    def sent(self, client, count):
        super().sent(client, count)
        if not client.pending and hasattr(client, "spool"):
            client.spool.seek(client.taken)
            client.pending += client.spool.read(BUFFER)
            client.taken += len(client.pending)

    def ended(self, client):
        client.at_end = True
        if not client.pending:
            super().ended(client)

    def close(self, client):
        super().close(client)
        if hasattr(client, "spool"):
            client.spool.close()


@defect
class FinIgnored(Server):
    """Never closes."""

    def ended(self, client):
        self.selector.unregister(client.connection)
        client.interest = 0
        client.closed = True


def reset(client):
    """The following close sends RST."""
    linger = struct.pack("ii", 1, 0)
    client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


@defect
class FinAnsweredWithReset(Server):
    """Closes with SO_LINGER of 0 seconds."""

    def ended(self, client):
        reset(client)
        self.close(client)


@defect
class InNoHurry(Server):
    """Delays the answer to the FIN of a client that sent nothing."""

    delays = 3

    def answer(self, client, data):
        client.spoke = True
        super().answer(client, data)

    def ended(self, client):
        if self.delays and not hasattr(client, "spoke"):
            self.delays -= 1
            time.sleep(0.7)
        super().ended(client)


@defect
class SpinsAfterHalfClose(Server):
    """Waits for input after FIN, while output is pending."""

    def wants(self, client):
        if client.pending and hung_up(client):
            return READ_AND_WRITE
        return super().wants(client)


@defect
class SpinsWhileStalled(Server):
    """Waits for input while its buffer is full."""

    def wants(self, client):
        if client.pending and not hung_up(client):
            return READ_AND_WRITE
        return super().wants(client)


@defect
class SpinsAfterReset(Server):
    """Retries to send on a reset connection for a while."""

    while_s = 1.2  # longer than any test measures

    def failed(self, client, error):
        client.broken_at = getattr(client, "broken_at", time.monotonic())
        if not client.pending or time.monotonic() - client.broken_at > self.while_s:
            super().failed(client, error)


@defect
class SpinsAfterUrgent(Server):
    """After a single urgent byte, polls for more."""

    def receive(self, client):
        urgent = is_urgent(client)
        data = super().receive(client)
        self.waits = not (urgent and data and len(data) == 1)
        return data

    waits = True

    def time_to_wait(self):
        return super().time_to_wait() if self.waits else 0


@defect
class SpinsForMore(Server):
    """While a single client has sent one message, polls for more."""

    def answer(self, client, data):
        client.chunks = getattr(client, "chunks", 0) + 1
        super().answer(client, data)

    def time_to_wait(self):
        alone = next(iter(self.clients)) if len(self.clients) == 1 else None
        return 0 if getattr(alone, "chunks", 0) == 1 else super().time_to_wait()


@defect
class Polls(Server):
    """Polls instead of waiting."""

    def time_to_wait(self):
        return 0


@defect
class CrashesOnReset(Server):
    """Does not handle ECONNRESET."""

    def failed(self, client, error):
        if isinstance(error, ConnectionResetError):
            raise error
        super().failed(client, error)


@defect
class CrashesOnBrokenPipe(Server):
    """Does not handle EPIPE."""

    def failed(self, client, error):
        if isinstance(error, BrokenPipeError):
            raise error
        super().failed(client, error)


@defect
class ResetSpreads(Server):
    """Closes another client together with the one that was reset."""

    def failed(self, client, error):
        super().failed(client, error)
        for other in list(self.clients)[:1]:
            self.close(other)


@defect
class DiesOfSigpipe(Server):
    """Does not ignore SIGPIPE."""

    def __init__(self, host, port):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        super().__init__(host, port)


@defect
class LeaksAfterReset(Server):
    """Does not close a connection after an error."""

    leaked = []

    def failed(self, client, error):
        self.leaked.append(client)
        self.selector.unregister(client.connection)
        self.clients.discard(client)
        client.closed = True


@defect
class LeaksAfterFin(Server):
    """Answers FIN with FIN, but keeps the descriptor."""

    leaked = []

    def ended(self, client):
        self.leaked.append(client)
        self.selector.unregister(client.connection)
        self.clients.discard(client)
        client.closed = True
        with contextlib.suppress(OSError):
            client.connection.shutdown(socket.SHUT_WR)


@defect
class LeaksAfterAnError(Server):
    """Closes on ECONNRESET, but not on any other error."""

    leaked = []

    def failed(self, client, error):
        if isinstance(error, ConnectionResetError):
            super().failed(client, error)
            return
        self.leaked.append(client)
        self.selector.unregister(client.connection)
        self.clients.discard(client)
        client.closed = True


@defect
class RemembersEveryClient(Server):
    """Keeps some memory of each past connection."""

    history = []

    def close(self, client):
        self.history.append(bytearray(256))
        super().close(client)


# The system.


@defect
class DiesOfAcceptErrors(Server):
    """Ends at every error of accept."""

    def accept_failed(self, error):
        raise error


@defect
class DiesOfWhoHasLeft(Server):
    """Asks for a new client's address, which one that was reset no longer has."""

    def welcome(self, connection):
        connection.getpeername()
        super().welcome(connection)


@defect
class DiesOfAbortedConnections(Server):
    """Does not handle ECONNABORTED."""

    def accept_clients(self):
        try:
            self.welcome(self.listener.accept()[0])
        except ConnectionAbortedError:
            raise
        except BlockingIOError:
            pass
        except OSError as error:
            self.accept_failed(error)


@defect
class ForgetsToAcceptAgain(Server):
    """Stops accepting when descriptors are exhausted, for ever."""

    def accept_failed(self, error):
        super().accept_failed(error)
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            self.accept_again = time.monotonic() + 3600


@defect
class SpinsWithoutDescriptors(Server):
    """Tries again at once when accept finds no descriptor."""

    def accept_failed(self, error):
        pass


@defect
class InterruptedIsBroken(Server):
    """Takes EINTR for an error; calls recv of libc, because Python's retries."""

    libc = ctypes.CDLL(None, use_errno=True)

    def receive(self, client):
        data = ctypes.create_string_buffer(BUFFER)
        count = self.libc.recv(client.number, data, min(BUFFER, client.owed or BUFFER), 0)
        if count >= 0:
            return data.raw[:count]
        error = OSError(ctypes.get_errno(), "recv")
        if not isinstance(error, BlockingIOError):
            self.failed(client, error)
        return None


@defect
class DiesOfInterruption(Server):
    """Ends if its wait is interrupted; calls poll of libc, because Python's retries."""

    libc = ctypes.CDLL(None, use_errno=True)

    def time_to_wait(self):
        seconds = super().time_to_wait()
        milliseconds = -1 if seconds is None else math.ceil(1000 * seconds)
        asked = ctypes.create_string_buffer(struct.pack("ihh", self.selector.fileno(), 1, 0))
        if self.libc.poll(asked, 1, milliseconds) < 0 and not self.stop_is_asked():
            raise OSError(ctypes.get_errno(), "poll")
        return 0

    def stop_is_asked(self):
        return bool(select.select([self.stop_pipe], [], [], 0)[0])


@defect
class StartsWithItsLog(Server):
    """Does not start if its first line cannot be written."""

    def log(self, line):
        print(line, flush=True)


@defect
class LogBlocks(Server):
    """Logs each new connection, and blocks until the line is written."""

    def welcome(self, connection):
        super().welcome(connection)
        with contextlib.suppress(OSError):
            print("a client connected from", connection.getpeername(), flush=True)


def log_takes_some():
    """Whether a write to the log would not block; it may fail."""
    return sys.stdout and select.select([], [sys.stdout], [], 0)[1]


@defect
class DiesWithItsLog(Server):
    """Drops a line if the log is full, but does not handle other errors."""

    def welcome(self, connection):
        super().welcome(connection)
        if log_takes_some():
            print("a client connected", flush=True)


@defect
class RawLog(Server):
    """Writes what clients send to the log unescaped."""

    def answer(self, client, data):
        super().answer(client, data)
        with contextlib.suppress(OSError):
            if log_takes_some():
                os.write(1, b"data " + data + b"\n")


@defect
class LogIntoSocket(Server):
    """Writes its log to descriptor 2, even if that is a socket."""

    def catch_stop(self):
        """With descriptors above the standard ones."""
        below = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
        reader = super().catch_stop()
        for each in below:
            os.close(each)
        return reader

    def answer(self, client, data):
        super().answer(client, data)
        with contextlib.suppress(OSError):
            os.write(2, b"a client sent something\n")


@defect
class SharesPort(Server):
    """Sets SO_REUSEPORT: a second server can use the same port."""

    def listen(self, host, port):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(socket.SOMAXCONN)
        listener.setblocking(False)
        return listener


@defect
class NeedsAFreshPort(Server):
    """Does not set SO_REUSEADDR."""

    def listen(self, host, port):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind((host, port))
        listener.listen(socket.SOMAXCONN)
        listener.setblocking(False)
        return listener


# The stop signal.


@defect
class DiesAtTheSignal(Server):
    """Does not handle SIGTERM and SIGINT."""

    def catch_stop(self):
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@defect
class IgnoresTheSignal(Server):
    """Ignores the stop signal while it has clients."""

    def drain(self):
        if self.clients:
            self.selector.unregister(self.stop_pipe)
        else:
            super().drain()


@defect
class EndsWithStatusOne(Server):
    """Without clients, ends with status 1."""

    def drain(self):
        had_none = not self.clients
        super().drain()
        if had_none and not self.clients:
            sys.exit(1)


@defect
class OwesUpToTheMark(Server):
    """Counts unread bytes only up to the urgent byte, which is out of line."""

    def prepare(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@defect
class OneResetResetsAll(Server):
    """When it stops, resets all clients if one was reset by then."""

    lost = False

    def failed(self, client, error):
        super().failed(client, error)
        self.lost = self.lost or self.end_of_drain == NEVER

    def stop(self, client):
        if self.lost:
            reset(client)
            self.close(client)
        else:
            super().stop(client)


@defect
class StalledClientsHoldUpTheDrain(Server):
    """Sends no FIN before all clients have read their output."""

    def stop(self, client):
        while any(map(has_not_all, self.clients)) and time.monotonic() < self.end_of_drain:
            time.sleep(0.01)
        super().stop(client)


@defect
class ClosesAtTheSignal(Server):
    """Closes everything at once, read or unread."""

    def stop(self, client):
        self.close(client)


@defect
class FinishesBeforeTheBacklog(Server):
    """Does not accept the backlog."""

    def empty_backlog(self):
        pass


@defect
class DoesNotLinger(Server):
    """Closes right after its FIN where nothing was pending."""

    def stop(self, client):
        client.idle = not client.pending and not unread(client) and not has_not_all(client)
        super().stop(client)

    def end_output(self, client):
        super().end_output(client)
        if client.idle:
            self.close(client)


@defect
class ListensToTheEnd(Server):
    """Keeps listening after the stop signal."""

    def drain(self):
        with contextlib.suppress(OSError):
            self.doorway = self.listener.dup()
        super().drain()


@defect
class WaitsForGoodbyes(Server):
    """Sends no FIN, and waits for those of the clients."""

    def end_output(self, client):
        pass


# Longer, larger, later, and more at once than the servers above.


@defect
class SelectHasNoRoom(Server):
    """Never serves a client whose descriptor does not fit into a set of select()."""

    def wants(self, client):
        return super().wants(client) if client.number < 1024 else 0

    def settle(self, client):
        if self.wants(client):
            super().settle(client)


@defect
class ForgetsTheThousandth(Server):
    """Waits edge-triggered with room for 1,000 events, and loses those beyond."""

    def __init__(self, host, port):
        super().__init__(host, port)
        self.forgotten = set()
        self.all_events, self.selector.select = self.selector.select, self.first_events

    def first_events(self, timeout):
        events = [each for each in self.all_events(timeout) if each[0].fd not in self.forgotten]
        self.forgotten |= {key.fd for key, _ in events[1000:]}
        return events[:1000]


@defect
class AcceptsSixtyFourPerEdge(Server):
    """Waits for new connections edge-triggered, and accepts at most 64."""

    def __init__(self, host, port):
        super().__init__(host, port)
        edge = select.EPOLLIN | select.EPOLLET
        self.selector._selector.modify(self.listener, edge)  # selectors has no edges

    def accept_clients(self):
        for _ in range(4):
            super().accept_clients()


@defect
class DrainsSixtyFour(Server):
    """Accepts at most 64 of the backlog when it stops."""

    def empty_backlog(self):
        for _ in range(4):
            self.accept_clients()


@defect
class DiesOfAHundredResets(Server):
    """Has room for a hundred connections that fail in one batch."""

    batch = 0

    def time_to_wait(self):
        self.batch = 0
        return super().time_to_wait()

    def failed(self, client, error):
        self.batch += 1
        if self.batch > 100:
            raise error
        super().failed(client, error)


@defect
class CountsConnectionsInSixteenBits(Server):
    """Serves no connection after the 65,535th."""

    number = 0

    def welcome(self, connection):
        self.number += 1
        if self.number < 65_536:
            super().welcome(connection)
        else:
            connection.close()


@defect
class KnowsClientsByPort(Server):
    """Answers the client that connected last from a port, whatever its address."""

    def welcome(self, connection):
        super().welcome(connection)
        self.newest = getattr(self, "newest", {})
        client = next(c for c in self.clients if c.connection is connection)
        client.port = None
        with contextlib.suppress(OSError):  # it has been reset
            client.port = connection.getpeername()[1]
            self.newest[client.port] = client

    def answer(self, client, data):
        newest = self.newest.get(client.port, client)
        super().answer(client if newest.closed else newest, data)


@defect
class AThousandRequests(Server):
    """Closes a connection after a thousand messages."""

    def answer(self, client, data):
        super().answer(client, data)
        client.requests = getattr(client, "requests", 0) + 1
        if client.requests > 1000 and len(data) < 100 and not client.closed:
            self.close(client)


class Impatient(Server):
    """Closes clients that are like this for so long."""

    def time_to_wait(self):
        return min(super().time_to_wait() or 1, 1)

    def resume_accepting(self):
        super().resume_accepting()
        if self.end_of_drain == NEVER:
            for client in filter(self.is_enough, list(self.clients)):
                self.close(client)


@defect
class ClosesAfterTenSeconds(Impatient):
    """Closes a client that is silent for ten seconds."""

    def is_enough(self, client):
        return not client.pending and time.monotonic() - client.last_active > 10


@defect
class GivesUpOnStalledClients(Impatient):
    """Closes a client that takes no output for five seconds."""

    def is_enough(self, client):
        stalled = client.pending and not hung_up(client)
        return stalled and time.monotonic() - client.last_active > 5


@defect
class GivesUpOnFlushing(Impatient):
    """Gives a client five seconds after its FIN to take what is pending."""

    def is_enough(self, client):
        stalled = client.pending and hung_up(client)
        return stalled and time.monotonic() - client.last_active > 5


@defect
class SpinsLater(Server):
    """Takes a timer that has passed for one that is due, for ever."""

    def time_to_wait(self):
        last = max((client.last_active for client in self.clients), default=math.inf)
        if time.monotonic() - last > 3:
            return 0
        return min(super().time_to_wait() or 1, 1)


@defect
class WakesEveryMillisecond(Server):
    """Looks every millisecond whether there is something to do."""

    def time_to_wait(self):
        return 0.001


@defect
class WakesBesideStalled(Server):
    """Tries every five milliseconds whether a client takes its output."""

    def wants(self, client):
        return 0 if client.pending else selectors.EVENT_READ

    def settle(self, client):
        if client.closed or self.wants(client) or not client.interest:
            super().settle(client)
        else:
            self.selector.unregister(client.connection)
            client.interest = 0

    def time_to_wait(self):
        stalled = any(client.pending for client in self.clients)
        return 0.005 if stalled else super().time_to_wait()

    def resume_accepting(self):
        super().resume_accepting()
        for client in [each for each in self.clients if each.pending]:
            self.serve(client)


@defect
class LosesAByteAtTwoToTheTwentyFour(Server):
    """Loses the byte at offset 2^24 of a connection."""

    def answer(self, client, data):
        before = getattr(client, "answered", 0)
        client.answered = before + len(data)
        at = (1 << 24) - before
        super().answer(client, data[:at] + data[at + 1 :] if 0 <= at < len(data) else data)


@defect
class RemembersEveryByte(Server):
    """Keeps a copy of all input of a connection."""

    def answer(self, client, data):
        client.copy = getattr(client, "copy", [])
        client.copy.append(bytes(data))
        super().answer(client, data)


@defect
class RemembersEveryMessage(Server):
    """Keeps a small record of each read of a connection."""

    def answer(self, client, data):
        client.reads = getattr(client, "reads", [])
        client.reads.append((time.monotonic(), len(data)))
        super().answer(client, data)


# Right after each kind of end.


@defect
class KeepsTheHalfClosed(Server):
    """Keeps the memory of each client whose FIN came while output was pending."""

    kept = []

    def flush(self, client):
        super().flush(client)
        new = client.pending and not client.closed and not hasattr(client, "kept")
        if new and hung_up(client):
            client.kept = True
            self.kept.append(bytearray(b"." * 4096))


@defect
class KeepsPendingOutput(Server):
    """Keeps a part of what was pending for a client that was reset."""

    kept = []

    def close(self, client):
        self.kept.append(bytes(client.pending[:4096]))
        super().close(client)


@defect
class PausesAfterReset(Server):
    """Accepts nobody for a second after a reset."""

    def failed(self, client, error):
        super().failed(client, error)
        if self.accept_again == NEVER and self.end_of_drain == NEVER:
            self.selector.unregister(self.listener)
            self.accept_again = time.monotonic() + 1


@defect
class LeaksInTheBacklog(Server):
    """Does not close a connection that was reset before it was accepted."""

    leaked = []

    def welcome(self, connection):
        try:
            connection.getpeername()
        except OSError:
            self.leaked.append(connection)
            return
        super().welcome(connection)


@defect
class LeaksHalfClosedAfterReset(Server):
    """Does not close a connection that is reset after its FIN, while output is pending."""

    leaked = []

    def flush(self, client):
        super().flush(client)
        if client.pending and not client.closed and hung_up(client):
            client.flushes = True

    def failed(self, client, error):
        if hasattr(client, "flushes"):
            self.leaked.append(client.connection.dup())
        super().failed(client, error)


@defect
class SpinsAfterAnIdleReset(Server):
    """Polls after the reset of a client for which nothing was pending."""

    spins_until = 0

    def failed(self, client, error):
        if not client.pending:
            self.spins_until = time.monotonic() + 1.5
        super().failed(client, error)

    def time_to_wait(self):
        return 0 if time.monotonic() < self.spins_until else super().time_to_wait()


@defect
class LeavesSlowly(Server):
    """Waits a second before it answers the FIN of a client that it has answered."""

    def __init__(self, host, port):
        super().__init__(host, port)
        self.leaving = []

    def ended(self, client):
        if not hasattr(client, "spoke") or self.end_of_drain < NEVER:
            super().ended(client)
            return
        self.selector.unregister(client.connection)
        client.interest = 0
        client.closed = True
        self.leaving.append((time.monotonic() + 1, client))

    def answer(self, client, data):
        client.spoke = True
        super().answer(client, data)

    def time_to_wait(self):
        return 0.1 if self.leaving else super().time_to_wait()

    def resume_accepting(self):
        super().resume_accepting()
        while self.leaving and self.leaving[0][0] < time.monotonic():
            self.close(self.leaving.pop(0)[1])


@defect
class UrgentByteSpoilsFin(Server):
    """Answers FIN with RST where an urgent byte is the last before it."""

    def ended(self, client):
        if hasattr(client, "last_is_urgent"):
            reset(client)
        super().ended(client)

    def receive(self, client):
        if at_mark(client):
            client.last_is_urgent = True
        data = super().receive(client)
        if data and len(data) > 1 and hasattr(client, "last_is_urgent"):
            del client.last_is_urgent
        return data


@defect
class SecondUrgentByteEnds(Server):
    """Closes a connection at its second urgent byte."""

    def receive(self, client):
        if at_mark(client):
            client.urgent = getattr(client, "urgent", 0) + 1
        if getattr(client, "urgent", 0) > 1:
            self.close(client)
            return None
        return super().receive(client)


# While something else is blocked.


@defect
class FlushesBlocking(Server):
    """After FIN, waits until the client has taken what is pending."""

    def flush(self, client):
        super().flush(client)
        if client.pending and not client.closed and self.end_of_drain == NEVER and hung_up(client):
            client.connection.setblocking(True)
            with contextlib.suppress(OSError):
                client.connection.sendall(client.pending)
            client.pending.clear()
            client.connection.setblocking(False)


@defect
class ShedsTheLast(Server):
    """Without descriptors, closes the client that it accepted last."""

    newest = None

    def welcome(self, connection):
        super().welcome(connection)
        self.newest = next(c for c in self.clients if c.connection is connection)

    def accept_failed(self, error):
        super().accept_failed(error)
        if error.errno == errno.EMFILE and self.newest and not self.newest.closed:
            self.close(self.newest)


@defect
class CannotStopWithoutDescriptors(Server):
    """Needs a descriptor to stop."""

    def drain(self):
        with open("/dev/null"):
            super().drain()


@defect
class StopsOnlyAfterAClient(Server):
    """Ignores the stop signal before its first client."""

    had_one = False

    def welcome(self, connection):
        self.had_one = True
        super().welcome(connection)

    def drain(self):
        if self.had_one:
            super().drain()
        else:
            self.selector.unregister(self.stop_pipe)


@defect
class LogsItsEnd(Server):
    """Waits at its end until its log takes a last line."""

    def drain(self):
        super().drain()
        with contextlib.suppress(OSError):
            os.write(1, b"stopping\n")


def takes_some(number):
    """Whether a write to a descriptor would not block; it may fail."""
    with contextlib.suppress(OSError):
        return bool(select.select([], [number], [], 0)[1])
    return True


class QueuingLog(Server):
    """Logs each client, and keeps lines that the log does not take now."""

    lines = []

    def welcome(self, connection):
        super().welcome(connection)
        self.lines.append(b"a client connected from %d\n" % connection.fileno() * 8)
        self.write_lines()

    def write_lines(self):
        while self.lines and takes_some(1):
            with contextlib.suppress(OSError):
                os.write(1, self.lines[0])
            self.lines.pop(0)


@defect
class QueuesItsLog(QueuingLog):
    """Keeps all lines that a full log does not take."""


@defect
class AsksTheFullLog(QueuingLog):
    """Asks a full log without pause whether it takes a line."""

    def time_to_wait(self):
        self.write_lines()
        del self.lines[100:]
        return 0 if self.lines else super().time_to_wait()


# On standard error as on standard output.


@defect
class ErrorsBlock(Server):
    """Reports each client on stderr, and blocks until the line is written."""

    def welcome(self, connection):
        super().welcome(connection)
        if sys.stderr:  # it was not closed at the start: 2 may be a client then
            with contextlib.suppress(OSError):
                os.write(2, b"a client connected\n" * 8)


@defect
class DiesWithItsErrors(Server):
    """Ends if it cannot report on stderr."""

    def welcome(self, connection):
        super().welcome(connection)
        if sys.stderr and takes_some(2):
            os.write(2, b"a client connected\n")


@defect
class RawErrors(Server):
    """Reports what clients send on stderr, unescaped."""

    def answer(self, client, data):
        super().answer(client, data)
        if sys.stderr and takes_some(2):
            with contextlib.suppress(OSError):
                os.write(2, b"data " + data[:2000] + b"\n")


@defect
class EscapesSomeControls(Server):
    """Logs what clients send, and escapes only the control bytes that it knows."""

    known = re.compile(rb"[\x00\x07\n\r\x1b\x80-\xff]")

    def answer(self, client, data):
        super().answer(client, data)
        line = self.known.sub(lambda found: b"\\x%02x" % found[0][0], data[:200])
        with contextlib.suppress(OSError):
            if log_takes_some():
                os.write(1, b"data " + line + b"\n")


@defect
class LogIntoTheFirstFree(Server):
    """Writes to descriptor 1, even if that alone was closed, and is a client's now."""

    def __init__(self, host, port):
        only = sys.stdin and sys.stdout is None and sys.stderr
        held = os.open("/dev/null", os.O_RDONLY) if only else None
        super().__init__(host, port)
        if only:
            os.close(held)

    def answer(self, client, data):
        super().answer(client, data)
        if sys.stdin and sys.stdout is None:
            with contextlib.suppress(OSError):
                os.write(1, b"a client sent something\n")


@defect
class CasingOfLatin1(Server):
    """Uppercases 0xE4 as a locale of ISO 8859-1 would."""

    def transform(self, data):
        latin1 = "ISO-8859-1" in os.environ.get("LC_ALL", "")
        return super().transform(data.replace(b"\xe4", b"\xc4") if latin1 else data)


# In some runs.


@defect
class OneRunOfTen(Server):
    """Sends a banner in one run of ten."""

    def __init__(self, host, port):
        self.greets = random.random() < 0.1
        super().__init__(host, port)

    def welcome(self, connection):
        if self.greets:
            connection.send(b"welcome\r\n")
        super().welcome(connection)
