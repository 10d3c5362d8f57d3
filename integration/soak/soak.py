"""A server under mixed clients for a long time, at its descriptor limit.

    python integration/soak/soak.py [--seconds N] [--descriptors N] COMMAND...

COMMAND starts the server, which must listen on {port}, and has one thread. More clients want in
than it may have descriptors for; a client that leaves is replaced by a new one:

    well-behaved   sends and reads at once, then FIN: every byte comes back right, then FIN
    resetting      the same, but resets the connection at a random moment
    stalled        sends until nothing is accepted, waits, then reads everything
    half-closed    the same, but sends FIN before it waits
    hasty          resets at once: most of them before they are accepted
    silent         sends nothing for some seconds; by far the most, to hold descriptors

From time to time the descriptor limit is lowered below what is in use. One client is served first;
then a short round of all this warms the server up, and a long one follows. After each, all clients
leave, and the descriptors must be those after the first client; after the second, private memory
must be what it was after the first. Then SIGTERM, with some clients there: they must see FIN, and
the server must exit with status 0.

The exit status is 0 if all of that holds, and 1, with the reason, at the first failure, or where
the machine lacks something that is required.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import time

from touchstone_conform.harness import listeners
from touchstone_conform.harness.process import Process, prlimit
from touchstone_conform.harness.samples import sample
from touchstone_conform.harness.server import fill_in
from touchstone_conform.harness.skips import SkipReason
from touchstone_conform.harness.waiting import Deadline, wait_until
from touchstone_conform.transform import answer

HOST = "127.0.0.1"
WARM_UP_S = 3
LOOK_S = 0.5  # how often the descriptors are counted
SQUEEZE_EVERY = 3  # counts with the whole limit, then as many with the lower one
PROGRESS_EVERY = 10
TIMEOUT_S = 60  # for one client, from its connect to its end
START_S = 10
BASELINE_S = 5
DRAIN_S = 30
DRAINED_CLIENTS = 10

CROWD = 1.15  # clients at a time, for each descriptor
REACHED = 0.95  # of the limit: descriptors that must be in use once
SQUEEZED = 0.85
NOISE_BYTES = 32 * 1024
SHARE_OF_A_CORE = 0.4  # CPU time of all clients together

_CHUNK = 1 << 16
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_SAMPLE = sample(16 << 20)
_ANSWER = answer(_SAMPLE)


class Failed(Exception):
    """How the server fails."""


# ---- One client, from its connect to its end.


class Visitor:
    """A connection, and its position in the sample, from a random offset on."""

    def __init__(self, address):
        self.sent = self.received = 0
        self._begin = random.randrange(len(_SAMPLE) // 2)
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket()
        self._socket.setblocking(False)

    async def connect(self):
        await self._loop.sock_connect(self._socket, self._address)

    async def send(self, count):
        """Send the next bytes of the sample. Answers may come before the last byte is sent."""
        at = self._begin + self.sent
        self.sent += count
        await self._loop.sock_sendall(self._socket, _SAMPLE[at : at + count])

    def send_what_fits(self):
        """Send the next bytes of the sample, as many as are accepted at once; return the count."""
        at = self._begin + self.sent
        try:
            count = self._socket.send(_SAMPLE[at : at + _CHUNK])
        except BlockingIOError:
            return 0
        self.sent += count
        return count

    async def receive(self):
        """Receive the next bytes, which must be right; false at the end."""
        data = await self._loop.sock_recv(self._socket, _CHUNK)
        right = _ANSWER.startswith(data, self._begin + self.received)
        self.received += len(data)
        if not right or self.received > self.sent:
            raise Failed("other bytes than the answer [wrong-byte]")
        return len(data) > 0

    async def receive_to_end(self):
        """All that was sent comes back, then FIN."""
        while await self.receive():
            pass
        if self.received != self.sent:
            raise Failed("FIN before all bytes [short-answer]")

    def set_receive_buffer(self, count):
        """Bound the window: with a small one the server soon has to wait."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, count)

    def shutdown(self):
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self):
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()

    def close(self):
        self._socket.close()


async def exchange(visitor, total):
    """Sends pieces of random sizes and reads meanwhile, until all is received."""

    async def write():
        while visitor.sent < total:
            await visitor.send(random.randrange(1, total - visitor.sent + 1))

    async def read():
        while visitor.received < total:
            if not await visitor.receive():
                raise Failed("unexpected FIN [closed-early]")

    await visitor.connect()
    await asyncio.gather(write(), read())


def any_size():
    return random.randrange(1, 1 << random.randrange(1, 19))


async def be_well_behaved(visitor):
    await exchange(visitor, any_size())
    visitor.shutdown()
    await visitor.receive_to_end()


async def reset_sometime(visitor):
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(exchange(visitor, any_size()), random.uniform(0, 0.1))
    visitor.reset()


async def reset_at_once(visitor):
    await visitor.connect()
    visitor.reset()


async def send_until_blocked(visitor):
    """Until nothing is accepted for a while: the server waits, or has not accepted the client."""
    visitor.set_receive_buffer(4096)
    await visitor.connect()
    blocked = 0
    while blocked < 5 and visitor.sent < len(_SAMPLE) // 4:
        blocked = 0 if visitor.send_what_fits() else blocked + 1
        await asyncio.sleep(0.02 if blocked else 0)


async def rest_and_read(visitor):
    await asyncio.sleep(random.uniform(0.5, 3))
    visitor.set_receive_buffer(1 << 20)
    while visitor.received < visitor.sent:
        if not await visitor.receive():
            raise Failed("unexpected FIN [closed-early]")


async def stall(visitor):
    await send_until_blocked(visitor)
    await rest_and_read(visitor)
    visitor.shutdown()
    await visitor.receive_to_end()


async def half_close(visitor):
    await send_until_blocked(visitor)
    visitor.shutdown()
    await rest_and_read(visitor)
    await visitor.receive_to_end()


async def be_silent(visitor):
    await visitor.connect()
    await asyncio.sleep(random.uniform(0.5, 4))
    visitor.shutdown()
    await visitor.receive_to_end()


# Each kind: how many at a time, the longest pause between two, and what they do.
KINDS = {
    "well-behaved": (60, 1.0, be_well_behaved),
    "resetting": (30, 1.0, reset_sometime),
    "stalled": (10, 1.0, stall),
    "half-closed": (10, 1.0, half_close),
    "hasty": (5, 0.5, reset_at_once),
}
SILENT = "silent"  # enough to exceed the limit


# ---- All of them together.


class Crowd:
    """Clients of every kind that connect and leave, and their counts."""

    def __init__(self, server):
        self.server = server
        self.done = collections.Counter()
        self._over = False
        silent = round(server.limit * CROWD) - sum(seats for seats, _, _ in KINDS.values())
        self._kinds = {**KINDS, SILENT: (silent, 0.1, be_silent)}

    async def round(self, seconds):
        """All kinds at once for so many seconds; then all leave."""
        self._over = False
        coming = [
            self._come_and_leave(kind, away, act)
            for kind, (seats, away, act) in self._kinds.items()
            for _ in range(seats)
        ]
        try:
            await asyncio.gather(self._watch(seconds), *coming)
        finally:
            self._over = True  # also after a failure: wait_for may swallow a cancellation
        await self.server.back_at_baseline()

    async def _come_and_leave(self, kind, away, act):
        while not self._over:
            await self.visit(kind, act)
            self.done[kind] += 1
            await asyncio.sleep(random.uniform(0, away))

    async def visit(self, kind, act):
        visitor = Visitor(self.server.address)
        try:
            await asyncio.wait_for(act(visitor), TIMEOUT_S)
        except asyncio.TimeoutError:
            self._blame(kind, visitor, f"not done after {TIMEOUT_S} s [no-answer]")
        except OSError as error:
            self._blame(kind, visitor, f"{error.strerror} [socket-error]")
        except Failed as failed:
            self._blame(kind, visitor, str(failed))
        finally:
            visitor.close()

    def _blame(self, kind, visitor, what):
        moved = f"{visitor.sent} bytes sent, {visitor.received} received"
        raise Failed(f"{kind} client: {what} ({moved})")

    async def _watch(self, seconds):
        """Ends the round once the limit was reached; lowers the limit and prints progress."""
        end, late = Deadline(seconds), Deadline(seconds + TIMEOUT_S)
        looks = most = 0
        while not end.passed() or most < self.server.limit * REACHED:
            most = max(most, self.server.count_descriptors())
            if late.passed():
                raise Failed(f"at most {most} descriptors: the limit was not reached [limit]")
            looks += 1
            self.server.squeeze(looks // SQUEEZE_EVERY % 2 == 1)
            if looks % PROGRESS_EVERY == 0:
                self.print_progress()
            await asyncio.sleep(LOOK_S)
        self.server.squeeze(False)
        self._over = True

    def print_progress(self):
        kinds = ", ".join(f"{self.done[kind]} {kind}" for kind in self._kinds)
        print(f"{self.server.figures()}; done {sum(self.done.values())}: {kinds}", flush=True)


async def rest():
    """Pauses all clients when they have used more than their share of a core."""
    began, used_before = time.monotonic(), time.process_time()
    while True:
        used = time.process_time() - used_before
        excess = used / SHARE_OF_A_CORE - (time.monotonic() - began)
        if excess > 0:
            time.sleep(min(excess, LOOK_S))
        await asyncio.sleep(0.02)


# ---- The server.


class Server:
    """A child process under a descriptor limit, and its figures."""

    def __init__(self, command, limit):
        self.limit = limit
        self.address = (HOST, listeners.free_port(HOST))
        self._began = time.monotonic()

        def lower_limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

        # A log to /dev/null never blocks.
        self._child = subprocess.Popen(
            fill_in(command, HOST, self.address[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            preexec_fn=lower_limit,
        )

    def wait_until_listening(self):
        def look():
            pid = listeners.listening_process([self._child.pid], self.address[1])
            return pid or self._child.poll() is not None

        self.pid = wait_until(look, START_S)
        if not self.pid or self._child.poll() is not None:
            raise Failed("the server does not listen [not-listening]")
        self._process = Process(self.pid)

    def count_descriptors(self):
        if self._child.poll() is not None:
            raise Failed("the server is gone [server-died]")
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def squeeze(self, squeezed):
        """Set its soft limit: below what is in use, it has no descriptor for a new connection."""
        soft = round(self.limit * SQUEEZED) if squeezed else self.limit
        prlimit(self.pid, resource.RLIMIT_NOFILE, (soft, self.limit))

    def take_baseline(self):
        """Its descriptors at rest; once it has served a client, it has opened all that it keeps."""
        if not wait_until(self._process.is_at_rest, BASELINE_S):
            raise Failed(f"the server is busy {BASELINE_S} s after its first client [cpu]")
        self._baseline = self.count_descriptors()

    async def back_at_baseline(self):
        end = Deadline(BASELINE_S)
        while self.count_descriptors() != self._baseline:
            if end.passed():
                count = self.count_descriptors()
                raise Failed(f"{count} descriptors, expected {self._baseline} [descriptors]")
            await asyncio.sleep(0.02)

    def private_bytes(self):
        return self._process.memory()["Private_Dirty"]

    def figures(self):
        elapsed = time.monotonic() - self._began
        return (
            f"{elapsed:5.0f} s: {self.count_descriptors()} descriptors, "
            f"{self._process.resident() >> 10} KiB resident, "
            f"server {self._process.cpu_seconds() / elapsed:.0%} of a core, "
            f"clients {time.process_time() / elapsed:.0%}"
        )

    def terminate(self):
        os.kill(self.pid, signal.SIGTERM)

    async def demand_drained(self):
        end = Deadline(DRAIN_S)
        while self._child.poll() is None:
            if end.passed():
                raise Failed(f"the server still runs {DRAIN_S} s after SIGTERM [server-stuck]")
            await asyncio.sleep(0.02)
        if self._child.returncode != 0:
            status = self._child.returncode
            raise Failed(f"status {status} after SIGTERM, expected 0 [exit-status]")

    def end(self):
        """End it; return how it ended, if it had ended by itself."""
        of_itself = wait_until(lambda: self._child.poll() is not None, 0.5)
        self._child.kill()
        self._child.wait()
        status = self._child.returncode
        died = " [server-died]" if status < 0 else ""
        return f"; the server ended with status {status}{died}" if of_itself else ""


async def drain(crowd):
    """SIGTERM with clients: they see FIN, and the server ends with status 0."""
    stopped = asyncio.Event()
    served = []

    async def stay(visitor):
        await exchange(visitor, any_size())
        served.append(visitor)
        if len(served) == DRAINED_CLIENTS:
            stopped.set()
            crowd.server.terminate()
        await stopped.wait()
        await visitor.receive_to_end()

    await asyncio.gather(*(crowd.visit("drained", stay) for _ in range(DRAINED_CLIENTS)))
    await crowd.server.demand_drained()


async def soak(server, seconds):
    resting = asyncio.ensure_future(rest())
    crowd = Crowd(server)
    await crowd.visit("first", be_well_behaved)
    server.take_baseline()
    await crowd.round(WARM_UP_S)
    before = server.private_bytes()
    await crowd.round(seconds)
    growth = server.private_bytes() - before
    crowd.print_progress()
    print(f"private memory: {before >> 10} KiB after the warm-up, {growth >> 10:+} KiB since")
    if growth > NOISE_BYTES:
        raise Failed(f"private memory grew by {growth} bytes since the warm-up [memory]")
    await drain(crowd)
    resting.cancel()


def main():
    description = "Runs mixed clients against a server for a long time, and judges it."
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--descriptors", type=int, default=1000, help="the limit for the server")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the server, with {port} in it")
    arguments = parser.parse_args()
    if not arguments.command:
        parser.error("expected a command that starts the server")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        server = Server(arguments.command, arguments.descriptors)
    except OSError as error:
        sys.exit(f"soak: cannot start the server: {error}")
    failure = None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("soak: interrupted by SIGTERM"))
    try:
        server.wait_until_listening()
        asyncio.run(soak(server, arguments.seconds))
    except Failed as failed:
        failure = failed
    except SkipReason as reason:
        failure = str(reason)
    finally:
        ending = server.end()
    if failure:
        sys.exit(f"soak: failed: {failure}{ending}")
    print("soak: passed")


if __name__ == "__main__":
    main()
