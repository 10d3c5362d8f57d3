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
MANY_READY = 8
CALLS_MAX = 150  # receives and sends between two waits


@marks.requirement("REF-18")
def test_what_is_done_between_two_waits(server, start_flood):
    """Beside many floods the server waits soon again, and accepts several new clients at a time."""
    flood = start_flood(FLOODS)
    with contextlib.ExitStack() as connections, strace.attached(server.process) as trace:
        with server.process.stopped():
            new = [connections.enter_context(server.connect(f"new {i}")) for i in range(NEWCOMERS)]
        for client in new:
            client.ping()
        trace.detach()
        text = trace.text()
    expect_open(flood)
    passes = passes_of(text)
    if sum(accepts for _, accepts, _ in passes) < NEWCOMERS:
        raise SkipReason("load", "a whole trace of the system calls")
    most = max(transfers for _, _, transfers in passes)
    message = f"expected at most {CALLS_MAX} receives and sends between two waits, found {most}"
    expect(most <= CALLS_MAX, "system-calls", message)
    long = [accepts for ready, accepts, _ in passes if ready >= MANY_READY and accepts]
    if not long:
        raise SkipReason("load", "a flood that keeps many clients ready")
    message = f"expected at least 2 accepts between two waits, {MANY_READY} being ready: {long}"
    expect(min(long) >= 2, "system-calls", message)


def passes_of(trace):
    """Of each wait of a single thread: how many were ready, and how many accepts and transfers
    followed."""
    passes = []
    for wait, ready, call in re.findall(
        r"^\d+ +(?:(epoll_\w*wait).* = (\d+)$|(recv|send|accept))", trace, re.MULTILINE
    ):
        if wait:
            passes.append([int(ready), 0, 0])
        elif passes:
            passes[-1][1 if call == "accept" else 2] += 1
    return passes
