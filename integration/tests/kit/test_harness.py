"""The harness: servers that never start, crash or refuse; clients; processes."""

import contextlib
import errno
import os
import pathlib
import re
import resource
import select
import shlex
import signal
import socket
import struct
import subprocess
import sys
import types

import pytest
from touchstone_conform.cli.judging import SUITE
from touchstone_conform.failure import Failure
from touchstone_conform.harness import listeners, owned, strace
from touchstone_conform.harness.client import Client, CloseKind
from touchstone_conform.harness.duplicates import backlog, duplicated_socket
from touchstone_conform.harness.exchange import Exchange
from touchstone_conform.harness.process import Process
from touchstone_conform.harness.samples import ALL_BYTES, sample
from touchstone_conform.harness.server import NotStarted, Server
from touchstone_conform.harness.skips import SkipReason
from touchstone_conform.harness.waiting import wait_until
from touchstone_conform.timeline import lines_of
from touchstone_conform.transform import answer

SERVER = pathlib.Path(__file__).parents[2] / "broken" / "server.py"
SOAK = SERVER.parents[1] / "soak" / "soak.py"
CONFORMING = [sys.executable, str(SERVER), "--port", "{port}"]


@contextlib.contextmanager
def fails_with(code, pattern=None):
    with pytest.raises(Failure, match=pattern) as failed:
        yield
    assert failed.value.code == code


def script(text):
    return [sys.executable, "-c", text, "{port}"]


def test_the_mapping():
    """The mapping agrees with another definition."""
    for byte in ALL_BYTES:
        letter = ord("a") <= byte <= ord("z")
        assert answer([byte]) == (chr(byte).upper().encode() if letter else bytes([byte]))


# Starting.


def test_a_command_that_is_not_there(tmp_path):
    with pytest.raises(NotStarted, match="/no/such/server"):
        Server(["/no/such/server", "{port}"], tmp_path)


def test_a_server_that_exits(tmp_path):
    with pytest.raises(NotStarted, match="status 3.*\n.*stderr: oh"):
        Server(script("import sys; print('oh', file=sys.stderr); sys.exit(3)"), tmp_path)


def test_a_server_that_is_killed(tmp_path):
    with pytest.raises(NotStarted, match="SIGABRT"):
        Server(script("import os; os.abort()"), tmp_path)


def test_a_server_that_never_listens(tmp_path):
    with pytest.raises(NotStarted, match="port"):
        Server(script("import time; time.sleep(60)"), tmp_path, time_scale=0.05)


def test_arguments_are_not_interpreted(tmp_path):
    """No shell reads the command line."""
    arguments = script("import sys; sys.exit(sys.argv[2])") + ["$HOME `id` * ;{port}"]
    with pytest.raises(NotStarted, match=r"stderr: \$HOME `id` \* ;\d+"):
        Server(arguments, tmp_path)


def test_two_kits_choose_two_ports(monkeypatch):
    """Also while the servers of both start, and neither listens."""
    free, other = listeners.free_port("127.0.0.1"), listeners.free_port("127.0.0.1")
    assert free != other
    chosen = iter([free, free, other])
    monkeypatch.setattr(listeners.random, "randrange", lambda *_: next(chosen))
    with listeners.claim_port("127.0.0.1") as ours, listeners.claim_port("127.0.0.1") as theirs:
        assert [each.getsockname()[1] for each in (ours, theirs)] == [free, other]


@pytest.mark.parametrize("host, family", [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
@pytest.mark.parametrize("look_up", [listeners._asked, lambda kind: listeners._read("self", kind)])
def test_who_listens_where(host, family, look_up):
    """By sock_diag, and by the tables of other namespaces."""
    with socket.create_server((host, 0), family=family) as listener:
        inode = os.readlink(f"/proc/self/fd/{listener.fileno()}")[len("socket:[") : -1]
        assert (inode, host, listener.getsockname()[1]) in look_up(family)


def test_a_server_behind_a_wrapper(tmp_path):
    """The process that listens is observed, not the one that was started."""
    wrapper = "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[2:]])"
    server = Server(script(wrapper) + CONFORMING[1:], tmp_path)
    try:
        if listeners.can_look_up():
            assert server.pid != server._child.pid
    finally:
        server.stop()


# Ending.


def test_a_crash_is_not_a_refusal(tmp_path):
    """A crash is reported with the signal; a refused client is not a crash."""
    server = Server(CONFORMING, tmp_path)
    server.check_alive()
    server._child.kill()
    assert wait_until(server.is_gone, 10)
    with fails_with("server-died", "SIGKILL"):
        server.stop()
    with fails_with("cannot-connect"):
        server.connect()


def test_a_sanitizer_report(tmp_path):
    """A sanitizer's report fails the test even if the server continues."""
    report = "print('x.c:1:2: runtime error: overflow', file=sys.stderr, flush=True)"
    serve = f"os.execv(sys.executable, [sys.executable, {str(SERVER)!r}, '--port', sys.argv[1]])"
    server = Server(script(f"import os, sys; {report}; {serve}"), tmp_path)
    with fails_with("server-died", "runtime error"):
        server.stop()


# Clients.


@pytest.fixture
def pair():
    """A client of the kit, and the other end of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with Client(listener.getsockname(), timeout=0.2) as client:
            other, _ = listener.accept()
            with other:
                yield client, other


def test_end_is_seen(pair):
    client, other = pair
    other.sendall(b"last arguments")
    other.close()
    assert client.read_to_end() == (b"last arguments", CloseKind.FIN)


def test_reset_is_seen_after_the_bytes(pair):
    """Bytes that arrived before RST are judged."""
    client, other = pair
    client.send(b"unread")
    other.sendall(b"last arguments")
    other.close()  # with bytes unread: the kernel sends RST
    assert client.read_to_end() == (b"last arguments", CloseKind.RST)


def test_open_is_seen(pair):
    client, _ = pair
    assert client.read_to_end() == (b"", CloseKind.STILL_OPEN)


def test_wrong_bytes_are_reported_before_a_wrong_end(pair):
    client, other = pair
    client.send(b"unread")
    other.sendall(b"LASt")
    other.close()
    with fails_with("wrong-byte", "4 of 5 .*RST.* 3"):
        client.expect_end(b"LAST!")


@pytest.mark.parametrize(
    "pieces, found",
    [
        ([0, 1, 3, 4], "100 bytes lost .* 300"),
        ([0, 1, 2, 2, 3, 4], "100 bytes duplicated .* 300"),
        ([0, 1, 3, 2, 4], "reordered .* 300"),
    ],
)
def test_what_came_is_looked_up(pair, pieces, found):
    """Counted from the start of the stream, not of what is judged."""
    client, other = pair
    data = sample(600)
    client.send(data)
    other.recv(600)
    other.sendall(data[:100])
    client.expect(data[:100])
    parts = [data[i : i + 100] for i in range(100, 600, 100)]
    other.sendall(b"".join(parts[each] for each in pieces))
    other.shutdown(socket.SHUT_WR)
    with fails_with("wrong-byte", f"first difference at offset [34]00: .*; {found}"):
        client.expect_end(data[100:])


def test_wrong_end(pair):
    client, other = pair
    client.send(b"unread")
    other.close()
    with fails_with("rst-for-fin"):
        client.expect_end()


class Lost(socket.socket):
    """Of a peer that the kernel has given up."""

    def recv(self, *_):
        raise OSError(errno.ETIMEDOUT, "timed out")


def test_a_time_out():
    """It is neither FIN nor RST."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with Client(listener.getsockname(), timeout=5, new_socket=Lost) as client:
            accepted, _ = listener.accept()
            accepted.close()
            with fails_with("timed-out"):
                client.expect_end()
    assert client.end is CloseKind.TIMED_OUT


def test_a_failure_shows_the_exchange(pair):
    client, other = pair
    client.send(b"hello")
    other.sendall(b"hello")
    with fails_with("wrong-byte"):
        client.expect(b"HELLO")
    text = "\n".join(lines_of(client.record.timeline()))
    assert re.search(r"-> send 5 bytes b'hello'\n.*<- receive 5 bytes b'hello'", text)


def test_a_failure_among_many_clients():
    """The events of the client that failed are shown, even after many of others."""
    record = Exchange()
    a, b = (types.SimpleNamespace(name=name, number=n) for n, name in enumerate("ab"))
    for _ in range(100):
        record.note("expect", b, 1)
    for data in (b"early", b"late"):
        record.note("send", a, data=data)
        for _ in range(100):
            record.note("expect", b, 1)
    record.note("failed", a)
    texts = [each["text"] for each in record.timeline()]
    assert [each for each in texts if "expects" not in each] == [
        "… 86 events …",
        "send 5 bytes b'early'",
        "… 100 events …",
        "send 4 bytes b'late'",
        "… 73 events …",
        "failed",
    ]
    assert len([each for each in texts if "…" not in each]) == 44


# The plugin.


def pytest_says(*arguments):
    """The status and output of pytest in a process of its own."""
    plugins = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "touchstone_conform.plugin"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *arguments],
        cwd=SERVER.parent.parent,
        capture_output=True,
        text=True,
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_without_a_server():
    """Nothing fails; one reason is given."""
    status, output = pytest_says("-q", "-rs", f"{SUITE}/test_close.py")
    assert status == 0
    assert "--touchstone-server-cmd" in output
    assert "passed" not in output


def test_a_command_without_port():
    status, output = pytest_says("--touchstone-server-cmd", "./server")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "--touchstone-server-cmd" in output


def test_a_missing_tool_is_named(monkeypatch):
    """A test that requires a tool is skipped, with the name of the tool."""
    monkeypatch.setenv("PATH", "/nonexistent")
    command = shlex.join(CONFORMING)
    server = ["--touchstone-server-cmd", command]
    status, output = pytest_says("-rs", f"{SUITE}/test_faults.py", *server)
    assert status == 0
    assert "tool: requires strace" in output


def test_a_server_started_in_the_background(tmp_path):
    """A shell lets its background processes ignore SIGINT; the server does not."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        server = Server(script(FORKS), tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    server.signal(signal.SIGINT)
    assert server.wait_for_end(5) != 0
    server.end()


@pytest.mark.skipif(sys.platform != "linux", reason="kernel: requires PR_SET_PDEATHSIG")
def test_a_server_does_not_outlive_a_kit_that_is_killed(tmp_path):
    """Not even one that ignores SIGTERM."""
    arguments = [*CONFORMING, "--defect", "ignores-the-signal"]
    kit = (
        "import pathlib, time; from touchstone_conform.harness.server import Server;"
        f" server = Server({arguments!r}, pathlib.Path({str(tmp_path)!r}));"
        " print(server.pid, server.port, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", kit], stdout=subprocess.PIPE) as killed:
        pid, port = map(int, killed.stdout.readline().split())
        try:
            with Client(("127.0.0.1", port)) as client:
                client.ping()
                killed.kill()
                client.expect_end()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


# A server that serves each client in a process of its own.

FORKS = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=3)
while True:
    connection, _ = listener.accept()
    if os.fork() == 0:
        while data := connection.recv(65536):
            while data == b"spin":
                pass
            connection.sendall(data.upper())
        os._exit(0)
    connection.close()
"""


@pytest.fixture
def forks(tmp_path):
    server = Server(script(FORKS), tmp_path, timeout=1)
    yield server
    server.end()


def test_a_socket_of_a_fork_is_found(forks):
    with forks.connect() as client:
        client.ping()
        with duplicated_socket(forks.process, client.address) as its_end:
            assert its_end.getpeername() == client.address


def test_forks_stop_and_continue(forks):
    with forks.connect() as client:
        client.ping()
        with forks.process.stopped():
            client.send(b"x")
            assert client.receive(1) == b""
        client.expect(b"X")


def test_the_time_that_forks_use(forks):
    with forks.connect() as client:
        client.ping()
        assert wait_until(forks.process.is_at_rest, 20)
        before = forks.process.cpu_seconds()
        client.send(b"spin")
        assert wait_until(lambda: forks.process.cpu_seconds() > before + 0.1, 20)


def test_a_server_that_spins_on_a_busy_machine():
    """It shares its core with three others: in 0.3 s it gets 0.075 s of it."""
    core = {min(os.sched_getaffinity(0))}
    with contextlib.ExitStack() as running:
        for _ in range(4):
            spins = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            running.callback(spins.wait)
            running.callback(spins.kill)
            os.sched_setaffinity(spins.pid, core)
        assert Process(spins.pid).cpu_seconds_during(0.3) > 0.2


CALLS_WHEN_ASKED = """
import os, socket, sys, time
client, _ = socket.create_server(("127.0.0.1", int(sys.argv[1]))).accept()
while client.recv(1):
    end = time.monotonic() + 0.1
    while time.monotonic() < end:
        try:
            os.sched_yield()
        except PermissionError:
            pass
"""


def test_a_test_that_fails_while_calls_are_made_to_fail(tmp_path):
    """strace does not detach in the middle of a call, which would fail with ENOSYS."""
    inject = ["-e", "inject=sched_yield:error=EPERM:when=1+"]
    server = Server(script(CALLS_WHEN_ASKED), tmp_path)
    with server.connect() as client:
        for _ in range(10):
            with pytest.raises(Failure), strace.attached(server.process, *inject) as trace:
                client.send(b"x")
                assert wait_until(trace.injected, 10)
                raise Failure("wrong-byte", "for example")
    server.expect_exit(0, 20)
    server.end()


def test_the_backlog(forks):
    """So many clients can connect while the server is stopped, and one more on Linux."""
    assert backlog(forks.process) == 3
    with forks.process.stopped():
        clients = [forks.connect() for _ in range(4)]
        with fails_with("cannot-connect"):
            forks.connect()
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    "arguments, status, complaint",
    [
        ([], 2, "command"),
        (["/no/such/server"], 1, "[Errno 2]"),
        (CONFORMING, 1, "resource.prlimit"),
    ],
    ids=["no command", "no server", "no prlimit"],
)
def test_a_soak_that_cannot_be(arguments, status, complaint):
    """It reports what is missing, also on a Python without resource.prlimit."""
    run = (
        "import resource, runpy\n"
        "del resource.prlimit\n"
        f"runpy.run_path({str(SOAK)!r}, run_name='__main__')\n"
    )
    command = [sys.executable, "-c", run, *arguments]
    ended = subprocess.run(command, stderr=subprocess.PIPE, timeout=60)
    assert complaint in ended.stderr.decode()
    assert ended.returncode == status


def test_a_socket_of_both_families():
    """Such a server sees an IPv4-mapped address, its client an IPv4 address."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("ipv6: requires sockets of both families")
    ours = Process(os.getpid())
    everywhere = {"family": socket.AF_INET6, "dualstack_ipv6": True}
    pair = contextlib.ExitStack()
    for each in socket.socketpair():  # as event loops have: no host and port
        pair.enter_context(each)
    with pair, socket.create_server(("::", 0), **everywhere) as listener:
        with socket.create_connection(("127.0.0.1", listener.getsockname()[1])) as client:
            accepted, peer = listener.accept()
            assert peer[0] == "::ffff:127.0.0.1"
            with accepted, duplicated_socket(ours, client.getsockname()) as its_end:
                assert its_end.getpeername() == peer


def test_a_reset_before_our_own_end():
    """Reading reports the reset, after the bytes that came before."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with Client(listener.getsockname(), timeout=5) as client:
            accepted, _ = listener.accept()
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            accepted.close()
            assert select.select([client], [], [], 5)[0]
            client.shutdown()
            with fails_with("rst-for-fin"):
                client.expect_end()


def test_a_family_whose_members_end():
    """A process that ends meanwhile is left out."""
    shell = "for i in $(seq 200); do true & done; wait; sleep 60"
    with subprocess.Popen(["sh", "-c", shell]) as parent:
        for _ in range(200):
            assert owned.family(parent.pid)[0] == parent.pid
        parent.kill()


def test_a_python_without_prlimit(monkeypatch):
    """It is a reason to skip, not a failure of the server."""
    monkeypatch.delattr(resource, "prlimit")
    limited = Process(os.getpid()).limited(resource.RLIMIT_NOFILE, 64)
    with pytest.raises(SkipReason, match="resource.prlimit"), limited:
        pass


@pytest.mark.parametrize("works", [True, False], ids=["works", "waits"])
def test_a_thread_that_works_is_no_rest(works):
    """Also if the first thread sleeps, as that of a JVM does."""
    thread = "while True: pass" if works else "threading.Event().wait()"
    program = f"""
import threading
def other():
    {thread}
threading.Thread(target=other, daemon=True).start()
print("started", flush=True)
threading.Event().wait()
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout.readline() == b"started\n"
            process = Process(running.pid)
            assert wait_until(lambda: process.state() == "S", 10)
            assert bool(wait_until(process.is_at_rest, 1)) != works
        finally:
            running.kill()


def test_a_socket_pair_is_no_connection():
    """A runtime's own, which blocks, says nothing of how the server treats its clients."""
    process = Process(os.getpid())
    before = process.socket_flags()
    with contextlib.ExitStack() as opened:
        for each in socket.socketpair():
            opened.enter_context(each)
        assert process.socket_flags() == before
        opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        assert len(process.socket_flags()) == len(before) + 1


@pytest.mark.parametrize("flying", [[0], [2, 1, 0]], ids=["nothing lost", "sent again"])
def test_a_stall_awaits_what_is_in_flight(flying):
    """While a kernel sends again what another dropped, a server that rests is not stalled."""
    client = types.SimpleNamespace(
        send_until_blocked=lambda data, _: min(len(data), 5), in_flight=lambda: flying.pop(0)
    )
    at_rest = types.SimpleNamespace(is_at_rest=lambda: True)
    server = types.SimpleNamespace(scaled=float, process=at_rest)
    assert Server.stall(server, client, bytes(10)) == 10
    assert flying == []


def test_what_is_in_flight_arrives():
    """Nothing is in flight once the peer's kernel has taken all, or has no room."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with Client(listener.getsockname(), timeout=5) as client, listener.accept()[0]:
            client.send_while_taken(bytes(1 << 24), 0.05)
            assert client.unacknowledged() > 0
            assert wait_until(lambda: client.in_flight() == 0, 5)
