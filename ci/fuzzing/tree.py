"""The fuzzers of this tree, their seeds, and how they are built."""

import configparser
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
FUZZ = TOP / "fuzz"
FOUND = TOP / "build" / "fuzz"
SYNTAX = TOP / "tests" / "scenarios" / "syntax"

# It has a bug, so it is no use but to see whether one is found.
CANARY = "canary"

# What a sanitizer does at a finding is for the engine to say.
SANITIZER_OPTIONS = ("ASAN_OPTIONS", "UBSAN_OPTIONS", "MSAN_OPTIONS")


class CannotRun(Exception):
    """The environment is in the way; nothing is said about what is fuzzed."""


def settle_in(copy):
    """From here on everything happens in a copy of the tree."""
    global TOP, FUZZ, FOUND, SYNTAX
    FUZZ, FOUND, SYNTAX = (copy / path.relative_to(TOP) for path in (FUZZ, FOUND, SYNTAX))
    TOP = copy


def say(*words):
    print(*words, flush=True)


def environment(**more):
    """What a build for coverage counts is not wanted but where it is asked for."""
    kept = {name: value for name, value in os.environ.items() if name not in SANITIZER_OPTIONS}
    return {**kept, "LLVM_PROFILE_FILE": os.devnull, **more}


def output_of(command, **more):
    """What the command prints; it has to succeed."""
    done = subprocess.run(
        [str(word) for word in command], cwd=TOP, env=environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more,
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode(errors="replace")
        raise CannotRun(f"status {done.returncode}: {' '.join(map(str, command))}\n{said}")
    return done.stdout


def targets():
    return sorted(path.name[: -len("_fuzzer.c")] for path in FUZZ.glob("*_fuzzer.c"))


def honest_targets():
    return [target for target in targets() if target != CANARY]


class Build:
    """A preset's directory, with some targets' fuzzers in it, and beside the server's the command
    that knows scenarios. One is built at a time."""

    turn = threading.Lock()
    configured = set()

    def __init__(self, preset, names):
        self.preset = preset
        self.directory = TOP / "build" / preset
        self.scenario = self.directory / "tests" / "scenario"
        if not shutil.which("cmake"):
            raise CannotRun("cmake is missing; ci/deps fuzz installs what fuzzing takes")
        wanted = [f"{name}_fuzzer" for name in names]
        wanted += ["scenario"] if "server" in names else []
        with self.turn:
            if self.directory not in self.configured:
                output_of(["cmake", "--preset", preset])
            self.configured.add(self.directory)
            output_of(["cmake", "--build", "--preset", preset, "--target", *wanted])

    def fuzzer(self, name):
        return self.directory / "fuzz" / f"{name}_fuzzer"


def corpus(name):
    return FUZZ / "corpus" / name


def dictionary(name):
    path = FUZZ / "dict" / f"{name}.dict"
    return path if path.exists() else None


def libfuzzer_options(name):
    """Those of the file that OSS-Fuzz reads, too."""
    parser = configparser.ConfigParser()
    parser.read(FUZZ / f"{name}_fuzzer.options")
    return dict(parser["libfuzzer"]) if parser.has_section("libfuzzer") else {}


def seed_folders(name, build, place):
    """Folders of inputs to start from: the committed corpus, for the server all scenarios, and for
    their parser the texts that any parser is tried on."""
    folders = [corpus(name)] if corpus(name).is_dir() else []
    if name == "server":
        folders.append(scenario_seeds(build, fresh_folder(place / "scenarios")))
    if name == "scenario":
        folders += [SYNTAX / "accepted", SYNTAX / "rejected"]
    return folders


def scenario_seeds(build, folder):
    for path in sorted((TOP / "tests" / "scenarios").glob("*.scenario")):
        (folder / path.stem).write_bytes(output_of([build.scenario, "binary", path]))
    return folder


def fresh_folder(path):
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def inputs(folder):
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")


def shown(path):
    """As one would type it at the top of the tree."""
    return os.path.relpath(path, TOP)


def copy_tree(copy):
    """All that is, or could be, under version control."""
    listed = output_of(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
    for name in filter(None, listed.decode().split("\0")):
        if (TOP / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TOP / name, copy / name)


def log_of(error):
    sys.stderr.write(f"ci/fuzz: {error}\n")
