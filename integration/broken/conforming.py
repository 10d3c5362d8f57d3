"""A conforming server, independent of the reference, and the base of the broken ones.

One thread, one level-triggered selector. A client is read only while nothing is pending for it and
written only while something is, so that its end is seen only when it has all its answers. After a
stop signal the server answers what had arrived, sends FIN and reads on until the client's.
"""

import contextlib
import fcntl
import os
import selectors
import signal
import socket
import struct
import termios
import time

BUFFER = 65536
TURNS = 16  # reads of one client, and accepts, before the others get their turn
ACCEPT_AGAIN_S = 0.1  # no event reports that descriptors are available
DRAIN_S = 5
NEVER = float("inf")
LOWER_TO_UPPER = bytes(byte - 32 if 97 <= byte <= 122 else byte for byte in range(256))


class Client:
    """One connection and what is pending for it."""

    def __init__(self, connection):
        self.connection = connection
        self.number = connection.fileno()
        self.pending = bytearray()
        self.interest = 0
        self.closed = False
        self.owed = None  # while stopping: bytes that had arrived and are not read yet
        self.last_active = time.monotonic()


def unread(client):
    """Bytes in the kernel that were not read yet."""
    return struct.unpack("i", fcntl.ioctl(client.connection, termios.FIONREAD, bytes(4)))[0]


class Server:
    """Echoes what clients send, ASCII a-z uppercased, and closes when they do."""

    def __init__(self, host, port):
        self.selector = selectors.DefaultSelector()
        self.clients = set()
        self.accept_again = NEVER
        self.end_of_drain = NEVER
        self.stop_pipe = self.catch_stop()
        self.listener = self.listen(host, port)
        self.selector.register(self.listener, selectors.EVENT_READ)

    def listen(self, host, port):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(socket.SOMAXCONN)
        listener.setblocking(False)
        return listener

    def run(self):
        host, port = self.listener.getsockname()[:2]
        self.log(f"listening on {host}:{port}")
        while time.monotonic() < self.end_of_drain and not self.is_over():
            for key, _ in self.selector.select(self.time_to_wait()):
                if key.fileobj is self.listener:
                    self.accept_clients()
                elif key.fileobj == self.stop_pipe:
                    self.drain()
                elif not key.data.closed:
                    self.serve(key.data)
            self.resume_accepting()

    def log(self, line):
        """A log that cannot be written does not end the server."""
        with contextlib.suppress(OSError, AttributeError):
            print(line, flush=True)

    # New connections.

    def accept_clients(self):
        for _ in range(TURNS):
            try:
                connection, _ = self.listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self.accept_failed(error)
                return
            self.welcome(connection)

    def accept_failed(self, error):
        """Descriptors may be exhausted: pause, because the listener stays readable."""
        self.selector.unregister(self.listener)
        self.accept_again = time.monotonic() + ACCEPT_AGAIN_S

    def resume_accepting(self):
        if time.monotonic() >= self.accept_again:
            self.accept_again = NEVER
            self.selector.register(self.listener, selectors.EVENT_READ)

    def time_to_wait(self):
        deadline = min(self.accept_again, self.end_of_drain)
        return None if deadline == NEVER else max(0.001, deadline - time.monotonic())

    def welcome(self, connection):
        connection.setblocking(False)
        self.prepare(connection)
        client = Client(connection)
        self.clients.add(client)
        self.settle(client)

    def prepare(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)

    # Clients.

    def serve(self, client):
        client.last_active = time.monotonic()
        if client.pending:
            self.flush(client)
        else:
            self.read(client)
        self.settle(client)

    def read(self, client):
        for _ in range(TURNS):
            data = self.receive(client)
            if data is None:
                return
            if not data:
                self.ended(client)
                return
            self.answer(client, data)
            if client.closed or client.pending or len(data) < BUFFER:
                return

    def receive(self, client):
        """Bytes; empty at the peer's end; None if there is nothing now."""
        try:
            return client.connection.recv(min(BUFFER, client.owed or BUFFER))
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            self.failed(client, error)
            return None

    def answer(self, client, data):
        if client.owed == 0:
            return  # after our FIN no answer is possible
        if client.owed:
            client.owed -= len(data)
        client.pending += self.transform(data)
        self.flush(client)

    def transform(self, data):
        return data.translate(LOWER_TO_UPPER)

    def flush(self, client):
        try:
            count = client.connection.send(client.pending)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.failed(client, error)
            return
        self.sent(client, count)

    def sent(self, client, count):
        del client.pending[:count]

    def ended(self, client):
        """The peer sent FIN, and has all its answers."""
        self.close(client)

    def failed(self, client, error):
        """The peer reset the connection, or it failed."""
        self.close(client)

    def close(self, client):
        client.closed = True
        if client.interest:
            self.selector.unregister(client.connection)
        self.clients.discard(client)
        client.connection.close()

    def wants(self, client):
        return selectors.EVENT_WRITE if client.pending else selectors.EVENT_READ

    def settle(self, client):
        """Register what a client waits for, if that changed."""
        if client.closed:
            return
        if client.owed == 0 and not client.pending:
            self.end_output(client)
        wanted = self.wants(client)
        if wanted == client.interest:
            return
        if not client.interest:
            self.selector.register(client.connection, wanted, client)
        else:
            self.selector.modify(client.connection, wanted, client)
        client.interest = wanted

    # The end.

    def catch_stop(self):
        """A descriptor that becomes readable at SIGTERM or SIGINT."""
        reader, writer = os.pipe()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os.write(writer, b"!"))
        self.selector.register(reader, selectors.EVENT_READ)
        return reader

    def drain(self):
        """Accept the backlog; answer what has arrived; then end."""
        self.selector.unregister(self.stop_pipe)
        if self.accept_again == NEVER:
            self.empty_backlog()
            self.selector.unregister(self.listener)
        self.accept_again = NEVER
        self.listener.close()
        self.end_of_drain = time.monotonic() + DRAIN_S
        for client in list(self.clients):
            self.stop(client)

    def empty_backlog(self):
        before = -1
        while len(self.clients) > before:
            before = len(self.clients)
            self.accept_clients()

    def stop(self, client):
        client.owed = unread(client)
        self.serve(client)

    def end_output(self, client):
        with contextlib.suppress(OSError):
            client.connection.shutdown(socket.SHUT_WR)

    def is_over(self):
        return self.end_of_drain < NEVER and not self.clients
