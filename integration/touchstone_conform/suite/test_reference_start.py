"""The start of the reference, and its stop signal, while one system call fails.

The number of a call among those of its name depends on the C library and on sanitizers: it is taken
from the trace of a start without a fault.
"""

import re
import resource
import signal
import struct

import pytest

from touchstone_conform import marks
from touchstone_conform.failure import expect
from touchstone_conform.harness import strace
from touchstone_conform.harness.process import hangup, prlimit
from touchstone_conform.harness.server import NotStarted, Server, expect_ended, run_to_end
from touchstone_conform.harness.skips import SkipReason

pytestmark = marks.reference

CANNOT_START = 1
LOOPBACK = "127.0.0.1"
RESERVED = 32
CONNECTIONS_MAX = 65536
AREA_BYTES = 65536
SLOT_BYTES = AREA_BYTES + 64

GET_LIMIT = r"prlimit64\(0, RLIMIT_NOFILE, NULL,"
SET_LIMIT = r"prlimit64\(0, RLIMIT_NOFILE, \{"


class Starts:
    """Traces of successful starts."""

    def __init__(self, program, directory, time_scale):
        self._program, self._directory, self._time_scale = program, directory, time_scale
        self._traces = {}

    def _trace(self, host):
        output = self._directory / "trace"
        options = ["--quiet", "--listen", f"[{host}]:{{port}}"]
        command = [*strace.before(output), *self._program, *options]
        try:
            server = Server(command, self._directory, host=host, time_scale=self._time_scale)
        except NotStarted as error:
            raise SkipReason("permission", f"permission for strace to trace ({error})") from error
        server.wait_for_log("^listening on ")  # the last call of the start
        server.terminate()
        server.expect_exit(0, 5)
        return output.read_text().splitlines()

    def call(self, pattern, number=1, host=LOOPBACK):
        """The name of the `number`th call that matches, and which of that name it is."""
        if host not in self._traces:
            self._traces[host] = self._trace(host)
        lines = self._traces[host]
        at = [index for index, line in enumerate(lines) if re.match(pattern, line)][number - 1]
        name = lines[at].partition("(")[0]
        return name, sum(line.startswith(f"{name}(") for line in lines[: at + 1])


@pytest.fixture(scope="module")
def starts(reference_program, tmp_path_factory, request):
    time_scale = request.config.getoption("--touchstone-time-scale")
    return Starts(reference_program, tmp_path_factory.mktemp("starts"), time_scale)


@pytest.fixture
def failing(starts, tmp_path, reference_program):
    """The command that starts the reference while one call fails, which a pattern selects."""

    def command(pattern, number=1, host=LOOPBACK, fault="error=EPERM"):
        name, which = starts.call(pattern, number, host)
        inject = f"inject={name}:{fault}:when={which}"
        return [
            *strace.before(tmp_path / "trace", "-e", f"trace={name},mmap", "-e", inject),
            *reference_program,
        ]

    return command


# What the line has to name besides errno.
LISTEN = "127.0.0.1:0"
SIGNALS = "signals"
FAULTS = {
    (r"socket\(AF_INET, SOCK_STREAM",): LISTEN,
    (r"setsockopt\(\d+, SOL_SOCKET, SO_REUSEADDR,",): LISTEN,
    (r"setsockopt\(\d+, SOL_SOCKET, SO_KEEPALIVE,",): LISTEN,
    (r"setsockopt\(\d+, SOL_SOCKET, SO_OOBINLINE,",): LISTEN,
    (r"setsockopt\(\d+, SOL_TCP, TCP_NODELAY,",): LISTEN,
    (r"fcntl\(\d+, F_SETFD, FD_CLOEXEC", 3): LISTEN,
    (r"fcntl\(\d+, F_SETFL, .*O_NONBLOCK",): LISTEN,
    (r"bind\(\d+, \{sa_family=AF_INET,",): LISTEN,
    (r"listen\(",): LISTEN,
    (r"getsockname\(",): "listening address",
    (r"epoll_create1\(",): "poller",
    (r"pipe2?\(",): SIGNALS,
    (r"fcntl\(\d+, F_SETFD, FD_CLOEXEC",): SIGNALS,
    (r"fcntl\(\d+, F_SETFD, FD_CLOEXEC", 2): SIGNALS,
    (r"rt_sigaction\(SIGTERM, \{",): SIGNALS,
    (r"rt_sigaction\(SIGINT, \{",): SIGNALS,
    (r"rt_sigaction\(SIGHUP, NULL,",): SIGNALS,
    (r"rt_sigaction\(SIGHUP, \{",): SIGNALS,
    (r"epoll_ctl\(\d+, EPOLL_CTL_ADD,",): "listening socket",
    (r"epoll_ctl\(\d+, EPOLL_CTL_ADD,", 2): "listening socket",
}


@pytest.fixture(autouse=True, scope="module")
def default_hangup():
    """What was ignored at the start is not caught, and takes a call less."""
    with hangup(signal.SIG_DFL):
        yield


@marks.requirement("REF-2")
@pytest.mark.parametrize("call", FAULTS, ids=lambda call: " ".join(map(str, call)))
def test_a_call_that_fails(failing, server, call):
    """Each failure at the start is reported in one line with the name of errno."""
    ended = run_to_end([*failing(*call), "--listen", f"{LOOPBACK}:0"], server.scaled(5))
    expect_ended(ended, CANNOT_START, FAULTS[call], "EPERM")


@marks.requirement("STOP-4")
def test_a_stop_as_soon_as_it_listens(failing, server):
    """A stop signal during listen(2) drains already: a client may have connected by then."""
    command = failing(r"listen\(", fault="signal=SIGTERM")
    status = run_to_end([*command, "--listen", f"{LOOPBACK}:0"], server.scaled(5)).returncode
    expect(status == 0, "exit-status", f"expected exit status 0, got {status}")


@marks.requirement("REF-2")
def test_a_closed_stream_without_dev_null(server, tmp_path, reference_program):
    """A stream that is closed is replaced by /dev/null; where there is none, the start fails."""
    inject = ["-P", "/dev/null", "-e", "inject=open,openat:error=EPERM"]
    closed = ["sh", "-c", 'exec "$@" <&-', "sh"]
    command = [*strace.before(tmp_path / "trace", *inject), *closed, *reference_program]
    ended = run_to_end([*command, "--listen", f"{LOOPBACK}:0"], server.scaled(5))
    expect_ended(ended, CANNOT_START, "/dev/null", "EPERM")


@marks.requirement("REF-2")
def test_ipv6_with_ipv4(failing, server, ipv6_loopback):
    """If IPV6_V6ONLY fails, the server does not start."""
    command = failing(r"setsockopt\(\d+, SOL_IPV6, IPV6_V6ONLY,", host=ipv6_loopback)
    ended = run_to_end([*command, "--listen", "[::1]:0"], server.scaled(5))
    expect_ended(ended, CANNOT_START, "[::1]:0", "EPERM")


@marks.requirement("REF-2")
def test_an_unknown_descriptor_limit(failing, server, tmp_path):
    """Without its descriptor limit the server does not start, and sets none."""
    ended = run_to_end([*failing(GET_LIMIT), "--listen", f"{LOOPBACK}:0"], server.scaled(5))
    expect_ended(ended, CANNOT_START, "--max-connections 1", "33", "is 0")
    limited = re.search(SET_LIMIT, (tmp_path / "trace").read_text())
    expect(limited is None, "system-calls", "expected no limit to be set")


@marks.requirement("REF-5")
def test_a_descriptor_limit_that_cannot_be_raised(failing, start_server):
    """If the limit cannot be raised, the server keeps to the one it has."""
    soft, hard = 40, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    low = ["sh", "-c", f'ulimit -Sn {soft}; exec "$@"', "sh"]
    server = start_server(arguments=[*low, *failing(SET_LIMIT), "--listen", "{host}:{port}"])
    limits = prlimit(server.pid, resource.RLIMIT_NOFILE)
    expect(limits == (soft, hard), "descriptors", f"expected {(soft, hard)}, got {limits}")
    clients = [server.connect(f"client {i}") for i in range(soft - RESERVED + 1)]
    for client in clients[:-1]:
        client.ping()
    clients[-1].send(b"ping")
    clients[-1].expect_quiet(0.1)
    for client in clients:
        client.close()


@marks.requirement("REF-5")
@pytest.mark.parametrize("limit", [1 << 17, resource.RLIM_INFINITY], ids=["131072", "infinity"])
def test_a_high_descriptor_limit(failing, start_server, tmp_path, limit):
    """With any higher descriptor limit, the default is 65,536 clients."""
    limits = struct.pack("=Qq", limit % (1 << 64), resource.RLIM_INFINITY).hex()
    command = failing(GET_LIMIT, fault=f"retval=0:poke_exit=@arg4={limits}")
    with start_server(arguments=[*command, "--listen", "{host}:{port}"]).connect() as client:
        client.ping()
    reserved = CONNECTIONS_MAX * SLOT_BYTES + 2 * AREA_BYTES
    found = f"mmap(NULL, {reserved}, " in (tmp_path / "trace").read_text()
    expect(found, "memory", f"expected the server to reserve {reserved} bytes")


@marks.requirement("REF-8")
def test_a_stop_that_cannot_be_recorded(failing, start_server):
    """A stop signal that cannot be recorded ends the server at once."""
    command = failing(r'write\(\d+, "\\0", 1\)')
    server = start_server(arguments=[*command, "--quiet", "--listen", "{host}:{port}"])
    with server.connect() as client:
        client.ping()
        server.signal(signal.SIGTERM)
        server.expect_exit(128 + signal.SIGTERM, 5)
