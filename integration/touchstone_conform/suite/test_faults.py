"""Errors of system calls that occur on a busy system."""

import contextlib
import os
import resource

import pytest

from touchstone_conform import marks
from touchstone_conform.failure import expect
from touchstone_conform.harness.samples import sample
from touchstone_conform.harness.skips import NotRequired
from touchstone_conform.transform import answer

pytestmark = marks.process

WAITS = "epoll_wait epoll_pwait epoll_pwait2 poll ppoll select pselect6"
ACCEPTS = "accept accept4"
TRANSFERS = "read readv recvfrom recvmsg write writev sendto sendmsg"
LASTING_REFUSALS = 3


def calls(names):
    """A set of system calls for strace; not every machine has all of them."""
    return ",".join(f"?{name}" for name in names.split())


def skip_unless_hit(trace):
    trace.detach()
    if not trace.injected():
        raise NotRequired("one of the system calls that strace makes fail")


def split_by_blocking(server):
    """The names of the calls that a signal can interrupt in this server, and of the others.

    What waits, and calls on blocking sockets: those of clients are known once one is connected.
    """
    with server.connect("probe") as client:
        client.ping()
        flags = [each for process in server.process.family() for each in process.socket_flags()]
        client.leave()
    listening = {each for listens, each in flags if listens}
    connected = {each for listens, each in flags if not listens}
    can, cannot = [WAITS], []
    for names, found in ((ACCEPTS, listening), (TRANSFERS, connected)):
        (can if any(not each & os.O_NONBLOCK for each in found) else cannot).append(names)
    return " ".join(can), " ".join(cannot)


@marks.requirement("FAULT-1")
@marks.leans_on("interrupt")
def test_interrupted_calls(server, attach_strace):
    """Every third system call that a signal can interrupt fails with EINTR: no byte is lost.

    Every second one would be too many: some loops make two of a kind, and the same one of them
    would always fail. No known loop makes three.
    """
    interrupt(server, attach_strace, split_by_blocking(server)[0])


@marks.requirement("FAULT-5")
@marks.leans_on("interrupt")
def test_interrupted_nonblocking_calls(server, attach_strace):
    """The same with calls on non-blocking sockets, for which Linux knows no interruption."""
    names = split_by_blocking(server)[1]
    if not names:
        raise NotRequired("non-blocking sockets")
    interrupt(server, attach_strace, names)


def interrupt(server, attach_strace, names):
    which = calls(names)
    with attach_strace(
        "-e", f"trace={which}", "-e", f"inject={which}:error=EINTR:when=1+3"
    ) as trace:
        for seed in range(3):
            with server.connect(receive_buffer=8192) as client:
                client.exchange(sample(200_000, seed))
                client.leave()
        with server.connect() as client:
            for _ in range(20):
                client.ping()
        skip_unless_hit(trace)


@marks.requirement("FAULT-2")
@marks.leans_on("interrupt")
@pytest.mark.parametrize(
    "error", ["ECONNABORTED", "EPROTO", "ENETDOWN", "EHOSTUNREACH", "EPERM", "EINTR"]
)
def test_transient_accept_error(server, attach_strace, error):
    """After accept failed once, new connections are served, and the old ones throughout."""
    which = calls("accept accept4")
    with server.connect("old") as old:
        old.ping()
        with attach_strace(
            "-e", f"trace={which}", "-e", f"inject={which}:error={error}:when=1"
        ) as trace:
            with server.connect("first") as first, server.connect("second") as second:
                old.ping()
                second.ping()
                first.ping()
            skip_unless_hit(trace)


@marks.requirement("FAULT-3")
@marks.leans_on("idle", "release", "interrupt")
@pytest.mark.parametrize("error", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"])
def test_lasting_accept_error(server, attach_strace, error):
    """While accept lacks resources, old clients are served; new ones afterwards.

    The server may close new connections meanwhile: at most one for each failure.
    """
    which = calls("accept accept4")
    with server.connect("old") as old:
        old.ping()
        with attach_strace(
            "-e",
            f"trace={which}",
            "-e",
            f"inject={which}:error={error}:when=1..{LASTING_REFUSALS}",
        ) as trace:
            for number in range(LASTING_REFUSALS + 1):
                with server.connect(f"new {number}") as new:
                    old.ping()
                    served = ping_unless_shed(new)
                    old.ping()
                if served:
                    break
            skip_unless_hit(trace)
    refused = f"no new connection is served after accept failed {LASTING_REFUSALS} times"
    expect(served, "no-answer", refused)


@marks.leans_on("idle", "neighbours")
class TestNoDescriptorsLeft:
    """While descriptors are exhausted, old clients are served; new ones afterwards."""

    @pytest.fixture(autouse=True)
    def exhausted(self, server):
        """Two old clients, no descriptor for a third, and five new connections."""
        with contextlib.ExitStack() as connections:

            def connect(name):
                return connections.enter_context(server.connect(name))

            server.warm_up()
            self.old = connect("old")
            self.old.ping()
            before = len(server.process.descriptors())
            self.leaving = connect("leaving")
            self.leaving.ping()
            self.are_kept = len(server.process.descriptors()) > before
            highest = max(server.process.descriptors())
            self.limit = connections.enter_context(contextlib.ExitStack())
            self.limit.enter_context(server.process.limited(resource.RLIMIT_NOFILE, highest + 1))
            self.newly_connected = [connect(f"new {i}") for i in range(5)]
            self.old.ping()
            yield
            self.old.ping()

    @marks.foundation("exhausted")
    def test_old_clients(self):
        """The server goes on, and serves those who are connected."""
        self.old.ping()
        self.leaving.ping()

    @marks.requirement("FAULT-4")
    @marks.leans_on("exhausted")
    def test_waiting(self, server):
        """The server waits without using CPU time."""
        used = server.process.cpu_seconds_during(0.5)
        expect(used <= 0.1, "cpu", f"{used:.2f} s of CPU time in half a second, at most 0.1")
        self.old.ping()

    @marks.requirement("FAULT-3")
    @marks.leans_on("release")
    def test_one_leaves(self, server):
        """The descriptor of a client that left serves the next, and so on."""
        if not self.are_kept:
            raise NotRequired("descriptors of clients in the process that listens")
        self.leaving.leave()
        for client in self.newly_connected:
            ping_unless_shed(client)
            client.close()

    @marks.requirement("FAULT-3")
    @marks.leans_on("release")
    def test_limit_raised(self, server):
        """No event reports that there are descriptors again; all clients are served soon."""
        self.limit.close()
        for client in self.newly_connected:
            ping_unless_shed(client)
        with server.connect("late") as late:
            late.ping()


def ping_unless_shed(client):
    """A server may close a new connection, or leave it in the backlog until it can serve it."""
    client.send_what_fits(b"ping")
    served = client.receive(4) == answer(b"ping")
    if not served and not client.end:
        client.fail("no-answer", "neither served nor closed")
    return served
