"""The rules of the tree: who may include whom, and the limits.

Each complaint is a line `path:line: what is wrong (expected: …) [code]`.
"""

from __future__ import annotations

import functools
import re

from . import tree

TOP = {
    "CMakeLists.txt", "CMakePresets.json", "README.md", "SPEC.md", "LICENSE",
    "src", "include", "fuzz", "tests", "integration", "ci",
}
CODE = (".py", ".cmake", "CMakeLists.txt", ".rs", ".go", ".mjs", ".js")
COLUMNS_MAX = 100
FUNCTION_LINES_MAX = 70
FUNCTION_LINES_MAX_IN_CORE = 40
CODE_LINES_MAX = 2000

CORE_C = {"stdint.h", "stdbool.h", "stddef.h", "assert.h"}
SHELL_C = CORE_C | {"errno.h", "limits.h", "stdarg.h", "stdio.h", "stdlib.h", "string.h"}
SYSTEM = re.compile(
    r"(sys|netinet|arpa)/\w+\.h|(netdb|unistd|fcntl|poll|signal|time|getopt)\.h"
)

# What the oracle judges by: written from the requirements, with nothing of the server in it.
JUDGES = re.compile(r"tests/(sim/(oracle|stream)|scenario/scenario(_\w+)?)\.[ch]")

INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')
CONDITIONAL = re.compile(r"\s*#\s*(if|ifdef|ifndef|elif|else|endif)\b")
PROTOTYPE = re.compile(r"^(?!static|typedef)[a-z][\w *]*\(", re.MULTILINE)
MARKER = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")
COMMENT_OR_STRING = re.compile(
    r"""/\*.*?\*/ | //[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'""", re.DOTALL | re.VERBOSE
)


class File:
    """A text file of the tree, read once."""

    def __init__(self, root, path):
        self.path = path
        self.text = (root / path).read_text(encoding="utf-8")
        self.lines = self.text.splitlines()
        self.is_c = path.endswith((".c", ".h"))
        self.is_code = self.is_c or path.endswith(CODE)
        self.is_code = self.is_code or (path.startswith("ci/") and not path.endswith(".md"))

    @functools.cached_property
    def bare_lines(self):
        """The lines of a C file, its comments blanked; line numbers stay."""

        def blank(match):
            found = match.group()
            return re.sub(r"[^\n]", " ", found) if found.startswith("/") else found

        return COMMENT_OR_STRING.sub(blank, self.text).splitlines()

    @property
    def includes(self):
        """(line number, whether in angle brackets, header)"""
        for number, line in enumerate(self.lines, 1):
            match = INCLUDE.match(line)
            if match:
                yield number, match.group(1) == "<", match.group(2)


def read_files(root):
    """Every text file but the corpora, which are data."""
    for path in tree.files(root):
        if not path.startswith("fuzz/corpus/") and b"\0" not in (root / path).read_bytes():
            yield File(root, path)


# ---- Who may include whom. Each returns what is expected instead, or None.


def expected_of_core(header, angled, _):
    if angled:
        return None if header in CORE_C else listing(CORE_C)
    return None if header.startswith("core/") else "core/*.h alone"


def expected_of_shell(header, angled, _):
    if not angled:
        inside = header.startswith(("core/", "shell/"))
        return None if inside else "core/*.h and shell/*.h"
    if header in SHELL_C:
        return None
    if SYSTEM.fullmatch(header):
        return "operating-system headers in src/system and include/system alone"
    return listing(SHELL_C)


def expected_of_system(header, angled, _):
    if not angled:
        inside = header.startswith(("core/", "shell/", "system/")) or header == "posix.h"
        return None if inside else "core/*.h, shell/*.h and system/*.h"
    known = header in SHELL_C or SYSTEM.fullmatch(header)
    return None if known else "operating-system headers and " + listing(SHELL_C)


def expected_of_sim(header, angled, path):
    if angled:
        return None if header in SHELL_C else listing(SHELL_C)
    if JUDGES.fullmatch(path):
        independent = JUDGES.fullmatch("tests/" + header)
        return None if independent else "nothing of the core: the oracle is independent of it"
    inside = header.startswith(("core/", "sim/", "scenario/scenario")) or header == "shell/kernel.h"
    return None if inside else "core/*.h, shell/kernel.h, sim/*.h and the scenario language"


def listing(headers):
    return " ".join(f"<{header}>" for header in sorted(headers))


ARROWS = [
    (("src/core/", "include/core/"), expected_of_core),
    (("src/shell/", "include/shell/"), expected_of_shell),
    (("src/system/", "include/system/"), expected_of_system),
    (("tests/sim/", "tests/scenario/scenario"), expected_of_sim),
]


def includes_tests(file, header, tested):
    """The fuzzers alone share the simulated kernel with the tests."""
    if file.path.startswith("tests/"):
        return False
    if file.path.startswith("fuzz/") and header.startswith(("sim/", "scenario/")):
        return False
    return "tests/" in header or "tests/" + header in tested


# To prove a module, static functions and all, a harness takes the module in.
HARNESSES = "tests/proof/shell/"


def check_includes(files):
    tested = {file.path for file in files if file.path.startswith("tests/")}
    for file in files:
        for number, angled, header in file.includes if file.is_c else ():
            if header.endswith(".c") and not file.path.startswith(HARNESSES):
                yield file, number, f"includes {header}", "headers alone"
            elif not angled and includes_tests(file, header, tested):
                yield file, number, f"includes {header}", "nothing of tests"
            else:
                for places, expected_of in ARROWS:
                    expected = expected_of(header, angled, file.path)
                    if file.path.startswith(places) and expected:
                        yield file, number, f"includes {header}", expected


def in_product(file):
    return file.is_c and file.path.startswith(("src/", "include/"))


def check_once(files):
    for file in files:
        if file.path.endswith(".h"):
            first = next((line.strip() for line in file.bare_lines if line.strip()), "")
            if first != "#pragma once":
                yield file, 1, "no guard against a second inclusion", "#pragma once first"


def check_conditionals(files):
    for file in filter(in_product, files):
        for number, line in enumerate(file.bare_lines, 1):
            if CONDITIONAL.match(line):
                expected = "no conditional compilation: CMake selects files"
                yield file, number, line.strip(), expected


def functions_of(file):
    """(name, first line, lines) of each function: from the word in the first column that begins
    its head to the brace in the first column that ends its body."""
    begin = None
    for number, line in enumerate(file.bare_lines, 1):
        if line.rstrip() == "}" and begin:
            head = " ".join(file.bare_lines[begin - 1 : begin + 4])
            yield re.search(r"(\w+)\s*\((?!\()", head).group(1), begin, number - begin + 1
        if line[:1].isalpha() or line[:1] == "_":
            begin = number
        elif line[:1] == "}":
            begin = None


def check_functions(files):
    for file in files:
        core = file.path.startswith(("src/core/", "include/core/"))
        limit = FUNCTION_LINES_MAX_IN_CORE if core else FUNCTION_LINES_MAX
        for name, number, length in functions_of(file) if file.is_c else ():
            if length > limit:
                yield file, number, f"{name} has {length} lines", f"at most {limit}"


def check_columns(files):
    for file in files:
        for number, line in enumerate(file.lines if file.is_code else (), 1):
            if len(line) > COLUMNS_MAX:
                yield file, number, f"{len(line)} columns", f"at most {COLUMNS_MAX}"


def check_blanks(files):
    for file in files:
        for number, line in enumerate(file.lines, 1):
            if "\t" in line and not file.path.endswith(".go"):  # gofmt has its own view
                yield file, number, "a tab", "spaces"
            if line != line.rstrip():
                yield file, number, "trailing blanks", "none"


def check_markers(files):
    for file in files:
        for number, line in enumerate(file.lines, 1):
            match = MARKER.search(line)
            if match:
                yield file, number, match.group(), "no markers of unfinished work"


def check_top(files):
    for top in sorted({file.path.split("/")[0] for file in files}):
        if top not in TOP and not top.startswith("."):
            yield top, 1, "unknown name at the top level", " ".join(sorted(TOP))


def check_sources(files):
    """A header of the core that declares functions has its source of the same name."""
    paths = {file.path for file in files}
    for file in files:
        match = re.fullmatch(r"include/core/(\w+)\.h", file.path)
        if match and PROTOTYPE.search("\n".join(file.bare_lines)):
            source = f"src/core/{match.group(1)}.c"
            if source not in paths:
                yield file, 1, "declares functions without a source", source


def count_code(files):
    return sum(1 for file in filter(in_product, files) for line in file.bare_lines if line.strip())


def check_size(files):
    lines = count_code(files)
    if lines > CODE_LINES_MAX:
        expected = f"at most {CODE_LINES_MAX}, comments and blanks not counted"
        yield "src", 1, f"{lines} lines of code in src and include", expected


CHECKS = {
    "include": check_includes, "once": check_once, "conditional": check_conditionals,
    "function-lines": check_functions, "columns": check_columns, "blanks": check_blanks,
    "marker": check_markers, "top": check_top, "source": check_sources, "size": check_size,
}


def complaints(root) -> list[str]:
    """What is wrong with the tree below `root`, a line each."""
    files = list(read_files(root))
    found = []
    for code, check in CHECKS.items():
        for file, number, wrong, expected in check(files):
            where = f"{getattr(file, 'path', file)}:{number}"
            found.append(f"{where}: {wrong} (expected: {expected}) [{code}]")
    return found


def code_lines(root) -> int:
    """The lines of code in src and include, comments and blank lines not counted."""
    return count_code(list(read_files(root)))
