"""One defect, one verdict: what depends on a broken foundation is tried otherwise, or blocked."""

import json
import sys
import textwrap
import time

import pytest
from running import server_command
from touchstone_conform import foundations, spec
from touchstone_conform.cli import command, judging, phases
from touchstone_conform.foundations import FOUNDATIONS, Blocked, Footing
from touchstone_conform.report import results
from touchstone_conform.report.results import BLOCKED, FAILED, PASSED, SKIPPED, Result

CONFORMS, DOES_NOT, USAGE, NOT_STARTED, NOT_JUDGED = range(5)


def conform(folder, start, *arguments):
    """The exit status, and the report."""
    how = ["--profile", "service", "--report", str(folder), *arguments]
    status = command.main([*how, "--", *start])
    return status, json.loads((folder / "report.json").read_text(encoding="utf-8"))


def verdicts(report, wanted):
    return [each["id"] for each in report["requirements"] if each["verdict"] == wanted]


# The servers that the kit's tests were unfair to. What they do with bytes is right.
ASYNCIO = """
import asyncio, os, socket, sys
{more}
async def echo(reader, writer):
    await talk(reader, writer)
async def serve():
    server = await asyncio.start_server(echo, "127.0.0.1", int(sys.argv[1]), backlog=400)
    async with server:
        await server.serve_forever()
asyncio.run(serve())
"""
# An example as a library has it: it ends by the default action of the stop signals.
EXAMPLE = """
async def talk(reader, writer):
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        while data := await reader.read(65536):
            writer.write(data.upper())
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()
"""


def server_of(more):
    return [sys.executable, "-c", ASYNCIO.format(more=textwrap.dedent(more)), "{port}"]


@pytest.mark.parametrize(
    "defect, failing",
    [
        ("line-buffering", "ECHO-5"),
        ("farewell", "ECHO-6"),
        ("crashes-on-reset", "CLOSE-5"),
        ("fin-ignored", "CLOSE-2"),
        ("waits-for-stalled", "FAIR-4"),
    ],
)
def test_one_defect_fails_one_requirement(tmp_path, defect, failing):
    """The others pass, or are blocked by it."""
    short = ["--client-timeout", "1.5", "--skip", "MIX-1=depends on chance"]
    status, report = conform(tmp_path, server_command(defect), *short)
    assert verdicts(report, "fail") == [failing]
    for each in report["requirements"]:
        assert each["verdict"] != "blocked" or failing in each["blocked_by"]
    assert status == DOES_NOT


# It ends a connection at its FIN, and drops what it could not yet send.
ABORT = """
import asyncio, socket, sys
class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data.upper())
    def eof_received(self):
        self.transport.abort()
    def pause_writing(self):
        self.transport.pause_reading()
    def resume_writing(self):
        self.transport.resume_reading()
async def serve():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
asyncio.run(serve())
"""


def test_a_loss_at_fin_is_blamed_once(tmp_path):
    """What measures a connection that flushes its output after FIN is blocked."""
    command = [sys.executable, "-c", ABORT, "{port}"]
    status, report = conform(tmp_path, command, "--only", "CLOSE-3", "COST-3", "COST-6")
    assert verdicts(report, "fail") == ["CLOSE-3"]
    assert verdicts(report, "blocked") == ["COST-3"]
    assert status == DOES_NOT


def test_what_is_tried_otherwise(tmp_path):
    """A client that stalls leaves in another way where RST ends the server."""
    judged = ["-k", "FAIR-4", "FAIR-1", "FLOW-1"]
    status, report = conform(tmp_path, server_command("crashes-on-reset"), *judged)
    assert verdicts(report, "pass") == ["FLOW-1", "FAIR-1", "FAIR-4"]
    assert status == CONFORMS


def test_who_answers_fin_late_is_left_by_reset(tmp_path):
    """After the first of many clients, so that such a server takes no minutes."""
    began = time.monotonic()
    status, report = conform(tmp_path, server_command("leaves-slowly"), "-k", "LOG-2")
    assert verdicts(report, "pass") == ["LOG-2"]
    assert time.monotonic() - began < 60
    assert status == CONFORMS


def test_a_part_is_judged_as_the_whole(tmp_path):
    """What a requirement depends on is judged if it fails, though it was not asked for."""
    status, report = conform(tmp_path, server_command("fin-ignored"), "-k", "CLOSE-3")
    (only,) = report["requirements"]
    assert (only["verdict"], only["blocked_by"]) == ("blocked", ["CLOSE-2"])
    assert report["profiles"]["wire"]["verdict"] == "does not conform"
    assert status == DOES_NOT


def test_a_blocked_requirement_in_every_output(tmp_path, capfd):
    """On the terminal, in JUnit, on the page, and in a list of expected failures."""
    known, junit = tmp_path / "known", tmp_path / "junit.xml"
    known.write_text("ECHO-5 no-answer\n")
    outputs = ["--junit", str(junit), "--expected-failures", str(known)]
    asked = ["-k", "ECHO-5", "ECHO-4", *outputs]
    status, report = conform(tmp_path, server_command("line-buffering"), *asked)
    assert "blocked ECHO-4   blocked by ECHO-5\n" in capfd.readouterr().out
    assert 'skipped message="blocked by ECHO-5"' in junit.read_text()
    assert "ECHO-4, " in (tmp_path / "index.html").read_text()
    assert report["surprises"] == []
    assert status == CONFORMS  # as listed
    known.write_text("ECHO-1 no-answer\n")
    status, report = conform(tmp_path, server_command("line-buffering"), *asked)
    assert len(report["surprises"]) == 2
    assert status == DOES_NOT


# The phases of a round.


class Phases:
    """Stands for judging.run; has what each phase gives, or None where an interrupt comes."""

    def __init__(self, part=(), founded=(), rest=()):
        self._part, self._founded, self._rest = part, founded, rest
        self.selection, self.judged_up_to = None, []

    def __call__(self, arguments, jobs, selection=(), progress=None):
        given = self._part
        if "--touchstone-foundations" in arguments:
            given = self._founded
            self.judged_up_to.append(arguments[-1])
        elif "--touchstone-broken" in arguments:
            given, self.selection = self._rest, list(selection)
        if None in given:
            raise judging.Interrupted([each for each in given if each])
        return list(given)


FIN = Result("fin", ["CLOSE-2"], PASSED, foundation="fin")
RESET = Result("reset", ["CLOSE-5"], FAILED, foundation="reset")


def test_an_interrupt_keeps_what_was_judged_before(monkeypatch):
    """Whatever phase it comes in."""
    other = Result("other", ["FAIR-4"], FAILED, leaned_on=["reset"])
    for whole, given in (
        (True, Phases(founded=[FIN, None])),
        (True, Phases(founded=[FIN, RESET], rest=[None])),
        (True, Phases(founded=[FIN], rest=[other, None])),
        (False, Phases(part=[FIN, None])),
        (False, Phases(part=[FIN, other], founded=[FIN, None])),
        (False, Phases(part=[FIN, other], founded=[RESET], rest=[None])),
    ):
        monkeypatch.setattr(judging, "run", given)
        with pytest.raises(judging.Interrupted) as interrupted:
            phases.run([], 1, whole)
        assert FIN in interrupted.value.results


def test_what_was_blocked_in_a_part_is_judged_again(monkeypatch):
    """In a part, a foundation may fail for another that was not judged before it."""
    asked = {"leaned_on": ["reset"]}
    blocked = Result("a", ["FAIR-4"], BLOCKED, **asked)
    part = [RESET, blocked, Result("b", ["FAIR-1"], FAILED, **asked)]
    again = [Result("a", ["FAIR-4"], PASSED)]
    given = Phases(part, founded=[Result("reset", ["CLOSE-5"], PASSED)], rest=again)
    monkeypatch.setattr(judging, "run", given)
    assert [each.outcome for each in phases.run([], 1, False)] == [PASSED, PASSED, FAILED]
    assert given.selection == ["a"]


def test_what_failures_depend_on_is_judged(monkeypatch):
    """And no more; also what the other way depends on, that they take where the first is broken."""
    failed = Result("a", ["FAIR-4"], FAILED, leaned_on=["byte", "fin"])
    otherwise = Result("a", ["FAIR-4"], FAILED, leaned_on=["byte", "reset"])
    broken = Result("fin", ["CLOSE-2"], FAILED, foundation="fin")
    passed = Result("b", ["FAIR-1"], PASSED, leaned_on=["stop"])
    given = Phases([failed, passed], [broken], [otherwise])
    monkeypatch.setattr(judging, "run", given)
    assert [each.outcome for each in phases.run([], 1, False)] == [FAILED, PASSED]
    assert given.judged_up_to == ["fin", "reset"]


# Verdicts.


def verdict_of(id, *outcomes, strict=False):
    requirement = spec.read().requirements[id]
    tests = [
        Result(f"test {i}", [id], each, blocked_by=["CLOSE-5"] * (each == BLOCKED))
        for i, each in enumerate(outcomes)
    ]
    (verdict,) = results.judge([requirement], [tests], {}, strict)
    return verdict.verdict


@pytest.mark.parametrize(
    "outcomes, verdict",
    [
        ((BLOCKED, SKIPPED), "blocked"),
        ((BLOCKED, PASSED), "pass"),
        ((BLOCKED, PASSED, FAILED), "fail"),
        ((SKIPPED,), "skip"),
    ],
)
def test_the_verdict_of_blocked_tests(outcomes, verdict):
    assert verdict_of("FAIR-4", *outcomes) == verdict


def test_a_failed_should_is_a_remark():
    assert verdict_of("ECHO-7", FAILED) == "remark"
    assert verdict_of("ECHO-7", FAILED, strict=True) == "fail"


@pytest.mark.parametrize("level, status", [([], CONFORMS), (["--level", "should"], DOES_NOT)])
def test_the_level(tmp_path, capfd, level, status):
    """A SHOULD that fails is no non-conformance, unless it is asked for."""
    found, report = conform(tmp_path, server_command("cork"), "-k", "ECHO-7", "CLOSE-2", *level)
    assert found == status
    assert report["conforms"] == (status == CONFORMS)
    remarked = "wire: conforms, with remarks (1 remark, 1 pass)" in capfd.readouterr().out
    assert remarked == (status == CONFORMS)


def test_a_runtime_that_tells_the_signal_by_its_status(tmp_path):
    """As a JVM without a handler does: it was ended by the signal like any other."""
    handler = "import os, signal\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(143))\n"
    judged = ["-k", "STOP-1", "STOP-2", "--client-timeout", "1.5"]
    _, report = conform(tmp_path, server_of(handler + EXAMPLE), *judged)
    assert verdicts(report, "fail") == ["STOP-1"]
    assert verdicts(report, "blocked") == ["STOP-2"]


def test_an_example_of_a_library(tmp_path):
    """It promises nothing of a service: it conforms to the profile process."""
    judged = ["-k", "CLOSE-2", "START-1", "STOP", "--client-timeout", "1.5"]
    status, report = conform(tmp_path, server_of(EXAMPLE), *judged)
    assert report["profiles"]["process"]["verdict"] == "conforms"
    assert verdicts(report, "fail") == ["STOP-1"]
    assert status == DOES_NOT
    found = command.main(["-k", "CLOSE-2", "START", "--", *server_of(EXAMPLE)])
    assert found == CONFORMS


# The footing of a test.


def test_a_footing():
    footing = Footing(["reset", "byte"], ["CLOSE-5", "ECHO-5"])
    assert footing.holds("fin") and not footing.holds("reset")
    footing.require("fin", "reset")  # the test judges it
    with pytest.raises(Blocked) as blocked:
        footing.require("byte")  # nothing can be judged
    assert blocked.value.requirements == ["ECHO-5"]
    with pytest.raises(Blocked):
        Footing(["reset"], ["FAIR-4"]).require("reset")


def test_every_foundation_is_judged(tmp_path):
    """By a test, in their order, of a requirement that SPEC.md has."""
    server = ["--touchstone-server-cmd", " ".join(server_command())]
    every = ["--touchstone-foundations", list(FOUNDATIONS)[-1]]
    names = [each.foundation for each in judging.run([*server, *every], 1)]
    assert set(names) == set(FOUNDATIONS)
    assert set(FOUNDATIONS.values()) <= set(spec.read().requirements)
    assert set(foundations.ALWAYS) <= set(FOUNDATIONS)


# Odd servers that conform.

POOL = """
POOL = []
async def talk(reader, writer):
    if len(POOL) < 4:  # as Go keeps pipes for splice
        POOL.extend(os.pipe())
    while data := await reader.read(65536):
        writer.write(data.upper())
        await writer.drain()
    writer.close()
"""
LEAK = POOL.replace("if len(POOL) < 4:", "if len(POOL) % 2 == 0:")


@pytest.mark.parametrize("more, wanted", [(POOL, "pass"), (LEAK, "fail")], ids=["pool", "leak"])
def test_a_bounded_pool_is_no_leak(tmp_path, more, wanted):
    status, report = conform(tmp_path, server_of(more), "-k", "CLOSE-8")
    assert [each["verdict"] for each in report["requirements"]] == [wanted]


def test_a_cold_server_at_its_limit(tmp_path):
    """What opens with the first client does not count against the limit of descriptors."""
    status, report = conform(tmp_path, server_of(POOL), "-k", "FAULT-3")
    assert "cannot-connect" not in str(report)
    assert verdicts(report, "fail") == []


# Limits that a server documents.

STORES_24_MIB = EXAMPLE.replace(
    "    try:", "    writer.transport.set_write_buffer_limits(24 << 20)\n    try:"
)
CLOSES_AFTER_3_S = EXAMPLE.replace(
    "await reader.read(65536)", "await asyncio.wait_for(reader.read(65536), 3)"
).replace("ConnectionError", "(ConnectionError, asyncio.TimeoutError)")


@pytest.mark.parametrize(
    "server, judged, options, verdict",
    [
        (STORES_24_MIB, "FLOW-3", [], "fail"),
        (STORES_24_MIB, "FLOW-3", ["--buffer", 24 << 20], "pass"),
        (CLOSES_AFTER_3_S, "CLOSE-7", [], "fail"),
        (CLOSES_AFTER_3_S, "CLOSE-7", ["--idle-close", 3], "pass"),
        (EXAMPLE, "CLOSE-7", ["--idle-close", 2], "fail"),
    ],
    ids=["buffer not told", "buffer", "idle close not told", "idle close", "no idle close"],
)
def test_documented_limits(tmp_path, server, judged, options, verdict):
    """A server is judged by the limits that it documents."""
    how = ["-k", judged, "--client-timeout", "2", *map(str, options)]
    status, report = conform(tmp_path, server_of(server), *how)
    assert verdicts(report, verdict) == [judged]


def test_a_launcher_that_outlives_the_server(tmp_path):
    """The process that listens is judged, whatever becomes of the command."""
    start = ["sh", "-c", 'port=$1; shift; "$@" --port $port; true', "sh", "{port}"]
    start += server_command()[:2]
    status, report = conform(tmp_path, start, "-k", "START-1")
    assert verdicts(report, "pass") == ["START-1"]


def test_a_server_that_does_not_start_on_a_full_disk(tmp_path):
    """That is not LOG-2's matter."""
    judged = ["-k", "LOG-2", "START-3"]
    status, report = conform(tmp_path, server_command("starts-with-its-log"), *judged)
    assert verdicts(report, "pass") == ["LOG-2"]
    assert verdicts(report, "remark") == ["START-3"]
    assert status == CONFORMS


def test_interrupted_calls_that_wait(tmp_path):
    """EINTR on a non-blocking socket is a matter of robustness."""
    judged = ["-k", "FAULT-1", "FAULT-5"]
    status, report = conform(tmp_path, server_command("interrupted-is-broken"), *judged)
    assert (verdicts(report, "pass"), verdicts(report, "remark")) == (["FAULT-1"], ["FAULT-5"])
    status, report = conform(tmp_path, server_command("dies-of-interruption"), *judged)
    assert verdicts(report, "fail") == ["FAULT-1"]
