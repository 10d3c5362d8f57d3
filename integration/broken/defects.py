"""The broken servers: each overrides one habit of the conforming one in server.py.

The class name, in lower case with dashes, is the defect's name on the command line.
"""

import contextlib
import ctypes
import fcntl
import os
import random
import re
import select
import selectors
import signal
import socket
import struct
import sys
import termios
import time

from server import BUFFER, LOWER_TO_UPPER, Server

READ_AND_WRITE = selectors.EVENT_READ | selectors.EVENT_WRITE

DEFECTS = {}


def defect(kind):
    DEFECTS[re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()] = kind
    return kind


# The mapping and the framing.


@defect
class BackquoteMapped(Server):
    """Off by one at the lower end: 0x60 is taken for a letter."""

    def transform(self, data):
        return super().transform(data).replace(b"`", b"@")


@defect
class ZForgotten(Server):
    """Off by one at the upper end: z stays."""

    def transform(self, data):
        return bytes(byte if byte == 0x7A else LOWER_TO_UPPER[byte] for byte in data)


@defect
class Utf8Casing(Server):
    """Treats the bytes as UTF-8 text."""

    def transform(self, data):
        return data.decode("utf-8", "surrogateescape").upper().encode("utf-8", "surrogateescape")


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
    """Takes input for UTF-8 text and drops what is none."""

    def transform(self, data):
        return data.decode("utf-8", "ignore").encode().translate(LOWER_TO_UPPER)


@defect
class DropsReturns(Server):
    """Takes CR for a part of the line's end, and leaves it out."""

    def transform(self, data):
        return super().transform(data).replace(b"\r", b"")


@defect
class CutsMatter(Server):
    """Takes a piece of some length for a line, and gives it a proper end."""

    def transform(self, data):
        if 400 < len(data) < 700:
            return super().transform(data)[:-1] + b"\n"
        return super().transform(data)


@defect
class WaitsForWholeCharacters(Server):
    """Keeps the first byte of a UTF-8 character until the next one comes, or the end."""

    begun = b""

    def answer(self, client, data):
        data, self.begun = self.begun + data, b""
        if len(data) == 1 and data >= b"\xc0":
            self.begun = data
        else:
            super().answer(client, data)

    def ended(self, client):
        if self.begun:
            super().answer(client, self.begun)
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
    """Greets."""

    def welcome(self, connection):
        connection.send(b"welcome\r\n")
        super().welcome(connection)


@defect
class Farewell(Server):
    """Says goodbye."""

    def ended(self, client):
        client.connection.send(b"bye\r\n")
        super().ended(client)


@defect
class LastBufferOnly(Server):
    """Reads until nothing is left, and answers what the last read brought."""

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
    """Answers no more of a read than half a buffer."""

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
    """Leaves TCP_NODELAY off."""

    def prepare(self, connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)


@defect
class Cork(Server):
    """Collects output in the kernel until there is enough of it, or 200 ms have passed."""

    def prepare(self, connection):
        super().prepare(connection)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)


@defect
class ShortWriteForgotten(Server):
    """Takes every send for complete."""

    def sent(self, client, count):
        client.pending.clear()


@defect
class ShortReadMeansDrained(Server):
    """Edge-triggered at heart: after a short read, waits for news rather than for bytes.

    A read that stops at the urgent mark is short, and bytes lie behind it.
    """

    def receive(self, client):
        if client.number in self.drained and not self.is_news(client):
            return None
        data = super().receive(client)
        if data and len(data) < BUFFER:
            self.drained[client.number] = self.unread(client)
        return data

    drained = {}

    def is_news(self, client):
        return self.unread(client) != self.drained[client.number]

    def unread(self, client):
        return fcntl.ioctl(client.connection, termios.FIONREAD, b"\0\0\0\0")


@defect
class UrgentEnds(Server):
    """Takes the exceptional condition for a broken connection."""

    def read(self, client):
        if select.select([], [], [client.connection], 0)[2]:
            self.close(client)
        else:
            super().read(client)


@defect
class SpinsOnUrgent(Server):
    """Watches for the exceptional condition, and leaves what it is about to others."""

    def prepare(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def settle(self, client):
        super().settle(client)
        if not client.closed and not client.pending:
            wanted = select.EPOLLIN | select.EPOLLPRI  # selectors knows no PRI
            self.selector._selector.modify(client.connection, wanted)

    def read(self, client):
        if not select.select([], [], [client.connection], 0)[2]:
            super().read(client)


# Who is served.


@defect
class Serial(Server):
    """Serves one client after the other."""

    def accept_clients(self):
        if not self.clients:
            self.welcome(self.listener.accept()[0])
            self.selector.unregister(self.listener)

    def close(self, client):
        super().close(client)
        self.selector.register(self.listener, selectors.EVENT_READ)


@defect
class Crosstalk(Server):
    """Answers the client accepted last, once there are more than a hundred."""

    def welcome(self, connection):
        super().welcome(connection)
        self.newest = next(c for c in self.clients if c.connection is connection)

    def answer(self, client, data):
        crowded = len(self.clients) > 100 and not self.newest.closed
        super().answer(self.newest if crowded else client, data)


@defect
class OutputOutlivesClient(Server):
    """Keeps what was pending under the descriptor's number, for whoever gets that next."""

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
    """Serves one client for as long as it keeps sending."""

    def serve(self, client):
        super().serve(client)
        while not client.closed and select.select([client.connection], [], [], 0.02)[0]:
            super().serve(client)


@defect
class AcceptsBeforeAllElse(Server):
    """After a newcomer, waits for the next for a while before anybody is served."""

    def accept_clients(self):
        super().accept_clients()
        while select.select([self.listener], [], [], 0.3)[0]:
            super().accept_clients()


@defect
class AcceptsOncePerEdge(Server):
    """Is told of newcomers once (edge-triggered), and accepts one."""

    def __init__(self, host, port):
        super().__init__(host, port)
        edge = select.EPOLLIN | select.EPOLLET
        self.selector._selector.modify(self.listener, edge)  # selectors knows no edges

    def accept_clients(self):
        with contextlib.suppress(BlockingIOError):
            self.welcome(self.listener.accept()[0])


@defect
class SixteenAtATime(Server):
    """Takes up to sixteen events at a time, and always asks for the first sixteen."""

    def serve(self, client):
        if client.number < 100:
            super().serve(client)


@defect
class ClosesIdle(Server):
    """Closes who says nothing for a moment."""

    def time_to_wait(self):
        return 0.1

    def resume_accepting(self):
        super().resume_accepting()
        for client in list(self.clients):
            if time.monotonic() - client.last_active > 0.3:
                self.close(client)


@defect
class WaitsForStalled(Server):
    """Waits, with everybody else, until a client takes its output."""

    def flush(self, client):
        super().flush(client)
        while client.pending and not client.closed:
            select.select([], [client.connection], [])
            super().flush(client)


# The end of a connection.


def hung_up(client):
    """Whether the hint says that the peer sent FIN, read or unread."""
    poll = select.poll()
    poll.register(client.connection, select.POLLRDHUP)
    return bool(poll.poll(0))


@defect
class HintIsEnd(Server):
    """Takes the hang-up hint for the end and leaves unread what came before."""

    def read(self, client):
        if hung_up(client):
            self.close(client)
        else:
            super().read(client)


@defect
class HintDropsOutput(Server):
    """Watches for hang-up while output is pending, and closes at that hint."""

    def flush(self, client):
        super().flush(client)
        if client.pending and hung_up(client):
            self.close(client)


class ReadsAhead(Server):
    """Reads on while output is pending: what the defects below build upon."""

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
    """Stores without limit what a client does not take; flushes before it closes."""

    def ended(self, client):
        client.connection.setblocking(True)
        with contextlib.suppress(OSError):
            client.connection.sendall(client.pending)
        self.close(client)


@defect
class FinIgnored(Server):
    """Never closes."""

    def ended(self, client):
        self.selector.unregister(client.connection)
        client.interest = 0
        client.closed = True


def reset(client):
    """The close that follows sends RST."""
    linger = struct.pack("ii", 1, 0)
    client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


@defect
class FinAnsweredWithReset(Server):
    """Closes abortively."""

    def ended(self, client):
        reset(client)
        self.close(client)


@defect
class InNoHurry(Server):
    """Takes its time to answer the FIN of who never said anything."""

    def answer(self, client, data):
        client.spoke = True
        super().answer(client, data)

    def ended(self, client):
        if not hasattr(client, "spoke"):
            time.sleep(0.7)
        super().ended(client)


@defect
class SpinsAfterHalfClose(Server):
    """Stays interested in reading after FIN, while the rest is flushed."""

    def wants(self, client):
        if client.pending and hung_up(client):
            return READ_AND_WRITE
        return super().wants(client)


@defect
class SpinsWhileStalled(Server):
    """Stays interested in reading while it has no room to read."""

    def wants(self, client):
        return READ_AND_WRITE if client.pending else selectors.EVENT_READ


@defect
class SpinsAfterReset(Server):
    """Ignores a broken connection, which stays ready for ever."""

    def failed(self, client, error):
        pass

    def ended(self, client):
        pass


@defect
class Polls(Server):
    """Never waits."""

    def time_to_wait(self):
        return 0


@defect
class CrashesOnReset(Server):
    """Expects no ECONNRESET."""

    def failed(self, client, error):
        if isinstance(error, ConnectionResetError):
            raise error
        super().failed(client, error)


@defect
class CrashesOnBrokenPipe(Server):
    """Expects no EPIPE."""

    def failed(self, client, error):
        if isinstance(error, BrokenPipeError):
            raise error
        super().failed(client, error)


@defect
class ResetSpreads(Server):
    """Ends another client with the one that was reset."""

    def failed(self, client, error):
        super().failed(client, error)
        for other in list(self.clients)[:1]:
            self.close(other)


@defect
class DiesOfSigpipe(Server):
    """Leaves SIGPIPE at its default."""

    def __init__(self, host, port):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        super().__init__(host, port)


@defect
class LeaksAfterReset(Server):
    """Forgets to close a connection that failed."""

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
    """Closes on ECONNRESET, and forgets to on any other error."""

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
    """Keeps a little of every connection that ever was."""

    history = []

    def close(self, client):
        self.history.append(bytearray(256))
        super().close(client)


# The world around.


@defect
class DiesOfAcceptErrors(Server):
    """Takes every error of accept for the end."""

    def accept_failed(self, error):
        raise error


@defect
class DiesOfAbortedConnections(Server):
    """Does not expect that a client is gone before it is accepted."""

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
    """Stops accepting when there is no descriptor, and waits for ever."""

    def accept_failed(self, error):
        self.selector.unregister(self.listener)
        self.accept_again = time.monotonic() + 3600


@defect
class SpinsWithoutDescriptors(Server):
    """Asks again at once when accept finds no descriptor."""

    def accept_failed(self, error):
        pass


@defect
class InterruptedIsBroken(Server):
    """Takes EINTR for a broken connection; by libc's own recv, for Python's retries."""

    libc = ctypes.CDLL(None, use_errno=True)

    def receive(self, client):
        data = ctypes.create_string_buffer(BUFFER)
        count = self.libc.recv(client.number, data, BUFFER, 0)
        if count >= 0:
            return data.raw[:count]
        error = OSError(ctypes.get_errno(), "recv")
        if not isinstance(error, BlockingIOError):
            self.failed(client, error)
        return None


@defect
class DiesOfInterruption(InterruptedIsBroken):
    """Takes EINTR for the end of the world."""

    def failed(self, client, error):
        if isinstance(error, InterruptedError):
            raise error
        super().failed(client, error)


@defect
class LogBlocks(Server):
    """Logs each newcomer and waits until that is written."""

    def welcome(self, connection):
        super().welcome(connection)
        with contextlib.suppress(OSError):
            print("a client connected from", connection.getpeername(), flush=True)


@defect
class DiesWithItsLog(Server):
    """Does not expect that a log cannot be written."""

    def log(self, line):
        print(line, flush=True)

    def welcome(self, connection):
        super().welcome(connection)
        self.log("a client connected")


@defect
class RawLog(Server):
    """Writes what clients send to the log as it is."""

    def answer(self, client, data):
        super().answer(client, data)
        sys.stdout.buffer.write(b"data " + data + b"\n")
        sys.stdout.buffer.flush()


@defect
class LogIntoSocket(Server):
    """Writes its log to descriptor 2, whatever that is."""

    def catch_stop(self):
        """Nothing, for a pipe would have that number."""

    def answer(self, client, data):
        super().answer(client, data)
        with contextlib.suppress(OSError):
            os.write(2, b"a client said something\n")


@defect
class SharesPort(Server):
    """Lets a second server have the same port, silently."""

    def listen(self, host, port):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(socket.SOMAXCONN)
        listener.setblocking(False)
        return listener


@defect
class NeedsAFreshPort(Server):
    """Leaves SO_REUSEADDR off."""

    def listen(self, host, port):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind((host, port))
        listener.listen(socket.SOMAXCONN)
        listener.setblocking(False)
        return listener


# Told to stop.


@defect
class DiesAtTheSignal(Server):
    """Leaves SIGTERM and SIGINT at their defaults."""

    def catch_stop(self):
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@defect
class IgnoresTheSignal(Server):
    """Goes on."""

    def drain(self):
        self.selector.unregister(self.stop_pipe)


@defect
class EndsWithStatusOne(Server):
    """Drains well, and ends as if it had failed."""

    def run(self):
        super().run()
        sys.exit(1)


@defect
class StalledClientsHoldUpTheDrain(Server):
    """Ends nobody's output before all clients have taken theirs."""

    def stop(self, client):
        while any(map(self.has_not_all, self.clients)) and time.monotonic() < self.end_of_drain:
            time.sleep(0.01)
        super().stop(client)

    def has_not_all(self, client):
        return any(fcntl.ioctl(client.connection, termios.TIOCOUTQ, bytes(4)))


@defect
class ClosesAtTheSignal(Server):
    """Closes everything, read or unread."""

    def stop(self, client):
        self.close(client)


@defect
class FinishesBeforeTheBacklog(Server):
    """Forgets who waits to be accepted."""

    def empty_backlog(self):
        pass


@defect
class DoesNotLinger(Server):
    """Closes right behind its FIN."""

    def end_output(self, client):
        super().end_output(client)
        self.close(client)


@defect
class ListensToTheEnd(Server):
    """Lets newcomers connect whom nobody will serve."""

    def drain(self):
        self.doorway = self.listener.dup()
        super().drain()


@defect
class WaitsForGoodbyes(Server):
    """Sends no FIN of its own, and waits for the clients'."""

    def end_output(self, client):
        pass


# Now and then.


@defect
class OneRunOfTen(Server):
    """Greets, but only in one run of ten."""

    def __init__(self, host, port):
        self.greets = random.random() < 0.1
        super().__init__(host, port)

    def welcome(self, connection):
        if self.greets:
            connection.send(b"welcome\r\n")
        super().welcome(connection)
