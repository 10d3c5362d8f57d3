"""Builds of the tree in which one object can be another: a mutant's."""

import json
import os
import re
import shlex
import threading

from .. import command, tree

PLACE = tree.BUILD / "mutate"

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
COMPILE_S = 300
JOBS = min(2, os.cpu_count() or 1)
# What the gate compiles with, warnings being errors.
STRICT = (("gcc", "-O2"), ("clang", "-O2"))

MEMBER = re.compile(r"^libtouchstone_(?:core|shell|system)\.a\((\w+\.c)\.o\)", re.MULTILINE)


class Build:
    """One configuration. Made when it is first asked for; one thread makes it, others wait."""

    def __init__(self, kind):
        self.kind = kind
        self.directory = PLACE / kind
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
        command.output_of([
            "cmake", "-S", tree.TOP, "-B", self.directory, "-G", "Ninja", "-DBUILD_TESTING=ON",
            "-DCMAKE_C_COMPILER=gcc", "-DCMAKE_BUILD_TYPE=Mutate", *FLAGS[self.kind],
        ])
        command.output_of(["cmake", "--build", self.directory, "--parallel", JOBS])
        self.compiles = {}
        listed = json.loads((self.directory / "compile_commands.json").read_text())
        for entry in listed:
            self.compiles[entry["file"]] = shlex.split(entry["command"])
        shown = command.output_of(["ctest", "--test-dir", self.directory, "--show-only=json-v1"])
        self.tests = json.loads(shown)["tests"]

    def compiled(self, path):
        """The arguments that compile this file of src, and where its object lies."""
        arguments = self.compiles[str(tree.TOP / path)]
        return arguments, arguments[arguments.index("-o") + 1]

    def is_part(self, path):
        return str(tree.TOP / path) in self.compiles

    def compile(self, path, text, to, instead=(), strictly=False):
        """Compiles the text as if it were that file; false if it is no C. From a pipe, so that the
        object does not know where the text lay. `instead`: another compiler and its level.
        `strictly`: with assertions, and a warning is an error, as for the gate."""
        arguments, made = self.compiled(path)
        left_out = {"-o", "-c", made, str(tree.TOP / path)}
        kept = [each for each in arguments[1:] if each not in left_out]
        if instead:
            kept = [each for each in kept if not each.startswith(("-O", "-f"))] + [instead[1]]
        if strictly:
            kept = [each for each in kept if each not in ("-w", "-DNDEBUG")] + ["-Werror"]
        folder = (tree.TOP / path).parent
        compiler = [instead[0] if instead else arguments[0], *kept, "-iquote", folder]
        done = command.run(
            [*compiler, "-x", "c", "-c", "-", "-o", to], self.directory, timeout=COMPILE_S,
            input=text,
        )
        return done.returncode == 0

    def link_command(self, program):
        shown = command.output_of(["ninja", "-C", self.directory, "-t", "commands", program])
        last = shown.strip().splitlines()[-1]
        return shlex.split(last.removeprefix(": && ").removesuffix(" && :"))

    def link(self, program, path, mutant, to):
        """Links the program with the mutant instead of that file's object; false if it cannot."""
        arguments, _ = self.parts(program)
        _, replaced = self.compiled(path)
        arguments = list(arguments)
        arguments[arguments.index("-o") + 1] = str(to)
        if replaced in arguments:
            arguments[arguments.index(replaced)] = str(mutant)
        else:  # before the libraries, so that theirs is not asked for
            first = next(i for i, each in enumerate(arguments) if each.endswith(".a"))
            arguments.insert(first, str(mutant))
        return command.run(arguments, self.directory, timeout=COMPILE_S).returncode == 0

    def parts(self, program):
        """How a program is linked, and the objects of src in it."""
        with self.lock:
            if program not in self.contained:
                arguments = self.link_command(program)
                traced = command.output_of([*arguments, "-Wl,-M"], cwd=self.directory)
                inside = set(MEMBER.findall(traced))
                inside |= {each for each in arguments if each.endswith(".c.o")}
                self.contained[program] = arguments, inside
            return self.contained[program]

    def contains(self, program, path):
        _, inside = self.parts(program)
        return path.split("/")[-1] in inside or self.compiled(path)[1] in inside


def symbols(path):
    """What an object defines for others."""
    options = ["--extern-only", "--defined-only", "--format=just-symbols"]
    return set(command.output_of(["nm", *options, path]).split())
