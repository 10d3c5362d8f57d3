"""Kit failures are never reported as server failures, and nothing that the kit starts stays behind.

Here are limits, streams and files that fail, interrupts, and servers that write, start or leave
behind what they like.
"""

import contextlib
import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys
import types
import xml.etree.ElementTree as ElementTree

import pytest
from running import INTEGRATION, run_tests, server_command
from touchstone_conform.cli import command
from touchstone_conform.failure import Failure
from touchstone_conform.harness import listeners
from touchstone_conform.harness.duplicates import duplicated_listener
from touchstone_conform.harness.owned import children
from touchstone_conform.harness.server import Server
from touchstone_conform.harness.skips import limit_of
from touchstone_conform.harness.waiting import wait_until
from touchstone_conform.plugin import listen_option
from touchstone_conform.report.results import FAILED, PASSED, SKIPPED, Result

CONFORMS, DOES_NOT, USAGE, NOT_STARTED, NOT_JUDGED, KIT_FAILED = range(6)
INTERRUPTED = 130
CONFORMING = server_command()


def arguments_of(*arguments):
    return [sys.executable, "-m", "touchstone_conform", *map(str, arguments)]


def kit(*arguments, **surroundings):
    """The ended command: its status and both outputs."""
    environment = {**os.environ, **surroundings.pop("environment", {})}
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **surroundings}
    return subprocess.run(arguments_of(*arguments), env=environment, timeout=300, **given)


def script(text):
    return [sys.executable, "-c", text, "{port}"]


# Limits and streams.


def test_a_limit_of_descriptors():
    """Tests that need more are skipped, and say so."""
    few = 256
    ended = kit(
        *("-k", "FAIR-1", "FAIR-6", "--", *CONFORMING),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (few, few)),
    )
    assert re.search(rb"\d of \d tests skipped: limit: ", ended.stdout)
    assert ended.returncode == CONFORMS


def test_a_closed_stdout(tmp_path):
    """As with no reader: the report and the status come, and nobody else gets descriptor 1."""
    ended = kit(
        *("-k", "CLOSE-2", "--report", tmp_path, "--", *CONFORMING),
        stdout=None,
        preexec_fn=lambda: os.close(1),
    )
    assert json.loads((tmp_path / "report.json").read_text())["conforms"] is True
    assert (ended.stderr, ended.returncode) == (b"", CONFORMS)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="kernel: requires /dev/full")
@pytest.mark.parametrize(
    "defect, status", [(None, KIT_FAILED), ("fin-answered-with-reset", DOES_NOT)]
)
def test_a_full_disk(tmp_path, defect, status):
    """What can be written is; a failure of the server stays one."""
    outputs = ["--junit", "/dev/full", "--report", tmp_path]
    with open("/dev/full", "wb") as full:
        ended = kit("-k", "CLOSE-2", *outputs, "--", *server_command(defect), stdout=full)
    assert json.loads((tmp_path / "report.json").read_text())["conforms"] is (defect is None)
    complaints = ended.stderr.decode().splitlines()
    assert "standard output" in complaints[0] and "--junit: [Errno 28]" in complaints[1]
    assert (len(complaints), ended.returncode) == (2, status)


def test_an_ascii_locale():
    ascii = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = kit(
        *("-k", "CLOSE-2", "--", *CONFORMING),
        environment={**ascii, "PYTHONIOENCODING": "ascii"},
    )
    assert rb"\u2026" in ended.stdout and ended.stdout.isascii()
    assert (ended.stderr, ended.returncode) == (b"", CONFORMS)


def test_without_assertions():
    """Refused: nothing would be checked."""
    ended = kit("-k", "CLOSE-2", "--", *CONFORMING, environment={"PYTHONOPTIMIZE": "2"})
    assert b"PYTHONOPTIMIZE" in ended.stderr and ended.stderr.count(b"\n") == 1
    assert ended.returncode == KIT_FAILED


# A fault of the kit.


@pytest.mark.parametrize(
    "outcome, status", [(PASSED, KIT_FAILED), (SKIPPED, KIT_FAILED), (FAILED, DOES_NOT)]
)
def test_a_kit_error(monkeypatch, capfd, tmp_path, outcome, status):
    """It is no failure of the server, and no success either."""
    results = [
        Result("test_x.py::test_of_kit", ["CLOSE-2"], SKIPPED, code="kit-error", message="oh"),
        Result("test_x.py::test_other", ["CLOSE-2"], outcome, code="slow"),
    ]
    monkeypatch.setattr("touchstone_conform.cli.judging.run", lambda *_: results)
    junit = tmp_path / "junit.xml"
    assert command.main(["-k", "CLOSE-2", "--junit", str(junit), "--", *CONFORMING]) == status
    assert "KIT   test_x.py::test_of_kit\n    oh\n" in capfd.readouterr().out
    (suite,) = ElementTree.parse(junit).getroot()
    assert suite.get("errors") == "1"
    assert suite.find("testcase/error").get("type") == "kit-error"


def test_a_defect_of_the_kit(monkeypatch, capfd):
    """Whatever it raises is not told as a verdict."""

    def run(*_):
        raise LookupError("a defect")

    monkeypatch.setattr("touchstone_conform.cli.judging.run", run)
    assert command.main(["-k", "CLOSE-2", "--", *CONFORMING]) == KIT_FAILED
    assert "the kit itself failed: a defect\n" in capfd.readouterr().err


# Interrupts.

# Notes each start, and becomes the server.
NOTING = """
import os, pathlib, sys
with open(sys.argv[1], "a") as starts:
    starts.write(f"{os.getpid()}\\n")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def is_there(pid):
    """Whether a process runs; not one that has ended, for which nobody waits."""
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize(
    "command, number, of_group",
    [
        (arguments_of(), signal.SIGINT, True),
        (arguments_of(), signal.SIGINT, False),
        (arguments_of(), signal.SIGTERM, False),
        ([INTEGRATION.parent / "ci" / "conform"], signal.SIGINT, True),
        ([INTEGRATION.parent / "ci" / "conform"], signal.SIGTERM, False),
    ],
    ids=["terminal", "SIGINT", "SIGTERM", "ci, terminal", "ci, SIGTERM"],
)
def test_an_interrupt_gives_the_verdict_so_far(tmp_path, command, number, of_group):
    """As of a terminal, and of a program: the verdict so far, and no server is left."""
    starts, junit = tmp_path / "starts", tmp_path / "junit.xml"
    starts.touch()
    server = [sys.executable, "-c", NOTING, starts, *CONFORMING[1:]]
    outputs = ["--report", tmp_path, "--junit", junit]
    running = subprocess.Popen(
        list(map(str, [*command, "--jobs", 1, *outputs, "--", *server])),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        assert wait_until(lambda: starts.read_text().count("\n") >= 5, 60)
        (os.killpg if of_group else os.kill)(running.pid, number)
        output, _ = running.communicate(timeout=60)
    finally:
        running.kill()
    assert b"interrupted: " in output
    data = json.loads((tmp_path / "report.json").read_text())
    assert (data["complete"], data["conforms"]) == (False, False)
    assert int(ElementTree.parse(junit).getroot()[0].get("tests")) >= 1
    assert running.returncode == INTERRUPTED
    assert not any(is_there(int(pid)) for pid in starts.read_text().split())


def test_earlier_results_do_not_stay(tmp_path):
    """Where no server starts there are none: those of an earlier run would be taken for them. Files
    of the user's own stay."""
    junit, own = tmp_path / "junit.xml", tmp_path / "scenarios" / "own.scenario"
    outputs = ["--report", tmp_path, "--junit", junit]
    own.parent.mkdir()
    own.write_text("scenario 1\n")
    resets = server_command("fin-answered-with-reset")
    assert kit("-k", "CLOSE-2", *outputs, "--", *resets).returncode == DOES_NOT
    assert junit.exists() and len(list(own.parent.iterdir())) > 1
    assert kit(*outputs, "--", *script("0")).returncode == NOT_STARTED
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [own]


# What a server writes.

# A title of the terminal, a mark that turns the direction of what follows, and a byte of no text.
ODD = "\x1b]0;owned\x07\u202e"
WRITES = f"""
import sys
sys.stderr.buffer.write({ODD!r}.encode() + b"\\xff\\n")
sys.exit(3)
"""


def test_odd_bytes_of_a_server_that_does_not_start():
    ended = kit("--", *script(WRITES))
    assert ended.returncode == NOT_STARTED
    assert rb"stderr: \x1b]0;owned\x07\u202e\xff" in ended.stderr
    assert not {*ended.stderr.decode()} & {*ODD[:1], *ODD[-2:]}


DIES_WITH_ODD_BYTES = f"""
import os, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while not listener.accept()[0].recv(1):
    pass
for line in ["the cause", *map(str, range(30)), "the end"]:
    print({ODD!r}, line, file=sys.stderr, flush=True)
os._exit(3)
"""


def test_odd_bytes_in_reports(tmp_path):
    """Escaped in each; and of a long error its first lines are shown and its last."""
    junit = tmp_path / "junit.xml"
    outputs = ["--report", tmp_path, "--junit", junit]
    ended = kit("-k", "ECHO-6", "ECHO-3", *outputs, "--", *script(DIES_WITH_ODD_BYTES))
    assert ended.returncode == DOES_NOT
    texts = [ended.stdout.decode(), junit.read_text(encoding="utf-8")]
    texts.append((tmp_path / "index.html").read_text(encoding="utf-8"))
    for text in texts:
        assert "\\x1b]0;owned\\x07\\u202e the cause" in text and "the end" in text
        assert "… 16 lines …" in text
        assert not {*text} & {*ODD[:1], *ODD[-2:]}


# Servers that do not stop writing.

SENDS_FOR_EVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    connection, _ = listener.accept()
    try:
        while True:
            connection.send(b"x" * 65536)
    except OSError:
        pass
"""
LOGS_FOR_EVER = """
import os, socket, sys, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
listener.accept()[0].recv(1)
while True:
    os.write(int(sys.argv[2]), b"y" * 65536)
"""
DRIBBLES = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
connection, _ = listener.accept()
while True:
    connection.send(b"x")
    time.sleep(0.01)
"""


@pytest.fixture
def started(tmp_path):
    """Starts servers, and ends them."""
    with contextlib.ExitStack() as ending:

        def start(command, **settings):
            server = Server(command, tmp_path, **settings)
            ending.callback(server.end)
            return server

        yield start


def test_a_server_that_sends_for_ever(started):
    """No more is taken from it than its client sent, and a bound."""
    with started(script(SENDS_FOR_EVER)).connect() as client:
        with pytest.raises(Failure) as failed:
            client.read_to_end()
    assert failed.value.code == "unasked-data"


def test_a_server_that_sends_a_byte_now_and_then(started):
    """Progress is no answer: the whole of it is due in ten times the timeout."""
    with started(script(DRIBBLES), timeout=0.5).connect() as client:
        client.send(bytes(100_000))
        with pytest.raises(Failure) as failed:
            client.receive(100_000)
    assert failed.value.code == "slow"


@pytest.mark.parametrize("output", [1, 2])
def test_a_server_that_logs_for_ever(tmp_path, started, output):
    """It is ended, its disk space is given back, and this is its failure whatever a client saw."""
    server = started([*script(LOGS_FOR_EVER), str(output)])
    with server.connect() as client:
        client.send(b"x")
        assert wait_until(server.is_gone, 30)
    with pytest.raises(Failure) as failed:
        server.stop()
    assert failed.value.code == "log-flood"
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) <= 2 << 20
    tests, short = ["test_framing.py"], ["--touchstone-client-timeout", "1.5"]
    results = run_tests([*script(LOGS_FOR_EVER), str(output)], tests, *short)
    assert "log-flood" in {each.code for each in results.values()}


# What a server leaves behind.

needs_proc = pytest.mark.skipif(not listeners.can_look_up(), reason="kernel: requires /proc")

# Runs the rest of its command as a daemon: no child of its parent, in a session of its own.
DAEMON = """
import os, sys
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
DETACHED = [sys.executable, "-c", DAEMON, *CONFORMING[1:]]
NOBODY = 1 << 30  # more than the number of any process (proc(5), pid_max)


@needs_proc
def test_a_server_that_detaches(started):
    """The daemon is judged, its end is seen, and the evidence says that it is one."""
    server = started(DETACHED)
    with server.connect() as client:
        client.ping()
    assert server.pid != server._child.pid
    assert f"process {server.pid}, which it left behind" in server.evidence()
    server.check_alive()
    server.signal(signal.SIGKILL)
    server.expect_exit(-signal.SIGKILL, 5)


@needs_proc
@pytest.mark.parametrize("first", [[], [NOBODY]])
def test_a_server_that_detaches_as_we_look(first):
    """A look sees what was there before, which has ended since, and not yet what that left."""
    looks = iter([first, [os.getpid()]])
    ended = types.SimpleNamespace(poll=lambda: 0)
    assert not Server._is_over(types.SimpleNamespace(_child=ended, _strays=lambda: next(looks)))


@needs_proc
def test_a_server_that_detaches_is_judged(tmp_path):
    """Also where several are started one after the other on one port; none is left."""
    starts = tmp_path / "starts"
    noting = [sys.executable, "-c", DAEMON, "-c", NOTING, starts, *CONFORMING[1:]]
    ended = kit("-k", "START-1", "STOP-1", "COST-1", "--", *noting)
    assert ended.returncode == CONFORMS, ended.stdout
    assert not any(is_there(int(pid)) for pid in starts.read_text().split())


@needs_proc
def test_two_servers_that_detach(started):
    """The end of one is not that of the other."""
    first, second = started(DETACHED), started(DETACHED)
    first.end()
    assert not is_there(first.pid)
    with second.connect() as client:
        client.ping()


@needs_proc
def test_a_helper_that_is_left_behind(started, tmp_path):
    """What a server started is gone with it, though it is in no group of the server's."""
    note = tmp_path / "helper"
    helper = (
        "import os, subprocess, sys\n"
        "waits = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "helper = subprocess.Popen(waits, start_new_session=True)\n"
        f"open({str(note)!r}, 'w').write(str(helper.pid))\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n"
    )
    server = started([sys.executable, "-c", helper, *CONFORMING[1:]])
    assert is_there(int(note.read_text()))
    server.stop()
    assert not is_there(int(note.read_text()))


@needs_proc
def test_a_worker_that_is_killed(tmp_path):
    """Even then the daemon that it started is ended, and no verdict is given."""
    starts = tmp_path / "starts"
    starts.touch()
    noting = [sys.executable, "-c", DAEMON, "-c", NOTING, starts, *CONFORMING[1:]]
    with subprocess.Popen(
        arguments_of("--jobs", 1, "--", *noting),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as running:
        assert wait_until(lambda: starts.read_text().count("\n") >= 3, 60)
        (worker,) = [each for each in children(running.pid) if os.getsid(each) == os.getsid(0)]
        os.kill(worker, signal.SIGKILL)
        output, _ = running.communicate(timeout=60)
    assert running.returncode == KIT_FAILED, output
    assert not any(is_there(int(pid)) for pid in starts.read_text().split())


def test_no_signal_to_a_number_after_its_end(started, monkeypatch):
    """By then it may be another process's."""
    server = started(CONFORMING)
    server._child.kill()
    assert wait_until(server.is_gone, 10)
    numbers = []
    for name in ("kill", "killpg"):
        monkeypatch.setattr(os, name, lambda number, _: numbers.append(number))
    with pytest.raises(Failure) as failed:
        server.signal(signal.SIGTERM)
    assert failed.value.code == "server-died"
    server.end()
    assert numbers == []


# Where the kit is started, and beside what.


def test_the_directory_of_the_start(tmp_path):
    """No file there takes the place of a module; that of --transform is found, and the server is
    started there."""
    for name in ("token", "queue", "types", "selectors", "json", "string", "conftest"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "mine.py").write_text("def mapped(data): return data.upper()\n")
    elsewhere = tmp_path / "elsewhere" / "server.py"
    elsewhere.parent.mkdir()
    elsewhere.write_text(
        "import os, sys\n"
        "os.stat('mine.py')\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n"
    )
    program = pathlib.Path(sys.executable).parent / "touchstone-conform"
    server = [sys.executable, elsewhere, *CONFORMING[1:]]
    ended = subprocess.run(
        [program, "--transform", "mine:mapped", "-k", "ECHO-1", "FAIR-2", "--", *server],
        cwd=tmp_path,
        capture_output=True,
        timeout=300,
    )
    assert ended.returncode == CONFORMS, ended.stdout + ended.stderr


OF_ANOTHER_PROJECT = """
import pytest

def pytest_addoption(parser):
    for name in ("--seed", "--smoke", "--transform", "--judge", "--examples"):
        parser.addoption(name)

@pytest.fixture
def server():
    return 1
"""


def test_another_project(tmp_path):
    """Its options, markers and fixtures are its own, though the kit is installed beside it."""
    (tmp_path / "conftest.py").write_text(OF_ANOTHER_PROJECT)
    (tmp_path / "test_it.py").write_text("def test_it(server): assert server == 1\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--seed", "1"]
    ended = subprocess.run([*command, "--markers"], cwd=tmp_path, capture_output=True, timeout=60)
    assert (ended.returncode, b"SPEC.md" in ended.stdout) == (0, False)
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60)
    assert ended.returncode == 0, ended.stdout


# Hints.


@pytest.fixture
def hint(capfd):
    """What is said of a server that is not judged."""

    def say(*arguments):
        assert command.main([*arguments]) == NOT_STARTED
        return capfd.readouterr().err

    return say


ON_IPV6 = """
import socket, sys
listener = socket.create_server(("::1", int(sys.argv[1])), family=socket.AF_INET6)
while True:
    connection, _ = listener.accept()
    while data := connection.recv(65536):
        connection.sendall(data.upper())
    connection.close()
"""


def has_ipv6():
    with contextlib.suppress(OSError):
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="ipv6: requires IPv6 on the loopback")


@needs_proc
@needs_ipv6
def test_a_server_that_listens_elsewhere(hint):
    """On another address of the port, or on another port: it is said where."""
    said = hint("--", *script(ON_IPV6))
    assert "[::1]:" in said and "--host" in said
    port = str(listeners.free_port("::1"))
    command = [*script(ON_IPV6)[:-1], port]
    assert f"[::1]:{port}" in hint("--time-scale", "0.2", "--port", "9", "--", *command)


@needs_ipv6
def test_a_server_on_ipv6_alone():
    ended = kit("--host", "::1", "-k", "ECHO-6", "--", *script(ON_IPV6))
    assert ended.returncode == CONFORMS, ended.stdout + ended.stderr


def test_a_slow_start(hint):
    sleeps = "import time; time.sleep(60)"
    said = hint("--time-scale", "0.05", "--", *script(sleeps))
    assert "within 0.5 s" in said and "--time-scale" in said


@needs_proc
def test_descriptors_that_may_not_be_seen(started, monkeypatch):
    """As of a program with capabilities: it is judged by what its clients see; the rest skips."""
    listed = os.listdir

    def refusing(path="."):
        if str(path).endswith("/fd"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(listeners.os, "listdir", refusing)
    server = started(CONFORMING)
    with server.connect() as client:
        client.ping()
    with pytest.raises(PermissionError) as refused:
        server.process.descriptors()
    assert limit_of(refused.value).code == "permission"


CLOSES_ITS_LISTENER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
connection, _ = listener.accept()
connection.recv(1)
listener.close()
connection.send(b"x")
connection.recv(1)
"""


@needs_proc
def test_a_listener_that_is_gone(started):
    """What is looked for in the server and is not there is the server's failure."""
    server = started(script(CLOSES_ITS_LISTENER))
    with server.connect() as client:
        client.send(b"x")
        client.expect(b"x")
        with pytest.raises(Failure) as failed, duplicated_listener(server.process):
            pass
    assert failed.value.code == "not-listening"


def test_bytes_that_come_back_unmapped():
    echoes = ON_IPV6.replace("::1", "127.0.0.1").replace("AF_INET6", "AF_INET")
    echoes = echoes.replace(".upper()", "")
    results = run_tests(script(echoes), ["test_mapping.py::test_every_byte"])
    (result,) = results.values()
    assert "--transform identity" in result.message


@pytest.mark.parametrize(
    "arguments, index",
    [
        (["./touchstone", "--listen", "127.0.0.1:{port}"], 1),
        (["env", "./touchstone", "--listen=[::1]:{port}"], 2),
        (["./touchstone", "-l*:4444"], 1),
        (["./touchstone", "-q", "-l", "{host}:{port}"], 2),
        (["./server", "-log", "{port}"], None),
        (["./server", "--listeners", "4", "{port}"], None),
        (["./server", "-l", "{port}"], None),
        (["./server", "-level=3", "--port", "{port}"], None),
    ],
)
def test_who_is_the_reference(arguments, index):
    """A word that begins with -l makes nobody the reference."""
    assert listen_option(arguments) == index
