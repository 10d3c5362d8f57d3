"""The command, from its arguments to its exit status."""

import io
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from running import INTEGRATION, run_tests
from touchstone_conform import spec
from touchstone_conform.cli import command, expected, printing
from touchstone_conform.harness import listeners
from touchstone_conform.harness.server import Server
from touchstone_conform.report.results import FAILED, PASSED, SKIPPED, Result, judge
from touchstone_conform.scenario import language

CONFORMS, DOES_NOT, USAGE, NOT_STARTED, NOT_JUDGED = range(5)
BROKEN = str(INTEGRATION / "broken" / "server.py")
BUILT = INTEGRATION.parent / "build" / "release"
SIMULATED = BUILT / "tests" / "scenario"
CONFORMING = [sys.executable, BROKEN, "--port", "{port}"]
COMMAND = re.escape(shlex.join(CONFORMING))

def failures(report):
    """The failed tests in a report, each once."""
    data = json.loads((report / "report.json").read_text())
    tests = [test for each in data["requirements"] for test in each["tests"]]
    return [each for each in tests if each["outcome"] == "failed"]


def broken(defect):
    return [*CONFORMING, "--defect", defect]


@pytest.fixture
def conform(request, capfd):
    """Runs the command; returns its status and output, which a test that fails shows, too.

    One test at a time: most judge little, and each further worker takes a second to start.
    """

    def run(*arguments):
        single = () if arguments[:1] == ("report",) else ("--jobs", "1")
        try:
            status = command.main([str(word) for word in (*single, *arguments)])
        except SystemExit as ended:
            status = ended.code
        printed = capfd.readouterr()
        output = printed.out + printed.err
        request.node.add_report_section("call", "touchstone-conform", output)
        return status, output

    return run


# Bad usage.


@pytest.mark.parametrize(
    "arguments, named",
    [
        ([], "--address"),
        (["--address", "127.0.0.1:1", "--", "./x"], "--address"),
        (["./x"], "'./x'"),
        (["--", "./x"], "--port"),
        (["--port", "80", "--", "./x", "{port}"], "--port"),
        (["--address", "localhost"], "'localhost'"),
        (["--address", "localhost:0x1"], "'localhost:0x1'"),
        (["--profile", "wires"], "'wires'"),
        (["--level", "may"], "'may'"),
        (["--jobs", "0"], "'0'"),
        (["--time-scale", "nan"], "'nan'"),
        (["-k", "ECHO-99"], "'ECHO-99'"),
        (["-k", "REF-1"], "REF-1"),
        (["--skip", "ECHO-1"], "'ECHO-1'"),
        (["--transform", "lower"], "'lower'"),
        (["--transform", "no.such:thing"], "no.such:thing"),
        (["--transform", "os:sep"], "os:sep"),
        (["--transform", "base64:b64encode"], "base64:b64encode"),
        (["--transform", "base64:b32decode"], "base64:b32decode of b'\\x00'"),
        (["--replay", "/no/such", "--", "x{port}"], "--replay: [Errno 2]"),
        (["--fix", "--", "x{port}"], "--expected-failures"),
        (["--fix", "--expected-failures", "f", "--smoke", "--", "x{port}"], "--fix"),
        (["--fix", "--expected-failures", "f", "--profile", "wire", "--", "x{port}"], "--fix"),
        (["--expected-failures", "/no/f", "--", "x{port}"], "/no/f"),
        (["--report", "/proc/no", "--", "x{port}"], "--report: [Errno 2]"),
        (["--report", BROKEN, "--", "x{port}"], "--report: [Errno 17]"),
        (["--junit", "/no/x.xml", "--", "x{port}"], "--junit: [Errno 2]"),
        (["--export-scenarios", BROKEN], "--export-scenarios: [Errno 17]"),
        (["--fix", "--expected-failures", "/no/f", "--", "x{port}"], "--expected-failures: [Errno"),
        (["--reference", "./y", "--", "x{port}"], "'./y'"),
    ],
)
def test_bad_usage(conform, arguments, named):
    """One line: what was wrong, and what was expected."""
    status, output = conform(*arguments)
    assert named in output and output.count("\n") == 1
    assert status == USAGE


def test_a_file_that_is_not_a_scenario(conform, tmp_path):
    path = tmp_path / "x.scenario"
    path.write_text("scenario 1\nconnect A\n")
    status, output = conform("--replay", path, "--", *CONFORMING)
    assert f"--replay: {path}:2:9: syntax: " in output
    assert status == USAGE


# No server.


@pytest.mark.parametrize("arguments", [["--help"], ["report", "--help"]])
def test_help(conform, arguments):
    """Usage and exit statuses on stdout; nothing is started."""
    status, output = conform(*arguments)
    assert output.startswith("usage: touchstone-conform") and "Exit status:" in output
    assert status == CONFORMS


def test_a_server_that_ends(conform):
    status, output = conform("--", sys.executable, "-c", "import sys; sys.exit('oh no')", "{port}")
    assert "status 1" in output and "stderr: oh no" in output
    assert status == NOT_STARTED


def test_a_server_elsewhere(conform):
    """It listens on the right port, but on another address."""
    status, output = conform("--", *CONFORMING, "--host", "127.0.0.2")
    assert "127.0.0.1 port" in output
    assert status == NOT_STARTED


def test_a_server_on_another_port(conform):
    """Its log is shown, but the port must be the one of the command line."""
    fixed = [sys.executable, BROKEN, "--port", listeners.free_port("127.0.0.1")]
    status, output = conform("--time-scale", "0.3", "--port", "9", "--", *fixed)
    assert f"port 9, but on 127.0.0.1:{fixed[-1]}\n" in output
    assert f"stdout: listening on 127.0.0.1:{fixed[-1]}" in output
    assert status == NOT_STARTED


@pytest.mark.skipif(not listeners.can_look_up(), reason="kernel: requires /proc/net")
def test_a_server_that_is_not_a_child(conform, tmp_path):
    """As in a container: another process listens than the kit started."""
    server = Server(CONFORMING, tmp_path)
    try:
        arguments = [sys.executable, "-c", "import time; time.sleep(60)"]
        status, output = conform("--time-scale", "0.1", "--port", server.port, "--", *arguments)
        assert f"port {server.port}" in output and "--address" in output
        assert status == NOT_STARTED
    finally:
        server.end()


def test_a_server_with_another_listening_line(conform):
    """A line about another port does not matter."""
    more = (
        "import os, sys\n"
        "print('metrics: listening on 127.0.0.1:9', flush=True)\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n"
    )
    arguments = [sys.executable, "-c", more, *CONFORMING[1:]]
    assert conform("-k", "CLOSE-2", "--", *arguments)[0] == CONFORMS


def test_a_server_that_ends_as_it_listens(conform):
    """A server that ends right after it listened is reported as ended."""
    script = (
        "import socket, sys, time\n"
        "listener = socket.create_server(('127.0.0.2', int(sys.argv[1])))\n"
        "time.sleep(1)\n"
        "sys.exit('no')\n"
    )
    status, output = conform("--time-scale", "3", "--", sys.executable, "-c", script, "{port}")
    assert "status 1" in output and "stderr: no" in output
    assert status == NOT_STARTED


def test_no_file_is_created_if_nothing_is_judged(conform, tmp_path):
    known, junit = tmp_path / "known", tmp_path / "junit.xml"
    outputs = ["--fix", "--expected-failures", known, "--junit", junit]
    assert conform(*outputs, "--", sys.executable, "-c", "0", "{port}")[0] == NOT_STARTED
    assert list(tmp_path.iterdir()) == []


def test_a_reference_that_ends(conform):
    reference = shlex.join([sys.executable, "-c", "0", "{port}"])
    status, output = conform("--reference", reference, "--", *CONFORMING)
    assert "--reference: " in output and "status 0" in output
    assert status == NOT_STARTED


def test_an_address_without_a_server(conform):
    address = f"127.0.0.1:{listeners.free_port('127.0.0.1')}"
    status, output = conform("--address", address)
    assert address in output
    assert status == NOT_STARTED


# What is judged.

# As many frameworks do, asyncio writes an exception of one client to stderr, and serves the others.
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


def test_errors_of_a_server_that_continues(conform):
    """The exception that it caught is shown beside what its client saw."""
    arguments = [sys.executable, "-c", CATCHES, "{port}"]
    status, output = conform("--profile", "service", "-k", "ECHO-1", "STOP-1", "--", *arguments)
    errors = r".*\n( +stderr: .*\n)+ +stderr: "
    assert re.search(rf"(no-answer|short-answer|closed-early): {errors}UnicodeDecodeError", output)
    assert re.search("exit-status: .*SIGINT", output)
    assert "replay: touchstone-conform --profile service --only STOP-1 -- " in output
    assert status == DOES_NOT


def test_a_server_that_its_log_stalls(conform):
    """It is not reported to have died of SIGPIPE, from the pipe that ends with the test."""
    dies = (
        "import os, runpy, signal, sys\n"
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
        "sys.argv = sys.argv[1:]\n"
        "sys.path.insert(0, os.path.dirname(sys.argv[0]))\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    arguments = [sys.executable, "-c", dies, *broken("log-blocks")[1:]]
    status, output = conform("--profile", "service", "-k", "LOG-1", "--", *arguments)
    assert "no-answer: " in output
    assert "SIGPIPE" not in output.partition("what happened")[0].partition("test_full_stdout")[2]
    assert status == DOES_NOT


@pytest.mark.parametrize(
    "defect, requirement, code",
    [
        ("in-no-hurry", "CLOSE-2", "slow"),
        ("spins-for-more", "COST-1", "cpu"),
        ("raw-log", "LOG-3", "log-line"),
        ("reserves-much", "FLOW-3", "memory"),
        ("dies-of-a-hundred-resets", "CLOSE-6", "server-died"),  # sixteen of them do not show it
    ],
)
def test_what_no_scenario_can_express(conform, tmp_path, defect, requirement, code):
    """Such a failure has no scenario; the command to replay it runs its tests."""
    how = ["--profile", "service", "-k", requirement, "--report", tmp_path]
    command = [*how, "--", *broken(defect)]
    status, output = conform(*command)
    failed = failures(tmp_path)[0]
    assert (failed["code"], failed["scenario"]) == (code, "")
    assert failed["inexpressible"] in output
    assert f"replay: touchstone-conform --profile service --only {requirement} -- " in output
    assert status == DOES_NOT


def test_list_names_the_requirements_that_are_asked_for(conform):
    """The requirements that are asked for; -k that is given twice adds up."""
    status, output = conform(
        "--list", "--level", "must", "--profile", "wire", "-k", "echo", "--only", "CLOSE-1"
    )
    assert [line.split()[0] for line in output.splitlines()] == [
        "ECHO-1",
        "ECHO-3",
        "ECHO-4",
        "ECHO-5",
        "ECHO-6",
        "CLOSE-1",
    ]
    assert status == CONFORMS


def test_a_server_that_conforms(conform):
    status, output = conform("-k", "CLOSE-2", "START-1", "--", *CONFORMING)
    assert "pass    CLOSE-2  " in output
    assert "wire: conforms (1 pass)\nprocess: conforms (1 pass)\n" in output
    assert status == CONFORMS


def test_progress_in_a_log(monkeypatch):
    """Without a terminal: a line from time to time."""
    seconds, log = [0.0], io.StringIO()
    monkeypatch.setattr(printing.time, "monotonic", lambda: seconds[0])
    printer = printing.Printer(log)
    for count in range(1, 41):
        seconds[0] += 60 if count == 20 else 1
        printer.progress(count, 40)
    assert log.getvalue() == "15 of 40 tests ...\n20 of 40 tests ...\n35 of 40 tests ...\n"


def test_the_count_is_of_all(conform, monkeypatch):
    monkeypatch.setattr(printing, "_LINE_EVERY_S", 0)
    status, output = conform("-k", "CLOSE-2", "START-1", "--", *CONFORMING)
    assert re.search(r"\d of (\d+) tests \.\.\.\n(.*\n)*\1 of \1 tests \.\.\.\n", output)


def test_output_without_a_reader(tmp_path):
    """As in `| head`: the report and the exit status come nevertheless."""
    read, write = os.pipe()
    os.close(read)
    own = "import sys; from touchstone_conform.cli.command import main; sys.exit(main())"
    arguments = ["-k", "START-1", "--report", tmp_path, "--", *CONFORMING]
    with open(write, "wb") as closed:
        ended = subprocess.run(
            [sys.executable, "-c", own, *arguments], stdout=closed, stderr=subprocess.PIPE
        )
    assert ended.stderr == b""
    assert (tmp_path / "report.json").exists()
    assert ended.returncode == CONFORMS


def test_a_server_that_does_not(conform):
    """The sentence, the test, its code and message, what happened, and how to replay it."""
    status, output = conform("-k", "CLOSE-2", "START-1", "--", *broken("fin-answered-with-reset"))
    assert "FAIL    CLOSE-2" in output
    assert "\nCLOSE-2 (wire) " in output
    assert "  test_close.py::test_bare_fin\n" in output
    assert "    rst-for-fin: client: " in output
    assert re.search(rf"replay: touchstone-conform --replay \S+\.scenario -- {COMMAND}", output)
    assert "client  -> FIN\n" in output
    assert "client  <- receive RST\n" in output
    assert "pass    START-1" in output
    assert "wire: does not conform (1 fail)\nprocess: conforms (1 pass)\n" in output
    assert status == DOES_NOT


def test_an_address_is_judged_by_the_wire_profile(conform, tmp_path):
    """Of a running server the wire profile is judged; the rest is skipped."""
    server = Server(CONFORMING, tmp_path)
    try:
        address = f"{server.host}:{server.port}"
        status, output = conform("--address", address, "-k", "ECHO-6", "COST-1")
        assert "wire: conforms (1 pass)" in output
        assert "process: not judged (1 skip): " in output
        assert status == CONFORMS
        status, output = conform("--address", address, "-k", "COST-1")
        assert status == NOT_JUDGED
    finally:
        server.end()


def test_an_address_of_a_broken_server(conform, tmp_path):
    """A failure is shown as of a server that the kit started. Tests that need the process are
    counted, for they might have found more."""
    server = Server(broken("fin-answered-with-reset"), tmp_path)
    try:
        address = f"{server.host}:{server.port}"
        status, output = conform("--address", address, "--only", "CLOSE-2", "FAIR-3")
        assert status == DOES_NOT
        assert "    rst-for-fin: client: " in output and "kit-error" not in output
        assert re.search(r"\d of \d tests skipped: address: ", output)
    finally:
        server.end()


def test_another_mapping(conform, tmp_path, monkeypatch):
    """A service with another mapping conforms to that one only."""
    (tmp_path / "service.py").write_text("def mapped(b): return b.upper().replace(b'`', b'@')\n")
    monkeypatch.chdir(tmp_path)
    judged = ["-k", "ECHO-1", "--", *broken("backquote-mapped")]
    assert conform("--transform", "service:mapped", *judged)[0] == CONFORMS
    assert conform("--transform", "identity", *judged)[0] == DOES_NOT


def test_a_fixed_port_of_the_reference(conform):
    """Tests that need any free port do not use the fixed one."""
    port = listeners.free_port("127.0.0.1")
    fixed = [BUILT / "touchstone", "--listen", f"127.0.0.1:{port}"]
    status, output = conform("--profile", "reference", "--port", port, "-k", "REF-3", "--", *fixed)
    assert status == CONFORMS, output


def test_a_fixed_port(conform):
    port = listeners.free_port("127.0.0.1")
    fixed = [sys.executable, BROKEN, "--port", port]
    status, output = conform("--port", port, "-k", "CLOSE-2", "START-1", "--", *fixed)
    assert "process: conforms (1 pass)" in output
    assert status == CONFORMS


def test_an_address_by_name(conform, tmp_path, monkeypatch):
    """Of several addresses, the one that answers is judged."""
    server = Server(CONFORMING, tmp_path)
    found = socket.getaddrinfo

    def of_two(host, *rest, **more):
        hosts = ["127.0.0.2", server.host] if host == "two.test" else [host]
        return [each for host in hosts for each in found(host, *rest, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", of_two)
    try:
        status, output = conform("--address", f"two.test:{server.port}", "-k", "CLOSE-2")
        assert status == CONFORMS, output
    finally:
        server.end()


def test_a_skip_shows_its_reason(conform):
    """The reason is shown in full."""
    reason = "as known, " * 20 + "and so on"
    skip = ["--skip", f"echo-6={reason}"]
    status, output = conform("-k", "ECHO-6", "CLOSE-2", *skip, "--", *CONFORMING)
    assert f"skip    ECHO-6   {reason}\n" in output
    assert status == CONFORMS


def test_nothing_is_judged(conform):
    status, output = conform("-k", "ECHO-6", "--skip", "ECHO-6=as known", "--", *CONFORMING)
    assert "wire: not judged (1 skip): as known" in output
    assert status == NOT_JUDGED


def test_a_missing_tool(conform, monkeypatch):
    """The test is skipped, or with --require-all fails."""
    monkeypatch.setenv("PATH", "/nonexistent")
    status, output = conform("-k", "FAULT-2", "CLOSE-2", "--", *CONFORMING)
    assert re.search(r"process: not judged \(1 skip\): tool: .*strace", output)
    assert status == CONFORMS
    status, output = conform("-k", "FAULT-2", "CLOSE-2", "--require-all", "--", *CONFORMING)
    assert "unexpected-skip: " in output
    assert status == DOES_NOT


def test_what_a_server_may_lack(conform):
    """It may be skipped with --require-all too."""
    gap = "import os, sys; os.dup2(1, 50); os.execv(sys.executable, sys.argv)"
    arguments = [sys.executable, "-c", gap, *CONFORMING[1:]]
    path = spec.SCENARIOS / "descriptors-exhausted.scenario"
    status, output = conform("--require-all", "--replay", path, "--", *arguments)
    assert "not judged (1 skip): " in output
    assert status == NOT_JUDGED


def test_other_settings_of_pytest_do_not_matter(conform, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option-either\n")
    status, output = conform("-k", "CLOSE-2", "--", *CONFORMING)
    assert status == CONFORMS, output


# Several runs.


def test_flakes_are_counted(conform, monkeypatch):
    """A flaky requirement neither passes nor fails."""
    outcomes = iter([FAILED, PASSED, FAILED])

    def run(arguments, *_):
        if "--touchstone-foundations" in arguments:
            return []
        result = Result("test_it", ["FAIR-3"], next(outcomes), code="no-answer")
        result.scenario = "scenario 1\n" if result.outcome == FAILED else None
        return [result]

    monkeypatch.setattr("touchstone_conform.cli.judging.run", run)
    status, output = conform("-k", "FAIR-3", "--repeat", 3, "--", *CONFORMING)
    assert "1/3     FAIR-3" in output
    assert "-round-3.scenario" in output
    assert "wire: does not conform (1 flaky)" in output
    assert status == DOES_NOT


def test_a_failure_is_compared_with_the_reference(conform):
    reference = shlex.join(CONFORMING)
    arguments = ["-k", "CLOSE-2", "--reference"]
    status, output = conform(*arguments, reference, "--", *broken("fin-answered-with-reset"))
    assert "test_bare_fin (the reference: passed)" in output
    assert status == DOES_NOT
    both = " ".join(broken("fin-answered-with-reset"))
    status, output = conform(*arguments, both, "--", *broken("fin-answered-with-reset"))
    assert "test_bare_fin (the reference: failed)" in output


def verdict_of(*outcomes):
    requirement = spec.read().requirements["CLOSE-2"]
    results = [
        Result(f"test {i}", ["CLOSE-2"], each, message="requires\n X" if each == SKIPPED else "")
        for i, each in enumerate(outcomes)
    ]
    return judge([requirement], [results, results[:1], results[1:]], {})


def test_what_is_counted_is_shown():
    """How many rounds passed, and how many tests were skipped."""
    shown = io.StringIO()
    printing.Printer(shown).verdicts(verdict_of(PASSED, SKIPPED, SKIPPED))
    counted, skipped = shown.getvalue().splitlines()
    assert counted.startswith("2/2     CLOSE-2")
    assert skipped.strip() == "2 of 3 tests skipped: requires X"


def test_the_reference_runs_with_the_same_seed(conform, monkeypatch):
    """Tests that failed in a round run against the reference with the seed of that round."""
    seeds = []

    def run(arguments, *_):
        if "--touchstone-foundations" in arguments:
            return []
        seeds.append(arguments[arguments.index("--touchstone-seed") + 1])
        return [Result("test_it", ["CLOSE-2"], FAILED)]

    monkeypatch.setattr("touchstone_conform.cli.judging.run", run)
    reference = shlex.join(CONFORMING)
    arguments = ["--seed", "7", "--repeat", "2", "--reference", reference, "--", *CONFORMING]
    assert conform("-k", "CLOSE-2", *arguments)[0] == DOES_NOT
    assert seeds == ["7", "8", "7", "8"]


# Known failures.


@pytest.fixture
def known(tmp_path):
    return tmp_path / "known"


def judge_known(conform, known, defect):
    arguments = ["--expected-failures", known, "-k", "CLOSE-2", "START-1", "--"]
    return conform(*arguments, *broken(defect))


def test_known_failures(conform, known):
    known.write_text("# fin-answered-with-reset\nCLOSE-2 rst-for-fin\nCLOSE-2  wrong-byte\n")
    assert judge_known(conform, known, "fin-answered-with-reset")[0] == CONFORMS


def test_the_form_of_a_list(known):
    """Blanks and tabs around both, indented comments, and what some editors begin a file with."""
    text = "\ufeffCLOSE-2\tunasked-data\n\t# why\n  # why\n \t\n  CLOSE-2 \t wrong-byte \t\r\n"
    known.write_bytes(text.encode("utf-8"))
    assert expected.read(known, {"CLOSE-2"}) == {"CLOSE-2": ["unasked-data", "wrong-byte"]}


def test_an_unlisted_failure(conform, known):
    known.write_text("START-1 output\n")
    status, output = judge_known(conform, known, "fin-answered-with-reset")
    assert "known: CLOSE-2 " in output and "rst-for-fin" in output
    assert status == DOES_NOT


def test_a_listed_pass(conform, known):
    known.write_text("CLOSE-2 rst-for-fin\nSTART-1 output\n")
    status, output = judge_known(conform, known, "fin-answered-with-reset")
    assert "known: START-1 " in output
    assert status == DOES_NOT


@pytest.mark.parametrize("code, status", [("rst-for-fin", CONFORMS), ("slow", DOES_NOT)])
def test_a_flaky_failure(conform, known, code, status):
    """What is listed as flaky may pass; it must not fail with another code."""
    known.write_text(f"CLOSE-2 {code} flaky\nSTART-1 output flaky\n")
    assert judge_known(conform, known, "fin-answered-with-reset")[0] == status


def test_a_listed_pass_of_a_smoke_run(conform, known):
    """Tests that did not run may fail as listed."""
    known.write_text("CLOSE-2 rst-for-fin\nSTART-1 output\n")
    arguments = ["--smoke", "--expected-failures", known, "-k", "CLOSE-2", "START-1", "--"]
    assert conform(*arguments, *broken("fin-answered-with-reset"))[0] == CONFORMS


def test_a_failure_with_another_code_is_unexpected(conform, known):
    known.write_text("CLOSE-2 timed-out\n")
    status, output = judge_known(conform, known, "fin-answered-with-reset")
    assert re.search("known: CLOSE-2 .*rst-for-fin.*timed-out.*test_bare_fin", output)
    assert status == DOES_NOT


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("ECHO-99 wrong-byte\n", "known:1: 'ECHO-99'"),
        ("\nECHO-1\n", "known:2: ECHO-1 "),
        ("ECHO-1 *\n", "known:1: '*'"),
        ("ECHO-1  client: * of * bytes came*\n", "known:1: 'client: * of * bytes came*'"),
    ],
)
def test_a_bad_list(conform, known, text, complaint):
    """Also one of the form before 2.0, which matched messages."""
    known.write_text(text)
    status, output = judge_known(conform, known, "fin-answered-with-reset")
    assert complaint in output and output.count("\n") == 1
    assert "ID" in output
    assert status == USAGE


def results_of_all(*_):
    """One test for each requirement, of which two fail."""
    codes = {"CLOSE-2": "rst-for-fin", "START-1": "server-stuck"}
    return [
        Result(f"test_{id}", [id], FAILED if id in codes else PASSED, code=codes.get(id, ""))
        for id in spec.read().requirements
    ]


def test_the_list_is_written(conform, known, monkeypatch):
    """A whole run writes it, and the next run matches it."""
    monkeypatch.setattr("touchstone_conform.cli.judging.run", results_of_all)
    arguments = ["--expected-failures", known, "--", *CONFORMING]
    assert conform("--fix", *arguments)[0] == CONFORMS
    assert "\nCLOSE-2  rst-for-fin\nSTART-1  server-stuck\n" in known.read_text()
    assert conform(*arguments)[0] == CONFORMS


def test_what_is_flaky_stays_so_in_the_list(conform, known, monkeypatch):
    """In one run it passes or fails; with --repeat it does both, and is marked."""
    monkeypatch.setattr("touchstone_conform.cli.judging.run", results_of_all)
    known.write_text("ECHO-1 no-answer flaky\nCLOSE-2 slow flaky\nSTART-1 server-stuck\n")
    arguments = ["--expected-failures", known, "--", *CONFORMING]
    assert conform("--fix", *arguments)[0] == CONFORMS
    listed = expected.read(known, spec.read().requirements)
    assert listed == {
        "ECHO-1": ["no-answer", "flaky"],
        "CLOSE-2": ["slow", "flaky", "rst-for-fin", "flaky"],
        "START-1": ["server-stuck"],
    }


def test_the_list_is_written_although_a_should_was_skipped(conform, known, monkeypatch):
    """Its tests do not suit every server."""

    def results(*_):
        found = results_of_all()
        should = next(each for each in found if each.requirements == ["FAULT-5"])
        should.outcome = SKIPPED
        return found

    monkeypatch.setattr("touchstone_conform.cli.judging.run", results)
    assert conform("--fix", "--expected-failures", known, "--", *CONFORMING)[0] == CONFORMS
    assert "\nSTART-1  server-stuck\n" in known.read_text()


def test_the_list_is_not_written_after_a_partial_run(conform, known, monkeypatch):
    known.write_text("CLOSE-2 slow\n")
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("touchstone_conform.cli.judging.run", lambda *_: [])
    arguments = ["--fix", "--expected-failures", known, "--report", known.parent / "report", "--"]
    status, output = conform(*arguments, *CONFORMING)
    assert "/known " in output and "ECHO-1, " in output
    assert "wire: not judged (21 skip)" in output  # the verdict comes nevertheless
    assert (known.parent / "report" / "report.json").exists()
    assert known.read_text() == "CLOSE-2 slow\n"
    assert status == USAGE


# Scenarios.


def test_scenarios_are_exported(conform, tmp_path):
    status, output = conform("--export-scenarios", tmp_path / "out")
    paths = list((tmp_path / "out").iterdir())
    assert str(len(paths)) in output
    assert len(paths) > 100
    assert status == CONFORMS


def test_a_failure_is_replayed(conform, tmp_path):
    """The scenario of a failure fails on the same server, and passes on others.

    One of these is the reference on the simulated kernel.
    """
    paths = []
    tests = run_tests(broken("hint-is-end"), ["test_stopped.py::test_data_and_fin"])
    for number, result in enumerate(tests.values()):
        steps = language.parse(result.scenario.encode()).steps if result.scenario else []
        # More may not fit the buffers of a stopped server; then FIN arrives only later.
        if steps and max(step.count for step in steps) < 10_000:
            paths.append(tmp_path / f"{number}.scenario")
            paths[-1].write_text(result.scenario)
    assert len(paths) >= 4
    simulated = subprocess.run([SIMULATED, "run", *paths], capture_output=True, text=True)
    assert simulated.returncode == 0, simulated.stdout + simulated.stderr
    status, output = conform("--replay", *paths, "--", *broken("hint-is-end"))
    assert f"{len(paths)} fail)" in output
    assert status == DOES_NOT
    status, output = conform("--replay", *paths, "--", *CONFORMING)
    assert f"replay: conforms ({len(paths)} pass)" in output
    assert status == CONFORMS


def test_a_generated_scenario_is_shrunk():
    """One client with the necessary steps is left."""
    (result,) = run_tests(broken("fin-answered-with-reset"), ["test_mixture.py"]).values()
    shrunk = language.parse(result.scenario.encode())
    assert len(shrunk.names) == 1 and len(shrunk.steps) <= 2


def test_a_scenario_of_a_stop(conform, tmp_path):
    """A server that does not end fails it."""
    path = tmp_path / "x.scenario"
    # It ignores the signal while it has clients: the answer shows that it has this one, which
    # stays until all others have left.
    path.write_text('scenario 1\nconnect a\nsend a "x"\nexpect a "X"\nstop\n')
    short = ["--client-timeout", "1"]
    status, output = conform(*short, "--replay", path, "--", *broken("ignores-the-signal"))
    assert "still-open: " in output
    assert status == DOES_NOT


def test_a_scenario_with_other_ids(conform, tmp_path):
    """What looks like an ID in a comment may be something else."""
    path = tmp_path / "x.scenario"
    path.write_text("# UTF-8, as in RFC-3629, and \xe9\nscenario 1\nconnect a\n", "latin-1")
    assert conform("--replay", path, "--", *CONFORMING)[0] == CONFORMS


def test_a_scenario_for_the_simulated_kernel_is_skipped(conform, tmp_path):
    path = tmp_path / "x.scenario"
    path.write_text("scenario 1\nsimulated\nconnect a\n")
    status, output = conform("--replay", path, "--", *CONFORMING)
    assert "not-offered: " in output
    assert status == NOT_JUDGED


# What is written.


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """The folder of a report on a broken server."""
    folder = tmp_path_factory.mktemp("report")
    arguments = ["-k", "CLOSE-2", "START-1", "COST-1", "--junit", str(folder / "junit.xml")]
    arguments += ["--time-scale", "1.5", "--skip", "COST-1=no time", "--report", str(folder)]
    arguments += ["--title", "a library 1.2.3"]
    assert command.main([*arguments, "--", *broken("fin-answered-with-reset")]) == DOES_NOT
    return folder


def test_the_json_result_names_server_and_failures(reported):
    data = json.loads((reported / "report.json").read_text())
    assert data["schema"] == 3
    assert len(data["specification"]["sha256"]) == 64
    assert data["server"]["command"][-1] == "fin-answered-with-reset"
    assert data["conforms"] is False
    assert data["options"] == ["--time-scale", "1.5"]
    assert data["expected"] == []
    assert data["profiles"]["wire"]["verdict"] == "does not conform"
    verdicts = {each["id"]: each["verdict"] for each in data["requirements"]}
    assert verdicts == {"CLOSE-2": "fail", "COST-1": "skip", "START-1": "pass"}
    failed = [each for each in data["requirements"][0]["tests"] if each["outcome"] == "failed"]
    assert [each["what"] for each in failed[0]["timeline"]][:2] == ["connect", "FIN"]
    assert {each["code"] for each in failed} == {"rst-for-fin"}
    assert failed[0]["purpose"].startswith("FIN ")
    for each in failed:
        written = (reported / "scenarios" / each["scenario"]).read_text()
        assert written.endswith(each["scenario_text"]) and each["scenario_text"]


def test_page(reported):
    """It needs no other file, and has a picture of each failure; tests/page has more tests."""
    page = (reported / "index.html").read_text()
    assert re.findall(r"""src=|href=["'](?!#|data:)|url\(|@import""", page) == []
    assert page.count("<svg ") > 0
    for text in ("Does not conform", "CLOSE-2", "rst-for-fin", "receive RST", "sha256"):
        assert text in page
    assert "a library 1.2.3" in page


def test_junit(reported):
    suite = ElementTree.parse(reported / "junit.xml").getroot()[0]
    cases = {f"{each.get('classname')}::{each.get('name')}": each for each in suite}
    failure = cases["test_close::test_bare_fin"].find("failure")
    assert failure.get("type") == "rst-for-fin"
    assert "client  <- receive RST" in failure.text
    assert int(suite.get("tests")) == len(cases)
    assert int(suite.get("failures")) == len(suite.findall("testcase/failure")) > 0
