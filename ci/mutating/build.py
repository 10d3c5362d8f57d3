"""Builds of the tree in which one object can be another: a mutant's."""

import json
import re
import shlex
import subprocess
import threading

from . import tree

# Without assertions: the tests have to notice, not the code itself; and a mutant of an assertion
# is then none. Warnings are for the gate, not for mutants.
FLAGS = {
    "plain": ["-DCMAKE_C_FLAGS=-O2 -DNDEBUG -w"],
    "sanitized": [
        "-DCMAKE_C_FLAGS=-O1 -DNDEBUG -w",
        "-DTOUCHSTONE_SANITIZE=address,undefined",
    ],
}
# What else may show that a mutant is the same program.
OTHERS = (("gcc", "-O3"), ("clang", "-O2"), ("clang", "-O3"))
# What the gate compiles with, warnings being errors.
STRICT = (("gcc", "-O2"), ("clang", "-O2"))

MEMBER = re.compile(r"^libtouchstone_(?:core|shell|system)\.a\((\w+\.c)\.o\)", re.MULTILINE)


class Build:
    """One configuration. Made when it is first asked for; one thread makes it, others wait."""

    def __init__(self, kind):
        self.kind = kind
        self.directory = tree.PLACE / kind
        self.lock = threading.Lock()
        self.made = False
        self.contained = {}

    def make(self):
        with self.lock:
            if not self.made:
                self.make_now()
                self.made = True
        return self

    def make_now(self):
        tree.output_of([
            "cmake", "-S", tree.TOP, "-B", self.directory, "-G", "Ninja", "-DBUILD_TESTING=ON",
            "-DCMAKE_C_COMPILER=gcc", "-DCMAKE_BUILD_TYPE=Mutate", *FLAGS[self.kind],
        ])
        tree.output_of(["cmake", "--build", self.directory, "--parallel", tree.jobs_default()])
        self.compiles = {}
        listed = json.loads((self.directory / "compile_commands.json").read_text())
        for entry in listed:
            words = shlex.split(entry["command"])
            self.compiles[entry["file"]] = words
        shown = tree.output_of(["ctest", "--test-dir", self.directory, "--show-only=json-v1"])
        self.tests = json.loads(shown)["tests"]

    def compiled(self, path):
        """The words that compile this file of src, and where its object lies."""
        words = self.compiles[str(tree.TOP / path)]
        return words, words[words.index("-o") + 1]

    def is_part(self, path):
        return str(tree.TOP / path) in self.compiles

    def compile(self, path, text, to, instead=(), strictly=False):
        """Compiles the text as if it were that file; false if it is no C. From a pipe, so that the
        object does not know where the text lay. `instead`: another compiler and its level.
        `strictly`: with assertions, and a warning is an error, as for the gate."""
        words, _ = self.compiled(path)
        kept = [word for word in words[1:] if word not in ("-o", "-c") and not word.endswith(".o")]
        kept.remove(str(tree.TOP / path))
        if instead:
            kept = [word for word in kept if not word.startswith(("-O", "-f"))] + [instead[1]]
        if strictly:
            kept = [word for word in kept if word not in ("-w", "-DNDEBUG")] + ["-Werror"]
        folder = (tree.TOP / path).parent
        command = [instead[0] if instead else words[0], *kept, "-iquote", str(folder)]
        done = subprocess.run(
            [*command, "-x", "c", "-c", "-", "-o", to], input=text.encode(), cwd=self.directory,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300,
        )
        return done.returncode == 0

    def link_command(self, program):
        shown = tree.output_of(["ninja", "-C", self.directory, "-t", "commands", program])
        last = shown.decode().strip().splitlines()[-1]
        return shlex.split(last.removeprefix(": && ").removesuffix(" && :"))

    def link(self, program, path, mutant, to):
        """Links the program with the mutant instead of that file's object; false if it cannot."""
        words, _ = self.parts(program)
        _, replaced = self.compiled(path)
        words = list(words)
        words[words.index("-o") + 1] = str(to)
        if replaced in words:
            words[words.index(replaced)] = str(mutant)
        else:  # before the libraries, so that theirs is not asked for
            first = next(i for i, word in enumerate(words) if word.endswith(".a"))
            words.insert(first, str(mutant))
        done = subprocess.run(
            words, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, timeout=300,
        )
        return done.returncode == 0

    def parts(self, program):
        """How a program is linked, and the objects of src in it."""
        with self.lock:
            if program not in self.contained:
                words = self.link_command(program)
                traced = tree.output_of([*words, "-Wl,-M"], cwd=self.directory).decode()
                inside = set(MEMBER.findall(traced))
                inside |= {word for word in words if word.endswith(".c.o")}
                self.contained[program] = words, inside
            return self.contained[program]

    def contains(self, program, path):
        _, inside = self.parts(program)
        return path.split("/")[-1] in inside or self.compiled(path)[1] in inside


def symbols(path):
    """What an object defines for others."""
    shown = tree.output_of(["nm", "--extern-only", "--defined-only", "--format=just-symbols", path])
    return set(shown.decode().split())
