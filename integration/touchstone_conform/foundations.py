"""What tests depend on, so that one defect gives one verdict.

A test uses as tools what other tests judge: it ends a client by FIN, stops the server for a moment,
connects a second client. Each of these is a foundation. Its own test is judged first; the other
tests are told which foundations are broken. The harness notes what it is asked for, in one place
for all tests: it takes another way where there is one (a client leaves by the kind of end that
works), else the test ends as blocked, which is neither passed nor failed. Markers add what the
harness cannot see.

A test that judges the requirement of a foundation uses it in any case.
"""

from __future__ import annotations

# In the order in which they are judged: each depends on none but those before it.
FOUNDATIONS = {
    "silence": "ECHO-6",  # the server does not send first
    "line": "ECHO-3",  # as many bytes come back as a line has
    "letters": "ECHO-1",  # those of samples.PLAIN are mapped as they should be
    "byte": "ECHO-5",  # a byte without a newline is answered
    "bytes": "ECHO-1",  # all 256 are mapped as they should be
    "neighbours": "FAIR-3",  # clients that connect at once are all served
    "stream": "ECHO-3",  # more bytes than a buffer holds are answered
    "fin": "CLOSE-2",  # FIN is answered with FIN
    "farewell": "ECHO-6",  # and with nothing else
    "data-and-fin": "CLOSE-1",  # bytes right before FIN are answered
    "reset": "CLOSE-5",  # the server outlives RST
    "idle": "CLOSE-7",  # a silent client is kept
    "stall": "FLOW-1",  # a client that does not read is not read for ever
    "resume": "FLOW-2",  # and gets everything once it reads
    "others": "FAIR-4",  # while others are served
    "flush": "CLOSE-3",  # what is pending at FIN is sent
    "urgent": "FLOW-6",  # a byte that is urgent delays no other
    "rest": "COST-1",  # waiting costs no CPU time
    "rest-while-stalled": "COST-2",  # nor while a client does not read
    "interrupt": "FAULT-1",  # the server outlives SIGSTOP and SIGCONT
    "broken-pipe": "CLOSE-6",  # and a write that fails with EPIPE
    "backlog": "CLOSE-6",  # and RST of a client that it has not accepted
    "release": "CLOSE-8",  # ended connections are closed
    "exhausted": "FAULT-3",  # the server outlives accept without descriptors
    "log": "LOG-1",  # and serves while nobody reads its log
    "stop": "STOP-1",  # a stop signal is handled, and ends the server
}
# Without these nothing can be judged, not even other tests of their own requirement.
ALWAYS = ("silence", "line", "letters", "byte")
STREAM_FROM = 4096  # bytes of one client: more depend on "stream"


class Blocked(Exception):
    """The test depends on what this server lacks; holds the requirements that fail instead."""

    def __init__(self, requirements):
        super().__init__(f"blocked by {', '.join(requirements)}")
        self.requirements = requirements


class Footing:
    """Which foundations are broken, for a test that judges some requirements.

    `asked` has the names of those that the test used, or would have; `fin_is_slow` is set once
    the server took long to answer a FIN.
    """

    def __init__(self, broken=(), judged=()):
        self._broken = frozenset(broken)
        self._judged = frozenset(judged)
        self.asked = set()
        self.fin_is_slow = False

    def is_broken(self, name: str) -> bool:
        """Without using it."""
        return name in self._broken

    def holds(self, name: str) -> bool:
        """Whether a test that has another way may use this one."""
        self.asked.add(name)
        return not self.is_broken(name)

    def require(self, *names: str) -> None:
        """Blocked if one of them is broken, and the test does not judge just that."""
        self.asked.update(names)
        missing = [FOUNDATIONS[each] for each in names if self._is_missing(each)]
        if missing:
            raise Blocked(list(dict.fromkeys(missing)))

    def _is_missing(self, name):
        may_use = FOUNDATIONS[name] in self._judged and name not in ALWAYS
        return name in self._broken and not may_use
