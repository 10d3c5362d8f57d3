"""The fuzzers of a tree, their seeds, and how they are built."""

import configparser
import os
import shutil
import threading
from pathlib import Path

from .. import build, command, tree

# Where runs leave what they find; below the top of whatever tree they run in.
FOUND = Path("build") / "fuzz"

# It has a bug, so it is of no use but to see whether one is found.
CANARY = "canary"

# What a sanitizer does at a finding is for the engine to choose.
SANITIZER_OPTIONS = ("ASAN_OPTIONS", "UBSAN_OPTIONS", "MSAN_OPTIONS")


def environment(**more):
    """What a build for coverage counts is not wanted but where it is asked for."""
    kept = command.environment(**{"LLVM_PROFILE_FILE": os.devnull, **more})
    return {name: value for name, value in kept.items() if name not in SANITIZER_OPTIONS}


def names(top=tree.TOP):
    return sorted(path.name[: -len("_fuzzer.c")] for path in (top / "fuzz").glob("*_fuzzer.c"))


def honest_names(top=tree.TOP):
    return [name for name in names(top) if name != CANARY]


class Target:
    """A fuzzer, named by what stands before _fuzzer.c, of this tree or of a copy."""

    def __init__(self, name, top=tree.TOP):
        self.name, self.top = name, top
        self.corpus = top / "fuzz" / "corpus" / name
        self.options_file = top / "fuzz" / f"{name}_fuzzer.options"
        self.dictionary_file = top / "fuzz" / "dict" / f"{name}.dict"

    @property
    def dictionary(self):
        return self.dictionary_file if self.dictionary_file.exists() else None

    @property
    def options(self):
        """libFuzzer's, from the file that OSS-Fuzz reads, too."""
        parser = configparser.ConfigParser()
        parser.read(self.options_file)
        return dict(parser["libfuzzer"]) if parser.has_section("libfuzzer") else {}

    def place(self, *parts):
        """A folder for what runs find."""
        return self.top.joinpath(FOUND, *parts)

    def seed_folders(self, built, place):
        """Folders of inputs to start from: the committed corpus, for the server all scenarios, and
        for their parser the texts that any parser is tried on."""
        folders = [self.corpus] if self.corpus.is_dir() else []
        if self.name == "server":
            folders.append(self._scenario_seeds(built, tree.fresh_folder(place / "scenarios")))
        if self.name == "scenario":
            syntax = self.top / "tests" / "scenarios" / "syntax"
            folders += [syntax / "accepted", syntax / "rejected"]
        return folders

    def _scenario_seeds(self, built, folder):
        for path in sorted((self.top / "tests" / "scenarios").glob("*.scenario")):
            binary = command.output_of([built.scenario, "binary", path], text=False)
            (folder / path.stem).write_bytes(binary)
        return folder


class Build:
    """A preset's directory, with some targets' fuzzers in it, and beside the server's the command
    that knows scenarios. One is built at a time."""

    turn = threading.Lock()
    configured = set()

    def __init__(self, preset, names, top=tree.TOP):
        self.top = top
        self.directory = top / "build" / preset
        self.scenario = self.directory / "tests" / "scenario"
        if not shutil.which("cmake"):
            raise command.CannotRun("cmake is missing; ci/deps fuzz installs what fuzzing takes")
        wanted = [f"{name}_fuzzer" for name in names]
        wanted += ["scenario"] if "server" in names else []
        make = ["cmake", "--build", "--preset", preset, "--target", *wanted]
        with self.turn, build.locked(self.directory):
            if self.directory not in self.configured:
                command.output_of(["cmake", "--preset", preset], cwd=top, env=environment())
            self.configured.add(self.directory)
            command.output_of(make, cwd=top, env=environment())

    def fuzzer(self, name):
        return self.directory / "fuzz" / f"{name}_fuzzer"

    def libfuzzer(self, name, *arguments, **options):
        """Runs a fuzzer as a command at the top of its tree, to which paths are relative: where
        libFuzzer starts itself it goes through a shell, and quotes nothing. With `text`, the result
        has all that it prints."""
        shown = [self._relative(each) for each in (self.fuzzer(name), *arguments)]
        return command.run(shown, cwd=self.top, env=environment(), **options)

    def _relative(self, argument):
        inside = isinstance(argument, Path) and argument.is_relative_to(self.top)
        return os.path.join(".", argument.relative_to(self.top)) if inside else argument


def inputs(folder):
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
