"""Builds for systems and machines that are not here, with the compiler and the libraries of zig;
what is for Linux is run with qemu-user."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
from pathlib import Path

from . import command, simulate, tree

PLACE = tree.BUILD / "cross"
KIT = tree.TOP / ".venv" / "bin" / "touchstone-conform"
# Where ci/deps unpacks libraries of Debian's other architectures: cmocka, and the C library,
# without which an emulator starts nothing.
LIBRARIES = PLACE / "debian"


@dataclasses.dataclass(frozen=True)
class Target:
    """A system, and perhaps what it takes to run its programs here."""

    system: str  # as CMake calls it
    file_type: str  # a pattern: how `file` begins for what comes out
    emulator: str = ""
    libraries: str = ""  # Debian's name of the architecture; without, there are no unit tests

    @property
    def runs(self) -> bool:
        return self.system == "Linux"

    @property
    def root(self) -> Path:
        return LIBRARIES / self.libraries

    @property
    def prefix(self) -> list:
        """What stands before a program to run it."""
        return [self.emulator, "-L", self.root] if self.emulator else []


# Targets, as zig names them; 2.36 is the C library of Debian 12. In a sample of two one is run.
TARGETS = {
    "aarch64-macos": Target("Darwin", "Mach-O 64-bit arm64 executable"),
    "x86-linux-gnu.2.36": Target("Linux", "ELF 32-bit LSB .*80386", "qemu-i386", "i386"),
    "x86_64-freebsd": Target("FreeBSD", "ELF 64-bit LSB executable, x86-64.*, for FreeBSD"),
    "aarch64-linux-gnu.2.36": Target("Linux", "ELF 64-bit LSB .*aarch64", "qemu-aarch64", "arm64"),
    "x86_64-netbsd.11.0": Target("NetBSD", "ELF 64-bit LSB executable, x86-64.*, for NetBSD"),
    "s390x-linux-gnu.2.36": Target("Linux", "ELF 64-bit MSB .*S/390", "qemu-s390x", "s390x"),
    "x86_64-macos": Target("Darwin", "Mach-O 64-bit x86_64 executable"),
    "x86_64-linux-musl": Target("Linux", "ELF 64-bit LSB executable, x86-64.*statically linked"),
    "aarch64-freebsd": Target("FreeBSD", "ELF 64-bit LSB executable, ARM aarch64.*, for FreeBSD"),
}

# Without the runtimes that zig would first compile for each target: nothing here needs them.
COMPILER_FLAGS = ("-fno-sanitize=undefined", "-rtlib=none")
# What the gate compiles with.
FIDELITY_FLAGS = (
    "-std=c11", "-D_NETBSD_SOURCE", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Wconversion",
    "-Wshadow", "-Werror",
)
# What is not compiled of the fidelity tests: the tests need cmocka, the rest another system.
ELSEWHERE = re.compile(r"epoll|kqueue|\w+_linux|\w+_simulated")
LABELS = "^(unit|simulation|replay)$"
HASH_SEEDS = 1
# An emulated server takes many times as long; what depends on its speed alone is judged elsewhere.
JUDGED = ("--smoke", "--profile", "process", "--time-scale", "10")


def check(name) -> bool:
    """True if the server is built for this target and, where it can be run, does what it must;
    prints a line."""
    target, folder = TARGETS[name], PLACE / name
    if target.libraries and not target.root.exists():
        command.say(f"{name}: skipped: the libraries of {target.libraries} are not available")
        return True
    folder.mkdir(parents=True, exist_ok=True)
    complaint = configure(name, target, folder) or build(name, target, folder)
    complaint = complaint or (run if target.runs else compile_fidelity)(name, folder)
    done = "built, and run" if target.runs else "built"
    command.say(complaint or f"{name}: {done}: {kind_of(folder)}")
    return not complaint


def environment():
    """What zig builds of the systems' libraries stays in the tree, too."""
    cache = os.environ.get("ZIG_GLOBAL_CACHE_DIR", PLACE / "cache")
    return command.environment(ZIG_GLOBAL_CACHE_DIR=cache, ZIG_LOCAL_CACHE_DIR=cache)


def configure(name, target, folder):
    zig = [tree.TOP / ".venv" / "bin" / "python", "-m", "ziglang"]
    flags = COMPILER_FLAGS[:1] if target.runs else COMPILER_FLAGS
    cc = program(folder / "cc", [*zig, "cc", "-target", name, *flags])
    ar = program(folder / "ar", [*zig, "ar"])
    done = command.run(
        ["cmake", "-S", tree.TOP, "-B", folder, "-G", "Ninja",
         f"-DCMAKE_SYSTEM_NAME={target.system}",
         f"-DCMAKE_SYSTEM_PROCESSOR={name.partition('-')[0]}", f"-DCMAKE_C_COMPILER={cc}",
         f"-DCMAKE_AR={ar}", "-DCMAKE_RANLIB=/bin/true", "-DCMAKE_BUILD_TYPE=Release",
         "-DTOUCHSTONE_WERROR=ON", *_tests_of(target)],
        env=environment(),
    )
    if done.returncode == 0:
        return None
    # A cache that a failed attempt left behind makes the next one fail, too.
    (folder / "CMakeCache.txt").unlink(missing_ok=True)
    return f"{done.stdout}{name}: not configured [configure]"


def _tests_of(target):
    """CMake's options on tests; this machine's cmocka is of no use to any target."""
    if not target.runs:
        return ["-DBUILD_TESTING=OFF"]
    library = next(target.root.glob("usr/lib/*/libcmocka.so"), "") if target.libraries else ""
    emulator = ";".join(map(str, target.prefix))
    return ["-DBUILD_TESTING=ON", f"-DCMAKE_CROSSCOMPILING_EMULATOR={emulator}",
            f"-DCMOCKA_INCLUDE={target.root / 'usr/include' if library else ''}",
            f"-DCMOCKA_LIBRARY={library}", "-DCMAKE_FIND_ROOT_PATH_MODE_LIBRARY=ONLY",
            "-DCMAKE_FIND_ROOT_PATH_MODE_INCLUDE=ONLY", f"-DCMAKE_FIND_ROOT_PATH={target.root}"]


def program(path, arguments):
    """A program of that name that runs the command."""
    path.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, arguments))} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def build(name, target, folder):
    done = command.run(["cmake", "--build", folder], env=environment())
    if done.returncode != 0:
        return f"{done.stdout}{name}: not built [build]"
    found = kind_of(folder)
    if not re.match(target.file_type, found):
        return f"{name}: expected {target.file_type}, got {found} [file-type]"
    return None


def kind_of(folder):
    return command.output_of(["file", "-b", folder / "touchstone"]).strip()


# What is for Linux is run.


def run(name, folder):
    return run_tests(name, folder) or compare_traces(name, folder) or judge(name, folder)


def run_tests(name, folder):
    done = command.run(["ctest", "--test-dir", folder, "--label-regex", LABELS,
                        "--no-tests=error", "--output-on-failure"])
    return None if done.returncode == 0 else f"{done.stdout}{name}: a test fails [test]"


def compare_traces(name, folder):
    """Every scenario has the same trace on every machine, whatever its word size and byte order."""
    there = simulate.traces([*TARGETS[name].prefix, folder / "tests" / "scenario"], HASH_SEEDS)
    here = simulate.traces([simulate.scenario_command()], HASH_SEEDS)
    different = [line for line, other in zip(there, here) if line != other]
    if not different and len(there) == len(here) > 0:
        return None
    shown = different[0] if different else f"{len(there)} traces, expected {len(here)}"
    return f"{name}: {shown}: differs from this machine's [trace-differs]"


def judge(name, folder):
    server = [*TARGETS[name].prefix, folder / "touchstone", "--listen", "127.0.0.1:{port}"]
    done = command.run([KIT, *JUDGED, "--", *server])
    return None if done.returncode == 0 else f"{done.stdout}{name}: does not conform [kit]"


# What is for other systems is only compiled.


def compile_fidelity(name, folder):
    """Compiled alone, for what it is linked with is not here."""
    for path in sorted((tree.TOP / "tests" / "fidelity").glob("*.c")):
        if ELSEWHERE.fullmatch(path.stem):
            continue
        done = command.run(
            [folder / "cc", *FIDELITY_FLAGS, "-I", tree.TOP / "include", "-I", tree.TOP / "tests",
             "-c", path, "-o", folder / f"{path.stem}.o"],
            env=environment(),
        )
        if done.returncode != 0:
            return f"{done.stdout}{name}: {path.name} does not compile [fidelity]"
    return None
