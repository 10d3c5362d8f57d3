"""Errors of system calls that a level-triggered server must survive."""

import os
import pathlib

from touchstone_conform import marks
from touchstone_conform.failure import expect
from touchstone_conform.harness.client import CloseKind
from touchstone_conform.harness.samples import sample
from touchstone_conform.harness.server import expect_ended, run_to_end
from touchstone_conform.harness.skips import SkipReason

pytestmark = marks.reference

CANNOT_START = 1
FIRST_FREE_PORT = pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def expect_injected(trace, hit):
    expect(hit, "system-calls", f"{trace.injected()} system calls were made to fail")


@marks.requirement("REF-14")
def test_false_would_block(server, attach_strace):
    """Every second receive and send fails with EAGAIN: nothing is lost or repeated."""
    with attach_strace(
        "-e", "trace=recvfrom,sendto", "-e", "inject=recvfrom,sendto:error=EAGAIN:when=1+2"
    ) as trace:
        with server.connect(receive_buffer=8192) as client:
            client.exchange(sample(200_000), shutdown=True)
        trace.detach()
        expect_injected(trace, trace.injected() > 0)


@marks.requirement("REF-14")
def test_no_room_in_the_poller(server, attach_strace):
    """A connection that the poller cannot watch is closed, and no other."""
    with server.connect("old") as old:
        old.ping()
        old.ping()  # the first may be answered before the client is watched, a second only after
        with attach_strace(
            "-e", "trace=epoll_ctl", "-e", "inject=epoll_ctl:error=ENOSPC:when=1"
        ) as trace:
            with server.connect("first") as first, server.connect("second") as second:
                first.expect_end()
                second.ping()
                old.ping()
            trace.detach()
            expect_injected(trace, trace.injected() == 1)
    server.wait_for_log(r"^disconnect token=\S+ peer=\S+ reason=error errno=ENOSPC in=0 out=0$")


@marks.requirement("REF-14")
def test_a_receive_that_fails(server, attach_strace):
    """An unexpected error ends its connection, and the log names it."""
    with server.connect("old") as old, server.connect("unlucky") as unlucky:
        old.ping()
        unlucky.ping()
        with attach_strace("-e", "trace=recvfrom", "-e", "inject=recvfrom:error=EBADMSG:when=1"):
            unlucky.send(b"x")
            unlucky.expect_end(allowed=(CloseKind.FIN, CloseKind.RST))
            old.ping()
    server.wait_for_log(r"^disconnect token=\S+ peer=\S+ reason=error errno=\w+ in=4 out=4$")


@marks.requirement("REF-2")
def test_a_privileged_port(reference_program, server):
    """A privileged port is reported with the name of errno."""
    if not FIRST_FREE_PORT.exists() or int(FIRST_FREE_PORT.read_text()) <= 1:
        raise SkipReason("permission", "a privileged port")
    without = ["setpriv", "--bounding-set", "-net_bind_service"] if os.geteuid() == 0 else []
    command = [*without, *reference_program, "--listen", "127.0.0.1:1"]
    ended = run_to_end(command, server.scaled(5))
    expect_ended(ended, CANNOT_START, "127.0.0.1:1", "EACCES")
