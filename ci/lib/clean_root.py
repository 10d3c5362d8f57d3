"""A fresh minimal system like this one, for what has to work on a machine with nothing on it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from . import command, tree

CLONE = "root/touchstone"
PORT = 4444  # what ci/serve listens on unless told otherwise
SERVES_S = 600
ANSWERS_S = 5
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@contextlib.contextmanager
def system(*packages):
    """The root directory of a system with these packages beyond the minimum; gone afterwards."""
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        raise command.CannotRun("a clean root takes root and debootstrap")
    release = re.search(
        r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE
    )
    root = Path(tempfile.mkdtemp(prefix="touchstone-root-", dir="/var/tmp"))
    try:
        command.progress(f"debootstrap: a minimal {release[1]} in {root} ...")
        included = [f"--include={','.join(packages)}"] if packages else []
        command.output_of(["debootstrap", "--variant=minbase", *included, release[1], root])
        yield root
    finally:
        mounts = Path("/proc/self/mounts").read_text()
        for mounted in reversed(re.findall(rf"^\S+ ({root}/\S+)", mounts, re.MULTILINE)):
            command.output_of(["umount", "--lazy", mounted])
        command.output_of(["rm", "-rf", "--one-file-system", root])


def run(verb: str) -> bool:
    """ci/VERB, in a fresh clone of what is committed here, in such a system."""
    with system("git", "ca-certificates") as root:
        _settle(root)
        return {"serve": _serve, "test": _test}[verb](root)


def _settle(root):
    """The registries are reached as they are from here; the clone is of the committed tree."""
    shutil.copy("/etc/resolv.conf", root / "etc")
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    shutil.copy(CERTIFICATES, root / "etc/ssl/certs")
    command.output_of(["mount", "-t", "proc", "proc", root / "proc"])
    for name in ("dev", "sys"):
        command.output_of(["mount", "--rbind", "--make-rslave", f"/{name}", root / name])
    command.output_of(["git", "clone", "--quiet", "--no-local", tree.TOP, root / CLONE])


def _inside(root, verb):
    """A command that runs in the clone, with nothing of our own environment."""
    return [
        "env", "-i", "HOME=/root", "LANG=C.UTF-8", f"PIP_CERT={CERTIFICATES}", f"PATH={PATH}",
        "chroot", root, "sh", "-c", f'cd /{CLONE} && exec "$@"', "sh", f"ci/{verb}",
    ]


def _test(root) -> bool:
    return subprocess.run([str(each) for each in _inside(root, "test")]).returncode == 0


def _serve(root) -> bool:
    """ci/serve installs, builds, answers a client, and ends when it is told to."""
    output = root / "output"
    with output.open("wb") as file:
        server = subprocess.Popen([str(each) for each in _inside(root, "serve")], stdout=file)
    try:
        _await_line(server, output, "listening on ")
        answer = _ask()
        server.send_signal(signal.SIGTERM)
        status = server.wait(60)
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
    command.say(output.read_text().rstrip())
    command.say(f"got {answer!r} and status {status}, expected b'HELLO' and 0")
    return (answer, status) == (b"HELLO", 0)


def _await_line(server, output, beginning):
    deadline = time.monotonic() + SERVES_S
    while not re.search(f"^{beginning}", output.read_text(), re.MULTILINE):
        if server.poll() is not None:
            raise command.CannotRun(f"ci/serve ended with status {server.returncode} at its start")
        if time.monotonic() > deadline:
            raise command.CannotRun(f"ci/serve does not listen within {SERVES_S} s")
        time.sleep(0.2)


def _ask() -> bytes:
    with socket.create_connection(("127.0.0.1", PORT), ANSWERS_S) as client:
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(64), b""))
