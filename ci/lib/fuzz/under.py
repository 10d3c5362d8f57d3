"""AFL++ on any server under the simulated kernel: bytes are decoded to scenarios, and run in the
server's process by the library that `scenario --under` preloads, too (tests/under/fuzz.c)."""

import argparse
import os
import re
import shlex
import shutil
import socket
from pathlib import Path

from .. import build, command, tree
from ..under import BUILT, NOT_JUDGED, PORTS
from . import afl, targets
from .process import HANG_S

PREFIX = "under:"
# rustc's own instrumentation; AFL++'s compiler links its runtime.
RUST_FLAGS = ("-C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=3"
              " -C llvm-args=-sanitizer-coverage-trace-pc-guard -C codegen-units=1"
              " -C linker=afl-clang-fast")
RUST_TARGET = "x86_64-unknown-linux-gnu"
# The ports that can be instrumented: their program, and what builds it.
PROGRAMS = {
    "libuv": (
        BUILT / "afl" / "libuv",
        ["afl-clang-fast", "-O2", "-o", BUILT / "afl" / "libuv", PORTS / "libuv" / "server.c",
         "-luv"],
    ),
    "rust": (
        BUILT / "afl" / "rust" / RUST_TARGET / "release" / "port-rust",
        ["cargo", "build", "--release", "--locked", "--target", RUST_TARGET, "--manifest-path",
         PORTS / "rust" / "Cargo.toml", "--target-dir", BUILT / "afl" / "rust"],
    ),
}
# Without AFL++, its runtime would leave a handler of SIGTERM behind that exits; so it does nothing.
ALONE = "env __AFL_DEFER_FORKSRV=1"
# What is in every program that afl-clang-fast has linked.
INSTRUMENTED = b"__afl_persistent_loop"
SHRINK_S = 120
# A server that makes a call that is not modelled even here cannot be fuzzed.
PLAIN = tree.TOP / "tests" / "scenarios" / "fin-bare.scenario"


def named(text):
    """An argument: a port by its name, or the command that starts a server."""
    name = text.removeprefix(PREFIX)
    if name not in PROGRAMS and "{port}" not in name:
        expected = ", ".join(PREFIX + each for each in (*PROGRAMS, "'COMMAND {port}'"))
        raise argparse.ArgumentTypeError(f"unknown argument '{text}', expected {expected}")
    return text


def demand_instrumented(name):
    program = shutil.which(name)
    if program is None or INSTRUMENTED not in Path(program).read_bytes():
        raise command.CannotRun(
            f"{name} is missing, or was not built by afl-clang-fast")


class Server(targets.Target):
    """A server built by afl-clang-fast. It starts with the seeds of the server's fuzzer."""

    def __init__(self, text):
        super().__init__("server")
        self.command = text.removeprefix(PREFIX)
        self.name = f"under-{Path(shlex.split(self.command)[0]).name}"
        if self.command in PROGRAMS:
            program, made_by = PROGRAMS[self.command]
            self.command = f"{shlex.quote(str(program))} {{port}}"
            self._build(program, made_by)
        self.alone = f"{ALONE} {self.command}"
        demand_instrumented(shlex.split(self.command)[0])
        folder = build.make(build.configure("release", "gcc"), "scenario", "touchstone_under")
        self.scenario = folder / "tests" / "scenario"
        self.library = folder / "tests" / "libtouchstone_under.so"

    def _build(self, program, made_by):
        if not shutil.which(made_by[0]):
            raise command.CannotRun(f"{made_by[0]} is missing")
        program.parent.mkdir(parents=True, exist_ok=True)
        command.output_of(made_by, env=targets.environment(
            AFL_QUIET=1, AFL_LLVM_INSTRUMENT="LLVM-NATIVE", RUSTFLAGS=RUST_FLAGS))

    def seed_folders(self, built, place):
        return targets.Target("server").seed_folders(self, place)

    def simulate(self, verb, *files, **options):
        """The verb of `scenario`, on this server."""
        return command.run([self.scenario, verb, *files, "--under", self.alone],
                           cwd=Path.cwd(), **options)

    def fails(self, path):
        """Whether it fails in a fresh process, and in three more."""
        return self.judge(path).returncode == command.FAILED

    def judge(self, *files):
        """What became of a run of scenarios."""
        done = self.simulate("run", "--oracle-only", *files)
        if done.returncode not in (command.PASSED, command.FAILED, NOT_JUDGED):
            raise command.CannotRun(done.stdout)
        return done


class Afl(afl.Afl):
    """All instances are of one kind. What ends a process of the server counts as found only if it
    repeats by `scenario`: it may have had its cause in a run before. That a server keeps something
    from run to run, as memory, is no fault, whatever it does to the stability."""

    KINDS = ("main",)
    STABILITY_MIN = 0

    def build_all(self):
        self.build, self.judged = None, {}
        # Named by a descriptor of ours, as AFL++ takes no path with blanks.
        self.library = os.open(self.target.library, os.O_RDONLY)

    def program(self, number):
        port = free_port()
        words = [word.replace("{port}", port) for word in shlex.split(self.target.command)]
        return ["--", *words], {
            "AFL_PRELOAD": f"/proc/{os.getpid()}/fd/{self.library}", "AFL_PERSISTENT": "1",
            "TOUCHSTONE_FUZZ": port,
        }

    def replay_seeds(self, seeds):
        """AFL++ passes over a seed that crashes; and here it shows whether the server can be
        simulated at all."""
        plain = self.target.judge(PLAIN)
        if plain.returncode == NOT_JUDGED:
            raise command.CannotRun(plain.stdout)
        done = self.target.judge(*targets.inputs(seeds))
        for line in re.findall("^not judged: .*", done.stdout, re.MULTILINE):
            command.progress(line)
        for path in map(Path, re.findall("^(.*): FAILED", done.stdout, re.MULTILINE)):
            shutil.copyfile(path, self.found / f"crash-{path.name}")

    def findings(self):
        found = super().findings()
        for path in found:
            if path not in self.judged:
                self.judged[path] = self.target.fails(path)
                if not self.judged[path]:
                    command.progress(f"{tree.shown(path)}: does not repeat, so it is no finding")
        return [path for path in found if self.judged[path]]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])
