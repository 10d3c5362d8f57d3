"""The command, from its words to its exit status."""

import io
import json
import os
import pathlib
import re
import shlex
import shutil
import socket
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from judged import INTEGRATION

from touchstone_conform import command, listeners, printing, scenario, spec
from touchstone_conform.results import FAILED, PASSED, SKIPPED, Result, judge
from touchstone_conform.server import Server

CONFORMS, DOES_NOT, USAGE, NOT_STARTED, NOT_JUDGED = range(5)
BROKEN = str(INTEGRATION / "broken" / "server.py")
BUILT = INTEGRATION.parent / "build" / "release"
SIMULATED = BUILT / "tests" / "scenario"
CONFORMING = [sys.executable, BROKEN, "--port", "{port}"]

# Serves wrongly in every second of its lives, which it counts in a file.
FLAKY = """
import os, pathlib, sys
lives = pathlib.Path(sys.argv[1])
count = int(lives.read_text()) if lives.exists() else 0
lives.write_text(str(count + 1))
defect = ["--defect", "banner"] if count % 2 else []
os.execv(sys.executable, [sys.executable, *sys.argv[2:], *defect])
"""


def broken(defect):
    return [*CONFORMING, "--defect", defect]


@pytest.fixture
def conform(capfd):
    """Runs the command; gives its status and what it printed."""

    def run(*words):
        try:
            status = command.main([str(word) for word in words])
        except SystemExit as ended:
            status = ended.code
        printed = capfd.readouterr()
        return status, printed.out + printed.err

    return run


# Bad usage.


@pytest.mark.parametrize(
    "words, complaint",
    [
        ([], "expected either --address HOST:PORT or, behind --, a command"),
        (["--address", "127.0.0.1:1", "--", "./x"], "expected either --address"),
        (["./x"], "unrecognized arguments: ./x"),
        (["--", "./x"], "expected {port} in the command, or else --port N"),
        (["--port", "80", "--", "./x", "{port}"], "expected {port} in the command, or else"),
        (["--address", "localhost"], "--address: 'localhost' is not HOST:PORT"),
        (["--address", "localhost:0x1"], "--address: 'localhost:0x1' is not HOST:PORT"),
        (["--profile", "wires"], "invalid choice: 'wires' (choose from"),
        (["--level", "may"], "invalid choice: 'may' (choose from"),
        (["--jobs", "0"], "'0' is not a whole number from 1 on"),
        (["--time-scale", "nan"], "'nan' is not a number from 0.01 on"),
        (["-k", "ECHO-99"], "--only: 'ECHO-99' is no ID or topic of SPEC.md (--list shows them)"),
        (["-k", "REF-1"], "--only: REF-1 is not in what --profile and --level ask for"),
        (["--skip", "ECHO-1"], "--skip: 'ECHO-1' is not ID=REASON with an ID of SPEC.md"),
        (["--transform", "lower"], "'lower' is not upper, identity or MODULE:FUNCTION"),
        (["--transform", "no.such:thing"], "no.such:thing: No module named"),
        (["--transform", "os:sep"], "os:sep is no function"),
        (["--transform", "base64:b64encode"], "expected as many bytes"),
        (["--transform", "base64:b32decode"], "base64:b32decode of b'\\x00': "),
        (["--replay", "/no/such", "--", "x{port}"], "--replay: [Errno 2] No such file"),
        (["--fix", "--", "x{port}"], "--fix: expected --expected-failures FILE as well"),
        (["--fix", "--expected-failures", "f", "--smoke", "--", "x{port}"], "a whole run"),
        (["--fix", "--expected-failures", "f", "--profile", "wire", "--", "x{port}"], "whole run"),
        (["--expected-failures", "/no/f", "--", "x{port}"], "there is no /no/f (--fix writes it)"),
        (["--report", "/proc/no", "--", "x{port}"], "--report: [Errno 2]"),
        (["--report", BROKEN, "--", "x{port}"], "--report: [Errno 17] File exists"),
        (["--junit", "/no/x.xml", "--", "x{port}"], "--junit: [Errno 2]"),
        (["--export-scenarios", BROKEN], "--export-scenarios: [Errno 17] File exists"),
        (["--fix", "--expected-failures", "/no/f", "--", "x{port}"], "--expected-failures: [Errno"),
        (["--reference", "./y", "--", "x{port}"], "--reference: './y' has no {port} in it"),
    ],
)
def test_bad_usage(conform, words, complaint):
    """What was wrong, and what was expected."""
    status, said = conform(*words)
    assert complaint in said
    assert status == USAGE


def test_a_scenario_that_is_none(conform, tmp_path):
    path = tmp_path / "x.scenario"
    path.write_text("scenario 1\nconnect A\n")
    status, said = conform("--replay", path, "--", *CONFORMING)
    assert f"--replay: {path}:2:9: found 'A'" in said
    assert status == USAGE


# No server.


def test_a_server_that_ends(conform):
    status, said = conform("--", sys.executable, "-c", "import sys; sys.exit('oh no')", "{port}")
    assert "the server exited with status 1 before it listened\n    stderr: oh no" in said
    assert status == NOT_STARTED


def test_a_server_elsewhere(conform):
    """It listens, on the port that was asked for, but nobody can reach it where we look."""
    status, said = conform("--", *CONFORMING, "--host", "127.0.0.2")
    assert "the server listens, but not there: connecting to 127.0.0.1 port" in said
    assert status == NOT_STARTED


def test_a_server_on_another_port(conform):
    """What it says of where it listens is shown, and does not count."""
    fixed = [sys.executable, BROKEN, "--port", listeners.free_port("127.0.0.1")]
    status, said = conform("--time-scale", "0.3", "--port", "9", "--", *fixed)
    assert "the server does not listen on port 9\n" in said
    assert f"stdout: listening on 127.0.0.1:{fixed[-1]}" in said
    assert status == NOT_STARTED


@pytest.mark.skipif(not listeners.can_look_up(), reason="elsewhere no kernel tells whose it is")
def test_a_server_that_is_no_child_of_ours(conform, tmp_path):
    """As in a container: what the kit started is not what listens."""
    server = Server(CONFORMING, tmp_path)
    try:
        words = [sys.executable, "-c", "import time; time.sleep(60)"]
        status, said = conform("--time-scale", "0.1", "--port", server.port, "--", *words)
        assert f"not listen on port {server.port}, though somebody answers there: --addr" in said
        assert status == NOT_STARTED
    finally:
        server.end()


def test_a_server_that_has_more_to_say(conform):
    """Where else it listens is nobody's business."""
    more = (
        "import os, sys\n"
        "print('metrics: listening on 127.0.0.1:9', flush=True)\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n"
    )
    words = [sys.executable, "-c", more, *CONFORMING[1:]]
    assert conform("-k", "CLOSE-2", "--", *words)[0] == CONFORMS


def test_a_server_that_ends_as_it_listens(conform):
    """Who listens, and then fails, is not looked for elsewhere."""
    script = (
        "import socket, sys, time\n"
        "listener = socket.create_server(('127.0.0.2', int(sys.argv[1])))\n"
        "time.sleep(1)\n"
        "sys.exit('no')\n"
    )
    status, said = conform("--time-scale", "3", "--", sys.executable, "-c", script, "{port}")
    assert "the server exited with status 1 as it began to listen\n    stderr: no" in said
    assert status == NOT_STARTED


def test_nothing_is_left_where_nothing_was_judged(conform, tmp_path):
    known, junit = tmp_path / "known", tmp_path / "junit.xml"
    outputs = ["--fix", "--expected-failures", known, "--junit", junit]
    assert conform(*outputs, "--", sys.executable, "-c", "0", "{port}")[0] == NOT_STARTED
    assert list(tmp_path.iterdir()) == []


def test_a_reference_that_ends(conform):
    status, said = conform("--reference", f"{sys.executable} -c 0 {{port}}", "--", *CONFORMING)
    assert "--reference: the server exited with status 0 before it listened" in said
    assert status == NOT_STARTED


def test_nobody_at_the_address(conform):
    status, said = conform("--address", f"127.0.0.1:{listeners.free_port('127.0.0.1')}")
    assert "nobody to judge at 127.0.0.1:" in said
    assert status == NOT_STARTED


# What is judged.

# As frameworks do, asyncio writes to stderr what a client's handler raises, and serves the others.
CATCHES = """
import asyncio, sys
async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data.decode().upper().encode())
    writer.close()
async def serve():
    server = await asyncio.start_server(echo, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
asyncio.run(serve())
"""


def test_what_a_server_said_that_goes_on(conform):
    """The exception that it caught is beside what its client saw; how it ended is in words."""
    words = [sys.executable, "-c", CATCHES, "{port}"]
    status, said = conform("-k", "ECHO-1", "STOP-1", "--", *words)
    errors = r"\n( +stderr: .*\n)+ +stderr: "
    assert re.search(rf"client: 0 of \d+ bytes came.*{errors}UnicodeDecodeError", said)
    assert re.search(rf"stop, the server was killed by SIGINT{errors}KeyboardInterrupt", said)
    assert "not a scenario, which has no words for SIGINT" in said
    assert status == DOES_NOT


def test_a_server_that_its_log_stalls(conform):
    """It is not said to have died of the pipe that ends with the test, as it does."""
    dies = (
        "import os, runpy, signal, sys\n"
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
        "sys.argv = sys.argv[1:]\n"
        "sys.path.insert(0, os.path.dirname(sys.argv[0]))\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    words = [sys.executable, "-c", dies, *broken("log-blocks")[1:]]
    status, said = conform("-k", "LOG-1", "--", *words)
    assert "client: 0 of 4 bytes came" in said
    assert "SIGPIPE" not in said.partition("what happened")[0].partition("test_full_stdout")[2]
    assert status == DOES_NOT


@pytest.mark.parametrize(
    "defect, requirement, what",
    [
        ("in-no-hurry", "CLOSE-2", "how long something takes"),
        ("spins-for-more", "COST-1", "processor time"),
        ("raw-log", "LOG-3", "what a server logs"),
        ("reserves-much", "FLOW-3", "memory"),
    ],
)
def test_what_no_scenario_can_show(conform, defect, requirement, what):
    """Such a failure is not offered as one that could be played again."""
    status, said = conform("-k", requirement, "--", *broken(defect))
    assert f"not a scenario, which has no words for {what}" in said
    assert status == DOES_NOT


def test_list(conform):
    status, said = conform(
        "--list", "--level", "must", "--profile", "wire", "-k", "echo", "CLOSE-1"
    )
    assert [line.split()[0] for line in said.splitlines()] == [
        "ECHO-1",
        "ECHO-3",
        "ECHO-4",
        "ECHO-5",
        "ECHO-6",
        "CLOSE-1",
    ]
    assert status == CONFORMS


def test_a_server_that_conforms(conform):
    status, said = conform("-k", "CLOSE-2", "START-2", "--", *CONFORMING)
    assert "pass  CLOSE-2  Once it has sent the whole answer" in said
    assert "wire: conforms (1 pass)\nprocess: conforms (1 pass)\n" in said
    assert status == CONFORMS


def test_a_log_tells_how_far_it_is(monkeypatch):
    """Where there is no terminal: one line now and then."""
    seconds, log = [0.0], io.StringIO()
    monkeypatch.setattr(printing.time, "monotonic", lambda: seconds[0])
    printer = printing.Printer(log)
    for count in range(1, 41):
        seconds[0] += 60 if count == 20 else 1
        printer.progress(count, 40)
    assert log.getvalue() == "15 of 40 tests ...\n20 of 40 tests ...\n35 of 40 tests ...\n"


def test_the_count_is_of_all(conform, monkeypatch):
    monkeypatch.setattr(printing, "_LINE_EVERY_S", 0)
    status, said = conform("-k", "CLOSE-2", "START-2", "--", *CONFORMING)
    assert re.search(r"\d of (\d+) tests \.\.\.\n(.*\n)*\1 of \1 tests \.\.\.\n", said)


def test_nobody_who_reads_on(tmp_path):
    """As behind `| head`: what is to be written comes, and so does the status."""
    read, write = os.pipe()
    os.close(read)
    own = "import sys; from touchstone_conform.command import main; sys.exit(main())"
    words = ["-k", "START-2", "--report", tmp_path, "--", *CONFORMING]
    with open(write, "wb") as nobody:
        ended = subprocess.run(
            [sys.executable, "-c", own, *words], stdout=nobody, stderr=subprocess.PIPE
        )
    assert ended.stderr == b""
    assert (tmp_path / "report.json").exists()
    assert ended.returncode == CONFORMS


def test_a_server_that_does_not(conform):
    """One requirement fails, and the others hold: the sentence, what was said, what happened."""
    status, said = conform("-k", "CLOSE-2", "START-2", "--", *broken("farewell"))
    assert "FAIL  CLOSE-2" in said
    assert "\nCLOSE-2 (wire) Once it has sent the whole answer, a server MUST answer" in said
    assert "client: 5 of 0 bytes came, then FIN; the first to differ is byte 0: expected" in said
    assert "client  -> FIN\n" in said
    assert "client  <- receive 5 bytes b'bye\\r\\n'\n" in said
    assert "pass  START-2" in said
    assert "wire: does not conform (1 fail)\nprocess: conforms (1 pass)\n" in said
    assert status == DOES_NOT


def test_an_address(conform, tmp_path):
    """Of what runs already the wire is judged; the rest is skipped, and said so."""
    server = Server(CONFORMING, tmp_path)
    try:
        address = f"{server.host}:{server.port}"
        status, said = conform("--address", address, "-k", "ECHO-6", "COST-1")
        assert "wire: conforms (1 pass)" in said
        assert "process: not judged (1 skip): there is no process to look at" in said
        assert status == CONFORMS
        status, said = conform("--address", address, "-k", "COST-1")
        assert status == NOT_JUDGED
    finally:
        server.end()


def test_another_mapping(conform, tmp_path, monkeypatch):
    """A service that maps otherwise conforms to its own mapping, and to no other."""
    (tmp_path / "service.py").write_text("def mapped(b): return b.upper().replace(b'`', b'@')\n")
    monkeypatch.chdir(tmp_path)
    judged = ["-k", "ECHO-1", "--", *broken("backquote-mapped")]
    assert conform("--transform", "service:mapped", *judged)[0] == CONFORMS
    assert conform("--transform", "identity", *judged)[0] == DOES_NOT


def test_a_fixed_port_of_the_reference(conform):
    """Its tests that ask for any free port are not held to that one."""
    port = listeners.free_port("127.0.0.1")
    fixed = [BUILT / "touchstone", "--listen", f"127.0.0.1:{port}"]
    status, said = conform("--profile", "reference", "--port", port, "-k", "REF-3", "--", *fixed)
    assert status == CONFORMS, said


def test_a_fixed_port(conform):
    port = listeners.free_port("127.0.0.1")
    fixed = [sys.executable, BROKEN, "--port", port]
    status, said = conform("--port", port, "-k", "CLOSE-2", "START-2", "--", *fixed)
    assert "process: conforms (1 pass)" in said
    assert status == CONFORMS


def test_an_address_by_name(conform, tmp_path, monkeypatch):
    """Of several addresses that it has the one that answers is judged."""
    server = Server(CONFORMING, tmp_path)
    found = socket.getaddrinfo

    def of_two(host, *rest, **more):
        hosts = ["127.0.0.2", server.host] if host == "two.test" else [host]
        return [each for host in hosts for each in found(host, *rest, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", of_two)
    try:
        status, said = conform("--address", f"two.test:{server.port}", "-k", "CLOSE-2")
        assert status == CONFORMS, said
    finally:
        server.end()


def test_skip(conform):
    """Its reason is told whole, however long."""
    reason = "as known, " * 20 + "and so on"
    skip = ["--skip", f"echo-6={reason}"]
    status, said = conform("-k", "ECHO-6", "CLOSE-2", *skip, "--", *CONFORMING)
    assert f"skip  ECHO-6   {reason}\n" in said
    assert status == CONFORMS


def test_nothing_is_judged(conform):
    status, said = conform("-k", "ECHO-6", "--skip", "ECHO-6=as known", "--", *CONFORMING)
    assert "wire: not judged (1 skip): as known" in said
    assert status == NOT_JUDGED


def test_a_missing_tool(conform, monkeypatch):
    """It is a reason to skip, or with --require-all to fail."""
    monkeypatch.setenv("PATH", "/nonexistent")
    status, said = conform("-k", "FAULT-1", "CLOSE-2", "--", *CONFORMING)
    assert "process: not judged (1 skip): there is no strace" in said
    assert status == CONFORMS
    status, said = conform("-k", "FAULT-1", "CLOSE-2", "--require-all", "--", *CONFORMING)
    assert "there is no strace, and nothing may be skipped" in said
    assert status == DOES_NOT


def test_what_a_server_may_lack(conform):
    """That is none of the tools that --require-all asks for."""
    gap = "import os, sys; os.dup2(1, 50); os.execv(sys.executable, sys.argv)"
    words = [sys.executable, "-c", gap, *CONFORMING[1:]]
    path = INTEGRATION / "touchstone_conform" / "scenarios" / "descriptors-exhausted.scenario"
    status, said = conform("--require-all", "--replay", path, "--", *words)
    assert "not judged (1 skip): there is no way to limit this server's clients" in said
    assert status == NOT_JUDGED


def test_other_settings_of_pytest_are_in_nobodys_way(conform, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option-either\n")
    status, said = conform("-k", "CLOSE-2", "--", *CONFORMING)
    assert status == CONFORMS, said


# Several runs.


def test_flakes_are_counted(conform, tmp_path):
    """Neither a pass nor a plain failure, and never retried in silence."""
    words = [sys.executable, "-c", FLAKY, tmp_path / "lives", *CONFORMING[1:]]
    status, said = conform("-k", "FAIR-3", "--jobs", 1, "--repeat", 3, "--", *words)
    assert "1/3   FAIR-3" in said
    assert "-round-3.scenario" in said
    assert "held in 1 of 3 rounds" in said
    assert "wire: does not conform (1 flaky)" in said
    assert status == DOES_NOT


def test_a_reference_tells_who_is_wrong(conform):
    reference = " ".join(CONFORMING)
    words = ["-k", "CLOSE-2", "--reference"]
    status, said = conform(*words, reference, "--", *broken("fin-answered-with-reset"))
    assert "test_bare_fin (port differs)" in said
    assert status == DOES_NOT
    both = " ".join(broken("fin-answered-with-reset"))
    status, said = conform(*words, both, "--", *broken("fin-answered-with-reset"))
    assert "test_bare_fin (kit or specification in doubt)" in said


def verdict_of(*outcomes):
    requirement = spec.read().requirements["CLOSE-2"]
    results = [
        Result(f"test {i}", ["CLOSE-2"], each, message="there is\n no X" if each == SKIPPED else "")
        for i, each in enumerate(outcomes)
    ]
    return judge([requirement], [results, results[:1], results[1:]], {})


def test_what_is_counted_is_shown():
    """Of several rounds how many held; of several tests how many could not be run."""
    shown = io.StringIO()
    printing.Printer(shown).verdicts(verdict_of(PASSED, SKIPPED, SKIPPED))
    counted, skipped = shown.getvalue().splitlines()
    assert counted.startswith("2/2   CLOSE-2")
    assert skipped.strip() == "2 of 3 tests skipped: there is no X"


def test_a_reference_is_asked_the_same(conform, monkeypatch):
    """What failed in a round is run on the reference with that round's seed."""
    seeds = []

    def run(arguments, *_):
        seeds.append(arguments[arguments.index("--seed") + 1])
        return [Result("test_it", ["CLOSE-2"], FAILED)]

    monkeypatch.setattr("touchstone_conform.judging.run", run)
    reference = shlex.join(CONFORMING)
    words = ["--seed", "7", "--repeat", "2", "--reference", reference, "--", *CONFORMING]
    assert conform("-k", "CLOSE-2", *words)[0] == DOES_NOT
    assert seeds == ["7", "8", "7", "8"]


# Known failures.


@pytest.fixture
def known(tmp_path):
    return tmp_path / "known"


def judge_known(conform, known, defect):
    words = ["--expected-failures", known, "-k", "CLOSE-2", "START-2", "--"]
    return conform(*words, *broken(defect))


def test_known_failures(conform, known):
    known.write_text("# farewell\nCLOSE-2 client: * bytes came*\nCLOSE-2  *byte * on: b'bye*\n")
    status, said = judge_known(conform, known, "farewell")
    assert "all as expected" in said
    assert status == CONFORMS


def test_an_unlisted_failure(conform, known):
    known.write_text("START-2 *\n")
    status, said = judge_known(conform, known, "farewell")
    assert "CLOSE-2 fails, and is not listed" in said
    assert status == DOES_NOT


def test_a_listed_pass(conform, known):
    known.write_text("CLOSE-2 *\nSTART-2 *\n")
    status, said = judge_known(conform, known, "farewell")
    assert "START-2 passes, but is listed" in said
    assert status == DOES_NOT


def test_a_listed_pass_of_a_smoke_run(conform, known):
    """What was not run may fail as listed."""
    known.write_text("CLOSE-2 *\nSTART-2 *\n")
    words = ["--smoke", "--expected-failures", known, "-k", "CLOSE-2", "START-2", "--"]
    status, said = conform(*words, *broken("farewell"))
    assert "all as expected" in said
    assert status == CONFORMS


def test_a_wrong_reason(conform, known):
    known.write_text("CLOSE-2 *time-out*\n")
    status, said = judge_known(conform, known, "farewell")
    assert "CLOSE-2 fails in another way: test_close.py::test_bare_fin: client: 5 of 0" in said
    assert status == DOES_NOT


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("ECHO-99 *\n", "known:1: 'ECHO-99', expected an ID of SPEC.md"),
        ("\nECHO-1\n", "known:2: ECHO-1 alone, expected what is said too"),
    ],
)
def test_a_bad_list(conform, known, text, complaint):
    known.write_text(text)
    status, said = judge_known(conform, known, "farewell")
    assert complaint in said
    assert status == USAGE


def results_of_all(*_):
    """What a run may say: one test for each requirement, of which two fail."""
    said = {"CLOSE-2": "a: 5 of 0 bytes came: b'bye'", "START-2": "it runs\nand runs"}
    return [
        Result(f"test_{id}", [id], FAILED if id in said else PASSED, message=said.get(id, ""))
        for id in spec.read().requirements
    ]


def test_the_list_is_written(conform, known, monkeypatch):
    """A whole run writes it, and the next agrees."""
    monkeypatch.setattr("touchstone_conform.judging.run", results_of_all)
    words = ["--expected-failures", known, "--", *CONFORMING]
    assert conform("--fix", *words)[0] == CONFORMS
    assert "\nCLOSE-2  a: * of * bytes came: *\nSTART-2  it runs\n" in known.read_text()
    assert conform(*words)[0] == CONFORMS


def test_the_list_is_not_written_of_a_part(conform, known, monkeypatch):
    known.write_text("CLOSE-2 *\n")
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("touchstone_conform.judging.run", lambda *_: [])
    words = ["--fix", "--expected-failures", known, "--report", known.parent / "report", "--"]
    status, said = conform(*words, *CONFORMING)
    assert "known stays as it is: ECHO-1, " in said
    assert "wire: not judged (21 skip)" in said  # what was judged is told nevertheless
    assert (known.parent / "report" / "report.json").exists()
    assert known.read_text() == "CLOSE-2 *\n"
    assert status == USAGE


# Scenarios.


def test_scenarios_are_exported(conform, tmp_path):
    status, said = conform("--export-scenarios", tmp_path / "out")
    paths = list((tmp_path / "out").iterdir())
    assert f"{len(paths)} scenarios in" in said
    assert len(paths) > 100
    assert status == CONFORMS


@pytest.fixture
def written(conform, tmp_path):
    """Runs a broken server, and gives the scenarios of its failures."""

    def run(defect, *ids):
        conform("-k", *ids, "--report", tmp_path, "--", *broken(defect))
        return sorted((tmp_path / "scenarios").iterdir())

    return run


def test_what_failed_is_played_again(conform, written):
    """A failure's scenario fails on the server that it is from, and passes on others.

    One of these is ours, on a simulated kernel.
    """
    paths = []
    for path in written("hint-is-end", "CLOSE-4"):
        steps = scenario.parse(path.read_bytes()).steps
        # More may not fit a receiver that is stopped, and then FIN is not there when it goes on.
        if "test-frozen" in path.name and max(step.count for step in steps) < 10_000:
            paths.append(path)
    assert len(paths) >= 4
    simulated = subprocess.run([SIMULATED, "run", *paths], capture_output=True, text=True)
    assert simulated.returncode == 0, simulated.stdout + simulated.stderr
    status, said = conform("--replay", *paths, "--", *broken("hint-is-end"))
    assert f"{len(paths)} fail)" in said
    assert status == DOES_NOT
    status, said = conform("--replay", *paths, "--", *CONFORMING)
    assert f"replay: conforms ({len(paths)} pass)" in said
    assert status == CONFORMS


def test_what_was_made_up_is_shortened(written):
    """Of many clients that do many things, one and what it must do is left."""
    (path,) = written("fin-answered-with-reset", "MIX-1")
    told = scenario.parse(path.read_bytes())
    assert len(told.names) == 1 and len(told.steps) <= 2


def test_a_scenario_of_a_stop(conform, tmp_path):
    """A server that does not end is said to go on."""
    path = tmp_path / "x.scenario"
    path.write_text("scenario 1\nconnect a\nstop\nclose a\n")
    words = ["--time-scale", "0.2", "--replay", path, "--", *broken("ignores-the-signal")]
    status, said = conform(*words)
    assert "told to stop, the server goes on" in said
    assert status == DOES_NOT


def test_a_scenario_that_speaks_of_other_things(conform, tmp_path):
    """What looks like an ID in a comment need not be one."""
    path = tmp_path / "x.scenario"
    path.write_text("# UTF-8, as in RFC-3629, and \xe9\nscenario 1\nconnect a\n", "latin-1")
    assert conform("--replay", path, "--", *CONFORMING)[0] == CONFORMS


def test_a_scenario_of_another_kernel_is_not_played(conform, tmp_path):
    path = tmp_path / "x.scenario"
    path.write_text("scenario 1\nsimulated\nconnect a\n")
    status, said = conform("--replay", path, "--", *CONFORMING)
    assert "it is for a simulated kernel alone" in said
    assert status == NOT_JUDGED


# What is written.


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """The folder of a report on a broken server."""
    folder = tmp_path_factory.mktemp("report")
    words = ["-k", "CLOSE-2", "START-2", "COST-1", "--junit", str(folder / "junit.xml")]
    words += ["--time-scale", "1.5", "--skip", "COST-1=no time", "--report", str(folder), "--"]
    assert command.main([*words, *broken("farewell")]) == DOES_NOT
    return folder


def test_json(reported):
    data = json.loads((reported / "report.json").read_text())
    assert data["schema"] == 1
    assert len(data["specification"]["sha256"]) == 64
    assert data["server"]["command"][-1] == "farewell"
    assert data["conforms"] is False
    assert data["options"] == ["--time-scale", "1.5"]
    assert data["expected"] == []
    assert data["profiles"]["wire"]["verdict"] == "does not conform"
    verdicts = {each["id"]: each["verdict"] for each in data["requirements"]}
    assert verdicts == {"CLOSE-2": "fail", "COST-1": "skip", "START-2": "pass"}
    failed = [each for each in data["requirements"][0]["tests"] if each["outcome"] == "failed"]
    assert [each["what"] for each in failed[0]["timeline"]][:2] == ["connect", "FIN"]
    for each in failed:
        written = (reported / "scenarios" / each["scenario"]).read_text()
        assert written.endswith(each["scenario_text"]) and each["scenario_text"]


def test_page(reported):
    """It needs no other file, and has a picture of what failed; ci/page looks at it closer."""
    page = (reported / "index.html").read_text()
    assert re.findall(r"""src=|href=["'](?!#|data:)|url\(|@import""", page) == []
    assert page.count("<svg ") > 0
    for text in ("Does not conform", "CLOSE-2", "receive 5 bytes b'bye", "sha256"):
        assert text in page


def test_junit(reported):
    suite = ElementTree.parse(reported / "junit.xml").getroot()[0]
    cases = {f"{each.get('classname')}::{each.get('name')}": each for each in suite}
    failure = cases["test_close::test_bare_fin"].find("failure")
    assert failure.get("message").startswith("client: 5")
    assert "client  <- receive 5 bytes b'bye" in failure.text
    assert int(suite.get("tests")) == len(cases)
    assert int(suite.get("failures")) == len(suite.findall("testcase/failure")) > 0


# The package.


def test_an_installed_kit(tmp_path):
    """Installed away from the source it has all that it needs."""
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    options = ["--no-deps", "--no-build-isolation", "--target", str(site), str(INTEGRATION)]
    subprocess.run([*pip, *options], check=True, capture_output=True)
    shutil.copy(BROKEN, tmp_path)
    own = "import sys; sys.path[0] = 'site'; from touchstone_conform.command import main; "
    own += "import touchstone_conform as kit; print(kit.__file__); sys.exit(main())"
    words = ["-k", "CLOSE-1", "--report", "report", "--", sys.executable, "server.py"]
    ended = subprocess.run(
        [sys.executable, "-c", own, *words, "--port", "{port}"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert pathlib.Path(ended.stdout.splitlines()[0]).is_relative_to(site), ended.stderr
    assert ended.returncode == CONFORMS, ended.stdout + ended.stderr
    assert (tmp_path / "report" / "index.html").exists()
