"""Judges echo services that nobody here wrote, and lays the results side by side.

    ci/conform --foreign [NAME...]    all of them, or those named

Each is from a Debian package and runs as that package's manual says. What is known of it stands in
known/NAME, and why in README.md. All of it happens in a network namespace: some of these servers
listen on every address.

Exit status: 0 all as known, 1 something else, 2 bad usage.
"""

import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
BUILD = HERE.parent.parent / "build" / "foreign"
UNPACKED = BUILD / "unpacked" / "usr" / "sbin"
SETTINGS = BUILD / "settings"
INETD = [sys.executable, str(HERE / "inetd.py"), str(SETTINGS)]
LISTEN = "TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,backlog=128"

SERVERS = {
    "socat-cat": ["socat", LISTEN, "EXEC:cat"],
    "socat-pipe": ["socat", LISTEN, "PIPE"],
    "ncat": "ncat --listen --keep-open --max-conns 1000 --exec /bin/cat 127.0.0.1 {port}".split(),
    "openbsd-inetd": [*INETD, "openbsd", str(UNPACKED / "inetd"), "{port}"],
    "inetutils-inetd": [*INETD, "inetutils", str(UNPACKED / "inetutils-inetd"), "{port}"],
    "xinetd": [*INETD, "xinetd", str(UNPACKED / "xinetd"), "{port}"],
    "tcpserver": "tcpserver -HRl0 -c 1000 127.0.0.1 {port} cat".split(),
    "systemd": "systemd-socket-activate --accept --inetd -l 127.0.0.1:{port} cat".split(),
    "asio-async": [str(BUILD / "async_tcp_echo_server"), "{port}"],
    "asio-threads": [str(BUILD / "blocking_tcp_echo_server"), "{port}"],
}


def main(names):
    unknown = [name for name in names if name not in SERVERS]
    if unknown:
        print(f"judge.py: {unknown[0]!r}, expected some of {', '.join(SERVERS)}", file=sys.stderr)
        return 2
    statuses = [judge(name) for name in names or SERVERS]
    results = [BUILD / name / "report.json" for name in SERVERS]
    conform("report", *filter(pathlib.Path.exists, results), "-o", BUILD / "report.html")
    return 1 if any(statuses) else 0


def judge(name):
    words = SERVERS[name]
    if shutil.which(words[0]) is None:
        print(f"{name}: skipped, there is no {words[0]}")
        return 0
    known = HERE / "known" / name
    shutil.rmtree(SETTINGS, ignore_errors=True)
    SETTINGS.mkdir(parents=True)
    options = ["--transform", "identity", "--report", BUILD / name, "--expected-failures", known]
    return conform(*options, "--", *words)


def conform(*words):
    command = [sys.executable, "-m", "touchstone_conform", *map(str, words)]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
