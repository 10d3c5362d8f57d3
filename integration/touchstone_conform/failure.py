"""How a test can fail: a stable code for each way, and the exception that carries it.

Codes are for programs and lists; messages are for people and may change. PORTING.md has this table.
"""

from __future__ import annotations

KIT_ERROR = "kit-error"
CODES = {
    # What a client received.
    "no-answer": "no byte of the answer came in time, or before the connection ended",
    "short-answer": "only the first part of the answer came",
    "wrong-byte": "a byte differs from the one that is due",
    "unasked-data": "more bytes came than are due",
    # How its connection began and ended.
    "cannot-connect": "a client cannot connect",
    "closed-early": "the server ended a connection that it must keep open",
    "rst-for-fin": "the connection ended by RST, expected FIN",
    "fin-for-rst": "the connection ended by FIN, expected RST",
    "still-open": "the connection is still open, expected its end",
    "timed-out": "the client's kernel gave the connection up (ETIMEDOUT)",
    # How clients affect each other and the server.
    "not-read": "the server stopped reading a client that reads its answers",
    "no-backpressure": "the server keeps reading from a client that does not read its answers",
    "slow": "something took longer than its limit",
    # What the server costs.
    "cpu": "the server uses CPU time while there is nothing to do",
    "wake-ups": "the server wakes up repeatedly while there is nothing to do",
    "system-calls": "the server makes unnecessary or wrong system calls",
    "memory": "the server's memory exceeds its limit",
    "descriptors": "the server's open descriptors, or their flags, are not as required",
    "socket-option": "a socket option is not as required",
    # The process.
    "not-listening": "the server does not listen where it must",
    "still-listening": "the server accepts connections after its stop signal",
    "server-died": "the server ended, or a sanitizer reported an error, while it must serve",
    "server-stuck": "the process does not end in time",
    "exit-status": "the process ended with another status than required",
    "log-line": "the log does not contain what it must, or contains what it must not",
    "log-flood": "the process writes to stdout or stderr without bound",
    "output": "the process's output on stdout or stderr is not as required",
    # The test itself.
    "unexpected-skip": "the test cannot run on this machine, and --require-all permits no skip",
    KIT_ERROR: "the test itself failed: the fault is the kit's, or the scenario's; no verdict",
}


# A server that died explains what its clients saw.
CAUSES = ("log-flood", "server-died", "not-listening")


def first_cause(codes) -> str:
    """Of several failures of one test, the code that explains the others."""
    of_server = [each for each in codes if each != KIT_ERROR] or codes
    return next((each for each in CAUSES if each in codes), of_server[0])


class Failure(AssertionError):
    """The server did what a conforming server does not do."""

    def __init__(self, code: str, message: str):
        if code not in CODES:
            raise ValueError(f"{code!r} is not a failure code")
        super().__init__(message)
        self.code = code


def expect(condition, code: str, message: str) -> None:
    """Fail with this code and message unless the condition holds."""
    if not condition:
        raise Failure(code, message)
