"""The command line of the reference: what it accepts, and its messages when it does not."""

import os
import re
import socket
import subprocess
import sys

import pytest

from touchstone_conform import marks
from touchstone_conform.failure import expect
from touchstone_conform.harness.server import expect_ended, run_to_end

pytestmark = [marks.reference, marks.code("output")]

USAGE, CANNOT_START = 2, 1
OPTIONS = {
    "l": "listen",
    "c": "max-connections",
    "b": "buffer",
    "i": "idle-timeout",
    "d": "drain-timeout",
    "p": "poller",
    "f": "log-format",
    "v": "verbose",
    "q": "quiet",
    "h": "help",
    "V": "version",
}


@pytest.fixture
def run(reference_program, request):
    """Runs the reference with other options; it must end by itself."""
    seconds = 5 * request.config.getoption("--touchstone-time-scale")
    return lambda *options: run_to_end([*reference_program, *options], seconds)


# What the line has to name: the option, the value, and what was expected.
BAD_USAGE = {
    ("--frob",): ["'--frob'"],
    ("-x",): ["'-x'"],
    ("--listen",): ["--listen", "ADDRESS:PORT"],
    ("-l",): ["--listen", "ADDRESS:PORT"],
    ("--verbose=x",): ["--verbose", "'x'"],
    ("--quiet=",): ["--quiet", "''"],
    ("x",): ["'x'"],
    ("-v", "x"): ["'x'"],
    ("--listen", "foo"): ["--listen", "'foo'", "ADDRESS:PORT"],
    ("--listen=",): ["--listen", "''", "ADDRESS:PORT"],
    ("--listen", "[::1:4444"): ["--listen", "'[::1:4444'", "ADDRESS:PORT"],
    ("--listen", "127.0.0.1:99999"): ["--listen", "'99999'", "0", "65535"],
    ("--listen", "127.0.0.1:65536"): ["--listen", "'65536'", "0", "65535"],
    ("--listen", "127.0.0.1:-1"): ["--listen", "'-1'", "0", "65535"],
    ("--listen", "127.0.0.1:"): ["--listen", "''", "0", "65535"],
    ("--listen", "127.0.0.1:80x"): ["--listen", "'80x'", "0", "65535"],
    ("-l127.0.0.1: 80",): ["--listen", "' 80'", "0", "65535"],
    ("--listen", ":4444"): ["--listen", "':4444'", "ADDRESS:PORT"],
    ("--listen", "::1:4444"): ["--listen", "'::1:4444'", "ADDRESS:PORT"],
    ("--max-connections",): ["--max-connections", "N"],
    ("--max-connections=0",): ["--max-connections", "'0'", "1", "16777216"],
    ("--max-connections=16777217",): ["--max-connections", "'16777217'", "1", "16777216"],
    ("-c", "10x"): ["--max-connections", "'10x'", "1", "16777216"],
    ("-c", "-1"): ["--max-connections", "'-1'", "1", "16777216"],
    ("--buffer",): ["--buffer", "BYTES"],
    ("--buffer", "0"): ["--buffer", "'0'", "1", "1073741824"],
    ("--buffer", "1073741825"): ["--buffer", "'1073741825'", "1", "1073741824"],
    ("--buffer", "64k"): ["--buffer", "'64k'", "1", "1073741824"],
    ("-b", " 1"): ["--buffer", "' 1'", "1", "1073741824"],
    ("-b=1",): ["--buffer", "'=1'", "1", "1073741824"],
    ("--idle-timeout",): ["--idle-timeout", "SECONDS"],
    ("--idle-timeout=",): ["--idle-timeout", "''", "0", "1048576"],
    ("--idle-timeout=1.5",): ["--idle-timeout", "'1.5'", "0", "1048576"],
    ("-i", "1048577"): ["--idle-timeout", "'1048577'", "0", "1048576"],
    ("-i18446744073709551617",): ["--idle-timeout", "'18446744073709551617'", "0", "1048576"],
    ("--drain-timeout",): ["--drain-timeout", "SECONDS"],
    ("--drain-timeout=never",): ["--drain-timeout", "'never'", "0", "1048576"],
    ("-d", "+5"): ["--drain-timeout", "'+5'", "0", "1048576"],
    ("-d", "1048577"): ["--drain-timeout", "'1048577'", "0", "1048576"],
    ("--poller",): ["--poller", "epoll|kqueue"],
    ("--poller=select",): ["--poller", "'select'", "epoll|kqueue"],
    ("-p", "epol"): ["--poller", "'epol'", "epoll|kqueue"],
    ("-p", "epoll|kqueue"): ["--poller", "'epoll|kqueue'", "epoll|kqueue"],
    ("--log-format",): ["--log-format", "text|json"],
    ("--log-format=xml",): ["--log-format", "'xml'", "text|json"],
    ("-fJSON",): ["--log-format", "'JSON'", "text|json"],
    ("--help=x",): ["--help", "'x'"],
    ("-qv",): ["--quiet", "'v'"],
}


@marks.requirement("REF-1")
@pytest.mark.parametrize("options", BAD_USAGE, ids=" ".join)
def test_bad_usage(run, options):
    """Bad usage is answered with one line that names what was wrong, and status 2."""
    expect_ended(run(*options), USAGE, *BAD_USAGE[options])


@marks.requirement("REF-1")
def test_unresolvable_name(run):
    """A name that does not resolve is named, with the resolver's reason."""
    host = "no.such.host.invalid"
    with pytest.raises(socket.gaierror) as refused:
        socket.getaddrinfo(host, 4444)
    ended = run("--listen", f"{host}:4444")
    expect_ended(ended, USAGE, "--listen", f"'{host}'", refused.value.strerror)


@marks.requirement("REF-1")
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the poller is kqueue")
def test_a_poller_of_another_system(run):
    """A poller of another system is refused by its name."""
    ended = run("--listen", "127.0.0.1:0", "--poller", "kqueue")
    expect_ended(ended, USAGE, "--poller", "'kqueue'", "epoll")


@marks.requirement("REF-15")
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the poller is kqueue")
@pytest.mark.parametrize("options", [["-p", "epoll"], ["--poller=epoll"]], ids=" ".join)
def test_the_poller_of_this_system(start_server, options):
    """The poller of this system can be selected."""
    with start_server(*options).connect() as client:
        client.ping()


@marks.requirement("REF-15")
def test_the_last_one_counts(start_server):
    """The last of repeated options counts; --quiet and --verbose are one option."""
    server = start_server("-c1", "-c", "2", "--quiet", "--verbose", "--log-format=json", "-ftext")
    with server.connect("first") as first, server.connect("second") as second:
        first.ping()
        second.ping()
    server.wait_for_log(r'^data token=\S+ bytes=4 text="ping"$')


@marks.requirement("REF-2")
def test_an_address_that_is_not_ours(run):
    """An address of another machine is reported with the name of errno."""
    ended = run("--listen", "192.0.2.1:0")  # kept for documentation (RFC 5737)
    expect_ended(ended, CANNOT_START, "192.0.2.1:0", "EADDRNOTAVAIL")


# The longest host that may be named. It is an address, in octal.
LONGEST_HOST = "0177.0.0.1".rjust(255, "0")


@marks.requirement("REF-2")
@pytest.mark.parametrize("host", ["127.0.0.1", LONGEST_HOST], ids=["short", "longest"])
def test_port_in_use(run, server, host):
    """A port in use is reported with the name of errno."""
    ended = run("--listen", f"{host}:{server.port}")
    expect_ended(ended, CANNOT_START, f"{host}:{server.port}", "EADDRINUSE")


def without_output(ended):
    """The same with its standard output removed, once that was judged."""
    return subprocess.CompletedProcess(ended.args, ended.returncode, b"", ended.stderr)


@marks.requirement("REF-15")
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help(run, option):
    """--help lists every option on stdout and succeeds."""
    ended = run(option)
    text = ended.stdout.decode()
    for short, name in OPTIONS.items():
        listed = re.search(rf"^ +-{short}, --{name}\b", text, re.MULTILINE)
        expect(listed, "output", f"expected --{name} in {text!r}")
    expect_ended(without_output(ended), 0)


@marks.requirement("REF-15")
@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(run, option):
    """--version prints the name and the version on stdout and succeeds."""
    ended = run(option)
    found = re.fullmatch(rb"touchstone [0-9]+(\.[0-9]+)*\n", ended.stdout)
    expect(found, "output", f"expected 'touchstone VERSION', got {ended.stdout!r}")
    expect_ended(without_output(ended), 0)


@marks.requirement("REF-3")
@pytest.mark.parametrize(
    "options",
    [
        ["--listen", "{host}:{port}"],
        ["--listen={host}:{port}"],
        ["-l", "{host}:{port}"],
        ["-l{host}:{port}"],
        ["--listen", "127.0.0.1:0"],
    ],
    ids=" ".join,
)
def test_ways_to_write_listen(start_server, reference_program, options):
    """Every way to write an option is accepted, and the listening line has the actual port."""
    server = start_server(arguments=[*reference_program, *options])
    server.wait_for_log(rf"\Alistening on 127\.0\.0\.1:{server.port}\n")
    with server.connect() as client:
        client.ping()


@marks.requirement("REF-3")
def test_a_name(start_server, reference_program):
    """A name stands for its first address, which may be an IPv6 address."""
    found = socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)
    family, address = found[0][0], found[0][4][0]
    command = [*reference_program, "--listen", "localhost:{port}"]
    server = start_server(arguments=command, host=address)
    shown = f"[{address}]" if family == socket.AF_INET6 else address
    server.wait_for_log(rf"\Alistening on {re.escape(shown)}:{server.port}\n")
    with server.connect() as client:
        client.ping()


@marks.requirement("REF-3")
@pytest.mark.parametrize("port", ["{port}", "0"])
def test_ipv6(start_server, reference_program, ipv6_loopback, port):
    """[ADDRESS]:PORT listens on IPv6, and the log writes it the same way."""
    command = [*reference_program, "--listen", f"[{{host}}]:{port}"]
    server = start_server(arguments=command, host=ipv6_loopback)
    server.wait_for_log(rf"\Alistening on \[::1\]:{server.port}\n")
    with server.connect() as client:
        client.ping()
        server.wait_for_log(rf"^connect token=\S+ peer=\[::1\]:{client.address[1]}$")


@marks.requirement("REF-15")
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_to_a_full_disk(reference_program, option):
    """What cannot be written is not status 0."""
    with open("/dev/full", "wb") as full:
        command = [*reference_program, option]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=10)
    assert ended.returncode == CANNOT_START
    assert ended.stderr.count(b"\n") == 1


@marks.requirement("REF-1")
def test_bad_usage_that_nobody_reads(reference_program):
    """The status tells it all the same, if the reader of stderr has left."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as stderr:
        ended = subprocess.run([*reference_program, "--no-such"], stderr=stderr, timeout=10)
    expect(ended.returncode == USAGE, "exit-status", f"expected 2, got {ended.returncode}")


@marks.requirement("REF-1")
def test_control_characters_of_an_argument(run):
    """An argument never makes a second line, and steers no terminal."""
    ended = run("--a\nb\x1b[1m")
    assert ended.returncode == USAGE
    assert ended.stderr.count(b"\n") == 1
    assert rb"--a\nb\x1b[1m" in ended.stderr


@marks.requirement("REF-3")
def test_star_is_every_address(start_server, reference_program):
    """* listens on all addresses of both families."""
    server = start_server(arguments=[*reference_program, "--listen", "*:{port}"])
    server.wait_for_log(rf"\Alistening on \[::\]:{server.port}\n")
    with server.connect() as client:
        client.ping()


@marks.requirement("REF-3")
def test_link_local_without_a_zone(run):
    """A link-local address without its zone is refused with what is missing."""
    ended = run("--listen", "[fe80::1]:0")
    expect_ended(ended, USAGE, "--listen", "fe80::1%")
