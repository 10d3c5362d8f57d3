"""Echoes bytes with ASCII a-z in upper case: python server.py PORT.

asyncio passes input to a Protocol, and its transport stores what the kernel does not accept. A
transport stores without limit unless a limit is set: here, the first byte. So
nothing is read while output is pending, and a client's end comes after its last answer.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import socket
import struct
import sys
import termios

RETRY_S = 0.1
DRAIN_S = 5


class Echo(asyncio.Protocol):
    """One client."""

    def __init__(self, clients):
        self.clients = clients
        self.owed = None  # after the stop signal: bytes that had arrived and are not read yet
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.clients.add(self)
        transport.set_write_buffer_limits(high=0)
        self.socket = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # the client is gone; reading reports it
            # asyncio sets it only if `proto` is TCP; that of this listener is 0.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()

    def data_received(self, data):
        if self.owed is None:
            self.transport.write(data.upper())  # of bytes, not of a str: ASCII only
        elif self.owed > 0:
            answered = data[: self.owed]
            self.owed -= len(answered)
            self.transport.write(answered.upper())
            self.end_if_even()
        # Else our FIN was sent, and further bytes are read and discarded: if the socket were closed
        # with bytes unread, the kernel would send RST, which destroys answers in flight.

    def eof_received(self):
        """The client's FIN. Here the close is decided: asyncio flushes, then closes."""
        return False

    def connection_lost(self, error):
        """The end of the connection; after a reset, `error` is set, and nothing else is to do."""
        self.clients.discard(self)
        self.gone.set_result(None)

    def stop(self):
        """Owe the bytes that are unread now; the count is exact because urgent data is in line."""
        try:
            unread = fcntl.ioctl(self.socket.fileno(), termios.FIONREAD, bytes(4))
        except OSError:
            unread = bytes(4)
        self.owed = struct.unpack("i", unread)[0]
        self.end_if_even()

    def end_if_even(self):
        if self.owed == 0 and not self.transport.is_closing():
            try:
                self.transport.write_eof()  # FIN, after pending output
            except OSError:  # it was reset, and asyncio has not noticed yet
                self.transport.abort()


class Server:
    """The listener and its clients."""

    def __init__(self):
        self.listener = None
        self.clients = set()
        self.welcomes = set()  # connections without a Protocol so far

    async def run(self, port):
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):  # before anybody can connect
            loop.add_signal_handler(number, stopped.set)
        try:
            self.listener = socket.create_server(("127.0.0.1", port), backlog=socket.SOMAXCONN)
        except OSError as error:
            sys.exit(f"server.py: cannot listen on port {port}: {os.strerror(error.errno)}")
        self.listener.setblocking(False)
        loop.add_reader(self.listener, self.accept)
        with contextlib.suppress(OSError):  # standard output may be closed
            print(f"listening on 127.0.0.1:{self.listener.getsockname()[1]}", flush=True)
        await stopped.wait()
        await self.drain()

    def accept(self):
        """Accepts one client, so that others get their turn; false if none was waiting."""
        loop = asyncio.get_running_loop()
        try:
            connection, _ = self.listener.accept()
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in (errno.ECONNABORTED, errno.EPROTO):
                return True
            # Descriptors may be exhausted: pause, because the listener stays readable.
            loop.remove_reader(self.listener)
            loop.call_later(RETRY_S, self.accept_again)
            return False
        connection.setblocking(False)
        welcome = loop.connect_accepted_socket(lambda: Echo(self.clients), connection)
        task = loop.create_task(welcome)
        self.welcomes.add(task)
        task.add_done_callback(self.welcomes.discard)
        return True

    def accept_again(self):
        if self.listener.fileno() != -1:  # not closed meanwhile
            asyncio.get_running_loop().add_reader(self.listener, self.accept)

    async def drain(self):
        """Serves the backlog, refuses new connections, and answers what has arrived."""
        while self.accept():
            pass
        asyncio.get_running_loop().remove_reader(self.listener)
        with contextlib.suppress(OSError):  # it is closed whatever close(2) says
            self.listener.close()
        await asyncio.gather(*self.welcomes, return_exceptions=True)
        left = [client.gone for client in self.clients]
        for client in list(self.clients):
            client.stop()
        if left:
            await asyncio.wait(left, timeout=DRAIN_S)


def main():
    if len(sys.argv) != 2 or not sys.argv[1].isdecimal() or int(sys.argv[1]) > 65535:
        print("server.py: expected one argument, a port from 0 to 65535", file=sys.stderr)
        sys.exit(2)
    asyncio.run(Server().run(int(sys.argv[1])))


if __name__ == "__main__":
    main()
