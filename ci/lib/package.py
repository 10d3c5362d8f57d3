"""Builds the Debian package, inspects it, installs it, runs its program, and purges it."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from . import clean_root, command
from .tree import TOP

BUILD = TOP / "build" / "package"
sys.path.insert(0, str(TOP / "integration"))

from touchstone_conform.harness import listeners  # noqa: E402
from touchstone_conform.harness.client import Client  # noqa: E402
from touchstone_conform.harness.samples import sample  # noqa: E402
from touchstone_conform.transform import answer  # noqa: E402

EXPECTED = {
    "usr": 0o755,
    "usr/bin": 0o755,
    "usr/bin/touchstone": 0o755,
    "usr/share": 0o755,
    "usr/share/doc": 0o755,
    "usr/share/doc/touchstone": 0o755,
    "usr/share/doc/touchstone/copyright": 0o644,
    "usr/share/doc/touchstone/examples": 0o755,
    "usr/share/doc/touchstone/examples/touchstone.service": 0o644,
    "usr/share/doc/touchstone/examples/touchstone.socket": 0o644,
    "usr/share/man": 0o755,
    "usr/share/man/man1": 0o755,
    "usr/share/man/man1/touchstone.1": 0o644,
}
PROGRAM = "usr/bin/touchstone"
MANUAL = "usr/share/man/man1/touchstone.1"
SERVICE = "usr/share/doc/touchstone/examples/touchstone.service"
SOCKET = "usr/share/doc/touchstone/examples/touchstone.socket"
DEPENDS = re.compile(r"libc6 \(>= [0-9.]+\)")
EXPOSURE_MAX = 20  # of 100; systemd-analyze calls up to 20 fine for a service with a network

# Each: what readelf says of a hardened program, and its name.
HARDENING = [
    (r"Type: +DYN .*", "position-independent"),
    (r"\(FLAGS_1\) .*\bPIE\b", "an executable"),
    (r"\bGNU_RELRO\b", "RELRO"),
    (r"\(FLAGS_1\) .*\bNOW\b", "all symbols bound at the start"),
    (r"\bGNU_STACK .* RW +0x", "no executable stack"),
    (r"\b__stack_chk_fail\b", "stack protector"),
    (r"\b__v?snprintf_chk\b", "FORTIFY"),
]
SOFTENING = [
    (r"\b(RPATH|RUNPATH)\b", "a path of the build tree"),
    (r"\bTEXTREL\b", "code that is written to"),
    (r"\.symtab\b", "symbols: it is not stripped"),
]

# What dpkg and apt keep for themselves.
BOOKKEEPING = ("var/lib/dpkg", "var/lib/apt", "var/cache", "var/log", "tmp")
ENVIRONMENT = {
    "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}


def die(message):
    """The package is not as it should be."""
    raise Failed(message)


class Failed(Exception):
    """What was expected of the package, and what was found."""


def say(message):
    command.say(message)


def run(*arguments, **options):
    """Its output as bytes; Failed, with what it printed, if it fails."""
    options = {"env": {**os.environ, **ENVIRONMENT}, "stdin": subprocess.DEVNULL, **options}
    ended = subprocess.run(
        [str(each) for each in arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        **options,
    )
    if ended.returncode != 0:
        output = (ended.stdout + ended.stderr).decode()
        die(f"{arguments[0]} ended with status {ended.returncode}, expected 0:\n{output}")
    return ended.stdout


def demand(found, expected, what):
    """Both sets are the same."""
    lines = [f"  missing: {entry}" for entry in sorted(expected - found)]
    lines += [f"  not expected: {entry}" for entry in sorted(found - expected)]
    if lines:
        die("\n".join([f"{what}:", *lines]))


# ---- Building


def build():
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_INSTALL_PREFIX": "/usr",  # the units name the program by its path
        "TOUCHSTONE_HARDEN": "ON",
        "TOUCHSTONE_WERROR": "ON",
        "BUILD_TESTING": "OFF",
    }
    defines = [f"-D{name}={value}" for name, value in options.items()]
    run("cmake", "-S", TOP, "-B", BUILD, "-G", "Ninja", *defines)
    run("cmake", "--build", BUILD)
    for old in BUILD.glob("*.deb"):
        old.unlink()
    run("cpack", cwd=BUILD)
    (package,) = BUILD.glob("*.deb")
    say(f"built: {package.relative_to(TOP)}, {package.stat().st_size} bytes")
    return package


# ---- Its contents


def entries(archive):
    """What is in a tar archive: mode, owner, path."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        listed = [(entry, os.path.normpath(entry.name)) for entry in files]
    return {
        f"{entry.mode:04o} {entry.uname}/{entry.gname} {path}"
        for entry, path in listed
        if path != "."
    }


def check_contents(package):
    found = entries(run("dpkg-deb", "--fsys-tarfile", package))
    expected = {f"{mode:04o} root/root {path}" for path, mode in EXPECTED.items()}
    demand(found, expected, "the contents of the package")
    say(f"contents: {len(found)} entries, modes and owners as expected")


def check_control(package):
    found = entries(run("dpkg-deb", "--ctrl-tarfile", package))
    expected = {f"0644 root/root {name}" for name in ("control", "md5sums")}
    demand(found, expected, "the control files of the package")
    depends = run("dpkg-deb", "--field", package, "Depends").decode().strip()
    if not DEPENDS.fullmatch(depends):
        die(f"it depends on {depends!r} (expected: libc6 alone)")
    say(f"depends: {depends}; no scripts of its own")


def check_install(where):
    """cmake --install, into a directory that is not the prefix."""
    run("cmake", "--install", BUILD, env={**os.environ, "DESTDIR": str(where)})
    demand(tree(where), set(EXPECTED), "what cmake installs")
    for path, mode in EXPECTED.items():
        if (where / path).stat().st_mode & 0o7777 != mode:
            die(f"cmake --install: the mode of {path} is not {mode:04o}")
    say("cmake --install: the same files")


def check_hardening(program):
    text = run("readelf", "--wide", "-h", "-l", "-d", "-S", "--dyn-syms", program).decode()
    for pattern, name in HARDENING:
        if not re.search(pattern, text):
            die(f"the program is not hardened: expected {name}")
    for pattern, name in SOFTENING:
        if re.search(pattern, text):
            die(f"the program has {name}")
    say("hardening: " + ", ".join(name for _, name in HARDENING))


def check_manual(manual):
    command = ["man", "--warnings", "--local-file", "-EUTF-8", "-Tutf8", "-Z", str(manual)]
    shown = subprocess.run(command, capture_output=True, env={**os.environ, **ENVIRONMENT})
    if shown.stderr or shown.returncode != 0 or b"touchstone" not in shown.stdout:
        die(f"the manual: {shown.stderr.decode() or shown.stdout.decode()}")
    say("manual: no warnings")


# ---- The units


def starts(service):
    return re.search(r"^ExecStart=(\S+)", service.read_text(), re.MULTILINE).group(1)


def check_units(files, scratch):
    if starts(files / SERVICE) != f"/{PROGRAM}":
        die(f"the service starts {starts(files / SERVICE)} (expected /{PROGRAM})")
    if not shutil.which("systemd-analyze"):
        say("units: name the right program; not judged further: systemd-analyze is not here")
        return
    # It looks for the program, which is not installed here.
    text = (files / SERVICE).read_text().replace(f"/{PROGRAM}", str(files / PROGRAM))
    service, socket = scratch / "touchstone.service", scratch / "touchstone.socket"
    service.write_text(text)
    shutil.copy(files / SOCKET, socket)
    verify = ["systemd-analyze", "verify", "--man=no", str(service), str(socket)]
    verified = subprocess.run(verify, capture_output=True)
    if verified.returncode != 0 or verified.stderr:
        die(f"systemd-analyze verify:\n{verified.stderr.decode()}")
    limit = f"--threshold={EXPOSURE_MAX}"
    judged = run("systemd-analyze", "security", "--offline=true", limit, service).decode()
    say(f"units: verified; {judged.splitlines()[-1].strip(' →')}")


def expand(name):
    """The system calls of a group such as @system-service; any other name is one itself."""
    if not name.startswith("@"):
        return {name}
    listed = run("systemd-analyze", "syscall-filter", name).decode().split("\n")[1:]
    names = [line.strip() for line in listed if line.strip() and "#" not in line]
    return set().union(*map(expand, names))


def allowed_calls(service):
    """What is left by the service's SystemCallFilter lines: the first is a list of what may be."""
    allowed = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", service.read_text(), re.MULTILINE):
        calls = set().union(*map(expand, line.lstrip("~").split()))
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed


def check_filter(service, program, scratch):
    """A run in which everything happens, against what the service may call."""
    if not shutil.which("systemd-analyze"):
        return
    output = scratch / "trace.txt"
    strace = ["strace", "-f", "-qq", "-o", str(output)]
    serve_all_kinds([*strace, str(program)])
    called = set(re.findall(r"^\d+ +(\w+)\(", output.read_text(), re.MULTILINE))
    allowed = allowed_calls(service)
    if called - allowed:
        die(f"the service may not call what the server calls: {' '.join(sorted(called - allowed))}")
    say(f"filter: allows {len(allowed)} system calls, all {len(called)} of the server among them")


# ---- Running it


@contextlib.contextmanager
def running(program, *options):
    """The server on a free port: the child, and its address."""
    child = subprocess.Popen(
        [*program, "--listen", "127.0.0.1:0", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        first = child.stdout.readline().decode()
        found = re.fullmatch(r"listening on (\S+):(\d+)\n", first)
        if not found:
            die(f"{' '.join(map(str, program))} does not listen: {first!r}")
        yield child, (found[1], int(found[2]))
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
        child.stdout.close()


def stop(child, address):
    """Tells the server to drain. It may be a child of our child, if that is strace."""
    os.kill(listeners.listening_process([child.pid], address[1]), signal.SIGTERM)


def demand_drained(child):
    try:
        status = child.wait(20)
    except subprocess.TimeoutExpired:
        die("the server does not end after SIGTERM")
    if status != 0:
        die(f"the server ended with status {status} after SIGTERM (expected 0)")


def serve_all_kinds(program):
    """Clients that come and leave in every way, one that is idle too long, and a drain."""
    with running(program, "--idle-timeout", "1", "--verbose") as (child, address):
        Client(address, name="resetting").reset()
        with Client(address, name="slow", receive_buffer=4096) as client:
            data = sample(8 << 20)
            sent = client.send_until_blocked(data, 0.1)
            client.shutdown()
            client.expect_end(answer(data[:sent]))
        with Client(address, name="idle") as client:
            client.ping()
            client.expect_end()
        with Client(address, name="drained") as client:
            client.ping()
            stop(child, address)
            client.expect_end()
        demand_drained(child)


def check_run(program, version):
    printed = run(*program, "--version").decode().strip()
    if printed != f"touchstone {version}":
        die(f"--version printed {printed!r}, expected 'touchstone {version}'")
    with running(program) as (child, address):
        with Client(address) as client:
            client.exchange(b"hello", shutdown=True)
        stop(child, address)
        demand_drained(child)
    say(f"run: {printed}, served a client, and ended with status 0")


# ---- Installing it


def tree(root):
    """Every path but what the package managers keep for themselves."""
    paths = (str(path.relative_to(root)) for path in root.rglob("*"))
    return {path for path in paths if not path.startswith(BOOKKEEPING)}


def as_root():
    """What lets dpkg run: nothing for root; else a namespace, or fakeroot, where we seem to be."""
    if os.geteuid() == 0:
        return []
    for wrapper in (["unshare", "--map-root-user"], ["fakeroot"]):
        with contextlib.suppress(OSError):
            if subprocess.run([*wrapper, "true"], stderr=subprocess.DEVNULL).returncode == 0:
                return wrapper
    die("dpkg needs root, or user namespaces, or fakeroot")


def check_dpkg(package, root, version):
    """Installs with dpkg alone, in an empty root that knows of this system's C library only."""
    database = root / "var/lib/dpkg"
    for name in ("updates", "info"):
        (database / name).mkdir(parents=True)
    architecture = run("dpkg", "--print-architecture").decode().strip()
    (database / "status").write_bytes(run("dpkg-query", "--status", f"libc6:{architecture}"))
    # Some systems leave manuals out when they install: here, everything counts.
    dpkg = [*as_root(), "dpkg", f"--root={root}", f"--log={root}/dpkg.log", "--path-include=/*"]
    run("touch", root / "dpkg.log")
    before = tree(root)
    run(*dpkg, "--install", package)
    demand(tree(root) - before, set(EXPECTED), "what dpkg installed")
    check_run([root / PROGRAM], version)
    run(*dpkg, "--purge", "touchstone")
    demand(tree(root), before, "what the purge left")
    if b"Package: touchstone" in (database / "status").read_bytes():
        die("dpkg still knows the package after the purge")
    say("dpkg: installed, and purged without a trace")


def check_apt(package, version):
    with clean_root.system() as root:
        chroot = ["chroot", str(root)]
        before = tree(root)
        shutil.copy(package, root / "tmp")
        apt = [*chroot, "apt-get", "--yes", "--no-install-recommends"]
        run(*apt, "install", f"/tmp/{package.name}")
        demand(tree(root) - before, set(EXPECTED) - before, "what apt installed")
        check_run([*chroot, f"/{PROGRAM}"], version)
        run(*apt, "purge", "touchstone")
        demand(tree(root), before, "what the purge left")
    say("apt: installed, and purged without a trace")


def check(options) -> bool:
    """Builds and checks the package; with options.clean_root also by apt."""
    command.require("package")
    try:
        check_all(options.clean_root)
    except Failed as failure:
        command.say(f"{failure} [package]")
        return False
    return True


def check_all(by_apt):
    os.umask(0o022)  # the modes of directories in the package depend on it
    with tempfile.TemporaryDirectory(prefix="touchstone-package-") as directory:
        files, staged, root, scratch = (Path(directory, name) for name in "abcd")
        for path in (files, staged, root, scratch):
            path.mkdir()
        package = build()
        version = run("dpkg-deb", "--field", package, "Version").decode().strip()
        check_contents(package)
        check_control(package)
        run("dpkg-deb", "--extract", package, files)
        check_install(staged)
        check_hardening(files / PROGRAM)
        check_manual(files / MANUAL)
        check_units(files, scratch)
        check_filter(files / SERVICE, files / PROGRAM, scratch)
        check_dpkg(package, root, version)
    if by_apt:
        check_apt(package, version)
