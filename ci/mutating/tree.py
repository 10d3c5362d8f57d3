"""The tree, its rooms, and how commands are run here."""

import hashlib
import os
import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
PLACE = TOP / "build" / "mutate"
RESULTS = TOP / "build" / "results"

CORE = ("buffer", "connection", "epoll_codec", "kqueue_codec", "outcome", "token", "upper")

# Runs of the conformance kit: one test of each requirement, or all tests.
SMOKE, WHOLE = ["--smoke"], []


class CannotRun(Exception):
    """The environment is in the way; nothing is said about the tests."""


class Room:
    """A part of src that has figures of its own."""

    def __init__(self, name, paths, goal, sockets, sample=None):
        self.name = name
        self.paths = paths
        self.goal = goal  # per cent of the mutants to be killed or shown to be equivalent
        self.sockets = sockets  # runs of the conformance kit: options of each
        self.sample = sample  # so many mutants instead of all

    @property
    def unit(self):
        """What its own unit test is called."""
        return self.name.split("/")[-1]


def find(folder, pattern):
    return sorted(path.relative_to(TOP).as_posix() for path in (TOP / folder).glob(pattern))


def rooms():
    """A room of the core is one file; nobody else's tests need to know a name from it."""
    of_core = [Room(f"core/{name}", [f"src/core/{name}.c"], 100, [SMOKE]) for name in CORE]
    return of_core + [
        Room("server", ["src/shell/server.c"], 95, [SMOKE]),
        Room("pollers", find("src/shell", "poller_*.c"), 95, [SMOKE]),
        Room("log", ["src/shell/log.c"], 95, [["--judge", "LOG-1,LOG-2,LOG-3,LOG-4,REF-9"]]),
        Room("options", ["src/shell/options.c"], 95, [["--judge", "REF-1,REF-3,REF-5,REF-15"]]),
        Room(
            "system",
            ["src/system/kernel_linux.c", "src/system/main.c", *find("src/system", "posix_*.c")],
            None,
            [SMOKE, WHOLE],
            sample=200,
        ),
    ]


def say(*words):
    print(*words, flush=True)


def digest(*parts):
    made = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        made.update(len(data).to_bytes(8, "big") + data)
    return made.hexdigest()


def digest_of_files(paths):
    return digest(*(part for path in sorted(paths) for part in (path.name, path.read_bytes())))


def output_of(command, cwd=TOP, **more):
    """What the command prints; it has to succeed."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more,
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode(errors="replace")
        raise CannotRun(f"status {done.returncode}: {' '.join(map(str, command))}\n{said}")
    return done.stdout


def git(*words):
    return output_of(["git", *words]).decode()


def jobs_default():
    return min(2, os.cpu_count() or 1)
