"""The reference beside many clients that send without pause."""

import contextlib
import re

from touchstone_conform import marks
from touchstone_conform.failure import expect
from touchstone_conform.harness import strace
from touchstone_conform.harness.flood import expect_open
from touchstone_conform.harness.skips import SkipReason

pytestmark = marks.reference

FLOODS = 20
NEWCOMERS = 60
CALLS_MAX = 150  # receives and sends between two waits


@marks.requirement("REF-18")
def test_what_is_done_between_two_waits(server, start_flood):
    """Beside many floods the server waits soon again, and accepts several new clients at a time."""
    flood = start_flood(FLOODS)
    with contextlib.ExitStack() as connections, strace.attached(server.pid) as trace:
        with server.process.stopped():
            new = [connections.enter_context(server.connect(f"new {i}")) for i in range(NEWCOMERS)]
        for client in new:
            client.ping()
        trace.detach()
        text = trace.text()
    expect_open(flood)
    calls = re.findall(r"^\d+ +(epoll_\w*wait|recv|send|accept)", text, re.MULTILINE)
    if calls.count("accept") < NEWCOMERS:
        raise SkipReason("a whole trace of the system calls")
    passes = re.split(r"epoll_\w*wait ?", " ".join(calls))
    most = max(each.count("recv") + each.count("send") for each in passes)
    message = f"expected at most {CALLS_MAX} receives and sends between two waits, found {most}"
    expect(most <= CALLS_MAX, "system-calls", message)
    accepting = sum("accept" in each for each in passes)
    message = f"expected {NEWCOMERS} clients to be accepted in groups, found {accepting} waits"
    expect(accepting <= NEWCOMERS / 2, "system-calls", message)
