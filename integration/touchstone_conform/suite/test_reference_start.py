"""The reference's start, and its stop signal, while one system call fails.

Which of its kind a call is depends on the C library and on sanitizers: a start without a fault is
traced first, and tells.
"""

import re
import resource
import signal
import struct

import pytest

from touchstone_conform import strace
from touchstone_conform.missing import Missing
from touchstone_conform.process import prlimit
from touchstone_conform.server import NotStarted, Server, run_to_end

pytestmark = pytest.mark.reference

CANNOT_START = 1
LOOPBACK = "127.0.0.1"
RESERVED = 32
CONNECTIONS_MAX = 65536
AREA_BYTES = 65536
SLOT_BYTES = AREA_BYTES + 64

GET_LIMIT = r"prlimit64\(0, RLIMIT_NOFILE, NULL,"
SET_LIMIT = r"prlimit64\(0, RLIMIT_NOFILE, \{"


class Starts:
    """Starts that went well, traced."""

    def __init__(self, program, directory, time_scale):
        self._program, self._directory, self._time_scale = program, directory, time_scale
        self._traces = {}

    def _trace(self, host):
        output = self._directory / "trace"
        options = ["--quiet", "--listen", f"[{host}]:{{port}}"]
        words = [*strace.before(output), *self._program, *options]
        try:
            server = Server(words, self._directory, host=host, time_scale=self._time_scale)
        except NotStarted as error:
            raise Missing(f"strace that may trace ({error})") from error
        server.terminate()
        assert server.wait_for_end(5) == 0
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
    time_scale = request.config.getoption("--time-scale")
    return Starts(reference_program, tmp_path_factory.mktemp("starts"), time_scale)


@pytest.fixture
def failing(starts, tmp_path, reference_program):
    """The words to start the reference while one call fails; the call is told by a pattern."""

    def words(pattern, number=1, host=LOOPBACK, fault="error=EPERM"):
        name, which = starts.call(pattern, number, host)
        inject = f"inject={name}:{fault}:when={which}"
        return [
            *strace.before(tmp_path / "trace", "-e", f"trace={name},mmap", "-e", inject),
            *reference_program,
        ]

    return words


LISTEN = "cannot listen on 127.0.0.1:0"
SIGNALS = "cannot catch signals"
FAULTS = {
    (r"socket\(AF_INET, SOCK_STREAM",): LISTEN,
    (r"setsockopt\(\d+, SOL_SOCKET, SO_REUSEADDR,",): LISTEN,
    (r"setsockopt\(\d+, SOL_SOCKET, SO_KEEPALIVE,",): LISTEN,
    (r"setsockopt\(\d+, SOL_SOCKET, SO_OOBINLINE,",): LISTEN,
    (r"setsockopt\(\d+, SOL_TCP, TCP_NODELAY,",): LISTEN,
    (r"fcntl\(\d+, F_SETFD, FD_CLOEXEC",): LISTEN,
    (r"fcntl\(\d+, F_SETFL, .*O_NONBLOCK",): LISTEN,
    (r"bind\(\d+, \{sa_family=AF_INET,",): LISTEN,
    (r"listen\(",): LISTEN,
    (r"getsockname\(",): "cannot determine the listening address",
    (r"epoll_create1\(",): "cannot open a poller",
    (r"pipe2?\(",): SIGNALS,
    (r"fcntl\(\d+, F_SETFD, FD_CLOEXEC", 2): SIGNALS,
    (r"fcntl\(\d+, F_SETFD, FD_CLOEXEC", 3): SIGNALS,
    (r"rt_sigaction\(SIGTERM, \{",): SIGNALS,
    (r"rt_sigaction\(SIGINT, \{",): SIGNALS,
    (r"rt_sigaction\(SIGHUP, NULL,",): SIGNALS,
    (r"rt_sigaction\(SIGHUP, \{",): SIGNALS,
    (r"epoll_ctl\(\d+, EPOLL_CTL_ADD,",): "cannot watch the listening socket",
    (r"epoll_ctl\(\d+, EPOLL_CTL_ADD,", 2): "cannot watch the listening socket",
}


@pytest.mark.requirement("REF-2")
@pytest.mark.parametrize("call", FAULTS, ids=lambda call: " ".join(map(str, call)))
def test_a_call_that_fails(failing, server, call):
    """Whatever fails at the start is told in one line, with errno's name; nothing is served."""
    ended = run_to_end([*failing(*call), "--listen", f"{LOOPBACK}:0"], server.scaled(5))
    said = f"touchstone: {FAULTS[call]}: EPERM (Operation not permitted)\n"
    assert (ended.stderr.decode(), ended.stdout) == (said, b"")
    assert ended.returncode == CANNOT_START


@pytest.mark.requirement("REF-2")
def test_a_closed_stream_without_dev_null(server, tmp_path, reference_program):
    """A stream that is closed is replaced by /dev/null; where there is none, the start fails."""
    inject = ["-P", "/dev/null", "-e", "inject=open,openat:error=EPERM"]
    closed = ["sh", "-c", 'exec "$@" <&-', "sh"]
    words = [*strace.before(tmp_path / "trace", *inject), *closed, *reference_program]
    ended = run_to_end([*words, "--listen", f"{LOOPBACK}:0"], server.scaled(5))
    said = "touchstone: cannot open /dev/null: EPERM (Operation not permitted)\n"
    assert (ended.stderr.decode(), ended.stdout) == (said, b"")
    assert ended.returncode == CANNOT_START


@pytest.mark.requirement("REF-2")
def test_ipv6_that_is_not_alone(failing, server, ipv6_loopback):
    """Where IPv4 would be served on the side, nothing is."""
    words = failing(r"setsockopt\(\d+, SOL_IPV6, IPV6_V6ONLY,", host=ipv6_loopback)
    ended = run_to_end([*words, "--listen", "[::1]:0"], server.scaled(5))
    said = "touchstone: cannot listen on [::1]:0: EPERM (Operation not permitted)\n"
    assert (ended.stderr.decode(), ended.stdout) == (said, b"")
    assert ended.returncode == CANNOT_START


@pytest.mark.requirement("REF-2")
def test_a_descriptor_limit_that_is_not_told(failing, server):
    """Without knowing its descriptor limit it serves nobody."""
    ended = run_to_end([*failing(GET_LIMIT), "--listen", f"{LOOPBACK}:0"], server.scaled(5))
    assert ended.stderr.decode() == (
        "touchstone: --max-connections 1 needs a descriptor limit of 33, "
        "but it is 0 (see ulimit -n)\n"
    )
    assert ended.returncode == CANNOT_START


@pytest.mark.requirement("REF-5")
def test_a_descriptor_limit_that_cannot_be_raised(failing, start_server):
    """It then keeps to the limit that it has."""
    soft, hard = 40, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    low = ["sh", "-c", f'ulimit -Sn {soft}; exec "$@"', "sh"]
    server = start_server(words=[*low, *failing(SET_LIMIT), "--listen", "{host}:{port}"])
    assert prlimit(server.pid, resource.RLIMIT_NOFILE) == (soft, hard)
    clients = [server.connect(f"client {i}") for i in range(soft - RESERVED + 1)]
    for client in clients[:-1]:
        client.ping()
    clients[-1].send(b"ping")
    clients[-1].expect_quiet(0.1)
    for client in clients:
        client.close()


@pytest.mark.requirement("REF-5")
@pytest.mark.parametrize("limit", [1 << 17, resource.RLIM_INFINITY], ids=["131072", "infinity"])
def test_a_high_descriptor_limit(failing, start_server, tmp_path, limit):
    """However many descriptors it may have, it serves 65,536 clients unless told otherwise."""
    told = struct.pack("=Qq", limit % (1 << 64), resource.RLIM_INFINITY).hex()
    words = failing(GET_LIMIT, fault=f"retval=0:poke_exit=@arg4={told}")
    with start_server(words=[*words, "--listen", "{host}:{port}"]).connect() as client:
        client.ping()
    reserved = (CONNECTIONS_MAX + RESERVED) * SLOT_BYTES + 2 * AREA_BYTES
    assert f"mmap(NULL, {reserved}, " in (tmp_path / "trace").read_text()


@pytest.mark.requirement("REF-8")
def test_a_stop_that_cannot_be_noted(failing, start_server):
    """A stop signal that would be lost ends the server at once instead."""
    words = failing(r'write\(\d+, "\\0", 1\)')
    server = start_server(words=[*words, "--quiet", "--listen", "{host}:{port}"])
    with server.connect() as client:
        client.ping()
        server.signal(signal.SIGTERM)
        assert server.wait_for_end(5) == 128 + signal.SIGTERM
