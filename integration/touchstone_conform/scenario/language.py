"""The scenario language: what clients do, and what they must see, as text.

The same text runs on the simulated kernel, where another parser reads it; both agree on every
accepted text's canonical form, and on where and why each other text is wrong
(tests/scenarios/syntax). Texts are bytes here: columns count bytes.
"""

from __future__ import annotations

import dataclasses
import re

VERSION = 1
CLIENTS_MAX = 16
CROWD_MAX = 600
STEPS_MAX = 256
LITERAL_BYTES_MAX = 8192
FAULTS_MAX = 8
CHOICES_MAX = 16
TAKEN_MAX = 255  # of a choice: the number of an alternative
COUNT_MAX = (1 << 24) - 1
NAME_LENGTH_MAX = 31
_SHOWN_MAX = 60

CLIENT_STEPS = (
    "connect send urgent shutdown reset close pause resume short-receive short-send report "
    "expect expect-end expect-close"
).split()
SERVER_STEPS = "freeze thaw settle wait descriptors stop crowd".split()
CLOSES = ("fin", "rst", "open")
VARIES = "short delay order hints stale eagain eintr inherited log".split()

_TRANSFERS = ("send", "expect")
_COUNTS = ("wait", "descriptors")
_SIMULATED_SETTINGS = ("seed", "kernel", "vary", "fault")

# Steps for a simulated kernel alone, and who has records there beside the clients.
_SHORTS = ("short-receive", "short-send")
_SIMULATED_STEPS = (*_SHORTS, "report", "crowd")
_REPORTED = ("listener", "stop")

# The settings with a number: the field, and the range.
_SERVER_SETTINGS = {
    "buffer": ("buffer", 1, 65536),
    "max-connections": ("max_connections", 1, 16),
    "idle-timeout": ("idle_timeout", 1, 1000),
    "drain-timeout": ("drain_timeout", 1, 1000),
}
_KERNEL_SETTINGS = {
    "receive": ("kernel_receive", 1, 1 << 20),
    "send": ("kernel_send", 1, 1 << 20),
}

# How each call may fail (source: the man pages of Linux and FreeBSD).
_PASSING = {"EAGAIN", "EINTR"}
_MEMORY = {"ENOMEM", "ENOBUFS"}
_NETWORK = {"ETIMEDOUT", "EHOSTUNREACH", "ENETDOWN"}
_MAY_FAIL = {
    "accept": _PASSING
    | _MEMORY
    | _NETWORK
    | {"ECONNABORTED", "EMFILE", "ENFILE", "EPERM", "EPROTO"},
    "receive": _PASSING | _MEMORY | _NETWORK | {"ECONNRESET", "EPIPE", "ENOTCONN", "EIO"},
    "send": _PASSING | _MEMORY | _NETWORK | {"ECONNRESET", "EPIPE", "ENOTCONN", "EPERM", "EIO"},
    "shutdown": {"ENOTCONN", "ENOBUFS"},
    "close": {"EINTR", "EIO", "ENOSPC", "ECONNRESET"},
    "unread": {"EIO"},
    "control": {"ENOMEM", "ENOSPC", "ENOENT", "EEXIST", "EPERM", "EPIPE"},
    "wait": {"EINTR"},
    "log": _PASSING | {"EIO", "ENOSPC", "EPIPE"},
}


class ScenarioError(Exception):
    """Where a text is wrong: line and column, from 1; a stable code, what was found and what was
    expected: `2:11: syntax: found 'wide', expected window N, or the end of the line`."""

    def __init__(self, line: int, column: int, text: str):
        super().__init__(f"{line}:{column}: {text}")
        self.line = line
        self.column = column
        self.text = text


@dataclasses.dataclass
class Step:
    kind: str
    client: int | None = None  # from 0, in the order in which they connect
    count: int = 0
    literal: bytes | None = None
    reported: str = ""  # of `_REPORTED`, or of `client` if it is empty
    closes: tuple[str, ...] = ()
    line: int = 0


@dataclasses.dataclass
class Scenario:
    """Settings that were not given are 0: the server's or the kernel's own."""

    simulated: bool = False
    seed: int = 0
    vary: set[str] = dataclasses.field(default_factory=set)
    kernel_receive: int = 0
    kernel_send: int = 0
    buffer: int = 0
    max_connections: int = 0
    idle_timeout: int = 0
    drain_timeout: int = 0
    faults: list[tuple[str, int, str]] = dataclasses.field(default_factory=list)
    choices: list[tuple[str, int, int]] = dataclasses.field(default_factory=list)
    steps: list[Step] = dataclasses.field(default_factory=list)
    names: list[str] = dataclasses.field(default_factory=list)

    def server_options(self) -> dict[str, int]:
        """The `server` settings that were given, by the name of the reference's option."""
        given = {name: getattr(self, field) for name, (field, _, _) in _SERVER_SETTINGS.items()}
        return {name: value for name, value in given.items() if value > 0}

    def uses(self, *kinds: str) -> bool:
        """Whether one of its steps is of these kinds."""
        return any(step.kind in kinds for step in self.steps)


def generated(client: int, position: int, count: int) -> bytes:
    """What a client sends from `position` on where no literal says otherwise."""
    first, last = position >> 8, (position + count) >> 8
    rows = b"".join(_ROWS[(13 * row + 31 * client + 97) & 255] for row in range(first, last + 1))
    return rows[position & 255 :][:count]


_ROWS = [bytes((7 * i + k) & 255 for i in range(256)) for k in range(256)]


def parse(text: bytes) -> Scenario:
    """Read a text; ScenarioError if it is none."""
    return _Parser(text).parse()


def canonical(scenario: Scenario) -> bytes:
    """The one text that all texts of this meaning are brought to: clients are a, b, c …"""
    return b"".join(line + b"\n" for line in _lines(scenario))


# Reading.


@dataclasses.dataclass
class _Word:
    text: bytes | None  # None at the end of the line
    column: int


class _ClientState:
    def __init__(self):
        self.shut = self.gone = self.paused = False
        self.sent = self.expected = 0


class _Parser:
    def __init__(self, text: bytes):
        self._text = text
        self._at = 0
        self._line_start = 0
        self._line = 1
        self._scenario = Scenario()
        self._literal_bytes = 0
        self._clients: dict[int, _ClientState] = {}
        self._crowd = 0
        self._frozen = self._stopped = False

    def parse(self) -> Scenario:
        versioned = False
        while self._at < len(self._text):
            self._line_start = self._at
            first = self._next_word()
            if first.text is not None:
                if versioned:
                    self._statement(first)
                else:
                    self._version(first)
                versioned = True
                rest = self._next_word()
                if rest.text is not None:
                    self._unexpected(rest, "the end of the line")
            end = self._text.find(b"\n", self._at)
            self._at = len(self._text) if end < 0 else end + 1
            self._line += 1
        if not versioned:
            self._unexpected(_Word(None, 1), "scenario 1")
        return self._scenario

    # Words.

    def _next_word(self) -> _Word:
        """The next word of the line; a quoted string is one word, with its quotes."""
        text = self._text
        while text[self._at : self._at + 1] in (b" ", b"\t", b"\r"):
            self._at += 1
        column = self._at - self._line_start + 1
        if text[self._at : self._at + 1] in (b"", b"\n", b"#"):
            return _Word(None, column)
        pattern = _QUOTED if text[self._at] == ord('"') else _PLAIN
        word = pattern.match(text, self._at)[0]
        self._at += len(word)
        return _Word(word, column)

    def _is_number_next(self) -> bool:
        before = self._at
        word = self._next_word()
        self._at = before
        return bool(word.text) and word.text[:1].isdigit()

    def _wrong(self, column: int, text: str):
        raise ScenarioError(self._line, column, text)

    def _unexpected(self, word: _Word, expected: str):
        if word.text is None:
            self._wrong(word.column, f"syntax: the line ends here, expected {expected}")
        shown = word.text[:_SHOWN_MAX].decode("utf-8", "surrogateescape")
        self._wrong(word.column, f"syntax: found '{shown}', expected {expected}")

    def _number(self, word: _Word, low: int, high: int, expected: str) -> int:
        match = _DECIMAL.fullmatch(word.text or b"")
        if not match or not low <= int(match[1]) <= high:
            self._unexpected(word, expected)
        return int(match[1])

    def _next_number(self, low: int, high: int) -> int:
        return self._number(self._next_word(), low, high, f"a number from {low} to {high}")

    # Settings.

    def _version(self, first: _Word) -> None:
        if first.text != b"scenario":
            self._unexpected(first, "scenario 1")
        self._next_number(VERSION, VERSION)

    def _statement(self, first: _Word) -> None:
        name = _ascii(first)
        if name in CLIENT_STEPS or name in SERVER_STEPS:
            if name in _SIMULATED_STEPS:
                self._need_simulated(first)
            self._step(first, name)
            return
        if name not in ("server", "simulated", *_SIMULATED_SETTINGS):
            self._unexpected(first, "a step or a setting")
        if self._scenario.steps:
            self._wrong(first.column, "settings-first: settings come before the first step")
        if name in _SIMULATED_SETTINGS:
            self._need_simulated(first)
        self._setting(name)

    def _need_simulated(self, first: _Word) -> None:
        if not self._scenario.simulated:
            self._unexpected(first, "the line 'simulated' before it")

    def _setting(self, name: str) -> None:
        if name == "server":
            expected = "buffer, max-connections, idle-timeout or drain-timeout"
            self._named_number(_SERVER_SETTINGS, expected)
        elif name == "kernel":
            self._named_number(_KERNEL_SETTINGS, "receive or send")
        elif name == "seed":
            self._scenario.seed = self._next_number(0, (1 << 32) - 1)
        elif name == "vary":
            self._vary()
        elif name == "fault":
            self._fault()
        else:
            self._scenario.simulated = True

    def _named_number(self, settings, expected: str) -> None:
        word = self._next_word()
        if _ascii(word) not in settings:
            self._unexpected(word, expected)
        field, low, high = settings[_ascii(word)]
        setattr(self._scenario, field, self._next_number(low, high))

    def _vary(self) -> None:
        word = self._next_word()
        if word.text is None:
            self._unexpected(word, "what varies, or all")
        if _ascii(word) in VARIES and self._is_number_next():
            self._choice(_ascii(word))
            return
        while word.text is not None:
            name = _ascii(word)
            if name not in VARIES and name != "all":
                self._unexpected(word, f"{', '.join(VARIES)} or all")
            self._scenario.vary |= set(VARIES) if name == "all" else {name}
            word = self._next_word()

    def _choice(self, kind: str) -> None:
        if len(self._scenario.choices) == CHOICES_MAX:
            found = f"limit: found one more choice, expected at most {CHOICES_MAX}"
            self._wrong(self._next_word().column, found)
        nth = self._next_number(1, COUNT_MAX)
        self._scenario.choices.append((kind, nth, self._next_number(1, TAKEN_MAX)))

    def _fault(self) -> None:
        word = self._next_word()
        call = _ascii(word)
        if call not in _MAY_FAIL:
            names = ", ".join([*_MAY_FAIL][:-1])
            self._unexpected(word, f"a call: {names} or {[*_MAY_FAIL][-1]}")
        nth = self._next_number(1, COUNT_MAX)
        word = self._next_word()
        if _ascii(word) not in _MAY_FAIL[call]:
            self._unexpected(word, "an error that this call may fail with")
        if len(self._scenario.faults) == FAULTS_MAX:
            self._wrong(word.column, f"limit: found one more fault, expected at most {FAULTS_MAX}")
        self._scenario.faults.append((call, nth, _ascii(word)))

    # Steps.

    def _step(self, first: _Word, kind: str) -> None:
        step = Step(kind, line=self._line)
        if kind in CLIENT_STEPS:
            self._client(step)
        self._operands(step)
        if len(self._scenario.steps) == STEPS_MAX:
            self._wrong(first.column, f"limit: found one more step, expected at most {STEPS_MAX}")
        refused = self._take(step)
        if refused:
            self._wrong(first.column, refused)
        if step.literal is not None:
            self._literal_bytes += len(step.literal)
        self._scenario.steps.append(step)

    def _client(self, step: Step) -> None:
        word = self._next_word()
        names = self._scenario.names
        if word.text is None or not _NAME.fullmatch(word.text):
            self._unexpected(word, "a client's name: a-z, then a-z, 0-9 or -")
        if len(word.text) > NAME_LENGTH_MAX:
            found = f"limit: found a name of {len(word.text)} bytes"
            self._wrong(word.column, f"{found}, expected at most {NAME_LENGTH_MAX}")
        name = _ascii(word)
        if step.kind == "report" and name in _REPORTED:
            step.reported = name
            return
        if name not in names:
            if step.kind == "report":
                self._unexpected(word, "a client that has connected, listener or stop")
            if step.kind != "connect":
                self._unexpected(word, "a client that has connected")
            if len(names) == CLIENTS_MAX:
                self._unexpected(word, "at most 16 clients in a scenario")
            names.append(name)
        step.client = names.index(name)

    def _operands(self, step: Step) -> None:
        if step.kind in _TRANSFERS:
            self._bytes(step)
        elif step.kind == "expect-close":
            self._closes(step)
        elif step.kind in _COUNTS:
            step.count = self._next_number(0, COUNT_MAX)
        elif step.kind == "crowd":
            step.count = self._next_number(1, CROWD_MAX)
        elif step.kind in _SHORTS:
            step.count = self._next_number(1, COUNT_MAX)
        elif step.kind == "connect":
            word = self._next_word()
            if word.text is not None and word.text != b"window":
                self._unexpected(word, "window N, or the end of the line")
            if word.text is not None:
                step.count = self._next_number(1, COUNT_MAX)

    def _bytes(self, step: Step) -> None:
        word = self._next_word()
        if word.text is not None and word.text.startswith(b'"'):
            step.literal = self._string(word)
        elif word.text == b"hex":
            step.literal = self._hex(self._next_word())
        else:
            expected = 'a number of bytes, "text" or hex 00ff'
            step.count = self._number(word, 1, COUNT_MAX, expected)
        if step.literal is not None:
            step.count = len(step.literal)

    def _check_room(self, column: int, literal) -> None:
        if self._literal_bytes + len(literal) == LITERAL_BYTES_MAX:
            limit = f"at most {LITERAL_BYTES_MAX} bytes of literals in a scenario"
            self._wrong(column, f"limit: found more, expected {limit}")

    def _string(self, word: _Word) -> bytes:
        r""" "text" with \" \\ \n \r \t and \x00"""
        text = word.text
        end = len(text) - 1
        if end < 1 or not text.endswith(b'"'):
            self._wrong(word.column + len(text), 'syntax: the line ends here, expected "')
        literal = bytearray()
        at = 1
        while at < end:
            escape = _ESCAPE.match(text, at, end)
            if text[at] == ord("\\") and not escape:
                self._wrong(word.column + at, r"syntax: expected one of \" \\ \n \r \t \x00")
            self._check_room(word.column + at, literal)
            literal.append(_unescaped(escape) if escape else text[at])
            at += len(escape[0]) if escape else 1
        if not literal:
            self._wrong(word.column, "syntax: found nothing, expected at least one byte")
        return bytes(literal)

    def _hex(self, word: _Word) -> bytes:
        expected = "two of 0-9 a-f for each byte"
        if word.text is None or len(word.text) % 2 != 0:
            self._unexpected(word, expected)
        literal = bytearray()
        for at in range(0, len(word.text), 2):
            pair = word.text[at : at + 2]
            if not _HEX_PAIR.fullmatch(pair):
                self._unexpected(word, expected)
            self._check_room(word.column + at, literal)
            literal.append(int(pair, 16))
        return bytes(literal)

    def _closes(self, step: Step) -> None:
        found = set()
        word = self._next_word()
        while word.text is not None:
            if _ascii(word) not in CLOSES:
                self._unexpected(word, "fin, rst or open")
            found.add(_ascii(word))
            word = self._next_word()
        if not found:
            self._unexpected(word, "fin, rst or open")
        step.closes = tuple(close for close in CLOSES if close in found)

    # Sense: which steps can follow which.

    def _take(self, step: Step) -> str | None:
        """Why a step makes no sense after the ones before it; else it is taken."""
        if step.client is not None:
            return self._take_of_client(step)
        if step.kind in ("freeze", "thaw"):
            if self._frozen == (step.kind == "freeze"):
                return _ALREADY_FROZEN if self._frozen else _NOT_FROZEN
            self._frozen = step.kind == "freeze"
        elif step.kind in ("settle", "wait"):
            return "frozen: a frozen server does nothing" if self._frozen else None
        elif step.kind == "stop":
            if self._stopped:
                return "already-stopped: the server can be stopped only once"
            self._stopped = True
        elif step.kind == "crowd":
            if self._stopped:
                return "after-stop: no client can connect after the stop"
            if step.count > CROWD_MAX - self._crowd:
                return "limit: found more clients, expected at most 600 in a crowd"
            self._crowd += step.count
        return None

    def _take_of_client(self, step: Step) -> str | None:
        if step.kind == "connect":
            if step.client in self._clients:
                return "already-connected: a client can connect only once"
            if self._stopped:
                return "after-stop: no client can connect after the stop"
            self._clients[step.client] = _ClientState()
            return None
        client = self._clients[step.client]
        if client.gone:
            return "left: this client has left"
        if step.kind.startswith("expect"):
            return self._take_expectation(step, client)
        return self._take_action(step, client)

    def _take_action(self, step: Step, client: _ClientState) -> str | None:
        if step.kind in ("send", "urgent", "shutdown") and client.shut:
            return "already-shut: this client has already sent FIN"
        if step.kind in ("pause", "resume"):
            if client.paused == (step.kind == "pause"):
                return _ALREADY_PAUSED if client.paused else _NOT_PAUSED
            client.paused = step.kind == "pause"
        if step.kind in ("send", "urgent"):
            client.sent += 1 if step.kind == "urgent" else step.count
        client.shut |= step.kind == "shutdown"
        client.gone = step.kind in ("reset", "close")
        return None

    def _take_expectation(self, step: Step, client: _ClientState) -> str | None:
        if self._frozen:
            return "frozen: a frozen server sends nothing"
        if client.paused:
            return "paused: a paused client reads nothing"
        if step.kind == "expect":
            if step.count > client.sent - client.expected:
                return "not-due: expects more bytes than the client is owed"
            client.expected += step.count
        if step.kind == "expect-end" and not client.shut and not self._stopped:
            return "no-end: expect-end needs shutdown or stop before it"
        return None


_ALREADY_FROZEN = "already-frozen: the server is already frozen"
_NOT_FROZEN = "not-frozen: the server is not frozen"
_ALREADY_PAUSED = "already-paused: this client is already paused"
_NOT_PAUSED = "not-paused: this client is not paused"

_PLAIN = re.compile(rb"[^\n][^ \t\r\n#]*")
_QUOTED = re.compile(rb'"(?:\\[^\n]|[^"\n])*"?')
_NAME = re.compile(rb"[a-z][a-z0-9-]*")
_DECIMAL = re.compile(rb"0*([0-9]{1,10})")
_HEX_PAIR = re.compile(rb"[0-9a-f]{2}")
_ESCAPE = re.compile(rb'\\(?:(["\\nrt])|x([0-9a-f]{2}))')
_ESCAPED = {b'"': b'"', b"\\": b"\\", b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def _ascii(word: _Word) -> str:
    return "" if word.text is None else word.text.decode("ascii", "replace")


def _unescaped(escape: re.Match) -> int:
    return int(escape[2], 16) if escape[2] else _ESCAPED[escape[1]][0]


# Writing.


def _lines(scenario: Scenario):
    yield b"scenario %d" % VERSION
    if scenario.simulated:
        yield b"simulated"
    if scenario.seed:
        yield b"seed %d" % scenario.seed
    if scenario.vary:
        yield " ".join(["vary", *(word for word in VARIES if word in scenario.vary)]).encode()
    for setting, names in (("kernel", _KERNEL_SETTINGS), ("server", _SERVER_SETTINGS)):
        for name, (field, _, _) in names.items():
            if getattr(scenario, field):
                yield f"{setting} {name} {getattr(scenario, field)}".encode()
    for call, nth, error in scenario.faults:
        yield f"fault {call} {nth} {error}".encode()
    for kind, nth, taken in scenario.choices:
        yield f"vary {kind} {nth} {taken}".encode()
    for step in scenario.steps:
        yield _step_line(step)


def _step_line(step: Step) -> bytes:
    words = [step.kind.encode()]
    if step.reported:
        words.append(step.reported.encode())
    if step.client is not None:
        words.append(b"%c" % (ord("a") + step.client))
    if step.kind == "connect" and step.count:
        words.append(b"window %d" % step.count)
    if step.literal is not None:
        words.append(_literal_text(step.literal))
    elif step.kind in (*_TRANSFERS, *_SHORTS, *_COUNTS, "crowd"):
        words.append(b"%d" % step.count)
    words += [close.encode() for close in step.closes]
    return b" ".join(words)


def _literal_text(literal: bytes) -> bytes:
    if not re.fullmatch(rb"[\x20-\x7e\n\r\t]*", literal):
        return b"hex " + literal.hex().encode()
    for letter in b"\\", b'"', b"n", b"r", b"t":
        literal = literal.replace(_ESCAPED[letter], b"\\" + letter)
    return b'"' + literal + b'"'
