"""Builds for systems that are not here, with the compiler and the libraries of zig."""

import os
import re
import shlex

from . import command, tree

PLACE = tree.BUILD / "cross"

# The target as zig calls it: the system as CMake does, and how `file` begins for what comes out.
SYSTEMS = {
    "aarch64-macos": ("Darwin", "Mach-O 64-bit arm64 executable"),
    "x86_64-macos": ("Darwin", "Mach-O 64-bit x86_64 executable"),
    "x86_64-freebsd": ("FreeBSD", "ELF 64-bit LSB executable, x86-64.*, for FreeBSD"),
    "aarch64-freebsd": ("FreeBSD", "ELF 64-bit LSB executable, ARM aarch64.*, for FreeBSD"),
    "x86_64-netbsd.11.0": ("NetBSD", "ELF 64-bit LSB executable, x86-64.*, for NetBSD"),
}

# Without the runtimes that zig would first compile for each target: nothing here needs them.
COMPILER_FLAGS = ("-fno-sanitize=undefined", "-rtlib=none")
# As the gate compiles.
FIDELITY_FLAGS = (
    "-std=c11", "-D_NETBSD_SOURCE", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Wconversion",
    "-Wshadow", "-Werror",
)
# Of the fidelity tests: the tests themselves need cmocka, the rest is for another system.
ELSEWHERE = re.compile(r"epoll|kqueue|\w+_linux|\w+_simulated")


def compile_for(target):
    """True if the server is built for it, and what drives the fidelity tests compiles."""
    folder = PLACE / target
    folder.mkdir(parents=True, exist_ok=True)
    complaint = configure(target, folder) or build(target, folder) or compile_fidelity(folder)
    command.say(complaint or f"{target}: {kind_of(folder)}")
    return not complaint


def environment():
    """What zig builds of the systems' libraries stays in the tree, too."""
    cache = os.environ.get("ZIG_GLOBAL_CACHE_DIR", PLACE / "cache")
    return command.environment(ZIG_GLOBAL_CACHE_DIR=cache, ZIG_LOCAL_CACHE_DIR=cache)


def configure(target, folder):
    zig = [tree.TOP / ".venv" / "bin" / "python", "-m", "ziglang"]
    cc = program(folder / "cc", [*zig, "cc", "-target", target, *COMPILER_FLAGS])
    ar = program(folder / "ar", [*zig, "ar"])
    done = command.run(
        ["cmake", "-S", tree.TOP, "-B", folder, "-G", "Ninja",
         f"-DCMAKE_SYSTEM_NAME={SYSTEMS[target][0]}",
         f"-DCMAKE_SYSTEM_PROCESSOR={target.partition('-')[0]}", f"-DCMAKE_C_COMPILER={cc}",
         f"-DCMAKE_AR={ar}", "-DCMAKE_RANLIB=/bin/true", "-DCMAKE_BUILD_TYPE=Release",
         "-DTOUCHSTONE_WERROR=ON", "-DBUILD_TESTING=OFF"],
        env=environment(),
    )
    if done.returncode == 0:
        return None
    # A cache that a failed attempt left behind makes the next one fail, too.
    (folder / "CMakeCache.txt").unlink(missing_ok=True)
    return f"{done.stdout}{target}: not configured [configure]"


def program(path, arguments):
    """A program of that name that runs the command."""
    path.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, arguments))} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def build(target, folder):
    done = command.run(["cmake", "--build", folder], env=environment())
    if done.returncode != 0:
        return f"{done.stdout}{target}: not built [build]"
    expected, found = SYSTEMS[target][1], kind_of(folder)
    if not re.match(expected, found):
        return f"{target}: expected {expected}, got {found} [file-type]"
    return None


def kind_of(folder):
    return command.output_of(["file", "-b", folder / "touchstone"]).strip()


def compile_fidelity(folder):
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
            return f"{done.stdout}{folder.name}: {path.name} does not compile [fidelity]"
    return None
